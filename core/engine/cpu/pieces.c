/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Products whose result depends on the number of threads when oneDNN cuts them up: cut by shape alone into primitives
 * for one thread each, which OpenMP deals out. */
#include <omp.h>

#include "engine/cpu/plan.h"

#define ALIGNMENT 64

static gboolean
run_pieces (SumiCpuPlan *p, const SumiCpuStep *s, GError **error)
{
  gsize room = s->scratch / p->threads;
  int n = (int)s->pieces->len, failed = 0;

#pragma omp parallel for schedule(dynamic, 1) reduction(+ : failed)
  for (int i = 0; i < n; i++)
    {
      const SumiCpuProduct *product = s->pieces->pdata[i];
      guint8 *scratch = (guint8 *)p->scratch + room * (gsize)omp_get_thread_num ();

      dnnl_memory_set_data_handle (product->args[product->n_args - 1].memory, scratch);
      failed += !sumi_cpu_product_execute (p->dnnl, product, sumi_op_name (s->node->op), NULL);
    }
  if (failed > 0)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE, "%s: oneDNN failed", sumi_op_name (s->node->op));
  return failed == 0;
}

void
sumi_cpu_add_pieces (SumiCpuPlan *p, const SumiNode *node, GPtrArray *products, const SumiValue *out,
                     const SumiValue *const *in, guint n_in)
{
  SumiCpuStep *s = sumi_cpu_add_step (p, run_pieces, node, out, in, n_in);
  gsize room = 0;

  for (guint i = 0; i < products->len; i++)
    room = MAX (room, ((SumiCpuProduct *)products->pdata[i])->scratch);
  s->scratch = (room + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT * p->threads;
  s->pieces = products;
}

SumiValue
sumi_cpu_picture_part (const SumiValue *v, gint64 n0, gint64 n, gint64 y0, gint64 rows)
{
  SumiValue part = *v;
  gint64 row = v->shape.d[1] * v->shape.d[3];

  part.offset += (gsize)((n0 * v->shape.d[2] + y0) * row) * sumi_dtype_size (v->dtype);
  part.shape.d[0] = n;
  part.shape.d[2] = rows;
  return part;
}
