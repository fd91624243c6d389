/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stable-model.h"

#include <glib/gstdio.h>

#include "io/safetensors.h"
#include "random-model.h"

static void
remove_tree (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *child = g_build_filename (path, name, NULL);

      remove_tree (child);
    }
  g_remove (path);
}

static void
add_part (SumiTensorMap *weights, const char *folder, const char *part, const char *file)
{
  g_autofree char *path = g_build_filename (folder, part, file, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = NULL;

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return;
  map = sumi_safetensors_open (path, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < sumi_tensor_map_get_size (map); i++)
    {
      g_autofree char *name = g_strconcat (part, ".", sumi_tensor_map_get_name (map, i), NULL);

      sumi_tensor_map_set (weights, name, sumi_tensor_map_peek_nth (map, i));
    }
}

SumiTensorMap *
stable_model_weights (const char *name)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *dir = g_dir_make_tmp ("sumi-XXXXXX", &error), *folder = g_build_filename (dir, "model", NULL);
  const RandomModel model = { .name = name, .size = "tiny", .dtype = SUMI_F16 };
  SumiTensorMap *weights = sumi_tensor_map_new ();

  random_model_write (&model, folder, &error);
  g_assert_no_error (error);
  add_part (weights, folder, "unet", "diffusion_pytorch_model.safetensors");
  add_part (weights, folder, "vae", "diffusion_pytorch_model.safetensors");
  add_part (weights, folder, "text_encoder", "model.safetensors");
  add_part (weights, folder, "text_encoder_2", "model.safetensors");
  remove_tree (dir); /* the mappings stay */
  return weights;
}

static SumiPipeline *
open_pipeline (const char *name, JsonObject *config, const SumiPipelineOptions *options)
{
  g_autofree char *merges = g_build_filename (g_getenv ("SUMI_DATADIR"), "clip", "merges.txt.gz", NULL);
  SumiPipelineOptions o = options != NULL ? *options : (SumiPipelineOptions){ .keep_warm = TRUE };
  g_autoptr (SumiTensorMap) weights = stable_model_weights (name);
  g_autoptr (GError) error = NULL;
  SumiPipeline *p;

  o.merges = merges;
  o.model = name;
  p = sumi_pipeline_new (weights, config, &o, &error);
  g_assert_no_error (error);
  return p;
}

static JsonObject *
config_of (const char *name)
{
  g_autoptr (GError) error = NULL;
  JsonObject *config = random_model_config (name, "tiny", &error);

  g_assert_no_error (error);
  return config;
}

SumiPipeline *
stable_model_open (const char *name, const SumiPipelineOptions *options)
{
  g_autoptr (JsonObject) config = config_of (name);

  return open_pipeline (name, config, options);
}

SumiPipeline *
stable_model_open_scheduler (const char *name, JsonObject *scheduler)
{
  g_autoptr (JsonObject) config = config_of (name);

  json_object_set_object_member (config, "scheduler", json_object_ref (scheduler));
  return open_pipeline (name, config, NULL);
}

SumiTensor *
stable_model_picture (guint height, guint width)
{
  SumiTensor *t = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (height, width, 3), NULL);
  guint8 *out = sumi_tensor_poke (t);

  for (guint y = 0; y < height; y++)
    for (guint x = 0; x < width; x++, out += 3)
      {
        out[0] = (guint8)(255 * x / width);
        out[1] = (guint8)(255 * y / height);
        out[2] = (guint8)(x * y % 200);
      }
  return t;
}
