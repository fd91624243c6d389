/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lists of noise levels, and sigma between timesteps. */
#include "toy.h"

#include <math.h>

/* Quantiles of beta distributions, computed by bisection in 30 digits with mpmath. */
static void
test_beta_quantile (void)
{
  static const struct
  {
    double p, a, b, x;
  } rows[] = {
    { 1e-6, 0.6, 0.6, 1.855882462405306e-10 },
    { 0.01, 0.6, 0.6, 0.00086123882154290686 },
    { 1.0 / 9, 0.6, 0.6, 0.047091817549042455 },
    { 0.3, 0.6, 0.6, 0.23401700387523589 },
    { 0.5, 0.6, 0.6, 0.5 },
    { 0.75, 0.6, 0.6, 0.82431962134730498 },
    { 0.999, 0.6, 0.6, 0.99998144126148255 },
    { 0.2, 2, 3, 0.21231712827795125 },
    { 0.9, 2, 3, 0.6795394162781817 },
    { 0.5, 0.5, 4, 0.05871080133978361 },
    { 0.05, 5, 1.5, 0.47337738695108738 },
    { 0, 0.6, 0.6, 0 },
    { 1, 0.6, 0.6, 1 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    g_assert_cmpfloat_with_epsilon (sumi_sigmas_beta_quantile (rows[i].p, rows[i].a, rows[i].b), rows[i].x,
                                    1e-12 * rows[i].x + 1e-300);
}

static void
test_between_timesteps (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  g_autofree double *table = sumi_sigmas_of_schedule (schedule, 0);

  for (guint t = 0; t < 1000; t++)
    {
      g_assert_cmpfloat_with_epsilon (sumi_sigmas_to_timestep (table, 1000, table[t]), t, 1e-9);
      g_assert_cmpfloat_with_epsilon (sumi_sigmas_from_timestep (table, 1000, t), table[t], 1e-12 * table[t]);
    }
  for (double t = 0.25; t < 999; t += 12.7)
    g_assert_cmpfloat_with_epsilon (sumi_sigmas_to_timestep (table, 1000, sumi_sigmas_from_timestep (table, 1000, t)),
                                    t, 1e-9);
  g_assert_cmpfloat_with_epsilon (sumi_sigmas_from_timestep (table, 1000, 10.5), sqrt (table[10] * table[11]), 1e-12);
  g_assert_cmpfloat (sumi_sigmas_to_timestep (table, 1000, 100), ==, 999);
  g_assert_cmpfloat (sumi_sigmas_to_timestep (table, 1000, 1e-3), ==, 0);
  g_assert_cmpfloat (sumi_sigmas_to_timestep (table, 1000, 0), ==, 0);
  g_assert_cmpfloat (sumi_sigmas_to_timestep (table, 1000, INFINITY), ==, 999);
}

/* Values worked out by hand from the definitions, at 10 steps of Stable Diffusion's schedule. */
static void
test_lists (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  g_autofree double *table = sumi_sigmas_of_schedule (schedule, 0);
  double min = table[0], max = table[999], out[10];

#define FILL(name) g_assert_true (sumi_sigmas_fill (name, table, 1000, FALSE, 10, out, NULL))
#define SAME(i, value) g_assert_cmpfloat_with_epsilon (out[i], value, 1e-9 * (value))
  FILL ("simple");
  SAME (0, table[999]);
  SAME (1, table[899]);
  SAME (9, table[99]);
  FILL ("ddim_uniform");
  SAME (0, table[901]);
  SAME (9, table[1]);
  FILL ("beta");
  SAME (0, max);
  SAME (8, min + (max - min) * 0.047091817549042455);
  SAME (9, min);
  FILL ("kl_optimal");
  SAME (0, max);
  SAME (5, tan ((atan (max) + atan (min)) / 2));
  SAME (9, tan (0.1 * atan (max) + 0.9 * atan (min)));
  FILL ("align_your_steps");
  SAME (0, 14.615);
  SAME (9, 0.029);
  SAME (1, 6.475 * pow (3.861 / 6.475, 1.0 / 9));
  FILL ("gits");
  SAME (1, 4.617 * pow (2.507 / 4.617, 1.0 / 9));
#undef FILL
#undef SAME
}

static void
test_tables (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  g_autofree double *table = sumi_sigmas_of_schedule (schedule, 0);
  double out[11];

  g_assert_true (sumi_sigmas_fill ("align_your_steps", table, 1000, TRUE, 11, out, NULL));
  g_assert_cmpfloat_with_epsilon (out[3], 2.181, 1e-12);
  g_assert_true (sumi_sigmas_fill ("align_your_steps", table, 1000, FALSE, 11, out, NULL));
  g_assert_cmpfloat_with_epsilon (out[3], 2.697, 1e-12);
  g_assert_true (sumi_sigmas_fill ("gits", table, 1000, TRUE, 11, out, NULL));
  g_assert_cmpfloat_with_epsilon (out[3], 1.529, 1e-12);
  g_assert_true (sumi_sigmas_fill ("gits", table, 1000, FALSE, 11, out, NULL));
  g_assert_cmpfloat_with_epsilon (out[3], 1.236, 1e-12);
}

/* Whatever the list and the number: descending and positive, beginning near the top. */
static void
test_descending (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  g_autofree double *table = sumi_sigmas_of_schedule (schedule, 0);
  double out[1000];

  for (const char *const *name = sumi_sigmas_list (); *name != NULL; name++)
    for (guint n = 1; n <= 1000; n = n * 3 / 2 + 1)
      {
        g_assert_true (sumi_sigmas_fill (*name, table, 1000, FALSE, n, out, NULL));
        for (guint i = 0; i < n; i++)
          g_assert_true (out[i] > 0 && (i == 0 || out[i] < out[i - 1]));
        if (!g_str_equal (*name, "ddim_uniform"))
          g_assert_cmpfloat_with_epsilon (out[0], table[999], 1e-3);
      }
}

static void
test_refusals (void)
{
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  g_autofree double *table = sumi_sigmas_of_schedule (schedule, 0);
  static const struct
  {
    const char *name;
    guint n;
  } bad[] = { { "nothing", 10 }, { NULL, 10 }, { "", 10 }, { "karras", 0 }, { "karras", 1001 }, { "simple", 1001 } };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr (GError) error = NULL;
      double out[10];

      g_assert_false (sumi_sigmas_fill (bad[i].name, table, 1000, FALSE, bad[i].n, out, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sigmas/beta-quantile", test_beta_quantile);
  g_test_add_func ("/sigmas/between-timesteps", test_between_timesteps);
  g_test_add_func ("/sigmas/lists", test_lists);
  g_test_add_func ("/sigmas/tables", test_tables);
  g_test_add_func ("/sigmas/descending", test_descending);
  g_test_add_func ("/sigmas/refusals", test_refusals);
  return g_test_run ();
}
