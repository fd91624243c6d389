/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/atomic-file.h"
#include "io/mapped.h"
#include "io/safetensors-header.h"

#if G_BYTE_ORDER != G_LITTLE_ENDIAN
#error "tensors are used as they lie in the file, which is little-endian"
#endif

#define LENGTH_SIZE 8
#define MAX_HEADER 100000000 /* the format's own limit */

/* ---- reading ---- */

static int
compare_begin (gconstpointer a, gconstpointer b)
{
  const SumiSafetensorsEntry *x = a, *y = b;

  if (x->begin != y->begin)
    return x->begin < y->begin ? -1 : 1;
  return x->end < y->end ? -1 : x->end > y->end;
}

/* Every byte of the data belongs to exactly one tensor. Leaves the entries in the order of the data. */
static gboolean
check_layout (GArray *entries, guint64 data_size, GError **error)
{
  guint64 position = 0;

  g_array_sort (entries, compare_begin);
  for (guint i = 0; i < entries->len; i++)
    {
      const SumiSafetensorsEntry *e = &g_array_index (entries, SumiSafetensorsEntry, i);

      if (e->begin != position)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_OFFSETS,
                       "%s: found its data at %" G_GUINT64_FORMAT ", expected at %" G_GUINT64_FORMAT " (%s)", e->name,
                       e->begin, position, e->begin < position ? "an overlap" : "a hole");
          return FALSE;
        }
      position = e->end;
    }
  if (position == data_size)
    return TRUE;
  g_set_error (error, SUMI_ERROR, position > data_size ? SUMI_ERROR_TRUNCATED : SUMI_ERROR_BAD_OFFSETS,
               "found %" G_GUINT64_FORMAT " bytes of data, expected %" G_GUINT64_FORMAT, data_size, position);
  return FALSE;
}

/* Protocols 2 to 5 begin with their number; the older ones are text, with a name or a mark first and STOP at the end.
 */
static gboolean
is_bare_pickle (const char *data, gsize size)
{
  if (size < 2)
    return FALSE;
  return ((guchar)data[0] == 0x80 && data[1] >= 2 && data[1] <= 5)
         || ((data[0] == 'c' || data[0] == '(') && data[size - 1] == '.');
}

/* What else a file of weights may be: the length field of those would be reported as nonsense. */
static gboolean
refuse_other_formats (const char *data, gsize size, GError **error)
{
  static const struct
  {
    const char *magic;
    guint length;
    const char *what;
  } known[] = {
    { "PK\3\4", 4, "a zip archive" },
    { "GGUF", 4, "a GGUF file" },
    { "version https://git-lfs", 23, "a Git LFS pointer in place of the file itself" },
    { "<!DOCTYPE", 9, "a web page in place of the file itself" },
    { "<html", 5, "a web page in place of the file itself" },
  };

  if (is_bare_pickle (data, size))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PICKLE,
                   "found a bare Python pickle, which can run any code (torch wrote such files before 1.6), "
                   "expected safetensors or a checkpoint saved by torch 1.6 or later");
      return FALSE;
    }
  for (guint i = 0; i < G_N_ELEMENTS (known); i++)
    if (size >= known[i].length && memcmp (data, known[i].magic, known[i].length) == 0)
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT, "found %s, expected safetensors", known[i].what);
        return FALSE;
      }
  return TRUE;
}

/* The length of the header, and that it lies within the file. */
static gboolean
check_length (const char *data, gsize size, guint64 *length, GError **error)
{
  *length = 0;
  if (size >= LENGTH_SIZE)
    memcpy (length, data, LENGTH_SIZE);
  if (size >= LENGTH_SIZE && *length <= size - LENGTH_SIZE && *length <= MAX_HEADER)
    return TRUE;
  if (!refuse_other_formats (data, size, error))
    return FALSE;
  if (size < LENGTH_SIZE)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_TRUNCATED,
                 "found %" G_GSIZE_FORMAT " bytes, expected at least the %d of the header's length", size, LENGTH_SIZE);
  else if (*length > size - LENGTH_SIZE)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_TRUNCATED,
                 "found %" G_GSIZE_FORMAT " bytes, expected a header of %" G_GUINT64_FORMAT, size - LENGTH_SIZE,
                 *length);
  else
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
                 "found a header of %" G_GUINT64_FORMAT " bytes, expected at most %d", *length, MAX_HEADER);
  return FALSE;
}

/* Slices of bytes; new_tensor is sumi_tensor_new_mapped or _bytes, as they are a mapping or not. */
static SumiTensorMap *
parse (GBytes *bytes, SumiNewTensorFunc new_tensor, GError **error)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  g_autoptr (GArray) entries = NULL;
  gsize size;
  const char *data = g_bytes_get_data (bytes, &size);
  guint64 length;

  if (!check_length (data, size, &length, error))
    return NULL;
  entries = sumi_safetensors_header_parse (data + LENGTH_SIZE, length, sumi_tensor_map_peek_metadata (map), error);
  if (entries == NULL || !check_layout (entries, size - LENGTH_SIZE - length, error))
    return NULL;

  for (guint i = 0; i < entries->len; i++)
    {
      const SumiSafetensorsEntry *e = &g_array_index (entries, SumiSafetensorsEntry, i);
      g_autoptr (GBytes) part = g_bytes_new_from_bytes (bytes, LENGTH_SIZE + length + e->begin, e->end - e->begin);
      SumiTensor *t = new_tensor (e->dtype, &e->shape, part, error);

      if (t == NULL)
        return NULL;
      sumi_tensor_map_take (map, e->name, t);
    }
  return g_steal_pointer (&map);
}

SumiTensorMap *
sumi_safetensors_parse (GBytes *bytes, GError **error)
{
  return parse (bytes, sumi_tensor_new_bytes, error);
}

