/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/model-file.h"

#include <string.h>

#include "base/error.h"
#include "io/json.h"
#include "io/weights.h"
#include "models/canonical.h"
#include "models/detect.h"
#include "models/evidence.h"
#include "models/folder.h"
#include "models/hyper-parameters.h"

gsize
sumi_model_stem (const char *path)
{
  static const char *const endings[] = { ".safetensors", ".ckpt", ".pth", ".pt", ".bin", ".gguf", ".sft" };
  gsize length = strlen (path);

  for (guint i = 0; i < G_N_ELEMENTS (endings); i++)
    if (g_str_has_suffix (path, endings[i]))
      return length - strlen (endings[i]);
  return length;
}

gboolean
sumi_model_is_unknown (GError *wrong, SumiTensorMap *map, SumiTensorMap **weights, GError **why, GError **error)
{
  if (!g_error_matches (wrong, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL))
    {
      g_propagate_error (error, wrong);
      return FALSE;
    }
  g_propagate_error (why, wrong);
  *weights = sumi_tensor_map_ref (map);
  return TRUE;
}

/* ---- one file ---- */

/* The last part of a path, without its ending, in UTF-8. */
static char *
name_of (const char *path)
{
  g_autofree char *base = g_path_get_basename (path);

  base[sumi_model_stem (base)] = '\0';
  return g_filename_display_name (base);
}

/* What is written down about the file: inside of it, or beside it. FALSE: an error; *json NULL: nothing is. */
static gboolean
read_notes (const char *path, const SumiTensorMap *map, JsonObject **json, GError **error)
{
  g_autofree char *sidecar = g_strdup_printf ("%.*s.json", (int)sumi_model_stem (path), path);
  const char *text = sumi_tensor_map_get_metadata (map, SUMI_MODEL_CONFIG_KEY);

  *json = NULL;
  if (text != NULL)
    *json = sumi_json_parse (text, strlen (text), SUMI_MODEL_CONFIG_KEY, error);
  else if (g_file_test (sidecar, G_FILE_TEST_EXISTS))
    *json = sumi_json_load (sidecar, error);
  else
    return TRUE;
  return *json != NULL;
}

/* A checkpoint with the original names.  notes: Sumi's configuration, or the hyper-parameters that shapes do not show,
 * or some other program's (a file of that name is written by many). */
static gboolean
read_checkpoint (const char *path, SumiTensorMap *map, SumiComponents *parts, JsonObject *notes,
                 SumiTensorMap **weights, JsonObject **config, GError **why, GError **error)
{
  g_autofree char *name = name_of (path);
  g_autoptr (JsonObject) c = NULL;
  const gboolean foreign = notes != NULL && !json_object_has_member (notes, "family");
  SumiModelConfig parsed;
  GError *wrong = NULL;

  if (notes != NULL && !foreign && !sumi_hyper_parameters_are (notes))
    c = json_object_ref (notes);
  else
    c = sumi_model_detect (map, parts, name, foreign ? NULL : notes, &wrong);
  if (c == NULL || !sumi_model_config_parse (c, &parsed, &wrong))
    return sumi_model_is_unknown (wrong, map, weights, why, error);
  if (foreign)
    sumi_evidence_add (c, "%s.json beside it is not read: it tells no family", name);
  *weights = sumi_canonical_from_components (parts, map, &parsed, error);
  if (*weights == NULL)
    return FALSE;
  sumi_evidence_set_ignored (c, parts->ignored);
  *config = g_steal_pointer (&c);
  return TRUE;
}

static gboolean
read_file (const char *path, SumiTensorMap **weights, JsonObject **config, GError **why, GError **error)
{
  g_autoptr (SumiTensorMap) map = sumi_weights_open (path, error);
  g_autoptr (SumiComponents) parts = NULL;
  g_autoptr (JsonObject) notes = NULL;

  if (map == NULL || !read_notes (path, map, &notes, error))
    return FALSE;
  parts = sumi_components_new (map);
  if (sumi_tensor_map_get_size (parts->tensors[SUMI_COMPONENT_UNET]) > 0)
    return read_checkpoint (path, map, parts, notes, weights, config, why, error);
  if (notes != NULL)
    *config = g_steal_pointer (&notes);
  else
    *config = sumi_model_detect (map, parts, "", NULL, why);
  *weights = g_steal_pointer (&map);
  return TRUE;
}

gboolean
sumi_model_read (const char *path, SumiTensorMap **weights, JsonObject **config, GError **why, GError **error)
{
  g_autofree char *base = g_path_get_basename (path), *folder = g_path_get_dirname (path);

  *weights = NULL;
  *config = NULL;
  if (g_file_test (path, G_FILE_TEST_IS_DIR))
    return sumi_folder_read (path, weights, config, why, error);
  if (strcmp (base, "model_index.json") == 0) /* a folder, chosen by its file */
    return sumi_folder_read (folder, weights, config, why, error);
  return read_file (path, weights, config, why, error);
}
