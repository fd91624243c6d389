/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Conversion, arithmetic, activations: against doubles. */
#include <math.h>
#include <string.h>

#include "kernels-test.h"

static const gint64 lengths[] = { 1, 3, 15, 16, 17, 63, 1000, 70001 };

static void
check_convert (gconstpointer table)
{
  const Table *t = table;
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    {
      const gint64 n = lengths[i];
      g_autoptr (Values) x = values_random (SUMI_F32, n, 0., 100.), y = values_new (t->dtype, n);
      g_autoptr (Values) back = values_new (SUMI_F32, n), wanted = values_new (t->dtype, n);
      for (Trial trial = trial_begin (y); trial_next (&trial);)
        t->k->from_f32 (n, y->data, x->data);
      for (Trial trial = trial_begin (back); trial_next (&trial);)
        t->k->to_f32 (n, back->data, y->data);
      for (gint64 j = 0; j < n; j++)
        {
          values_set (wanted, j, values_get (x, j));
          g_assert_cmpfloat (values_get (y, j), ==, values_get (wanted, j));
          g_assert_cmpfloat (values_get (back, j), ==, values_get (wanted, j));
        }
      for (Trial trial = trial_begin (y); trial_next (&trial);)
        t->k->fill (n, y->data, 0.15625f);
      for (gint64 j = 0; j < n; j++)
        g_assert_cmpfloat (values_get (y, j), ==, 0.15625);
    }
}

/* Not numbers, infinities, ties and subnormals in every lane. */
static void
check_convert_special (gconstpointer table)
{
  const Table *t = table;
  static const guint32 bits[] = { 0x7f800001, 0xffffffff, 0x7fc00000, 0x7f800000, 0xff800000, 0x3f808000,
                                  0x3f818000, 0x3f808001, 0x00000001, 0x807fffff, 0x7f7fffff, 0x80000000 };
  g_autoptr (Values) x = values_new (SUMI_F32, 37), y = values_new (t->dtype, 37), wanted = values_new (t->dtype, 37);
  for (guint first = 0; first < G_N_ELEMENTS (bits); first++)
    {
      for (guint j = 0; j < 37; j++)
        {
          memcpy ((float *)x->data + j, &bits[(first + j) % G_N_ELEMENTS (bits)], 4);
          values_set (wanted, j, 0.);
        }
      t->k->from_f32 (37, y->data, x->data);
      for (guint j = 0; j < 37; j++)
        {
          const float f = ((float *)x->data)[j];
          values_set (wanted, j, (double)f);
          if (isnan (f))
            g_assert_true (isnan (values_get (y, j)));
          else
            g_assert_cmpfloat (values_get (y, j), ==, values_get (wanted, j));
        }
    }
}

static double
binary_of (SumiBinary op, double a, double b)
{
  switch (op)
    {
    case SUMI_BINARY_ADD:
      return a + b;
    case SUMI_BINARY_SUB:
      return a - b;
    case SUMI_BINARY_MUL:
      return a * b;
    default:
      return a / b;
    }
}

static void
check_one_binary (const Table *t, SumiBinary op, const SumiShape *dims, const gint64 *sy, const gint64 *sa,
                  const gint64 *sb)
{
  g_autoptr (Values) a = values_random (t->dtype, extent_of (dims, sa), 0., 3.);
  g_autoptr (Values) b = values_random (t->dtype, extent_of (dims, sb), 2., 1.);
  g_autoptr (Values) y = values_new (t->dtype, extent_of (dims, sy));
  const gint64 numel = sumi_shape_numel (dims);
  gint64 untouched = y->n - numel;
  for (Trial trial = trial_begin (y); trial_next (&trial);)
    t->k->binary (op, dims, y->data, sy, a->data, sa, b->data, sb);
  for (gint64 i = 0; i < numel; i++)
    {
      const double u = values_get (a, offset_of (dims, sa, i)), v = values_get (b, offset_of (dims, sb, i));
      expect_near (t, y, offset_of (dims, sy, i), binary_of (op, u, v), 1e-7, 1e-30);
    }
  for (gint64 i = 0; i < y->n; i++)
    untouched -= isnan (values_get (y, i)) ? 1 : 0;
  g_assert_cmpint (untouched, ==, 0); /* the gaps */
}

