/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Samplers: what must be the same as what, where a walk goes, and what is refused. */
#include "diffusion/guidance.h"
#include "toy.h"

#include <math.h>
#include <string.h>

static const float start_noise[TOY_N] = { 1, -0.5f, 0.25f, 2 };

/* Any numbers, the same every time: enough for 40 draws. */
static const float *
some_noise (void)
{
  static float noise[40 * TOY_N];

  for (guint i = 0; i < G_N_ELEMENTS (noise); i++)
    noise[i] = sinf (i * i);
  return noise;
}

static void
assert_same (const float *a, const float *b, double epsilon)
{
  for (guint i = 0; i < TOY_N; i++)
    g_assert_cmpfloat_with_epsilon (a[i], b[i], epsilon);
}

/* From the start to the end of a walk that lands on the picture; x has TOY_N places. */
static void
draw (const char *name, const SumiSamplerOptions *o, float *x)
{
  g_autoptr (SumiSampler) s = toy_sampler (name, o);
  gboolean sigma_view = sumi_sampler_is_sigma_view (s);

  /* the same place in both views */
  for (guint i = 0; i < TOY_N; i++)
    x[i] = sigma_view ? (float)(start_noise[i] * hypot (sumi_sampler_get_sigma (s, 0), 1)) : start_noise[i];
  toy_walk (s, o, 0, x, some_noise ());
}

/* ---- what is the same ---- */

/* Ways to write one method: same timesteps, same noise, any prediction type. */
static void
test_same (void)
{
  static const guint timesteps[] = { 981, 860, 741, 620, 499, 380, 251, 120, 1 };
  static const struct
  {
    const char *a;
    double eta_a;
    guint order_a;
    const char *b;
    double eta_b;
    guint order_b;
  } same[] = { { "ddim", 1, 0, "ddpm", 0, 0 },        /* Song et al. 2021, section 4.1 */
               { "euler_a", 1, 0, "ddpm", 0, 0 },     /* the ancestral step is DDPM's in the other view */
               { "euler_a", 0.5, 0, "ddim", 0.5, 0 }, /* and DDIM's with another eta */
               { "euler", 0, 0, "ddim", 0, 0 },
               { "euler_a", 0, 0, "euler", 0, 0 },
               { "lms", 0, 1, "euler", 0, 0 },
               { "pndm", 0, 1, "ddim", 0, 0 },
               { "deis", 0, 1, "ddim", 0, 0 },     /* Zhang & Chen 2023, proposition 2 */
               { "dpmpp_2m", 0, 1, "ddim", 0, 0 }, /* Lu et al. 2022b, section 4.1 */
               { "tcd", 0, 0, "ddim", 0, 0 },
               { "dpm2_a", 0, 0, "dpm2", 0, 0 },
               { "dpmpp_sde", 0, 0, "dpmpp_2s_a", 0, 0 },
               { "dpmpp_2m_sde", 0, 0, "dpmpp_2m", 0, 2 } };
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);

  for (guint i = 0; i < G_N_ELEMENTS (same); i++)
    for (guint p = 0; p <= SUMI_PREDICT_SAMPLE; p++)
      {
        SumiSamplerOptions o = { .schedule = schedule,
                                 .prediction = (SumiPrediction)p,
                                 .timesteps = timesteps,
                                 .steps = G_N_ELEMENTS (timesteps),
                                 .final_alpha_cumprod = 1,
                                 .eta = same[i].eta_a,
                                 .order = same[i].order_a };
        float a[TOY_N], b[TOY_N];

        draw (same[i].a, &o, a);
        o.eta = same[i].eta_b;
        o.order = same[i].order_b;
        draw (same[i].b, &o, b);
        g_test_message ("%s and %s", same[i].a, same[i].b);
        assert_same (a, b, 5e-6);
      }
}

/* CFG++ (Chung et al. 2024) where both outputs are one is no guidance at all; where they are not, the four samplers
 * take the same first step, D + n / s (x - D_uncond), from which the formulas of B11 follow. */
