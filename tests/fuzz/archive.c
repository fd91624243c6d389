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

GBytes *
archive_new (const ArchiveEntry *entries, guint n)
{
  GByteArray *a = g_byte_array_new ();
  g_autoptr (GByteArray) directory = g_byte_array_new ();
  guint start;

  for (guint i = 0; i < n; i++)
    {
      put (directory, 0x02014b50, 4);
      put (directory, 0, 2);
      put_common (directory, &entries[i]);
      put (directory, 0, 2); /* comment, disk, attributes */
      put (directory, 0, 8);
      put (directory, a->len, 4);
      g_byte_array_append (directory, (const guint8 *)entries[i].name, (guint)strlen (entries[i].name));
      put (a, 0x04034b50, 4);
      put_common (a, &entries[i]);
      g_byte_array_append (a, (const guint8 *)entries[i].name, (guint)strlen (entries[i].name));
      g_byte_array_append (a, entries[i].data, (guint)entries[i].size);
    }
  start = a->len;
  g_byte_array_append (a, directory->data, directory->len);
  put (a, 0x06054b50, 4);
  put (a, 0, 4);
  put (a, n, 2);
  put (a, n, 2);
  put (a, directory->len, 4);
  put (a, start, 4);
  put (a, 0, 2);
  return g_byte_array_free_to_bytes (a);
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
