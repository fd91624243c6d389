/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Finding models, telling what they are, and refusing what they are not. The data and user folders are the test's own.
 */
#include "models/model-store.h"

#include <string.h>

#include <glib/gstdio.h>

#include "io/safetensors.h"
#include "models/inspection.h"
#include "nn/networks.h"

static const SumiSimpleUnetConfig small = { 1, 1, 8, 16, 8 };
#define SMALL_JSON                                                                                                     \
  "{\"family\":\"simple-unet\",\"in_channels\":1,\"out_channels\":1,\"base_channels\":8,\"time_emb_dim\":16"

/* A simple U-Net with random weights */
static SumiTensorMap *
small_model (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiTensorMap *map;
  SumiRng rng;

  sumi_simple_unet (m, &small, sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (1, 1, 8, 8)),
                    sumi_input (g, "t", SUMI_REAL, &SUMI_SHAPE (1)));
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 1);
  map = sumi_module_init (m, &rng, NULL);
  g_assert_nonnull (map);
  return map;
}

/* A path in the test's own folders; the folder that shall hold it is made. */
static char *
place (const char *folder, const char *name)
{
  char *path = g_build_filename (folder, name, NULL);
  g_autofree char *parent = g_path_get_dirname (path);
  g_assert_cmpint (g_mkdir_with_parents (parent, 0777), ==, 0);
  return path;
}

static void
write_text (const char *folder, const char *name, const char *text)
{
  g_autofree char *path = place (folder, name);
  g_assert_true (g_file_set_contents (path, text, -1, NULL));
}

static char *
write_model (const char *folder, const char *name, const SumiTensorMap *map)
{
  char *path = place (folder, name);
  g_assert_true (sumi_safetensors_save (map, path, NULL));
  return path;
}

static const char *
scratch (void)
{
  return g_get_user_cache_dir (); /* isolated */
}

static void
assert_refused (const char *model, int code)
{
  g_autoptr (GError) error = NULL;
  SumiTensorMap *weights = NULL;
  JsonObject *config = NULL;

  g_assert_false (sumi_model_open (model, &weights, &config, &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, SUMI_ERROR, code);
  g_assert_null (weights);
  g_assert_null (config);
}

static gint64
opened_size (const char *model)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) weights = NULL;
  g_autoptr (JsonObject) config = NULL;

  g_assert_true (sumi_model_open (model, &weights, &config, &error));
  g_assert_no_error (error);
  g_assert_cmpstr (json_object_get_string_member (config, "family"), ==, "simple-unet");
  g_assert_cmpint (json_object_get_int_member (config, "base_channels"), ==, 8);
  return json_object_get_int_member_with_default (config, "sample_size", 0);
}

/* The configuration: in the file, else beside it, else told from the tensors. */
static void
test_config (void)
{
  g_autoptr (SumiTensorMap) map = small_model ();
  g_autofree char *path = write_model (scratch (), "config/a.safetensors", map), *again = NULL;
  g_autofree char *sidecar = g_build_filename (scratch (), "config", "a.json", NULL);

  g_assert_cmpint (opened_size (path), ==, 0);
  write_text (scratch (), "config/a.json", SMALL_JSON ",\"sample_size\":16}");
  g_assert_cmpint (opened_size (path), ==, 16);
  sumi_tensor_map_set_metadata (map, "sumi.config", SMALL_JSON ",\"sample_size\":24}");
  again = write_model (scratch (), "config/a.safetensors", map);
  g_assert_cmpint (opened_size (path), ==, 24);

  sumi_tensor_map_set_metadata (map, "sumi.config", "{");
  g_free (write_model (scratch (), "config/a.safetensors", map));
  assert_refused (path, SUMI_ERROR_BAD_CONFIG); /* not the sidecar in its place */
  g_assert_cmpint (g_unlink (sidecar), ==, 0);
}

