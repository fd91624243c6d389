/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tensor/tensor-map.h"

typedef struct
{
  char *name;
  SumiTensor *tensor;
} Entry;

struct _SumiTensorMap
{
  gatomicrefcount refs;
  GPtrArray *entries;   /* Entry, in insertion order; owns them */
  GHashTable *by_name;  /* Entry.name -> Entry */
  GHashTable *metadata; /* char* -> char*, owned */
};

static void
entry_free (gpointer data)
{
  Entry *e = data;
  g_free (e->name);
  sumi_tensor_unref (e->tensor);
  g_free (e);
}

SumiTensorMap *
sumi_tensor_map_new (void)
{
  SumiTensorMap *m = g_new (SumiTensorMap, 1);
  g_atomic_ref_count_init (&m->refs);
  m->entries = g_ptr_array_new_with_free_func (entry_free);
  m->by_name = g_hash_table_new (g_str_hash, g_str_equal);
  m->metadata = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  return m;
}

SumiTensorMap *
sumi_tensor_map_ref (SumiTensorMap *m)
{
  g_atomic_ref_count_inc (&m->refs);
  return m;
}

void
sumi_tensor_map_unref (SumiTensorMap *m)
{
  if (m == NULL || !g_atomic_ref_count_dec (&m->refs))
    return;
  g_hash_table_unref (m->by_name);
  g_ptr_array_unref (m->entries);
  g_hash_table_unref (m->metadata);
  g_free (m);
}

guint
sumi_tensor_map_get_size (const SumiTensorMap *m)
{
  return m->entries->len;
}

const char *
sumi_tensor_map_get_name (const SumiTensorMap *m, guint i)
{
  g_return_val_if_fail (i < m->entries->len, NULL);
  return ((Entry *)g_ptr_array_index (m->entries, i))->name;
}

SumiTensor *
sumi_tensor_map_peek_nth (const SumiTensorMap *m, guint i)
{
  g_return_val_if_fail (i < m->entries->len, NULL);
  return ((Entry *)g_ptr_array_index (m->entries, i))->tensor;
}

SumiTensor *
sumi_tensor_map_peek (const SumiTensorMap *m, const char *name)
{
  Entry *e = g_hash_table_lookup (m->by_name, name);
  return e != NULL ? e->tensor : NULL;
}

SumiTensor *
sumi_tensor_map_lookup (const SumiTensorMap *m, const char *name, GError **error)
{
  SumiTensor *t = sumi_tensor_map_peek (m, name);
  if (t == NULL)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR, "%s: not found among %u tensors", name, m->entries->len);
  return t;
}

SumiTensor *
sumi_tensor_map_lookup_shaped (const SumiTensorMap *m, const char *name, const SumiShape *want, GError **error)
{
  SumiTensor *t = sumi_tensor_map_lookup (m, name, error);

  if (t != NULL && !sumi_shape_equal (sumi_tensor_get_shape (t), want))
    {
      g_autofree char *found = sumi_shape_to_string (sumi_tensor_get_shape (t)), *wanted = sumi_shape_to_string (want);
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "%s: found %s, expected %s", name, found, wanted);
      return NULL;
    }
  return t;
}

void
sumi_tensor_map_take (SumiTensorMap *m, const char *name, SumiTensor *t)
{
  Entry *e = g_hash_table_lookup (m->by_name, name);

  if (e != NULL)
    {
      sumi_tensor_unref (e->tensor);
      e->tensor = t;
      return;
    }
  e = g_new (Entry, 1);
  e->name = g_strdup (name);
  e->tensor = t;
  g_ptr_array_add (m->entries, e);
  g_hash_table_insert (m->by_name, e->name, e);
}

void
sumi_tensor_map_set (SumiTensorMap *m, const char *name, SumiTensor *t)
{
  sumi_tensor_map_take (m, name, sumi_tensor_ref (t));
}

gboolean
sumi_tensor_map_remove (SumiTensorMap *m, const char *name)
{
  Entry *e = g_hash_table_lookup (m->by_name, name);

  if (e == NULL)
    return FALSE;
  g_hash_table_remove (m->by_name, name);
  g_ptr_array_remove (m->entries, e);
  return TRUE;
}

const char *
sumi_tensor_map_get_metadata (const SumiTensorMap *m, const char *key)
{
  return g_hash_table_lookup (m->metadata, key);
}

void
sumi_tensor_map_set_metadata (SumiTensorMap *m, const char *key, const char *value)
{
  g_hash_table_insert (m->metadata, g_strdup (key), g_strdup (value));
}

GHashTable *
sumi_tensor_map_peek_metadata (const SumiTensorMap *m)
{
  return m->metadata;
}
