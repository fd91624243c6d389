/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parameters, packed once for all plans that read them: see weights.h. */
#include "engine/cpu/weights.h"

#include <string.h>

#include "engine/cpu/room.h"

static void
form_free (gpointer data)
{
  SumiCpuForm *form = data;

  dnnl_memory_desc_destroy (form->desc);
  sumi_cpu_product_free (form->reorder);
  g_free (form);
}

SumiCpuWeights *
sumi_cpu_weights_new (void)
{
  SumiCpuWeights *w = g_new0 (SumiCpuWeights, 1);

  w->forms = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
  w->rooms = g_array_new (FALSE, FALSE, sizeof (SumiCpuRoom));
  return w;
}

void
sumi_cpu_weights_free (SumiCpuWeights *w)
{
  sumi_cpu_weights_end_setting (w);
  g_hash_table_unref (w->forms);
  for (guint i = 0; i < w->rooms->len; i++)
    sumi_cpu_unmap (&g_array_index (w->rooms, SumiCpuRoom, i));
  g_array_free (w->rooms, TRUE);
  sumi_cpu_dnnl_close (&w->dnnl);
  g_free (w);
}

gboolean
sumi_cpu_weights_open (SumiCpuWeights *w, GError **error)
{
  if (!w->open)
    w->open = sumi_cpu_dnnl_open (&w->dnnl, error);
  return w->open;
}

/* ---- forms ---- */

static GPtrArray *
peek_forms (SumiCpuWeights *w, const char *name)
{
  GPtrArray *forms = g_hash_table_lookup (w->forms, name);

  if (forms == NULL)
    {
      forms = g_ptr_array_new_with_free_func (form_free);
      g_hash_table_insert (w->forms, g_strdup (name), forms); /* the graph that names it may go first */
    }
  return forms;
}

static gboolean
same_view (const SumiValue *a, const SumiValue *b)
{
  SumiValue there = *b;

  there.buffer = a->buffer;
  return sumi_value_same_place (a, &there);
}

GPtrArray *
sumi_cpu_weights_formats (SumiCpuWeights *w, const char *name, const SumiValue *from, SumiDType dtype)
{
  GPtrArray *forms = peek_forms (w, name), *formats = g_ptr_array_new ();

  for (guint i = 0; i < forms->len; i++)
    {
      const SumiCpuForm *form = forms->pdata[i];
      dnnl_data_type_t type;

      if (form->desc == NULL || !same_view (&form->from, from))
        continue;
      dnnl_memory_desc_query (form->desc, dnnl_query_data_type, &type);
      if (type == sumi_cpu_dnnl_dtype (dtype))
        g_ptr_array_add (formats, form->desc);
    }
  return formats;
}

static gboolean
make_reorder (SumiCpuWeights *w, SumiCpuForm *form, GError **error)
{
  dnnl_memory_desc_t own = sumi_cpu_value_desc (&form->from);

  form->reorder = sumi_cpu_reorder_new (&w->dnnl, &form->from, own, &form->from, form->desc, error);
  dnnl_memory_desc_destroy (own);
  return form->reorder != NULL;
}

SumiCpuForm *
sumi_cpu_weights_want (SumiCpuWeights *w, const char *name, const SumiValue *from, const_dnnl_memory_desc_t desc,
                       GError **error)
{
  GPtrArray *forms = peek_forms (w, name);
  SumiCpuForm *form;

  for (guint i = 0; i < forms->len; i++)
    {
      form = forms->pdata[i];
      if (desc == NULL
              ? form->desc == NULL
              : form->desc != NULL && same_view (&form->from, from) && dnnl_memory_desc_equal (form->desc, desc))
        return form;
    }
  form = g_new0 (SumiCpuForm, 1);
  g_hash_table_lookup_extended (w->forms, name, (gpointer *)&form->parameter, NULL);
  form->from = *from;
  form->size = (gsize)sumi_shape_numel (&from->shape) * sumi_dtype_size (from->dtype);
  if (desc != NULL)
    {
      dnnl_memory_desc_clone (&form->desc, desc);
      form->size = dnnl_memory_desc_get_size (desc);
      if (!make_reorder (w, form, error))
        {
          form_free (form);
          return NULL;
        }
    }
  g_ptr_array_add (forms, form);
  return form;
}

