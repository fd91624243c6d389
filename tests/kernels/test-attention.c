/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Attention, its gradients, and embeddings, against doubles. */
#include <math.h>
#include <string.h>

#include "kernels-test.h"

static const SumiSdpaDims attentions[] = {
  { 1, 1, 1, 1, 1, FALSE, 0.f },
  { 2, 3, 5, 7, 3, FALSE, 0.f },
  { 2, 2, 16, 16, 8, TRUE, 0.f },
  { 1, 2, 64, 64, 32, FALSE, 0.f },
  { 1, 2, 77, 77, 64, TRUE, 0.f },
  { 3, 2, 65, 20, 40, FALSE, 0.3f },
  { 1, 1, 130, 300, 17, FALSE, 0.f },
  { 1, 1, 33, 129, 160, FALSE, 0.f },
  { 1, 1, 200, 200, 24, TRUE, 1.f },
  /* the head widths of Stable Diffusion, to themselves and to 77 tokens; its auto-encoder */
  { 2, 8, 130, 77, 40, FALSE, 0.f },
  { 1, 4, 70, 77, 80, FALSE, 0.f },
  { 1, 2, 65, 77, 160, FALSE, 0.f },
  { 1, 2, 200, 200, 40, FALSE, 0.f },
  { 1, 1, 70, 130, 512, FALSE, 0.f },
  { 8, 4, 64, 64, 16, FALSE, 0.f },
  { 1, 2, 90, 30, 12, TRUE, 0.f },
};

/* Of one query of one head, with its probabilities p (sk). */
typedef struct
{
  const SumiSdpaDims *d;
  gint64 n, head, query;
  gint64 keys;
  double scale;
} Query;

static gint64
at (const SumiSdpaDims *d, gint64 length, gint64 n, gint64 head, gint64 i, gint64 c)
{
  return ((n * length + i) * d->heads + head) * d->d + c;
}

static Query
query_of (const SumiSdpaDims *d, gint64 index)
{
  Query q = { d, index / d->sq / d->heads, index / d->sq % d->heads, index % d->sq, d->sk, (double)d->scale };
  if (d->causal)
    q.keys = MIN (d->sk, q.query + 1);
  if (d->scale == 0.f)
    q.scale = 1. / sqrt ((double)d->d);
  return q;
}

static void
find_probabilities (const Query *q, const Values *vq, const Values *vk, double *p)
{
  const SumiSdpaDims *d = q->d;
  double best = -INFINITY, sum = 0.;
  for (gint64 j = 0; j < q->keys; j++)
    {
      p[j] = 0.;
      for (gint64 c = 0; c < d->d; c++)
        p[j] += q->scale * values_get (vq, at (d, d->sq, q->n, q->head, q->query, c))
                * values_get (vk, at (d, d->sk, q->n, q->head, j, c));
      best = MAX (best, p[j]);
    }
  for (gint64 j = 0; j < q->keys; j++)
    sum += p[j] = exp (p[j] - best);
  for (gint64 j = 0; j < q->keys; j++)
    p[j] /= sum;
}

/* Adds the gradients of one query's output to g, laid out as the kernel does. */
static void
add_gradients (const Query *q, const Values *vq, const Values *vk, const Values *vv, const Values *vgy, const double *p,
               double *g)
{
  const SumiSdpaDims *d = q->d;
  const gint64 length = d->sq + 2 * d->sk;
  double *dp = g_new0 (double, q->keys), mean = 0.;
  for (gint64 j = 0; j < q->keys; j++)
    {
      for (gint64 c = 0; c < d->d; c++)
        dp[j] += values_get (vgy, at (d, d->sq, q->n, q->head, q->query, c))
                 * values_get (vv, at (d, d->sk, q->n, q->head, j, c));
      mean += p[j] * dp[j];
    }
  for (gint64 j = 0; j < q->keys; j++)
    for (gint64 c = 0; c < d->d; c++)
      {
        const double ds = p[j] * (dp[j] - mean) * q->scale;
        const gint64 i_q = at (d, d->sq, q->n, q->head, q->query, c), i_k = at (d, d->sk, q->n, q->head, j, c);
        g[at (d, length, q->n, q->head, q->query, c)] += ds * values_get (vk, i_k);
        g[at (d, length, q->n, q->head, d->sq + j, c)] += ds * values_get (vq, i_q);
        g[at (d, length, q->n, q->head, d->sq + d->sk + j, c)] += p[j] * values_get (vgy, i_q);
      }
  g_free (dp);
}

