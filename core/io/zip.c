/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/zip.h"

#include <string.h>

#include "io/reader.h"

#define END_SIGNATURE 0x06054b50
#define END64_SIGNATURE 0x06064b50
#define LOCATOR64_SIGNATURE 0x07064b50
#define CENTRAL_SIGNATURE 0x02014b50
#define LOCAL_SIGNATURE 0x04034b50
#define END_SIZE 22
#define LOCATOR64_SIZE 20
#define MAX_COMMENT 65535
#define ZIP64_EXTRA 1

/* Far above any checkpoint: the bound on the memory for names. */
#define MAX_ENTRIES (1 << 18)
#define MAX_NAME 1024

typedef struct
{
  guint64 begin, size;
  guint16 flags, method; /* 0: stored */
} Entry;

struct _SumiZip
{
  GBytes *bytes;
  GHashTable *entries; /* char* -> Entry* */
  GPtrArray *names;
};

/* Where the central directory lies. */
typedef struct
{
  guint64 n_entries, size, offset;
} Directory;

static gboolean fail (GError **error, SumiError code, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* Always FALSE. */
static gboolean
fail (GError **error, SumiError code, const char *format, ...)
{
  g_autofree char *what = NULL;
  va_list args;

  va_start (args, format);
  what = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, SUMI_ERROR, code, "zip archive: %s", what);
  return FALSE;
}

/* Reads consecutive little-endian fields, whose sizes in bytes are the digits of `layout`. */
static gboolean
take_fields (SumiReader *r, const char *layout, guint64 *fields)
{
  for (guint i = 0; layout[i] != '\0'; i++)
    if (!sumi_reader_take_uint (r, (guint)(layout[i] - '0'), &fields[i]))
      return FALSE;
  return TRUE;
}

/* ---- the end records ---- */

/* The end record's place: before a comment of at most 64 KiB. */
static gboolean
find_end (const guint8 *data, gsize size, gsize *position)
{
  for (gsize back = END_SIZE; back <= MIN (size, END_SIZE + MAX_COMMENT); back++)
    {
      SumiReader r = { data + size - back, data + size };
      guint64 f[8];

      if (r.p[0] == 'P' && take_fields (&r, "42222442", f) && f[0] == END_SIGNATURE && f[7] == back - END_SIZE)
        {
          *position = size - back;
          return TRUE;
        }
    }
  return FALSE;
}

/* The 64-bit record, named by a locator just before the end record. */
static gboolean
read_end64 (const guint8 *data, gsize end, Directory *directory, GError **error)
{
  SumiReader r = { data + end - MIN (end, LOCATOR64_SIZE), data + end };
  guint64 locator[4], f[10];

  if (!take_fields (&r, "4484", locator) || locator[0] != LOCATOR64_SIGNATURE || locator[2] > end)
    return fail (error, SUMI_ERROR_BAD_HEADER, "expected a 64-bit end record");
  r = (SumiReader){ data + locator[2], data + end };
  if (!take_fields (&r, "4822448888", f) || f[0] != END64_SIGNATURE)
    return fail (error, SUMI_ERROR_BAD_HEADER, "expected a 64-bit end record");
  *directory = (Directory){ f[7], f[8], f[9] };
  return TRUE;
}

static gboolean
find_directory (const guint8 *data, gsize size, Directory *directory, GError **error)
{
  SumiReader r;
  guint64 f[8];
  gsize end;

  if (!find_end (data, size, &end))
    return fail (error, SUMI_ERROR_TRUNCATED, "found no end record, expected one as the last bytes of the file");
  r = (SumiReader){ data + end, data + size };
  take_fields (&r, "42222442", f);
  *directory = (Directory){ f[4], f[5], f[6] };
  if ((f[4] == 0xffff || f[5] == 0xffffffff || f[6] == 0xffffffff) && !read_end64 (data, end, directory, error))
    return FALSE;
  if (directory->offset > end || directory->size > end - directory->offset)
    return fail (error, SUMI_ERROR_BAD_OFFSETS, "its directory lies outside of it");
  if (directory->n_entries > MAX_ENTRIES)
    return fail (error, SUMI_ERROR_TOO_LARGE, "found %" G_GUINT64_FORMAT " entries, expected at most %d",
                 directory->n_entries, MAX_ENTRIES);
  return TRUE;
}

/* ---- entries ---- */

/* Sizes and offset that do not fit into 32 bits are all ones, and follow in an extra field, in this order. */
static gboolean
read_zip64_extra (SumiReader extra, guint64 *values[3], GError **error)
{
  guint64 head[2];
  const guint8 *field;

  while (take_fields (&extra, "22", head) && sumi_reader_take (&extra, head[1], &field))
    if (head[0] == ZIP64_EXTRA)
      {
        SumiReader r = { field, field + head[1] };

        for (int i = 0; i < 3; i++)
          if (*values[i] == 0xffffffff && !sumi_reader_take_uint (&r, 8, values[i]))
            return fail (error, SUMI_ERROR_BAD_HEADER, "found a 64-bit extra field that is too short");
        return TRUE;
      }
  for (int i = 0; i < 3; i++)
    if (*values[i] == 0xffffffff)
      return fail (error, SUMI_ERROR_BAD_HEADER, "found no 64-bit extra field, expected one");
  return TRUE;
}

