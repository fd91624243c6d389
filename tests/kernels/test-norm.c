/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Norms and softmax, and their gradients, against doubles. */
#include <math.h>
#include <string.h>

#include "kernels-test.h"

/* ---- group norm ---- */

static const SumiGroupNormDims group_norms[] = {
  { 2, 4, 1, TRUE, 2, 1e-5f, SUMI_ACT_NONE },     { 1, 6, 15, TRUE, 3, 1e-5f, SUMI_ACT_SILU },
  { 3, 32, 17, TRUE, 32, 1e-5f, SUMI_ACT_SILU },  { 2, 96, 300, TRUE, 32, 1e-5f, SUMI_ACT_SILU },
  { 1, 130, 700, TRUE, 1, 1e-6f, SUMI_ACT_NONE }, { 9, 64, 256, TRUE, 8, 1e-5f, SUMI_ACT_SILU },
  { 2, 320, 64, TRUE, 32, 1e-5f, SUMI_ACT_SILU }, { 2, 3, 12000, TRUE, 3, 1e-5f, SUMI_ACT_NONE },
  { 2, 6, 31, FALSE, 3, 1e-5f, SUMI_ACT_SILU },   { 1, 64, 1100, FALSE, 16, 1e-5f, SUMI_ACT_NONE },
  { 9, 8, 600, FALSE, 2, 1e-5f, SUMI_ACT_SILU },  { 2, 5, 1, FALSE, 5, 1e-3f, SUMI_ACT_SILU },
};

static gint64
place (const SumiGroupNormDims *d, gint64 n, gint64 c, gint64 s)
{
  return n * d->c * d->s + (d->channels_last ? s * d->c + c : c * d->s + s);
}

/* Arrays: x^, z, gz per value, r per (n, group). */
typedef struct
{
  double *hat, *z, *gz, *r;
  double lost; /* at least 1: the largest |mean| r, by which the subtraction of a mean makes rounding errors larger */
} Oracle;

static void
oracle_group (const SumiGroupNormDims *d, gint64 n, gint64 group, const Values *x, const Values *w, const Values *b,
              const Values *gy, Oracle *o)
{
  const gint64 cg = d->c / d->groups, m = cg * d->s;
  double mean = 0., var = 0.;
  for (gint64 i = 0; i < m; i++)
    mean += values_get (x, place (d, n, group * cg + i / d->s, i % d->s)) / (double)m;
  for (gint64 i = 0; i < m; i++)
    {
      const double v = values_get (x, place (d, n, group * cg + i / d->s, i % d->s)) - mean;
      var += v * v / (double)m;
    }
  const double r = 1. / sqrt (var + (double)d->eps);
  o->r[n * d->groups + group] = r;
  o->lost = MAX (o->lost, fabs (mean) * r);
  for (gint64 i = 0; i < m; i++)
    {
      const gint64 c = group * cg + i / d->s, at = place (d, n, c, i % d->s);
      o->hat[at] = (values_get (x, at) - mean) * r;
      o->z[at] = o->hat[at] * values_get (w, c) + values_get (b, c);
      const double s = 1. / (1. + exp (-o->z[at]));
      o->gz[at] = values_get (gy, at) * (d->act == SUMI_ACT_SILU ? s * (1. + o->z[at] * (1. - s)) : 1.);
    }
}

static void
expect_gx (const Table *t, const SumiGroupNormDims *d, const Values *w, const Values *gx, const Oracle *o)
{
  const gint64 cg = d->c / d->groups, m = cg * d->s;
  for (gint64 group = 0; group < d->n * d->groups; group++)
    {
      const gint64 n = group / d->groups, first = group % d->groups * cg;
      double s1 = 0., s2 = 0.;
      for (gint64 i = 0; i < m; i++)
        {
          const gint64 at = place (d, n, first + i / d->s, i % d->s);
          s1 += o->gz[at] * values_get (w, first + i / d->s) / (double)m;
          s2 += o->gz[at] * values_get (w, first + i / d->s) * o->hat[at] / (double)m;
        }
      for (gint64 i = 0; i < m; i++)
        {
          const gint64 at = place (d, n, first + i / d->s, i % d->s);
          const double wgz = values_get (w, first + i / d->s) * o->gz[at];
          expect_near (t, gx, at, o->r[group] * (wgz - s1 - o->hat[at] * s2), 1e-6, 2e-6 * o->lost * o->r[group]);
        }
    }
}

