/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE
#include "base/pixels.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static gboolean
write_all (int fd, const guint8 *data, gsize size)
{
  while (size > 0)
    {
      gssize n = write (fd, data, size);
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return FALSE;
      data += n;
      size -= (gsize)n;
    }
  return TRUE;
}

int
sumi_pixels_share (const void *data, gsize size, GError **error)
{
  int fd = memfd_create ("sumi-pixels", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  if (fd >= 0 && write_all (fd, data, size) && fcntl (fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) == 0)
    return fd;
  int code = errno;
  if (fd >= 0)
    close (fd);
  g_set_error (error, SUMI_ERROR, code == ENOMEM || code == ENOSPC ? SUMI_ERROR_OUT_OF_MEMORY : SUMI_ERROR_IO,
               "shared memory of %" G_GSIZE_FORMAT " bytes: %s", size, g_strerror (code));
  return -1;
}

GBytes *
sumi_pixels_map (int fd, guint width, guint height, guint channels, GError **error)
{
  guint64 want = (guint64)width * height * channels;
  struct stat st;
  int seals = fcntl (fd, F_GET_SEALS);

  if (seals < 0 || (seals & SEALS) != SEALS)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL,
                   "pixels: found memory that may change, expected sealed memory");
      return NULL;
    }
  if (fstat (fd, &st) != 0 || want == 0 || (guint64)st.st_size != want)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL,
                   "pixels: found %" G_GINT64_FORMAT " bytes, expected %u x %u x %u", (gint64)st.st_size, width, height,
                   channels);
      return NULL;
    }
  g_autoptr (GMappedFile) map = g_mapped_file_new_from_fd (fd, FALSE, error);
  return map != NULL ? g_mapped_file_get_bytes (map) : NULL;
}
