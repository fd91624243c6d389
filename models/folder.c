/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/folder.h"

#include <string.h>

#include "io/json.h"
#include "io/weights.h"
#include "models/canonical.h"
#include "models/evidence.h"
#include "models/model-file.h"
#include "models/variants.h"

/* ---- weights ---- */

char *
sumi_folder_find_weights (const char *folder, GError **error)
{
  /* the best first: whole, in shards, in half precision, a pickle */
  static const char *const stems[] = { "diffusion_pytorch_model", "model", "pytorch_model", "pytorch_lora_weights" };
  static const char *const endings[]
      = { ".safetensors", ".safetensors.index.json", ".fp16.safetensors", ".safetensors.index.fp16.json",
          ".bin",         ".bin.index.json",         ".fp16.bin" };

  for (guint e = 0; e < G_N_ELEMENTS (endings); e++)
    for (guint s = 0; s < G_N_ELEMENTS (stems); s++)
      {
        g_autofree char *name = g_strconcat (stems[s], endings[e], NULL);
        g_autofree char *path = g_build_filename (folder, name, NULL);

        if (g_file_test (path, G_FILE_TEST_EXISTS))
          return g_steal_pointer (&path);
      }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE,
               "%s: found no weights, expected diffusion_pytorch_model.safetensors or model.safetensors", folder);
  return NULL;
}

/* The part's weights, with a line about the file where it is not the usual one. */
static SumiTensorMap *
open_part (const char *folder, const char *part, JsonObject *config, GError **error)
{
  g_autofree char *inner = g_build_filename (folder, part, NULL);
  g_autofree char *path = sumi_folder_find_weights (inner, error);
  g_autofree char *name = path != NULL ? g_path_get_basename (path) : NULL;

  if (path == NULL)
    return NULL;
  if (strstr (name, "fp16") != NULL || !g_str_has_suffix (name, ".safetensors"))
    sumi_evidence_add (config, "%s: from %s", part, name);
  return sumi_weights_open (path, error);
}

/* ---- configurations ---- */

static JsonObject *
load_part_config (const char *folder, const char *name, const char *file, GError **error)
{
  g_autofree char *path = g_build_filename (folder, name, file, NULL);

  return sumi_json_load (path, error);
}

static gboolean
set_part_config (JsonObject *config, const char *name, const char *folder, const char *file, GError **error)
{
  JsonObject *part = load_part_config (folder, name, file, error);

  if (part != NULL)
    json_object_set_object_member (config, name, part);
  return part != NULL;
}

/* A configuration of the whole CLIP has that of its text encoder inside. */
static gboolean
set_text_config (JsonObject *config, const char *name, const char *folder, GError **error)
{
  JsonObject *part = load_part_config (folder, name, "config.json", error);
  JsonNode *inner;

  if (part == NULL)
    return FALSE;
  inner = json_object_get_member (part, "text_config");
  if (inner != NULL && JSON_NODE_HOLDS_OBJECT (inner) && !json_object_has_member (part, "hidden_size"))
    {
      JsonObject *text = json_object_ref (json_node_get_object (inner));

      if (json_object_has_member (part, "projection_dim"))
        json_object_set_member (text, "projection_dim", json_object_dup_member (part, "projection_dim"));
      json_object_unref (part);
      part = text;
    }
  json_object_set_object_member (config, name, part);
  return TRUE;
}

/* A pipeline of one UNet2DModel and a scheduler. */
static gboolean
read_ddpm (const char *folder, SumiTensorMap **weights, JsonObject **config, GError **error)
{
  g_autoptr (JsonObject) c = json_object_new ();
  SumiTensorMap *map;

  json_object_set_string_member (c, "family", "ddpm");
  if (!set_part_config (c, "unet", folder, "config.json", error)
      || !set_part_config (c, "scheduler", folder, "scheduler_config.json", error))
    return FALSE;
  map = open_part (folder, "unet", c, error);
  if (map == NULL)
    return FALSE;
  *weights = map;
  *config = g_steal_pointer (&c);
  return TRUE;
}

/* ---- Stable Diffusion ---- */

/* Whether the index names a class for a part: [null, null] is none. */
static gboolean
index_has (JsonObject *index, const char *part)
{
  JsonNode *node = json_object_get_member (index, part), *class;
  JsonArray *list;

  if (node == NULL || !JSON_NODE_HOLDS_ARRAY (node))
    return FALSE;
  list = json_node_get_array (node);
  if (json_array_get_length (list) != 2)
    return FALSE;
  class = json_array_get_element (list, 1);
  return JSON_NODE_HOLDS_VALUE (class) && json_node_get_value_type (class) == G_TYPE_STRING;
}

static gint64
int_of (JsonObject *config, const char *part, const char *field)
{
  JsonNode *node = json_object_get_member (json_object_get_object_member (config, part), field);

  return node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_INT64
             ? json_node_get_int (node)
             : 0;
}

/* By the width of the text states; in models of no published width by the activation, which is OpenCLIP's in SD 2. */
static const char *
tell_family (JsonObject *config, gboolean first, gboolean second)
{
  JsonNode *act;
  gint64 context;

  if (second)
    return first ? "sdxl" : "sdxl-refiner";
  context = int_of (config, "unet", "cross_attention_dim");
  if (context == 768 || context == 1024)
    return context == 768 ? "sd15" : "sd21";
  act = json_object_get_member (json_object_get_object_member (config, "text_encoder"), "hidden_act");
  return act != NULL && JSON_NODE_HOLDS_VALUE (act) && g_strcmp0 (json_node_get_string (act), "gelu") == 0 ? "sd21"
                                                                                                           : "sd15";
}

