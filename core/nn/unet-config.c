/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The diffusers unet/config.json -> SumiUnetConfig.
 *
 * That format has grown many switches; the ones that known models leave alone are required to be as they are there,
 * because a switch that is read over would give a network that draws something else. */
#include "nn/config.h"
#include "nn/networks.h"

#include <string.h>

static gboolean refuse (const char *field, GError **error, const char *format, ...) G_GNUC_PRINTF (3, 4);

static gboolean
refuse (const char *field, GError **error, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "%s: %s", field, text);
  return FALSE;
}

/* Switches with one supported value. */
static gboolean
check_switches (JsonObject *json, GError **error)
{
  static const struct
  {
    const char *name, *value;
  } switches[] = {
    { "act_fn", "\"silu\"" },
    { "add_attention", "true" },
    { "attention_type", "\"default\"" },
    { "attn_norm_num_groups", "null" },
    { "center_input_sample", "false" },
    { "class_embeddings_concat", "false" },
    { "conv_in_kernel", "3" },
    { "conv_out_kernel", "3" },
    { "cross_attention_norm", "null" },
    { "downsample_type", "\"conv\"" },
    { "dual_cross_attention", "false" },
    { "encoder_hid_dim", "null" },
    { "encoder_hid_dim_type", "null" },
    { "mid_block_only_cross_attention", "null" },
    { "num_attention_heads", "null" },
    { "num_class_embeds", "null" },
    { "only_cross_attention", "false" },
    { "resnet_skip_time_act", "false" },
    { "resnet_time_scale_shift", "\"default\"" },
    { "reverse_transformer_layers_per_block", "null" },
    { "time_embedding_act_fn", "null" },
    { "time_embedding_dim", "null" },
    { "time_embedding_type", "\"positional\"" },
    { "timestep_post_act", "null" },
    { "upsample_type", "\"conv\"" },
  };
  double one = 1, dropout = 0;

  for (guint i = 0; i < G_N_ELEMENTS (switches); i++)
    if (!sumi_config_must_be (json, switches[i].name, switches[i].value, error))
      return FALSE;
  return sumi_config_double (json, "mid_block_scale_factor", 1, 1, &one, error)
         && sumi_config_double (json, "resnet_out_scale_factor", 1, 1, &one, error)
         && sumi_config_double (json, "dropout", 0, 0, &dropout, error);
}

/* Whether the file describes the conditional model. */
static gboolean
read_class (JsonObject *json, gboolean *conditional, GError **error)
{
  static const char *const classes[] = { "UNet2DModel", "UNet2DConditionModel", NULL };
  static const char *const mids[][2] = { { "UNetMidBlock2D", NULL }, { "UNetMidBlock2DCrossAttn", NULL } };
  guint kind = json_object_has_member (json, "cross_attention_dim") ? 1 : 0, mid = 0;

  if (!sumi_config_choice (json, "_class_name", classes, &kind, error)
      || !sumi_config_choice (json, "mid_block_type", mids[kind], &mid, error))
    return FALSE;
  *conditional = kind == 1;
  return TRUE;
}

/* A list of block names: whether each is the one with attention. Reversed for the way up. */
static gboolean
read_blocks (JsonObject *json, const char *field, const char *plain, const char *attending, guint n, gboolean reversed,
             gboolean *attention, GError **error)
{
  guint length = 0;
  JsonArray *list;

  if (!sumi_config_list_length (json, field, n, n, &length, error))
    return FALSE;
  list = json_object_get_array_member (json, field);
  for (guint i = 0; i < n; i++)
    {
      JsonNode *node = json_array_get_element (list, i);
      gboolean is_text = JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING;
      const char *name = is_text ? json_node_get_string (node) : "";
      gboolean *place = &attention[reversed ? n - 1 - i : i];

      *place = strcmp (name, attending) == 0;
      if (!*place && strcmp (name, plain) != 0)
        return refuse (field, error, "found '%.40s', expected %s or %s", name, plain, attending);
    }
  return TRUE;
}