static void
test_bad_config (void)
{
  g_autoptr (SumiTensorMap) map = small_model ();
  g_autofree char *path = write_model (scratch (), "bad/a.safetensors", map);
  g_autoptr (GString) deep = g_string_new ("{\"a\":"), large = g_string_new ("{\"a\":\"");
  const struct
  {
    const char *json;
    int code;
  } rows[] = {
    { "", SUMI_ERROR_BAD_CONFIG },
    { "[]", SUMI_ERROR_BAD_CONFIG },
    { "{\"family\":", SUMI_ERROR_BAD_CONFIG },
    { "{\"family\":\"\xff\"}", SUMI_ERROR_BAD_CONFIG },
    { "{}", SUMI_ERROR_UNKNOWN_MODEL },
    { "{\"family\":7}", SUMI_ERROR_BAD_CONFIG },
    { "{\"family\":\"sd99\"}", SUMI_ERROR_UNKNOWN_MODEL },
    { SMALL_JSON ",\"groups\":3}", SUMI_ERROR_BAD_CONFIG },
    { SMALL_JSON ",\"scheduler\":[]}", SUMI_ERROR_BAD_CONFIG },
    { SMALL_JSON ",\"scheduler\":{\"beta_schedule\":\"x\"}}", SUMI_ERROR_BAD_CONFIG },
    { "{\"family\":\"simple-unet\",\"base_channels\":1e300}", SUMI_ERROR_BAD_CONFIG },
    { "{\"family\":\"ddpm\"}", SUMI_ERROR_BAD_CONFIG },
    { "{\"family\":\"sumi-latent\",\"unet\":{}}", SUMI_ERROR_BAD_CONFIG },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      write_text (scratch (), "bad/a.json", rows[i].json);
      assert_refused (path, rows[i].code);
    }
  for (int i = 0; i < 100000; i++)
    g_string_append_c (deep, '[');
  write_text (scratch (), "bad/a.json", deep->str);
  assert_refused (path, SUMI_ERROR_BAD_CONFIG);
  while (large->len < 20 << 20)
    g_string_append (large, "                                                                ");
  g_string_append (large, "\"}");
  write_text (scratch (), "bad/a.json", large->str);
  assert_refused (path, SUMI_ERROR_TOO_LARGE);
}

