/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tiny-model.h"

#include "diffusion/model.h"
#include "nn/tokenizer.h"

#define WORDS "a red apple fox on white"

static const char config_format[]
    = "{\"family\":\"sumi-latent\","
      "\"unet\":{\"in_channels\":32,\"out_channels\":32,\"block_out_channels\":[16,32],\"layers_per_block\":1,"
      "\"down_block_types\":[\"DownBlock2D\",\"CrossAttnDownBlock2D\"],"
      "\"up_block_types\":[\"CrossAttnUpBlock2D\",\"UpBlock2D\"],\"norm_num_groups\":8,\"cross_attention_dim\":16,"
      "\"attention_head_dim\":2,\"class_embed_type\":\"projection\",\"projection_class_embeddings_input_dim\":16},"
      "\"text_encoder\":{\"vocab_size\":%d,\"hidden_size\":16,\"intermediate_size\":32,\"num_hidden_layers\":2,"
      "\"num_attention_heads\":2,\"max_position_embeddings\":10},"
      "\"latents\":{\"channels\":32,\"height\":2,\"width\":2,\"mean\":[%s],\"std\":[%s]},"
      "\"scheduler\":{\"num_train_timesteps\":100,\"beta_schedule\":\"squaredcos_cap_v2\","
      "\"prediction_type\":\"v_prediction\"}}";

#define N_WORDS 6

static char *
config_text (void)
{
  g_autoptr (GString) mean = g_string_new (NULL);
  g_autoptr (GString) std = g_string_new (NULL);

  for (guint i = 0; i < SUMI_TAEF2_CHANNELS; i++)
    {
      g_string_append_printf (mean, "%s0.0%u", i ? "," : "", i);
      g_string_append_printf (std, "%s0.%u", i ? "," : "", 50 + i);
    }
  /* an unknown word, the words, start and end marks */
  return g_strdup_printf (config_format, 1 + N_WORDS + 2, mean->str, std->str);
}

JsonObject *
tiny_model_config (void)
{
  g_autofree char *text = config_text ();
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) node = json_from_string (text, &error);

  g_assert_no_error (error);
  return json_object_ref (json_node_get_object (node));
}

static int
compare_ids (gconstpointer a, gconstpointer b)
{
  gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;

  return (x > y) - (x < y);
}

static SumiTensor *
token_ids (const char *merges)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTokenizer) tokenizer = sumi_tokenizer_open (merges, &error);
  g_autoptr (GArray) ids = NULL;
  const gint64 more[] = { -1, SUMI_TOKEN_START, SUMI_TOKEN_END };
  SumiTensor *t;

  g_assert_no_error (error);
  ids = sumi_tokenizer_encode (tokenizer, WORDS, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (ids->len, ==, N_WORDS);
  g_array_append_vals (ids, more, G_N_ELEMENTS (more));
  g_array_sort (ids, compare_ids);
  t = sumi_tensor_new_i64 (&SUMI_SHAPE (ids->len), (const gint64 *)(gpointer)ids->data, &error);
  g_assert_no_error (error);
  return t;
}

SumiTensorMap *
tiny_model_new (const char *merges)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) json = tiny_model_config ();
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autofree char *text = config_text ();
  SumiModelConfig c;
  SumiTensorMap *map;
  SumiNode *states, *pooled;
  SumiRng rng;

  sumi_model_config_parse (json, &c, &error);
  g_assert_no_error (error);
  states = sumi_model_text (m, &c, sumi_input (g, "ids", SUMI_INDEX, &SUMI_SHAPE (1, 10)), &pooled);
  sumi_model_denoiser (m, &c, sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (1, 32, 2, 2)),
                       sumi_input (g, "t", SUMI_REAL, &SUMI_SHAPE (1)),
                       &(SumiModelInputs){ states, pooled, NULL, NULL });
  sumi_graph_check (g, &error);
  g_assert_no_error (error);
  /* an untrained network begins with branches that do nothing: here everything must have a say */
  for (guint i = 0; i < m->params->len; i++)
    if (g_array_index (m->params, SumiModuleParam, i).init.kind == SUMI_INIT_ZEROS)
      g_array_index (m->params, SumiModuleParam, i).init = (SumiInit){ SUMI_INIT_NORMAL, 0.1 };
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 1);
  map = sumi_module_init (m, &rng, &error);
  g_assert_no_error (error);
  sumi_tensor_map_take (map, "token_ids", token_ids (merges));
  sumi_tensor_map_set_metadata (map, "sumi.config", text);
  return map;
}
