/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text encoders of a model: which there are, and one chunk through one of them. */
#include "diffusion/conditioner-private.h"

#include <string.h>

/* ---- which there are ---- */

/* Stable Diffusion 1 was trained with CLIP's own padding, the end mark; OpenCLIP, in the later ones, pads with 0. SDXL
 * takes the states of both before the last layer as they are, and hears the pooled one of OpenCLIP (Podell et al.
 * 2023); the others norm them. */
static void
add_encoder (SumiConditioner *c, const char *prefix, const SumiTextConfig *config, gint64 pad_id)
{
  gboolean xl = c->config->family == SUMI_FAMILY_SDXL || c->config->family == SUMI_FAMILY_SDXL_REFINER;

  c->encoders[c->n_encoders++]
      = (SumiTextEncoder){ .prefix = prefix,
                           .config = config,
                           .pad_id = pad_id,
                           .final_norm = !xl,
                           .pooled = config == &c->config->text_2,
                           .words = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_text_word_free) };
}

static SumiModule *
build (const SumiTextEncoder *e, guint skip)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiModule *m = sumi_module_new (g);
  gint64 length = e->config->max_position_embeddings;
  SumiNode *tokens = sumi_input (g, "tokens", SUMI_REAL, &SUMI_SHAPE (1, length, e->config->hidden_size));
  SumiTextOutputs outputs = { skip, e->final_norm, NULL };
  SumiNode *pooled = NULL, *states;

  if (e->pooled)
    outputs.end = sumi_input (g, "end", SUMI_INDEX, &SUMI_SHAPE (1));
  sumi_module_push (m, "%s", e->prefix);
  states = sumi_text_encoder_from_tokens (m, e->config, tokens, &outputs, &pooled);
  sumi_module_pop (m);
  sumi_graph_output (g, "states", states);
  if (pooled != NULL)
    sumi_graph_output (g, "pooled", pooled);
  return m;
}

static gboolean
check_encoder (SumiConditioner *c, SumiTextEncoder *e, GError **error)
{
  const SumiTextConfig *t = e->config;
  g_autofree char *table = g_strconcat (e->prefix, ".text_model.embeddings.token_embedding.weight", NULL);
  g_autoptr (SumiModule) m = build (e, 0);

  if (t->max_position_embeddings < 3 || t->max_position_embeddings != c->encoders[0].config->max_position_embeddings
      || (c->token_ids == NULL && t->vocab_size <= SUMI_TOKEN_END))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "%s: found %" G_GINT64_FORMAT " positions and %" G_GINT64_FORMAT
                   " tokens, expected as many positions for all encoders, and at least %d tokens",
                   e->prefix, t->max_position_embeddings, t->vocab_size, SUMI_TOKEN_END + 1);
      return FALSE;
    }
  e->table = sumi_tensor_map_lookup_shaped (c->weights, table, &SUMI_SHAPE (t->vocab_size, t->hidden_size), error);
  return e->table != NULL && sumi_graph_check (m->graph, error) && sumi_module_check (m, c->weights, "", error);
}

gboolean
sumi_conditioner_find_encoders (SumiConditioner *c, GError **error)
{
  const SumiModelConfig *config = c->config;

  switch (config->family)
    {
    case SUMI_FAMILY_LATENT:
    case SUMI_FAMILY_SD1:
      add_encoder (c, "text_encoder", &config->text, SUMI_TOKEN_END);
      break;
    case SUMI_FAMILY_SD2:
      add_encoder (c, "text_encoder", &config->text, 0);
      break;
    case SUMI_FAMILY_SDXL:
      add_encoder (c, "text_encoder", &config->text, SUMI_TOKEN_END);
      add_encoder (c, "text_encoder_2", &config->text_2, 0);
      break;
    case SUMI_FAMILY_SDXL_REFINER:
      add_encoder (c, "text_encoder_2", &config->text_2, 0);
      break;
    default:
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "family: found %s, expected one that takes a prompt",
                   sumi_family_name (config->family));
      return FALSE;
    }
  for (guint i = 0; i < c->n_encoders; i++)
    if (!check_encoder (c, &c->encoders[i], error))
      return FALSE;
  return TRUE;
}

guint
sumi_conditioner_chunk_size (const SumiConditioner *c)
{
  return (guint)c->encoders[0].config->max_position_embeddings - 2;
}

/* ---- the plan ---- */

static SumiTensor *
parameter (SumiConditioner *c, const char *name, GError **error)
{
  SumiTensor *t;

  if (c->source != NULL)
    return c->source (name, c->source_user, error);
  t = sumi_tensor_map_lookup (c->weights, name, error);
  return t != NULL ? sumi_tensor_ref (t) : NULL;
}

