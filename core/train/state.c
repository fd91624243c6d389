/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Checkpoints: safetensors with "param.NAME", "ema.NAME", "m.NAME", "v.NAME", "order", "rng", "history", "token_ids".
 */
#include "train/state.h"

#include <string.h>

#include "io/safetensors.h"

#define ROW (sizeof (SumiTrainRow) / sizeof (float))
#define MAX_STEPS 1e15

static const SumiModuleParam *
nth_param (const SumiModule *module, guint i)
{
  return &g_array_index (module->params, SumiModuleParam, i);
}

static SumiTrainState *
state_empty (void)
{
  SumiTrainState *s = g_new0 (SumiTrainState, 1); /* zeroed: the gaps of SumiRng are written to the file too */

  s->history = g_array_new (FALSE, FALSE, sizeof (SumiTrainRow));
  return s;
}

void
sumi_train_state_free (SumiTrainState *s)
{
  if (s == NULL)
    return;
  g_clear_pointer (&s->params, sumi_tensor_map_unref);
  g_clear_pointer (&s->ema, sumi_tensor_map_unref);
  g_clear_pointer (&s->m, sumi_tensor_map_unref);
  g_clear_pointer (&s->v, sumi_tensor_map_unref);
  g_clear_pointer (&s->token_ids, sumi_tensor_unref);
  g_array_unref (s->history);
  g_free (s->order);
  g_free (s->fingerprint);
  g_free (s);
}

/* ---- maps of parameters ---- */

/* Every parameter of the module as F32, from the file's PREFIX + its name. */
static SumiTensorMap *
load_params (const SumiTensorMap *file, const char *prefix, const SumiModule *module, GError **error)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();

  for (guint i = 0; i < module->params->len; i++)
    {
      const SumiNode *node = nth_param (module, i)->node;
      g_autofree char *name = g_strconcat (prefix, node->name, NULL);
      SumiTensor *t = sumi_tensor_map_lookup_shaped (file, name, &node->shape, error);

      if (t == NULL)
        return NULL;
      if (!sumi_tensor_is_finite (t))
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE, "%s: found NaN or infinity", name);
          return NULL;
        }
      t = sumi_tensor_cast (t, SUMI_F32, error); /* its own memory: it will be changed */
      if (t == NULL)
        return NULL;
      sumi_tensor_map_take (map, node->name, t);
    }
  return g_steal_pointer (&map);
}

static SumiTensorMap *
map_zeros (const SumiTensorMap *like, GError **error)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();

  for (guint i = 0; i < sumi_tensor_map_get_size (like); i++)
    {
      const SumiShape *shape = sumi_tensor_get_shape (sumi_tensor_map_peek_nth (like, i));
      SumiTensor *t = sumi_tensor_new (SUMI_F32, shape, error);
      if (t == NULL)
        return NULL;
      sumi_tensor_map_take (map, sumi_tensor_map_get_name (like, i), t);
    }
  return g_steal_pointer (&map);
}

static SumiTensorMap *
map_copy (const SumiTensorMap *map, SumiDType dtype, GError **error)
{
  g_autoptr (SumiTensorMap) copy = sumi_tensor_map_new ();

  for (guint i = 0; i < sumi_tensor_map_get_size (map); i++)
    {
      SumiTensor *t = sumi_tensor_cast (sumi_tensor_map_peek_nth (map, i), dtype, error);
      if (t == NULL)
        return NULL;
      sumi_tensor_map_take (copy, sumi_tensor_map_get_name (map, i), t);
    }
  return g_steal_pointer (&copy);
}

/* ---- a fresh run ---- */

static void
set_order (SumiTrainState *s, guint n)
{
  s->n_order = n;
  s->order = g_new (guint32, n);
  for (guint i = 0; i < n; i++)
    s->order[i] = i;
}

/* Fisher & Yates, from the order as it is. */
void
sumi_train_state_shuffle (SumiTrainState *s)
{
  for (guint i = s->n_order; i > 1; i--)
    {
      guint j = (guint)sumi_rng_below (&s->cursor.rng, i);
      guint32 other = s->order[j];
      s->order[j] = s->order[i - 1];
      s->order[i - 1] = other;
    }
  s->cursor.position = 0;
}

