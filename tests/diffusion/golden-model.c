/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "golden-model.h"

#include "io/json.h"
#include "io/safetensors.h"

static JsonObject *
load (const char *folder, const char *component, const char *file)
{
  g_autofree char *path = g_build_filename (folder, component, file, NULL);
  g_autoptr (GError) error = NULL;
  JsonObject *json = sumi_json_load (path, &error);

  g_assert_no_error (error);
  return json;
}

static void
add_text_encoder (GoldenModel *m, const char *folder, const char *component)
{
  g_autofree char *path = g_build_filename (folder, component, "model.safetensors", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) file = NULL;

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return;
  json_object_set_object_member (m->json, component, load (folder, component, "config.json"));
  file = sumi_safetensors_open (path, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < sumi_tensor_map_get_size (file); i++)
    {
      g_autofree char *name = g_strconcat (component, ".", sumi_tensor_map_get_name (file, i), NULL);

      sumi_tensor_map_set (m->weights, name, sumi_tensor_map_peek_nth (file, i));
    }
}

GoldenModel *
golden_model_open (const char *root, const char *name)
{
  g_autofree char *folder = g_build_filename (root, "models", name, NULL);
  g_autoptr (GError) error = NULL;
  GoldenModel *m = g_new0 (GoldenModel, 1);

  m->json = json_object_new ();
  m->weights = sumi_tensor_map_new ();
  json_object_set_string_member (m->json, "family",
                                 strstr (name, "sdxl") ? "sdxl"
                                 : strstr (name, "21") ? "sd21"
                                                       : "sd15");
  json_object_set_object_member (m->json, "unet", load (folder, "unet", "config.json"));
  json_object_set_object_member (m->json, "vae", load (folder, "vae", "config.json"));
  add_text_encoder (m, folder, "text_encoder");
  add_text_encoder (m, folder, "text_encoder_2");
  g_assert_true (sumi_model_config_parse (m->json, &m->config, &error));
  g_assert_no_error (error);
  return m;
}

void
golden_model_free (GoldenModel *m)
{
  json_object_unref (m->json);
  sumi_tensor_map_unref (m->weights);
  g_free (m);
}
