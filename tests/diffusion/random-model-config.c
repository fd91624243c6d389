/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The shapes of the models people have, and tiny ones of the same build. */
#include "random-model-private.h"

#include <string.h>

#define L_SD                                                                                                           \
  "\"beta_schedule\":\"scaled_linear\",\"beta_start\":0.00085,\"beta_end\":0.012,\"num_train_timesteps\":1000,"        \
  "\"clip_sample\":false,\"set_alpha_to_one\":false,\"steps_offset\":1"
#define PNDM "{\"_class_name\":\"PNDMScheduler\",\"skip_prk_steps\":true," L_SD "}"
#define DDIM_V "{\"_class_name\":\"DDIMScheduler\",\"prediction_type\":\"v_prediction\"," L_SD "}"
#define EULER "{\"_class_name\":\"EulerDiscreteScheduler\",\"timestep_spacing\":\"leading\"," L_SD "}"
#define LCM "{\"_class_name\":\"LCMScheduler\"," L_SD "}"

#define FULL_SD1 "[320,640,1280,1280]", "[8,8,8,8]", "[1,1,1,1]", "1110", 32
#define FULL_SD2 "[320,640,1280,1280]", "[5,10,20,20]", "[1,1,1,1]", "1110", 32
#define FULL_VAE "[128,256,512,512]"
#define CLIP_L                                                                                                         \
  {                                                                                                                    \
    768, 12, 12, "quick_gelu", 0                                                                                       \
  }
#define CLIP_H                                                                                                         \
  {                                                                                                                    \
    1024, 16, 23, "gelu", 0                                                                                            \
  }
#define CLIP_G                                                                                                         \
  {                                                                                                                    \
    1280, 20, 32, "gelu", 1280                                                                                         \
  }
#define TINY_VAE "[16,16,24,32]"
#define TINY_1                                                                                                         \
  {                                                                                                                    \
    32, 4, 3, "quick_gelu", 0                                                                                          \
  }
#define TINY_2                                                                                                         \
  {                                                                                                                    \
    16, 2, 3, "gelu", 0                                                                                                \
  }
#define TINY_G                                                                                                         \
  {                                                                                                                    \
    24, 4, 4, "gelu", 24                                                                                               \
  }
#define TINY_SD1 "[32,32,48,48]", "[8,8,8,8]", "[1,1,1,1]", "1110", 8
#define NONE                                                                                                           \
  {                                                                                                                    \
    0, 0, 0, NULL, 0                                                                                                   \
  }

