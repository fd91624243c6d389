/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a checkpoint of the true size is taken for when something about it is changed: another prediction, another
 * purpose, another architecture. */
#include <string.h>

#include "diffusion/model.h"
#include "io/safetensors.h"
#include "models/detect.h"
#include "random-model.h"

/* A checkpoint whose large tensors are holes: nothing of it is read but shapes and small ones. */
static SumiTensorMap *
open_full (const char *name)
{
  const RandomModel m = { .name = name, .size = "full", .ldm = TRUE, .dtype = SUMI_F16, .sparse = TRUE };
  g_autofree char *file = g_strconcat (name, ".safetensors", NULL);
  g_autofree char *path = g_build_filename (g_get_user_cache_dir (), file, NULL);
  g_autoptr (GError) error = NULL;
  SumiTensorMap *map;

  g_assert_cmpint (g_mkdir_with_parents (g_get_user_cache_dir (), 0777), ==, 0);
  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    random_model_write (&m, path, &error);
  g_assert_no_error (error);
  map = sumi_safetensors_open (path, &error);
  g_assert_no_error (error);
  return map;
}

static void
put (SumiTensorMap *map, const char *name, const SumiShape *shape)
{
  sumi_tensor_map_take (map, name, sumi_tensor_new (SUMI_F16, shape, NULL));
}

static void
drop (SumiTensorMap *map, const char *part)
{
  for (guint i = sumi_tensor_map_get_size (map); i-- > 0;)
    {
      g_autofree char *name = g_strdup (sumi_tensor_map_get_name (map, i));

      if (strstr (name, part) != NULL)
        sumi_tensor_map_remove (map, name);
    }
}

static JsonObject *
detect (const SumiTensorMap *map, const char *name, GError **error)
{
  g_autoptr (SumiComponents) parts = sumi_components_new (map);

  return sumi_model_detect (map, parts, name, NULL, error);
}

static void
detect_config (const SumiTensorMap *map, const char *name, SumiModelConfig *c)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) json = detect (map, name, &error);

  g_assert_no_error (error);
  g_assert_true (sumi_model_config_parse (json, c, &error));
  g_assert_no_error (error);
}

static void
assert_refused (const SumiTensorMap *map, const char *what)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (detect (map, "", &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL);
  g_assert_nonnull (strstr (error->message, what));
}

/* ---- prediction ---- */

static void
test_prediction (void)
{
  g_autoptr (SumiTensorMap) sdxl = open_full ("sdxl"), sd2 = open_full ("sd21-base"), sd2_v = open_full ("sd21");
  SumiModelConfig c;

  detect_config (sdxl, "", &c);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_EPSILON);
  g_assert_false (c.rescale_betas_zero_snr);
  detect_config (sdxl, "someModelXL_vPred10", &c);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_V);
  detect_config (sdxl, "avpredator", &c);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_EPSILON);

  sumi_tensor_map_set_metadata (sdxl, "modelspec.prediction_type", "v");
  detect_config (sdxl, "", &c);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_V);
  sumi_tensor_map_set_metadata (sdxl, "modelspec.prediction_type", "epsilon");
  put (sdxl, "v_pred", &SUMI_SHAPE (0));
  detect_config (sdxl, "", &c);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_V);
  g_assert_false (c.rescale_betas_zero_snr);
  put (sdxl, "ztsnr", &SUMI_SHAPE (0));
  detect_config (sdxl, "", &c);
  g_assert_true (c.rescale_betas_zero_snr);
  g_assert_cmpint (c.spacing, ==, SUMI_SPACING_TRAILING);

  detect_config (sd2, "", &c);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_EPSILON);
  g_assert_cmpint (c.width, ==, 64);

  detect_config (sd2_v, "", &c);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_V);
  put (sd2_v, "model.diffusion_model.input_blocks.0.0.weight", &SUMI_SHAPE (320, 9, 3, 3));
  detect_config (sd2_v, "", &c); /* inpainting */
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_EPSILON);
}

/* ---- few steps ---- */

static void
test_distilled (void)
{
  static const struct
  {
    const char *name, *sampler;
    guint steps;
    double guidance;
    gint64 side;
    SumiSpacing spacing;
  } rows[] = {
    { "sd_xl_turbo_1.0_fp16", "euler_a", 4, 1, 64, SUMI_SPACING_TRAILING },
    { "DreamShaperXL_Turbo_v2", "euler_a", 4, 1, 128, SUMI_SPACING_TRAILING },
    { "sdxl_lightning_8step", "euler", 8, 1, 128, SUMI_SPACING_TRAILING },
    { "juggernautXL_v9Rdphoto2Lightning", "euler", 4, 1, 128, SUMI_SPACING_TRAILING },
    { "Hyper-SDXL-1step-Unet", "ddim", 1, 1, 128, SUMI_SPACING_TRAILING },
    { "model-lcm", "lcm", 4, 1, 128, SUMI_SPACING_LEADING },
    { "dmd2_sdxl_4step", "lcm", 4, 1, 128, SUMI_SPACING_LEADING },
    { "hyperrealism_v3", "euler", 30, 7.5, 128, SUMI_SPACING_LEADING },
    { "stepmother", "euler", 30, 7.5, 128, SUMI_SPACING_LEADING },
  };
  g_autoptr (SumiTensorMap) map = open_full ("sdxl");

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      SumiModelConfig c;

      g_test_message ("%s", rows[i].name);
      detect_config (map, rows[i].name, &c);
      g_assert_cmpstr (c.defaults.sampler, ==, rows[i].sampler);
      g_assert_cmpuint (c.defaults.steps, ==, rows[i].steps);
      g_assert_cmpfloat (c.defaults.guidance_scale, ==, rows[i].guidance);
      g_assert_cmpint (c.width, ==, rows[i].side);
      g_assert_cmpint (c.spacing, ==, rows[i].spacing);
    }
}