/* What is no model is named. */
static void
test_unknown (void)
{
  static const struct
  {
    const char *tensor, *said;
  } rows[] = {
    { "lora_unet_down_blocks_0.lora_down.weight", "LoRA" },
    { "model.diffusion_model.input_blocks.0.0.weight", "Stable Diffusion" },
    { "down_blocks.0.resnets.0.conv1.weight", "U-Net" },
    { "something", "something" },
    { "down1.conv1.weight", "down1.conv1.weight" }, /* one name is not a family */
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (SumiTensorMap) map = sumi_tensor_map_new (), weights = NULL;
      g_autoptr (JsonObject) config = NULL;
      g_autoptr (GError) error = NULL;
      g_autofree char *path = NULL;

      sumi_tensor_map_take (map, rows[i].tensor, sumi_tensor_new (SUMI_F16, &SUMI_SHAPE (8, 3, 3, 3), NULL));
      path = write_model (scratch (), "unknown/a.safetensors", map);
      g_assert_false (sumi_model_open (path, &weights, &config, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL);
      g_assert_nonnull (strstr (error->message, rows[i].said));
    }
}

static void
test_names (void)
{
  gboolean own_data = g_setenv ("SUMI_DATADIR", g_get_user_cache_dir (), TRUE);
  g_autoptr (SumiTensorMap) map = small_model ();
  g_autofree char *outside = write_model (g_get_user_data_dir (), "sumi/outside.safetensors", map);
  g_auto (GStrv) before = sumi_model_list (), after = NULL;
  g_autofree char *joined = NULL, *starter = NULL;

  g_assert_true (own_data);
  g_assert_cmpuint (g_strv_length (before), ==, 0);
  g_free (write_model (sumi_user_models_dir (), "mine.safetensors", map));
  g_free (write_model (sumi_user_models_dir (), "folder/folder.safetensors", map));
  g_free (write_model (sumi_user_models_dir (), ".hidden.safetensors", map));
  write_text (sumi_user_models_dir (), "diffusers/model_index.json", "{}");
  write_text (sumi_user_models_dir (), "notes.txt", "no model");
  starter = write_model (sumi_data_dir (), "starter/starter.safetensors", map);
  g_free (write_model (sumi_data_dir (), "taef2/taef2.safetensors", map)); /* data, not a model to draw with */
  after = sumi_model_list ();
  joined = g_strjoinv (" ", after);
  g_assert_cmpstr (joined, ==, "diffusers folder mine starter");

  opened_size ("mine");
  opened_size ("folder");
  opened_size ("starter");
  opened_size (outside); /* a path may be any */
  assert_refused ("yours", SUMI_ERROR_MISSING_FILE);
  assert_refused ("taef2", SUMI_ERROR_MISSING_FILE);
  assert_refused ("../outside", SUMI_ERROR_UNSAFE_PATH);
  assert_refused ("", SUMI_ERROR_MISSING_FILE);
  assert_refused ("/nowhere/at/all.safetensors", SUMI_ERROR_MISSING_FILE);
  assert_refused ("diffusers", SUMI_ERROR_UNKNOWN_MODEL);
}

static void
test_folder (void)
{
  g_autofree char *folder = g_build_filename (scratch (), "ddpm", NULL);

  g_mkdir_with_parents (folder, 0777);
  assert_refused (folder, SUMI_ERROR_MISSING_FILE);
  write_text (folder, "model_index.json", "{\"_class_name\":\"StableDiffusionPipeline\"}");
  assert_refused (folder, SUMI_ERROR_MISSING_FILE);
  write_text (folder, "model_index.json", "{\"_class_name\":\"StableDiffusion3Pipeline\"}");
  assert_refused (folder, SUMI_ERROR_UNKNOWN_MODEL);
  write_text (folder, "model_index.json", "{\"_class_name\":[\"DDPMPipeline\"]}");
  assert_refused (folder, SUMI_ERROR_UNKNOWN_MODEL);
  write_text (folder, "model_index.json", "{\"_class_name\":\"DDPMPipeline\"}");
  assert_refused (folder, SUMI_ERROR_MISSING_FILE);
  write_text (folder, "unet/config.json", "{\"_class_name\":\"UNet2DModel\"}");
  write_text (folder, "scheduler/scheduler_config.json", "{}");
  assert_refused (folder, SUMI_ERROR_MISSING_FILE);
  write_text (folder, "unet/diffusion_pytorch_model.bin", "PK");
  assert_refused (folder, SUMI_ERROR_TRUNCATED);
}

static void
test_golden_folder (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiInspection) i = NULL;
  g_autofree char *path = NULL;

  if (g_getenv ("SUMI_GOLDEN") == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  path = g_build_filename (g_getenv ("SUMI_GOLDEN"), "models", "ddpm-unet", NULL);
  i = sumi_inspection_new (path, "ddpm", &error);
  g_assert_no_error (error);
  g_assert_cmpint (i->config.family, ==, SUMI_FAMILY_DDPM);
  g_assert_cmpint (i->config.height, ==, 16);
  g_assert_cmpuint (i->report->n_parameters, ==, 239395);
  g_assert_cmpuint (i->report->missing->len + i->report->unknown->len, ==, 0);
}

static void
test_inspection (void)
{
  g_autoptr (SumiTensorMap) map = small_model ();
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiInspection) i = NULL;
  g_autofree char *path = NULL;

  sumi_tensor_map_remove (map, "out.bias");
  sumi_tensor_map_take (map, "extra", sumi_tensor_new (SUMI_I64, &SUMI_SHAPE (2), NULL));
  path = write_model (scratch (), "inspection/a.safetensors", map);
  i = sumi_inspection_new (path, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (i->report->missing->len, ==, 1);
  g_assert_cmpstr (g_ptr_array_index (i->report->missing, 0), ==, "out.bias");
  g_assert_cmpuint (i->report->unknown->len, ==, 1);
  g_assert_cmpstr (g_ptr_array_index (i->report->unknown, 0), ==, "extra");
  g_assert_error (i->report->wrong, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);

  g_assert_null (sumi_inspection_new (path, "model", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
  g_clear_error (&error);
  g_assert_null (sumi_inspection_new (path, "lora", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL);
  g_clear_error (&error);
  g_assert_null (sumi_inspection_new (path, "picture", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
}

static void
test_pipeline (void)
{
  const SumiPipelineOptions options = { .dtype = SUMI_F32, .engine = "ref" };
  g_autoptr (SumiTensorMap) map = small_model ();
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiPipeline) pipeline = NULL;
  g_autofree char *path = NULL;
  guint width, height;

  sumi_tensor_map_set_metadata (map, "sumi.config", SMALL_JSON ",\"sample_size\":[24,16]}");
  path = write_model (scratch (), "pipeline/a.safetensors", map);
  pipeline = sumi_model_open_pipeline (path, &options, &error);
  g_assert_no_error (error);
  g_assert_false (sumi_pipeline_takes_prompt (pipeline));
  sumi_pipeline_get_size (pipeline, &width, &height);
  g_assert_cmpuint (width, ==, 16);
  g_assert_cmpuint (height, ==, 24);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, G_TEST_OPTION_ISOLATE_DIRS, NULL);
  g_test_add_func ("/models/config", test_config);
  g_test_add_func ("/models/bad-config", test_bad_config);
  g_test_add_func ("/models/unknown", test_unknown);
  g_test_add_func ("/models/names", test_names);
  g_test_add_func ("/models/folder", test_folder);
  g_test_add_func ("/models/golden-folder", test_golden_folder);
  g_test_add_func ("/models/inspection", test_inspection);
  g_test_add_func ("/models/pipeline", test_pipeline);
  return g_test_run ();
}
