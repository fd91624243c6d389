/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Noise schedules against tables of the reference, and the algebra of prediction types against itself. */
#include "diffusion/schedule.h"

#include <json-glib/json-glib.h>
#include <math.h>

static void
assert_close (double got, double want, double relative)
{
  if (fabs (got - want) > relative * fabs (want))
    g_error ("got %.17g, want %.17g", got, want); /* a test may */
}

static SumiSchedule *
sd_schedule (void)
{
  g_autoptr (GError) error = NULL;
  SumiSchedule *s = sumi_schedule_new (SUMI_BETAS_SCALED_LINEAR, 1000, 0.00085, 0.012, &error);

  g_assert_no_error (error);
  return s;
}

static JsonParser *
load_table (const char *name)
{
  const char *golden = g_getenv ("SUMI_GOLDEN");
  g_autofree char *path = NULL;
  g_autoptr (GError) error = NULL;
  JsonParser *parser;

  if (golden == NULL)
    return NULL;
  parser = json_parser_new ();
  path = g_build_filename (golden, "basics", name, NULL);
  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  return parser;
}

static void
test_reference_table (void)
{
  static const guint at[] = { 0, 1, 500, 998, 999 };
  g_autoptr (JsonParser) parser = load_table ("schedules.json");
  g_autoptr (SumiSchedule) s = sd_schedule ();
  JsonObject *table;
  JsonArray *ac, *leading, *trailing, *linspace;
  guint steps[20];

  if (parser == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  table = json_node_get_object (json_parser_get_root (parser));
  ac = json_object_get_array_member (table, "alphas_cumprod_0_1_500_998_999");
  for (guint i = 0; i < G_N_ELEMENTS (at); i++)
    assert_close (s->alphas_cumprod[at[i]], json_array_get_double_element (ac, i), 1e-11);
  assert_close (1 / sqrt (sumi_schedule_snr (s, 0)), json_object_get_double_member (table, "sigma_min"), 1e-10);
  assert_close (1 / sqrt (sumi_schedule_snr (s, 999)), json_object_get_double_member (table, "sigma_max"), 1e-10);

  sumi_schedule_rescale_zero_snr (s);
  ac = json_object_get_array_member (table, "zsnr_alphas_cumprod_0_1_500_998_999");
  for (guint i = 0; i < G_N_ELEMENTS (at); i++)
    assert_close (s->alphas_cumprod[at[i]], json_array_get_double_element (ac, i), 1e-11);

  leading = json_object_get_array_member (table, "leading20_off1");
  trailing = json_object_get_array_member (table, "trailing20");
  linspace = json_object_get_array_member (table, "linspace20");
  g_assert_true (sumi_schedule_timesteps (1000, SUMI_SPACING_LEADING, 1, 20, steps, NULL));
  for (guint i = 0; i < 20; i++)
    g_assert_cmpint (steps[i], ==, json_array_get_int_element (leading, i));
  g_assert_true (sumi_schedule_timesteps (1000, SUMI_SPACING_TRAILING, 0, 20, steps, NULL));
  for (guint i = 0; i < 20; i++)
    g_assert_cmpint (steps[i], ==, json_array_get_int_element (trailing, i));
  g_assert_true (sumi_schedule_timesteps (1000, SUMI_SPACING_LINSPACE, 0, 20, steps, NULL));
  for (guint i = 0; i < 20; i++)
    g_assert_cmpint (steps[i], ==, (int)rint (json_array_get_double_element (linspace, i)));
}

/* Lin et al. 2023: no signal at the end, the beginning as it was, and everything that follows from it finite. */
static void
test_zero_snr (void)
{
  for (guint kind = 0; kind < SUMI_N_BETAS; kind++)
    {
      g_autoptr (SumiSchedule) s = sumi_schedule_new ((SumiBetaKind)kind, 1000, 1e-4, 0.02, NULL);
      double first = s->alphas_cumprod[0];

      sumi_schedule_rescale_zero_snr (s);
      assert_close (s->alphas_cumprod[0], first, 1e-12);
      g_assert_cmpfloat (s->alphas_cumprod[999], ==, 0);
      g_assert_cmpfloat (s->betas[999], ==, 1);
      for (guint t = 1; t < 1000; t++)
        {
          g_assert_cmpfloat (s->alphas_cumprod[t], <, s->alphas_cumprod[t - 1]);
          g_assert_cmpfloat (s->betas[t], >, 0);
          g_assert_cmpfloat (s->posterior_variance[t], >, 0);
        }
      g_assert_cmpfloat (sumi_schedule_min_snr_weight (s, 999, SUMI_PREDICT_EPSILON, 5), ==, 1);
      g_assert_cmpfloat (sumi_schedule_min_snr_weight (s, 999, SUMI_PREDICT_V, 5), ==, 0);
    }
}

/* Whatever T and n: descending, different, inside. */
static void
test_timesteps_are_strict (void)
{
  guint steps[1000];

  for (guint T = 1; T <= 1000; T += 37)
    for (guint n = 1; n <= T; n += 1 + n / 7)
      for (guint k = 0; k < SUMI_N_SPACINGS; k++)
        {
          g_assert_true (sumi_schedule_timesteps (T, (SumiSpacing)k, 0, n, steps, NULL));
          g_assert_cmpuint (steps[0], <, T);
          for (guint i = 1; i < n; i++)
            g_assert_cmpuint (steps[i], <, steps[i - 1]);
        }
}

static void
test_timesteps_refused (void)
{
  guint steps[1001];
  g_autoptr (GError) error = NULL;

  g_assert_false (sumi_schedule_timesteps (1000, SUMI_SPACING_TRAILING, 0, 1001, steps, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_false (sumi_schedule_timesteps (1000, SUMI_SPACING_TRAILING, 0, 0, steps, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
  g_clear_error (&error);
  g_assert_false (sumi_schedule_timesteps (1000, SUMI_SPACING_LEADING, 1, 1000, steps, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
}

static void
test_bad_schedules (void)
{
  static const struct
  {
    guint T;
    double start, end;
  } bad[] = { { 0, 1e-4, 0.02 }, { 100001, 1e-4, 0.02 }, { 10, 0, 0.02 },  { 10, 0.02, 1e-4 },
              { 10, 1e-4, 1 },   { 10, NAN, 0.02 },      { 10, 1e-4, NAN } };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr (GError) error = NULL;
      g_assert_null (sumi_schedule_new (SUMI_BETAS_LINEAR, bad[i].T, bad[i].start, bad[i].end, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
    }
}

/* ac_t = prod (1 - beta), falling; betas within (0,1); the posterior variance below beta. */
static void
test_every_kind_is_a_schedule (void)
{
  for (guint kind = 0; kind < SUMI_N_BETAS; kind++)
    for (guint T = 1; T <= 1000; T = T * 4 + 3)
      {
        g_autoptr (SumiSchedule) s = sumi_schedule_new ((SumiBetaKind)kind, T, 1e-4, 0.02, NULL);
        long double product = 1;

        g_assert_nonnull (s);
        for (guint t = 0; t < T; t++)
          {
            product *= 1 - (long double)s->betas[t];
            g_assert_cmpfloat (s->betas[t], >, 0);
            g_assert_cmpfloat (s->betas[t], <, 1);
            assert_close (s->alphas_cumprod[t], (double)product, 1e-11);
            g_assert_cmpfloat (s->posterior_variance[t], <=, s->betas[t]);
          }
        g_assert_cmpfloat (s->posterior_variance[0], ==, 0);
      }
}

/* x_t and the right target of each prediction type give x_0 and eps back. */
static void
test_predictions_round_trip (void)
{
  static const float x_start[] = { -1, -0.25f, 0.5f, 2 }, noise[] = { 0.3f, -1.7f, 0.01f, 1 };
  g_autoptr (SumiSchedule) s = sd_schedule ();

  for (guint t = 0; t < 1000; t += 111)
    for (guint p = SUMI_PREDICT_EPSILON; p <= SUMI_PREDICT_SAMPLE; p++)
      {
        float x_t[4], target[4], x0[4], eps[4];

        sumi_schedule_q_sample (s, t, x_start, noise, x_t, 4);
        sumi_schedule_target (s, t, (SumiPrediction)p, x_start, noise, target, 4);
        sumi_schedule_predict (s, t, (SumiPrediction)p, x_t, target, x0, eps, 4);
        for (guint i = 0; i < 4; i++)
          {
            g_assert_cmpfloat_with_epsilon (x0[i], x_start[i], 2e-5);
            g_assert_cmpfloat_with_epsilon (eps[i], noise[i], 2e-5);
          }
      }
}

/* Losses of the three kinds differ by factors of the signal-to-noise ratio: with eps-hat fixed, the error in x_0 is
 * that in eps / sqrt (snr), that in v is error in eps sqrt (1 + 1/snr)...; min-SNR makes all three the same loss. */
static void
test_min_snr_is_one_loss (void)
{
  static const float zero[] = { 0 }, x_start[] = { 0.7f };
  g_autoptr (SumiSchedule) s = sd_schedule ();

  for (guint t = 50; t < 1000; t += 50)
    {
      double loss[3];
      float x_t[1], wrong_start[1] = { 0.5f }, wrong_eps[1], out[1], target[1];

      sumi_schedule_q_sample (s, t, x_start, zero, x_t, 1);
      /* the same wrong guess in three languages */
      sumi_schedule_predict (s, t, SUMI_PREDICT_SAMPLE, x_t, wrong_start, NULL, wrong_eps, 1);
      for (guint p = 0; p < 3; p++)
        {
          sumi_schedule_target (s, t, (SumiPrediction)p, wrong_start, wrong_eps, out, 1);
          sumi_schedule_target (s, t, (SumiPrediction)p, x_start, zero, target, 1);
          loss[p] = (out[0] - target[0]) * (out[0] - target[0])
                    * sumi_schedule_min_snr_weight (s, t, (SumiPrediction)p, 5.0);
        }
      assert_close (loss[SUMI_PREDICT_V], loss[SUMI_PREDICT_EPSILON], 1e-4);
      assert_close (loss[SUMI_PREDICT_SAMPLE], loss[SUMI_PREDICT_EPSILON], 1e-4);
      assert_close (loss[SUMI_PREDICT_SAMPLE], 0.04 * MIN (sumi_schedule_snr (s, t), 5.0), 1e-4);
      g_assert_cmpfloat (sumi_schedule_min_snr_weight (s, t, SUMI_PREDICT_V, 0), ==, 1);
    }
}

static void
test_names (void)
{
  for (guint i = 0; i < SUMI_N_BETAS; i++)
    {
      SumiBetaKind k;
      g_assert_true (sumi_beta_kind_parse (sumi_beta_kind_name ((SumiBetaKind)i), &k, NULL));
      g_assert_cmpint (k, ==, i);
    }
  for (guint i = 0; i < SUMI_N_SPACINGS; i++)
    {
      SumiSpacing k;
      g_assert_true (sumi_spacing_parse (sumi_spacing_name ((SumiSpacing)i), &k, NULL));
      g_assert_cmpint (k, ==, i);
    }
  for (guint i = 0; i <= SUMI_PREDICT_SAMPLE; i++)
    {
      SumiPrediction k;
      g_assert_true (sumi_prediction_parse (sumi_prediction_name ((SumiPrediction)i), &k, NULL));
      g_assert_cmpint (k, ==, i);
    }
  g_assert_false (sumi_prediction_parse ("flow", &(SumiPrediction){ 0 }, NULL));
  g_assert_false (sumi_beta_kind_parse (NULL, &(SumiBetaKind){ 0 }, NULL));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/schedule/zero-snr", test_zero_snr);
  g_test_add_func ("/schedule/reference-table", test_reference_table);
  g_test_add_func ("/schedule/timesteps-are-strict", test_timesteps_are_strict);
  g_test_add_func ("/schedule/timesteps-refused", test_timesteps_refused);
  g_test_add_func ("/schedule/bad", test_bad_schedules);
  g_test_add_func ("/schedule/every-kind", test_every_kind_is_a_schedule);
  g_test_add_func ("/schedule/predictions-round-trip", test_predictions_round_trip);
  g_test_add_func ("/schedule/min-snr", test_min_snr_is_one_loss);
  g_test_add_func ("/schedule/names", test_names);
  return g_test_run ();
}