static void
test_cfg_pp (void)
{
  static const char *const names[] = { "ddim", "euler", "euler_a", "dpmpp_2m" };
  static const guint timesteps[] = { 900, 500, 200 };
  static const float uncond[TOY_N] = { 0.5f, -1, 0.2f, 1.5f };
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      SumiSamplerOptions o = {
        .schedule = schedule, .timesteps = timesteps, .steps = G_N_ELEMENTS (timesteps), .final_alpha_cumprod = 1
      };
      g_autoptr (SumiSampler) plain = toy_sampler (names[i], &o), same = toy_sampler (names[i], &o);
      g_autoptr (SumiSampler) other = toy_sampler (names[i], &o);
      double from = sumi_sampler_get_sigma (plain, 0), to = sumi_sampler_get_sigma (plain, 1);
      double view_from = sumi_sampler_is_sigma_view (plain) ? 1 : hypot (from, 1);
      double view_to = sumi_sampler_is_sigma_view (plain) ? 1 : hypot (to, 1);
      float a[TOY_N], b[TOY_N], c[TOY_N], input[TOY_N], output[TOY_N];

      g_assert_true (sumi_sampler_has_cfg_pp (names[i]));
      sumi_sampler_start (plain, start_noise, a);
      memcpy (b, a, sizeof a);
      memcpy (c, a, sizeof a);
      for (guint call = 0; call < 3; call++)
        {
          sumi_sampler_model_input (plain, call, a, input);
          toy_model (&o, sumi_sampler_get_sigma (plain, call), input, output);
          if (call == 0)
            sumi_sampler_step (other, call, c, output, uncond, NULL);
          sumi_sampler_step (plain, call, a, output, NULL, NULL);
          sumi_sampler_step (same, call, b, output, output, NULL);
          assert_same (a, b, 2e-6);
          if (call == 0)
            for (guint k = 0; k < TOY_N; k++)
              {
                double x = sumi_sampler_is_sigma_view (plain) ? start_noise[k] * hypot (from, 1) : start_noise[k];

                x = x * view_from - from * output[k]; /* D */
                g_assert_cmpfloat_with_epsilon (c[k], (x + to * uncond[k]) / view_to, 5e-6);
              }
        }
    }
  g_assert_false (sumi_sampler_has_cfg_pp ("heun"));
  g_assert_false (sumi_sampler_has_cfg_pp ("nothing"));
}

/* The second step of DPM++ 2M with CFG++, by ComfyUI's formula in k-diffusion's view: x = D + e^-h (x - U)
 * - expm1 (-h) / (2 r) (D - U_old). */
static void
test_cfg_pp_second_step (void)
{
  static const guint timesteps[] = { 900, 500, 200 };
  static const float uncond[2][TOY_N] = { { 0.5f, -1, 0.2f, 1.5f }, { -0.3f, 0.8f, 1, 0 } };
  static const float cond[2][TOY_N] = { { 1, 0.3f, -1, 2 }, { 0.1f, 0.2f, -0.3f, 0.4f } };
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  SumiSamplerOptions o = { .schedule = schedule, .timesteps = timesteps, .steps = 3, .final_alpha_cumprod = 1 };
  g_autoptr (SumiSampler) s = toy_sampler ("dpmpp_2m", &o);
  double s0 = sumi_sampler_get_sigma (s, 0), s1 = sumi_sampler_get_sigma (s, 1), s2 = sumi_sampler_get_sigma (s, 2);
  double h = log (s1 / s2), r = log (s0 / s1) / h;
  float x[TOY_N], before[TOY_N];

  memcpy (x, start_noise, sizeof x);
  sumi_sampler_step (s, 0, x, cond[0], uncond[0], NULL);
  memcpy (before, x, sizeof x);
  sumi_sampler_step (s, 1, x, cond[1], uncond[1], NULL);
  for (guint i = 0; i < TOY_N; i++)
    {
      double old_uncond = start_noise[i] * hypot (s0, 1) - s0 * uncond[0][i], k = before[i] * hypot (s1, 1);
      double d = k - s1 * cond[1][i], u = k - s1 * uncond[1][i];
      double want = d + exp (-h) * (k - u) - expm1 (-h) / (2 * r) * (d - old_uncond);

      g_assert_cmpfloat_with_epsilon (x[i] * hypot (s2, 1), want, 2e-5);
    }
}

