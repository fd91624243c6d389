/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where the time of a plan went: SUMI_PROFILE=1 in the environment, for people who make it faster. */
#include "engine/cpu/plan.h"

typedef struct
{
  char *what;
  double seconds;
  guint steps;
} Row;

static const char *
implementation (const SumiCpuStep *s)
{
  const SumiCpuProduct *product = s->pieces != NULL ? s->pieces->pdata[0] : s->product;

  return product != NULL ? product->implementation : s->is_copy ? "copy" : "kernel";
}

static char *
describe (const SumiCpuStep *s)
{
  g_autofree char *from = s->n_in > 0 ? sumi_shape_to_string (&s->in[0].shape) : g_strdup ("");
  g_autofree char *to = sumi_shape_to_string (&s->out.shape);

  return g_strdup_printf ("%-18s %-28s %s %s -> %s", sumi_op_name (s->node->op), implementation (s),
                          sumi_dtype_name (s->out.dtype), from, to);
}

static int
by_time (gconstpointer a, gconstpointer b)
{
  const Row *x = *(const Row *const *)a, *y = *(const Row *const *)b;

  return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static void
row_free (gpointer data)
{
  g_free (((Row *)data)->what);
  g_free (data);
}

void
sumi_cpu_print_profile (const SumiCpuPlan *p)
{
  g_autoptr (GHashTable) rows = g_hash_table_new (g_str_hash, g_str_equal);
  g_autoptr (GPtrArray) list = g_ptr_array_new_with_free_func (row_free);
  double total = 0;

  for (guint i = 0; i < p->steps->len; i++)
    {
      const SumiCpuStep *s = &g_array_index (p->steps, SumiCpuStep, i);
      char *what = describe (s);
      Row *row = g_hash_table_lookup (rows, what);

      if (row == NULL)
        {
          row = g_new0 (Row, 1);
          row->what = what;
          g_ptr_array_add (list, row);
          g_hash_table_insert (rows, what, row);
        }
      else
        g_free (what);
      row->seconds += s->seconds;
      row->steps++;
      total += s->seconds;
    }
  g_ptr_array_sort (list, by_time);
  g_printerr ("cpu plan: %.3f s in %u steps, arena %.1f MiB, parameters %.1f MiB, packing %.3f s\n", total,
              p->steps->len, (double)p->arena.size / 1048576.0, (double)sumi_cpu_parameter_bytes (p) / 1048576.0,
              p->set_seconds);
  for (guint i = 0; i < list->len; i++)
    {
      const Row *row = list->pdata[i];

      g_printerr ("%8.3f s %5.1f %% %4u x %s\n", row->seconds, total > 0 ? 100 * row->seconds / total : 0, row->steps,
                  row->what);
    }
}
