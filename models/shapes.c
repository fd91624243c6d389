/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/shapes.h"

#include <string.h>

#include "nn/networks.h"

#define MAX_BLOCKS 64

static SumiTensor *peek (const SumiTensorMap *map, const char *format, ...) G_GNUC_PRINTF (2, 3);

static SumiTensor *
peek (const SumiTensorMap *map, const char *format, ...)
{
  g_autofree char *name = NULL;
  va_list args;

  va_start (args, format);
  name = g_strdup_vprintf (format, args);
  va_end (args);
  return sumi_tensor_map_peek (map, name);
}

static gint64
dimension (const SumiTensor *t, guint axis)
{
  return t != NULL && sumi_tensor_get_shape (t)->rank > axis ? sumi_tensor_get_shape (t)->d[axis] : 0;
}

gint64
sumi_shapes_dimension (const SumiTensorMap *map, const char *name, guint axis)
{
  return dimension (sumi_tensor_map_peek (map, name), axis);
}

static JsonArray *
int_list (const gint64 *values, guint n)
{
  JsonArray *list = json_array_new ();

  for (guint i = 0; i < n; i++)
    json_array_add_int_element (list, values[i]);
  return list;
}

/* ---- the U-Net ---- */

static guint
count_transformers (const SumiTensorMap *unet, const char *block)
{
  guint n = 0;

  while (n < MAX_BLOCKS && peek (unet, "%s.transformer_blocks.%u.norm1.weight", block, n) != NULL)
    n++;
  return n;
}

/* The first down-sampling is behind the first level's blocks. */
static guint
count_layers (const SumiTensorMap *unet, guint n_blocks)
{
  for (guint i = 1; i < n_blocks; i++)
    if (peek (unet, "input_blocks.%u.0.op.weight", i) != NULL)
      return i - 1;
  return n_blocks - 1;
}

static guint
count_blocks (const SumiTensorMap *unet, const char *list)
{
  guint n = 0;

  while (n < MAX_BLOCKS
         && (peek (unet, "%s.%u.0.in_layers.0.weight", list, n) != NULL
             || peek (unet, "%s.%u.0.op.weight", list, n) != NULL
             || (n == 0 && peek (unet, "%s.0.0.weight", list) != NULL)))
    n++;
  return n;
}

static gboolean
read_level (const SumiTensorMap *unet, SumiUnetShapes *s, guint level)
{
  const guint first = 1 + level * (s->layers_per_block + 1);
  g_autofree char *block = g_strdup_printf ("input_blocks.%u.1", first);
  SumiTensor *projection = peek (unet, "%s.proj_in.weight", block);

  s->widths[level] = dimension (peek (unet, "input_blocks.%u.0.out_layers.3.weight", first), 0);
  s->transformer_layers[level] = count_transformers (unet, block);
  s->attention[level] = projection != NULL;
  if (projection != NULL)
    {
      s->linear_projection = sumi_tensor_get_shape (projection)->rank == 2;
      s->context = dimension (peek (unet, "%s.transformer_blocks.0.attn2.to_k.weight", block), 1);
    }
  return s->widths[level] > 0;
}

/* Whether every block of a level has what its first one has. */
static gboolean
is_regular (const SumiTensorMap *unet, const SumiUnetShapes *s)
{
  const guint down = s->layers_per_block, up = down + 1;

  if (count_blocks (unet, "output_blocks") != s->n_levels * up || !s->mid_attention)
    return FALSE;
  for (guint level = 0; level < s->n_levels; level++)
    for (guint i = 0; i < down + up; i++)
      {
        const guint number = i < down ? 1 + level * up + i : (s->n_levels - 1 - level) * up + i - down;
        g_autofree char *block = g_strdup_printf ("%s_blocks.%u.1", i < down ? "input" : "output", number);
        const guint want = s->attention[level] ? s->transformer_layers[level] : 0;

        if (count_transformers (unet, block) != want)
          return FALSE;
      }
  return TRUE;
}