static const RandomSpec specs[] = {
  { "sd15", "full", "sd15", FULL_SD1, 4, 768, FALSE, 0, 0, 0, 64, FULL_VAE, 0.18215, { CLIP_L, NONE }, PNDM },
  { "inpaint", "full", "sd15", FULL_SD1, 9, 768, FALSE, 0, 0, 0, 64, FULL_VAE, 0.18215, { CLIP_L, NONE }, PNDM },
  { "pix2pix", "full", "sd15", FULL_SD1, 8, 768, FALSE, 0, 0, 0, 64, FULL_VAE, 0.18215, { CLIP_L, NONE }, PNDM },
  { "lcm", "full", "sd15", FULL_SD1, 4, 768, FALSE, 0, 0, 256, 96, FULL_VAE, 0.18215, { CLIP_L, NONE }, LCM },
  { "sd21", "full", "sd21", FULL_SD2, 4, 1024, TRUE, 0, 0, 0, 96, FULL_VAE, 0.18215, { CLIP_H, NONE }, DDIM_V },
  { "sd21-base", "full", "sd21", FULL_SD2, 4, 1024, TRUE, 0, 0, 0, 64, FULL_VAE, 0.18215, { CLIP_H, NONE }, PNDM },
  { "sdxl",
    "full",
    "sdxl",
    "[320,640,1280]",
    "[5,10,20]",
    "[1,2,10]",
    "011",
    32,
    4,
    2048,
    TRUE,
    256,
    2816,
    0,
    128,
    FULL_VAE,
    0.13025,
    { CLIP_L, CLIP_G },
    EULER },
  { "sdxl-refiner",
    "full",
    "sdxl-refiner",
    "[384,768,1536,1536]",
    "[6,12,24,24]",
    "[4,4,4,4]",
    "0110",
    32,
    4,
    1280,
    TRUE,
    256,
    2560,
    0,
    128,
    FULL_VAE,
    0.13025,
    { NONE, CLIP_G },
    EULER },
  { "sd15", "tiny", "sd15", TINY_SD1, 4, 32, FALSE, 0, 0, 0, 16, TINY_VAE, 0.18215, { TINY_1, NONE }, PNDM },
  { "inpaint", "tiny", "sd15", TINY_SD1, 9, 32, FALSE, 0, 0, 0, 16, TINY_VAE, 0.18215, { TINY_1, NONE }, PNDM },
  { "pix2pix", "tiny", "sd15", TINY_SD1, 8, 32, FALSE, 0, 0, 0, 16, TINY_VAE, 0.18215, { TINY_1, NONE }, PNDM },
  { "lcm", "tiny", "sd15", TINY_SD1, 4, 32, FALSE, 0, 0, 16, 16, TINY_VAE, 0.18215, { TINY_1, NONE }, LCM },
  { "sd21",
    "tiny",
    "sd21",
    "[16,32,32,48]",
    "[2,4,4,6]",
    "[1,1,1,1]",
    "1110",
    8,
    4,
    16,
    TRUE,
    0,
    0,
    0,
    16,
    TINY_VAE,
    0.18215,
    { TINY_2, NONE },
    DDIM_V },
  { "sd21-base",
    "tiny",
    "sd21",
    "[16,32,32,48]",
    "[2,4,4,6]",
    "[1,1,1,1]",
    "1110",
    8,
    4,
    16,
    TRUE,
    0,
    0,
    0,
    16,
    TINY_VAE,
    0.18215,
    { TINY_2, NONE },
    PNDM },
  { "sdxl",
    "tiny",
    "sdxl",
    "[16,32,32]",
    "[2,4,4]",
    "[1,2,3]",
    "011",
    8,
    4,
    56,
    TRUE,
    8,
    72,
    0,
    16,
    TINY_VAE,
    0.13025,
    { TINY_1, TINY_G },
    EULER },
  { "sdxl-refiner",
    "tiny",
    "sdxl-refiner",
    "[16,32,32,32]",
    "[2,4,4,4]",
    "[2,2,2,2]",
    "0110",
    8,
    4,
    24,
    TRUE,
    8,
    64,
    0,
    16,
    TINY_VAE,
    0.13025,
    { NONE, TINY_G },
    EULER },
};

const RandomSpec *
random_spec_find (const char *name, const char *size, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (specs); i++)
    if (strcmp (specs[i].name, name) == 0 && strcmp (specs[i].size, size) == 0)
      return &specs[i];
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "found no model '%s' of size '%s'", name, size);
  return NULL;
}

/* ---- diffusers' and transformers' files ---- */

static void
append_blocks (GString *s, const char *field, const char *attention, gboolean up)
{
  const guint n = (guint)strlen (attention);

  g_string_append_printf (s, "\"%s\":[", field);
  for (guint i = 0; i < n; i++)
    {
      gboolean attends = attention[up ? n - 1 - i : i] == '1';

      g_string_append_printf (s, "%s\"%s%sBlock2D\"", i > 0 ? "," : "", attends ? "CrossAttn" : "", up ? "Up" : "Down");
    }
  g_string_append (s, "],");
}

char *
random_spec_unet (const RandomSpec *s)
{
  GString *json = g_string_new ("{\"_class_name\":\"UNet2DConditionModel\",");

  append_blocks (json, "down_block_types", s->attention, FALSE);
  append_blocks (json, "up_block_types", s->attention, TRUE);
  if (s->addition > 0)
    g_string_append_printf (json,
                            "\"addition_embed_type\":\"text_time\",\"addition_time_embed_dim\":%u,"
                            "\"projection_class_embeddings_input_dim\":%u,",
                            s->addition_time, s->addition);
  if (s->time_cond > 0)
    g_string_append_printf (json, "\"time_cond_proj_dim\":%u,", s->time_cond);
  g_string_append_printf (json,
                          "\"in_channels\":%u,\"out_channels\":4,\"sample_size\":%u,\"block_out_channels\":%s,"
                          "\"attention_head_dim\":%s,\"transformer_layers_per_block\":%s,\"layers_per_block\":2,"
                          "\"norm_num_groups\":%u,\"cross_attention_dim\":%u,\"use_linear_projection\":%s}",
                          s->in_channels, s->sample_size, s->widths, s->heads, s->transformer_layers, s->groups,
                          s->context, s->linear ? "true" : "false");
  return g_string_free (json, FALSE);
}

