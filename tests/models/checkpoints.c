/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Checkpoints of Stable Diffusion in every naming: the same model whatever form it comes in, told from its shapes where
 * nothing is written down, and refused by name where it is another one. */
#include <glib/gstdio.h>
#include <string.h>

#include "io/safetensors.h"
#include "models/model-file.h"
#include "models/model-report.h"
#include "random-model.h"

typedef struct
{
  SumiTensorMap *weights;
  JsonObject *json;
  SumiModelConfig config;
  GError *why;
} Model;

static void
model_clear (Model *m)
{
  g_clear_pointer (&m->weights, sumi_tensor_map_unref);
  g_clear_pointer (&m->json, json_object_unref);
  g_clear_error (&m->why);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Model, model_clear)

static void
model_read (Model *m, const char *path)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (sumi_model_read (path, &m->weights, &m->json, &m->why, &error));
  g_assert_no_error (error);
  g_assert_no_error (m->why);
  g_assert_nonnull (m->json);
  g_assert_true (sumi_model_config_parse (m->json, &m->config, &error));
  g_assert_no_error (error);
}

static char *
scratch (const char *name)
{
  char *path = g_build_filename (g_get_user_cache_dir (), name, NULL); /* isolated */

  g_assert_cmpint (g_mkdir_with_parents (g_get_user_cache_dir (), 0777), ==, 0);
  return path;
}

static gboolean
same_values (const SumiTensor *a, const SumiTensor *b)
{
  return sumi_tensor_get_dtype (a) == sumi_tensor_get_dtype (b)
         && sumi_shape_equal (sumi_tensor_get_shape (a), sumi_tensor_get_shape (b))
         && memcmp (sumi_tensor_peek (a), sumi_tensor_peek (b), sumi_tensor_get_size (a)) == 0;
}

/* Exactly the parameters the networks have, with their shapes and finite. */
static void
assert_complete (const Model *m)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiModelReport) report = sumi_model_report_new (m->weights, &m->config, &error);

  g_assert_no_error (error);
  g_assert_no_error (report->wrong);
  for (guint i = 0; i < report->unknown->len; i++)
    g_test_message ("unknown: %s", (const char *)g_ptr_array_index (report->unknown, i));
  g_assert_cmpuint (report->missing->len, ==, 0);
  g_assert_cmpuint (report->unknown->len, ==, 0);
}

#define SAME_INT(field) g_assert_cmpint (a->field, ==, b->field)
#define SAME_FLOAT(field) g_assert_cmpfloat (a->field, ==, b->field)

static void
assert_same_unet (const SumiUnetConfig *a, const SumiUnetConfig *b)
{
  SAME_INT (in_channels);
  SAME_INT (out_channels);
  SAME_INT (n_levels);
  SAME_INT (layers_per_block);
  SAME_INT (norm_num_groups);
  SAME_INT (cross_attention_dim);
  SAME_INT (use_linear_projection);
  SAME_INT (addition_time_embed_dim);
  SAME_INT (addition_embed_dim);
  SAME_INT (time_cond_proj_dim);
  SAME_INT (flip_sin_to_cos);
  SAME_FLOAT (norm_eps);
  for (guint i = 0; i < a->n_levels; i++)
    {
      SAME_INT (block_out_channels[i]);
      SAME_INT (attention[i]);
      SAME_INT (heads[i]);
      if (a->attention[i] || i + 1 == a->n_levels)
        SAME_INT (transformer_layers[i]);
    }
}

static void
assert_same_text (const SumiTextConfig *a, const SumiTextConfig *b)
{
  SAME_INT (vocab_size);
  SAME_INT (hidden_size);
  SAME_INT (intermediate_size);
  SAME_INT (max_position_embeddings);
  SAME_INT (num_hidden_layers);
  SAME_INT (num_attention_heads);
  SAME_INT (hidden_act);
  SAME_INT (projection_dim);
  SAME_FLOAT (layer_norm_eps);
}

static void
assert_same_vae (const SumiVaeConfig *a, const SumiVaeConfig *b)
{
  SAME_INT (latent_channels);
  SAME_INT (n_levels);
  SAME_INT (layers_per_block);
  SAME_INT (norm_num_groups);
  SAME_INT (mid_attention);
  SAME_INT (quant_conv);
  SAME_INT (post_quant_conv);
  SAME_FLOAT (scaling_factor);
  SAME_FLOAT (shift_factor);
  for (guint i = 0; i < a->n_levels; i++)
    SAME_INT (block_out_channels[i]);
}

/* But for the size to draw at, which a single file does not tell. */
static void
assert_same_config (const SumiModelConfig *a, const SumiModelConfig *b)
{
  SAME_INT (family);
  SAME_INT (prediction);
  SAME_INT (in_channels);
  SAME_INT (zero_empty);
  SAME_INT (betas);
  SAME_INT (spacing);
  SAME_INT (steps_offset);
  SAME_INT (set_alpha_to_one);
  SAME_INT (clip_sample);
  assert_same_unet (&a->unet, &b->unet);
  assert_same_vae (&a->vae, &b->vae);
  assert_same_text (&a->text, &b->text);
  assert_same_text (&a->text_2, &b->text_2);
}

