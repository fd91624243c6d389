/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/zip.h"

#include <string.h>

#include "io/reader.h"

/* The records: the sizes of their fields in bytes, one digit each, and the names of those. */
#define END_LAYOUT "42222442"
enum
{
  END_SIGNATURE,
  END_DISK,
  END_FIRST_DISK,
  END_N_HERE,
  END_N,
  END_DIRECTORY_SIZE,
  END_DIRECTORY_OFFSET,
  END_COMMENT,
  N_END
};

#define END64_LAYOUT "4822448888"
enum
{
  END64_SIGNATURE,
  END64_LENGTH,
  END64_MADE_BY,
  END64_VERSION,
  END64_DISK,
  END64_FIRST_DISK,
  END64_N_HERE,
  END64_N,
  END64_DIRECTORY_SIZE,
  END64_DIRECTORY_OFFSET,
  N_END64
};

#define LOCATOR64_LAYOUT "4484"
enum
{
  LOCATOR64_SIGNATURE,
  LOCATOR64_DISK,
  LOCATOR64_OFFSET,
  LOCATOR64_N_DISKS,
  N_LOCATOR64
};

#define CENTRAL_LAYOUT "42222224442222244"
enum
{
  CENTRAL_SIGNATURE,
  CENTRAL_MADE_BY,
  CENTRAL_VERSION,
  CENTRAL_FLAGS,
  CENTRAL_METHOD,
  CENTRAL_TIME,
  CENTRAL_DATE,
  CENTRAL_CRC,
  CENTRAL_STORED_SIZE,
  CENTRAL_SIZE,
  CENTRAL_NAME,
  CENTRAL_EXTRA,
  CENTRAL_COMMENT,
  CENTRAL_DISK,
  CENTRAL_INTERNAL,
  CENTRAL_EXTERNAL,
  CENTRAL_LOCAL,
  N_CENTRAL
};

#define LOCAL_LAYOUT "42222244422"
enum
{
  LOCAL_SIGNATURE,
  LOCAL_VERSION,
  LOCAL_FLAGS,
  LOCAL_METHOD,
  LOCAL_TIME,
  LOCAL_DATE,
  LOCAL_CRC,
  LOCAL_STORED_SIZE,
  LOCAL_SIZE,
  LOCAL_NAME,
  LOCAL_EXTRA,
  N_LOCAL
};

#define END_BYTES 22
#define LOCATOR64_BYTES 20
#define MAX_COMMENT 65535
#define ZIP64_EXTRA 1
#define IN_ZIP64 0xffffffff /* in place of a value that does not fit */

/* Far above any checkpoint: the bound on the memory for names. */
#define MAX_ENTRIES (1 << 17)
#define MAX_NAME 512

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
  for (gsize back = END_BYTES; back <= MIN (size, END_BYTES + MAX_COMMENT); back++)
    {
      SumiReader r = { data + size - back, data + size };
      guint64 f[N_END];

      if (r.p[0] == 'P' && take_fields (&r, END_LAYOUT, f) && f[END_SIGNATURE] == 0x06054b50
          && f[END_COMMENT] == back - END_BYTES)
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
  SumiReader r = { data + end - MIN (end, LOCATOR64_BYTES), data + end };
  guint64 locator[N_LOCATOR64], f[N_END64];

  if (!take_fields (&r, LOCATOR64_LAYOUT, locator) || locator[LOCATOR64_SIGNATURE] != 0x07064b50
      || locator[LOCATOR64_OFFSET] > end)
    return fail (error, SUMI_ERROR_BAD_HEADER, "expected a 64-bit end record");
  r = (SumiReader){ data + locator[LOCATOR64_OFFSET], data + end };
  if (!take_fields (&r, END64_LAYOUT, f) || f[END64_SIGNATURE] != 0x06064b50)
    return fail (error, SUMI_ERROR_BAD_HEADER, "expected a 64-bit end record");
  *directory = (Directory){ f[END64_N], f[END64_DIRECTORY_SIZE], f[END64_DIRECTORY_OFFSET] };
  return TRUE;
}