static SumiPlan *
compile (SumiConditioner *c, const SumiTextEncoder *e, guint skip, GError **error)
{
  SumiCompileOptions options = { .dtype = SUMI_F32, .threads = c->threads };
  g_autoptr (SumiModule) m = build (e, skip);
  g_autoptr (SumiPlan) plan = NULL;

  if (!sumi_graph_check (m->graph, error)
      || (plan = sumi_engine_compile (c->engine, m->graph, &options, error)) == NULL)
    return NULL;
  for (guint i = 0; i < m->params->len; i++)
    {
      const char *name = g_array_index (m->params, SumiModuleParam, i).node->name;
      g_autoptr (SumiTensor) value = parameter (c, name, error);

      if (value == NULL || !sumi_plan_set (plan, name, value, error))
        return NULL;
    }
  return g_steal_pointer (&plan);
}

static gboolean
make_plan (SumiConditioner *c, SumiTextEncoder *e, guint skip, GError **error)
{
  if (e->plan != NULL && e->skip == skip)
    return TRUE;
  g_clear_pointer (&e->plan, sumi_plan_free);
  e->skip = skip;
  e->plan = compile (c, e, skip, error);
  return e->plan != NULL;
}

/* ---- a chunk ---- */

/* Start mark, tokens, end mark, padding; as rows of the table. */
static void
rows_of (const SumiConditioner *c, const SumiTextEncoder *e, const GArray *chunk, gint64 *rows)
{
  gint64 length = e->config->max_position_embeddings, n = chunk != NULL ? chunk->len : 0;

  rows[0] = SUMI_TOKEN_START;
  for (gint64 i = 0; i < n; i++)
    rows[i + 1] = g_array_index (chunk, SumiTextToken, i).id;
  rows[n + 1] = SUMI_TOKEN_END;
  for (gint64 i = n + 2; i < length; i++)
    rows[i] = e->pad_id;
  if (c->token_ids != NULL)
    sumi_model_tokens_to_rows (c->token_ids, e->config->vocab_size, rows, (gsize)length, rows, NULL);
}

/* (1,S,D): rows of the table, and learned vectors in their places. */
static SumiTensor *
embed (const SumiConditioner *c, const SumiTextEncoder *e, const GArray *chunk, GError **error)
{
  gint64 length = e->config->max_position_embeddings, width = e->config->hidden_size;
  g_autoptr (SumiTensor) tokens = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, length, width), error);
  g_autofree gint64 *rows = g_new (gint64, length);
  float *x;

  if (tokens == NULL)
    return NULL;
  x = sumi_tensor_poke_f32 (tokens);
  rows_of (c, e, chunk, rows);
  for (gint64 i = 0; i < length; i++, x += width)
    {
      const SumiTextToken *token
          = chunk != NULL && i >= 1 && i <= chunk->len ? &g_array_index (chunk, SumiTextToken, i - 1) : NULL;
      g_autoptr (SumiTensor) row = NULL;

      if (token != NULL && token->vector != NULL)
        {
          memcpy (x, token->vector, (gsize)width * sizeof (float));
          continue;
        }
      row = sumi_tensor_slice0 (e->table, rows[i], 1, error);
      if (row == NULL)
        return NULL;
      sumi_tensor_to_f32 (row, x);
    }
  if (sumi_tensor_is_finite (tokens))
    return g_steal_pointer (&tokens);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE,
               "%s: found NaN or infinity in token_embedding.weight, expected finite values", e->prefix);
  return NULL;
}

gboolean
sumi_conditioner_run (SumiConditioner *c, SumiTextEncoder *e, const GArray *chunk, guint skip, SumiTensor **states,
                      SumiTensor **pooled, GCancellable *cancellable, GError **error)
{
  gint64 place = 1 + (chunk != NULL ? chunk->len : 0);
  g_autoptr (SumiTensor) tokens = embed (c, e, chunk, error), end = NULL;

  *states = *pooled = NULL;
  if (tokens == NULL || (end = sumi_tensor_new_i64 (&SUMI_SHAPE (1), &place, error)) == NULL
      || !make_plan (c, e, skip, error) || !sumi_plan_set (e->plan, "tokens", tokens, error)
      || (e->pooled && !sumi_plan_set (e->plan, "end", end, error)) || !sumi_plan_run (e->plan, cancellable, error)
      || (*states = sumi_plan_get (e->plan, "states", error)) == NULL)
    return FALSE;
  if (e->pooled && (*pooled = sumi_plan_get (e->plan, "pooled", error)) == NULL)
    g_clear_pointer (states, sumi_tensor_unref);
  return *states != NULL;
}