gboolean
sumi_cpu_weights_place (SumiCpuWeights *w, GError **error)
{
  g_autoptr (GPtrArray) fresh = g_ptr_array_new ();
  SumiCpuRoom room = { 0 };
  GHashTableIter iter;
  gpointer value;
  gsize size = 0;

  g_hash_table_iter_init (&iter, w->forms);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    for (guint i = 0; i < ((GPtrArray *)value)->len; i++)
      {
        SumiCpuForm *form = ((GPtrArray *)value)->pdata[i];

        if (form->data != NULL)
          continue;
        g_ptr_array_add (fresh, form);
        if (form->size > G_MAXSIZE / 2 - size)
          size = G_MAXSIZE / 2;
        else
          size += sumi_cpu_aligned (form->size);
      }
  if (fresh->len == 0)
    return TRUE;
  if (!sumi_cpu_check_free (size, "memory for parameters", error)
      || !sumi_cpu_map (&room, size, "memory for parameters", error))
    return FALSE;
  g_array_append_val (w->rooms, room);
  size = 0;
  for (guint i = 0; i < fresh->len; i++)
    {
      SumiCpuForm *form = fresh->pdata[i];

      form->data = room.at + size;
      size += sumi_cpu_aligned (form->size);
      if (form->reorder != NULL && !sumi_cpu_product_point (form->reorder, 1, form->data, error))
        return FALSE;
    }
  return TRUE;
}

void
sumi_cpu_weights_drop_new (SumiCpuWeights *w)
{
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, w->forms);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      GPtrArray *forms = value;

      for (guint i = forms->len; i-- > 0;)
        if (((SumiCpuForm *)forms->pdata[i])->data == NULL)
          g_ptr_array_remove_index (forms, i);
    }
}

/* ---- values ---- */

void
sumi_cpu_weights_end_setting (SumiCpuWeights *w)
{
  sumi_cpu_unmap (&w->staging);
}

/* Room for n floats, then for the scratch of a reorder. */
static gboolean
want_staging (SumiCpuWeights *w, gsize size, GError **error)
{
  if (size <= w->staging.size)
    return TRUE;
  sumi_cpu_unmap (&w->staging);
  return sumi_cpu_map (&w->staging, size, "memory to pack a parameter", error);
}

#define PIECES 32

/* To floats, by rows: some dtypes take longer than it takes to read them. */
static void
convert (const SumiTensor *value, float *out)
{
  const SumiShape *shape = sumi_tensor_get_shape (value);
  gint64 rows = shape->rank > 0 ? shape->d[0] : 0, each = (rows + PIECES - 1) / PIECES;
  gint64 row = rows > 0 ? sumi_tensor_get_numel (value) / rows : 0;
  SumiTensor *pieces[PIECES] = { NULL };
  int n = 0;

  for (gint64 start = 0; row * rows >= 1 << 16 && start < rows; start += each, n++)
    {
      pieces[n] = sumi_tensor_slice0 ((SumiTensor *)value, start, MIN (each, rows - start), NULL);
      if (pieces[n] == NULL) /* blocks of a quantised dtype that go across rows */
        break;
    }
  if (n == 0 || n * each < rows)
    sumi_tensor_to_f32 (value, out);
  else
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < n; i++)
      sumi_tensor_to_f32 (pieces[i], out + i * each * row);
  for (int i = 0; i < n; i++)
    sumi_tensor_unref (pieces[i]);
}

static gsize
scratch_of (const GPtrArray *forms)
{
  gsize most = 0;

  for (guint i = 0; i < forms->len; i++)
    {
      const SumiCpuForm *form = forms->pdata[i];

      if (form->reorder != NULL)
        most = MAX (most, form->reorder->scratch);
    }
  return most;
}

static gboolean
make_form (SumiCpuWeights *w, SumiCpuForm *form, float *value, guint8 *scratch, GError **error)
{
  SumiCpuProduct *reorder = form->reorder;

  if (reorder == NULL)
    memcpy (form->data, value, form->size);
  else if (!sumi_cpu_product_point (reorder, 0, (guint8 *)value + form->from.offset, error)
           || !sumi_cpu_product_point (reorder, reorder->n_args - 1, scratch, error)
           || !sumi_cpu_product_execute (&w->dnnl, reorder, "packing a parameter", error))
    return FALSE;
  form->has_value = TRUE;
  return TRUE;
}

gboolean
sumi_cpu_weights_set (SumiCpuWeights *w, const char *name, const SumiTensor *value, GError **error)
{
  GPtrArray *forms = peek_forms (w, name);
  gboolean direct = sumi_tensor_get_dtype (value) == SUMI_F32 && sumi_tensor_is_aligned (value);
  gsize room = direct ? 0 : sumi_cpu_aligned ((gsize)sumi_tensor_get_numel (value) * sizeof (float));
  float *data;

  if (!want_staging (w, room + scratch_of (forms), error))
    return FALSE;
  data = direct ? (float *)sumi_tensor_peek_f32 (value) : (float *)w->staging.at;
  if (!direct)
    convert (value, data);
  for (guint i = 0; i < forms->len; i++)
    if (!make_form (w, forms->pdata[i], data, w->staging.at + room, error))
      return FALSE;
  return TRUE;
}
