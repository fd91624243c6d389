/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pictures on disk <-> tensors, through gdk-pixbuf. */
#pragma once

#include "tensor/tensor.h"

G_BEGIN_DECLS

#define SUMI_IMAGE_MAX_SIDE 16384
#define SUMI_IMAGE_MAX_PIXELS (1 << 27)

/* Reads any format gdk-pixbuf knows (PNG, JPEG, WebP…) as U8 (H,W,3), turned as its EXIF data say; alpha is composed
 * over `background` (0xRRGGBB).  Larger than the limits above is too_large, told before anything is decoded;
 * missing_file, unsupported_format (not a picture), bad_header (a damaged one). */
SumiTensor *sumi_image_load (const char *path, guint32 background, GError **error);
/* As above with alpha kept: U8 (H,W,4). */
SumiTensor *sumi_image_load_rgba (const char *path, GError **error);

/* Area-averaging (smaller) or bilinear (larger) resize of U8 (H,W,C) to (height,width,C), each channel by itself. */
SumiTensor *sumi_image_resize (SumiTensor *image, guint height, guint width, GError **error);
/* Scales so that it covers width x height, then crops the centre. U8 (H,W,3). */
SumiTensor *sumi_image_cover (SumiTensor *image, guint height, guint width, GError **error);

/* U8 (H,W,3) PNG; text chunks are NULL-terminated pairs key, value ("parameters", "..."), may be NULL.
 * Keys are 1 to 79 ASCII characters, values UTF-8.  Temporary file + rename. */
gboolean sumi_image_save_png (SumiTensor *image, const char *path, const char *const *text, GError **error);

/* F32 (3,H,W) or (1,3,H,W) in [lo,hi] -> U8 (H,W,3), round (255 * clamp ((x - lo) / (hi - lo))); NaN is 0. */
SumiTensor *sumi_image_from_chw (const SumiTensor *x, float lo, float hi, GError **error);
/* U8 (H,W,3) -> F32 (1,3,H,W) in [lo,hi]. */
SumiTensor *sumi_image_to_chw (const SumiTensor *image, float lo, float hi, GError **error);
/* n pictures U8 (H,W,3) of equal size in a grid of `columns`, 2 black pixels apart. */
SumiTensor *sumi_image_grid (SumiTensor *const *images, guint n, guint columns, GError **error);

G_END_DECLS