/* ---- where a walk goes ---- */

static void
test_image_to_image (void)
{
  static const float x_0[TOY_N] = { 0.1f, 0.9f, -0.4f, 0 };
  static const struct
  {
    const char *name;
    double strength;
    guint call;
  } rows[] = { { "ddim", 0.6, 4 },      { "dpmpp_2m", 0.6, 4 }, { "euler_a", 0.6, 4 }, { "heun", 0.6, 8 },
               { "dpmpp_sde", 0.6, 8 }, { "ddim", 1, 0 },       { "heun", 1, 0 },      { "ddim", 0, 10 },
               { "heun", 0, 19 },       { "ddim", 0.19, 9 },    { "ddim", 0.05, 10 },  { "pndm", 0.6, 5 },
               { "ddim", NAN, 10 },     { "ddim", 7, 0 } };
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      SumiSamplerOptions o = { .schedule = schedule, .steps = 10, .steps_offset = 1 };
      g_autoptr (SumiSampler) s = toy_sampler (rows[i].name, &o);
      guint first = sumi_sampler_first_call (s, rows[i].strength);
      double sigma = sumi_sampler_get_sigma (s, first), a = 1 / (1 + sigma * sigma);
      float x[TOY_N];

      g_assert_cmpuint (first, ==, rows[i].call);
      sumi_sampler_add_noise (s, first, x_0, start_noise, x);
      if (first == sumi_sampler_get_n_calls (s))
        g_assert_cmpmem (x, sizeof x, x_0, sizeof x_0);
      else
        for (guint k = 0; k < TOY_N; k++)
          g_assert_cmpfloat_with_epsilon (x[k],
                                          sumi_sampler_is_sigma_view (s)
                                              ? x_0[k] + sigma * start_noise[k]
                                              : sqrt (a) * x_0[k] + sqrt (1 - a) * start_noise[k],
                                          2e-6);
      /* what the model sees there is q (x_t | x_0) of the training */
      sumi_sampler_model_input (s, MIN (first, sumi_sampler_get_n_calls (s) - 1), x, x);
      if (first < sumi_sampler_get_n_calls (s))
        {
          float q[TOY_N];

          sumi_schedule_q_sample (schedule, (guint)sumi_sampler_get_timestep (s, first), x_0, start_noise, q, TOY_N);
          assert_same (x, q, 2e-6);
        }
    }
}

/* diffusers' PNDM, begun late, as its code does it: the list of timesteps is cut, the first step taken twice, the walk
 * one timestep ahead from then on. */
static void
test_pndm_as_diffusers (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  const double *ac = schedule->alphas_cumprod;
  static const float e[] = { 0.5f, 0.3f, 0.2f }; /* what the model says, call after call */

  for (guint first = 1; first < 8; first++)
    {
      SumiSamplerOptions o = { .schedule = schedule, .steps = 10, .steps_offset = 1, .follow_diffusers = TRUE };
      g_autoptr (SumiSampler) s = toy_sampler ("pndm", &o);
      float x[TOY_N] = { 1, 1, 1, 1 };
      double start = 1, want = 1;

      g_assert_cmpuint (sumi_sampler_first_call (s, (10 - first) / 10.0 + 1e-9), ==, first);
      for (guint k = 0; k < 3; k++)
        {
          guint t = (guint)sumi_sampler_get_timestep (s, first + k), from = k == 1 ? t + 100 : t, to = from - 100;
          double a = ac[from], b = from >= 100 ? ac[to] : ac[0];
          double eps = k == 0 ? e[0] : k == 1 ? (e[0] + e[1]) / 2 : (3 * e[2] - e[0]) / 2;
          float output[TOY_N] = { e[k], e[k], e[k], e[k] };

          if (k == 1)
            want = start;
          want = sqrt (b / a) * want - (b - a) * eps / (a * sqrt (1 - b) + sqrt (a * (1 - a) * b));
          sumi_sampler_step (s, first + k, x, output, NULL, NULL);
          g_assert_cmpfloat_with_epsilon (x[0], want, 1e-5);
        }
    }
}

