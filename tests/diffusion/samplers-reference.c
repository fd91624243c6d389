/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The reference tables: the toy problem run through diffusers' own schedulers (samplers_diffusers.json), and through
 * k-diffusion's samplers as derived anew from the papers (samplers.json); and lists of noise levels. */
#include "toy.h"

#include <math.h>

typedef struct
{
  const char *row, *name;
  SumiSamplerOptions o;
  double tolerance; /* relative, of 1 or the value */
} Row;

/* float32 in the reference; its alphas_cumprod are off by some 1e-6 */
#define F32 2e-6

static const Row theirs[] = {
  { "diffusers_ddim10", "ddim", { .steps = 10, .steps_offset = 1 }, F32 },
  { "diffusers_pndm10", "pndm", { .steps = 10, .steps_offset = 1 }, F32 },
  { "diffusers_ddpm10", "ddpm", { .steps = 10, .steps_offset = 1 }, F32 },
  { "diffusers_euler10_leading", "euler", { .steps = 10, .steps_offset = 1 }, F32 },
  { "diffusers_euler10_karras", "euler", { .steps = 10, .steps_offset = 1, .use_karras_sigmas = TRUE }, F32 },
  { "diffusers_euler_a10", "euler_a", { .steps = 10, .steps_offset = 1, .eta = -1 }, F32 },
  { "diffusers_heun10", "heun", { .steps = 10, .spacing = SUMI_SPACING_LINSPACE }, F32 },
  { "diffusers_dpmpp2m10", "dpmpp_2m", { .steps = 10, .steps_offset = 1 }, F32 },
  { "diffusers_dpmpp2m_karras10", "dpmpp_2m", { .steps = 10, .steps_offset = 1, .use_karras_sigmas = TRUE }, F32 },
  { "diffusers_dpmpp2m_trailing10", "dpmpp_2m", { .steps = 10, .spacing = SUMI_SPACING_TRAILING }, F32 },
  { "diffusers_dpmpp3m10", "dpmpp_2m", { .steps = 10, .steps_offset = 1, .order = 3 }, F32 },
  { "diffusers_sde2m10", "dpmpp_2m_sde", { .steps = 10, .steps_offset = 1, .eta = -1 }, F32 },
  { "diffusers_unipc10", "unipc", { .steps = 10, .steps_offset = 1 }, F32 },
  { "diffusers_unipc3_10", "unipc", { .steps = 10, .steps_offset = 1, .order = 3 }, F32 },
  { "diffusers_unipc_karras10", "unipc", { .steps = 10, .steps_offset = 1, .use_karras_sigmas = TRUE }, F32 },
  { "diffusers_deis10", "deis", { .steps = 10, .steps_offset = 1 }, F32 },
  { "diffusers_deis3_10", "deis", { .steps = 10, .steps_offset = 1, .order = 3 }, F32 },
  { "diffusers_lcm4", "lcm", { .steps = 4 }, F32 },
  { "diffusers_tcd4_eta0.3", "tcd", { .steps = 4, .eta = 0.3 }, F32 },
};

#define KARRAS8                                                                                                        \
  {                                                                                                                    \
    .steps = 8, .spacing = SUMI_SPACING_LINSPACE, .use_karras_sigmas = TRUE, .eta = -1                                 \
  }

static const Row ours[] = {
  { "euler", "euler", KARRAS8, 1e-6 },
  { "euler_a", "euler_a", KARRAS8, 1e-6 },
  { "heun", "heun", KARRAS8, 1e-6 },
  { "dpm2", "dpm2", KARRAS8, 1e-6 },
  { "dpm2_a", "dpm2_a", KARRAS8, 1e-6 },
  { "dpmpp_2m", "dpmpp_2m", KARRAS8, 1e-6 },
  { "dpmpp_2s_a", "dpmpp_2s_a", KARRAS8, 1e-6 },
  { "dpmpp_sde", "dpmpp_sde", KARRAS8, 1e-6 },
  { "dpmpp_2m_sde", "dpmpp_2m_sde", KARRAS8, 1e-6 },
  { "dpmpp_3m_sde", "dpmpp_3m_sde", KARRAS8, 1e-6 },
  { "dpmpp_2m_sde_eta0",
    "dpmpp_2m_sde",
    { .steps = 8, .spacing = SUMI_SPACING_LINSPACE, .use_karras_sigmas = TRUE, .eta = 0 },
    1e-6 },
  { "lms4", "lms", KARRAS8, 1e-6 },
  { "ddim_eta0", "ddim", { .steps = 10, .steps_offset = 1 }, 1e-6 },
  { "ddim_eta1", "ddim", { .steps = 10, .steps_offset = 1, .eta = 1 }, 1e-6 },
  { "plms", "pndm", { .steps = 10, .steps_offset = 1 }, 1e-6 },
};