static void
expect_gw (const Table *t, const SumiGroupNormDims *d, const Values *gw, const Oracle *o)
{
  for (gint64 c = 0; c < d->c; c++)
    {
      double dw = 0., db = 0., size = 0.;
      for (gint64 i = 0; i < d->n * d->s; i++)
        {
          const gint64 at = place (d, i / d->s, c, i % d->s);
          db += o->gz[at];
          dw += o->gz[at] * o->hat[at];
          size += fabs (o->gz[at]) * (1. + fabs (o->hat[at]));
        }
      expect_near (t, gw, c, dw, 1e-6, 4e-7 * o->lost * size);
      expect_near (t, gw, d->c + c, db, 1e-6, 4e-7 * o->lost * size);
    }
}

/* The narrow forms round what the others write. */
static void
expect_narrow (const Values *narrow, const Values *y)
{
  for (gint64 i = 0; i < y->n; i++)
    g_assert_cmpfloat (fabs (values_get (narrow, i) - values_get (y, i)), <=, 1e-5 + fabs (values_get (y, i)) / 256.);
}

/* In place or not. */
static void
expect_same (const Values *a, const Values *b)
{
  for (gint64 i = 0; i < a->n; i++)
    g_assert_cmpfloat (values_get (a, i), ==, values_get (b, i));
}

static void
check_one_group_norm (const Table *t, const SumiGroupNormDims *d, double centre)
{
  const gint64 numel = d->n * d->c * d->s;
  g_autoptr (Values) x = values_random (t->dtype, numel, centre, 2.), y = values_new (t->dtype, numel);
  g_autoptr (Values) w = values_random (SUMI_F32, d->c, 1., 0.5), b = values_random (SUMI_F32, d->c, 0., 0.5);
  g_autoptr (Values) gy = values_random (t->dtype, numel, 0., 1.), gx = values_new (t->dtype, numel);
  g_autoptr (Values) gw = values_new (SUMI_F32, 2 * d->c), narrow = values_new (SUMI_BF16, numel);
  g_autoptr (Values) scratch = scratch_new (sumi_kernels_group_norm_scratch (d));
  Oracle o
      = { g_new (double, numel), g_new (double, numel), g_new (double, numel), g_new (double, d->n * d->groups), 1. };

  for (gint64 i = 0; i < d->n * d->groups; i++)
    oracle_group (d, i / d->groups, i % d->groups, x, w, b, gy, &o);
  for (Trial trial = trial_begin (y); trial_next (&trial);)
    t->k->group_norm (d, y->data, x->data, w->data, b->data, scratch->data);
  for (gint64 i = 0; i < numel; i++)
    expect_near (t, y, i, d->act == SUMI_ACT_SILU ? o.z[i] / (1. + exp (-o.z[i])) : o.z[i], 1e-6, 1e-6 * o.lost);
  {
    g_autoptr (Values) same = values_copy (x);
    t->k->group_norm (d, same->data, same->data, w->data, b->data, scratch->data);
    expect_same (same, y);
  }
  for (Trial trial = trial_begin (narrow); trial_next (&trial);)
    t->k->group_norm_narrow (d, narrow->data, x->data, w->data, b->data, scratch->data);
  expect_narrow (narrow, y);
  for (Trial trial = trial_begin (gx); trial_next (&trial);)
    t->k->group_norm_bwd_x (d, gx->data, x->data, w->data, b->data, gy->data, scratch->data);
  expect_gx (t, d, w, gx, &o);
  for (Trial trial = trial_begin (gw); trial_next (&trial);)
    t->k->group_norm_bwd_w (d, gw->data, x->data, w->data, b->data, gy->data, scratch->data);
  expect_gw (t, d, gw, &o);
  {
    g_autoptr (Values) gx_both = values_new (t->dtype, numel), gw_both = values_new (SUMI_F32, 2 * d->c);
    t->k->group_norm_bwd (d, gx_both->data, gw_both->data, x->data, w->data, b->data, gy->data, scratch->data);
    for (gint64 i = 0; i < numel; i++)
      g_assert_cmpfloat (values_get (gx_both, i), ==, values_get (gx, i));
    for (gint64 i = 0; i < 2 * d->c; i++)
      g_assert_cmpfloat (values_get (gw_both, i), ==, values_get (gw, i));
  }
  g_free (o.hat);
  g_free (o.z);
  g_free (o.gz);
  g_free (o.r);
}

