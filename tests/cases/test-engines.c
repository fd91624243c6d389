/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The case table on the engines: cpu against ref, dead memory poisoned; the same bits whatever the number of threads.
 */
#include "case.h"
#include "harness.h"

static void
compare_graph (const SumiCase *c, SumiGraph *g, SumiEngine *e, SumiDType dtype, SumiTolerance t)
{
  g_autofree char *path = sumi_case_path (c);
  SumiCompileOptions options = { .dtype = dtype, .poison = TRUE };
  g_autoptr (SumiEngine) ref = sumi_engine_open ("ref", NULL);
  g_autoptr (SumiPlan) expected = sumi_test_run_graph (ref, g, path, NULL);
  g_autoptr (SumiPlan) found = sumi_test_run_graph (e, g, path, &options);

  sumi_test_compare (g, expected, found, t);
}

static void
compare_case (const SumiCase *c, const char *engine, SumiDType dtype, SumiTolerance t)
{
  g_autoptr (SumiEngine) e = sumi_test_open_or_skip (engine);
  g_autoptr (SumiGraph) g = sumi_case_graph (c);

  if (!e)
    return;
  if (!sumi_test_has_dtype (e, dtype))
    {
      g_test_skip ("not on this processor");
      return;
    }
  compare_graph (c, g, e, dtype, t);
  if (sumi_case_is_differentiable (c))
    {
      g_autoptr (SumiGraph) grad_graph = sumi_case_grad_graph (c);

      compare_graph (c, grad_graph, e, dtype, t);
    }
}

/* Dead memory that was read after all, or a value that was not written whole, shows as NaN. */
static void
test_ref_poison (gconstpointer data)
{
  compare_case (data, "ref", SUMI_F32, (SumiTolerance){ 0, 0 });
}

static void
test_cpu_f32 (gconstpointer data)
{
  compare_case (data, "cpu", SUMI_F32, (SumiTolerance){ 1e-5, 1e-6 });
}

/* 8 bits of mantissa: 2^-9 for each rounding. */
static void
test_cpu_bf16 (gconstpointer data)
{
  compare_case (data, "cpu", SUMI_BF16, (SumiTolerance){ 4e-2, 4e-3 });
}

static void
check_determinism (SumiEngine *e, const SumiCase *c, SumiGraph *g, SumiDType dtype)
{
  g_autofree char *path = sumi_case_path (c);
  SumiCompileOptions options = { .dtype = dtype, .threads = 1 };
  g_autoptr (SumiPlan) one = sumi_test_run_graph (e, g, path, &options);

  for (options.threads = 2; options.threads <= 3; options.threads++)
    {
      g_autoptr (SumiPlan) more = sumi_test_run_graph (e, g, path, &options);

      sumi_test_compare_bits (g, one, more, options.threads == 2 ? "with 2 threads" : "with 3 threads");
      sumi_test_run (more);
      sumi_test_compare_bits (g, one, more, "in the second run");
    }
}

static void
test_determinism (gconstpointer data)
{
  const SumiCase *c = data;
  g_autoptr (SumiEngine) e = sumi_test_open_or_skip ("cpu");
  g_autoptr (SumiGraph) g = sumi_case_is_differentiable (c) ? sumi_case_grad_graph (c) : sumi_case_graph (c);

  if (!e)
    return;
  check_determinism (e, c, g, SUMI_F32);
  if (sumi_test_has_dtype (e, SUMI_BF16))
    check_determinism (e, c, g, SUMI_BF16);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < sumi_n_cases; i++)
    {
      sumi_case_add_test ("ref-poison", &sumi_cases[i], test_ref_poison);
      sumi_case_add_test ("cpu-f32", &sumi_cases[i], test_cpu_f32);
      if (!sumi_cases[i].f32_only)
        sumi_case_add_test ("cpu-bf16", &sumi_cases[i], test_cpu_bf16);
      sumi_case_add_test ("determinism", &sumi_cases[i], test_determinism);
    }
  return g_test_run ();
}
