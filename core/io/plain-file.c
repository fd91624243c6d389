/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/plain-file.h"

#include <errno.h>

#include <glib/gstdio.h>

gboolean
sumi_plain_file_check (const char *path, GError **error)
{
  GStatBuf status;

  if (g_stat (path, &status) != 0)
    {
      int why = errno;
      g_set_error (error, SUMI_ERROR, why == ENOENT || why == ENOTDIR ? SUMI_ERROR_MISSING_FILE : SUMI_ERROR_IO,
                   "%s: %s", path, g_strerror (why));
      return FALSE;
    }
  if (S_ISREG (status.st_mode))
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT, "%s: found a folder or device, expected a file", path);
  return FALSE;
}

GBytes *
sumi_plain_file_map (const char *path, GError **error)
{
  g_autoptr (GMappedFile) file = NULL;

  if (!sumi_plain_file_check (path, error))
    return NULL;
  file = g_mapped_file_new (path, FALSE, error);
  if (file == NULL)
    return NULL;
  /* Of an empty file there is no mapping: give its readers a place that is no null pointer. */
  return g_mapped_file_get_length (file) > 0 ? g_mapped_file_get_bytes (file) : g_bytes_new_static ("", 0);
}
