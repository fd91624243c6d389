/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/detect.h"

#include <string.h>

#include "base/error.h"
#include "models/evidence.h"
#include "models/hyper-parameters.h"
#include "models/shapes.h"
#include "models/variants.h"

#define EXPECTED "expected a model of family simple-unet, ddpm, sumi-latent, sd15, sd21, sdxl or sdxl-refiner"

static JsonObject *unknown (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

static JsonObject *
unknown (GError **error, const char *format, ...)
{
  g_autofree char *found = NULL;
  va_list args;

  va_start (args, format);
  found = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "found %s, %s", found, EXPECTED);
  return NULL;
}

/* ---- models of pixels ---- */

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

/* ---- what is known, and not supported ---- */

/* Kinds of files that are often at hand, by a part of a name; the first that fits. */
static const struct
{
  const char *part, *what;
} kinds[] = {
  { "lora_", "a LoRA (no model by itself)" },
  { ".lora.", "a LoRA (no model by itself)" },
  { "lora_A.", "a LoRA (no model by itself)" },
  { "emb_params", "a textual-inversion embedding (no model by itself)" },
  { "string_to_param", "a textual-inversion embedding (no model by itself)" },
  { "joint_blocks.", "Stable Diffusion 3 (recognised, not supported)" },
  { "double_blocks.", "a FLUX transformer (recognised, not supported)" },
  { "edm_mean", "Playground 2.5, whose noise is EDM's (recognised, not supported)" },
  { "edm_vpred.sigma_max", "CosXL, whose noise is EDM's (recognised, not supported)" },
  { "clip_txt_mapper.", "Stable Cascade (recognised, not supported)" },
  { "adaln_single.", "PixArt (recognised, not supported)" },
  { "time_stack.", "Stable Video Diffusion (recognised, not supported)" },
  { "motion_modules.", "a motion module of AnimateDiff (no model by itself)" },
  { "control_model.", "a ControlNet (no model by itself)" },
  { "input_hint_block.", "a ControlNet (no model by itself)" },
  { "controlnet_", "a ControlNet (no model by itself)" },
  { "ip_adapter.", "an IP-Adapter (no model by itself)" },
  { "encoder_hid_proj.", "a U-Net with another text encoder than CLIP (recognised, not supported)" },
  { "cond_stage_model.roberta.", "AltDiffusion (recognised, not supported)" },
  { "embedder.model.visual.", "a model that varies pictures, unCLIP (recognised, not supported)" },
};

/* Parts of models. */
static const struct
{
  const char *part, *what;
} parts[] = {
  { "model.diffusion_model.", "a U-Net without its text encoders (no model by itself)" },
  { "input_blocks.", "a U-Net without its text encoders (no model by itself)" },
  { "unet.down_blocks.", "a U-Net and more, without a configuration" },
  { "down_blocks.", "a U-Net of diffusers without its folder (model_index.json, unet/config.json)" },
  { "text_model.", "a text encoder (no model by itself)" },
  { "transformer.resblocks.", "a text encoder (no model by itself)" },
  { "encoder.down", "an auto-encoder (no model by itself)" },
  { "decoder.", "an auto-encoder (no model by itself)" },
};

static gboolean
contains (const SumiTensorMap *weights, const char *part)
{
  for (guint i = 0; i < sumi_tensor_map_get_size (weights); i++)
    if (strstr (sumi_tensor_map_get_name (weights, i), part) != NULL)
      return TRUE;
  return FALSE;
}

static const char *
describe (const SumiTensorMap *weights)
{
  for (guint k = 0; k < G_N_ELEMENTS (kinds); k++)
    if (contains (weights, kinds[k].part))
      return kinds[k].what;
  return NULL;
}

static const char *
describe_part (const SumiTensorMap *weights)
{
  for (guint k = 0; k < G_N_ELEMENTS (parts); k++)
    if (contains (weights, parts[k].part))
      return parts[k].what;
  return NULL;
}