static gboolean
read_levels (JsonObject *json, gboolean conditional, SumiUnetConfig *c, GError **error)
{
  gboolean up[SUMI_MAX_LEVELS];

  if (!sumi_config_list_length (json, "block_out_channels", 1, SUMI_MAX_LEVELS, &c->n_levels, error)
      || !sumi_config_ints (json, "block_out_channels", c->n_levels, 1, SUMI_MAX_CHANNELS, c->block_out_channels, error)
      || !read_blocks (json, "down_block_types", "DownBlock2D",
                       conditional ? "CrossAttnDownBlock2D" : "AttnDownBlock2D", c->n_levels, FALSE, c->attention,
                       error)
      || !read_blocks (json, "up_block_types", "UpBlock2D", conditional ? "CrossAttnUpBlock2D" : "AttnUpBlock2D",
                       c->n_levels, TRUE, up, error))
    return FALSE;
  for (guint i = 0; i < c->n_levels; i++)
    {
      if (up[i] != c->attention[i])
        return refuse ("up_block_types", error, "found another order of attention than the mirrored down_block_types");
      if (c->block_out_channels[i] % c->norm_num_groups != 0)
        return refuse ("norm_num_groups", error, "found %u, expected a divisor of block_out_channels %" G_GINT64_FORMAT,
                       c->norm_num_groups, c->block_out_channels[i]);
    }
  if (c->block_out_channels[0] % 2 != 0)
    return refuse ("block_out_channels", error, "found %" G_GINT64_FORMAT ", expected an even first width",
                   c->block_out_channels[0]);
  return TRUE;
}

/* attention_head_dim is the number of heads in the conditional model (a mistake its authors kept for the sake of
 * existing files) and the width of a head in the other, where null means one head. */
static gboolean
read_heads (JsonObject *json, gboolean conditional, SumiUnetConfig *c, GError **error)
{
  gint64 values[SUMI_MAX_LEVELS];
  gboolean single = !conditional && json_object_has_member (json, "attention_head_dim")
                    && json_object_get_null_member (json, "attention_head_dim");

  for (guint i = 0; i < c->n_levels; i++)
    values[i] = single ? c->block_out_channels[i] : 8;
  if (!sumi_config_ints (json, "attention_head_dim", c->n_levels, 1, SUMI_MAX_CHANNELS, values, error))
    return FALSE;
  for (guint i = 0; i < c->n_levels; i++)
    {
      /* The middle attends at the last level, whatever its block says. */
      gboolean used = c->attention[i] || i == c->n_levels - 1;

      if (used && c->block_out_channels[i] % values[i] != 0)
        return refuse ("attention_head_dim", error,
                       "found %" G_GINT64_FORMAT ", expected a divisor of block_out_channels %" G_GINT64_FORMAT,
                       values[i], c->block_out_channels[i]);
      c->heads[i] = (guint)(conditional ? values[i] : MAX (c->block_out_channels[i] / values[i], 1));
    }
  return TRUE;
}

/* Sizes and the pooled text, or a projected class embedding: both have their width in the same field. */
static gboolean
read_additions (JsonObject *json, SumiUnetConfig *c, GError **error)
{
  static const char *const class_types[] = { "projection", NULL };
  static const char *const addition_types[] = { "text_time", NULL };
  guint class_type = 1, addition_type = 1;
  gint64 width = 0;

  if (!sumi_config_choice (json, "class_embed_type", class_types, &class_type, error)
      || !sumi_config_choice (json, "addition_embed_type", addition_types, &addition_type, error))
    return FALSE;
  if ((class_type == 0 || addition_type == 0)
      && !sumi_config_required_int (json, "projection_class_embeddings_input_dim", 1, SUMI_MAX_CHANNELS, &width, error))
    return FALSE;
  c->projection_class_embeddings_input_dim = class_type == 0 ? width : 0;
  if (addition_type != 0)
    return TRUE;
  c->addition_embed_dim = width;
  if (!sumi_config_required_int (json, "addition_time_embed_dim", 2, SUMI_MAX_CHANNELS, &c->addition_time_embed_dim,
                                 error))
    return FALSE;
  if (c->addition_time_embed_dim % 2 != 0)
    return refuse ("addition_time_embed_dim", error, "found %" G_GINT64_FORMAT ", expected an even width",
                   c->addition_time_embed_dim);
  return TRUE;
}