gboolean
sumi_shapes_unet (const SumiTensorMap *unet, SumiUnetShapes *s)
{
  const guint n_blocks = count_blocks (unet, "input_blocks");
  guint last;

  *s = (SumiUnetShapes){ .in_channels = sumi_shapes_dimension (unet, "input_blocks.0.0.weight", 1),
                         .out_channels = sumi_shapes_dimension (unet, "out.2.weight", 0),
                         .label_width = sumi_shapes_dimension (unet, "label_emb.0.0.weight", 1),
                         .time_cond_width = sumi_shapes_dimension (unet, "time_embedding.cond_proj.weight", 1) };
  if (s->in_channels == 0 || s->out_channels == 0 || n_blocks < 2)
    return FALSE;
  s->layers_per_block = count_layers (unet, n_blocks);
  s->n_levels = n_blocks / (s->layers_per_block + 1);
  if (s->layers_per_block == 0 || s->n_levels > G_N_ELEMENTS (s->widths)
      || n_blocks != s->n_levels * (s->layers_per_block + 1))
    return FALSE;
  for (guint level = 0; level < s->n_levels; level++)
    if (!read_level (unet, s, level))
      return FALSE;
  last = s->n_levels - 1;
  s->mid_attention = peek (unet, "middle_block.1.proj_in.weight") != NULL;
  if (!s->attention[last])
    s->transformer_layers[last] = count_transformers (unet, "middle_block.1");
  else if (count_transformers (unet, "middle_block.1") != s->transformer_layers[last])
    return TRUE; /* not regular */
  s->regular = is_regular (unet, s);
  return TRUE;
}

static JsonArray *
block_types (const SumiUnetShapes *s, gboolean up)
{
  JsonArray *list = json_array_new ();

  for (guint i = 0; i < s->n_levels; i++)
    {
      const gboolean attends = s->attention[up ? s->n_levels - 1 - i : i];

      json_array_add_string_element (list, up        ? attends ? "CrossAttnUpBlock2D" : "UpBlock2D"
                                           : attends ? "CrossAttnDownBlock2D"
                                                     : "DownBlock2D");
    }
  return list;
}

JsonObject *
sumi_shapes_unet_config (const SumiUnetShapes *s, const guint *heads, guint groups)
{
  JsonObject *c = json_object_new ();
  gint64 n_heads[G_N_ELEMENTS (s->widths)], layers[G_N_ELEMENTS (s->widths)];

  for (guint i = 0; i < s->n_levels; i++)
    {
      n_heads[i] = heads[i];
      layers[i] = s->transformer_layers[i];
    }
  json_object_set_string_member (c, "_class_name", "UNet2DConditionModel");
  json_object_set_int_member (c, "in_channels", s->in_channels);
  json_object_set_int_member (c, "out_channels", s->out_channels);
  json_object_set_int_member (c, "layers_per_block", s->layers_per_block);
  json_object_set_int_member (c, "norm_num_groups", groups);
  json_object_set_int_member (c, "cross_attention_dim", s->context);
  json_object_set_boolean_member (c, "use_linear_projection", s->linear_projection);
  json_object_set_array_member (c, "block_out_channels", int_list (s->widths, s->n_levels));
  json_object_set_array_member (c, "attention_head_dim", int_list (n_heads, s->n_levels));
  json_object_set_array_member (c, "transformer_layers_per_block", int_list (layers, s->n_levels));
  json_object_set_array_member (c, "down_block_types", block_types (s, FALSE));
  json_object_set_array_member (c, "up_block_types", block_types (s, TRUE));
  if (s->time_cond_width > 0)
    json_object_set_int_member (c, "time_cond_proj_dim", s->time_cond_width);
  if (s->label_width > 0)
    {
      json_object_set_string_member (c, "addition_embed_type", "text_time");
      json_object_set_int_member (c, "addition_time_embed_dim", 256);
      json_object_set_int_member (c, "projection_class_embeddings_input_dim", s->label_width);
    }
  return c;
}

/* ---- the auto-encoder ---- */

JsonObject *
sumi_shapes_vae_default (double scaling_factor)
{
  static const gint64 widths[] = { 128, 256, 512, 512 };
  JsonObject *c = json_object_new ();

  json_object_set_string_member (c, "_class_name", "AutoencoderKL");
  json_object_set_int_member (c, "in_channels", 3);
  json_object_set_int_member (c, "out_channels", 3);
  json_object_set_int_member (c, "latent_channels", 4);
  json_object_set_int_member (c, "layers_per_block", 2);
  json_object_set_int_member (c, "norm_num_groups", 32);
  json_object_set_array_member (c, "block_out_channels", int_list (widths, G_N_ELEMENTS (widths)));
  json_object_set_double_member (c, "scaling_factor", scaling_factor);
  return c;
}