/* ---- Stable Diffusion ---- */

#define NOISE                                                                                                          \
  "\"beta_schedule\":\"scaled_linear\",\"beta_start\":0.00085,\"beta_end\":0.012,\"num_train_timesteps\":1000,"        \
  "\"clip_sample\":false,\"set_alpha_to_one\":false,\"steps_offset\":1"

/* As published: what shapes do not show. */
typedef struct
{
  const char *name, *title;
  gint64 context;
  double scaling_factor;
  guint size; /* pixels */
  const char *scheduler;
} Family;

static const Family families[] = {
  { "sd15", "Stable Diffusion 1", 768, 0.18215, 512,
    "{\"_class_name\":\"PNDMScheduler\",\"skip_prk_steps\":true," NOISE "}" },
  { "sd21", "Stable Diffusion 2", 1024, 0.18215, 768, "{\"_class_name\":\"DDIMScheduler\"," NOISE "}" },
  { "sdxl", "Stable Diffusion XL", 2048, 0.13025, 1024,
    "{\"_class_name\":\"EulerDiscreteScheduler\",\"timestep_spacing\":\"leading\"," NOISE "}" },
  { "sdxl-refiner", "Stable Diffusion XL refiner", 1280, 0.13025, 1024,
    "{\"_class_name\":\"EulerDiscreteScheduler\",\"timestep_spacing\":\"leading\"," NOISE "}" },
};

static const Family *
family_by_name (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (families); i++)
    if (g_strcmp0 (name, families[i].name) == 0)
      return &families[i];
  return NULL;
}

static const Family *
family_by_context (gint64 context)
{
  for (guint i = 0; i < G_N_ELEMENTS (families); i++)
    if (context == families[i].context)
      return &families[i];
  return NULL;
}

static gboolean
has_label (const Family *f)
{
  return g_str_has_prefix (f->name, "sdxl");
}

/* A distilled network with blocks left out: SSD-1B and Vega (Gupta et al. 2024), BK-SDM (Kim et al. 2023). */
static const char *
cut_down (const SumiTensorMap *unet, const Family *f)
{
  if (strcmp (f->name, "sdxl") != 0)
    return "BK-SDM or another cut-down U-Net";
  if (sumi_tensor_map_peek (unet, "output_blocks.3.1.transformer_blocks.1.norm1.weight") != NULL)
    return "Segmind SSD-1B, a cut-down U-Net";
  return "Segmind Vega or another cut-down U-Net";
}

/* What a U-Net is that is known and not built; NULL: another. */
static char *
refuse_unet (const SumiTensorMap *unet, const SumiUnetShapes *s, const Family *f)
{
  if (sumi_tensor_map_peek (unet, "label_emb.weight") != NULL || s->in_channels == 7)
    return g_strdup ("a x4 upscaler");
  if (s->in_channels == 5)
    return g_strdup ("a depth-to-image model (5 input channels)");
  if (f == NULL)
    return NULL; /* of no family that is known */
  if (s->label_width > 0 && !has_label (f))
    return g_strdup_printf ("%s unCLIP", f->title);
  if (!s->regular)
    return g_strdup_printf ("%s (%s)", cut_down (unet, f), f->title);
  if (s->in_channels != 4 && s->in_channels != 8 && s->in_channels != 9)
    return g_strdup_printf ("%s with %" G_GINT64_FORMAT " input channels", f->title, s->in_channels);
  if (has_label (f) && s->label_width == 0)
    return g_strdup_printf ("a U-Net with text states %" G_GINT64_FORMAT " wide and no sizes", s->context);
  return NULL;
}