static void
check_group_norm (gconstpointer table)
{
  for (guint i = 0; i < G_N_ELEMENTS (group_norms); i++)
    {
      check_one_group_norm (table, &group_norms[i], 0.);
      check_one_group_norm (table, &group_norms[i], 30.);
    }
}

/* ---- rows ---- */

static const gint64 sizes[][2]
    = { { 1, 1 }, { 3, 2 }, { 5, 15 }, { 7, 16 }, { 2, 77 }, { 4, 64 }, { 300, 130 }, { 70, 1000 } };

static void
oracle_row (gint64 c, double eps, const Values *x, gint64 row, double *mean, double *r)
{
  double var = 0.;
  *mean = 0.;
  for (gint64 i = 0; i < c; i++)
    *mean += values_get (x, row * c + i) / (double)c;
  for (gint64 i = 0; i < c; i++)
    var += pow (values_get (x, row * c + i) - *mean, 2.) / (double)c;
  *r = 1. / sqrt (var + eps);
}

static void
expect_layer_norm_row (const Table *t, gint64 c, gint64 row, double mean, double r, const Values *x, const Values *w,
                       const Values *b, const Values *gy, const Values *y, const Values *gx)
{
  double m1 = 0., m2 = 0.;
  for (gint64 i = row * c; i < (row + 1) * c; i++)
    {
      const double hat = (values_get (x, i) - mean) * r, wg = values_get (w, i % c) * values_get (gy, i);
      expect_near (t, y, i, hat * values_get (w, i % c) + values_get (b, i % c), 1e-6, 2e-6);
      m1 += wg / (double)c;
      m2 += wg * hat / (double)c;
    }
  for (gint64 i = row * c; i < (row + 1) * c; i++)
    {
      const double hat = (values_get (x, i) - mean) * r, wg = values_get (w, i % c) * values_get (gy, i);
      expect_near (t, gx, i, r * (wg - m1 - hat * m2), 1e-6, 4e-6 * r);
    }
}

static void
check_one_layer_norm (const Table *t, gint64 rows, gint64 c)
{
  const float eps = 1e-5f;
  g_autoptr (Values) x = values_random (t->dtype, rows * c, 0.5, 2.), y = values_new (t->dtype, rows * c);
  g_autoptr (Values) w = values_random (SUMI_F32, c, 1., 0.5), b = values_random (SUMI_F32, c, 0., 0.5);
  g_autoptr (Values) gy = values_random (t->dtype, rows * c, 0., 1.), gx = values_new (t->dtype, rows * c);
  g_autoptr (Values) gw = values_new (SUMI_F32, 2 * c), narrow = values_new (SUMI_BF16, rows * c);
  g_autoptr (Values) scratch = scratch_new (sumi_kernels_layer_norm_bwd_w_scratch (rows, c));
  double *want = g_new0 (double, 2 * c);

  for (Trial trial = trial_begin (y); trial_next (&trial);)
    t->k->layer_norm (rows, c, eps, y->data, x->data, w->data, b->data);
  {
    g_autoptr (Values) same = values_copy (x);
    t->k->layer_norm (rows, c, eps, same->data, same->data, w->data, b->data);
    expect_same (same, y);
  }
  for (Trial trial = trial_begin (narrow); trial_next (&trial);)
    t->k->layer_norm_narrow (rows, c, eps, narrow->data, x->data, w->data, b->data);
  expect_narrow (narrow, y);
  for (Trial trial = trial_begin (gx); trial_next (&trial);)
    t->k->layer_norm_bwd_x (rows, c, eps, gx->data, x->data, w->data, gy->data);
  for (Trial trial = trial_begin (gw); trial_next (&trial);)
    t->k->layer_norm_bwd_w (rows, c, eps, gw->data, x->data, gy->data, scratch->data);
  for (gint64 row = 0; row < rows; row++)
    {
      double mean, r;
      oracle_row (c, (double)eps, x, row, &mean, &r);
      expect_layer_norm_row (t, c, row, mean, r, x, w, b, gy, y, gx);
      for (gint64 i = 0; i < c; i++)
        {
          want[i] += values_get (gy, row * c + i) * (values_get (x, row * c + i) - mean) * r;
          want[c + i] += values_get (gy, row * c + i);
        }
    }
  for (gint64 i = 0; i < 2 * c; i++)
    expect_near (t, gw, i, want[i], 1e-6, 1e-6 * (double)rows);
  g_free (want);
}

