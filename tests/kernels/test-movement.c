/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Copies, sums, pooling, resizing. */
#include <math.h>
#include <string.h>

#include "kernels-test.h"

static void
check_one_copy (const Table *t, const SumiShape *dims, const gint64 *sy, const gint64 *sx)
{
  g_autoptr (Values) x = values_random (t->dtype, extent_of (dims, sx), 0., 1.);
  g_autoptr (Values) y = values_new (t->dtype, extent_of (dims, sy));
  const gint64 numel = sumi_shape_numel (dims);
  gint64 untouched = 0;
  for (Trial trial = trial_begin (y); trial_next (&trial);)
    t->k->copy (dims, y->data, sy, x->data, sx);
  for (gint64 i = 0; i < numel; i++)
    g_assert_cmpfloat (values_get (y, offset_of (dims, sy, i)), ==, values_get (x, offset_of (dims, sx, i)));
  for (gint64 i = 0; i < y->n; i++)
    untouched += isnan (values_get (y, i)) ? 1 : 0;
  g_assert_cmpint (untouched, ==, y->n - numel);
}

static void
check_copy (gconstpointer table)
{
  const Table *t = table;
  gint64 sy[SUMI_MAX_RANK], sx[SUMI_MAX_RANK];
  for (guint i = 0; i < 200; i++)
    {
      const SumiShape dims = random_shape (6, i % 10 == 0 ? 300000 : 20000);
      random_strides (&dims, 0, sy);
      random_strides (&dims, i % 3 == 0 ? (guint)random_between (0, 63) : 0, sx);
      check_one_copy (t, &dims, sy, sx);
    }
  /* layouts, and a part of a concatenation */
  const SumiShape picture = SUMI_SHAPE (2, 70, 31, 33);
  const gint64 nchw[] = { 70 * 31 * 33, 31 * 33, 33, 1 }, nhwc[] = { 70 * 31 * 33, 1, 33 * 70, 70 };
  const gint64 joined[] = { 100 * 31 * 33, 1, 33 * 100, 100 };
  check_one_copy (t, &picture, nhwc, nchw);
  check_one_copy (t, &picture, nchw, nhwc);
  check_one_copy (t, &picture, joined, nhwc);
  const SumiShape line = SUMI_SHAPE (100003);
  check_one_copy (t, &line, (const gint64[]){ 1 }, (const gint64[]){ 1 });
}

static void
check_one_sum (const Table *t, const SumiShape *dims, guint summed, gboolean f32)
{
  gint64 sy[SUMI_MAX_RANK], sx[SUMI_MAX_RANK];
  random_strides (dims, summed, sy);
  random_strides (dims, 0, sx);
  g_autoptr (Values) x = values_random (t->dtype, extent_of (dims, sx), 0.1, 1.);
  g_autoptr (Values) y = values_new (f32 ? SUMI_F32 : t->dtype, extent_of (dims, sy));
  g_autoptr (Values) scratch = scratch_new (sumi_kernels_sum_scratch (dims, sy));
  const gint64 numel = sumi_shape_numel (dims);
  double *sums = g_new0 (double, y->n), *sizes = g_new0 (double, y->n);

  for (Trial trial = trial_begin (y); trial_next (&trial);)
    t->k->sum (dims, y->data, sy, f32, x->data, sx, scratch->data);
  for (gint64 i = 0; i < numel; i++)
    {
      const double v = values_get (x, offset_of (dims, sx, i));
      sums[offset_of (dims, sy, i)] += v;
      sizes[offset_of (dims, sy, i)] += fabs (v);
    }
  for (gint64 i = 0; i < y->n; i++)
    if (sizes[i] > 0.)
      expect_near (t, y, i, sums[i], 1e-7, 4e-7 * sizes[i]);
    else
      g_assert_true (isnan (values_get (y, i)));
  g_free (sums);
  g_free (sizes);
}

static void
check_sum (gconstpointer table)
{
  const Table *t = table;
  for (guint i = 0; i < 150; i++)
    {
      const SumiShape dims = random_shape (5, i % 10 == 0 ? 400000 : 20000);
      check_one_sum (t, &dims, (guint)random_between (0, 31), i % 2 == 0);
    }
  for (guint i = 0; i < 6; i++) /* a bias, a time embedding, a mean; layouts are random */
    {
      check_one_sum (t, &SUMI_SHAPE (9, 16, 16, 70), 7, TRUE);
      check_one_sum (t, &SUMI_SHAPE (9, 256, 3), 3, TRUE);
      check_one_sum (t, &SUMI_SHAPE (5, 300, 70), 2, FALSE);
      check_one_sum (t, &SUMI_SHAPE (300007), 1, TRUE);
      check_one_sum (t, &SUMI_SHAPE (3, 4099), 2, FALSE);
      check_one_sum (t, &SUMI_SHAPE (600, 2500), 1, FALSE);
    }
}

/* ---- pictures ---- */

