/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "archive.h"

#include <string.h>

static void
put (GByteArray *a, guint64 value, guint size)
{
  guint64 little = GUINT64_TO_LE (value);
  g_byte_array_append (a, (const guint8 *)&little, size);
}

/* The fields that the local and the central header have in common. */
static void
put_common (GByteArray *a, const ArchiveEntry *e)
{
  put (a, 0, 2); /* version, flags */
  put (a, 0, 2);
  put (a, e->method, 2);
  put (a, 0, 8); /* time, date, CRC */
  put (a, e->size, 4);
  put (a, e->size, 4);
  put (a, strlen (e->name), 2);
  put (a, 0, 2);
}

static void
put_central (GByteArray *directory, const ArchiveEntry *e, guint64 local, gboolean zip64)
{
  guint start = directory->len;

  put (directory, 0x02014b50, 4);
  put (directory, 0, 2);
  put_common (directory, e);
  put (directory, 0, 2); /* comment, disk, attributes */
  put (directory, 0, 8);
  put (directory, local, 4);
  g_byte_array_append (directory, (const guint8 *)e->name, (guint)strlen (e->name));
  if (!zip64)
    return;
  memset (directory->data + start + 20, 0xff, 8); /* the sizes */
  memset (directory->data + start + 42, 0xff, 4); /* the offset */
  directory->data[start + 30] = 4 + 24;           /* the extra field that has them */
  put (directory, 1, 2);
  put (directory, 24, 2);
  put (directory, e->size, 8);
  put (directory, e->size, 8);
  put (directory, local, 8);
}

static void
put_end64 (GByteArray *a, guint n, guint64 directory, guint64 size)
{
  guint64 start = a->len;

  put (a, 0x06064b50, 4);
  put (a, 44, 8);
  put (a, 0, 8); /* versions, disks */
  put (a, 0, 4);
  put (a, n, 8);
  put (a, n, 8);
  put (a, size, 8);
  put (a, directory, 8);
  put (a, 0x07064b50, 4);
  put (a, 0, 4);
  put (a, start, 8);
  put (a, 1, 4);
}

static GBytes *
make (const ArchiveEntry *entries, guint n, gboolean zip64)
{
  GByteArray *a = g_byte_array_new ();
  g_autoptr (GByteArray) directory = g_byte_array_new ();
  guint start;

  for (guint i = 0; i < n; i++)
    {
      put_central (directory, &entries[i], a->len, zip64);
      put (a, 0x04034b50, 4);
      put_common (a, &entries[i]);
      g_byte_array_append (a, (const guint8 *)entries[i].name, (guint)strlen (entries[i].name));
      g_byte_array_append (a, entries[i].data, (guint)entries[i].size);
    }
  start = a->len;
  g_byte_array_append (a, directory->data, directory->len);
  if (zip64)
    put_end64 (a, n, start, directory->len);
  put (a, 0x06054b50, 4);
  put (a, 0, 4);
  put (a, zip64 ? 0xffff : n, 2);
  put (a, zip64 ? 0xffff : n, 2);
  put (a, zip64 ? 0xffffffff : directory->len, 4);
  put (a, zip64 ? 0xffffffff : start, 4);
  put (a, 0, 2);
  return g_byte_array_free_to_bytes (a);
}

GBytes *
archive_new (const ArchiveEntry *entries, guint n)
{
  return make (entries, n, FALSE);
}

GBytes *
archive_new_zip64 (const ArchiveEntry *entries, guint n)
{
  return make (entries, n, TRUE);
}

GBytes *
archive_new_torch (const void *pickle, gsize size)
{
  float values[16];
  ArchiveEntry entries[] = { { "x/data.pkl", pickle, size }, { "x/data/0", values, sizeof values } };

  for (guint i = 0; i < G_N_ELEMENTS (values); i++)
    values[i] = (float)i;
  return archive_new (entries, G_N_ELEMENTS (entries));
}
