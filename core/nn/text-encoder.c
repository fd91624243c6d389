/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The CLIP text encoder (Radford et al. 2021): a causal pre-norm transformer over token and position embeddings,
 * with the names of transformers' CLIPTextModel. */
#include "nn/networks.h"
#include "nn/config.h"

#include <math.h>

/* transformers writes projection_dim into every text configuration; only this class has the layer. */
static gboolean
has_projection (JsonObject *json)
{
  JsonNode *node = json_object_get_member (json, "architectures");
  JsonArray *list = node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  for (guint i = 0; list != NULL && i < json_array_get_length (list); i++)
    {
      JsonNode *e = json_array_get_element (list, i);

      if (JSON_NODE_HOLDS_VALUE (e) && g_strcmp0 (json_node_get_string (e), "CLIPTextModelWithProjection") == 0)
        return TRUE;
    }
  return FALSE;
}

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
  if (has_projection (json)
      && !sumi_config_required_int (json, "projection_dim", 1, SUMI_MAX_CHANNELS, &c->projection_dim, error))
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

/* The standard deviations, here and below, are those of transformers' CLIPTextModel. */
static SumiNode *
embed (SumiModule *m, const SumiTextConfig *c, SumiNode *input_ids)
{
  SumiNode *table;

  sumi_module_push (m, "text_model");
  sumi_module_push (m, "embeddings");
  table = sumi_module_param (m, "token_embedding.weight", &SUMI_SHAPE (c->vocab_size, c->hidden_size), normal (0.02));
  sumi_module_pop (m);
  sumi_module_pop (m);
  return sumi_embedding (m->graph, table, input_ids);
}

static SumiNode *
add_positions (SumiModule *m, const SumiTextConfig *c, SumiNode *tokens)
{
  SumiNode *positions;

  sumi_module_push (m, "embeddings");
  positions = sumi_module_param (m, "position_embedding.weight",
                                 &SUMI_SHAPE (c->max_position_embeddings, c->hidden_size), normal (0.02));
  sumi_module_pop (m);
  return sumi_add (m->graph, tokens, sumi_slice (m->graph, positions, 0, 0, tokens->shape.d[1]));
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

/* The layers from `first` to before `end`. */
static SumiNode *
layers (SumiModule *m, const SumiTextConfig *c, SumiNode *h, guint first, guint end)
{
  for (guint i = first; i < end; i++)
    {
      sumi_module_push (m, "encoder.layers.%u", i);
      h = layer (m, c, h);
      sumi_module_pop (m);
    }
  return h;
}

static SumiNode *
final_norm (SumiModule *m, const SumiTextConfig *c, SumiNode *h)
{
  return sumi_nn_layer_norm (m, "final_layer_norm", h, c->layer_norm_eps);
}

SumiNode *
sumi_text_encoder (SumiModule *m, const SumiTextConfig *c, SumiNode *input_ids, SumiNode **penultimate)
{
  SumiNode *h;

  if (penultimate != NULL)
    *penultimate = input_ids;
  if (input_ids->shape.rank != 2 || input_ids->shape.d[1] > c->max_position_embeddings)
    {
      g_autofree char *shape = sumi_shape_to_string (&input_ids->shape);

      sumi_graph_poison (m->graph, "text encoder: got %s, want (N,S) with S at most %" G_GINT64_FORMAT, shape,
                         c->max_position_embeddings);
      return input_ids;
    }
  h = embed (m, c, input_ids);
  sumi_module_push (m, "text_model");
  h = layers (m, c, add_positions (m, c, h), 0, c->num_hidden_layers - 1);
  if (penultimate != NULL)
    *penultimate = h;
  h = final_norm (m, c, layers (m, c, h, c->num_hidden_layers - 1, c->num_hidden_layers));
  sumi_module_pop (m);
  return h;
}

static gboolean
check_tokens (SumiGraph *g, const SumiTextConfig *c, const SumiNode *tokens, const SumiTextOutputs *outputs)
{
  const SumiShape *s = &tokens->shape;
  gint64 rows = outputs->end != NULL && outputs->end->shape.rank == 1 ? outputs->end->shape.d[0] : -1;

  if (s->rank != 3 || s->d[1] > c->max_position_embeddings || s->d[2] != c->hidden_size)
    {
      g_autofree char *shape = sumi_shape_to_string (s);

      sumi_graph_poison (g, "text encoder: got %s, want (N,S,%" G_GINT64_FORMAT ") with S at most %" G_GINT64_FORMAT,
                         shape, c->hidden_size, c->max_position_embeddings);
      return FALSE;
    }
  if (outputs->skip >= c->num_hidden_layers)
    {
      sumi_graph_poison (g, "clip skip: got %u layers left out, want less than %u", outputs->skip,
                         c->num_hidden_layers);
      return FALSE;
    }
  if (outputs->end != NULL && rows != s->d[0])
    {
      g_autofree char *shape = sumi_shape_to_string (&outputs->end->shape);

      sumi_graph_poison (g, "end marks: got %s, want one for each of %" G_GINT64_FORMAT " texts", shape, s->d[0]);
      return FALSE;
    }
  return TRUE;
}

/* The rows at the end marks, through text_projection where the model has one. */
static SumiNode *
pool (SumiModule *m, const SumiTextConfig *c, SumiNode *states, SumiNode *end)
{
  SumiNode *table
      = sumi_reshape (m->graph, states, &SUMI_SHAPE (states->shape.d[0] * states->shape.d[1], states->shape.d[2]));
  SumiNode *rows = sumi_embedding (m->graph, table, end);

  return c->projection_dim > 0 ? sumi_nn_linear (m, "text_projection", rows, c->projection_dim, FALSE) : rows;
}

SumiNode *
sumi_text_encoder_from_tokens (SumiModule *m, const SumiTextConfig *c, SumiNode *tokens, const SumiTextOutputs *outputs,
                               SumiNode **pooled)
{
  const guint n = c->num_hidden_layers;
  SumiNode *state, *last = NULL;

  if (pooled != NULL)
    *pooled = outputs->end != NULL ? tokens : NULL;
  if (!check_tokens (m->graph, c, tokens, outputs))
    return tokens;
  sumi_module_push (m, "text_model");
  state = layers (m, c, add_positions (m, c, tokens), 0, n - outputs->skip);
  if (pooled != NULL && outputs->end != NULL)
    last = final_norm (m, c, layers (m, c, state, n - outputs->skip, n));
  if (outputs->final_norm)
    state = last != NULL && outputs->skip == 0 ? last : final_norm (m, c, state);
  sumi_module_pop (m);
  if (last != NULL)
    *pooled = pool (m, c, last, outputs->end);
  return state;
}
