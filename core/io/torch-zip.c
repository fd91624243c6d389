/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/torch-zip.h"

#include <string.h>

#include "io/pickle-classes.h"
#include "io/mapped.h"
#include "io/zip.h"

#define PICKLE_NAME "data.pkl"
#define LONE_NAME "tensor" /* of a tensor in no dictionary */
#define NOT_READ "(not read)"
#define MAX_DEPTH 32
#define MAX_VISITS SUMI_PICKLE_MAX_STEPS
#define MAX_TENSORS (1 << 17)
#define MAX_NAME 1024
#define MAX_METADATA (16 << 20)

typedef struct
{
  SumiZip *zip;
  char *prefix; /* "archive/" */
  SumiTensorMap *map;
  SumiNewTensorFunc new_tensor;
  gsize copies_left, metadata_left; /* bytes */
  guint visits_left;
} Load;

/* ---- tensors ---- */

/* Row-major without gaps; the strides of dimensions of one, and of empty tensors, do not matter. */
static gboolean
is_contiguous (const SumiPickleTensor *t, gint64 numel)
{
  gint64 expected = 1;

  for (guint i = t->shape.rank; i > 0 && numel > 0; i--)
    {
      if (t->shape.d[i - 1] != 1 && t->stride.d[i - 1] != expected)
        return FALSE;
      expected *= t->shape.d[i - 1];
    }
  return TRUE;
}

/* The elements from the first to the last one; FALSE when they cannot be counted. */
static gboolean
count_extent (const SumiPickleTensor *t, gint64 numel, gint64 *extent)
{
  *extent = numel > 0 ? 1 : 0;
  for (guint i = 0; i < t->shape.rank && numel > 0; i++)
    {
      gint64 steps;

      if (__builtin_mul_overflow (t->shape.d[i] - 1, t->stride.d[i], &steps)
          || __builtin_add_overflow (*extent, steps, extent))
        return FALSE;
    }
  return TRUE;
}

/* Elements of `size` bytes from strided places into order. */
static void
gather (const SumiPickleTensor *t, gint64 numel, gsize size, const guint8 *from, guint8 *to)
{
  gint64 index[SUMI_MAX_RANK] = { 0 };
  guint64 at = 0; /* without sign: the stride of a dimension of one may be anything, and wraps there and back */

  for (gint64 n = 0; n < numel; n++)
    {
      memcpy (to + (gsize)n * size, from + at * size, size);
      for (guint i = t->shape.rank; i > 0; i--)
        {
          at += (guint64)t->stride.d[i - 1];
          if (++index[i - 1] < t->shape.d[i - 1])
            break;
          at -= (guint64)t->stride.d[i - 1] * (guint64)t->shape.d[i - 1];
          index[i - 1] = 0;
        }
    }
}

static SumiTensor *
copy_tensor (Load *l, const char *name, const SumiPickleTensor *t, gint64 numel, GBytes *part, GError **error)
{
  gsize size = sumi_dtype_size (t->dtype);
  SumiTensor *copy;

  if ((gsize)numel > l->copies_left / size)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
                   "%s: found tensors in another order than rows, larger than the whole file", name);
      return NULL;
    }
  copy = sumi_tensor_new (t->dtype, &t->shape, error);
  if (copy == NULL)
    return NULL;
  l->copies_left -= (gsize)numel * size;
  gather (t, numel, size, g_bytes_get_data (part, NULL), sumi_tensor_poke (copy));
  return copy;
}

/* The storage's bytes, at least as many as its elements have. */
static GBytes *
find_storage (const Load *l, const SumiPickleValue *storage, gsize *size, GError **error)
{
  g_autofree char *key = g_strndup (storage->storage.key->text.data, storage->storage.key->text.length);
  g_autofree char *name = g_strconcat (l->prefix, "data/", key, NULL);
  g_autoptr (GBytes) bytes = sumi_zip_lookup (l->zip, name, error);
  guint64 needed;

  if (bytes == NULL)
    return NULL;
  if (__builtin_mul_overflow ((guint64)storage->storage.numel, sumi_dtype_size (storage->storage.dtype), &needed)
      || needed > g_bytes_get_size (bytes))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_OFFSETS,
                   "%s: found %" G_GSIZE_FORMAT " bytes, expected %" G_GINT64_FORMAT " elements", name,
                   g_bytes_get_size (bytes), storage->storage.numel);
      return NULL;
    }
  *size = needed;
  return g_steal_pointer (&bytes);
}