static void
check_one_sdpa (const Table *t, const SumiSdpaDims *d)
{
  const gint64 width = d->heads * d->d, n_q = d->n * d->sq * width, n_k = d->n * d->sk * width;
  g_autoptr (Values) q = values_random (t->dtype, n_q, 0., 2.), k = values_random (t->dtype, n_k, 0.2, 2.);
  g_autoptr (Values) v = values_random (t->dtype, n_k, 0., 1.), gy = values_random (t->dtype, n_q, 0., 1.);
  g_autoptr (Values) y = values_new (t->dtype, n_q), g = values_new (t->dtype, n_q + 2 * n_k);
  g_autoptr (Values) scratch = scratch_new (sumi_kernels_sdpa_scratch (d, 3));
  g_autoptr (Values) scratch_bwd = scratch_new (sumi_kernels_sdpa_bwd_scratch (d, 3));
  double *p = g_new (double, d->sk), *want = g_new0 (double, n_q + 2 * n_k);

  for (Trial trial = trial_begin (y); trial_next (&trial);)
    t->k->sdpa (d, y->data, q->data, k->data, v->data, scratch->data);
  for (Trial trial = trial_begin (g); trial_next (&trial);)
    t->k->sdpa_bwd (d, g->data, q->data, k->data, v->data, gy->data, scratch_bwd->data);
  for (gint64 i = 0; i < d->n * d->heads * d->sq; i++)
    {
      const Query query = query_of (d, i);
      find_probabilities (&query, q, k, p);
      add_gradients (&query, q, k, v, gy, p, want);
      for (gint64 c = 0; c < d->d; c++)
        {
          double sum = 0.;
          for (gint64 j = 0; j < query.keys; j++)
            sum += p[j] * values_get (v, at (d, d->sk, query.n, query.head, j, c));
          expect_near (t, y, at (d, d->sq, query.n, query.head, query.query, c), sum, 1e-6, 4e-6);
        }
    }
  for (gint64 i = 0; i < n_q + 2 * n_k; i++)
    expect_near (t, g, i, want[i], 4e-6, 4e-5 * (d->scale > 0.f ? 4. : 1.));
  g_free (p);
  g_free (want);
}

static void
check_sdpa (gconstpointer table)
{
  for (guint i = 0; i < G_N_ELEMENTS (attentions); i++)
    check_one_sdpa (table, &attentions[i]);
}

static void
check_embedding (gconstpointer table)
{
  const Table *t = table;
  static const gint64 sizes[][3] = { { 1, 1, 1 }, { 7, 3, 5 }, { 77, 50, 129 }, { 400, 90, 200 } };
  for (guint s = 0; s < G_N_ELEMENTS (sizes); s++)
    {
      const gint64 n = sizes[s][0], rows = sizes[s][1], c = sizes[s][2];
      g_autoptr (Values) source = values_random (t->dtype, rows * c, 0., 1.), y = values_new (t->dtype, n * c);
      g_autoptr (Values) gy = values_random (t->dtype, n * c, 0., 1.), g = values_new (SUMI_F32, rows * c);
      gint64 *ids = g_new (gint64, n);
      double *want = g_new0 (double, rows *c);
      for (gint64 i = 0; i < n; i++)
        ids[i] = random_between (0, rows - 1);
      for (Trial trial = trial_begin (y); trial_next (&trial);)
        g_assert_true (t->k->embedding (n, rows, c, y->data, source->data, ids));
      for (Trial trial = trial_begin (g); trial_next (&trial);)
        g_assert_true (t->k->embedding_bwd (n, rows, c, g->data, ids, gy->data));
      for (gint64 i = 0; i < n * c; i++)
        {
          g_assert_cmpfloat (values_get (y, i), ==, values_get (source, ids[i / c] * c + i % c));
          want[ids[i / c] * c + i % c] += values_get (gy, i);
        }
      for (gint64 i = 0; i < rows * c; i++)
        expect_near (t, g, i, want[i], 1e-6, 1e-6 * (double)n);
      ids[n - 1] = rows;
      g_assert_false (t->k->embedding (n, rows, c, y->data, source->data, ids));
      ids[n - 1] = -1;
      g_assert_false (t->k->embedding_bwd (n, rows, c, g->data, ids, gy->data));
      g_free (ids);
      g_free (want);
    }
}

static void
check_timestep_embedding (gconstpointer table)
{
  const Table *t = table;
  g_autoptr (Values) times = values_random (SUMI_F32, 5, 500., 500.);
  for (guint dim = 4; dim <= 320; dim = dim * 3 / 2 * 2)
    for (guint form = 0; form < 4; form++)
      {
        const double shift = form & 2 ? 1. : 0.;
        const guint half = dim / 2;
        g_autoptr (Values) y = values_new (t->dtype, 5 * dim);
        t->k->timestep_embedding (5, dim, form & 1, shift, 1e4, y->data, times->data);
        for (guint i = 0; i < 5 * dim; i++)
          {
            const guint j = i % dim;
            const double angle = values_get (times, i / dim) * pow (1e4, -(double)(j % half) / (half - shift));
            expect_near (t, y, i, (j < half) == (form & 1) ? cos (angle) : sin (angle), 1e-7, 1e-7);
          }
      }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_tests ("sdpa", check_sdpa);
  add_tests ("embedding", check_embedding);
  add_tests ("timestep-embedding", check_timestep_embedding);
  return g_test_run ();
}