/* ---- other models ---- */

static void
test_cut_down (void)
{
  g_autoptr (SumiTensorMap) sd15 = open_full ("sd15"), ssd = open_full ("sdxl"), vega = open_full ("sdxl");
  g_autoptr (SumiTensorMap) uneven = open_full ("sdxl");

  drop (sd15, ".middle_block.1.");
  assert_refused (sd15, "BK-SDM");
  drop (ssd, ".middle_block.1.");
  assert_refused (ssd, "SSD-1B");
  drop (vega, ".middle_block.1.");
  drop (vega, "output_blocks.3.1.transformer_blocks.1.");
  assert_refused (vega, "Vega");
  drop (uneven, "input_blocks.8.1.transformer_blocks.9.");
  assert_refused (uneven, "cut-down");
}

static void
test_others (void)
{
  static const struct
  {
    const char *base, *tensor, *what;
    SumiShape shape;
  } rows[] = {
    { "sd21", "model.diffusion_model.input_blocks.0.0.weight", "depth", { 4, { 320, 5, 3, 3 } } },
    { "sd21", "model.diffusion_model.input_blocks.0.0.weight", "upscaler", { 4, { 320, 7, 3, 3 } } },
    { "sd21", "model.diffusion_model.label_emb.0.0.weight", "unCLIP", { 2, { 1280, 1536 } } },
    { "sd15", "model.diffusion_model.input_blocks.0.0.weight", "12 input channels", { 4, { 320, 12, 3, 3 } } },
    { "sdxl", "edm_mean", "Playground", { 1, { 4 } } },
    { "sdxl", "edm_vpred.sigma_max", "CosXL", { 1, { 1 } } },
    { "sd15",
      "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight",
      "Stable Diffusion 3",
      { 1, { 4 } } },
    { "sd15", "model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "FLUX", { 1, { 4 } } },
    { "sd15", "control_model.input_hint_block.0.weight", "ControlNet", { 1, { 4 } } },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (SumiTensorMap) map = open_full (rows[i].base);

      put (map, rows[i].tensor, &rows[i].shape);
      assert_refused (map, rows[i].what);
    }
}

/* Parts of models, and nothing at all. */
static void
test_parts (void)
{
  g_autoptr (SumiTensorMap) no_text = open_full ("sd15"), no_second = open_full ("sdxl"), vae = open_full ("sd15");
  g_autoptr (SumiTensorMap) text = open_full ("sd21"), no_vae = open_full ("sd15"), none = sumi_tensor_map_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) json = NULL;

  drop (no_text, "cond_stage_model.");
  assert_refused (no_text, "without its text encoder");
  drop (no_second, "conditioner.embedders.1.");
  assert_refused (no_second, "without its second text encoder");
  drop (vae, "cond_stage_model.");
  drop (vae, "model.diffusion_model.");
  assert_refused (vae, "an auto-encoder");
  drop (text, "first_stage_model.");
  drop (text, "model.diffusion_model.");
  assert_refused (text, "a text encoder");
  assert_refused (none, "no tensors");

  drop (no_vae, "first_stage_model.");
  json = detect (no_vae, "", &error);
  g_assert_no_error (error);
  g_assert_true (json_object_has_member (json, "vae")); /* as published: its weights are missing, and may be given */
}

/* The hyper-parameters beside a file win over what is supposed, and are checked. */
static void
test_known (void)
{
  static const char *const bad[]
      = { "{\"family\":7}", "{\"family\":\"sd15\",\"unet\":[]}", "{\"family\":\"sd15\",\"text_encoder\":3}",
          "{\"family\":\"sd15\",\"unet\":{\"attention_heads_per_level\":[8,8,8,8],"
          "\"attention_heads_mid\":4}}" };
  g_autoptr (SumiTensorMap) map = open_full ("sd15");
  g_autoptr (SumiComponents) parts = sumi_components_new (map);
  g_autoptr (JsonNode) node = json_from_string (
      "{\"family\":\"sd15\",\"unet\":{\"attention_heads_per_level\":[4,8,16,16],\"norm_num_groups\":16},"
      "\"vae\":{\"scaling_factor\":0.5},\"text_encoder\":{\"heads\":6,\"act\":\"gelu\"},"
      "\"scheduler\":{\"prediction_type\":\"v_prediction\"}}",
      NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) json = sumi_model_detect (map, parts, "turbo", json_node_get_object (node), &error);
  SumiModelConfig c;

  g_assert_no_error (error);
  g_assert_true (sumi_model_config_parse (json, &c, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (c.unet.heads[2], ==, 16);
  g_assert_cmpuint (c.unet.norm_num_groups, ==, 16);
  g_assert_cmpfloat (c.vae.scaling_factor, ==, 0.5);
  g_assert_cmpuint (c.text.num_attention_heads, ==, 6);
  g_assert_cmpint (c.text.hidden_act, ==, SUMI_ACT_GELU);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_V);
  g_assert_cmpuint (c.defaults.steps, ==, 30); /* not by its name */

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr (JsonNode) wrong = json_from_string (bad[i], NULL);

      g_assert_null (sumi_model_detect (map, parts, "", json_node_get_object (wrong), &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
      g_clear_error (&error);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, G_TEST_OPTION_ISOLATE_DIRS, NULL);
  g_test_add_func ("/detection/prediction", test_prediction);
  g_test_add_func ("/detection/distilled", test_distilled);
  g_test_add_func ("/detection/cut-down", test_cut_down);
  g_test_add_func ("/detection/others", test_others);
  g_test_add_func ("/detection/parts", test_parts);
  g_test_add_func ("/detection/known", test_known);
  return g_test_run ();
}