/* What only the conditional model has: text and transformers. */
static gboolean
read_conditioning (JsonObject *json, SumiUnetConfig *c, GError **error)
{
  gint64 layers[SUMI_MAX_LEVELS];
  gboolean upcast = FALSE; /* a matter of half-precision arithmetic: read over */

  c->cross_attention_dim = 1280;
  for (guint i = 0; i < c->n_levels; i++)
    layers[i] = 1;
  if (!sumi_config_int (json, "cross_attention_dim", 1, SUMI_MAX_CHANNELS, &c->cross_attention_dim, error)
      || !sumi_config_ints (json, "transformer_layers_per_block", c->n_levels, 0, SUMI_MAX_LAYERS, layers, error)
      || !sumi_config_bool (json, "use_linear_projection", &c->use_linear_projection, error)
      || !sumi_config_bool (json, "upcast_attention", &upcast, error)
      || !sumi_config_int (json, "time_cond_proj_dim", 1, SUMI_MAX_CHANNELS, &c->time_cond_proj_dim, error))
    return FALSE;
  for (guint i = 0; i < c->n_levels; i++)
    {
      if (layers[i] == 0 && (c->attention[i] || i == c->n_levels - 1))
        return refuse ("transformer_layers_per_block", error,
                       "found 0 at level %u, expected at least 1 where it attends", i);
      c->transformer_layers[i] = (guint)layers[i];
    }
  return read_additions (json, c, error);
}

gboolean
sumi_unet_config_parse (JsonObject *json, SumiUnetConfig *c, GError **error)
{
  gboolean conditional = FALSE;

  *c = (SumiUnetConfig){
    .layers_per_block = 2, .norm_num_groups = 32, .norm_eps = 1e-5, .flip_sin_to_cos = TRUE, .downsample_padding = 1
  };
  if (!read_class (json, &conditional, error) || !check_switches (json, error)
      || !sumi_config_required_int (json, "in_channels", 1, SUMI_MAX_CHANNELS, &c->in_channels, error)
      || !sumi_config_required_int (json, "out_channels", 1, SUMI_MAX_CHANNELS, &c->out_channels, error)
      || !sumi_config_uint (json, "layers_per_block", 1, 16, &c->layers_per_block, error)
      || !sumi_config_uint (json, "norm_num_groups", 1, SUMI_MAX_CHANNELS, &c->norm_num_groups, error)
      || !sumi_config_double (json, "norm_eps", 1e-12, 1, &c->norm_eps, error)
      || !sumi_config_bool (json, "flip_sin_to_cos", &c->flip_sin_to_cos, error)
      || !sumi_config_double (json, "freq_shift", 0, 1, &c->freq_shift, error)
      || !sumi_config_uint (json, "downsample_padding", 0, 1, &c->downsample_padding, error)
      || !read_levels (json, conditional, c, error) || !read_heads (json, conditional, c, error))
    return FALSE;
  if (c->freq_shift >= (double)c->block_out_channels[0] / 2)
    return refuse ("freq_shift", error, "found %g, expected less than half of the first width", c->freq_shift);
  if (conditional)
    return read_conditioning (json, c, error);
  return sumi_config_must_be (json, "class_embed_type", "null", error)
         && sumi_config_must_be (json, "addition_embed_type", "null", error)
         && sumi_config_must_be (json, "time_cond_proj_dim", "null", error);
}
