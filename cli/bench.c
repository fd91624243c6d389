/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sumi bench: speed, against this machine's own peak measured in the same run. */
#include "bench.h"

#include <json-glib/json-glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "cli.h"

static double
peak_memory (void) /* bytes */
{
  g_autofree char *status = NULL;
  const char *line;

  if (!g_file_get_contents ("/proc/self/status", &status, NULL, NULL))
    return 0;
  line = strstr (status, "VmHWM:");
  return line != NULL ? g_ascii_strtod (line + strlen ("VmHWM:"), NULL) * 1024 : 0;
}

static int
compare (gconstpointer a, gconstpointer b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

typedef struct
{
  const SumiBenchCase *c;
  double median, best; /* seconds */
  double speed, share; /* floating-point operations per second of the median; of the peak, 0 when unknown */
} Result;

static Result
summarise (const SumiBenchCase *c, GArray *times, guint64 flops, const SumiBenchPeaks *peaks)
{
  double peak = c->dtype == SUMI_BF16 ? peaks->bf16 : peaks->f32;
  Result r = { .c = c };

  g_array_sort (times, compare);
  r.best = g_array_index (times, double, 0);
  r.median = g_array_index (times, double, times->len / 2);
  r.speed = (double)flops / r.median;
  r.share = peak > 0 ? r.speed / peak : 0;
  return r;
}

static void
print_result (const Result *r)
{
  printf ("%-18s %9.2f ms  best %9.2f ms", r->c->name, r->median * 1e3, r->best * 1e3);
  if (r->speed > 0)
    printf ("  %7.1f GFLOP/s  %5.1f %% of peak", r->speed * 1e-9, r->share * 100);
  if (r->c->pictures > 0)
    printf ("  %.1f pictures/s", r->c->pictures / r->median);
  printf ("  (%s)\n", r->c->what);
  fflush (stdout);
}

static void
add_number (JsonBuilder *b, const char *name, double value)
{
  json_builder_set_member_name (b, name);
  json_builder_add_double_value (b, value);
}

static void
add_result (JsonBuilder *b, const Result *r)
{
  json_builder_begin_object (b);
  json_builder_set_member_name (b, "case");
  json_builder_add_string_value (b, r->c->name);
  json_builder_set_member_name (b, "dtype");
  json_builder_add_string_value (b, sumi_dtype_name (r->c->dtype));
  add_number (b, "seconds_median", r->median);
  add_number (b, "seconds_best", r->best);
  add_number (b, "flops_per_second", r->speed);
  add_number (b, "share_of_peak", r->share);
  if (r->c->pictures > 0)
    add_number (b, "pictures_per_second", r->c->pictures / r->median);
  json_builder_end_object (b);
}

static void
print_json (JsonBuilder *b)
{
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = json_builder_get_root (b);
  g_autofree char *text = NULL;

  json_generator_set_root (generator, root);
  json_generator_set_pretty (generator, TRUE);
  text = json_generator_to_data (generator, NULL);
  printf ("%s\n", text);
}

static const SumiBenchCase *
find_case (const char *name)
{
  guint n;
  const SumiBenchCase *cases = sumi_bench_cases (&n);

  for (guint i = 0; i < n; i++)
    if (strcmp (cases[i].name, name) == 0)
      return &cases[i];
  return NULL;
}

/* The named cases, or all but the large ones that this machine's instructions allow. */
static GPtrArray *
choose (char **names, guint n_names)
{
  guint n;
  const SumiBenchCase *cases = sumi_bench_cases (&n);
  gboolean bf16 = (sumi_cpu_features () & (SUMI_CPU_AVX512_BF16 | SUMI_CPU_AMX_BF16)) != 0;
  GPtrArray *chosen = g_ptr_array_new ();

  for (guint i = 0; i < n_names; i++)
    g_ptr_array_add (chosen, (gpointer)find_case (names[i]));
  for (guint i = 0; n_names == 0 && i < n; i++)
    if (!cases[i].large && (bf16 || cases[i].dtype == SUMI_F32))
      g_ptr_array_add (chosen, (gpointer)&cases[i]);
  return chosen;
}

static void
begin (JsonBuilder *b, const SumiBenchPeaks *peaks, guint threads, gboolean json)
{
  json_builder_begin_object (b);
  json_builder_set_member_name (b, "threads");
  json_builder_add_int_value (b, threads);
  add_number (b, "peak_f32_flops", peaks->f32);
  add_number (b, "peak_bf16_flops", peaks->bf16);
  add_number (b, "copy_bytes_per_second", peaks->bandwidth);
  json_builder_set_member_name (b, "cases");
  json_builder_begin_array (b);
  if (!json)
    printf ("%u threads; peak %.1f GFLOP/s f32, %.1f GFLOP/s bf16; copying %.1f GB/s\n", threads, peaks->f32 * 1e-9,
            peaks->bf16 * 1e-9, peaks->bandwidth * 1e-9);
}

static int
bench (GPtrArray *cases, guint threads, gboolean json)
{
  GCancellable *cancellable = sumi_cli_cancellable ();
  SumiBenchPeaks peaks = sumi_bench_peaks (threads);
  g_autoptr (JsonBuilder) b = json_builder_new ();

  begin (b, &peaks, threads, json);
  for (guint i = 0; i < cases->len; i++)
    {
      const SumiBenchCase *c = cases->pdata[i];
      g_autoptr (GError) error = NULL;
      guint64 flops;
      g_autoptr (GArray) times = sumi_bench_case_run (c, threads, cancellable, &flops, &error);
      Result r;

      if (times == NULL)
        return sumi_cli_fail (error);
      r = summarise (c, times, flops, &peaks);
      add_result (b, &r);
      if (!json)
        print_result (&r);
    }
  json_builder_end_array (b);
  add_number (b, "peak_memory_bytes", peak_memory ());
  json_builder_end_object (b);
  if (json)
    print_json (b);
  else
    printf ("peak memory %.1f MiB\n", peak_memory () / 1048576);
  return 0;
}

int
sumi_cli_bench (int argc, char **argv)
{
  gboolean json = FALSE;
  int threads = 0;
  const GOptionEntry entries[] = {
    { "json", 0, 0, G_OPTION_ARG_NONE, &json, "Print JSON", NULL },
    { "threads", 0, 0, G_OPTION_ARG_INT, &threads, "Threads (0: all cores)", "N" },
    { NULL },
  };
  g_autoptr (GPtrArray) cases = NULL;
  g_autoptr (GError) error = NULL;

  if (!sumi_cli_parse (&argc, &argv, "bench", "[CASE…]", "Measures this machine, and Sumi on it.", entries, &error))
    return sumi_cli_fail (error);
  if (threads < 0 || threads > 1024)
    return sumi_cli_usage ("--threads: found %d, expected 0 to 1024", threads);
  for (int i = 1; i < argc; i++)
    if (find_case (argv[i]) == NULL)
      {
        g_autoptr (GString) known = g_string_new (NULL);
        guint n;
        const SumiBenchCase *all = sumi_bench_cases (&n);

        for (guint k = 0; k < n; k++)
          g_string_append_printf (known, "%s%s", k > 0 ? ", " : "", all[k].name);
        return sumi_cli_usage ("case: found '%s', expected one of %s", argv[i], known->str);
      }
  cases = choose (argv + 1, (guint)argc - 1);
  return bench (cases, threads > 0 ? (guint)threads : sumi_cpu_count (), json);
}