static void
check_layer_norm (gconstpointer table)
{
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    check_one_layer_norm (table, sizes[i][0], sizes[i][1]);
}

static void
check_one_softmax (const Table *t, gint64 rows, gint64 c, double spread)
{
  g_autoptr (Values) x = values_random (t->dtype, rows * c, 100., spread), y = values_copy (x);
  g_autoptr (Values) gy = values_random (t->dtype, rows * c, 0., 1.), gx = values_new (t->dtype, rows * c);

  for (Trial trial = trial_begin (y); trial_next (&trial);)
    t->k->softmax (rows, c, y->data, y->data);
  for (Trial trial = trial_begin (gx); trial_next (&trial);)
    t->k->softmax_bwd (rows, c, gx->data, y->data, gy->data);
  for (gint64 row = 0; row < rows; row++)
    {
      double best = -INFINITY, sum = 0., dot = 0.;
      for (gint64 i = row * c; i < (row + 1) * c; i++)
        best = MAX (best, values_get (x, i));
      for (gint64 i = row * c; i < (row + 1) * c; i++)
        {
          sum += exp (values_get (x, i) - best);
          dot += values_get (y, i) * values_get (gy, i);
        }
      for (gint64 i = row * c; i < (row + 1) * c; i++)
        {
          const double v = values_get (x, i) - best; /* its rounding is one of the result */
          expect_near (t, y, i, exp (v) / sum, 1e-6 + 1.2e-7 * fabs (v), 1e-37);
          expect_near (t, gx, i, values_get (y, i) * (values_get (gy, i) - dot), 1e-6,
                       1e-6 * values_get (y, i) + 1e-37);
        }
    }
}

static void
check_softmax (gconstpointer table)
{
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      check_one_softmax (table, sizes[i][0], sizes[i][1], 3.);
      check_one_softmax (table, sizes[i][0], sizes[i][1], 40.);
    }
}

/* A masked score has no share at all, and what is not a number is seen. */
static void
check_softmax_special (gconstpointer table)
{
  const Table *t = table;
  for (gint64 at = 0; at < 37; at++)
    {
      g_autoptr (Values) x = values_random (t->dtype, 37, 0., 1.), y = values_new (t->dtype, 37);
      values_set (x, at, -INFINITY);
      t->k->softmax (1, 37, y->data, x->data);
      for (gint64 i = 0; i < 37; i++)
        g_assert_true (i == at ? values_get (y, i) == 0. : values_get (y, i) > 0.);
      values_set (x, at, NAN);
      t->k->softmax (1, 37, y->data, x->data);
      g_assert_true (isnan (values_get (y, (at + 1) % 37)));
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_tests ("group-norm", check_group_norm);
  add_tests ("layer-norm", check_layer_norm);
  add_tests ("softmax", check_softmax);
  add_tests ("softmax-special", check_softmax_special);
  return g_test_run ();
}
