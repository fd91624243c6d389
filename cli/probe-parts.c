/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Folders that are no whole model: a case that is about one network needs no more than that network's own folder. */
#include "probe.h"

#include "io/json.h"
#include "io/safetensors.h"

/* Adds the weights of a part, its name in front of theirs. */
static gboolean
add_weights (ProbeModel *model, const char *folder, const char *part, const char *file, GError **error)
{
  g_autofree char *path = g_build_filename (folder, part, file, NULL);
  g_autoptr (SumiTensorMap) map = sumi_safetensors_open (path, error);

  for (guint i = 0; map != NULL && i < sumi_tensor_map_get_size (map); i++)
    {
      g_autofree char *name = g_strconcat (part, ".", sumi_tensor_map_get_name (map, i), NULL);

      sumi_tensor_map_set (model->weights, name, sumi_tensor_map_peek_nth (map, i));
    }
  return map != NULL;
}

static gboolean
parse_unet (ProbeModel *model, JsonObject *json, GError **error)
{
  return sumi_unet_config_parse (json, &model->config.unet, error);
}

static gboolean
parse_vae (ProbeModel *model, JsonObject *json, GError **error)
{
  return sumi_vae_config_parse (json, &model->config.vae, error);
}

static gboolean
parse_text (ProbeModel *model, JsonObject *json, GError **error)
{
  return sumi_text_config_parse (json, &model->config.text, error);
}

static gboolean
parse_text_2 (ProbeModel *model, JsonObject *json, GError **error)
{
  return sumi_text_config_parse (json, &model->config.text_2, error);
}

static const struct
{
  const char *name, *file;
  gboolean (*parse) (ProbeModel *model, JsonObject *json, GError **error);
} parts[] = {
  { "unet", "diffusion_pytorch_model.safetensors", parse_unet },
  { "vae", "diffusion_pytorch_model.safetensors", parse_vae },
  { "text_encoder", "model.safetensors", parse_text },
  { "text_encoder_2", "model.safetensors", parse_text_2 },
};

gboolean
probe_parts_open (const char *folder, ProbeModel *model, gboolean *found, GError **error)
{
  *found = FALSE;
  *model = (ProbeModel){ .weights = sumi_tensor_map_new () };
  model->config.family = SUMI_FAMILY_SD1; /* any that names its networks */
  for (guint i = 0; i < G_N_ELEMENTS (parts); i++)
    {
      g_autofree char *path = g_build_filename (folder, parts[i].name, "config.json", NULL);
      g_autoptr (JsonObject) json = NULL;

      if (!g_file_test (path, G_FILE_TEST_EXISTS))
        continue;
      *found = TRUE;
      json = sumi_json_load (path, error);
      if (json == NULL || !parts[i].parse (model, json, error)
          || !add_weights (model, folder, parts[i].name, parts[i].file, error))
        return FALSE;
    }
  return TRUE;
}
