/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Random numbers against the reference implementations. */
#include "base/rng.h"

#include <math.h>

#include <json-glib/json-glib.h>

/* ten thousand words of the published generator: Matsumoto's default seed, checked by C++ standard [rand.predef] */
static void
test_mt19937 (void)
{
  SumiRng rng;
  guint32 word = 0;

  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 5489);
  for (int i = 0; i < 10000; i++)
    word = sumi_rng_u32 (&rng);
  g_assert_cmpuint (word, ==, 4123659995u);
}

static JsonParser *
load_golden (void)
{
  const char *golden = g_getenv ("SUMI_GOLDEN");
  g_autofree char *path = NULL;
  JsonParser *parser;

  if (golden == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return NULL;
    }
  path = g_build_filename (golden, "basics", "torch_cpu_randn.json", NULL);
  parser = json_parser_new ();
  g_assert_true (json_parser_load_from_file (parser, path, NULL));
  return parser;
}

/* torch's vector code has its own log and cos: an ulp or two at most */
static void
check_normal (JsonParser *parser, const char *name, const float *got)
{
  JsonArray *want = json_object_get_array_member (json_node_get_object (json_parser_get_root (parser)), name);

  g_assert_nonnull (want);
  g_assert_cmpuint (json_array_get_length (want), >, 0);
  for (guint i = 0; i < json_array_get_length (want); i++)
    g_assert_cmpfloat_with_epsilon (got[i], json_array_get_double_element (want, i), 1e-6);
}

static void
test_torch (void)
{
  static const struct
  {
    const char *name;
    guint64 seed;
    guint n;
  } rows[] = { { "seed42_n10", 42, 10 },
               { "seed42_n16", 42, 16 },
               { "seed42_n20", 42, 20 },
               { "seed0_n64", 0, 64 },
               { "seed1234567890123_n32", G_GUINT64_CONSTANT (1234567890123), 32 } };
  g_autoptr (JsonParser) parser = load_golden ();
  float values[64];

  if (parser == NULL)
    return;
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      SumiRng rng;
      sumi_rng_seed (&rng, SUMI_RNG_TORCH, rows[i].seed);
      sumi_rng_normal (&rng, values, rows[i].n);
      check_normal (parser, rows[i].name, values);
    }
}

static void
test_torch_calls (void)
{
  g_autoptr (JsonParser) parser = load_golden ();
  g_autofree float *values = g_new (float, 4 * 64 * 64);
  SumiRng rng;

  if (parser == NULL)
    return;
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 42);
  sumi_rng_normal (&rng, values, 4 * 64 * 64);
  check_normal (parser, "seed42_1x4x64x64_first8", values);
  check_normal (parser, "seed42_1x4x64x64_last4", values + 4 * 64 * 64 - 4);
  sumi_rng_normal (&rng, values, 4 * 64 * 64);
  check_normal (parser, "second_call_first8", values);
}

/* Below 16 values the second of a Box-Muller pair waits for the next call, also across a copy of the state. */
static void
test_torch_pairs (void)
{
  SumiRng a, b;
  float one[2], two[2];

  sumi_rng_seed (&a, SUMI_RNG_TORCH, 7);
  sumi_rng_normal (&a, one, 2);
  sumi_rng_seed (&b, SUMI_RNG_TORCH, 7);
  sumi_rng_normal (&b, two, 1);
  a = b;
  sumi_rng_normal (&a, two + 1, 1);
  g_assert_cmpmem (one, sizeof one, two, sizeof two);
}

static void
test_philox (void)
{
  const float want[] = { -0.92466259f, -0.42534415f, -2.6438457f, 0.14518388f };
  float got[4], again[4];
  SumiRng rng;

  sumi_rng_seed (&rng, SUMI_RNG_PHILOX, 0);
  sumi_rng_normal (&rng, got, 4);
  for (guint i = 0; i < 4; i++)
    g_assert_cmpfloat_with_epsilon (got[i], want[i], 2.5e-7); /* CUDA's sin and log: a last bit */
  sumi_rng_normal (&rng, again, 4);
  g_assert_cmpfloat (again[0], !=, got[0]);

  sumi_rng_seed (&rng, SUMI_RNG_PHILOX, G_GUINT64_CONSTANT (1) << 40); /* the whole seed counts */
  sumi_rng_normal (&rng, again, 4);
  g_assert_cmpfloat (again[0], !=, got[0]);
}

/* Mean 0, variance 1, kurtosis 3: within five standard errors of n draws. */
static void
test_moments (gconstpointer kind)
{
  const gsize n = 100000;
  g_autofree float *x = g_new (float, n);
  double mean = 0, square = 0, fourth = 0;
  SumiRng rng;

  sumi_rng_seed (&rng, GPOINTER_TO_INT (kind), 1);
  sumi_rng_normal (&rng, x, n);
  for (gsize i = 0; i < n; i++)
    {
      mean += x[i] / (double)n;
      square += pow (x[i], 2) / (double)n;
      fourth += pow (x[i], 4) / (double)n;
    }
  g_assert_cmpfloat_with_epsilon (mean, 0, 5 * sqrt (1.0 / n));
  g_assert_cmpfloat_with_epsilon (square, 1, 5 * sqrt (2.0 / n));
  g_assert_cmpfloat_with_epsilon (fourth, 3, 5 * sqrt (96.0 / n));
}

static void
test_uniform (gconstpointer kind)
{
  guint count[10] = { 0 };
  SumiRng rng;

  sumi_rng_seed (&rng, GPOINTER_TO_INT (kind), 3);
  for (int i = 0; i < 10000; i++)
    {
      double u = sumi_rng_uniform (&rng);
      g_assert_true (u >= 0 && u < 1);
      count[sumi_rng_below (&rng, 10)]++;
    }
  for (int i = 0; i < 10; i++)
    g_assert_true (count[i] > 850 && count[i] < 1150); /* five standard deviations */
  for (int i = 0; i < 100; i++)
    {
      g_assert_cmpuint (sumi_rng_below (&rng, 1), ==, 0);
      g_assert_cmpuint (sumi_rng_below (&rng, G_MAXUINT64), <, G_MAXUINT64);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rng/mt19937", test_mt19937);
  g_test_add_func ("/rng/torch", test_torch);
  g_test_add_func ("/rng/torch-calls", test_torch_calls);
  g_test_add_func ("/rng/torch-pairs", test_torch_pairs);
  g_test_add_func ("/rng/philox", test_philox);
  g_test_add_data_func ("/rng/moments/torch", GINT_TO_POINTER (SUMI_RNG_TORCH), test_moments);
  g_test_add_data_func ("/rng/moments/philox", GINT_TO_POINTER (SUMI_RNG_PHILOX), test_moments);
  g_test_add_data_func ("/rng/uniform/torch", GINT_TO_POINTER (SUMI_RNG_TORCH), test_uniform);
  g_test_add_data_func ("/rng/uniform/philox", GINT_TO_POINTER (SUMI_RNG_PHILOX), test_uniform);
  return g_test_run ();
}