/* diffusers' LMS, begun late: the weights of the full order, as far as there is something to weigh. */
static void
test_lms_as_diffusers (void)
{
  static const float e[] = { 0.5f, 0.3f };
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  SumiSamplerOptions o = { .schedule = schedule, .steps = 10, .steps_offset = 1, .order = 2, .follow_diffusers = TRUE };
  g_autoptr (SumiSampler) s = toy_sampler ("lms", &o);
  float x[TOY_N] = { 1, 1, 1, 1 };
  double want = 1;

  for (guint call = 4; call < 6; call++)
    {
      double old = sumi_sampler_get_sigma (s, call - 1), from = sumi_sampler_get_sigma (s, call);
      double to = sumi_sampler_get_sigma (s, call + 1), h = to - from, r = h / (2 * (from - old));
      float output[TOY_N] = { e[call - 4], e[call - 4], e[call - 4], e[call - 4] };

      want += h * (1 + r) * e[call - 4] - (call > 4 ? h * r * e[0] : 0);
      sumi_sampler_step (s, call, x, output, NULL, NULL);
      g_assert_cmpfloat_with_epsilon (x[0], want, 1e-5);
    }
}

/* Every sampler may begin anywhere, and ends near where the exact flow does. */
static void
test_begin_anywhere (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);

  for (const char *const *name = sumi_sampler_list (); *name != NULL; name++)
    for (guint k = 0; k <= 30; k += 5)
      {
        SumiSamplerOptions o = { .schedule = schedule, .steps = 30, .steps_offset = 1, .eta = 0, .order = 0 };
        g_autoptr (SumiSampler) s = toy_sampler (*name, &o);
        guint first = sumi_sampler_first_call (s, k / 30.0 + 1e-9);
        static const float x_0[TOY_N] = { 0.3f, 0.3f, 0.3f, 0.3f };
        float x[TOY_N];
        double sigma = sumi_sampler_get_sigma (s, first);

        sumi_sampler_add_noise (s, first, x_0, start_noise, x);
        toy_walk (s, &o, first, x, NULL);
        for (guint i = 0; i < TOY_N && k > 0; i++)
          {
            double exact = toy_end (sigma, 0.3 + sigma * start_noise[i]);

            /* without their noise ddpm and lcm only draw near the mean */
            if (strcmp (*name, "ddpm") != 0 && strcmp (*name, "lcm") != 0)
              g_assert_cmpfloat_with_epsilon (x[i], exact, 0.15);
            else
              g_assert_cmpfloat (fabs (x[i] - 0.3), <=, fabs (exact - 0.3) + 0.01);
          }
      }
}

/* Lists of sigmas: as A1111, the last but one of n + 1 is left out where k-diffusion's sampler wants that; the start is
 * sigma noise; what the model is told lies between timesteps. */
