/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/image.h"
#include "io/png-text.h"

#include <math.h>
#include <string.h>

#include <gdk-pixbuf/gdk-pixbuf.h>
#include <glib/gstdio.h>

typedef struct
{
  char *folder, *path;
} Place;

static Place
place_new (const char *name)
{
  Place p = { g_dir_make_tmp ("sumi-test-XXXXXX", NULL), NULL };
  g_assert_nonnull (p.folder);
  p.path = g_build_filename (p.folder, name, NULL);
  return p;
}

static void
place_clear (Place *p)
{
  g_unlink (p->path);
  g_assert_cmpint (g_rmdir (p->folder), ==, 0); /* nothing else was left there */
  g_free (p->folder);
  g_free (p->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Place, place_clear)

static SumiTensor *
picture (gint64 height, gint64 width, gint64 channels)
{
  SumiTensor *t = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (height, width, channels), NULL);
  for (gint64 i = 0; i < height * width * channels; i++)
    ((guint8 *)sumi_tensor_poke (t))[i] = (guint8)(i * 37 % 251);
  return t;
}

static guint8
value (SumiTensor *t, gint64 i)
{
  return ((const guint8 *)sumi_tensor_peek (t))[i];
}

static void
test_png (void)
{
  g_autoptr (GString) parameters = g_string_new ("日本の狐 🦊, é\nNegative prompt: \"x\"\nSteps: 20, ");
  g_auto (Place) place = place_new ("a.png");
  g_autoptr (SumiTensor) image = picture (7, 5, 3), back = NULL, rgba = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *read = NULL, *latin = NULL, *none = NULL, *bytes = NULL, *again = NULL;
  gsize n_bytes, n_again;

  while (parameters->len < 20000)
    g_string_append (parameters, "a very long prompt, ");
  const char *text[] = { "parameters", parameters->str, "Software", "Sumi é", NULL };
  g_assert_true (sumi_image_save_png (image, place.path, text, &error));
  g_assert_no_error (error);

  back = sumi_image_load (place.path, 0, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (sumi_tensor_peek (back), sumi_tensor_get_size (back), sumi_tensor_peek (image), 7 * 5 * 3);
  rgba = sumi_image_load_rgba (place.path, &error);
  g_assert_cmpint (sumi_tensor_get_shape (rgba)->d[2], ==, 4);
  g_assert_cmpint (value (rgba, 3), ==, 255);
  read = sumi_png_read_text (place.path, "parameters", &error);
  g_assert_cmpstr (read, ==, parameters->str);
  latin = sumi_png_read_text (place.path, "Software", &error);
  g_assert_cmpstr (latin, ==, "Sumi é");
  none = sumi_png_read_text (place.path, "Author", &error);
  g_assert_null (none);
  g_assert_no_error (error);

  g_assert_true (g_file_get_contents (place.path, &bytes, &n_bytes, NULL)); /* the same picture, the same bytes */
  g_assert_true (sumi_image_save_png (back, place.path, text, &error));
  g_assert_true (g_file_get_contents (place.path, &again, &n_again, NULL));
  g_assert_cmpmem (bytes, n_bytes, again, n_again);
}

static void
test_alpha (void)
{
  const guint8 rgba[] = { 200, 100, 0, 255, 200, 100, 0, 0, 200, 100, 0, 128 };
  g_auto (Place) place = place_new ("a.png");
  g_autoptr (GdkPixbuf) pixbuf = gdk_pixbuf_new_from_data (rgba, GDK_COLORSPACE_RGB, TRUE, 8, 3, 1, 12, NULL, NULL);
  g_autoptr (SumiTensor) flat = NULL, kept = NULL;

  g_assert_true (gdk_pixbuf_save (pixbuf, place.path, "png", NULL, NULL));
  flat = sumi_image_load (place.path, 0x0a1464, NULL);
  const guint8 want[] = { 200, 100, 0, 10, 20, 100, 105, 60, 50 };
  g_assert_cmpmem (sumi_tensor_peek (flat), sumi_tensor_get_size (flat), want, 9);
  kept = sumi_image_load_rgba (place.path, NULL);
  g_assert_cmpmem (sumi_tensor_peek (kept), sumi_tensor_get_size (kept), rgba, 12);
}

/* Damaged and absurd files: an error of the right class, whatever the position of the cut. */
static void
test_bad_files (void)
{
  g_auto (Place) place = place_new ("a.png");
  g_autoptr (SumiTensor) image = picture (50, 50, 3);
  g_autoptr (GError) error = NULL;
  g_autofree char *png = NULL;
  gsize size;

  g_assert_null (sumi_image_load (place.path, 0, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE);
  g_clear_error (&error);
  g_assert_null (sumi_image_load (place.folder, 0, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT);
  g_clear_error (&error);
  g_assert_true (g_file_set_contents (place.path, "hello", -1, NULL));
  g_assert_null (sumi_image_load (place.path, 0, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT);
  g_clear_error (&error);

  g_assert_true (sumi_image_save_png (image, place.path, NULL, NULL));
  g_assert_true (g_file_get_contents (place.path, &png, &size, NULL));
  for (gsize n = 40; n < size - 12; n += 97) /* the 12 bytes of IEND are not missed */
    {
      g_assert_true (g_file_set_contents (place.path, png, (gssize)n, NULL));
      g_assert_null (sumi_image_load (place.path, 0, &error));
      g_assert_error (error, SUMI_ERROR, (n < 50 ? SUMI_ERROR_UNSUPPORTED_FORMAT : SUMI_ERROR_BAD_HEADER));
      g_clear_error (&error);
    }
}

/* 20000 x 20000 by its header: refused without being decoded. */
static void
test_too_large (void)
{
  g_auto (Place) place = place_new ("a.ppm");
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (place.path, "P6\n20000 20000\n255\nabc", -1, NULL));
  g_assert_null (sumi_image_load (place.path, 0, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE);
}

static void
test_resize (void)
{
  const guint8 values[] = { 0, 10, 20, 30, 40, 50, 60, 71 };
  g_autoptr (SumiTensor) image = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (2, 4, 1), NULL);
  g_autoptr (SumiTensor) half = NULL, same = NULL, twice = NULL, third = NULL;
  g_autoptr (GError) error = NULL;

  memcpy (sumi_tensor_poke (image), values, 8);
  half = sumi_image_resize (image, 1, 2, NULL); /* (0+10+40+50)/4, (20+30+60+71)/4 */
  g_assert_cmpint (value (half, 0), ==, 25);
  g_assert_cmpint (value (half, 1), ==, 45);
  same = sumi_image_resize (image, 2, 4, NULL);
  g_assert_cmpmem (sumi_tensor_peek (same), 8, values, 8);
  twice = sumi_image_resize (image, 2, 8, NULL); /* centres at -1/4, 1/4, 3/4… of a pixel */
  const guint8 want[] = { 0, 2, 8, 12, 18, 22, 28, 30 };
  g_assert_cmpmem (sumi_tensor_peek (twice), 8, want, 8);
  third = sumi_image_resize (image, 2, 3, NULL); /* (0 + 10/3) / (4/3), … */
  g_assert_cmpint (value (third, 0), ==, 2);
  g_assert_cmpint (value (third, 1), ==, 15);
  g_assert_cmpint (value (third, 2), ==, 28);

  g_assert_null (sumi_image_resize (image, 0, 3, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE);
  g_clear_error (&error);
  g_assert_null (sumi_image_resize (image, 1, 1 << 20, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE);
}

/* A constant stays what it is at any size, and the mean is kept when pixels are averaged. */
static void
test_resize_keeps (void)
{
  g_autoptr (SumiTensor) noise = picture (64, 96, 3);

  for (guint h = 1; h < 130; h += 9)
    for (guint w = 1; w < 130; w += 11)
      {
        g_autoptr (SumiTensor) flat = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (41, 23, 3), NULL), out = NULL,
                               small = NULL;
        double mean[2] = { 0, 0 };

        memset (sumi_tensor_poke (flat), 201, 41 * 23 * 3);
        out = sumi_image_resize (flat, h, w, NULL);
        for (gint64 i = 0; i < sumi_tensor_get_numel (out); i++)
          g_assert_cmpint (value (out, i), ==, 201);
        if (h > 64 || w > 96)
          continue;
        small = sumi_image_resize (noise, h, w, NULL);
        for (gint64 i = 0; i < 64 * 96 * 3; i++)
          mean[0] += value (noise, i) / (64. * 96 * 3);
        for (gint64 i = 0; i < sumi_tensor_get_numel (small); i++)
          mean[1] += value (small, i) / (double)sumi_tensor_get_numel (small);
        g_assert_cmpfloat_with_epsilon (mean[0], mean[1], 0.51);
      }
}

static void
test_cover (void)
{
  g_autoptr (SumiTensor) wide = picture (4, 12, 3), middle = NULL, tall = picture (9, 3, 3), centre = NULL;

  middle = sumi_image_cover (wide, 4, 4, NULL); /* columns 4 to 7, as they are */
  for (int y = 0; y < 4; y++)
    g_assert_cmpmem ((const char *)sumi_tensor_peek (middle) + y * 12, 12,
                     (const char *)sumi_tensor_peek (wide) + y * 36 + 12, 12);
  centre = sumi_image_cover (tall, 1, 1, NULL); /* the mean of rows 3 to 5 */
  for (int c = 0; c < 3; c++)
    {
      double mean = 0;
      for (int i = 0; i < 9; i++)
        mean += value (tall, 27 + 3 * i + c) / 9.;
      g_assert_cmpint (value (centre, c), ==, lrint (mean));
    }
}

static void
test_chw (void)
{
  const float values[] = { -1, -2, NAN, 0, 0.5f, 1, 2, INFINITY, -0.99f, 0.1f, 0.2f, 0.3f };
  const guint8 want[] = { 0, 191, 1, 0, 255, 140, 0, 255, 153, 128, 255, 166 }; /* by pixel; 127.5 is rounded to even */
  g_autoptr (SumiTensor) x = sumi_tensor_new_f32 (&SUMI_SHAPE (3, 2, 2), values, NULL), image = NULL, back = NULL;
  g_autoptr (SumiTensor) all = picture (16, 16, 3), up = NULL, down = NULL, batch = NULL;
  g_autoptr (GError) error = NULL;

  image = sumi_image_from_chw (x, -1, 1, NULL);
  g_assert_cmpmem (sumi_tensor_peek (image), sumi_tensor_get_size (image), want, 12);

  up = sumi_image_to_chw (all, -1, 1, NULL); /* every byte comes back */
  down = sumi_image_from_chw (up, -1, 1, NULL);
  g_assert_cmpmem (sumi_tensor_peek (down), 768, sumi_tensor_peek (all), 768);
  g_assert_cmpint (sumi_tensor_get_shape (up)->rank, ==, 4);

  batch = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (2, 3, 4, 4), NULL);
  back = sumi_image_from_chw (batch, 0, 1, &error);
  g_assert_null (back);
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
}

static void
test_grid (void)
{
  g_autoptr (SumiTensor) a = picture (2, 3, 3), b = picture (2, 2, 3), grid = NULL;
  SumiTensor *three[] = { a, a, a }, *two[] = { a, b };
  g_autoptr (GError) error = NULL;

  grid = sumi_image_grid (three, 3, 2, NULL);
  g_assert_cmpint (sumi_tensor_get_shape (grid)->d[0], ==, 2 + 2 + 2);
  g_assert_cmpint (sumi_tensor_get_shape (grid)->d[1], ==, 3 + 2 + 3);
  g_assert_cmpmem ((const char *)sumi_tensor_peek (grid) + (5 * 8) * 3, 9, (const char *)sumi_tensor_peek (a) + 9, 9);
  g_assert_cmpint (value (grid, (2 * 8) * 3), ==, 0);
  g_assert_null (sumi_image_grid (two, 2, 2, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/image/png", test_png);
  g_test_add_func ("/image/alpha", test_alpha);
  g_test_add_func ("/image/bad-files", test_bad_files);
  g_test_add_func ("/image/too-large", test_too_large);
  g_test_add_func ("/image/resize", test_resize);
  g_test_add_func ("/image/resize-keeps", test_resize_keeps);
  g_test_add_func ("/image/cover", test_cover);
  g_test_add_func ("/image/chw", test_chw);
  g_test_add_func ("/image/grid", test_grid);
  return g_test_run ();
}
