/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Folders that tests fill and remove. */
#pragma once

#include <glib/gstdio.h>
#include <string.h>

#include "io/image.h"

static inline char *
folder_new (void)
{
  g_autoptr (GError) error = NULL;
  char *folder = g_dir_make_tmp ("sumi-train-XXXXXX", &error);

  g_assert_no_error (error);
  return folder;
}

static inline void
folder_remove (char *folder)
{
  GDir *dir = g_dir_open (folder, 0, NULL);

  for (const char *name; (name = g_dir_read_name (dir)) != NULL;)
    {
      g_autofree char *path = g_build_filename (folder, name, NULL);
      if (g_file_test (path, G_FILE_TEST_IS_DIR))
        folder_remove (g_steal_pointer (&path));
      else
        g_assert_cmpint (g_remove (path), ==, 0);
    }
  g_dir_close (dir);
  g_assert_cmpint (g_rmdir (folder), ==, 0);
  g_free (folder);
}

static inline void
folder_write (const char *folder, const char *name, const void *data, gssize size)
{
  g_autofree char *path = g_build_filename (folder, name, NULL);
  g_autoptr (GError) error = NULL;

  g_file_set_contents (path, data, size, &error);
  g_assert_no_error (error);
}

/* A PNG of one colour. */
static inline void
folder_write_picture (const char *folder, const char *name, guint side, guint32 colour)
{
  g_autofree char *path = g_build_filename (folder, name, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensor) image = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (side, side, 3), &error);
  guint8 *pixel = sumi_tensor_poke (image);

  for (guint i = 0; i < side * side; i++, pixel += 3)
    {
      pixel[0] = colour >> 16;
      pixel[1] = (colour >> 8) & 0xff;
      pixel[2] = colour & 0xff;
    }
  sumi_image_save_png (image, path, NULL, &error);
  g_assert_no_error (error);
}
