/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/image.h"

#include <math.h>
#include <string.h>

#include <gdk-pixbuf/gdk-pixbuf.h>

#include "base/atomic-file.h"
#include "io/plain-file.h"
#include "io/resample.h"

#define GRID_GAP 2

/* ---- checks ---- */

static gboolean
check_size (gint64 height, gint64 width, GError **error)
{
  if (height < 1 || width < 1)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE,
                   "found a picture of %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT " pixels, expected at least one", width,
                   height);
      return FALSE;
    }
  if (height <= SUMI_IMAGE_MAX_SIDE && width <= SUMI_IMAGE_MAX_SIDE && height * width <= SUMI_IMAGE_MAX_PIXELS)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
               "found a picture of %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT
               " pixels, expected at most %d a side and %d in all",
               width, height, SUMI_IMAGE_MAX_SIDE, SUMI_IMAGE_MAX_PIXELS);
  return FALSE;
}

/* U8 (H,W,C) of a size that is allowed; channels 0: any number of them */
static gboolean
check_picture (const SumiTensor *image, guint channels, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (image);

  if (sumi_tensor_get_dtype (image) == SUMI_U8 && s->rank == 3 && s->d[2] > 0 && s->d[2] <= 16
      && (channels == 0 || s->d[2] == channels))
    return check_size (s->d[0], s->d[1], error);
  g_autofree char *found = sumi_shape_to_string (s);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "found %s %s, expected a picture, U8 (height,width,%s)",
               sumi_dtype_name (sumi_tensor_get_dtype (image)), found, channels == 3 ? "3" : "channels");
  return FALSE;
}

/* ---- files ---- */

static void
take_pixbuf_error (GError *from, const char *path, GError **error)
{
  SumiError code = SUMI_ERROR_BAD_HEADER;

  if (g_error_matches (from, GDK_PIXBUF_ERROR, GDK_PIXBUF_ERROR_UNKNOWN_TYPE))
    code = SUMI_ERROR_UNSUPPORTED_FORMAT;
  else if (g_error_matches (from, GDK_PIXBUF_ERROR, GDK_PIXBUF_ERROR_INSUFFICIENT_MEMORY))
    code = SUMI_ERROR_OUT_OF_MEMORY;
  else if (from->domain == G_FILE_ERROR)
    code = SUMI_ERROR_IO;
  g_set_error (error, SUMI_ERROR, code, "%s: %s", path, from->message);
  g_error_free (from);
}

static GdkPixbuf *
load_pixbuf (const char *path, GError **error)
{
  GError *wrong = NULL;
  int width, height;
  g_autoptr (GdkPixbuf) pixbuf = NULL;

  if (!sumi_plain_file_check (path, error))
    return NULL;
  if (gdk_pixbuf_get_file_info (path, &width, &height) == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT, "%s: not a picture of a known format", path);
      return NULL;
    }
  if (!check_size (height, width, error))
    {
      g_prefix_error (error, "%s: ", path);
      return NULL;
    }
  pixbuf = gdk_pixbuf_new_from_file (path, &wrong);
  if (pixbuf == NULL)
    {
      take_pixbuf_error (wrong, path, error);
      return NULL;
    }
  return gdk_pixbuf_apply_embedded_orientation (pixbuf);
}

/* over == NULL: keep alpha, 4 channels; else 3 channels, composed over that colour */
static SumiTensor *
pixbuf_to_tensor (GdkPixbuf *pixbuf, const guint8 *over, GError **error)
{
  int width = gdk_pixbuf_get_width (pixbuf), height = gdk_pixbuf_get_height (pixbuf);
  int stride = gdk_pixbuf_get_rowstride (pixbuf), in_channels = gdk_pixbuf_get_n_channels (pixbuf);
  int channels = over == NULL ? 4 : 3;
  SumiTensor *t = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (height, width, channels), error);
  guint8 *out;

  if (t == NULL)
    return NULL;
  out = sumi_tensor_poke (t);
  for (int y = 0; y < height; y++)
    {
      const guint8 *in = gdk_pixbuf_read_pixels (pixbuf) + (gsize)y * (gsize)stride;

      for (int x = 0; x < width; x++, in += in_channels, out += channels)
        {
          guint alpha = in_channels == 4 ? in[3] : 255;

          if (over == NULL)
            out[3] = (guint8)alpha;
          for (int c = 0; c < 3; c++)
            out[c] = over == NULL ? in[c] : (guint8)((in[c] * alpha + over[c] * (255 - alpha) + 127) / 255);
        }
    }
  return t;
}