static void
test_lists (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  g_autofree double *table = sumi_sigmas_of_schedule (schedule, 0);
  double eight[8], nine[9];

  g_assert_true (sumi_sigmas_fill ("karras", table, 1000, FALSE, 8, eight, NULL));
  g_assert_true (sumi_sigmas_fill ("karras", table, 1000, FALSE, 9, nine, NULL));
  for (const char *const *name = sumi_sampler_list (); *name != NULL; name++)
    {
      SumiSamplerOptions o = { .schedule = schedule, .sigmas = "karras", .steps = 8, .eta = -1 };
      g_autoptr (SumiSampler) s = toy_sampler (*name, &o);
      gboolean discards
          = g_str_equal (*name, "dpm2") || g_str_equal (*name, "dpm2_a") || g_str_equal (*name, "dpmpp_3m_sde");
      float x[TOY_N];
      guint at = 0;

      for (guint call = 0; call < sumi_sampler_get_n_calls (s); call++)
        if (at < 8 && fabs (sumi_sampler_get_sigma (s, call) - (discards ? nine : eight)[at]) < 1e-12)
          {
            double t = sumi_sampler_get_timestep (s, call);

            at++;
            g_assert_cmpfloat_with_epsilon (sumi_sigmas_from_timestep (table, 1000, t),
                                            sumi_sampler_get_sigma (s, call), 1e-9);
          }
      g_assert_cmpuint (at, ==, 8);
      g_assert_cmpfloat (sumi_sampler_get_sigma (s, sumi_sampler_get_n_calls (s)), ==, 0);
      sumi_sampler_start (s, start_noise, x);
      sumi_sampler_model_input (s, 0, x, x);
      for (guint i = 0; i < TOY_N; i++)
        g_assert_cmpfloat_with_epsilon (x[i], start_noise[i] * eight[0] / hypot (eight[0], 1), 2e-6);
    }
}

/* Any sampler with any list and any number of steps: an ordered walk within the model's timesteps and a finite end, or
 * an error. */
static void
check_walk (const char *name, const SumiSamplerOptions *options, guint *refused)
{
  g_autoptr (GError) error = NULL;
  SumiSamplerOptions o = *options;
  g_autoptr (SumiSampler) s = NULL;
  float x[TOY_N];

  o.n_values = TOY_N;
  s = sumi_sampler_new (name, &o, &error);
  if (s == NULL)
    {
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
      ++*refused;
      return;
    }
  for (guint call = 0; call < sumi_sampler_get_n_calls (s); call++)
    {
      double t = sumi_sampler_get_timestep (s, call);

      g_assert_true (t >= 0 && t <= o.schedule->T - 1);
      g_assert_true (sumi_sampler_get_sigma (s, call) > 0);
    }
  sumi_sampler_start (s, start_noise, x);
  toy_walk (s, &o, 0, x, NULL);
  for (guint i = 0; i < TOY_N; i++)
    /* few steps of DPM2 or Heun are wild, and more from a sigma of thousands */
    if (!isfinite (x[i]) || (o.steps >= 14 && o.schedule->alphas_cumprod[999] > 0 && fabs (x[i]) > 3))
      g_error ("%s, %s, %u steps: ends at %g", name, o.sigmas != NULL ? o.sigmas : "timesteps", o.steps, x[i]);
}

static void
test_any_walk (void)
{
  static const guint numbers[] = { 1, 2, 3, 4, 14, 15, 50, 999, 1000, 1001, 0, G_MAXUINT };

  for (guint zero_snr = 0; zero_snr < 2; zero_snr++)
    {
      g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
      guint refused = 0, walks = 0;

      if (zero_snr)
        sumi_schedule_rescale_zero_snr (schedule);
      for (const char *const *name = sumi_sampler_list (); *name != NULL; name++)
        for (guint n = 0; n < G_N_ELEMENTS (numbers); n++)
          {
            SumiSamplerOptions o
                = { .schedule = schedule, .prediction = SUMI_PREDICT_V, .steps = numbers[n], .eta = -1, .sdxl = n % 2 };

            for (const char *const *list = sumi_sigmas_list (); *list != NULL; list++, walks++)
              {
                o.sigmas = *list;
                check_walk (*name, &o, &refused);
              }
            o.sigmas = NULL;
            for (guint spacing = 0; spacing < SUMI_N_SPACINGS; spacing++)
              for (guint karras = 0; karras < 2; karras++, walks++)
                {
                  o.spacing = (SumiSpacing)spacing;
                  o.use_karras_sigmas = karras;
                  check_walk (*name, &o, &refused);
                }
          }
      g_test_message ("%u of %u refused", refused, walks);
      g_assert_cmpuint (refused, >=, walks / 4); /* 0, 1001 and the largest number at least */
      g_assert_cmpuint (refused, <, walks / 2);
    }
}

