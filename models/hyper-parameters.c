/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/hyper-parameters.h"

#include <string.h>

/* Where a field goes. Values are copied as they are: the parsers of the networks' configurations look at them. */
typedef struct
{
  const char *from, *to;
} Field;

static const Field unet_fields[] = {
  { "attention_heads_per_level", "attention_head_dim" },
  { "block_out_channels", "block_out_channels" },
  { "in_channels", "in_channels" },
  { "out_channels", "out_channels" },
  { "cross_attention_dim", "cross_attention_dim" },
  { "layers_per_block", "layers_per_block" },
  { "norm_num_groups", "norm_num_groups" },
  { "transformer_layers_per_block", "transformer_layers_per_block" },
  { "addition_time_embed_dim", "addition_time_embed_dim" },
  { "use_linear_projection", "use_linear_projection" },
  { "sample_size", "sample_size" },
};
static const Field vae_fields[] = {
  { "block_out_channels", "block_out_channels" }, { "norm_num_groups", "norm_num_groups" },
  { "layers_per_block", "layers_per_block" },     { "latent_channels", "latent_channels" },
  { "scaling_factor", "scaling_factor" },         { "shift_factor", "shift_factor" },
};
static const Field text_fields[] = {
  { "hidden", "hidden_size" }, { "heads", "num_attention_heads" }, { "layers", "num_hidden_layers" },
  { "act", "hidden_act" },     { "proj", "projection_dim" },
};

gboolean
sumi_hyper_parameters_are (JsonObject *json)
{
  JsonNode *unet = json_object_get_member (json, "unet");

  return unet == NULL || !JSON_NODE_HOLDS_OBJECT (unet)
         || !json_object_has_member (json_node_get_object (unet), "down_block_types");
}

static gboolean
refuse (const char *name, JsonNode *node, GError **error)
{
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "%s: found %s, expected an object", name,
               json_node_type_name (node));
  return FALSE;
}

/* One part; a part the model has not got is left out. */
static gboolean
apply (JsonObject *known, JsonObject *config, const char *name, const Field *fields, guint n, GError **error)
{
  JsonNode *node = json_object_get_member (known, name);
  JsonObject *from, *to;

  if (node == NULL || !json_object_has_member (config, name))
    return TRUE;
  if (!JSON_NODE_HOLDS_OBJECT (node))
    return refuse (name, node, error);
  from = json_node_get_object (node);
  to = json_object_get_object_member (config, name);
  for (guint i = 0; i < n; i++)
    if (json_object_has_member (from, fields[i].from))
      json_object_set_member (to, fields[i].to, json_object_dup_member (from, fields[i].from));
  return TRUE;
}

/* The middle has the heads of the last level in every network that can be built. */
static gboolean
check_middle (JsonObject *known, GError **error)
{
  JsonNode *node = json_object_get_member (known, "unet"), *levels, *middle, *last;
  guint n;

  if (node == NULL || !JSON_NODE_HOLDS_OBJECT (node))
    return TRUE;
  levels = json_object_get_member (json_node_get_object (node), "attention_heads_per_level");
  middle = json_object_get_member (json_node_get_object (node), "attention_heads_mid");
  if (levels == NULL || middle == NULL || !JSON_NODE_HOLDS_ARRAY (levels) || !JSON_NODE_HOLDS_VALUE (middle))
    return TRUE;
  n = json_array_get_length (json_node_get_array (levels));
  last = n > 0 ? json_array_get_element (json_node_get_array (levels), n - 1) : NULL;
  if (last == NULL || !JSON_NODE_HOLDS_VALUE (last) || json_node_get_int (middle) == json_node_get_int (last))
    return TRUE; /* what is no number is refused with the network's configuration */
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
               "unet: attention_heads_mid: found %" G_GINT64_FORMAT
               ", expected that of the last level, %" G_GINT64_FORMAT,
               json_node_get_int (middle), json_node_get_int (last));
  return FALSE;
}

gboolean
sumi_hyper_parameters_apply (JsonObject *known, JsonObject *config, GError **error)
{
  static const char *const whole[] = { "scheduler", "defaults", "force_zeros_for_empty_prompt" };

  for (guint i = 0; i < G_N_ELEMENTS (whole); i++)
    if (json_object_has_member (known, whole[i]))
      json_object_set_member (config, whole[i], json_object_dup_member (known, whole[i]));
  return check_middle (known, error) && apply (known, config, "unet", unet_fields, G_N_ELEMENTS (unet_fields), error)
         && apply (known, config, "vae", vae_fields, G_N_ELEMENTS (vae_fields), error)
         && apply (known, config, "text_encoder", text_fields, G_N_ELEMENTS (text_fields), error)
         && apply (known, config, "text_encoder_2", text_fields, G_N_ELEMENTS (text_fields), error);
}
