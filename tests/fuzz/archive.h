/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Zip archives, good and bad ones, for tests of what reads them. */
#pragma once

#include <glib.h>

typedef struct
{
  const char *name;
  const void *data;
  gsize size;
  guint16 method; /* 0: stored; nothing is compressed here in any case */
} ArchiveEntry;

GBytes *archive_new (const ArchiveEntry *entries, guint n);
/* The same with the 64-bit records of archives above 4 GiB. */
GBytes *archive_new_zip64 (const ArchiveEntry *entries, guint n);
/* x/data.pkl as given, and x/data/0: 16 floats 0, 1, 2… */
GBytes *archive_new_torch (const void *pickle, gsize size);