/* A slope that is a little wrong at the end of the first step, from next to no signal, must not spoil the rest. */
static void
test_from_noise (void)
{
  static const char *const names[] = { "heun", "dpm2", "dpm2_a" };
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);

  sumi_schedule_rescale_zero_snr (schedule);
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      SumiSamplerOptions o = { .schedule = schedule,
                               .prediction = SUMI_PREDICT_V,
                               .spacing = SUMI_SPACING_TRAILING,
                               .steps = 20,
                               .eta = strcmp (names[i], "dpm2_a") == 0 ? 1 : 0 };
      g_autoptr (SumiSampler) s = toy_sampler (names[i], &o);

      g_assert_cmpuint (sumi_sampler_get_n_calls (s), ==,
                        38); /* 40, but for the first and the last step's second one */
      g_assert_cmpfloat (sumi_sampler_get_sigma (s, 0), >, 4000);
      g_assert_cmpfloat (sumi_sampler_get_sigma (s, 1), <, 100);
      g_assert_cmpint (sumi_sampler_needs_noise (s, 0), ==, i == 2);
    }
}

/* Zero-terminal SNR (Lin et al. 2023): the first x holds nothing of the picture; what is predicted there counts. */
static void
test_zero_snr (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);

  sumi_schedule_rescale_zero_snr (schedule);
  for (const char *const *name = sumi_sampler_list (); *name != NULL; name++)
    for (guint list = 0; list < 2; list++)
      {
        SumiSamplerOptions o = { .schedule = schedule,
                                 .prediction = SUMI_PREDICT_V,
                                 .sigmas = list ? "sgm_uniform" : NULL,
                                 .spacing = SUMI_SPACING_TRAILING,
                                 .steps = 40 };
        g_autoptr (SumiSampler) s = toy_sampler (*name, &o);
        float x[TOY_N];

        g_assert_cmpfloat (sumi_sampler_get_timestep (s, 0), ==, 999);
        g_assert_cmpfloat (sumi_sampler_get_sigma (s, 0), >, 4000);
        sumi_sampler_start (s, start_noise, x);
        toy_walk (s, &o, 0, x, NULL);
        for (guint i = 0; i < TOY_N; i++)
          if (strcmp (*name, "ddpm") != 0 && strcmp (*name, "lcm") != 0)
            g_assert_cmpfloat_with_epsilon (x[i], TOY_MU + 0.5 * start_noise[i], 0.12);
      }
}

