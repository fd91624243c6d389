/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files that are complete or untouched: written beside their final place, synced, renamed. */
#pragma once

#include <stdio.h>

#include "base/error.h"

G_BEGIN_DECLS

typedef struct
{
  FILE *stream;    /* write here */
  char *path;      /* the final place */
  char *temporary; /* "path.XXXXXX" */
} SumiAtomicFile;

/* FALSE: io (the folder is missing or not writable). */
gboolean sumi_atomic_file_open (SumiAtomicFile *f, const char *path, GError **error);
/* Syncs, closes, renames; on failure (io: disk full…) the temporary file is removed and `path` is as it was. */
gboolean sumi_atomic_file_commit (SumiAtomicFile *f, GError **error);
/* Gives up: removes the temporary file.  Harmless after commit. */
void     sumi_atomic_file_abandon (SumiAtomicFile *f);

/* The whole of `data` at once. */
gboolean sumi_atomic_file_write (const char *path, const void *data, gsize size, GError **error);

G_END_DECLS
