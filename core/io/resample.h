/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Resampling of 8-bit pictures: the mean over the covered area where pixels get larger, linear between pixel centres
 * where they get smaller; each axis by itself. */
#pragma once

#include "tensor/tensor.h"

G_BEGIN_DECLS

/* A stretch of one axis of the picture, in pixels: it may begin and end within a pixel. */
typedef struct
{
  double start, length;
} SumiSpan;

/* The rows and columns given, of U8 (H,W,C), as (height,width,C). Spans lie within the picture. */
SumiTensor *sumi_resample (const SumiTensor *image, SumiSpan rows, SumiSpan columns, guint height, guint width,
                           GError **error);

G_END_DECLS
