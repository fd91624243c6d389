/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/atomic-file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

gboolean
sumi_atomic_file_open (SumiAtomicFile *f, const char *path, GError **error)
{
  g_autofree char *temporary = g_strconcat (path, ".XXXXXX", NULL);
  int fd;

  memset (f, 0, sizeof *f);
  fd = g_mkstemp_full (temporary, O_RDWR | O_CLOEXEC, 0666);
  if (fd < 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "cannot write %s: %s", path, g_strerror (errno));
      return FALSE;
    }
  f->stream = fdopen (fd, "wb");
  if (f->stream == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "cannot write %s: %s", path, g_strerror (errno));
      close (fd);
      g_unlink (temporary);
      return FALSE;
    }
  f->path = g_strdup (path);
  f->temporary = g_steal_pointer (&temporary);
  return TRUE;
}

void
sumi_atomic_file_abandon (SumiAtomicFile *f)
{
  if (f->stream != NULL)
    fclose (f->stream);
  if (f->temporary != NULL)
    g_unlink (f->temporary);
  g_clear_pointer (&f->path, g_free);
  g_clear_pointer (&f->temporary, g_free);
  f->stream = NULL;
}

gboolean
sumi_atomic_file_commit (SumiAtomicFile *f, GError **error)
{
  gboolean ok = fflush (f->stream) == 0 && !ferror (f->stream) && fsync (fileno (f->stream)) == 0;
  int      why = errno;

  if (fclose (g_steal_pointer (&f->stream)) != 0 && ok)
    {
      ok = FALSE;
      why = errno;
    }
  if (ok && g_rename (f->temporary, f->path) != 0)
    {
      ok = FALSE;
      why = errno;
    }
  if (!ok)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "cannot write %s: %s", f->path, g_strerror (why));
  else
    g_clear_pointer (&f->temporary, g_free);
  sumi_atomic_file_abandon (f);
  return ok;
}

gboolean
sumi_atomic_file_write (const char *path, const void *data, gsize size, GError **error)
{
  SumiAtomicFile f;
  if (!sumi_atomic_file_open (&f, path, error))
    return FALSE;
  fwrite (data, 1, size, f.stream); /* a failure is remembered by the stream */
  return sumi_atomic_file_commit (&f, error);
}
