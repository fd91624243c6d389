/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Components "text-encoder", "tokenizer", "randn". */
#include "probe.h"

#include <string.h>

#include "base/rng.h"
#include "models/model-store.h"
#include "nn/config.h"
#include "nn/tokenizer.h"

/* ---- the text encoder ---- */

/* n S + place of the first end mark of every row; the last place where there is none. */
static SumiTensor *
end_marks (const SumiTensor *ids, GError **error)
{
  gint64 n = sumi_tensor_get_shape (ids)->d[0], s = sumi_tensor_get_shape (ids)->d[1];
  const gint64 *id = sumi_tensor_peek (ids);
  SumiTensor *ends = sumi_tensor_new (SUMI_I64, &SUMI_SHAPE (n), error);

  for (gint64 row = 0; ends != NULL && row < n; row++)
    {
      gint64 end = 0;

      while (end < s - 1 && id[row * s + end] != SUMI_TOKEN_END)
        end++;
      ((gint64 *)sumi_tensor_poke (ends))[row] = row * s + end;
    }
  return ends;
}

/* The rows of the token table. */
static SumiNode *
embed (SumiModule *m, const SumiTextConfig *c, SumiNode *ids)
{
  SumiNode *table = sumi_module_param (m, "text_model.embeddings.token_embedding.weight",
                                       &SUMI_SHAPE (c->vocab_size, c->hidden_size), (SumiInit){ SUMI_INIT_ZEROS, 0 });

  return sumi_embedding (m->graph, table, ids);
}

/* What drawing asks of a text encoder: every state that a model can be conditioned on. */
static void
build_text_encoder (SumiModule *m, const SumiTextConfig *c, const SumiTensor *ids)
{
  SumiGraph *g = m->graph;
  SumiNode *tokens = embed (m, c, sumi_input (g, "input_ids", SUMI_INDEX, sumi_tensor_get_shape (ids)));
  SumiNode *end = sumi_input (g, "end", SUMI_INDEX, &SUMI_SHAPE (sumi_tensor_get_shape (ids)->d[0])), *pooled;
  SumiTextOutputs last = { 0, TRUE, end }, penultimate = { 1, FALSE, NULL }, normed = { 1, TRUE, NULL };

  sumi_graph_output (g, "last_hidden_state", sumi_text_encoder_from_tokens (m, c, tokens, &last, &pooled));
  sumi_graph_output (g, "pooled", pooled);
  sumi_graph_output (g, "penultimate_hidden_state", sumi_text_encoder_from_tokens (m, c, tokens, &penultimate, NULL));
  sumi_graph_output (g, "penultimate_normed", sumi_text_encoder_from_tokens (m, c, tokens, &normed, NULL));
}

static gboolean
run_text_encoder (Probe *p, const ProbeModel *model, const char *prefix, const SumiTextConfig *c, GError **error)
{
  g_autoptr (SumiTensor) ids = probe_in_index (p, "input_ids", 2, c->vocab_size - 1, error);
  g_autoptr (SumiTensor) end = ids != NULL ? end_marks (ids, error) : NULL;
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;
  SumiNode *node;

  if (end == NULL)
    return FALSE;
  sumi_module_push (m, "%s", prefix);
  build_text_encoder (m, c, ids);
  sumi_module_pop (m);
  plan = probe_compile (p, m, model->weights, error);
  if (plan == NULL || !sumi_plan_set (plan, "input_ids", ids, error) || !sumi_plan_set (plan, "end", end, error)
      || !sumi_plan_run (plan, NULL, error))
    return FALSE;
  for (guint i = 0; i < sumi_graph_get_n_outputs (g); i++)
    if (!probe_store (p, plan, sumi_graph_get_output (g, i, &node), error))
      return FALSE;
  return TRUE;
}

gboolean
probe_text_encoder (Probe *p, GError **error)
{
  static const char *const networks[] = { "text_encoder", "text_encoder_2" };
  guint which = 1;
  g_auto (ProbeModel) model = { NULL };

  return sumi_config_uint (p->params, "which", 1, 2, &which, error) && probe_model_open (p, &model, error)
         && probe_model_needs (&model, networks[which - 1], error)
         && run_text_encoder (p, &model, networks[which - 1], which == 1 ? &model.config.text : &model.config.text_2,
                              error);
}

