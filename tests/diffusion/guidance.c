/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Guidance against its formulas. */
#include "diffusion/guidance.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

#define N 64

static float uncond[N], image[N], cond[N], out[N];

static void
fill (void)
{
  SumiRng rng;

  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 4);
  sumi_rng_normal (&rng, uncond, N);
  sumi_rng_normal (&rng, image, N);
  sumi_rng_normal (&rng, cond, N);
}

static double
deviation (const float *x)
{
  double mean = 0, squares = 0;

  for (guint i = 0; i < N; i++)
    mean += x[i] / (double)N;
  for (guint i = 0; i < N; i++)
    squares += (x[i] - mean) * (x[i] - mean) / (N - 1);
  return sqrt (squares);
}

static void
test_combine (void)
{
  fill ();
  sumi_guidance_combine (uncond, cond, 1, out, N);
  g_assert_cmpmem (out, sizeof out, cond, sizeof cond);
  sumi_guidance_combine (uncond, cond, 0, out, N);
  g_assert_cmpmem (out, sizeof out, uncond, sizeof uncond);
  sumi_guidance_combine (uncond, cond, 7.5, out, N);
  for (guint i = 0; i < N; i++)
    g_assert_cmpfloat_with_epsilon (out[i], uncond[i] + 7.5 * (cond[i] - uncond[i]), 1e-5);
}

/* Each scale at 1 takes its condition for the one before it. */
static void
test_two_conditions (void)
{
  float plain[N];

  fill ();
  sumi_guidance_combine_image (uncond, image, cond, 1, 1, out, N);
  for (guint i = 0; i < N; i++)
    g_assert_cmpfloat_with_epsilon (out[i], cond[i], 1e-6);
  sumi_guidance_combine_image (uncond, image, cond, 1, 3, out, N);
  sumi_guidance_combine (image, cond, 3, plain, N);
  for (guint i = 0; i < N; i++)
    g_assert_cmpfloat_with_epsilon (out[i], plain[i], 1e-5);
  sumi_guidance_combine_image (uncond, image, cond, 1.5, 0, out, N);
  sumi_guidance_combine (uncond, image, 1.5, plain, N);
  for (guint i = 0; i < N; i++)
    g_assert_cmpfloat_with_epsilon (out[i], plain[i], 1e-5);
}

/* phi 1: the deviation of cond; 0: nothing; between: between. */
static void
test_rescale (void)
{
  float guided[N], zero[N] = { 0 };

  fill ();
  sumi_guidance_combine (uncond, cond, 7.5, guided, N);
  memcpy (out, guided, sizeof out);
  sumi_guidance_rescale (cond, 0, out, N);
  g_assert_cmpmem (out, sizeof out, guided, sizeof guided);
  sumi_guidance_rescale (cond, 1, out, N);
  g_assert_cmpfloat_with_epsilon (deviation (out), deviation (cond), 1e-5);
  for (guint i = 0; i < N; i++)
    g_assert_cmpfloat_with_epsilon (out[i] * deviation (guided), guided[i] * deviation (cond), 1e-4);
  memcpy (out, guided, sizeof out);
  sumi_guidance_rescale (cond, 0.7, out, N);
  g_assert_cmpfloat_with_epsilon (deviation (out), 0.7 * deviation (cond) + 0.3 * deviation (guided), 1e-4);
  sumi_guidance_rescale (cond, 1, zero, N);
  g_assert_cmpfloat (zero[0], ==, 0);
}

static void
test_embed (void)
{
  static const double scales[] = { 1, 1.5, 8 };

  for (guint s = 0; s < G_N_ELEMENTS (scales); s++)
    {
      sumi_guidance_embed (scales[s], out, 9);
      for (guint i = 0; i < 4; i++)
        {
          double angle = (scales[s] - 1) * 1000 / pow (10000, i / 3.0);

          g_assert_cmpfloat_with_epsilon (out[i], sin (angle), 1e-6);
          g_assert_cmpfloat_with_epsilon (out[4 + i], cos (angle), 1e-6);
        }
      g_assert_cmpfloat (out[8], ==, 0);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/guidance/combine", test_combine);
  g_test_add_func ("/guidance/two-conditions", test_two_conditions);
  g_test_add_func ("/guidance/rescale", test_rescale);
  g_test_add_func ("/guidance/embed", test_embed);
  return g_test_run ();
}