static SumiTensor *
load_tensor (Load *l, const char *name, const SumiPickleTensor *t, GError **error)
{
  gsize element = sumi_dtype_size (t->dtype), size;
  g_autoptr (GBytes) bytes = find_storage (l, t->storage, &size, error), part = NULL;
  gint64 numel, extent, capacity;

  if (bytes == NULL)
    return NULL;
  capacity = (gint64)(size / element);
  if (!sumi_shape_checked_numel (&t->shape, &numel))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE, "%s: the shape has too many elements", name);
      return NULL;
    }
  if (!count_extent (t, numel, &extent) || t->offset > capacity || extent > capacity - t->offset)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_OFFSETS,
                   "%s: found elements beyond the %" G_GINT64_FORMAT " of its storage", name, capacity);
      return NULL;
    }
  part = g_bytes_new_from_bytes (bytes, (gsize)t->offset * element, (gsize)extent * element);
  return is_contiguous (t, numel) ? l->new_tensor (t->dtype, &t->shape, part, error)
                                  : copy_tensor (l, name, t, numel, part, error);
}

/* ---- names ---- */

static gboolean
refuse_second (const char *name, GError **error)
{
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER, "found the name '%.64s' twice", name);
  return FALSE;
}

static gboolean
add_tensor (Load *l, const char *name, const SumiPickleTensor *t, GError **error)
{
  SumiTensor *tensor;

  if (sumi_tensor_map_peek (l->map, name) != NULL)
    return refuse_second (name, error);
  if (sumi_tensor_map_get_size (l->map) == MAX_TENSORS)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE, "found more than %d tensors", MAX_TENSORS);
      return FALSE;
    }
  tensor = load_tensor (l, name, t, error);
  if (tensor == NULL)
    return FALSE;
  sumi_tensor_map_take (l->map, name, tensor);
  return TRUE;
}

/* NULL for what has no text. */
static char *
scalar_text (const SumiPickleValue *v)
{
  char number[G_ASCII_DTOSTR_BUF_SIZE];

  switch (v->kind)
    {
    case SUMI_PICKLE_STRING:
      return g_strndup (v->text.data, v->text.length);
    case SUMI_PICKLE_INT:
      return g_strdup_printf ("%" G_GINT64_FORMAT, v->integer);
    case SUMI_PICKLE_BOOL:
      return g_strdup (v->integer ? "True" : "False");
    case SUMI_PICKLE_FLOAT:
      return g_strdup (g_ascii_dtostr (number, sizeof number, v->real));
    default:
      return NULL;
    }
}

/* What nothing is made of is said to be there. */
static gboolean
add_metadata (Load *l, const char *name, const SumiPickleValue *v, GError **error)
{
  g_autofree char *text = v->kind == SUMI_PICKLE_OTHER ? g_strdup (NOT_READ) : scalar_text (v);
  gsize size;

  if (text == NULL)
    return TRUE;
  size = strlen (name) + strlen (text) + 64; /* and what a table keeps for them */
  if (size > l->metadata_left)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE, "found more than %d MiB of metadata", MAX_METADATA >> 20);
      return FALSE;
    }
  l->metadata_left -= size;
  if (sumi_tensor_map_get_metadata (l->map, name) != NULL)
    return refuse_second (name, error);
  sumi_tensor_map_set_metadata (l->map, name, text);
  return TRUE;
}

static gboolean add_value (Load *l, GString *name, guint depth, const SumiPickleValue *v, GError **error);

/* The item's name is the container's, a dot, and its key; the name is as before afterwards. */
static gboolean
add_item (Load *l, GString *name, const char *key, guint depth, const SumiPickleValue *v, GError **error)
{
  gsize length = name->len;
  gboolean added;

  if (length > 0)
    g_string_append_c (name, '.');
  g_string_append (name, key);
  added = add_value (l, name, depth, v, error);
  g_string_truncate (name, length);
  return added;
}

/* A dictionary's keys are strings and numbers, or names of classes. NULL: something else. */
static char *
key_text (const SumiPickleValue *key)
{
  return key->kind == SUMI_PICKLE_CLASS ? g_strdup (sumi_pickle_class_get_name (key->class)) : scalar_text (key);
}

/* Nothing is lost where there is nothing to name. */
static gboolean
refuse_nameless (const char *name, const SumiPickleValue *v, GError **error)
{
  if (v->kind != SUMI_PICKLE_TENSOR && sumi_pickle_get_n_items (v) == 0)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER, "%.64s: found a key that is neither text nor number", name);
  return FALSE;
}