JsonObject *
sumi_shapes_vae_config (const SumiTensorMap *vae, double scaling_factor, guint groups)
{
  gint64 widths[SUMI_MAX_LEVELS], latent = sumi_shapes_dimension (vae, "decoder.conv_in.weight", 1);
  guint n = 0, layers = 0;
  JsonObject *c;

  while (n < SUMI_MAX_LEVELS && (widths[n] = dimension (peek (vae, "decoder.up.%u.block.0.conv1.weight", n), 0)) > 0)
    n++;
  while (layers < MAX_BLOCKS && peek (vae, "decoder.up.0.block.%u.conv1.weight", layers) != NULL)
    layers++;
  if (n == 0 || layers < 2 || latent == 0)
    return NULL;
  c = sumi_shapes_vae_default (scaling_factor);
  json_object_set_int_member (c, "latent_channels", latent);
  json_object_set_int_member (c, "layers_per_block", layers - 1); /* the decoder has one more */
  json_object_set_int_member (c, "norm_num_groups", groups);
  json_object_set_array_member (c, "block_out_channels", int_list (widths, n));
  json_object_set_boolean_member (c, "mid_block_add_attention", peek (vae, "decoder.mid.attn_1.norm.weight") != NULL);
  json_object_set_boolean_member (c, "use_quant_conv", peek (vae, "quant_conv.weight") != NULL);
  json_object_set_boolean_member (c, "use_post_quant_conv", peek (vae, "post_quant_conv.weight") != NULL);
  return c;
}

/* ---- text encoders ---- */

gboolean
sumi_shapes_text (const SumiTensorMap *text, gboolean open_clip, gint64 *width, guint *layers)
{
  const char *table = open_clip ? "token_embedding.weight" : "text_model.embeddings.token_embedding.weight";
  guint n = 0;

  while (
      n < 256
      && peek (text,
               open_clip ? "transformer.resblocks.%u.ln_1.weight" : "text_model.encoder.layers.%u.layer_norm1.weight",
               n)
             != NULL)
    n++;
  *width = sumi_shapes_dimension (text, table, 1);
  *layers = n;
  return *width > 0 && n > 0;
}

JsonObject *
sumi_shapes_text_config (const SumiTensorMap *text, gboolean open_clip, guint heads, const char *act, guint n_layers,
                         gboolean projection)
{
  const char *table = open_clip ? "token_embedding.weight" : "text_model.embeddings.token_embedding.weight";
  const char *positions = open_clip ? "positional_embedding" : "text_model.embeddings.position_embedding.weight";
  const char *wide
      = open_clip ? "transformer.resblocks.0.mlp.c_fc.weight" : "text_model.encoder.layers.0.mlp.fc1.weight";
  gint64 width;
  guint found;
  JsonObject *c;
  JsonArray *classes;

  if (!sumi_shapes_text (text, open_clip, &width, &found))
    return NULL;
  c = json_object_new ();
  classes = json_array_new ();
  json_array_add_string_element (classes, projection ? "CLIPTextModelWithProjection" : "CLIPTextModel");
  json_object_set_array_member (c, "architectures", classes);
  json_object_set_int_member (c, "vocab_size", sumi_shapes_dimension (text, table, 0));
  json_object_set_int_member (c, "hidden_size", width);
  json_object_set_int_member (c, "intermediate_size", sumi_shapes_dimension (text, wide, 0));
  json_object_set_int_member (c, "max_position_embeddings", sumi_shapes_dimension (text, positions, 0));
  json_object_set_int_member (c, "num_hidden_layers", n_layers > 0 ? n_layers : found);
  json_object_set_int_member (c, "num_attention_heads", heads);
  json_object_set_string_member (c, "hidden_act", act);
  if (projection)
    json_object_set_int_member (c, "projection_dim",
                                open_clip ? sumi_shapes_dimension (text, "text_projection", 1)
                                          : sumi_shapes_dimension (text, "text_projection.weight", 0));
  return c;
}