/* From the entry's local header to its data, which lies before the directory. */
static gboolean
find_data (const guint8 *data, const Directory *directory, const char *name, guint64 local, Entry *e, GError **error)
{
  SumiReader r = { data, data + directory->offset };
  const guint8 *bytes;
  guint64 f[11];

  if (!sumi_reader_take (&r, local, &bytes) || !take_fields (&r, "42222244422", f))
    return fail (error, SUMI_ERROR_BAD_OFFSETS, "%.64s: its header lies outside of the archive", name);
  if (f[0] != LOCAL_SIGNATURE || f[9] != strlen (name) || !sumi_reader_take (&r, f[9], &bytes)
      || memcmp (bytes, name, f[9]) != 0 || f[3] != e->method)
    return fail (error, SUMI_ERROR_BAD_HEADER, "%.64s: its header differs from the directory", name);
  if (!sumi_reader_take (&r, f[10], &bytes))
    return fail (error, SUMI_ERROR_BAD_OFFSETS, "%.64s: its header lies outside of the archive", name);
  e->begin = (guint64)(r.p - data);
  if (!sumi_reader_take (&r, e->size, &bytes))
    return fail (error, SUMI_ERROR_BAD_OFFSETS, "%.64s: found %" G_GSIZE_FORMAT " bytes, expected %" G_GUINT64_FORMAT,
                 name, sumi_reader_left (&r), e->size);
  return TRUE;
}

static gboolean
read_entry (SumiZip *z, SumiReader *r, const guint8 *data, const Directory *directory, GError **error)
{
  guint64 f[17];
  guint64 *large[3] = { &f[9], &f[8], &f[16] };
  const guint8 *bytes, *extra, *comment;
  g_autofree char *name = NULL;
  g_autofree Entry *e = NULL;

  if (!take_fields (r, "42222224442222244", f) || f[0] != CENTRAL_SIGNATURE || !sumi_reader_take (r, f[10], &bytes)
      || !sumi_reader_take (r, f[11], &extra) || !sumi_reader_take (r, f[12], &comment))
    return fail (error, SUMI_ERROR_BAD_HEADER, "its directory is damaged");
  if (f[10] > MAX_NAME || memchr (bytes, 0, f[10]) != NULL)
    return fail (error, SUMI_ERROR_BAD_HEADER, "found a name of more than %d bytes or with a zero byte", MAX_NAME);
  name = g_strndup ((const char *)bytes, f[10]);
  if (!read_zip64_extra ((SumiReader){ extra, extra + f[11] }, large, error))
    return FALSE;
  e = g_new0 (Entry, 1);
  e->flags = (guint16)f[3];
  e->method = (guint16)f[4];
  e->size = f[8];
  if (e->method == 0 && f[8] != f[9])
    return fail (error, SUMI_ERROR_BAD_HEADER, "%.64s: found two sizes of stored data", name);
  if (!find_data (data, directory, name, f[16], e, error))
    return FALSE;
  if (g_hash_table_contains (z->entries, name))
    return fail (error, SUMI_ERROR_BAD_HEADER, "found the name '%.64s' twice", name);
  g_ptr_array_add (z->names, name);
  g_hash_table_insert (z->entries, g_steal_pointer (&name), g_steal_pointer (&e));
  return TRUE;
}

SumiZip *
sumi_zip_new (GBytes *bytes, GError **error)
{
  g_autoptr (SumiZip) z = g_new0 (SumiZip, 1);
  gsize size;
  const guint8 *data = g_bytes_get_data (bytes, &size);
  Directory directory;
  SumiReader r;

  z->bytes = g_bytes_ref (bytes);
  z->entries = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  z->names = g_ptr_array_new ();
  if (!find_directory (data, size, &directory, error))
    return NULL;
  r = (SumiReader){ data + directory.offset, data + directory.offset + directory.size };
  for (guint64 i = 0; i < directory.n_entries; i++)
    if (!read_entry (z, &r, data, &directory, error))
      return NULL;
  g_ptr_array_sort_values (z->names, (GCompareFunc)strcmp);
  return g_steal_pointer (&z);
}

void
sumi_zip_free (SumiZip *z)
{
  if (z == NULL)
    return;
  g_ptr_array_unref (z->names);
  g_hash_table_unref (z->entries);
  g_bytes_unref (z->bytes);
  g_free (z);
}

GPtrArray *
sumi_zip_get_names (const SumiZip *z)
{
  return z->names;
}

gboolean
sumi_zip_contains (const SumiZip *z, const char *name)
{
  return g_hash_table_contains (z->entries, name);
}

GBytes *
sumi_zip_lookup (const SumiZip *z, const char *name, GError **error)
{
  const Entry *e = g_hash_table_lookup (z->entries, name);

  if (e == NULL)
    fail (error, SUMI_ERROR_MISSING_TENSOR, "found no entry '%.64s'", name);
  else if (e->flags & 1)
    fail (error, SUMI_ERROR_UNSUPPORTED_FORMAT, "%.64s: found encrypted data", name);
  else if (e->method != 0)
    fail (error, SUMI_ERROR_UNSUPPORTED_FORMAT,
          "%.64s: found compressed data, expected stored data as torch.save writes it", name);
  else
    return g_bytes_new_from_bytes (z->bytes, e->begin, e->size);
  return NULL;
}
