/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/model-file.h"

#include <string.h>

#include "base/error.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "models/detect.h"

/* ---- one file ---- */

/* NAME.json for NAME.safetensors */
static char *
sidecar_path (const char *path)
{
  gsize stem = strlen (path);

  if (g_str_has_suffix (path, ".safetensors"))
    stem -= strlen (".safetensors");
  return g_strdup_printf ("%.*s.json", (int)stem, path);
}

static gboolean
read_file (const char *path, SumiTensorMap **weights, JsonObject **config, GError **why, GError **error)
{
  g_autofree char *sidecar = sidecar_path (path);
  g_autoptr (SumiTensorMap) map = sumi_safetensors_open (path, error);
  const char *text;

  if (map == NULL)
    return FALSE;
  text = sumi_tensor_map_get_metadata (map, SUMI_MODEL_CONFIG_KEY);
  if (text != NULL)
    *config = sumi_json_parse (text, strlen (text), SUMI_MODEL_CONFIG_KEY, error);
  else if (g_file_test (sidecar, G_FILE_TEST_EXISTS))
    *config = sumi_json_load (sidecar, error);
  else
    {
      *config = sumi_model_detect (map, why);
      *weights = g_steal_pointer (&map);
      return TRUE;
    }
  if (*config == NULL)
    return FALSE;
  *weights = g_steal_pointer (&map);
  return TRUE;
}

/* ---- a folder ---- */

/* The part's weights. A pickle in their place is named, since that is what people will have. */
static SumiTensorMap *
open_part (const char *folder, const char *part, GError **error)
{
  g_autofree char *safe = g_build_filename (folder, part, "diffusion_pytorch_model.safetensors", NULL);
  g_autofree char *pickle = g_build_filename (folder, part, "diffusion_pytorch_model.bin", NULL);

  if (!g_file_test (safe, G_FILE_TEST_EXISTS) && g_file_test (pickle, G_FILE_TEST_EXISTS))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PICKLE,
                   "%s: found a Python pickle, which can run any code, expected diffusion_pytorch_model.safetensors",
                   pickle);
      return NULL;
    }
  return sumi_safetensors_open (safe, error);
}

static gboolean
set_part_config (JsonObject *config, const char *name, const char *folder, const char *file, GError **error)
{
  g_autofree char *path = g_build_filename (folder, name, file, NULL);
  JsonObject *part = sumi_json_load (path, error);

  if (part != NULL)
    json_object_set_object_member (config, name, part);
  return part != NULL;
}

/* A pipeline of one UNet2DModel and a scheduler. */
static gboolean
read_ddpm_folder (const char *folder, SumiTensorMap **weights, JsonObject **config, GError **error)
{
  g_autoptr (JsonObject) c = json_object_new ();
  SumiTensorMap *map;

  json_object_set_string_member (c, "family", "ddpm");
  if (!set_part_config (c, "unet", folder, "config.json", error)
      || !set_part_config (c, "scheduler", folder, "scheduler_config.json", error))
    return FALSE;
  map = open_part (folder, "unet", error);
  if (map == NULL)
    return FALSE;
  *weights = map;
  *config = g_steal_pointer (&c);
  return TRUE;
}

static gboolean
read_folder (const char *folder, SumiTensorMap **weights, JsonObject **config, GError **why, GError **error)
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
    return read_ddpm_folder (folder, weights, config, error);
  *weights = sumi_tensor_map_new ();
  g_set_error (why, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "%s: found a %s, expected a DDPMPipeline or DDIMPipeline",
               path, pipeline != NULL ? pipeline : "pipeline without a name");
  return TRUE;
}

gboolean
sumi_model_read (const char *path, SumiTensorMap **weights, JsonObject **config, GError **why, GError **error)
{
  *weights = NULL;
  *config = NULL;
  if (g_file_test (path, G_FILE_TEST_IS_DIR))
    return read_folder (path, weights, config, why, error);
  return read_file (path, weights, config, why, error);
}