static void
check_values (const char *row, const float *got, const float *want, double tolerance)
{
  double worst = 0;

  for (guint i = 0; i < TOY_N; i++)
    worst = fmax (worst, fabs (got[i] - want[i]) / fmax (1, fabs (want[i])));
  g_test_message ("%s: %.2g", row, worst);
  if (worst > tolerance)
    g_error ("%s: got %.8g %.8g %.8g %.8g, want %.8g %.8g %.8g %.8g", row, got[0], got[1], got[2], got[3], want[0],
             want[1], want[2], want[3]);
}

static void
check_row (const Row *row, const SumiSchedule *schedule, JsonObject *problem, const float *want, SumiPrediction p,
           gboolean k_diffusion)
{
  SumiSamplerOptions o = row->o;
  g_autofree float *start = NULL, *noise = NULL;
  g_autoptr (SumiSampler) s = NULL;
  float x[TOY_N];
  guint n;

  start = toy_numbers (problem, "x_init_t", &n);
  noise = toy_numbers (problem, "noise", &n);
  o.schedule = schedule;
  o.prediction = p;
  s = toy_sampler (row->name, &o);
  sumi_sampler_start (s, start, x);
  /* the derived ones begin with sigma noise, also where the sampler's own view is the other one */
  if (k_diffusion && !sumi_sampler_is_sigma_view (s))
    for (guint i = 0; i < TOY_N; i++)
      x[i] *= (float)(sumi_sampler_get_sigma (s, 0) / hypot (sumi_sampler_get_sigma (s, 0), 1));
  toy_walk (s, &o, 0, x, noise);
  check_values (row->row, x, want, row->tolerance);
}

static void
check_timesteps (const Row *row, const SumiSchedule *schedule, JsonObject *theirs)
{
  SumiSamplerOptions o = row->o;
  g_autofree float *want = NULL;
  g_autoptr (SumiSampler) s = NULL;
  guint n;

  want = toy_numbers (theirs, "timesteps", &n);
  o.schedule = schedule;
  s = toy_sampler (row->name, &o);
  g_assert_cmpuint (sumi_sampler_get_n_calls (s), ==, n);
  for (guint i = 0; i < n; i++)
    g_assert_cmpfloat_with_epsilon (sumi_sampler_get_timestep (s, i), want[i], 2e-4);
}

