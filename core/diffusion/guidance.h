/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Classifier-free guidance (Ho & Salimans 2022), in the usual form: uncond + w (cond - uncond).
 * w = 1 is plainly conditional, w = 0 unconditional. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* n values each; out may be an input. */
void sumi_guidance_combine (const float *uncond, const float *cond, double w, float *out, gsize n);
/* Two conditions (Brooks et al. 2023, eq. 3): uncond + w_image (image - uncond) + w (cond - image). */
void sumi_guidance_combine_image (const float *uncond, const float *image, const float *cond, double w_image, double w,
                                  float *out, gsize n);
/* Guidance makes the prediction too strong: back to cond's standard deviation, by the part phi (Lin et al. 2023,
 * eq. 15 and 16). guided is changed. */
void sumi_guidance_rescale (const float *cond, double phi, float *guided, gsize n);

/* The scale that LCM was distilled with, as the sinusoids that it hears (Luo et al. 2023): of 1000 (w - 1); sines, then
 * cosines; `width` values. */
void sumi_guidance_embed (double w, float *out, gsize width);

G_END_DECLS
