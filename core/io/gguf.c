/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/gguf.h"

#include "io/mapped.h"
#include "io/reader.h"

#define MAGIC "GGUF"
#define DEFAULT_ALIGNMENT 32
#define ORIGINAL_SHAPE "comfy.gguf.orig_shape."

/* Far above any file: the bounds on the memory for names and texts. */
#define MAX_TENSORS (1 << 17)
#define MAX_PAIRS (1 << 17)
#define MAX_NAME 1024
#define MAX_TEXTS (16 << 20) /* all together, with what tables keep for them */
#define TEXT_OVERHEAD 64
#define MAX_ARRAY_DEPTH 4

/* The types of values in key-value pairs. */
enum
{
  VALUE_U8,
  VALUE_I8,
  VALUE_U16,
  VALUE_I16,
  VALUE_U32,
  VALUE_I32,
  VALUE_F32,
  VALUE_BOOL,
  VALUE_STRING,
  VALUE_ARRAY,
  VALUE_U64,
  VALUE_I64,
  VALUE_F64,
  N_VALUES
};

static const guint8 value_sizes[N_VALUES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

typedef struct
{
  char *name;
  SumiDType dtype;
  SumiShape shape;
  guint64 begin, size; /* relative to the data */
} Entry;

typedef struct
{
  SumiReader r;
  SumiTensorMap *map;
  GHashTable *shapes; /* tensor name -> SumiShape*, those of comfy.gguf.orig_shape */
  GArray *entries;    /* Entry, in the order of the file */
  gsize texts_left;   /* bytes */
  guint32 alignment;
  GError **error;
} Load;

static void
entry_clear (Entry *e)
{
  g_free (e->name);
}

static gboolean fail (Load *l, SumiError code, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* Always FALSE. */
static gboolean
fail (Load *l, SumiError code, const char *format, ...)
{
  g_autofree char *what = NULL;
  va_list args;

  va_start (args, format);
  what = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (l->error, SUMI_ERROR, code, "GGUF: %s", what);
  return FALSE;
}

static gboolean
take_uint (Load *l, guint size, guint64 *value)
{
  return sumi_reader_take_uint (&l->r, size, value)
         || fail (l, SUMI_ERROR_TRUNCATED, "found the end of the file within its header");
}

/* length | bytes: NULL on error. */
static char *
take_string (Load *l, gsize max)
{
  guint64 length;
  const guint8 *bytes;

  if (!take_uint (l, 8, &length))
    return NULL;
  if (!sumi_reader_take (&l->r, length, &bytes))
    {
      fail (l, SUMI_ERROR_TRUNCATED, "found the end of the file within a text of %" G_GUINT64_FORMAT " bytes", length);
      return NULL;
    }
  if (length > max || length + TEXT_OVERHEAD > l->texts_left)
    {
      fail (l, SUMI_ERROR_TOO_LARGE,
            "found a text of %" G_GUINT64_FORMAT " bytes, expected at most %" G_GSIZE_FORMAT ", and %d in all", length,
            max, MAX_TEXTS);
      return NULL;
    }
  l->texts_left -= length + TEXT_OVERHEAD;
  if (!g_utf8_validate_len ((const char *)bytes, length, NULL))
    {
      fail (l, SUMI_ERROR_BAD_HEADER, "found a text that is not UTF-8");
      return NULL;
    }
  return g_strndup ((const char *)bytes, length);
}

/* ---- key-value pairs ---- */

static gboolean
take_array_head (Load *l, guint64 *type, guint64 *n)
{
  if (!take_uint (l, 4, type) || !take_uint (l, 8, n))
    return FALSE;
  return *type < N_VALUES
         || fail (l, SUMI_ERROR_BAD_HEADER, "found an array of the unknown type %" G_GUINT64_FORMAT, *type);
}

static gboolean
skip_string (Load *l)
{
  guint64 length;
  const guint8 *bytes;

  return take_uint (l, 8, &length)
         && (sumi_reader_take (&l->r, length, &bytes)
             || fail (l, SUMI_ERROR_TRUNCATED, "found the end of the file within an array of texts"));
}

/* Each element takes bytes of the file, so that this ends. */
static gboolean
skip_array (Load *l, guint depth)
{
  guint64 type, n, size;
  const guint8 *bytes;

  if (!take_array_head (l, &type, &n))
    return FALSE;
  if (depth == MAX_ARRAY_DEPTH)
    return fail (l, SUMI_ERROR_TOO_LARGE, "found arrays in arrays, more than %d deep", MAX_ARRAY_DEPTH);
  if (value_sizes[type] > 0)
    return (!__builtin_mul_overflow (n, value_sizes[type], &size) && sumi_reader_take (&l->r, size, &bytes))
           || fail (l, SUMI_ERROR_TRUNCATED, "found the end of the file within an array of %" G_GUINT64_FORMAT, n);
  for (guint64 i = 0; i < n; i++)
    if (type == VALUE_ARRAY ? !skip_array (l, depth + 1) : !skip_string (l))
      return FALSE;
  return TRUE;
}

/* An array of a few integers: the shape of the tensor that the key ends with. */
static gboolean
take_original_shape (Load *l, const char *tensor)
{
  g_autofree SumiShape *shape = g_new0 (SumiShape, 1);
  guint64 type, n, d;

  if (!take_array_head (l, &type, &n))
    return FALSE;
  if ((type != VALUE_I32 && type != VALUE_U32 && type != VALUE_I64 && type != VALUE_U64) || n > SUMI_MAX_RANK)
    return fail (l, SUMI_ERROR_BAD_SHAPE, ORIGINAL_SHAPE "%.64s: expected at most %d integers", tensor, SUMI_MAX_RANK);
  for (shape->rank = 0; shape->rank < n; shape->rank++)
    {
      if (!take_uint (l, value_sizes[type], &d))
        return FALSE;
      if (d > G_MAXINT32)
        return fail (l, SUMI_ERROR_BAD_SHAPE, ORIGINAL_SHAPE "%.64s: found a dimension below 0 or above 2^31-1",
                     tensor);
      shape->d[shape->rank] = (gint64)d;
    }
  g_hash_table_insert (l->shapes, g_strdup (tensor), g_steal_pointer (&shape));
  return TRUE;
}

static gint64
sign_extend (guint64 value, guint size)
{
  guint shift = 64 - 8 * size;

  return (gint64)(value << shift) >> shift;
}

/* A number as text. */
static char *
number_text (guint64 type, guint64 bits)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  guint32 low = (guint32)bits;
  float narrow;
  double wide;

  switch (type)
    {
    case VALUE_I8:
    case VALUE_I16:
    case VALUE_I32:
    case VALUE_I64:
      return g_strdup_printf ("%" G_GINT64_FORMAT, sign_extend (bits, value_sizes[type]));
    case VALUE_BOOL:
      return g_strdup (bits ? "true" : "false");
    case VALUE_F32:
      memcpy (&narrow, &low, sizeof narrow);
      return g_strdup (g_ascii_formatd (text, sizeof text, "%.9g", (double)narrow));
    case VALUE_F64:
      memcpy (&wide, &bits, sizeof wide);
      return g_strdup (g_ascii_dtostr (text, sizeof text, wide));
    default:
      return g_strdup_printf ("%" G_GUINT64_FORMAT, bits);
    }
}

static gboolean
set_alignment (Load *l, guint64 type, guint64 value)
{
  if (type != VALUE_U32 || value == 0 || value > 1 << 20 || (value & (value - 1)) != 0)
    return fail (l, SUMI_ERROR_BAD_HEADER, "general.alignment: found %" G_GUINT64_FORMAT ", expected a power of two",
                 value);
  l->alignment = (guint32)value;
  return TRUE;
}

/* A pair that is no array. */
static gboolean
take_scalar (Load *l, const char *key, guint64 type)
{
  g_autofree char *text = NULL;
  guint64 bits = 0;

  if (type == VALUE_STRING)
    text = take_string (l, MAX_TEXTS);
  else if (take_uint (l, value_sizes[type], &bits))
    text = number_text (type, bits);
  if (text == NULL)
    return FALSE;
  if (strcmp (key, "general.alignment") == 0 && !set_alignment (l, type, bits))
    return FALSE;
  if (sumi_tensor_map_get_metadata (l->map, key) != NULL)
    return fail (l, SUMI_ERROR_BAD_HEADER, "found the key '%.64s' twice", key);
  sumi_tensor_map_set_metadata (l->map, key, text);
  return TRUE;
}

static gboolean
take_pair (Load *l)
{
  g_autofree char *key = take_string (l, MAX_NAME);
  guint64 type;

  if (key == NULL || !take_uint (l, 4, &type))
    return FALSE;
  if (type >= N_VALUES)
    return fail (l, SUMI_ERROR_BAD_HEADER, "%.64s: found a value of the unknown type %" G_GUINT64_FORMAT, key, type);
  if (type != VALUE_ARRAY)
    return take_scalar (l, key, type);
  if (g_str_has_prefix (key, ORIGINAL_SHAPE))
    return take_original_shape (l, key + strlen (ORIGINAL_SHAPE));
  return skip_array (l, 0);
}

/* ---- tensors ---- */

/* ggml's numbers for types */
static gboolean
find_dtype (Load *l, const char *name, guint64 type, SumiDType *dtype)
{
  static const struct
  {
    guint8 type, dtype;
  } types[] = {
    { 0, SUMI_F32 },   { 1, SUMI_F16 },   { 2, SUMI_Q4_0 },  { 3, SUMI_Q4_1 },  { 6, SUMI_Q5_0 },
    { 7, SUMI_Q5_1 },  { 8, SUMI_Q8_0 },  { 10, SUMI_Q2_K }, { 11, SUMI_Q3_K }, { 12, SUMI_Q4_K },
    { 13, SUMI_Q5_K }, { 14, SUMI_Q6_K }, { 15, SUMI_Q8_K }, { 24, SUMI_I8 },   { 25, SUMI_I16 },
    { 26, SUMI_I32 },  { 27, SUMI_I64 },  { 28, SUMI_F64 },  { 30, SUMI_BF16 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (types); i++)
    if (types[i].type == type)
      {
        *dtype = types[i].dtype;
        return TRUE;
      }
  return fail (l, SUMI_ERROR_UNSUPPORTED_DTYPE,
               "%.64s: found ggml's type %" G_GUINT64_FORMAT
               ", expected F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q8_K or a plain type",
               name, type);
}

/* n | dimensions, the fastest first */
static gboolean
take_shape (Load *l, Entry *e)
{
  guint64 rank, d;

  if (!take_uint (l, 4, &rank))
    return FALSE;
  if (rank > SUMI_MAX_RANK)
    return fail (l, SUMI_ERROR_BAD_SHAPE, "%.64s: found %" G_GUINT64_FORMAT " dimensions, expected at most %d", e->name,
                 rank, SUMI_MAX_RANK);
  e->shape.rank = (guint)rank;
  for (guint i = e->shape.rank; i > 0; i--)
    {
      if (!take_uint (l, 8, &d))
        return FALSE;
      if (d > G_MAXINT64)
        return fail (l, SUMI_ERROR_BAD_SHAPE, "%.64s: found a dimension above 2^63-1", e->name);
      e->shape.d[i - 1] = (gint64)d;
    }
  return TRUE;
}

static gboolean
count_size (Load *l, Entry *e)
{
  guint length = sumi_dtype_block_length (e->dtype);
  gint64 numel, row = e->shape.rank > 0 ? e->shape.d[e->shape.rank - 1] : 1;

  if (!sumi_shape_checked_numel (&e->shape, &numel)
      || __builtin_mul_overflow ((guint64)numel / length, sumi_dtype_block_size (e->dtype), &e->size))
    return fail (l, SUMI_ERROR_BAD_SHAPE, "%.64s: the shape has too many elements", e->name);
  return row % length == 0
         || fail (l, SUMI_ERROR_BAD_SHAPE,
                  "%.64s: found rows of %" G_GINT64_FORMAT ", expected whole blocks of %u for %s", e->name, row, length,
                  sumi_dtype_name (e->dtype));
}

/* name | shape | type | offset */
static gboolean
take_info (Load *l, GHashTable *names)
{
  Entry e = { .name = take_string (l, MAX_NAME) };
  guint64 type;

  if (e.name == NULL)
    return FALSE;
  g_array_append_val (l->entries, e);
  if (!take_shape (l, &e) || !take_uint (l, 4, &type) || !take_uint (l, 8, &e.begin)
      || !find_dtype (l, e.name, type, &e.dtype) || !count_size (l, &e))
    return FALSE;
  if (!g_hash_table_add (names, e.name))
    return fail (l, SUMI_ERROR_BAD_HEADER, "found the name '%.64s' twice", e.name);
  if (e.begin % l->alignment != 0)
    return fail (l, SUMI_ERROR_BAD_OFFSETS, "%.64s: found its data at %" G_GUINT64_FORMAT ", expected a multiple of %u",
                 e.name, e.begin, l->alignment);
  g_array_index (l->entries, Entry, l->entries->len - 1) = e;
  return TRUE;
}

static int
compare_begin (gconstpointer a, gconstpointer b)
{
  const Entry *x = *(const Entry *const *)a, *y = *(const Entry *const *)b;

  if (x->begin != y->begin)
    return x->begin < y->begin ? -1 : 1;
  return x->size < y->size ? -1 : x->size > y->size;
}

/* Within the data, and no two share bytes. */
static gboolean
check_layout (Load *l, guint64 data_size)
{
  g_autoptr (GPtrArray) sorted = g_ptr_array_new ();
  guint64 position = 0;

  for (guint i = 0; i < l->entries->len; i++)
    g_ptr_array_add (sorted, &g_array_index (l->entries, Entry, i));
  g_ptr_array_sort (sorted, compare_begin);
  for (guint i = 0; i < sorted->len; i++)
    {
      const Entry *e = g_ptr_array_index (sorted, i);

      if (e->begin > data_size || e->size > data_size - e->begin)
        return fail (l, SUMI_ERROR_TRUNCATED,
                     "%.64s: found %" G_GUINT64_FORMAT " bytes of data, expected %" G_GUINT64_FORMAT
                     " from %" G_GUINT64_FORMAT,
                     e->name, data_size, e->size, e->begin);
      if (e->begin < position)
        return fail (l, SUMI_ERROR_BAD_OFFSETS, "%.64s: its data at %" G_GUINT64_FORMAT " is another tensor's too",
                     e->name, e->begin);
      position = e->begin + e->size;
    }
  return TRUE;
}

/* ---- the file ---- */

static gboolean
take_head (Load *l, guint64 *n_tensors, guint64 *n_pairs)
{
  const guint8 *magic;
  guint64 version;

  if (!sumi_reader_take (&l->r, strlen (MAGIC), &magic) || memcmp (magic, MAGIC, strlen (MAGIC)) != 0)
    return fail (l, SUMI_ERROR_UNSUPPORTED_FORMAT, "found another file");
  if (!take_uint (l, 4, &version))
    return FALSE;
  if (version != 2 && version != 3)
    return fail (l, SUMI_ERROR_UNSUPPORTED_FORMAT, "found %s %" G_GUINT64_FORMAT ", expected version 2 or 3",
                 version & 0xffff ? "version" : "a big-endian file, version", version);
  if (!take_uint (l, 8, n_tensors) || !take_uint (l, 8, n_pairs))
    return FALSE;
  if (*n_tensors > MAX_TENSORS || *n_pairs > MAX_PAIRS)
    return fail (l, SUMI_ERROR_TOO_LARGE,
                 "found %" G_GUINT64_FORMAT " tensors and %" G_GUINT64_FORMAT " values, expected at most %d of each",
                 *n_tensors, *n_pairs, MAX_TENSORS);
  return TRUE;
}

static gboolean
take_header (Load *l)
{
  g_autoptr (GHashTable) names = g_hash_table_new (g_str_hash, g_str_equal);
  guint64 n_tensors, n_pairs;

  if (!take_head (l, &n_tensors, &n_pairs))
    return FALSE;
  for (guint64 i = 0; i < n_pairs; i++)
    if (!take_pair (l))
      return FALSE;
  for (guint64 i = 0; i < n_tensors; i++)
    if (!take_info (l, names))
      return FALSE;
  return TRUE;
}

static gboolean
add_tensor (Load *l, const Entry *e, GBytes *bytes, guint64 data, SumiNewTensorFunc new_tensor)
{
  g_autoptr (GBytes) part = g_bytes_new_from_bytes (bytes, data + e->begin, e->size);
  const SumiShape *original = g_hash_table_lookup (l->shapes, e->name);
  g_autoptr (SumiTensor) t = new_tensor (e->dtype, &e->shape, part, l->error);

  if (t == NULL)
    return FALSE;
  if (original != NULL)
    {
      SumiTensor *reshaped = sumi_tensor_reshape (t, original, l->error);

      if (reshaped == NULL)
        {
          g_prefix_error (l->error, ORIGINAL_SHAPE "%s: ", e->name);
          return FALSE;
        }
      sumi_tensor_map_take (l->map, e->name, reshaped);
      return TRUE;
    }
  sumi_tensor_map_set (l->map, e->name, t);
  return TRUE;
}

static gboolean
load_all (Load *l, GBytes *bytes, SumiNewTensorFunc new_tensor)
{
  gsize size, data;
  const guint8 *start = g_bytes_get_data (bytes, &size);

  l->r = (SumiReader){ start, start + size };
  if (!take_header (l))
    return FALSE;
  data = (gsize)(l->r.p - start);
  data = MIN ((data + l->alignment - 1) / l->alignment * l->alignment, size);
  if (!check_layout (l, size - data))
    return FALSE;
  for (guint i = 0; i < l->entries->len; i++)
    if (!add_tensor (l, &g_array_index (l->entries, Entry, i), bytes, data, new_tensor))
      return FALSE;
  return TRUE;
}

static SumiTensorMap *
parse (GBytes *bytes, SumiNewTensorFunc new_tensor, GError **error)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  g_autoptr (GHashTable) shapes = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_autoptr (GArray) entries = g_array_new (FALSE, FALSE, sizeof (Entry));
  Load l = { .map = map,
             .shapes = shapes,
             .entries = entries,
             .texts_left = MAX_TEXTS,
             .alignment = DEFAULT_ALIGNMENT,
             .error = error };

  g_array_set_clear_func (entries, (GDestroyNotify)entry_clear);
  return load_all (&l, bytes, new_tensor) ? g_steal_pointer (&map) : NULL;
}

SumiTensorMap *
sumi_gguf_parse (GBytes *bytes, GError **error)
{
  return parse (bytes, sumi_tensor_new_bytes, error);
}

SumiTensorMap *
sumi_gguf_open (const char *path, GError **error)
{
  return sumi_parse_mapped (path, parse, error);
}
