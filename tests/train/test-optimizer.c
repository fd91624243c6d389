/* SPDX-License-Identifier: GPL-3.0-or-later */
/* AdamW against torch's trajectory (golden basics/optim.json), EMA and sums against their formulas. */
#include <json-glib/json-glib.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/rng.h"
#include "train/optimizer.h"
#include "train/options.h"

/* Three scalars from (1, -2, 0.5), the loss sum (p - (0, 1, 2))^2. */
static void
test_adamw_golden (void)
{
  const SumiAdamWConfig c = { 0.01, 0.9, 0.999, 1e-8, 0.01 };
  float p[3] = { 1, -2, 0.5 }, m[3] = { 0 }, v[3] = { 0 }, g[3];
  g_autofree char *path = NULL;
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;
  JsonArray *steps;

  if (g_getenv ("SUMI_GOLDEN") == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  path = g_build_filename (g_getenv ("SUMI_GOLDEN"), "basics", "optim.json", NULL);
  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  steps = json_object_get_array_member (json_node_get_object (json_parser_get_root (parser)), "adamw");
  g_assert_cmpuint (json_array_get_length (steps), >=, 5);
  for (guint s = 0; s < json_array_get_length (steps); s++)
    {
      JsonArray *want = json_array_get_array_element (steps, s);
      for (guint i = 0; i < 3; i++)
        g[i] = 2 * (p[i] - (float)i);
      sumi_adamw_step (&c, s + 1, 1, p, g, m, v, 3);
      for (guint i = 0; i < 3; i++)
        g_assert_cmpfloat_with_epsilon (p[i], json_array_get_double_element (want, i), 1e-6);
    }
}

/* A gradient scaled beforehand and a grad_scale are the same. */
static void
test_grad_scale (void)
{
  const SumiAdamWConfig c = { 0.1, 0.9, 0.99, 1e-8, 0 };
  float p[2] = { 1, 1 }, g[2] = { 4, 1 }, m[2] = { 0 }, v[2] = { 0 };

  sumi_adamw_step (&c, 1, 0.25, p, g, m, v, 1);
  sumi_adamw_step (&c, 1, 1, p + 1, g + 1, m + 1, v + 1, 1);
  g_assert_cmpfloat (p[0], ==, p[1]);
  g_assert_cmpfloat (m[0], ==, m[1]);
  g_assert_cmpfloat (v[0], ==, v[1]);
  g_assert_cmpfloat_with_epsilon (m[0], 0.1, 1e-7);
}

#define MANY 100003

static void
run_all (int threads, float *p, float *ema, double *squares)
{
  const SumiAdamWConfig c = { 0.01, 0.9, 0.999, 1e-8, 0.01 };
  g_autofree float *g = g_new (float, MANY);
  g_autofree float *m = g_new0 (float, MANY);
  g_autofree float *v = g_new0 (float, MANY);
  SumiRng rng;

  omp_set_num_threads (threads);
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 1);
  sumi_rng_normal (&rng, p, MANY);
  sumi_rng_normal (&rng, g, MANY);
  memcpy (ema, p, MANY * sizeof *p);
  for (guint s = 1; s <= 3; s++)
    {
      sumi_adamw_step (&c, s, 0.5, p, g, m, v, MANY);
      sumi_ema_step (0.9, ema, p, MANY);
    }
  *squares = sumi_sum_of_squares (p, MANY);
}

static void
test_threads (void)
{
  g_autofree float *p1 = g_new (float, MANY);
  g_autofree float *p4 = g_new (float, MANY);
  g_autofree float *ema1 = g_new (float, MANY);
  g_autofree float *ema4 = g_new (float, MANY);
  double s1, s4, plain = 0;

  run_all (1, p1, ema1, &s1);
  run_all (4, p4, ema4, &s4);
  g_assert_cmpmem (p1, MANY * sizeof *p1, p4, MANY * sizeof *p4);
  g_assert_cmpmem (ema1, MANY * sizeof *p1, ema4, MANY * sizeof *p4);
  g_assert_cmpfloat (s1, ==, s4);
  for (guint i = 0; i < MANY; i++)
    plain += (double)p1[i] * p1[i];
  g_assert_cmpfloat (fabs (s1 - plain), <, 1e-9 * plain);
}

static void
test_ema (void)
{
  float ema[3] = { 0, 1, -2 }, p[3] = { 1, 1, 2 };

  sumi_ema_step (0.75, ema, p, 3);
  g_assert_cmpfloat (ema[0], ==, 0.25f);
  g_assert_cmpfloat (ema[1], ==, 1);
  g_assert_cmpfloat (ema[2], ==, -1);
}

static void
test_learning_rate (void)
{
  SumiTrainOptions o = { .steps = 110, .warmup = 10, .lr = 1, .lr_end = 0.1 };

  g_assert_cmpfloat (sumi_train_learning_rate (&o, 0), ==, 0.1);
  g_assert_cmpfloat (sumi_train_learning_rate (&o, 9), ==, 1);
  g_assert_cmpfloat (sumi_train_learning_rate (&o, 10), ==, 1);
  g_assert_cmpfloat_with_epsilon (sumi_train_learning_rate (&o, 60), 0.55, 1e-12);
  g_assert_cmpfloat (sumi_train_learning_rate (&o, 109), <, 0.101);
  g_assert_cmpfloat (sumi_train_learning_rate (&o, 1000), ==, 0.1);
}

/* Every setting survives its text, and nonsense is refused by name. */
static void
test_options (void)
{
  SumiModelConfig config = { .family = SUMI_FAMILY_LATENT, .prediction = SUMI_PREDICT_V };
  SumiTrainOptions a, b;
  g_autoptr (JsonObject) json = NULL;
  g_autoptr (GError) error = NULL;
  guint n;
  const SumiTrainField *fields = sumi_train_fields (&n);

  sumi_train_options_init (&a, &config);
  g_assert_cmpfloat (a.min_snr, ==, 0); /* off: see docs/TRAINING.md */
  a.min_snr = 5;
  a.lr = 0.1 + 0.2;
  a.seed = G_MAXUINT64 - 1024;
  a.flip = TRUE;
  json = sumi_train_options_to_json (&a);
  config.prediction = SUMI_PREDICT_EPSILON;
  sumi_train_options_init (&b, &config);
  sumi_train_options_from_json (&b, json, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *x = sumi_train_options_get (&a, &fields[i]);
      g_autofree char *y = sumi_train_options_get (&b, &fields[i]);
      g_assert_cmpstr (x, ==, y);
      g_assert_false (sumi_train_options_set (&b, &fields[i], "many", &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
      g_assert_nonnull (strstr (error->message, fields[i].name));
      g_clear_error (&error);
      g_assert_false (sumi_train_options_set (&b, &fields[i], "-1", NULL));
      g_assert_false (sumi_train_options_set (&b, &fields[i], "nan", NULL));
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/train/optimizer/adamw-golden", test_adamw_golden);
  g_test_add_func ("/train/optimizer/grad-scale", test_grad_scale);
  g_test_add_func ("/train/optimizer/threads", test_threads);
  g_test_add_func ("/train/optimizer/ema", test_ema);
  g_test_add_func ("/train/learning-rate", test_learning_rate);
  g_test_add_func ("/train/options", test_options);
  return g_test_run ();
}
