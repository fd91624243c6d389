/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Samplers on a problem that is solved exactly: data ~ N (mu, s2), whose best denoiser is known in closed form.
 * The reference tables hold the same problem run through other people's samplers. */
#include "diffusion/guidance.h"
#include "diffusion/sampler-private.h"

#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

#define MU 0.3
#define S2 0.25
#define MAX_N 4

/* E [x_0 | x_t] of Gaussian data, and what a perfect model of each prediction type says. */
static float
perfect_model (const SumiSchedule *s, guint t, SumiPrediction p, double x)
{
  double a = s->alphas_cumprod[t], x0 = MU + sqrt (a) * S2 / (a * S2 + 1 - a) * (x - sqrt (a) * MU);
  double eps = (x - sqrt (a) * x0) / sqrt (1 - a);

  switch (p)
    {
    case SUMI_PREDICT_V:
      return (float)(sqrt (a) * eps - sqrt (1 - a) * x0);
    case SUMI_PREDICT_SAMPLE:
      return (float)x0;
    default:
      return (float)eps;
    }
}

/* The probability flow of Gaussian data keeps the quantile: the exact end of DDIM. */
static double
exact_end (const SumiSchedule *s, guint t, double x)
{
  double a = s->alphas_cumprod[t];

  return MU + sqrt (S2 / (a * S2 + 1 - a)) * (x - sqrt (a) * MU);
}

static SumiSchedule *
sd_schedule (void)
{
  return sumi_schedule_new (SUMI_BETAS_SCALED_LINEAR, 1000, 0.00085, 0.012, NULL);
}

static SumiSampler *
sampler (const char *name, const SumiSchedule *s, const guint *timesteps, guint n, SumiPrediction p, double eta,
         double final)
{
  g_autoptr (GError) error = NULL;
  SumiSamplerOptions o = { .schedule = s,
                           .prediction = p,
                           .timesteps = timesteps,
                           .steps = n,
                           .final_alpha_cumprod = final,
                           .eta = eta,
                           .n_values = MAX_N };
  SumiSampler *sampler = sumi_sampler_new (name, &o, &error);

  g_assert_no_error (error);
  return sampler;
}

/* Walks x to the end; noise (MAX_N a call) may be NULL. */
static void
walk (SumiSampler *sampler, float *x, const float *noise)
{
  for (guint call = 0; call < sumi_sampler_get_n_calls (sampler); call++)
    {
      float output[MAX_N];

      for (guint i = 0; i < MAX_N; i++)
        output[i] = perfect_model (sampler->o.schedule, sumi_sampler_get_timestep (sampler, call),
                                   sampler->o.prediction, x[i]);
      sumi_sampler_step (sampler, call, x, output, NULL, noise != NULL ? noise + call * MAX_N : NULL);
    }
}

static JsonObject *
load_table (const char *name, JsonParser *parser)
{
  const char *golden = g_getenv ("SUMI_GOLDEN");
  g_autofree char *path = NULL;
  g_autoptr (GError) error = NULL;

  if (golden == NULL)
    return NULL;
  path = g_build_filename (golden, "basics", name, NULL);
  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  return json_node_get_object (json_parser_get_root (parser));
}

static void
check_row (const char *row, JsonObject *problem, JsonArray *timesteps, JsonArray *want, const char *name, double eta,
           SumiPrediction p)
{
  g_autoptr (SumiSchedule) s = sd_schedule ();
  guint n = json_array_get_length (timesteps);
  g_autofree guint *steps = g_new (guint, n);
  g_autofree float *noise = g_new (float, n *MAX_N);
  JsonArray *start = json_object_get_array_member (problem, "x_init_t");
  JsonArray *draws = json_object_get_array_member (problem, "noise");
  g_autoptr (SumiSampler) walker = NULL;
  float x[MAX_N];

  for (guint i = 0; i < n; i++)
    {
      steps[i] = (guint)json_array_get_double_element (timesteps, i);
      for (guint j = 0; j < MAX_N; j++)
        noise[i * MAX_N + j] = (float)json_array_get_double_element (json_array_get_array_element (draws, i), j);
    }
  for (guint j = 0; j < MAX_N; j++)
    x[j] = (float)json_array_get_double_element (start, j);
  /* set_alpha_to_one is false in Stable Diffusion's settings; ddpm always lands on x_0 */
  walker = sampler (name, s, steps, n, p, eta, strcmp (name, "ddpm") == 0 ? 1.0 : s->alphas_cumprod[0]);
  walk (walker, x, noise);
  for (guint j = 0; j < MAX_N; j++)
    {
      double w = json_array_get_double_element (want, j);
      if (fabs (x[j] - w) > 2e-6 * MAX (1, fabs (w)))
        g_error ("%s: value %u is %.8g, want %.8g", row, j, x[j], w);
    }
}

