/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Model configurations for training: what the data must still fill in, and models for users who name none. */
#include "train/setup.h"

static JsonObject *
object_member (JsonObject *json, const char *name)
{
  JsonNode *node = json_object_get_member (json, name);

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

static void
fill_list (JsonObject *json, const char *name, double value)
{
  JsonArray *list;

  if (json_object_has_member (json, name))
    return;
  list = json_array_new ();
  for (guint i = 0; i < SUMI_TAEF2_CHANNELS; i++)
    json_array_add_double_element (list, value);
  json_object_set_array_member (json, name, list);
}

gboolean
sumi_train_config_prepare (JsonObject *config, SumiModelConfig *c, GError **error)
{
  JsonObject *latents = object_member (config, "latents"), *text = object_member (config, "text_encoder");

  if (latents != NULL)
    {
      fill_list (latents, "mean", 0);
      fill_list (latents, "std", 1);
    }
  if (text != NULL && !json_object_has_member (text, "vocab_size"))
    json_object_set_int_member (text, "vocab_size", 3);
  return sumi_model_config_parse (config, c, error);
}

/* For grey or coloured pictures of 32x32. */
static const char simple_unet[] = "{\"family\": \"simple-unet\", \"in_channels\": %u, \"out_channels\": %u,"
                                  " \"base_channels\": 32, \"time_emb_dim\": 128, \"groups\": 8, \"sample_size\": 32,"
                                  " \"scheduler\": {\"num_train_timesteps\": 1000, \"beta_schedule\": \"linear\","
                                  " \"beta_start\": 0.0001, \"beta_end\": 0.02, \"prediction_type\": \"epsilon\"}}";

/* The starter model's (scripts/starter/starter.json). */
static const char starter[]
    = "{\"family\": \"sumi-latent\","
      " \"unet\": {\"_class_name\": \"UNet2DConditionModel\", \"sample_size\": 16, \"in_channels\": 32,"
      "  \"out_channels\": 32, \"block_out_channels\": [96, 160, 224], \"layers_per_block\": 1,"
      "  \"down_block_types\": [\"DownBlock2D\", \"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\"],"
      "  \"mid_block_type\": \"UNetMidBlock2DCrossAttn\","
      "  \"up_block_types\": [\"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\", \"UpBlock2D\"],"
      "  \"attention_head_dim\": [4, 4, 8], \"cross_attention_dim\": 256, \"norm_num_groups\": 16,"
      "  \"use_linear_projection\": true, \"class_embed_type\": \"projection\","
      "  \"projection_class_embeddings_input_dim\": 256},"
      " \"text_encoder\": {\"hidden_size\": 256, \"intermediate_size\": 1024, \"num_hidden_layers\": 3,"
      "  \"num_attention_heads\": 4, \"max_position_embeddings\": 20, \"hidden_act\": \"quick_gelu\"},"
      " \"latents\": {\"channels\": 32, \"height\": 16, \"width\": 16},"
      " \"scheduler\": {\"num_train_timesteps\": 1000, \"beta_schedule\": \"squaredcos_cap_v2\","
      "  \"prediction_type\": \"v_prediction\"}}";

JsonObject *
sumi_train_config_default (const char *data, SumiDatasetKind kind, GError **error)
{
  g_autoptr (SumiDataset) d = sumi_dataset_open (data, kind, error);
  g_autofree char *pixels = NULL;
  g_autoptr (JsonNode) node = NULL;
  gboolean grey;

  if (d == NULL)
    return NULL;
  grey = kind == SUMI_DATASET_IDX || (kind == SUMI_DATASET_AUTO && sumi_dataset_is_idx (data));
  pixels = g_strdup_printf (simple_unet, grey ? 1 : 3, grey ? 1 : 3);
  node = json_from_string (!grey && sumi_dataset_has_captions (d) ? starter : pixels, error);
  return node != NULL ? json_object_ref (json_node_get_object (node)) : NULL;
}
