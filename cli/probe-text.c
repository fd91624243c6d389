/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Components "text-encoder", "tokenizer", "randn". */
#include "probe.h"

#include <string.h>

#include "base/rng.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "models/model-store.h"
#include "nn/config.h"
#include "nn/tokenizer.h"

/* ---- the text encoder ---- */

typedef struct
{
  SumiTextConfig config;
  SumiTensorMap *weights;
} TextModel;

static gboolean
text_model_open (Probe *p, TextModel *t, GError **error)
{
  guint which = 1;
  g_autofree char *folder = NULL, *config_path = NULL, *weights = NULL;
  g_autoptr (JsonObject) config = NULL;

  if (!sumi_config_uint (p->params, "which", 1, 2, &which, error)
      || (folder = probe_model_path (p, which == 2 ? "/text_encoder_2" : "/text_encoder", error)) == NULL)
    return FALSE;
  config_path = g_build_filename (folder, "config.json", NULL);
  weights = g_build_filename (folder, "model.safetensors", NULL);
  config = sumi_json_load (config_path, error);
  if (config == NULL || !sumi_text_config_parse (config, &t->config, error))
    return FALSE;
  t->weights = sumi_safetensors_open (weights, error);
  return t->weights != NULL;
}

/* The last layer norm on the state before the last layer ("clip skip 2"). */
static SumiNode *
normed (SumiModule *m, const SumiTextConfig *c, SumiNode *h)
{
  sumi_module_push (m, "text_model");
  h = sumi_nn_layer_norm (m, "final_layer_norm", h, c->layer_norm_eps);
  sumi_module_pop (m);
  return h;
}

/* The state of the first end mark of every row, projected where the model has a projection. */
static SumiNode *
pooled (SumiModule *m, const TextModel *t, const SumiTensor *ids, SumiNode *states)
{
  SumiGraph *g = m->graph;
  gint64 n = states->shape.d[0], s = states->shape.d[1], c = states->shape.d[2];
  const gint64 *id = sumi_tensor_peek (ids);
  SumiNode *all = NULL;
  SumiTensor *projection = sumi_tensor_map_peek (t->weights, "text_projection.weight");

  for (gint64 row = 0; row < n; row++)
    {
      gint64 end = 0;
      SumiNode *one;

      while (end < s - 1 && id[row * s + end] != SUMI_TOKEN_END)
        end++;
      one = sumi_slice (g, sumi_slice (g, states, 0, row, 1), 1, end, 1);
      one = sumi_reshape (g, one, &SUMI_SHAPE (1, c));
      all = all != NULL ? sumi_concat (g, 0, (SumiNode *[]){ all, one }, 2) : one;
    }
  if (projection != NULL && sumi_tensor_get_shape (projection)->rank == 2)
    all = sumi_nn_linear (m, "text_projection", all, sumi_tensor_get_shape (projection)->d[0], FALSE);
  return all;
}

static gboolean
run_text_encoder (Probe *p, const TextModel *t, GError **error)
{
  g_autoptr (SumiTensor) ids = probe_in_index (p, "input_ids", 2, t->config.vocab_size - 1, error);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;
  SumiNode *h, *penultimate;

  if (ids == NULL)
    return FALSE;
  h = sumi_text_encoder (m, &t->config, sumi_input (g, "input_ids", SUMI_INDEX, sumi_tensor_get_shape (ids)),
                         &penultimate);
  if (!sumi_graph_check (g, error))
    return FALSE;
  sumi_graph_output (g, "last_hidden_state", h);
  sumi_graph_output (g, "penultimate_hidden_state", penultimate);
  sumi_graph_output (g, "penultimate_normed", normed (m, &t->config, penultimate));
  sumi_graph_output (g, "pooled", pooled (m, t, ids, h));
  plan = probe_compile (p, m, t->weights, error);
  if (plan == NULL || !sumi_plan_set (plan, "input_ids", ids, error) || !sumi_plan_run (plan, NULL, error))
    return FALSE;
  for (guint i = 0; i < sumi_graph_get_n_outputs (g); i++)
    if (!probe_store (p, plan, sumi_graph_get_output (g, i, &h), error))
      return FALSE;
  return TRUE;
}

gboolean
probe_text_encoder (Probe *p, GError **error)
{
  TextModel t = { 0 };
  gboolean ok = text_model_open (p, &t, error) && run_text_encoder (p, &t, error);

  g_clear_pointer (&t.weights, sumi_tensor_map_unref);
  return ok;
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