SumiTrainState *
sumi_train_state_new (const SumiModule *module, const SumiTensorMap *init, const SumiTrainOptions *o, guint n,
                      GError **error)
{
  g_autoptr (SumiTrainState) s = state_empty ();

  sumi_rng_seed (&s->cursor.rng, SUMI_RNG_TORCH, o->seed);
  s->params = init != NULL ? load_params (init, "", module, error) : sumi_module_init (module, &s->cursor.rng, error);
  if (s->params == NULL || (s->m = map_zeros (s->params, error)) == NULL
      || (s->v = map_zeros (s->params, error)) == NULL)
    return NULL;
  if (o->ema > 0 && (s->ema = map_copy (s->params, SUMI_F32, error)) == NULL)
    return NULL;
  set_order (s, n);
  sumi_train_state_shuffle (s);
  return g_steal_pointer (&s);
}

/* ---- saving ---- */

static void
add_group (SumiTensorMap *file, const char *group, const SumiTensorMap *map)
{
  for (guint i = 0; map != NULL && i < sumi_tensor_map_get_size (map); i++)
    {
      g_autofree char *name = g_strdup_printf ("%s.%s", group, sumi_tensor_map_get_name (map, i));
      sumi_tensor_map_set (file, name, sumi_tensor_map_peek_nth (map, i));
    }
}

static gboolean
add_bytes (SumiTensorMap *file, const char *name, SumiDType dtype, SumiShape shape, const void *bytes, GError **error)
{
  SumiTensor *t = sumi_tensor_new (dtype, &shape, error);

  if (t == NULL)
    return FALSE;
  memcpy (sumi_tensor_poke (t), bytes, sumi_tensor_get_size (t));
  sumi_tensor_map_take (file, name, t);
  return TRUE;
}

gboolean
sumi_train_state_save (const SumiTrainState *s, const char *path, const char *config, const char *run, GError **error)
{
  g_autoptr (SumiTensorMap) file = sumi_tensor_map_new ();
  const guint64 counters[] = { s->step, s->samples, s->cursor.epoch, s->cursor.position };

  add_group (file, "param", s->params);
  add_group (file, "ema", s->ema);
  add_group (file, "m", s->m);
  add_group (file, "v", s->v);
  if (!add_bytes (file, "rng", SUMI_U8, SUMI_SHAPE (sizeof s->cursor.rng), &s->cursor.rng, error)
      || !add_bytes (file, "order", SUMI_U32, SUMI_SHAPE (s->n_order), s->order, error)
      || !add_bytes (file, "counters", SUMI_U64, SUMI_SHAPE (G_N_ELEMENTS (counters)), counters, error)
      || !add_bytes (file, "history", SUMI_F32, SUMI_SHAPE (s->history->len, ROW), s->history->data, error))
    return FALSE;
  if (s->token_ids != NULL)
    sumi_tensor_map_set (file, "token_ids", s->token_ids);
  sumi_tensor_map_set_metadata (file, "sumi.checkpoint", "1");
  sumi_tensor_map_set_metadata (file, "sumi.config", config);
  sumi_tensor_map_set_metadata (file, "sumi.run", run);
  if (s->fingerprint != NULL)
    sumi_tensor_map_set_metadata (file, "sumi.data", s->fingerprint);
  return sumi_safetensors_save (file, path, error);
}

/* ---- loading ---- */

/* A tensor of this type and so many elements (n < 0: any number). */
static SumiTensor *
load_plain (const SumiTensorMap *file, const char *name, SumiDType dtype, gint64 n, GError **error)
{
  SumiTensor *t = sumi_tensor_map_lookup (file, name, error);

  if (t == NULL || (sumi_tensor_get_dtype (t) == dtype && (n < 0 || sumi_tensor_get_numel (t) == n)))
    return t;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
               "%s: found %" G_GINT64_FORMAT " values of %s, expected %" G_GINT64_FORMAT " of %s", name,
               sumi_tensor_get_numel (t), sumi_dtype_name (sumi_tensor_get_dtype (t)), n, sumi_dtype_name (dtype));
  return NULL;
}

static gboolean
is_permutation (const guint32 *order, guint n)
{
  g_autofree gboolean *seen = g_new0 (gboolean, n);

  for (guint i = 0; i < n; i++)
    {
      if (order[i] >= n || seen[order[i]])
        return FALSE;
      seen[order[i]] = TRUE;
    }
  return TRUE;
}

