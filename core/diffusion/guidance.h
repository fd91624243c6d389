/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Classifier-free guidance (Ho & Salimans 2022), in the usual form: uncond + w (cond - uncond).
 * w = 1 is plainly conditional, w = 0 unconditional. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* n values each; out may be an input. */
void sumi_guidance_combine (const float *uncond, const float *cond, double w, float *out, gsize n);

G_END_DECLS