static void
test_diffusers (gconstpointer data)
{
  const Row *row = data;
  g_autoptr (JsonParser) p1 = json_parser_new ();
  g_autoptr (JsonParser) p2 = json_parser_new ();
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  JsonObject *problem = toy_table ("samplers.json", p1), *result;
  g_autofree float *want = NULL;
  guint n;

  if (problem == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  result = json_object_get_object_member (toy_table ("samplers_diffusers.json", p2), row->row);
  want = toy_numbers (result, "result", &n);
  check_timesteps (row, schedule, result);
  check_row (row, schedule, problem, want, SUMI_PREDICT_EPSILON, FALSE);
  check_row (row, schedule, problem, want, SUMI_PREDICT_SAMPLE, FALSE);
  if (!g_str_equal (row->name, "pndm")) /* combines v itself: another result */
    check_row (row, schedule, problem, want, SUMI_PREDICT_V, FALSE);
}

static void
test_zero_snr (void)
{
  static const Row row = { "diffusers_ddim10_vpred_zsnr",
                           "ddim",
                           { .steps = 10, .spacing = SUMI_SPACING_TRAILING, .prediction = SUMI_PREDICT_V },
                           F32 };
  g_autoptr (JsonParser) p1 = json_parser_new ();
  g_autoptr (JsonParser) p2 = json_parser_new ();
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  JsonObject *problem = toy_table ("samplers.json", p1), *result;
  g_autofree float *want = NULL;
  guint n;

  if (problem == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  sumi_schedule_rescale_zero_snr (schedule);
  result = json_object_get_object_member (toy_table ("samplers_diffusers.json", p2), row.row);
  want = toy_numbers (result, "result", &n);
  check_timesteps (&row, schedule, result);
  check_row (&row, schedule, problem, want, SUMI_PREDICT_V, FALSE);
}

static void
test_derived (gconstpointer data)
{
  const Row *row = data;
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  JsonObject *problem = toy_table ("samplers.json", parser);
  g_autofree float *want = NULL;
  guint n;

  if (problem == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  want = toy_numbers (json_object_get_object_member (problem, "result"), row->row, &n);
  for (guint p = 0; p <= SUMI_PREDICT_SAMPLE; p++)
    if (p != SUMI_PREDICT_V || !g_str_equal (row->name, "pndm"))
      check_row (row, schedule, problem, want, (SumiPrediction)p, row->o.use_karras_sigmas);
}

static void
check_list (JsonObject *table, const char *member, const SumiSchedule *schedule, const char *name)
{
  g_autofree double *sigmas = sumi_sigmas_of_schedule (schedule, 0);
  g_autofree float *want = NULL;
  double got[10];
  guint n;

  want = toy_numbers (table, member, &n);
  g_assert_cmpuint (n, ==, 11);
  g_assert_true (sumi_sigmas_fill (name, sigmas, schedule->T, FALSE, 10, got, NULL));
  for (guint i = 0; i < 10; i++)
    g_assert_cmpfloat_with_epsilon (got[i], want[i], 2e-7 * want[i]);
}

static void
check_spacing (JsonObject *table, const char *member, SumiSpacing spacing)
{
  g_autofree float *want = NULL;
  guint n;

  want = toy_numbers (table, member, &n);
  g_assert_cmpuint (n, ==, 20);
  for (guint i = 0; i < n; i++)
    g_assert_cmpfloat_with_epsilon (sumi_schedule_spaced (1000, spacing, 1, n, i), want[i], 1e-4);
}

static void
test_schedules (void)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  g_autofree double *sigmas = sumi_sigmas_of_schedule (schedule, 0);
  JsonObject *table = toy_table ("schedules.json", parser);

  if (table == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  g_assert_cmpfloat_with_epsilon (sigmas[0], json_object_get_double_member (table, "sigma_min"), 1e-12);
  g_assert_cmpfloat_with_epsilon (sigmas[999], json_object_get_double_member (table, "sigma_max"), 1e-10);
  check_list (table, "karras10", schedule, "karras");
  check_list (table, "exponential10", schedule, "exponential");
  check_list (table, "exponential10", schedule, "polyexponential");
  check_list (table, "uniform_kdiff10", schedule, "normal");
  check_list (table, "sgm_uniform10", schedule, "sgm_uniform");
  check_spacing (table, "leading20_off1", SUMI_SPACING_LEADING);
  check_spacing (table, "trailing20", SUMI_SPACING_TRAILING);
  check_spacing (table, "linspace20", SUMI_SPACING_LINSPACE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (theirs); i++)
    {
      g_autofree char *path = g_strconcat ("/samplers/", theirs[i].row, NULL);
      g_test_add_data_func (path, &theirs[i], test_diffusers);
    }
  for (guint i = 0; i < G_N_ELEMENTS (ours); i++)
    {
      g_autofree char *path = g_strconcat ("/samplers/derived/", ours[i].row, NULL);
      g_test_add_data_func (path, &ours[i], test_derived);
    }
  g_test_add_func ("/samplers/diffusers_ddim10_vpred_zsnr", test_zero_snr);
  g_test_add_func ("/samplers/schedules", test_schedules);
  return g_test_run ();
}