/* ---- the tokenizer ---- */

/* prompt.00, prompt.01…: as texts, in the order of their names. */
static char **
read_prompts (Probe *p, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_auto (GStrv) texts = NULL;

  for (guint i = 0; i < sumi_tensor_map_get_size (p->in); i++)
    if (g_str_has_prefix (sumi_tensor_map_get_name (p->in, i), "prompt."))
      g_ptr_array_add (names, (gpointer)sumi_tensor_map_get_name (p->in, i));
  if (names->len == 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR, "prompt.00: found no prompt, expected bytes of one");
      return NULL;
    }
  g_ptr_array_sort_values (names, (GCompareFunc)strcmp);
  texts = g_new0 (char *, names->len + 1);
  for (guint i = 0; i < names->len; i++)
    {
      const char *name = g_ptr_array_index (names, i);
      SumiTensor *t = sumi_tensor_map_peek (p->in, name);

      if (sumi_tensor_get_dtype (t) != SUMI_U8 || memchr (sumi_tensor_peek (t), 0, sumi_tensor_get_size (t)) != NULL)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "%s: found %s, expected U8 without zeros", name,
                       sumi_dtype_name (sumi_tensor_get_dtype (t)));
          return NULL;
        }
      texts[i] = g_strndup (sumi_tensor_peek (t), sumi_tensor_get_size (t));
    }
  return g_steal_pointer (&texts);
}

gboolean
probe_tokenizer (Probe *p, GError **error)
{
  g_autofree char *merges = g_build_filename (sumi_data_dir (), "clip", "merges.txt.gz", NULL);
  g_autoptr (SumiTokenizer) tokenizer = NULL;
  g_auto (GStrv) prompts = read_prompts (p, error);
  SumiShape shape;
  SumiTensor *ids, *ids0;

  if (prompts == NULL || (tokenizer = sumi_tokenizer_open (merges, error)) == NULL)
    return FALSE;
  shape = SUMI_SHAPE (g_strv_length (prompts), SUMI_TOKEN_CONTEXT);
  ids = probe_out (p, "input_ids", SUMI_I64, &shape, error);
  ids0 = ids != NULL ? probe_out (p, "input_ids_pad0", SUMI_I64, &shape, error) : NULL;
  for (guint i = 0; ids0 != NULL && prompts[i] != NULL; i++)
    {
      gint64 *row = (gint64 *)sumi_tensor_poke (ids) + i * SUMI_TOKEN_CONTEXT;
      gint64 *row0 = (gint64 *)sumi_tensor_poke (ids0) + i * SUMI_TOKEN_CONTEXT;

      if (!sumi_tokenizer_encode_padded (tokenizer, prompts[i], SUMI_TOKEN_CONTEXT, SUMI_TOKEN_END, row, NULL, error)
          || !sumi_tokenizer_encode_padded (tokenizer, prompts[i], SUMI_TOKEN_CONTEXT, 0, row0, NULL, error))
        return FALSE;
    }
  return ids0 != NULL;
}

/* ---- random numbers ---- */

gboolean
probe_randn (Probe *p, GError **error)
{
  static const char *const kinds[] = { "torch", "philox", NULL };
  gint64 seed = 0, n = 16;
  guint kind = SUMI_RNG_TORCH;
  SumiRng rng;
  SumiTensor *out;

  if (!sumi_config_int (p->params, "seed", 0, G_MAXINT64, &seed, error)
      || !sumi_config_int (p->params, "n", 1, 1 << 28, &n, error)
      || !sumi_config_choice (p->params, "rng", kinds, &kind, error)
      || (out = probe_out (p, "randn", SUMI_F32, &SUMI_SHAPE (n), error)) == NULL)
    return FALSE;
  sumi_rng_seed (&rng, (SumiRngKind)kind, (guint64)seed);
  sumi_rng_normal (&rng, sumi_tensor_poke_f32 (out), (gsize)n);
  return TRUE;
}
