/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The CLIP text encoder (Radford et al. 2021): a causal pre-norm transformer over token and position embeddings,
 * with the names of transformers' CLIPTextModel. */
#include "nn/networks.h"
#include "nn/config.h"

#include <math.h>

gboolean
sumi_text_config_parse (JsonObject *json, SumiTextConfig *c, GError **error)
{
  static const char *const acts[] = { "quick_gelu", "gelu", NULL };
  guint act = 0;

  *c = (SumiTextConfig){ .max_position_embeddings = 77, .layer_norm_eps = 1e-5 };
  if (!sumi_config_required_int (json, "vocab_size", 1, 1 << 20, &c->vocab_size, error)
      || !sumi_config_required_int (json, "hidden_size", 1, SUMI_MAX_CHANNELS, &c->hidden_size, error))
    return FALSE;
  c->intermediate_size = 4 * c->hidden_size;
  c->num_hidden_layers = 12;
  c->num_attention_heads = 8;
  if (!sumi_config_int (json, "intermediate_size", 1, 4 * SUMI_MAX_CHANNELS, &c->intermediate_size, error)
      || !sumi_config_int (json, "max_position_embeddings", 1, 4096, &c->max_position_embeddings, error)
      || !sumi_config_uint (json, "num_hidden_layers", 1, SUMI_MAX_LAYERS, &c->num_hidden_layers, error)
      || !sumi_config_uint (json, "num_attention_heads", 1, 1024, &c->num_attention_heads, error)
      || !sumi_config_double (json, "layer_norm_eps", 1e-12, 1, &c->layer_norm_eps, error)
      || !sumi_config_choice (json, "hidden_act", acts, &act, error))
    return FALSE;
  c->hidden_act = act == 0 ? SUMI_ACT_QUICK_GELU : SUMI_ACT_GELU;
  if (c->hidden_size % c->num_attention_heads != 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "num_attention_heads: found %u, expected a divisor of hidden_size %" G_GINT64_FORMAT,
                   c->num_attention_heads, c->hidden_size);
      return FALSE;
    }
  return TRUE;
}

static SumiInit
normal (double std)
{
  return (SumiInit){ SUMI_INIT_NORMAL, std };
}

/* Token and position embeddings. The standard deviations are those of transformers' CLIPTextModel. */
static SumiNode *
embeddings (SumiModule *m, const SumiTextConfig *c, SumiNode *input_ids)
{
  SumiGraph *g = m->graph;
  gint64 length = input_ids->shape.d[1];
  SumiNode *tokens, *positions;

  sumi_module_push (m, "embeddings");
  tokens = sumi_module_param (m, "token_embedding.weight", &SUMI_SHAPE (c->vocab_size, c->hidden_size), normal (0.02));
  positions = sumi_module_param (m, "position_embedding.weight",
                                 &SUMI_SHAPE (c->max_position_embeddings, c->hidden_size), normal (0.02));
  sumi_module_pop (m);
  return sumi_add (g, sumi_embedding (g, tokens, input_ids), sumi_slice (g, positions, 0, 0, length));
}

static SumiNode *
layer (SumiModule *m, const SumiTextConfig *c, SumiNode *x)
{
  SumiGraph *g = m->graph;
  const gint64 width = c->hidden_size;
  double in_std = 1 / sqrt (width * 2.0 * c->num_hidden_layers), out_std = 1 / sqrt (width);
  SumiNode *h = sumi_nn_layer_norm (m, "layer_norm1", x, c->layer_norm_eps);
  SumiNode *q, *k, *v;

  sumi_module_push (m, "self_attn");
  q = sumi_nn_linear_init (m, "q_proj", h, width, TRUE, normal (in_std));
  k = sumi_nn_linear_init (m, "k_proj", h, width, TRUE, normal (in_std));
  v = sumi_nn_linear_init (m, "v_proj", h, width, TRUE, normal (in_std));
  h = sumi_sdpa (g, q, k, v, c->num_attention_heads, TRUE, 0);
  x = sumi_add (g, x, sumi_nn_linear_init (m, "out_proj", h, width, TRUE, normal (out_std)));
  sumi_module_pop (m);

  h = sumi_nn_layer_norm (m, "layer_norm2", x, c->layer_norm_eps);
  sumi_module_push (m, "mlp");
  h = sumi_nn_linear_init (m, "fc1", h, c->intermediate_size, TRUE, normal (1 / sqrt (2.0 * width)));
  h = sumi_act (g, h, c->hidden_act);
  x = sumi_add (g, x, sumi_nn_linear_init (m, "fc2", h, width, TRUE, normal (in_std)));
  sumi_module_pop (m);
  return x;
}

SumiNode *
sumi_text_encoder (SumiModule *m, const SumiTextConfig *c, SumiNode *input_ids, SumiNode **penultimate)
{
  SumiNode *h;

  if (input_ids->shape.rank != 2 || input_ids->shape.d[1] > c->max_position_embeddings)
    {
      g_autofree char *shape = sumi_shape_to_string (&input_ids->shape);

      sumi_graph_poison (m->graph, "text encoder: got %s, want (N,S) with S at most %" G_GINT64_FORMAT, shape,
                         c->max_position_embeddings);
      if (penultimate != NULL)
        *penultimate = input_ids;
      return input_ids;
    }
  sumi_module_push (m, "text_model");
  h = embeddings (m, c, input_ids);
  for (guint i = 0; i < c->num_hidden_layers; i++)
    {
      if (penultimate != NULL && i == c->num_hidden_layers - 1)
        *penultimate = h;
      sumi_module_push (m, "encoder.layers.%u", i);
      h = layer (m, c, h);
      sumi_module_pop (m);
    }
  h = sumi_nn_layer_norm (m, "final_layer_norm", h, c->layer_norm_eps);
  sumi_module_pop (m);
  return h;
}