char *
random_spec_vae (const RandomSpec *s)
{
  char scaling[G_ASCII_DTOSTR_BUF_SIZE];

  return g_strdup_printf ("{\"_class_name\":\"AutoencoderKL\",\"block_out_channels\":%s,\"layers_per_block\":2,"
                          "\"latent_channels\":4,\"norm_num_groups\":%u,\"scaling_factor\":%s}",
                          s->vae_widths, s->groups, g_ascii_dtostr (scaling, sizeof scaling, s->scaling));
}

char *
random_spec_text (const RandomText *t)
{
  return g_strdup_printf ("{\"architectures\":[\"CLIPTextModel%s\"],\"model_type\":\"clip_text_model\","
                          "\"vocab_size\":49408,\"hidden_size\":%u,\"intermediate_size\":%u,\"hidden_act\":\"%s\","
                          "\"num_attention_heads\":%u,\"num_hidden_layers\":%u,\"projection_dim\":%u}",
                          t->projection > 0 ? "WithProjection" : "", t->width, 4 * t->width, t->act, t->heads,
                          t->layers, t->projection > 0 ? t->projection : t->width);
}

JsonObject *
random_spec_config (const RandomSpec *s)
{
  g_autoptr (GString) json = g_string_new (NULL);
  g_autofree char *unet = random_spec_unet (s), *vae = random_spec_vae (s);
  g_autoptr (JsonNode) node = NULL;

  g_string_printf (json, "{\"family\":\"%s\",\"unet\":%s,\"vae\":%s,\"scheduler\":%s", s->family, unet, vae,
                   s->scheduler);
  for (guint i = 0; i < 2; i++)
    if (s->text[i].width > 0)
      {
        g_autofree char *text = random_spec_text (&s->text[i]);

        g_string_append_printf (json, ",\"text_encoder%s\":%s", i > 0 ? "_2" : "", text);
      }
  g_string_append_c (json, '}');
  node = json_from_string (json->str, NULL);
  return json_object_ref (json_node_get_object (node));
}

/* ---- the hyper-parameters beside a single file ---- */

char *
random_spec_sidecar (const RandomSpec *s)
{
  GString *json = g_string_new (NULL);

  g_string_printf (json,
                   "{\"family\":\"%s\",\"unet\":{\"block_out_channels\":%s,\"in_channels\":%u,"
                   "\"attention_heads_per_level\":%s,\"cross_attention_dim\":%u,\"layers_per_block\":2,"
                   "\"norm_num_groups\":%u,\"use_linear_projection\":%s,\"transformer_layers_per_block\":%s",
                   s->family, s->widths, s->in_channels, s->heads, s->context, s->groups, s->linear ? "true" : "false",
                   s->transformer_layers);
  if (s->addition > 0)
    g_string_append_printf (json, ",\"addition_time_embed_dim\":%u", s->addition_time);
  char scaling[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append_printf (json, "},\"vae\":{\"block_out_channels\":%s,\"scaling_factor\":%s,\"norm_num_groups\":%u}",
                          s->vae_widths, g_ascii_dtostr (scaling, sizeof scaling, s->scaling), s->groups);
  for (guint i = 0; i < 2; i++)
    if (s->text[i].width > 0)
      g_string_append_printf (
          json, ",\"text_encoder%s\":{\"hidden\":%u,\"heads\":%u,\"layers\":%u,\"act\":\"%s\",\"proj\":%u}",
          i > 0 ? "_2" : "", s->text[i].width, s->text[i].heads, s->text[i].layers, s->text[i].act,
          s->text[i].projection > 0 ? s->text[i].projection : s->text[i].width);
  g_string_append_printf (json, ",\"scheduler\":%s}", s->scheduler);
  return g_string_free (json, FALSE);
}
