/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A finished picture becomes a layer. */
#pragma once

#include <libgimp/gimp.h>

#include "base/error.h"

G_BEGIN_DECLS

typedef struct
{
  GBytes *pixels; /* R'G'B' u8, width * height * 3 */
  int width, height;
  const char *name;   /* of the layer */
  const char *recipe; /* JSON */
} SumiLayerSource;

/* A new layer in the centre of the image, in its precision and colour model, above `above` (NULL: above the selected
 * layer), in one undo step.  On failure the image is as it was. */
GimpLayer *sumi_result_layer_add (GimpImage *image, GimpItem *above, const SumiLayerSource *source, GError **error);

/* A new image that holds nothing but the layer. */
GimpImage *sumi_result_image_new (const SumiLayerSource *source, GimpLayer **layer, GError **error);

G_END_DECLS