static gboolean
add_items (Load *l, GString *name, guint depth, const SumiPickleValue *v, GError **error)
{
  guint step = v->kind == SUMI_PICKLE_DICT ? 2 : 1;

  for (guint i = 0; i + step <= sumi_pickle_get_n_items (v); i += step)
    {
      g_autofree char *key = step == 2 ? key_text (sumi_pickle_get_item (v, i)) : g_strdup_printf ("%u", i);
      const SumiPickleValue *item = sumi_pickle_get_item (v, i + step - 1);

      if (key != NULL ? !add_item (l, name, key, depth, item, error) : !refuse_nameless (name->str, item, error))
        return FALSE;
    }
  return TRUE;
}

/* A value may be found at many places, even within itself: depth and visits are bounded. */
static gboolean
add_value (Load *l, GString *name, guint depth, const SumiPickleValue *v, GError **error)
{
  if (depth > MAX_DEPTH || name->len > MAX_NAME || l->visits_left-- == 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
                   "%.64s…: found dictionaries in each other, more than %d deep, with too long names, or without end",
                   name->str, MAX_DEPTH);
      return FALSE;
    }
  switch (v->kind)
    {
    case SUMI_PICKLE_TENSOR:
      return add_tensor (l, name->len > 0 ? name->str : LONE_NAME, v->tensor, error);
    case SUMI_PICKLE_DICT:
    case SUMI_PICKLE_LIST:
    case SUMI_PICKLE_TUPLE:
      return add_items (l, name, depth + 1, v, error);
    default:
      return add_metadata (l, name->str, v, error);
    }
}

/* ---- the archive ---- */

/* The folder of the one entry FOLDER/data.pkl, with its slash. */
static char *
find_prefix (const SumiZip *zip, GError **error)
{
  GPtrArray *names = sumi_zip_get_names (zip);
  char *prefix = NULL;

  for (guint i = 0; i < names->len; i++)
    {
      const char *name = g_ptr_array_index (names, i), *slash = strchr (name, '/');

      if (slash == NULL || strcmp (slash + 1, PICKLE_NAME) != 0)
        continue;
      if (prefix != NULL)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER, "found two entries */" PICKLE_NAME);
          g_free (prefix);
          return NULL;
        }
      prefix = g_strndup (name, (gsize)(slash + 1 - name));
    }
  if (prefix == NULL)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT,
                 "found a zip archive without */" PICKLE_NAME ", expected a checkpoint of torch");
  return prefix;
}

static gboolean
check_byte_order (const Load *l, GError **error)
{
  g_autofree char *name = g_strconcat (l->prefix, "byteorder", NULL);
  g_autoptr (GBytes) bytes = NULL;
  gsize size;
  const char *text;

  if (!sumi_zip_contains (l->zip, name))
    return TRUE;
  bytes = sumi_zip_lookup (l->zip, name, error);
  if (bytes == NULL)
    return FALSE;
  text = g_bytes_get_data (bytes, &size);
  if (size == strlen ("little") && memcmp (text, "little", size) == 0)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT, "found another byte order, expected little");
  return FALSE;
}

static gboolean
load_archive (Load *l, GError **error)
{
  g_autofree char *pickle_name = NULL;
  g_autoptr (GBytes) code = NULL;
  g_autoptr (SumiPickle) pickle = NULL;
  g_autoptr (GString) name = g_string_new (NULL);
  const guint8 *data;
  gsize size;

  l->prefix = find_prefix (l->zip, error);
  if (l->prefix == NULL || !check_byte_order (l, error))
    return FALSE;
  pickle_name = g_strconcat (l->prefix, PICKLE_NAME, NULL);
  code = sumi_zip_lookup (l->zip, pickle_name, error);
  if (code == NULL)
    return FALSE;
  data = g_bytes_get_data (code, &size);
  pickle = sumi_pickle_load (data, size, error);
  return pickle != NULL && add_value (l, name, 0, sumi_pickle_get_root (pickle), error);
}

static SumiTensorMap *
parse (GBytes *bytes, SumiNewTensorFunc new_tensor, GError **error)
{
  g_autoptr (SumiZip) zip = sumi_zip_new (bytes, error);
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  Load l = { .zip = zip,
             .map = map,
             .new_tensor = new_tensor,
             .copies_left = g_bytes_get_size (bytes),
             .metadata_left = MAX_METADATA,
             .visits_left = MAX_VISITS };
  gboolean loaded = zip != NULL && load_archive (&l, error);

  g_free (l.prefix);
  return loaded ? g_steal_pointer (&map) : NULL;
}

SumiTensorMap *
sumi_torch_zip_parse (GBytes *bytes, GError **error)
{
  return parse (bytes, sumi_tensor_new_bytes, error);
}

SumiTensorMap *
sumi_torch_zip_open (const char *path, GError **error)
{
  return sumi_parse_mapped (path, parse, error);
}