static void
test_reference_rows (void)
{
  g_autoptr (JsonParser) p1 = json_parser_new ();
  g_autoptr (JsonParser) p2 = json_parser_new ();
  JsonObject *own = load_table ("samplers.json", p1), *theirs = load_table ("samplers_diffusers.json", p2), *result;
  static const struct
  {
    const char *row, *name;
  } rows[] = { { "diffusers_ddim10", "ddim" }, { "diffusers_ddpm10", "ddpm" } };

  if (own == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    for (guint p = 0; p <= SUMI_PREDICT_SAMPLE; p++)
      {
        JsonObject *row = json_object_get_object_member (theirs, rows[i].row);
        check_row (rows[i].row, own, json_object_get_array_member (row, "timesteps"),
                   json_object_get_array_member (row, "result"), rows[i].name, 0.0, (SumiPrediction)p);
      }
  result = json_object_get_object_member (own, "result");
  check_row ("ddim_eta0", own, json_object_get_array_member (own, "timesteps"),
             json_object_get_array_member (result, "ddim_eta0"), "ddim", 0.0, SUMI_PREDICT_EPSILON);
  check_row ("ddim_eta1", own, json_object_get_array_member (own, "timesteps"),
             json_object_get_array_member (result, "ddim_eta1"), "ddim", 1.0, SUMI_PREDICT_EPSILON);
}

static double
ddim_error (const SumiSchedule *s, guint n)
{
  g_autofree guint *steps = g_new (guint, n);
  float x[MAX_N] = { 1, -0.5f, 0.25f, 2 }, start[MAX_N];
  g_autoptr (SumiSampler) walker = NULL;
  double worst = 0;

  memcpy (start, x, sizeof x);
  g_assert_true (sumi_schedule_timesteps (s->T, SUMI_SPACING_TRAILING, 0, n, steps, NULL));
  walker = sampler ("ddim", s, steps, n, SUMI_PREDICT_V, 0, 1);
  walk (walker, x, NULL);
  for (guint i = 0; i < MAX_N; i++)
    worst = MAX (worst, fabs (x[i] - exact_end (s, s->T - 1, start[i])));
  return worst;
}

/* A method of first order: twice the steps, half the error. */
static void
test_ddim_is_first_order (void)
{
  g_autoptr (SumiSchedule) s = sumi_schedule_new (SUMI_BETAS_SCALED_LINEAR, 8000, 0.00085 / 8, 0.012 / 8, NULL);

  for (guint n = 50; n < 400; n *= 2)
    {
      double ratio = ddim_error (s, n) / ddim_error (s, 2 * n);

      g_assert_cmpfloat (ratio, >, 1.8);
      g_assert_cmpfloat (ratio, <, 2.2);
    }
  g_assert_cmpfloat (ddim_error (s, 400), <, 0.011);
}

/* With the perfect model of Gaussian data a step is affine in x and noise, so mean and variance can be followed
 * exactly, without drawing anything: they must end as the data's, but for the error of 1000 steps. */
static void
check_moments (const char *name, double eta, SumiVariance variance, double tolerance)
{
  g_autoptr (SumiSchedule) s = sd_schedule ();
  g_autofree guint *steps = g_new (guint, s->T);
  g_autoptr (SumiSampler) walker = NULL;
  /* This schedule leaves some signal at T: begin with what q (x_T) really is. */
  double end = s->alphas_cumprod[s->T - 1], mean = sqrt (end) * MU, var = end * S2 + 1 - end;

  g_assert_true (sumi_schedule_timesteps (s->T, SUMI_SPACING_TRAILING, 0, s->T, steps, NULL));
  walker = sampler (name, s, steps, s->T, SUMI_PREDICT_EPSILON, eta, 1);
  walker->o.variance = variance;
  for (guint call = 0; call < s->T; call++)
    {
      /* x = 0, x = 1, x = 0 with noise 1 */
      float x[MAX_N] = { 0, 1, 0, 0 }, noise[MAX_N] = { 0, 0, 1, 0 }, output[MAX_N];
      guint t = sumi_sampler_get_timestep (walker, call);
      double slope;

      for (guint i = 0; i < MAX_N; i++)
        output[i] = perfect_model (s, t, SUMI_PREDICT_EPSILON, x[i]);
      sumi_sampler_step (walker, call, x, output, NULL, noise);
      slope = x[1] - x[0];
      mean = x[0] + slope * mean;
      var = slope * slope * var + (x[2] - x[0]) * (x[2] - x[0]);
    }
  g_assert_cmpfloat_with_epsilon (mean, MU, tolerance);
  g_assert_cmpfloat_with_epsilon (var, S2, tolerance);
  g_test_message ("%s eta %g: mean %g variance %g", name, eta, mean, var);
}

static void
test_moments (void)
{
  check_moments ("ddpm", 0, SUMI_VARIANCE_FIXED_SMALL, 0.01);
  check_moments ("ddpm", 0, SUMI_VARIANCE_FIXED_LARGE, 0.01);
  check_moments ("ddim", 0, SUMI_VARIANCE_FIXED_SMALL, 0.01);
  check_moments ("ddim", 0.5, SUMI_VARIANCE_FIXED_SMALL, 0.01);
  check_moments ("ddim", 1, SUMI_VARIANCE_FIXED_SMALL, 0.01);
}

/* Song et al. 2021, section 4.1: eta = 1 is DDPM with the posterior variance. */
static void
test_ddim_eta1_is_ddpm (void)
{
  g_autoptr (SumiSchedule) s = sd_schedule ();
  guint steps[10];

  g_assert_true (sumi_schedule_timesteps (s->T, SUMI_SPACING_TRAILING, 0, 10, steps, NULL));
  for (guint p = 0; p <= SUMI_PREDICT_SAMPLE; p++)
    {
      g_autoptr (SumiSampler) ddim = sampler ("ddim", s, steps, 10, (SumiPrediction)p, 1, 1);
      g_autoptr (SumiSampler) ddpm = sampler ("ddpm", s, steps, 10, (SumiPrediction)p, 0, 1);
      float a[MAX_N] = { 1, -0.5f, 0.25f, 2 }, b[MAX_N] = { 1, -0.5f, 0.25f, 2 }, noise[10 * MAX_N];

      for (guint i = 0; i < G_N_ELEMENTS (noise); i++)
        noise[i] = sinf (i * i);
      walk (ddim, a, noise);
      walk (ddpm, b, noise);
      for (guint i = 0; i < MAX_N; i++)
        g_assert_cmpfloat_with_epsilon (a[i], b[i], 5e-6);
    }
}

/* The model's variance channels: -1 is the posterior variance, +1 is beta. */
static void
test_learned_range_ends (void)
{
  g_autoptr (SumiSchedule) s = sd_schedule ();
  static const guint steps[] = { 900, 500, 100 };
  static const SumiVariance fixed[] = { SUMI_VARIANCE_FIXED_SMALL, SUMI_VARIANCE_FIXED_LARGE };

  for (guint k = 0; k < 2; k++)
    {
      g_autoptr (SumiSampler) learned = sampler ("ddpm", s, steps, 3, SUMI_PREDICT_EPSILON, 0, 1);
      g_autoptr (SumiSampler) plain = sampler ("ddpm", s, steps, 3, SUMI_PREDICT_EPSILON, 0, 1);
      float a[MAX_N] = { 1, -0.5f, 0.25f, 2 }, b[MAX_N] = { 1, -0.5f, 0.25f, 2 };
      float output[2 * MAX_N] = { 0.1f, 0.2f, 0.3f, 0.4f }, noise[MAX_N] = { 1, -1, 2, 0.5f };

      learned->o.variance = SUMI_VARIANCE_LEARNED_RANGE;
      plain->o.variance = fixed[k];
      for (guint i = 0; i < MAX_N; i++)
        output[MAX_N + i] = k == 0 ? -1 : 1;
      sumi_sampler_step (learned, 0, a, output, NULL, noise);
      sumi_sampler_step (plain, 0, b, output, NULL, noise);
      for (guint i = 0; i < MAX_N; i++)
        g_assert_cmpfloat_with_epsilon (a[i], b[i], 1e-6);
    }
}

static void
test_walk_and_clip (void)
{
  g_autoptr (SumiSchedule) s = sd_schedule ();
  static const guint steps[] = { 999, 500, 0 };
  g_autoptr (SumiSampler) to_data = sampler ("ddpm", s, steps, 3, SUMI_PREDICT_SAMPLE, 0, 1);
  g_autoptr (SumiSampler) to_zero = sampler ("ddim", s, steps, 3, SUMI_PREDICT_SAMPLE, 0, 0);
  float x[MAX_N] = { 0 }, output[MAX_N] = { -3, -1, 0.5f, 7 }, noise[MAX_N] = { 9, 9, 9, 9 };

  g_assert_cmpuint (sumi_sampler_get_n_calls (to_data), ==, 3);
  g_assert_cmpuint (sumi_sampler_get_n_calls (to_zero), ==, 2);
  g_assert_true (sumi_sampler_needs_noise (to_data, 0));
  g_assert_false (sumi_sampler_needs_noise (to_data, 2));
  g_assert_false (sumi_sampler_needs_noise (to_zero, 0));
  /* the last step lands on the clipped x_0, and no noise comes near it */
  to_data->o.clip_sample = TRUE;
  sumi_sampler_step (to_data, 2, x, output, NULL, noise);
  g_assert_cmpfloat (x[0], ==, -1);
  g_assert_cmpfloat (x[1], ==, -1);
  g_assert_cmpfloat (x[2], ==, 0.5f);
  g_assert_cmpfloat (x[3], ==, 1);
  g_assert_cmpfloat (sumi_sampler_peek_x_start (to_data)[3], ==, 1);
}

static void
test_refusals (void)
{
  g_autoptr (SumiSchedule) s = sd_schedule ();
  static const guint good[] = { 999, 0 }, equal[] = { 5, 5 }, high[] = { 1000, 0 };
  const struct
  {
    const char *name;
    const guint *steps;
    guint n;
    double eta, final;
  } bad[] = { { "nothing", good, 2, 0, 1 }, { NULL, good, 2, 0, 1 },       { "ddim", equal, 2, 0, 1 },
              { "ddim", high, 2, 0, 1 },    { "ddim", good, 0, 0, 1 },     { "ddim", good, 1, 0, 0 },
              { "ddim", good, 2, 1.5, 1 },  { "ddim", good, 2, 1.001, 1 }, { "ddim", good, 2, NAN, 1 },
              { "ddim", good, 2, 0, 2 },    { "ddim", good, 2, 0, NAN } };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr (GError) error = NULL;
      SumiSamplerOptions o = { .schedule = s,
                               .timesteps = bad[i].steps,
                               .steps = bad[i].n,
                               .final_alpha_cumprod = bad[i].final,
                               .eta = bad[i].eta,
                               .n_values = 1 };
      g_assert_null (sumi_sampler_new (bad[i].name, &o, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
    }
  for (const char *const *name = sumi_sampler_list (); *name != NULL; name++)
    g_assert_cmpstr (sumi_sampler_title (*name), !=, *name);
}

static void
test_guidance (void)
{
  static const float uncond[] = { 0.1f, -3, 1e-9f, 7 }, cond[] = { 0.3f, 2, 5, 7 };
  float out[4];

  sumi_guidance_combine (uncond, cond, 1, out, 4);
  g_assert_cmpmem (out, sizeof out, cond, sizeof cond);
  sumi_guidance_combine (uncond, cond, 0, out, 4);
  g_assert_cmpmem (out, sizeof out, uncond, sizeof uncond);
  sumi_guidance_combine (uncond, cond, 3, out, 4);
  g_assert_cmpfloat_with_epsilon (out[0], 0.7, 1e-6);
  g_assert_cmpfloat_with_epsilon (out[1], 12, 1e-6);
  g_assert_cmpfloat (out[3], ==, 7);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/samplers/reference-rows", test_reference_rows);
  g_test_add_func ("/samplers/ddim-first-order", test_ddim_is_first_order);
  g_test_add_func ("/samplers/moments", test_moments);
  g_test_add_func ("/samplers/ddim-eta1-is-ddpm", test_ddim_eta1_is_ddpm);
  g_test_add_func ("/samplers/learned-range", test_learned_range_ends);
  g_test_add_func ("/samplers/walk-and-clip", test_walk_and_clip);
  g_test_add_func ("/samplers/refusals", test_refusals);
  g_test_add_func ("/samplers/guidance", test_guidance);
  return g_test_run ();
}