/* Which text encoders the family has. */
static gboolean
text_encoders_are_there (const SumiComponents *c, const Family *f, GError **error)
{
  const gboolean first = strcmp (f->name, "sdxl-refiner") != 0, second = has_label (f);
  gint64 width;
  guint layers;

  for (guint k = SUMI_COMPONENT_TEXT; k <= SUMI_COMPONENT_TEXT_2; k++)
    if ((k == SUMI_COMPONENT_TEXT ? first : second)
        && !sumi_shapes_text (c->tensors[k], c->open_clip[k], &width, &layers))
      {
        unknown (error, "a U-Net of %s without its %stext encoder (no model by itself)", f->title,
                 !second || !first          ? ""
                 : k == SUMI_COMPONENT_TEXT ? "first "
                                            : "second ");
        return FALSE;
      }
  return TRUE;
}

static void
set_object (JsonObject *config, const char *name, JsonObject *part)
{
  if (part != NULL)
    json_object_set_object_member (config, name, part);
}

static void
set_texts (JsonObject *config, const SumiComponents *c, const Family *f)
{
  const SumiTensorMap *first = c->tensors[SUMI_COMPONENT_TEXT], *second = c->tensors[SUMI_COMPONENT_TEXT_2];
  const gboolean open = c->open_clip[SUMI_COMPONENT_TEXT];
  gint64 width;
  guint layers;

  /* SD 2 was trained on the state before the last layer, which diffusers therefore leaves out */
  if (strcmp (f->name, "sdxl-refiner") != 0 && sumi_shapes_text (first, open, &width, &layers))
    set_object (config, "text_encoder",
                sumi_shapes_text_config (first, open, MAX ((guint)width / 64, 1), open ? "gelu" : "quick_gelu",
                                         open && layers == 24 ? 23 : 0, FALSE));
  if (has_label (f) && sumi_shapes_text (second, TRUE, &width, &layers))
    set_object (config, "text_encoder_2",
                sumi_shapes_text_config (second, TRUE, MAX ((guint)width / 64, 1), "gelu", 0, TRUE));
}

static void
set_unet (JsonObject *config, const SumiUnetShapes *s, const Family *f)
{
  guint heads[G_N_ELEMENTS (s->widths)];
  JsonObject *unet;

  /* SD 1 has 8 heads everywhere, the others heads of 64 */
  for (guint i = 0; i < s->n_levels; i++)
    heads[i] = strcmp (f->name, "sd15") == 0 ? 8 : MAX ((guint)s->widths[i] / 64, 1);
  unet = sumi_shapes_unet_config (s, heads, 32);
  json_object_set_int_member (unet, "sample_size", f->size / 8);
  json_object_set_object_member (config, "unet", unet);
}

static void
set_vae (JsonObject *config, const SumiComponents *c, const Family *f)
{
  JsonObject *vae = sumi_shapes_vae_config (c->tensors[SUMI_COMPONENT_VAE], f->scaling_factor, 32);

  if (vae == NULL)
    {
      vae = sumi_shapes_vae_default (f->scaling_factor);
      sumi_evidence_add (config, "no auto-encoder in the file: another one is needed to draw (--vae)");
    }
  json_object_set_object_member (config, "vae", vae);
}

static void
tell_family (JsonObject *config, const SumiUnetShapes *s, const Family *f, gboolean told)
{
  sumi_evidence_add (config, "%s: %s, text states %" G_GINT64_FORMAT " wide%s", f->name,
                     told ? "said beside the file" : f->title, s->context,
                     s->label_width > 0 ? ", sizes beside them" : "");
  if (s->in_channels == 9)
    sumi_evidence_add (config, "inpainting: 9 input channels (picture, mask, masked picture)");
  if (s->in_channels == 8)
    sumi_evidence_add (config, "edits pictures (instruct-pix2pix): 8 input channels");
  if (s->time_cond_width > 0)
    sumi_evidence_add (config, "latent consistency model: its U-Net is told the guidance (time_embedding.cond_proj)");
}

/* SD 2 without v-prediction was trained at 512. */
static void
adapt_size (JsonObject *config, const Family *f)
{
  JsonObject *scheduler = json_object_get_object_member (config, "scheduler");
  const char *prediction = json_object_get_string_member_with_default (scheduler, "prediction_type", "");

  if (strcmp (f->name, "sd21") == 0 && strcmp (prediction, "v_prediction") != 0)
    json_object_set_int_member (json_object_get_object_member (config, "unet"), "sample_size", 64);
}