/* The words of the generator are any; its kind and its place in them are not. */
static gboolean
rng_is_sane (const SumiRng *rng)
{
  return rng->kind == SUMI_RNG_TORCH && rng->index <= G_N_ELEMENTS (rng->mt)
         && (rng->has_next_normal == FALSE || rng->has_next_normal == TRUE);
}

static gboolean
load_cursor (SumiTrainState *s, const SumiTensorMap *file, guint n, GError **error)
{
  SumiTensor *rng = load_plain (file, "rng", SUMI_U8, sizeof (SumiRng), error), *order, *counters;
  guint64 c[4];

  if (rng == NULL || (order = load_plain (file, "order", SUMI_U32, -1, error)) == NULL
      || (counters = load_plain (file, "counters", SUMI_U64, G_N_ELEMENTS (c), error)) == NULL)
    return FALSE;
  memcpy (&s->cursor.rng, sumi_tensor_peek (rng), sizeof s->cursor.rng);
  memcpy (c, sumi_tensor_peek (counters), sizeof c);
  set_order (s, n);
  s->step = c[0];
  s->samples = c[1];
  s->cursor.epoch = c[2];
  s->cursor.position = (guint)MIN (c[3], n);
  if (!rng_is_sane (&s->cursor.rng) || c[0] > MAX_STEPS || c[1] > MAX_STEPS)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER, "checkpoint: found impossible counters or random numbers");
      return FALSE;
    }
  if (sumi_tensor_get_numel (order) == n && is_permutation (sumi_tensor_peek (order), n))
    memcpy (s->order, sumi_tensor_peek (order), n * sizeof *s->order);
  else
    sumi_train_state_shuffle (s);
  return TRUE;
}

static gboolean
load_history (SumiTrainState *s, const SumiTensorMap *file, GError **error)
{
  SumiTensor *t = load_plain (file, "history", SUMI_F32, (gint64)s->step * ROW, error);

  if (t == NULL)
    return FALSE;
  g_array_set_size (s->history, (guint)s->step);
  memcpy (s->history->data, sumi_tensor_peek (t), sumi_tensor_get_size (t));
  return TRUE;
}

SumiTrainState *
sumi_train_state_load (const SumiTensorMap *file, const SumiModule *module, guint n, GError **error)
{
  g_autoptr (SumiTrainState) s = state_empty ();
  SumiTensor *token_ids = sumi_tensor_map_peek (file, "token_ids");
  g_autofree char *first_ema = g_strconcat ("ema.", nth_param (module, 0)->node->name, NULL);

  if ((s->params = load_params (file, "param.", module, error)) == NULL
      || (s->m = load_params (file, "m.", module, error)) == NULL
      || (s->v = load_params (file, "v.", module, error)) == NULL)
    return NULL;
  if (sumi_tensor_map_peek (file, first_ema) != NULL && (s->ema = load_params (file, "ema.", module, error)) == NULL)
    return NULL;
  if (!load_cursor (s, file, n, error) || !load_history (s, file, error))
    return NULL;
  s->token_ids = token_ids != NULL ? sumi_tensor_ref (token_ids) : NULL;
  s->fingerprint = g_strdup (sumi_tensor_map_get_metadata (file, "sumi.data"));
  return g_steal_pointer (&s);
}

/* ---- the model ---- */

SumiTensorMap *
sumi_train_state_export (const SumiTrainState *s, gboolean f16, const char *config, GError **error)
{
  SumiTensorMap *model = map_copy (s->ema != NULL ? s->ema : s->params, f16 ? SUMI_F16 : SUMI_F32, error);
  g_autofree char *training
      = g_strdup_printf ("{\"steps\": %" G_GUINT64_FORMAT ", \"samples\": %" G_GUINT64_FORMAT ", \"weights\": \"%s\"}",
                         s->step, s->samples, s->ema != NULL ? "ema" : "last");

  if (model == NULL)
    return NULL;
  if (s->token_ids != NULL)
    sumi_tensor_map_set (model, "token_ids", s->token_ids);
  sumi_tensor_map_set_metadata (model, "format", "pt");
  sumi_tensor_map_set_metadata (model, "sumi.config", config);
  sumi_tensor_map_set_metadata (model, "sumi.training", training);
  return model;
}