static void
check_binary (gconstpointer table)
{
  const Table *t = table;
  gint64 sy[SUMI_MAX_RANK], sa[SUMI_MAX_RANK], sb[SUMI_MAX_RANK];
  for (guint i = 0; i < 120; i++)
    {
      const SumiShape dims = random_shape (5, i % 10 == 0 ? 200000 : 5000);
      random_strides (&dims, 0, sy);
      random_strides (&dims, (guint)random_between (0, 31) & (guint)random_between (0, 31), sa);
      random_strides (&dims, (guint)random_between (0, 31) & (guint)random_between (0, 31), sb);
      check_one_binary (t, (SumiBinary)(i % SUMI_N_BINARIES), &dims, sy, sa, sb);
    }
  /* what networks do: a bias, a time embedding, a scalar */
  const SumiShape picture = SUMI_SHAPE (2, 16, 16, 96);
  const gint64 dense[] = { 16 * 16 * 96, 16 * 96, 96, 1 }, bias[] = { 0, 0, 0, 1 }, time[] = { 96, 0, 0, 1 };
  const gint64 scalar[] = { 0, 0, 0, 0 };
  check_one_binary (t, SUMI_BINARY_ADD, &picture, dense, dense, bias);
  check_one_binary (t, SUMI_BINARY_ADD, &picture, dense, dense, time);
  check_one_binary (t, SUMI_BINARY_DIV, &picture, dense, scalar, dense);
  check_one_binary (t, SUMI_BINARY_MUL, &picture, dense, dense, scalar);
}

static void
check_binary_in_place (gconstpointer table)
{
  const Table *t = table;
  const SumiShape dims = SUMI_SHAPE (7, 5, 33);
  const gint64 dense[] = { 165, 33, 1 }, row[] = { 0, 0, 1 };
  for (guint second = 0; second < 2; second++)
    {
      g_autoptr (Values) a = values_random (t->dtype, 1155, 0., 3.), b = values_random (t->dtype, 1155, 2., 1.);
      g_autoptr (Values) start = values_copy (second ? b : a);
      if (second)
        t->k->binary (SUMI_BINARY_SUB, &dims, b->data, dense, a->data, row, b->data, dense);
      else
        t->k->binary (SUMI_BINARY_SUB, &dims, a->data, dense, a->data, dense, b->data, row);
      for (gint64 i = 0; i < 1155; i++)
        if (second)
          expect_near (t, b, i, values_get (a, i % 33) - values_get (start, i), 1e-7, 1e-30);
        else
          expect_near (t, a, i, values_get (start, i) - values_get (b, i % 33), 1e-7, 1e-30);
    }
}

static void
check_affine (gconstpointer table)
{
  const Table *t = table;
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    {
      g_autoptr (Values) x = values_random (t->dtype, lengths[i], 0., 4.), y = values_copy (x);
      for (Trial trial = trial_begin (y); trial_next (&trial);)
        t->k->affine (lengths[i], y->data, y->data, -0.75f, 0.5f);
      for (gint64 j = 0; j < lengths[i]; j++)
        expect_near (t, y, j, -0.75 * values_get (x, j) + 0.5, 1e-7, 1e-7);
    }
}

/* ---- activations ---- */

static double
normal_cdf (double x)
{
  return 0.5 * erfc (-x * M_SQRT1_2);
}

static double
act_of (SumiAct kind, double x)
{
  switch (kind)
    {
    case SUMI_ACT_RELU:
      return MAX (x, 0.);
    case SUMI_ACT_SILU:
      return x / (1. + exp (-x));
    case SUMI_ACT_SIGMOID:
      return 1. / (1. + exp (-x));
    case SUMI_ACT_TANH:
      return tanh (x);
    case SUMI_ACT_GELU:
      return x * normal_cdf (x);
    case SUMI_ACT_QUICK_GELU:
      return x / (1. + exp (-1.702 * x));
    case SUMI_ACT_EXP:
      return exp (x);
    case SUMI_ACT_SQRT:
      return sqrt (x);
    default:
      return x;
    }
}

static double
slope_of (SumiAct kind, double x)
{
  const double k = kind == SUMI_ACT_QUICK_GELU ? 1.702 : 1., s = 1. / (1. + exp (-k * x));
  switch (kind)
    {
    case SUMI_ACT_RELU:
      return x > 0. ? 1. : 0.;
    case SUMI_ACT_SILU:
    case SUMI_ACT_QUICK_GELU:
      return s + k * x * s * (1. - s);
    case SUMI_ACT_SIGMOID:
      return s * (1. - s);
    case SUMI_ACT_TANH:
      return 1. / (cosh (x) * cosh (x));
    case SUMI_ACT_GELU:
      return normal_cdf (x) + x * exp (-0.5 * x * x) / sqrt (2. * G_PI);
    case SUMI_ACT_EXP:
      return exp (x);
    case SUMI_ACT_SQRT:
      return 0.5 / sqrt (x);
    default:
      return 1.;
    }
}

