/* SPDX-License-Identifier: GPL-3.0-or-later */
/* AutoencoderKL (Kingma & Welling 2014; Rombach et al. 2022): pictures <-> latents at 1/2^(levels-1) of the size, with
 * the names of diffusers' checkpoints.
 *
 * A level has layers_per_block residual blocks in the encoder and one more in the decoder; the lowest level has a
 * middle of two blocks with attention of the pixels, one head, between them. */
#include "nn/blocks.h"
#include "nn/config.h"
#include "nn/networks.h"

#include <string.h>

#define NORM_EPS 1e-6

/* ---- the configuration ---- */

/* A list of n times the same name, where there is one. */
static gboolean
read_blocks (JsonObject *json, const char *field, const char *name, guint n, GError **error)
{
  guint length;
  JsonArray *list;

  if (!json_object_has_member (json, field))
    return TRUE;
  if (!sumi_config_list_length (json, field, n, n, &length, error))
    return FALSE;
  list = json_object_get_array_member (json, field);
  for (guint i = 0; i < n; i++)
    {
      JsonNode *node = json_array_get_element (list, i);
      gboolean is_text = JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING;
      const char *found = is_text ? json_node_get_string (node) : "";

      if (strcmp (found, name) == 0)
        continue;
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "%s: found '%.40s', expected %s", field, found, name);
      return FALSE;
    }
  return TRUE;
}

/* Switches with one supported value. force_upcast is a matter of half precision, sample_size of training: read over. */
static gboolean
check_switches (JsonObject *json, GError **error)
{
  return sumi_config_must_be (json, "_class_name", "\"AutoencoderKL\"", error)
         && sumi_config_must_be (json, "act_fn", "\"silu\"", error)
         && sumi_config_must_be (json, "latents_mean", "null", error)
         && sumi_config_must_be (json, "latents_std", "null", error);
}

gboolean
sumi_vae_config_parse (JsonObject *json, SumiVaeConfig *c, GError **error)
{
  *c = (SumiVaeConfig){ .in_channels = 3,
                        .out_channels = 3,
                        .latent_channels = 4,
                        .norm_num_groups = 32,
                        .mid_attention = TRUE,
                        .quant_conv = TRUE,
                        .post_quant_conv = TRUE,
                        .scaling_factor = 0.18215 };
  gint64 layers = 0;

  if (!check_switches (json, error) || !sumi_config_int (json, "in_channels", 3, 3, &c->in_channels, error)
      || !sumi_config_int (json, "out_channels", 3, 3, &c->out_channels, error)
      || !sumi_config_int (json, "latent_channels", 1, SUMI_MAX_LATENT_CHANNELS, &c->latent_channels, error)
      || !sumi_config_list_length (json, "block_out_channels", 1, SUMI_MAX_LEVELS, &c->n_levels, error)
      || !sumi_config_ints (json, "block_out_channels", c->n_levels, 1, SUMI_MAX_CHANNELS, c->block_out_channels, error)
      || !read_blocks (json, "down_block_types", "DownEncoderBlock2D", c->n_levels, error)
      || !read_blocks (json, "up_block_types", "UpDecoderBlock2D", c->n_levels, error)
      || !sumi_config_required_int (json, "layers_per_block", 1, 16, &layers, error)
      || !sumi_config_uint (json, "norm_num_groups", 1, SUMI_MAX_CHANNELS, &c->norm_num_groups, error)
      || !sumi_config_bool (json, "mid_block_add_attention", &c->mid_attention, error)
      || !sumi_config_bool (json, "use_quant_conv", &c->quant_conv, error)
      || !sumi_config_bool (json, "use_post_quant_conv", &c->post_quant_conv, error)
      || !sumi_config_double (json, "scaling_factor", 1e-6, 1e6, &c->scaling_factor, error)
      || !sumi_config_double (json, "shift_factor", -1e6, 1e6, &c->shift_factor, error))
    return FALSE;
  c->layers_per_block = (guint)layers;
  for (guint i = 0; i < c->n_levels; i++)
    if (c->block_out_channels[i] % c->norm_num_groups != 0)
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                     "norm_num_groups: found %u, expected a divisor of block_out_channels %" G_GINT64_FORMAT,
                     c->norm_num_groups, c->block_out_channels[i]);
        return FALSE;
      }
  return TRUE;
}

/* ---- the networks ---- */

