/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/detect.h"

#include <string.h>

#include "base/error.h"

/* A dimension of a tensor of that rank; 0 where there is no such tensor. */
static gint64
dimension (const SumiTensorMap *weights, const char *name, guint rank, guint axis)
{
  SumiTensor *t = sumi_tensor_map_peek (weights, name);

  if (t == NULL || sumi_tensor_get_shape (t)->rank != rank)
    return 0;
  return sumi_tensor_get_shape (t)->d[axis];
}

/* Everything but the number of groups shows in the shapes; 8 groups are the default of this network.
 * NULL: not a simple U-Net. */
static JsonObject *
detect_simple_unet (const SumiTensorMap *weights)
{
  gint64 base = dimension (weights, "down1.conv1.weight", 4, 0);
  gint64 in = dimension (weights, "down1.conv1.weight", 4, 1);
  gint64 out = dimension (weights, "out.weight", 4, 0);
  gint64 time = dimension (weights, "time_mlp.1.weight", 2, 1);
  gint64 deepest = dimension (weights, "bottleneck.conv1.weight", 4, 0);
  JsonObject *config;

  if (base == 0 || in == 0 || out == 0 || time == 0 || deepest != 4 * base)
    return NULL;
  config = json_object_new ();
  json_object_set_string_member (config, "family", "simple-unet");
  json_object_set_int_member (config, "in_channels", in);
  json_object_set_int_member (config, "out_channels", out);
  json_object_set_int_member (config, "base_channels", base);
  json_object_set_int_member (config, "time_emb_dim", time);
  return config;
}

/* Kinds of files that are often at hand, by a part of a name; the first that fits. */
static const struct
{
  const char *part, *what;
} kinds[] = {
  { "lora_", "a LoRA (no model by itself)" },
  { ".lora.", "a LoRA (no model by itself)" },
  { "lora_A.", "a LoRA (no model by itself)" },
  { "emb_params", "a textual-inversion embedding (no model by itself)" },
  { "model.diffusion_model.", "a Stable Diffusion checkpoint" },
  { "double_blocks.", "a FLUX transformer" },
  { "unet.down_blocks.", "a U-Net and more, without a configuration" },
  { "down_blocks.", "a U-Net of diffusers without its folder (model_index.json, unet/config.json)" },
  { "text_model.", "a text encoder" },
  { "encoder.down.", "an auto-encoder" },
  { "decoder.", "an auto-encoder" },
};

static const char *
describe (const SumiTensorMap *weights)
{
  for (guint k = 0; k < G_N_ELEMENTS (kinds); k++)
    for (guint i = 0; i < sumi_tensor_map_get_size (weights); i++)
      if (strstr (sumi_tensor_map_get_name (weights, i), kinds[k].part) != NULL)
        return kinds[k].what;
  return NULL;
}

JsonObject *
sumi_model_detect (const SumiTensorMap *weights, GError **error)
{
  static const char expected[] = "expected a model of family simple-unet, ddpm or sumi-latent";
  JsonObject *config = detect_simple_unet (weights);
  const char *what;

  if (config != NULL)
    return config;
  what = describe (weights);
  if (what != NULL)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "found %s, %s", what, expected);
  else if (sumi_tensor_map_get_size (weights) > 0)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
                 "found %u tensors, the first '%.64s', and no configuration, %s", sumi_tensor_map_get_size (weights),
                 sumi_tensor_map_get_name (weights, 0), expected);
  else
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "found no tensors, %s", expected);
  return NULL;
}