static gint64
pixel (const SumiPicture *d, gint64 n, gint64 y, gint64 x, gint64 c)
{
  return ((n * d->h + y) * d->w + x) * d->c + c;
}

static const SumiPicture pictures[]
    = { { 1, 1, 1, 1 }, { 2, 4, 6, 3 }, { 1, 7, 5, 17 }, { 3, 9, 9, 32 }, { 2, 17, 16, 70 }, { 1, 3, 5, 16 } };

static void
check_one_pool (const Table *t, const SumiPicture *d, guint kernel, guint stride)
{
  const SumiPicture out = { d->n, (d->h - kernel) / stride + 1, (d->w - kernel) / stride + 1, d->c };
  const gint64 n_in = d->n * d->h * d->w * d->c, n_out = out.n * out.h * out.w * out.c;
  g_autoptr (Values) x = values_new (t->dtype, n_in), y = values_new (t->dtype, n_out);
  g_autoptr (Values) gy = values_random (t->dtype, n_out, 0., 1.), gx = values_new (t->dtype, n_in);
  double *want = g_new0 (double, n_in);
  for (gint64 i = 0; i < n_in; i++)
    values_set (x, i, (double)random_between (-4, 4)); /* so that maxima are often shared */

  for (Trial trial = trial_begin (y); trial_next (&trial);)
    t->k->max_pool2d (d, kernel, stride, y->data, x->data);
  for (Trial trial = trial_begin (gx); trial_next (&trial);)
    t->k->max_pool2d_bwd (d, kernel, stride, gx->data, x->data, gy->data);
  for (gint64 i = 0; i < n_out; i++)
    {
      const gint64 c = i % d->c, column = i / d->c % out.w, row = i / d->c / out.w % out.h,
                   n = i / d->c / out.w / out.h;
      gint64 best = pixel (d, n, row * stride, column * stride, c);
      for (guint j = 0; j < kernel * kernel; j++)
        {
          const gint64 at = pixel (d, n, row * stride + j / kernel, column * stride + j % kernel, c);
          best = values_get (x, at) > values_get (x, best) ? at : best;
        }
      g_assert_cmpfloat (values_get (y, i), ==, values_get (x, best));
      want[best] += values_get (gy, i);
    }
  for (gint64 i = 0; i < n_in; i++)
    expect_near (t, gx, i, want[i], 3e-7, 3e-7);
  g_free (want);
}

static void
check_pool (gconstpointer table)
{
  for (guint i = 0; i < G_N_ELEMENTS (pictures); i++)
    for (guint kernel = 1; kernel <= 3; kernel++)
      for (guint stride = 1; stride <= 3; stride++)
        if (pictures[i].h >= kernel && pictures[i].w >= kernel)
          check_one_pool (table, &pictures[i], kernel, stride);
}

static void
check_one_upsample (const Table *t, const SumiPicture *d, gint64 height, gint64 width)
{
  const SumiPicture out = { d->n, height, width, d->c };
  const gint64 n_in = d->n * d->h * d->w * d->c, n_out = d->n * height * width * d->c;
  g_autoptr (Values) x = values_random (t->dtype, n_in, 0., 1.), y = values_new (t->dtype, n_out);
  g_autoptr (Values) gy = values_random (t->dtype, n_out, 0., 1.), gx = values_new (t->dtype, n_in);
  double *want = g_new0 (double, n_in);

  for (Trial trial = trial_begin (y); trial_next (&trial);)
    t->k->upsample (d, height, width, y->data, x->data);
  for (Trial trial = trial_begin (gx); trial_next (&trial);)
    t->k->upsample_bwd (d, height, width, gx->data, gy->data);
  for (gint64 i = 0; i < n_out; i++)
    {
      const gint64 c = i % d->c, column = i / d->c % width, row = i / d->c / width % height;
      const gint64 from = pixel (d, i / d->c / width / height, row * d->h / height, column * d->w / width, c);
      g_assert_cmpint (pixel (&out, i / d->c / width / height, row, column, c), ==, i);
      g_assert_cmpfloat (values_get (y, i), ==, values_get (x, from));
      want[from] += values_get (gy, i);
    }
  for (gint64 i = 0; i < n_in; i++)
    expect_near (t, gx, i, want[i], 1e-6, 1e-6);
  g_free (want);
}

static void
check_upsample (gconstpointer table)
{
  for (guint i = 0; i < G_N_ELEMENTS (pictures); i++)
    {
      const SumiPicture *d = &pictures[i];
      check_one_upsample (table, d, 2 * d->h, 2 * d->w);
      check_one_upsample (table, d, d->h + 3, 3 * d->w - 1);
      check_one_upsample (table, d, (d->h + 1) / 2, d->w); /* smaller: some pixels have no reader */
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_tests ("copy", check_copy);
  add_tests ("sum", check_sum);
  add_tests ("pool", check_pool);
  add_tests ("upsample", check_upsample);
  return g_test_run ();
}
