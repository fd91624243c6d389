/* SPDX-License-Identifier: GPL-3.0-or-later */
/* IEEE half and bfloat16 conversion, round to nearest even, NaN kept NaN, subnormals exact.
 * The array functions choose F16C/AVX-512 code at run time (base/cpu.h). */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

float   sumi_f16_to_f32 (guint16 h);
guint16 sumi_f16_from_f32 (float f);
float   sumi_bf16_to_f32 (guint16 h);
guint16 sumi_bf16_from_f32 (float f);

/* n elements; src may be unaligned (byte address), dst is aligned for its type; no overlap. */
void sumi_f16_to_f32_array (float *dst, const void *src, gsize n);
void sumi_f16_from_f32_array (guint16 *dst, const float *src, gsize n);
void sumi_bf16_to_f32_array (float *dst, const void *src, gsize n);
void sumi_bf16_from_f32_array (guint16 *dst, const float *src, gsize n);

G_END_DECLS