static void
assert_same_model (const char *single, const char *folder, guint n_ignored)
{
  g_auto (Model) a = { NULL }, b = { NULL };

  model_read (&a, single);
  model_read (&b, folder);
  assert_complete (&a);
  assert_complete (&b);
  assert_same_config (&a.config, &b.config);
  g_assert_cmpstr (a.config.defaults.sampler, ==, b.config.defaults.sampler);
  g_assert_cmpuint (sumi_tensor_map_get_size (a.weights), ==, sumi_tensor_map_get_size (b.weights));
  for (guint i = 0; i < sumi_tensor_map_get_size (a.weights); i++)
    {
      const char *name = sumi_tensor_map_get_name (a.weights, i);
      const SumiTensor *other = sumi_tensor_map_peek (b.weights, name);

      if (other == NULL || !same_values (sumi_tensor_map_peek_nth (a.weights, i), other))
        g_error ("%s differs", name);
    }
  g_assert_cmpuint (json_object_has_member (a.json, "ignored")
                        ? json_array_get_length (json_object_get_array_member (a.json, "ignored"))
                        : 0,
                    ==, n_ignored);
}

/* ---- of the reference ---- */

static void
test_reference (void)
{
  static const struct
  {
    const char *name;
    guint n_ignored;
  } rows[] = { { "tiny-sd15", 5 }, { "tiny-sd21", 14 }, { "tiny-sdxl", 1 } };
  const char *golden = g_getenv ("SUMI_GOLDEN");

  if (golden == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autofree char *folder = g_build_filename (golden, "models", rows[i].name, NULL);
      g_autofree char *single = g_strconcat (folder, ".safetensors", NULL);

      assert_same_model (single, folder, rows[i].n_ignored);
    }
}

static void
test_reference_inpaint (void)
{
  const char *golden = g_getenv ("SUMI_GOLDEN");
  g_autofree char *path = NULL;
  g_auto (Model) m = { NULL };

  if (golden == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  path = g_build_filename (golden, "models", "tiny-inpaint.safetensors", NULL);
  model_read (&m, path);
  assert_complete (&m);
  g_assert_cmpint (m.config.in_channels, ==, 9);
  g_assert_cmpint (m.config.channels, ==, 4);
}

/* ---- of random values ---- */

static const char *const names[] = { "sd15", "inpaint", "pix2pix", "lcm", "sd21", "sd21-base", "sdxl", "sdxl-refiner" };

static char *
make (const char *name, const char *size, gboolean ldm, gboolean sparse, const char *file)
{
  const RandomModel m = { .name = name, .size = size, .ldm = ldm, .dtype = SUMI_F16, .sparse = sparse };
  g_autoptr (GError) error = NULL;
  char *path = scratch (file);

  random_model_write (&m, path, &error);
  g_assert_no_error (error);
  return path;
}

static void
test_both_forms (void)
{
  static const guint n_ignored[] = { 2, 2, 2, 2, 16, 16, 0, 0 };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *single = make (names[i], "tiny", TRUE, FALSE, "both.safetensors");
      g_autofree char *folder = make (names[i], "tiny", FALSE, FALSE, "both");

      assert_same_model (single, folder, n_ignored[i]);
    }
}

/* Nothing beside the file: all of it told from names and shapes, at the true size. */
static void
test_full_size (void)
{
  static const struct
  {
    const char *name;
    SumiFamily family;
    SumiPrediction prediction;
    gint64 in_channels, side;
  } rows[] = {
    { "sd15", SUMI_FAMILY_SD1, SUMI_PREDICT_EPSILON, 4, 64 },
    { "inpaint", SUMI_FAMILY_SD1, SUMI_PREDICT_EPSILON, 9, 64 },
    { "pix2pix", SUMI_FAMILY_SD1, SUMI_PREDICT_EPSILON, 8, 64 },
    { "lcm", SUMI_FAMILY_SD1, SUMI_PREDICT_EPSILON, 4, 64 },
    { "sd21", SUMI_FAMILY_SD2, SUMI_PREDICT_V, 4, 96 },
    { "sd21-base", SUMI_FAMILY_SD2, SUMI_PREDICT_EPSILON, 4, 64 },
    { "sdxl", SUMI_FAMILY_SDXL, SUMI_PREDICT_EPSILON, 4, 128 },
    { "sdxl-refiner", SUMI_FAMILY_SDXL_REFINER, SUMI_PREDICT_EPSILON, 4, 128 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autofree char *path = make (rows[i].name, "full", TRUE, TRUE, "full.safetensors");
      g_autoptr (JsonObject) json = random_model_config (rows[i].name, "full", NULL);
      SumiModelConfig want;
      g_auto (Model) m = { NULL };

      g_assert_true (sumi_model_config_parse (json, &want, NULL));
      model_read (&m, path);
      g_assert_cmpint (m.config.family, ==, rows[i].family);
      g_assert_cmpint (m.config.prediction, ==, rows[i].prediction);
      g_assert_cmpint (m.config.in_channels, ==, rows[i].in_channels);
      g_assert_cmpint (m.config.height, ==, rows[i].side);
      assert_same_config (&m.config, &want);
      g_assert_cmpuint (json_array_get_length (json_object_get_array_member (m.json, "evidence")), >, 1);
      g_unlink (path);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, G_TEST_OPTION_ISOLATE_DIRS, NULL);
  g_test_add_func ("/checkpoints/reference", test_reference);
  g_test_add_func ("/checkpoints/reference-inpaint", test_reference_inpaint);
  g_test_add_func ("/checkpoints/both-forms", test_both_forms);
  g_test_add_func ("/checkpoints/full-size", test_full_size);
  return g_test_run ();
}