static void
set_scheduler (JsonObject *config, const Family *f)
{
  g_autoptr (JsonNode) node = json_from_string (f->scheduler, NULL);

  json_object_set_member (config, "scheduler", g_steal_pointer (&node));
}

/* The family a file beside the checkpoint tells; NULL where it tells none. */
static gboolean
family_told (JsonObject *known, const Family **f, GError **error)
{
  JsonNode *node = known != NULL ? json_object_get_member (known, "family") : NULL;
  const char *name;

  *f = NULL;
  if (node == NULL)
    return TRUE;
  if (!JSON_NODE_HOLDS_VALUE (node) || json_node_get_value_type (node) != G_TYPE_STRING)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "family: found %s, expected a string",
                   json_node_type_name (node));
      return FALSE;
    }
  name = json_node_get_string (node);
  *f = family_by_name (name);
  if (*f == NULL)
    unknown (error, "family '%.40s'", name);
  return *f != NULL;
}

static JsonObject *
detect_stable_diffusion (const SumiTensorMap *file, const SumiComponents *c, const char *name, JsonObject *known,
                         GError **error)
{
  const SumiTensorMap *unet = c->tensors[SUMI_COMPONENT_UNET];
  g_autoptr (JsonObject) config = NULL;
  g_autofree char *refused = NULL;
  const Family *f;
  SumiUnetShapes s;
  gboolean told;

  if (!family_told (known, &f, error))
    return NULL;
  if (!sumi_shapes_unet (unet, &s))
    return unknown (error, "a checkpoint whose U-Net is none of Stable Diffusion's");
  told = f != NULL;
  if (!told)
    f = family_by_context (s.context);
  refused = refuse_unet (unet, &s, f);
  if (refused != NULL)
    return unknown (error, "%s (recognised, not supported)", refused);
  if (f == NULL)
    return unknown (error,
                    "a U-Net with text states %" G_GINT64_FORMAT
                    " wide, which no published model has, and no NAME.json "
                    "beside it",
                    s.context);
  if (!text_encoders_are_there (c, f, error))
    return NULL;
  config = json_object_new ();
  json_object_set_string_member (config, "family", f->name);
  tell_family (config, &s, f, told);
  set_unet (config, &s, f);
  set_vae (config, c, f);
  set_texts (config, c, f);
  set_scheduler (config, f);
  if (known != NULL && !sumi_hyper_parameters_apply (known, config, error))
    return NULL;
  if (known != NULL && json_object_has_member (known, "scheduler"))
    sumi_evidence_add (config, "what it predicts is said beside the file");
  else
    {
      sumi_variants_prediction (config, file, unet, name);
      adapt_size (config, f);
    }
  if (known == NULL && s.time_cond_width == 0)
    sumi_variants_distilled (config, name, FALSE);
  return g_steal_pointer (&config);
}

/* ---- */

JsonObject *
sumi_model_detect (const SumiTensorMap *file, const SumiComponents *components, const char *name, JsonObject *known,
                   GError **error)
{
  JsonObject *config = detect_simple_unet (file);
  const char *what;

  if (config != NULL)
    return config;
  if ((what = describe (file)) != NULL)
    return unknown (error, "%s", what);
  if (components != NULL && sumi_tensor_map_get_size (components->tensors[SUMI_COMPONENT_UNET]) > 0)
    return detect_stable_diffusion (file, components, name, known, error);
  if ((what = describe_part (file)) != NULL)
    return unknown (error, "%s", what);
  if (sumi_tensor_map_get_size (file) > 0)
    return unknown (error, "%u tensors, the first '%.64s', and no configuration", sumi_tensor_map_get_size (file),
                    sumi_tensor_map_get_name (file, 0));
  return unknown (error, "no tensors");
}