static gboolean
read_configs (const char *folder, JsonObject *index, const char *pipeline, JsonObject *c, GError **error)
{
  const gboolean first = index_has (index, "text_encoder"), second = index_has (index, "text_encoder_2");
  const char *family;

  if (!set_part_config (c, "unet", folder, "config.json", error)
      || !set_part_config (c, "vae", folder, "config.json", error)
      || !set_part_config (c, "scheduler", folder, "scheduler_config.json", error)
      || (first && !set_text_config (c, "text_encoder", folder, error))
      || (second && !set_text_config (c, "text_encoder_2", folder, error)))
    return FALSE;
  if (!first && !second)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "%s: model_index.json: text_encoder: found none, expected a CLIP text encoder", folder);
      return FALSE;
    }
  family = tell_family (c, first, second);
  json_object_set_string_member (c, "family", family);
  sumi_evidence_add (c, "%s: a %s, text states %" G_GINT64_FORMAT " wide", family, pipeline,
                     int_of (c, "unet", "cross_attention_dim"));
  if (json_object_has_member (index, "force_zeros_for_empty_prompt"))
    json_object_set_member (c, "force_zeros_for_empty_prompt",
                            json_object_dup_member (index, "force_zeros_for_empty_prompt"));
  return TRUE;
}

static gboolean
add_parts (const char *folder, JsonObject *json, const SumiModelConfig *config, SumiTensorMap *to, GPtrArray *ignored,
           GError **error)
{
  for (guint k = 0; k < SUMI_N_COMPONENTS; k++)
    {
      const char *name = sumi_component_name (k);
      g_autoptr (SumiTensorMap) part = NULL;

      if (!json_object_has_member (json, name))
        continue;
      part = open_part (folder, name, json, error);
      if (part == NULL || !sumi_canonical_add_part (to, part, k, config, ignored, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
read_stable_diffusion (const char *folder, JsonObject *index, const char *pipeline, SumiTensorMap **weights,
                       JsonObject **config, GError **why, GError **error)
{
  g_autoptr (JsonObject) c = json_object_new ();
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  g_autoptr (GPtrArray) ignored = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *name = g_path_get_basename (folder);
  SumiModelConfig parsed;
  GError *wrong = NULL;

  if (!read_configs (folder, index, pipeline, c, error))
    return FALSE;
  if (!sumi_model_config_parse (c, &parsed, &wrong))
    return sumi_model_is_unknown (wrong, map, weights, why, error);
  sumi_evidence_add (c, "%s: scheduler_config.json %s", sumi_prediction_name (parsed.prediction),
                     json_object_has_member (json_object_get_object_member (c, "scheduler"), "prediction_type")
                         ? "says so"
                         : "says nothing else");
  if (parsed.unet.time_cond_proj_dim == 0)
    sumi_variants_distilled (c, name, TRUE);
  if (!add_parts (folder, c, &parsed, map, ignored, error))
    return FALSE;
  sumi_evidence_set_ignored (c, ignored);
  *weights = g_steal_pointer (&map);
  *config = g_steal_pointer (&c);
  return TRUE;
}

/* Pipelines of diffusers over one of the networks built here. */
static const char *const known_pipelines[] = { "StableDiffusionPipeline",
                                               "StableDiffusionImg2ImgPipeline",
                                               "StableDiffusionInpaintPipeline",
                                               "StableDiffusionInpaintPipelineLegacy",
                                               "StableDiffusionInstructPix2PixPipeline",
                                               "LatentConsistencyModelPipeline",
                                               "LatentConsistencyModelImg2ImgPipeline",
                                               "StableDiffusionXLPipeline",
                                               "StableDiffusionXLImg2ImgPipeline",
                                               "StableDiffusionXLInpaintPipeline",
                                               "StableDiffusionXLInstructPix2PixPipeline",
                                               NULL };

gboolean
sumi_folder_read (const char *folder, SumiTensorMap **weights, JsonObject **config, GError **why, GError **error)
{
  g_autofree char *path = g_build_filename (folder, "model_index.json", NULL);
  g_autoptr (JsonObject) index = sumi_json_load (path, error);
  JsonNode *node;
  const char *pipeline = NULL;

  if (index == NULL)
    return FALSE;
  node = json_object_get_member (index, "_class_name");
  if (node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING)
    pipeline = json_node_get_string (node);
  if (g_strcmp0 (pipeline, "DDPMPipeline") == 0 || g_strcmp0 (pipeline, "DDIMPipeline") == 0)
    return read_ddpm (folder, weights, config, error);
  if (pipeline != NULL && g_strv_contains (known_pipelines, pipeline))
    return read_stable_diffusion (folder, index, pipeline, weights, config, why, error);
  *weights = sumi_tensor_map_new ();
  g_set_error (why, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
               "%s: found a %.80s (recognised, not supported), expected a DDPMPipeline, DDIMPipeline, "
               "StableDiffusionPipeline or StableDiffusionXLPipeline or one of their variants",
               path, pipeline != NULL ? pipeline : "pipeline without a name");
  return TRUE;
}