static SumiNode *
resnets (SumiModule *m, const SumiVaeConfig *c, guint n, SumiNode *x, gint64 out_channels)
{
  for (guint i = 0; i < n; i++)
    {
      sumi_module_push (m, "resnets.%u", i);
      x = sumi_nn_resnet (m, x, NULL, out_channels, c->norm_num_groups, NORM_EPS);
      sumi_module_pop (m);
    }
  return x;
}

static SumiNode *
mid_block (SumiModule *m, const SumiVaeConfig *c, SumiNode *x)
{
  gint64 width = c->block_out_channels[c->n_levels - 1];

  sumi_module_push (m, "mid_block");
  x = resnets (m, c, 1, x, width);
  if (c->mid_attention)
    {
      sumi_module_push (m, "attentions.0");
      x = sumi_nn_pixel_attention (m, x, 1, c->norm_num_groups, NORM_EPS);
      sumi_module_pop (m);
    }
  sumi_module_push (m, "resnets.1");
  x = sumi_nn_resnet (m, x, NULL, width, c->norm_num_groups, NORM_EPS);
  sumi_module_pop (m);
  sumi_module_pop (m);
  return x;
}

SumiNode *
sumi_vae_encoder (SumiModule *m, const SumiVaeConfig *c, SumiNode *image)
{
  const gint64 multiple = (gint64)1 << (c->n_levels - 1);
  SumiNode *h;

  if (image->shape.rank != 4 || image->shape.d[1] != c->in_channels || image->shape.d[2] % multiple != 0
      || image->shape.d[3] % multiple != 0)
    {
      g_autofree char *shape = sumi_shape_to_string (&image->shape);

      sumi_graph_poison (m->graph,
                         "auto-encoder: got %s, want (N,%" G_GINT64_FORMAT ",H,W) with H and W multiples of %d", shape,
                         c->in_channels, (int)multiple);
      return image;
    }
  sumi_module_push (m, "encoder");
  h = sumi_nn_conv2d (m, "conv_in", image, c->block_out_channels[0], 3, 1, 1, TRUE);
  for (guint level = 0; level < c->n_levels; level++)
    {
      sumi_module_push (m, "down_blocks.%u", level);
      h = resnets (m, c, c->layers_per_block, h, c->block_out_channels[level]);
      if (level + 1 < c->n_levels)
        h = sumi_nn_downsample (m, h, 0);
      sumi_module_pop (m);
    }
  h = mid_block (m, c, h);
  h = sumi_nn_group_norm (m, "conv_norm_out", h, c->norm_num_groups, NORM_EPS, SUMI_ACT_SILU);
  h = sumi_nn_conv2d (m, "conv_out", h, 2 * c->latent_channels, 3, 1, 1, TRUE);
  sumi_module_pop (m);
  return c->quant_conv ? sumi_nn_conv2d (m, "quant_conv", h, 2 * c->latent_channels, 1, 1, 0, TRUE) : h;
}

SumiNode *
sumi_vae_decoder (SumiModule *m, const SumiVaeConfig *c, SumiNode *latents)
{
  SumiNode *h = latents;

  if (latents->shape.rank != 4 || latents->shape.d[1] != c->latent_channels)
    {
      g_autofree char *shape = sumi_shape_to_string (&latents->shape);

      sumi_graph_poison (m->graph, "auto-encoder: got %s, want (N,%" G_GINT64_FORMAT ",h,w)", shape,
                         c->latent_channels);
      return latents;
    }
  if (c->post_quant_conv)
    h = sumi_nn_conv2d (m, "post_quant_conv", h, c->latent_channels, 1, 1, 0, TRUE);
  sumi_module_push (m, "decoder");
  h = sumi_nn_conv2d (m, "conv_in", h, c->block_out_channels[c->n_levels - 1], 3, 1, 1, TRUE);
  h = mid_block (m, c, h);
  for (guint i = 0; i < c->n_levels; i++)
    {
      /* up_blocks.0 is the lowest level. */
      sumi_module_push (m, "up_blocks.%u", i);
      h = resnets (m, c, c->layers_per_block + 1, h, c->block_out_channels[c->n_levels - 1 - i]);
      if (i + 1 < c->n_levels)
        h = sumi_nn_upsample (m, h, 2 * h->shape.d[2], 2 * h->shape.d[3]);
      sumi_module_pop (m);
    }
  h = sumi_nn_group_norm (m, "conv_norm_out", h, c->norm_num_groups, NORM_EPS, SUMI_ACT_SILU);
  h = sumi_nn_conv2d (m, "conv_out", h, c->out_channels, 3, 1, 1, TRUE);
  sumi_module_pop (m);
  return h;
}