SumiTensorMap *
sumi_safetensors_open (const char *path, GError **error)
{
  return sumi_parse_mapped (path, parse, error);
}

/* ---- writing ---- */

typedef struct
{
  const char *name;
  SumiTensor *tensor;
} Item;

/* Large element types first, so that every tensor is aligned for its type. */
static int
compare_items (gconstpointer a, gconstpointer b)
{
  const Item *x = a, *y = b;
  gsize size_x = sumi_dtype_size (sumi_tensor_get_dtype (x->tensor));
  gsize size_y = sumi_dtype_size (sumi_tensor_get_dtype (y->tensor));

  if (size_x != size_y)
    return size_x > size_y ? -1 : 1;
  return strcmp (x->name, y->name);
}

static gboolean
append_string (GString *json, const char *text, GError **error)
{
  if (!g_utf8_validate (text, -1, NULL))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER, "found a name or metadata text that is not UTF-8");
      return FALSE;
    }
  g_string_append_c (json, '"');
  for (const char *c = text; *c != '\0'; c++)
    if (*c == '"' || *c == '\\')
      g_string_append_printf (json, "\\%c", *c);
    else if ((guchar)*c < 0x20)
      g_string_append_printf (json, "\\u%04x", *c);
    else
      g_string_append_c (json, *c);
  g_string_append_c (json, '"');
  return TRUE;
}

static int
compare_keys (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, so that the same map gives the same bytes. */
static gboolean
append_metadata (GString *json, GHashTable *metadata, GError **error)
{
  guint n;
  g_autofree char **keys = (char **)g_hash_table_get_keys_as_array (metadata, &n);

  if (n == 0)
    return TRUE;
  qsort (keys, n, sizeof *keys, compare_keys);
  g_string_append (json, "\"" SUMI_SAFETENSORS_METADATA "\":{");
  for (guint i = 0; i < n; i++)
    {
      if (!append_string (json, keys[i], error))
        return FALSE;
      g_string_append_c (json, ':');
      if (!append_string (json, g_hash_table_lookup (metadata, keys[i]), error))
        return FALSE;
      g_string_append (json, i + 1 < n ? "," : "},");
    }
  return TRUE;
}

static gboolean
append_tensor (GString *json, const Item *item, guint64 begin, GError **error)
{
  const SumiShape *shape = sumi_tensor_get_shape (item->tensor);
  SumiDType dtype = sumi_tensor_get_dtype (item->tensor);

  if (strcmp (item->name, SUMI_SAFETENSORS_METADATA) == 0)
    {
      g_set_error_literal (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER,
                           "found a tensor named " SUMI_SAFETENSORS_METADATA ", which the format keeps for itself");
      return FALSE;
    }
  if (sumi_dtype_is_quantised (dtype))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "%s: found %s, which safetensors has no name for",
                   item->name, sumi_dtype_name (dtype));
      return FALSE;
    }
  if (!append_string (json, item->name, error))
    return FALSE;
  g_string_append_printf (json, ":{\"dtype\":\"%s\",\"shape\":[", sumi_dtype_name (dtype));
  for (guint i = 0; i < shape->rank; i++)
    g_string_append_printf (json, i > 0 ? ",%" G_GINT64_FORMAT : "%" G_GINT64_FORMAT, shape->d[i]);
  g_string_append_printf (json, "],\"data_offsets\":[%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT "]},", begin,
                          begin + sumi_tensor_get_size (item->tensor));
  return TRUE;
}

/* The items in the order of the data. */
static GArray *
sorted_items (const SumiTensorMap *map)
{
  GArray *items = g_array_new (FALSE, FALSE, sizeof (Item));

  for (guint i = 0; i < sumi_tensor_map_get_size (map); i++)
    {
      Item item = { sumi_tensor_map_get_name (map, i), sumi_tensor_map_peek_nth (map, i) };
      g_array_append_val (items, item);
    }
  g_array_sort (items, compare_items);
  return items;
}

static GString *
build_header (const SumiTensorMap *map, const GArray *items, GError **error)
{
  g_autoptr (GString) json = g_string_new ("{");
  guint64 position = 0;

  if (!append_metadata (json, sumi_tensor_map_peek_metadata (map), error))
    return NULL;
  for (guint i = 0; i < items->len; i++)
    {
      const Item *item = &g_array_index (items, Item, i);

      if (!append_tensor (json, item, position, error))
        return NULL;
      position += sumi_tensor_get_size (item->tensor);
    }
  if (json->str[json->len - 1] == ',')
    g_string_truncate (json, json->len - 1);
  g_string_append_c (json, '}');
  while (json->len % 8 != 0)
    g_string_append_c (json, ' ');
  if (json->len > MAX_HEADER)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
                   "found a header of %" G_GSIZE_FORMAT " bytes, expected at most %d", json->len, MAX_HEADER);
      return NULL;
    }
  return g_steal_pointer (&json);
}

gboolean
sumi_safetensors_save (const SumiTensorMap *map, const char *path, GError **error)
{
  g_autoptr (GArray) items = sorted_items (map);
  g_autoptr (GString) header = build_header (map, items, error);
  SumiAtomicFile file;
  guint64 length;

  if (header == NULL || !sumi_atomic_file_open (&file, path, error))
    return FALSE;
  length = header->len;
  fwrite (&length, 1, sizeof length, file.stream); /* failures are remembered by the stream */
  fwrite (header->str, 1, header->len, file.stream);
  for (guint i = 0; i < items->len; i++)
    {
      const SumiTensor *t = g_array_index (items, Item, i).tensor;
      fwrite (sumi_tensor_peek (t), 1, sumi_tensor_get_size (t), file.stream);
    }
  return sumi_atomic_file_commit (&file, error);
}