/* A model that predicts eps says nothing where there is nothing but eps. */
static void
test_zero_snr_needs_v (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  g_autoptr (GError) error = NULL;
  SumiSamplerOptions o = { .schedule = schedule, .spacing = SUMI_SPACING_TRAILING, .steps = 4, .n_values = 1 };

  sumi_schedule_rescale_zero_snr (schedule);
  g_assert_null (sumi_sampler_new ("ddim", &o, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
}

/* A step's noise belongs to the start of the next one: euler with churn calls the model at sigma (1 + gamma). */
static void
test_churn (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  SumiSamplerOptions o = { .schedule = schedule, .sigmas = "karras", .steps = 10, .s_churn = 2 };
  g_autoptr (SumiSampler) churned = toy_sampler ("euler", &o);
  g_autoptr (SumiSampler) limited = NULL;
  g_autoptr (SumiSampler) plain = NULL;
  float a[TOY_N] = { 0 }, b[TOY_N] = { 0 }, output[TOY_N] = { 0.1f, 0.2f, 0.3f, 0.4f }, noise[TOY_N] = { 1, 1, 1, 1 };
  double to, next;

  o.s_churn = 1000;
  limited = toy_sampler ("euler", &o);
  o.s_churn = 0;
  plain = toy_sampler ("euler", &o);
  for (guint call = 0; call < 10; call++)
    {
      g_assert_cmpfloat_with_epsilon (sumi_sampler_get_sigma (churned, call),
                                      1.2 * sumi_sampler_get_sigma (plain, call), 1e-9);
      g_assert_cmpfloat_with_epsilon (sumi_sampler_get_sigma (limited, call),
                                      G_SQRT2 * sumi_sampler_get_sigma (plain, call), 1e-9);
      g_assert_cmpint (sumi_sampler_needs_noise (churned, call), ==, call < 9);
      g_assert_false (sumi_sampler_needs_noise (plain, call));
    }
  to = sumi_sampler_get_sigma (plain, 1);
  next = sumi_sampler_get_sigma (churned, 1);
  sumi_sampler_step (churned, 0, a, output, NULL, NULL);
  sumi_sampler_step (limited, 0, b, output, NULL, noise);
  for (guint i = 0; i < TOY_N; i++)
    {
      g_assert_cmpfloat_with_epsilon (a[i], (to - sumi_sampler_get_sigma (churned, 0)) * output[i], 1e-5);
      g_assert_cmpfloat_with_epsilon (b[i], (to - sumi_sampler_get_sigma (limited, 0)) * output[i] + to, 1e-5);
    }
  g_assert_cmpfloat (next, >, to);
}

static void
test_walk_and_clip (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  static const guint timesteps[] = { 999, 500, 0 };
  SumiSamplerOptions o = { .schedule = schedule,
                           .prediction = SUMI_PREDICT_SAMPLE,
                           .timesteps = timesteps,
                           .steps = 3,
                           .final_alpha_cumprod = 1,
                           .clip_sample = TRUE };
  static const char *const names[] = { "ddpm", "euler", "dpmpp_2m", "unipc" };
  g_autoptr (SumiSampler) to_zero = NULL;
  float output[TOY_N] = { -3, -1, 0.5f, 7 }, noise[TOY_N] = { 9, 9, 9, 9 };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr (SumiSampler) to_data = toy_sampler (names[i], &o);
      float x[TOY_N] = { 0 };

      g_assert_cmpuint (sumi_sampler_get_n_calls (to_data), ==, 3);
      g_assert_false (sumi_sampler_needs_noise (to_data, 2));
      /* the last step lands on the clipped x_0, and no noise comes near it */
      sumi_sampler_step (to_data, 2, x, output, NULL, noise);
      g_assert_cmpfloat_with_epsilon (x[0], -1, 1e-7);
      g_assert_cmpfloat_with_epsilon (x[1], -1, 1e-7);
      g_assert_cmpfloat_with_epsilon (x[2], 0.5f, 1e-7);
      g_assert_cmpfloat_with_epsilon (x[3], 1, 1e-7);
      g_assert_cmpfloat (sumi_sampler_peek_x_start (to_data)[3], ==, 1);
    }
  o.final_alpha_cumprod = 0;
  to_zero = toy_sampler ("ddim", &o);
  g_assert_cmpuint (sumi_sampler_get_n_calls (to_zero), ==, 2);
  g_assert_false (sumi_sampler_needs_noise (to_zero, 0));
}

/* The model's variance channels: -1 is the posterior variance, +1 is beta. */
static void
test_learned_range_ends (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  static const guint timesteps[] = { 900, 500, 100 };
  static const SumiVariance fixed[] = { SUMI_VARIANCE_FIXED_SMALL, SUMI_VARIANCE_FIXED_LARGE };

  for (guint k = 0; k < 2; k++)
    {
      SumiSamplerOptions o = {
        .schedule = schedule, .timesteps = timesteps, .steps = 3, .final_alpha_cumprod = 1, .variance = fixed[k]
      };
      g_autoptr (SumiSampler) plain = toy_sampler ("ddpm", &o);
      g_autoptr (SumiSampler) learned = NULL;
      float a[TOY_N] = { 1, -0.5f, 0.25f, 2 }, b[TOY_N] = { 1, -0.5f, 0.25f, 2 };
      float output[2 * TOY_N] = { 0.1f, 0.2f, 0.3f, 0.4f }, noise[TOY_N] = { 1, -1, 2, 0.5f };

      o.variance = SUMI_VARIANCE_LEARNED_RANGE;
      learned = toy_sampler ("ddpm", &o);
      for (guint i = 0; i < TOY_N; i++)
        output[TOY_N + i] = k == 0 ? -1 : 1;
      sumi_sampler_step (learned, 0, a, output, NULL, noise);
      sumi_sampler_step (plain, 0, b, output, NULL, noise);
      assert_same (a, b, 1e-6);
    }
}

static void
test_refusals (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  static const guint good[] = { 999, 0 }, equal[] = { 5, 5 }, high[] = { 1000, 0 };
  const struct
  {
    const char *name;
    SumiSamplerOptions o;
  } bad[] = {
    { "nothing", { .timesteps = good, .steps = 2, .final_alpha_cumprod = 1 } },
    { NULL, { .timesteps = good, .steps = 2, .final_alpha_cumprod = 1 } },
    { "ddim", { .timesteps = equal, .steps = 2, .final_alpha_cumprod = 1 } },
    { "ddim", { .timesteps = high, .steps = 2, .final_alpha_cumprod = 1 } },
    { "ddim", { .timesteps = good, .steps = 0, .final_alpha_cumprod = 1 } },
    { "ddim", { .timesteps = good, .steps = 1, .final_alpha_cumprod = 0 } },
    { "ddim", { .timesteps = good, .steps = 2, .final_alpha_cumprod = 2 } },
    { "ddim", { .timesteps = good, .steps = 2, .final_alpha_cumprod = NAN } },
    { "ddim", { .steps = 2, .eta = 1.5 } },
    { "ddim", { .steps = 2, .eta = NAN } },
    { "euler_a", { .steps = 2, .eta = 1.5 } },
    { "euler", { .steps = 2, .s_churn = -1 } },
    { "euler", { .steps = 2, .s_churn = NAN } },
    { "euler", { .steps = 2, .s_churn = INFINITY } },
    { "unipc", { .steps = 2, .order = 4 } },
    { "lms", { .steps = 2, .order = 5 } },
    { "euler", { .steps = 2, .sigmas = "nothing" } },
    { "euler", { .steps = 2, .sigmas = "" } },
    { "euler", { .steps = 1000, .steps_offset = 1 } },
    { "dpmpp_2m", { .steps = 1, .steps_offset = 500 } },
    { "dpmpp_2m", { .steps = 1000 } },
    { "lcm", { .steps = 51 } },
  };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr (GError) error = NULL;
      SumiSamplerOptions o = bad[i].o;

      o.schedule = schedule;
      o.n_values = 1;
      g_assert_null (sumi_sampler_new (bad[i].name, &o, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
    }
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
  g_test_add_func ("/samplers/same", test_same);
  g_test_add_func ("/samplers/cfg-pp", test_cfg_pp);
  g_test_add_func ("/samplers/cfg-pp-second-step", test_cfg_pp_second_step);
  g_test_add_func ("/samplers/from-noise", test_from_noise);
  g_test_add_func ("/samplers/image-to-image", test_image_to_image);
  g_test_add_func ("/samplers/pndm-as-diffusers", test_pndm_as_diffusers);
  g_test_add_func ("/samplers/lms-as-diffusers", test_lms_as_diffusers);
  g_test_add_func ("/samplers/begin-anywhere", test_begin_anywhere);
  g_test_add_func ("/samplers/lists", test_lists);
  g_test_add_func ("/samplers/any-walk", test_any_walk);
  g_test_add_func ("/samplers/zero-snr", test_zero_snr);
  g_test_add_func ("/samplers/zero-snr-needs-v", test_zero_snr_needs_v);
  g_test_add_func ("/samplers/churn", test_churn);
  g_test_add_func ("/samplers/walk-and-clip", test_walk_and_clip);
  g_test_add_func ("/samplers/learned-range", test_learned_range_ends);
  g_test_add_func ("/samplers/refusals", test_refusals);
  g_test_add_func ("/samplers/guidance", test_guidance);
  return g_test_run ();
}