SumiTensor *
sumi_image_load (const char *path, guint32 background, GError **error)
{
  const guint8 over[3] = { background >> 16 & 0xff, background >> 8 & 0xff, background & 0xff };
  g_autoptr (GdkPixbuf) pixbuf = load_pixbuf (path, error);

  return pixbuf != NULL ? pixbuf_to_tensor (pixbuf, over, error) : NULL;
}

SumiTensor *
sumi_image_load_rgba (const char *path, GError **error)
{
  g_autoptr (GdkPixbuf) pixbuf = load_pixbuf (path, error);

  return pixbuf != NULL ? pixbuf_to_tensor (pixbuf, NULL, error) : NULL;
}

/* gdk-pixbuf writes Latin-1 texts as tEXt and all others as iTXt; both are UTF-8 to the reader. */
gboolean
sumi_image_save_png (SumiTensor *image, const char *path, const char *const *text, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (image);
  g_autoptr (GdkPixbuf) pixbuf = NULL;
  g_autoptr (GPtrArray) keys = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) values = g_ptr_array_new ();
  g_autofree char *png = NULL;
  GError *wrong = NULL;
  gsize size;

  if (!check_picture (image, 3, error))
    return FALSE;
  for (; text != NULL && text[0] != NULL && text[1] != NULL; text += 2)
    {
      g_ptr_array_add (keys, g_strconcat ("tEXt::", text[0], NULL));
      g_ptr_array_add (values, (char *)text[1]);
    }
  g_ptr_array_add (keys, NULL);
  g_ptr_array_add (values, NULL);
  pixbuf = gdk_pixbuf_new_from_data (sumi_tensor_peek (image), GDK_COLORSPACE_RGB, FALSE, 8, (int)s->d[1], (int)s->d[0],
                                     (int)s->d[1] * 3, NULL, NULL);
  if (!gdk_pixbuf_save_to_bufferv (pixbuf, &png, &size, "png", (char **)keys->pdata, (char **)values->pdata, &wrong))
    {
      take_pixbuf_error (wrong, path, error);
      return FALSE;
    }
  return sumi_atomic_file_write (path, png, size, error);
}

/* ---- sizes ---- */

SumiTensor *
sumi_image_resize (SumiTensor *image, guint height, guint width, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (image);

  if (!check_picture (image, 0, error) || !check_size (height, width, error))
    return NULL;
  return sumi_resample (image, (SumiSpan){ 0, (double)s->d[0] }, (SumiSpan){ 0, (double)s->d[1] }, height, width,
                        error);
}

SumiTensor *
sumi_image_cover (SumiTensor *image, guint height, guint width, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (image);
  double step;
  SumiSpan rows, columns;

  if (!check_picture (image, 3, error) || !check_size (height, width, error))
    return NULL;
  step = MIN ((double)s->d[0] / height, (double)s->d[1] / width); /* picture pixels per pixel of the result */
  rows = (SumiSpan){ (s->d[0] - step * height) / 2, step * height };
  columns = (SumiSpan){ (s->d[1] - step * width) / 2, step * width };
  return sumi_resample (image, rows, columns, height, width, error);
}

/* ---- values ---- */

