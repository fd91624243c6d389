/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Model configurations: what is read, what is refused, and the small vocabulary. */
#include "diffusion/model.h"
#include "nn/tokenizer.h"
#include "tiny-model.h"

static gboolean
parse (const char *text, SumiModelConfig *c, GError **error)
{
  g_autoptr (JsonNode) node = json_from_string (text, NULL);

  g_assert_nonnull (node);
  return sumi_model_config_parse (json_node_get_object (node), c, error);
}

#define DDPM_UNET(channels, out)                                                                                       \
  "\"unet\":{\"in_channels\":" channels ",\"out_channels\":" out ",\"sample_size\":64,"                                \
  "\"block_out_channels\":[16,32],\"norm_num_groups\":8,\"layers_per_block\":1,"                                       \
  "\"down_block_types\":[\"DownBlock2D\",\"AttnDownBlock2D\"],"                                                        \
  "\"up_block_types\":[\"AttnUpBlock2D\",\"UpBlock2D\"]}"

static void
test_defaults (void)
{
  g_autoptr (GError) error = NULL;
  SumiModelConfig c;

  g_assert_true (parse ("{\"family\":\"simple-unet\"}", &c, &error));
  g_assert_no_error (error);
  g_assert_cmpint (c.family, ==, SUMI_FAMILY_SIMPLE_UNET);
  g_assert_cmpint (c.channels, ==, 3);
  g_assert_cmpint (c.out_channels, ==, 3);
  g_assert_cmpint (c.height, ==, 32);
  g_assert_cmpuint (c.scale, ==, 1);
  g_assert_cmpint (c.betas, ==, SUMI_BETAS_LINEAR);
  g_assert_cmpuint (c.num_train_timesteps, ==, 1000);
  g_assert_cmpint (c.spacing, ==, SUMI_SPACING_TRAILING);
  g_assert_true (c.clip_sample);
  g_assert_true (c.set_alpha_to_one);
  g_assert_cmpuint (sumi_model_granularity (&c), ==, 8);
}

static void
test_ddpm (void)
{
  g_autoptr (GError) error = NULL;
  SumiModelConfig c;

  g_assert_true (parse (
      "{\"family\":\"ddpm\"," DDPM_UNET (
          "3", "3") ",\"scheduler\":{"
                    "\"_class_name\":\"DDPMScheduler\",\"num_train_timesteps\":50,\"beta_schedule\":"
                    "\"scaled_linear\",\"beta_start\":0.001,\"beta_end\":0.01,\"prediction_type\":\"sample\","
                    "\"variance_type\":\"fixed_large\",\"clip_sample\":false,"
                    "\"steps_offset\":1,\"set_alpha_to_one\":false,\"trained_betas\":null,\"thresholding\":false}}",
      &c, &error));
  g_assert_no_error (error);
  g_assert_cmpint (c.width, ==, 64);
  g_assert_cmpint (c.betas, ==, SUMI_BETAS_SCALED_LINEAR);
  g_assert_cmpuint (c.num_train_timesteps, ==, 50);
  g_assert_cmpfloat (c.beta_end, ==, 0.01);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_SAMPLE);
  g_assert_cmpint (c.variance, ==, SUMI_VARIANCE_FIXED_LARGE);
  g_assert_cmpint (c.spacing, ==, SUMI_SPACING_LEADING);
  g_assert_cmpuint (c.steps_offset, ==, 1);
  g_assert_false (c.clip_sample);
  g_assert_false (c.set_alpha_to_one);
  g_assert_cmpuint (sumi_model_granularity (&c), ==, 2);

  g_assert_true (parse ("{\"family\":\"ddpm\",\"sample_size\":[24,40]," DDPM_UNET ("3", "6") "}", &c, &error));
  g_assert_no_error (error);
  g_assert_cmpint (c.height, ==, 24);
  g_assert_cmpint (c.width, ==, 40);
  g_assert_cmpint (c.variance, ==, SUMI_VARIANCE_LEARNED_RANGE);
}

static void
test_latent (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) json = tiny_model_config ();
  SumiModelConfig c;

  g_assert_true (sumi_model_config_parse (json, &c, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (c.scale, ==, 8);
  g_assert_cmpint (c.height, ==, 2);
  g_assert_cmpfloat (c.std[31], ==, 0.81);
  g_assert_cmpint (c.betas, ==, SUMI_BETAS_COSINE);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_V);
  g_assert_false (c.clip_sample);
}

