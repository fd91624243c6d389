/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "result-layer.h"

#include <gegl.h>
#include <glib/gi18n-lib.h>
#include <string.h>

#define PARASITE "sumi-recipe"

static gboolean
refuse (GError **error, const char *what)
{
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE, "%s %s", what, gimp_pdb_get_last_error (gimp_get_pdb ()));
  return FALSE;
}

/* In an image of somebody's, with alpha: they will erase parts of it. */
static GimpImageType
layer_type (GimpImage *image, gboolean alpha)
{
  switch (gimp_image_get_base_type (image))
    {
    case GIMP_GRAY:
      return alpha ? GIMP_GRAYA_IMAGE : GIMP_GRAY_IMAGE;
    case GIMP_INDEXED:
      return alpha ? GIMP_INDEXEDA_IMAGE : GIMP_INDEXED_IMAGE;
    default:
      return alpha ? GIMP_RGBA_IMAGE : GIMP_RGB_IMAGE;
    }
}

/* GEGL converts from sRGB to the image's colour space and precision, to grey, or to the nearest colours of the palette.
 */
static void
write_pixels (GimpLayer *layer, const SumiLayerSource *source)
{
  g_autoptr (GeglBuffer) buffer = gimp_drawable_get_buffer (GIMP_DRAWABLE (layer));
  gegl_buffer_set (buffer, GEGL_RECTANGLE (0, 0, source->width, source->height), 0, babl_format ("R'G'B' u8"),
                   g_bytes_get_data (source->pixels, NULL), GEGL_AUTO_ROWSTRIDE);
  gegl_buffer_flush (buffer);
}

static void
attach_recipe (GimpLayer *layer, const char *recipe)
{
  GimpParasite *parasite
      = gimp_parasite_new (PARASITE, GIMP_PARASITE_PERSISTENT | GIMP_PARASITE_UNDOABLE, strlen (recipe), recipe);
  gimp_item_attach_parasite (GIMP_ITEM (layer), parasite);
  gimp_parasite_free (parasite);
}

/* Not in the image's stack yet, so nothing of this is seen or can be undone. */
static GimpLayer *
new_layer (GimpImage *image, gboolean alpha, const SumiLayerSource *source, GError **error)
{
  GimpLayer *layer = gimp_layer_new (image, source->name, source->width, source->height, layer_type (image, alpha),
                                     100.0, gimp_image_get_default_new_layer_mode (image));
  if (layer == NULL)
    {
      refuse (error, _ ("GIMP could not make a layer."));
      return NULL;
    }
  write_pixels (layer, source);
  attach_recipe (layer, source->recipe);
  return layer;
}

static GimpItem *
selected_layer (GimpImage *image)
{
  g_autofree GimpLayer **layers = gimp_image_get_selected_layers (image);
  return layers != NULL && layers[0] != NULL ? GIMP_ITEM (layers[0]) : NULL;
}

static gboolean
insert_above (GimpImage *image, GimpLayer *layer, GimpItem *above)
{
  if (above == NULL || !gimp_item_is_valid (above) || !gimp_item_is_layer (above)
      || gimp_item_get_image (above) != image)
    above = selected_layer (image);
  GimpItem *parent = above != NULL ? gimp_item_get_parent (above) : NULL;
  int position = above != NULL ? gimp_image_get_item_position (image, above) : 0;
  return gimp_image_insert_layer (image, layer, parent != NULL ? GIMP_LAYER (parent) : NULL, position);
}

GimpLayer *
sumi_result_layer_add (GimpImage *image, GimpItem *above, const SumiLayerSource *source, GError **error)
{
  GimpLayer *layer = new_layer (image, TRUE, source, error);
  if (layer == NULL)
    return NULL;
  gimp_layer_set_offsets (layer, (gimp_image_get_width (image) - source->width) / 2,
                          (gimp_image_get_height (image) - source->height) / 2);
  gimp_image_undo_group_start (image);
  gboolean ok = insert_above (image, layer, above);
  gimp_image_undo_group_end (image);
  if (ok)
    return layer;
  refuse (error, _ ("GIMP could not add the layer."));
  gimp_item_delete (GIMP_ITEM (layer));
  return NULL;
}

GimpImage *
sumi_result_image_new (const SumiLayerSource *source, GimpLayer **layer, GError **error)
{
  GimpImage *image = gimp_image_new (source->width, source->height, GIMP_RGB);
  if (image == NULL)
    {
      refuse (error, _ ("GIMP could not make an image."));
      return NULL;
    }
  gimp_image_undo_disable (image);
  *layer = new_layer (image, FALSE, source, error);
  if (*layer == NULL || !gimp_image_insert_layer (image, *layer, NULL, 0))
    {
      if (*layer != NULL)
        refuse (error, _ ("GIMP could not add the layer."));
      gimp_image_delete (image);
      return NULL;
    }
  gimp_image_undo_enable (image);
  return image;
}