/* The whole range of an activation: small, usual and saturated arguments of both signs. */
static Values *
arguments (const Table *t, SumiAct kind, gint64 n)
{
  Values *x = values_new (t->dtype, n);
  for (gint64 i = 0; i < n; i++)
    {
      const double u = g_test_rand_double_range (-1., 1.), spread = (double[]){ 1e-4, 1., 8., 87. }[i % 4];
      values_set (x, i, kind == SUMI_ACT_SQRT ? fabs (u) * spread + 1e-6 : u * spread);
    }
  return x;
}

/* Rounding 1.702 x moves an exponent: an error that grows with the argument. */
static double
relative_error (SumiAct kind, double x)
{
  return 6e-7 + (kind == SUMI_ACT_QUICK_GELU ? 2.5e-7 * fabs (x) : 0.);
}

static void
check_act (gconstpointer table)
{
  const Table *t = table;
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    for (SumiAct kind = 0; kind < SUMI_N_ACTS; kind++)
      {
        g_autoptr (Values) x = arguments (t, kind, lengths[i]), y = values_copy (x);
        for (Trial trial = trial_begin (y); trial_next (&trial);)
          t->k->act (lengths[i], y->data, y->data, kind);
        for (gint64 j = 0; j < lengths[i]; j++)
          {
            const double v = values_get (x, j);
            expect_near (t, y, j, act_of (kind, v), relative_error (kind, v), 1e-36);
          }
      }
}

static void
check_act_bwd (gconstpointer table)
{
  const Table *t = table;
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++)
    for (SumiAct kind = 0; kind < SUMI_N_ACTS; kind++)
      {
        g_autoptr (Values) x = arguments (t, kind, lengths[i]), gx = values_random (t->dtype, lengths[i], 0., 2.);
        g_autoptr (Values) gy = values_copy (gx);
        for (Trial trial = trial_begin (gx); trial_next (&trial);)
          t->k->act_bwd (lengths[i], gx->data, x->data, gx->data, kind);
        for (gint64 j = 0; j < lengths[i]; j++)
          {
            const double g = values_get (gy, j);
            expect_near (t, gx, j, g * slope_of (kind, values_get (x, j)), 1e-6, 5e-7 * fabs (g));
          }
      }
}

static void
check_act_special (gconstpointer table)
{
  const Table *t = table;
  g_autoptr (Values) x = values_new (t->dtype, 35), y = values_new (t->dtype, 35);
  for (SumiAct kind = SUMI_ACT_RELU; kind < SUMI_N_ACTS; kind++)
    {
      for (gint64 i = 0; i < 35; i++)
        values_set (x, i, (double)(i % 2 ? NAN : INFINITY));
      t->k->act (35, y->data, x->data, kind);
      for (gint64 i = 0; i < 35; i++)
        if (i % 2)
          g_assert_true (isnan (values_get (y, i)));
        else
          g_assert_cmpfloat (values_get (y, i), ==,
                             kind == SUMI_ACT_SIGMOID || kind == SUMI_ACT_TANH ? 1. : (double)INFINITY);
    }
}

static void
check_bias_act (gconstpointer table)
{
  const Table *t = table;
  static const gint64 sizes[][2] = { { 1, 1 }, { 5, 3 }, { 7, 16 }, { 3, 65 }, { 700, 96 } };
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (SumiAct kind = 0; kind < SUMI_ACT_EXP; kind++)
      {
        const gint64 rows = sizes[i][0], c = sizes[i][1];
        g_autoptr (Values) x = values_random (t->dtype, rows * c, 0., 4.), y = values_copy (x);
        g_autoptr (Values) bias = values_random (SUMI_F32, c, 0., 1.);
        for (Trial trial = trial_begin (y); trial_next (&trial);)
          t->k->bias_act (rows, c, y->data, y->data, bias->data, kind);
        for (gint64 j = 0; j < rows * c; j++)
          expect_near (t, y, j, act_of (kind, values_get (x, j) + values_get (bias, j % c)), 2e-6, 1e-6);
      }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_tests ("convert", check_convert);
  add_tests ("convert-special", check_convert_special);
  add_tests ("binary", check_binary);
  add_tests ("binary-in-place", check_binary_in_place);
  add_tests ("affine", check_affine);
  add_tests ("act", check_act);
  add_tests ("act-bwd", check_act_bwd);
  add_tests ("act-special", check_act_special);
  add_tests ("bias-act", check_bias_act);
  return g_test_run ();
}