static void
test_refused (void)
{
#define SIMPLE(scheduler) "{\"family\":\"simple-unet\",\"scheduler\":" scheduler "}"
  static const struct
  {
    const char *text, *field;
  } bad[] = {
    { SIMPLE ("[]"), "scheduler" },
    { SIMPLE ("{\"beta_schedule\":\"exotic\"}"), "noise schedule" },
    { SIMPLE ("{\"prediction_type\":\"flow\"}"), "prediction type" },
    { SIMPLE ("{\"timestep_spacing\":3}"), "timestep_spacing" },
    { SIMPLE ("{\"timestep_spacing\":\"random\"}"), "timestep spacing" },
    { SIMPLE ("{\"num_train_timesteps\":0}"), "num_train_timesteps" },
    { SIMPLE ("{\"num_train_timesteps\":1e9}"), "num_train_timesteps" },
    { SIMPLE ("{\"beta_start\":0.5,\"beta_end\":0.1}"), "beta_start" },
    { SIMPLE ("{\"beta_start\":\"small\"}"), "beta_start" },
    { SIMPLE ("{\"variance_type\":\"learned_range\"}"), "variance_type" },
    { SIMPLE ("{\"variance_type\":\"learned\"}"), "variance_type" },
    { SIMPLE ("{\"thresholding\":true}"), "thresholding" },
    { SIMPLE ("{\"trained_betas\":[0.1]}"), "trained_betas" },
    { SIMPLE ("{\"clip_sample_range\":2}"), "clip_sample_range" },
    { SIMPLE ("{\"steps_offset\":-1}"), "steps_offset" },
    { "{\"family\":\"simple-unet\",\"sample_size\":5000}", "sample_size" },
    { "{\"family\":\"simple-unet\",\"sample_size\":[1,2,3]}", "sample_size" },
    { "{\"family\":\"simple-unet\",\"in_channels\":3,\"out_channels\":4}", "out_channels" },
    { "{\"family\":\"ddpm\"}", "unet" },
    { "{\"family\":\"ddpm\",\"unet\":7}", "unet" },
    { "{\"family\":\"sumi-latent\"," DDPM_UNET ("32", "32") "}", "text_encoder" },
    { "{\"family\":4}", "family" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr (GError) error = NULL;
      SumiModelConfig c;

      g_assert_false (parse (bad[i].text, &c, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
      if (strstr (error->message, bad[i].field) == NULL)
        g_error ("'%s' does not name %s", error->message, bad[i].field);
    }
}

/* ---- Stable Diffusion ---- */

#define SD_UNET(in, linear, context, more)                                                                             \
  "{\"in_channels\":" in ",\"out_channels\":4,\"sample_size\":24,\"block_out_channels\":[16,32],"                      \
  "\"norm_num_groups\":8,\"down_block_types\":[\"DownBlock2D\",\"CrossAttnDownBlock2D\"],"                             \
  "\"up_block_types\":[\"CrossAttnUpBlock2D\",\"UpBlock2D\"],\"attention_head_dim\":2,"                                \
  "\"cross_attention_dim\":" context ",\"use_linear_projection\":" linear more "}"
#define SD_VAE                                                                                                         \
  "{\"block_out_channels\":[8,8,16,16],\"norm_num_groups\":8,\"layers_per_block\":2,\"latent_channels\":4,"            \
  "\"scaling_factor\":0.25,\"shift_factor\":0.5}"
#define SD_TEXT(width)                                                                                                 \
  "{\"vocab_size\":49408,\"hidden_size\":" width ",\"num_attention_heads\":2,\"num_hidden_layers\":2,"                 \
  "\"projection_dim\":24}"
#define SD(family, unet, more)                                                                                         \
  "{\"family\":\"" family "\",\"unet\":" unet ",\"vae\":" SD_VAE ",\"text_encoder\":" SD_TEXT ("16") more "}"
#define TEXT_2 ",\"text_encoder_2\":" SD_TEXT ("32")
#define ADDITION(dim)                                                                                                  \
  ",\"addition_embed_type\":\"text_time\",\"addition_time_embed_dim\":8,"                                              \
  "\"projection_class_embeddings_input_dim\":" dim
#define SCHEDULER(text) ",\"scheduler\":{" text "}"

static void
test_stable_diffusion (void)
{
  g_autoptr (GError) error = NULL;
  SumiModelConfig c;

  g_assert_true (parse (SD ("sd15", SD_UNET ("4", "false", "16", ""), ""), &c, &error));
  g_assert_no_error (error);
  g_assert_cmpint (c.family, ==, SUMI_FAMILY_SD1);
  g_assert_true (sumi_model_is_stable_diffusion (&c));
  g_assert_cmpint (c.channels, ==, 4);
  g_assert_cmpint (c.in_channels, ==, 4);
  g_assert_cmpint (c.out_channels, ==, 4);
  g_assert_cmpint (c.height, ==, 24);
  g_assert_cmpuint (c.scale, ==, 8);
  g_assert_cmpfloat (c.mean[3], ==, 0.5);
  g_assert_cmpfloat (c.std[3], ==, 4);
  g_assert_cmpint (c.betas, ==, SUMI_BETAS_SCALED_LINEAR);
  g_assert_cmpfloat (c.beta_start, ==, 0.00085);
  g_assert_false (c.clip_sample);
  g_assert_false (c.zero_empty);
  g_assert_cmpint (sumi_model_states_width (&c), ==, 16);
  g_assert_cmpint (sumi_model_pooled_width (&c), ==, 0);
  g_assert_cmpint (c.text.projection_dim, ==, 0);
  g_assert_cmpuint (c.defaults.steps, ==, 30);
  g_assert_cmpfloat (c.defaults.guidance_scale, ==, 7.5);

  g_assert_true (parse (SD ("sdxl", SD_UNET ("9", "true", "48", ADDITION ("72")), TEXT_2), &c, &error));
  g_assert_no_error (error);
  g_assert_cmpint (c.in_channels, ==, 9);
  g_assert_cmpint (c.channels, ==, 4);
  g_assert_true (c.zero_empty);
  g_assert_cmpint (sumi_model_states_width (&c), ==, 48);
  g_assert_cmpint (sumi_model_pooled_width (&c), ==, 24);
  g_assert_cmpint (sumi_model_n_time_ids (&c), ==, 6);

  g_assert_true (parse (SD ("sdxl-refiner", SD_UNET ("4", "true", "32", ADDITION ("64")), TEXT_2), &c, &error));
  g_assert_no_error (error);
  g_assert_cmpint (c.text.hidden_size, ==, 0);
  g_assert_false (c.zero_empty);
  g_assert_cmpint (sumi_model_pooled_width (&c), ==, 24);
  g_assert_cmpint (sumi_model_n_time_ids (&c), ==, 5);
}

/* What to draw with, by the scheduler the model came with, by its network, by what the configuration says. */
static void
test_draw_with (void)
{
  static const struct
  {
    const char *text, *sampler, *sigmas;
    guint steps;
    double guidance;
    SumiSpacing spacing;
    gboolean by_sampler;
  } rows[] = {
#define PLAIN(more) SD ("sd15", SD_UNET ("4", "false", "16", ""), more)
    { PLAIN (SCHEDULER ("\"_class_name\":\"PNDMScheduler\"")), "pndm", NULL, 30, 7.5, SUMI_SPACING_LEADING, TRUE },
    { PLAIN (SCHEDULER ("\"_class_name\":\"EulerAncestralDiscreteScheduler\",\"timestep_spacing\":\"trailing\"")),
      "euler_a", NULL, 30, 7.5, SUMI_SPACING_TRAILING, FALSE },
    { PLAIN (SCHEDULER ("\"_class_name\":\"DPMSolverMultistepScheduler\",\"use_karras_sigmas\":true")), "dpmpp_2m",
      "karras", 30, 7.5, SUMI_SPACING_LEADING, TRUE },
    { PLAIN (SCHEDULER ("\"_class_name\":\"DPMSolverMultistepScheduler\",\"algorithm_type\":\"sde-dpmsolver++\"")),
      "dpmpp_2m_sde", NULL, 30, 7.5, SUMI_SPACING_LEADING, TRUE },
    { PLAIN (SCHEDULER ("\"_class_name\":\"LCMScheduler\"")), "lcm", NULL, 4, 1, SUMI_SPACING_LEADING, TRUE },
    { SD ("sd15", SD_UNET ("4", "false", "16", ",\"time_cond_proj_dim\":256"), ""), "lcm", NULL, 4, 8,
      SUMI_SPACING_LEADING, FALSE },
    { PLAIN (",\"defaults\":{\"steps\":8,\"guidance_scale\":2,\"sampler\":\"ddim\",\"sigmas\":\"sgm_uniform\"}"),
      "ddim", "sgm_uniform", 8, 2, SUMI_SPACING_LEADING, FALSE },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (GError) error = NULL;
      SumiModelConfig c;

      g_assert_true (parse (rows[i].text, &c, &error));
      g_assert_no_error (error);
      g_assert_cmpstr (c.defaults.sampler, ==, rows[i].sampler);
      g_assert_cmpstr (c.defaults.sigmas, ==, rows[i].sigmas);
      g_assert_cmpuint (c.defaults.steps, ==, rows[i].steps);
      g_assert_cmpfloat (c.defaults.guidance_scale, ==, rows[i].guidance);
      g_assert_cmpint (c.spacing, ==, rows[i].spacing);
      g_assert_cmpint (c.spacing_by_sampler, ==, rows[i].by_sampler);
    }
}

static void
test_zero_snr (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiSchedule) s = NULL;
  SumiModelConfig c;

  g_assert_true (parse (SD ("sd15", SD_UNET ("4", "false", "16", ""),
                            SCHEDULER ("\"rescale_betas_zero_snr\":true,\"prediction_type\":\"v_prediction\"")),
                        &c, &error));
  g_assert_no_error (error);
  g_assert_cmpint (c.prediction, ==, SUMI_PREDICT_V);
  s = sumi_model_schedule_new (&c, &error);
  g_assert_no_error (error);
  g_assert_cmpfloat (s->alphas_cumprod[999], ==, 0);
}

/* The parts of a Stable Diffusion model must fit each other. */
static void
test_stable_diffusion_refused (void)
{
  static const struct
  {
    const char *text;
    int code;
    const char *field;
  } bad[] = {
#define SD15(in, context, more) SD ("sd15", SD_UNET (in, "false", context, more), "")
    { SD15 ("6", "16", ""), SUMI_ERROR_BAD_CONFIG, "in_channels" },
    { SD15 ("5", "16", ""), SUMI_ERROR_UNKNOWN_MODEL, "depth" },
    { SD15 ("7", "16", ""), SUMI_ERROR_UNKNOWN_MODEL, "upscaler" },
    { SD15 ("4", "16", ",\"class_embed_type\":\"projection\",\"projection_class_embeddings_input_dim\":16"),
      SUMI_ERROR_UNKNOWN_MODEL, "unCLIP" },
    { SD15 ("4", "24", ""), SUMI_ERROR_BAD_CONFIG, "cross_attention_dim" },
    { SD15 ("4", "16", ADDITION ("72")), SUMI_ERROR_BAD_CONFIG, "addition_embed_type" },
    { SD ("sdxl", SD_UNET ("4", "true", "48", ""), TEXT_2), SUMI_ERROR_BAD_CONFIG, "addition_embed_type" },
    { SD ("sdxl", SD_UNET ("4", "true", "48", ADDITION ("64")), TEXT_2), SUMI_ERROR_BAD_CONFIG, "projection_class" },
    { SD ("sdxl", SD_UNET ("4", "true", "48", ADDITION ("72")), ""), SUMI_ERROR_BAD_CONFIG, "text_encoder_2" },
    { SD ("sdxl", SD_UNET ("4", "true", "16", ADDITION ("72")), TEXT_2), SUMI_ERROR_BAD_CONFIG, "cross_attention_dim" },
    { "{\"family\":\"sd15\",\"unet\":" SD_UNET ("4", "false", "16", "") ",\"vae\":" SD_VAE "}", SUMI_ERROR_BAD_CONFIG,
      "text_encoder" },
    { "{\"family\":\"sd15\",\"unet\":" SD_UNET ("4", "false", "16", "") "}", SUMI_ERROR_BAD_CONFIG, "vae" },
    { PLAIN (SCHEDULER ("\"_class_name\":\"EDMEulerScheduler\"")), SUMI_ERROR_UNKNOWN_MODEL, "EDMEulerScheduler" },
    { PLAIN (SCHEDULER ("\"use_flow_sigmas\":true")), SUMI_ERROR_BAD_CONFIG, "use_flow_sigmas" },
    { PLAIN (SCHEDULER ("\"timestep_type\":\"continuous\"")), SUMI_ERROR_BAD_CONFIG, "timestep_type" },
    { PLAIN (",\"defaults\":{\"sampler\":\"best\"}"), SUMI_ERROR_BAD_CONFIG, "sampler" },
    { PLAIN (",\"defaults\":{\"sample_size\":4}"), SUMI_ERROR_BAD_CONFIG, "sample_size" },
    { PLAIN (",\"defaults\":7"), SUMI_ERROR_BAD_CONFIG, "defaults" },
    { PLAIN (",\"force_zeros_for_empty_prompt\":1"), SUMI_ERROR_BAD_CONFIG, "force_zeros" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr (GError) error = NULL;
      SumiModelConfig c;

      g_assert_false (parse (bad[i].text, &c, &error));
      g_test_message ("%s", error->message);
      g_assert_error (error, SUMI_ERROR, bad[i].code);
      g_assert_nonnull (strstr (error->message, bad[i].field));
    }
}

/* The pieces of a latent model must fit each other. */
static void
test_latent_refused (void)
{
  static const struct
  {
    const char *object, *field, *json;
  } bad[] = {
    { "latents", "channels", "4" },
    { "latents", "height", "0" },
    { "latents", "width", "100000" },
    { "latents", "mean", "[0]" },
    { "latents", "mean", "0" },
    { "latents", "std", "null" },
    { "unet", "in_channels", "4" },
    { "unet", "out_channels", "4" },
    { "unet", "cross_attention_dim", "8" },
    { "unet", "projection_class_embeddings_input_dim", "8" },
    { "text_encoder", "hidden_size", "\"wide\"" },
    { "text_encoder", "vocab_size", "-1" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (JsonObject) json = tiny_model_config ();
      SumiModelConfig c;

      json_object_set_member (json_object_get_object_member (json, bad[i].object), bad[i].field,
                              json_from_string (bad[i].json, NULL));
      g_assert_false (sumi_model_config_parse (json, &c, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
      if (strstr (error->message, bad[i].field) == NULL)
        g_error ("'%s' does not name %s", error->message, bad[i].field);
    }
}

static void
test_std_is_positive (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) json = tiny_model_config ();
  JsonArray *std = json_array_new ();
  SumiModelConfig c;

  for (guint i = 0; i < SUMI_TAEF2_CHANNELS; i++)
    json_array_add_double_element (std, i == 17 ? 0 : 1);
  json_object_set_array_member (json_object_get_object_member (json, "latents"), "std", std);
  g_assert_false (sumi_model_config_parse (json, &c, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
  g_assert_nonnull (strstr (error->message, "std[17]: found 0"));
}

static void
test_rows (void)
{
  static const gint64 token_ids[] = { -1, 3, 320, 1000, SUMI_TOKEN_START, SUMI_TOKEN_END };
  static const gint64 want[] = { 4, 0, 1, 2, 3, 0, 0, 0, 5, 5 };
  gint64 ids[] = { SUMI_TOKEN_START, 0, 3, 320, 1000, 1001, -1, G_MAXINT64, SUMI_TOKEN_END, SUMI_TOKEN_END };
  gint64 rows[G_N_ELEMENTS (ids)];
  guint unknown;

  sumi_model_tokens_to_rows (token_ids, G_N_ELEMENTS (token_ids), ids, G_N_ELEMENTS (ids), rows, &unknown);
  g_assert_cmpmem (rows, sizeof rows, want, sizeof want);
  g_assert_cmpuint (unknown, ==, 4);
  /* in place */
  sumi_model_tokens_to_rows (token_ids, G_N_ELEMENTS (token_ids), ids, G_N_ELEMENTS (ids), ids, NULL);
  g_assert_cmpmem (ids, sizeof ids, want, sizeof want);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/model/stable-diffusion", test_stable_diffusion);
  g_test_add_func ("/model/stable-diffusion-refused", test_stable_diffusion_refused);
  g_test_add_func ("/model/draw-with", test_draw_with);
  g_test_add_func ("/model/zero-snr", test_zero_snr);
  g_test_add_func ("/model/defaults", test_defaults);
  g_test_add_func ("/model/ddpm", test_ddpm);
  g_test_add_func ("/model/latent", test_latent);
  g_test_add_func ("/model/refused", test_refused);
  g_test_add_func ("/model/latent-refused", test_latent_refused);
  g_test_add_func ("/model/std", test_std_is_positive);
  g_test_add_func ("/model/rows", test_rows);
  return g_test_run ();
}