SumiTensor *
sumi_image_from_chw (const SumiTensor *x, float lo, float hi, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (x);
  guint first = s->rank == 4 && s->d[0] == 1 ? 1 : 0;
  SumiTensor *image;
  guint8 *out;
  gsize plane;

  if (sumi_tensor_get_dtype (x) != SUMI_F32 || s->rank - first != 3 || s->d[first] != 3)
    {
      g_autofree char *found = sumi_shape_to_string (s);
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "found %s %s, expected F32 (3,height,width)",
                   sumi_dtype_name (sumi_tensor_get_dtype (x)), found);
      return NULL;
    }
  if (!check_size (s->d[first + 1], s->d[first + 2], error))
    return NULL;
  plane = (gsize)(s->d[first + 1] * s->d[first + 2]);
  image = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (s->d[first + 1], s->d[first + 2], 3), error);
  if (image == NULL)
    return NULL;
  out = sumi_tensor_poke (image);
  for (gsize c = 0; c < 3; c++)
    for (gsize i = 0; i < plane; i++)
      {
        float v;
        memcpy (&v, (const char *)sumi_tensor_peek (x) + (c * plane + i) * sizeof v, sizeof v);
        v = (v - lo) / (hi - lo);
        out[3 * i + c] = (guint8)lrintf (255 * (v > 0 ? MIN (v, 1) : 0)); /* NaN is not > 0 */
      }
  return image;
}

SumiTensor *
sumi_image_to_chw (const SumiTensor *image, float lo, float hi, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (image);
  const guint8 *in = sumi_tensor_peek (image);
  SumiTensor *x;
  float *out;
  gsize plane;

  if (!check_picture (image, 3, error))
    return NULL;
  x = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 3, s->d[0], s->d[1]), error);
  if (x == NULL)
    return NULL;
  out = sumi_tensor_poke_f32 (x);
  plane = (gsize)(s->d[0] * s->d[1]);
  for (gsize c = 0; c < 3; c++)
    for (gsize i = 0; i < plane; i++)
      out[c * plane + i] = lo + (hi - lo) * (in[3 * i + c] / 255.0f);
  return x;
}

SumiTensor *
sumi_image_grid (SumiTensor *const *images, guint n, guint columns, GError **error)
{
  const SumiShape *s;
  guint rows;
  gsize row_size, grid_row_size;
  SumiTensor *grid;

  if (n == 0 || columns == 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE, "found a grid of no pictures, expected at least one");
      return NULL;
    }
  s = sumi_tensor_get_shape (images[0]);
  for (guint i = 0; i < n; i++)
    {
      if (!check_picture (images[i], 3, error))
        return NULL;
      if (!sumi_shape_equal (sumi_tensor_get_shape (images[i]), s))
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
                       "found pictures of several sizes, expected one size");
          return NULL;
        }
    }
  columns = MIN (columns, n);
  rows = (n + columns - 1) / columns;
  if (!check_size (rows * (s->d[0] + GRID_GAP) - GRID_GAP, columns * (s->d[1] + GRID_GAP) - GRID_GAP, error))
    return NULL;
  grid = sumi_tensor_new (
      SUMI_U8, &SUMI_SHAPE (rows * (s->d[0] + GRID_GAP) - GRID_GAP, columns * (s->d[1] + GRID_GAP) - GRID_GAP, 3),
      error);
  if (grid == NULL)
    return NULL;
  row_size = (gsize)s->d[1] * 3;
  grid_row_size = (gsize)sumi_tensor_get_shape (grid)->d[1] * 3;
  for (guint i = 0; i < n; i++)
    {
      guint8 *corner = (guint8 *)sumi_tensor_poke (grid) + i / columns * (gsize)(s->d[0] + GRID_GAP) * grid_row_size
                       + i % columns * (row_size + GRID_GAP * 3);
      for (gsize y = 0; y < (gsize)s->d[0]; y++)
        memcpy (corner + y * grid_row_size, (const guint8 *)sumi_tensor_peek (images[i]) + y * row_size, row_size);
    }
  return grid;
}