static gboolean
find_directory (const guint8 *data, gsize size, Directory *directory, GError **error)
{
  SumiReader r;
  guint64 f[N_END];
  gsize end;

  if (!find_end (data, size, &end))
    return fail (error, SUMI_ERROR_TRUNCATED, "found no end record, expected one as the last bytes of the file");
  r = (SumiReader){ data + end, data + size };
  take_fields (&r, END_LAYOUT, f);
  *directory = (Directory){ f[END_N], f[END_DIRECTORY_SIZE], f[END_DIRECTORY_OFFSET] };
  if ((directory->n_entries == 0xffff || directory->size == IN_ZIP64 || directory->offset == IN_ZIP64)
      && !read_end64 (data, end, directory, error))
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
          if (*values[i] == IN_ZIP64 && !sumi_reader_take_uint (&r, 8, values[i]))
            return fail (error, SUMI_ERROR_BAD_HEADER, "found a 64-bit extra field that is too short");
        return TRUE;
      }
  for (int i = 0; i < 3; i++)
    if (*values[i] == IN_ZIP64)
      return fail (error, SUMI_ERROR_BAD_HEADER, "found no 64-bit extra field, expected one");
  return TRUE;
}

/* From the entry's local header to its data, which lies before the directory. */
static gboolean
find_data (const guint8 *data, const Directory *directory, const char *name, guint64 local, Entry *e, GError **error)
{
  SumiReader r = { data, data + directory->offset };
  const guint8 *bytes;
  guint64 f[N_LOCAL];

  if (!sumi_reader_take (&r, local, &bytes) || !take_fields (&r, LOCAL_LAYOUT, f))
    return fail (error, SUMI_ERROR_BAD_OFFSETS, "%.64s: its header lies outside of the archive", name);
  if (f[LOCAL_SIGNATURE] != 0x04034b50 || f[LOCAL_METHOD] != e->method || f[LOCAL_NAME] != strlen (name)
      || !sumi_reader_take (&r, f[LOCAL_NAME], &bytes) || memcmp (bytes, name, f[LOCAL_NAME]) != 0)
    return fail (error, SUMI_ERROR_BAD_HEADER, "%.64s: its header differs from the directory", name);
  if (!sumi_reader_take (&r, f[LOCAL_EXTRA], &bytes))
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
  guint64 f[N_CENTRAL];
  guint64 *large[3] = { &f[CENTRAL_SIZE], &f[CENTRAL_STORED_SIZE], &f[CENTRAL_LOCAL] };
  const guint8 *bytes, *extra, *comment;
  g_autofree char *name = NULL;
  g_autofree Entry *e = NULL;

  if (!take_fields (r, CENTRAL_LAYOUT, f) || f[CENTRAL_SIGNATURE] != 0x02014b50
      || !sumi_reader_take (r, f[CENTRAL_NAME], &bytes) || !sumi_reader_take (r, f[CENTRAL_EXTRA], &extra)
      || !sumi_reader_take (r, f[CENTRAL_COMMENT], &comment))
    return fail (error, SUMI_ERROR_BAD_HEADER, "its directory is damaged");
  if (f[CENTRAL_NAME] > MAX_NAME || memchr (bytes, 0, f[CENTRAL_NAME]) != NULL)
    return fail (error, SUMI_ERROR_BAD_HEADER, "found a name of more than %d bytes or with a zero byte", MAX_NAME);
  name = g_strndup ((const char *)bytes, f[CENTRAL_NAME]);
  if (!read_zip64_extra ((SumiReader){ extra, extra + f[CENTRAL_EXTRA] }, large, error))
    return FALSE;
  e = g_new0 (Entry, 1);
  e->flags = (guint16)f[CENTRAL_FLAGS];
  e->method = (guint16)f[CENTRAL_METHOD];
  e->size = f[CENTRAL_STORED_SIZE];
  if (e->method == 0 && f[CENTRAL_SIZE] != e->size)
    return fail (error, SUMI_ERROR_BAD_HEADER, "%.64s: found two sizes of stored data", name);
  if (!find_data (data, directory, name, f[CENTRAL_LOCAL], e, error))
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
