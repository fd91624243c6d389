/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Random networks on both engines: what the case table does not think of, most of all values that meet an op in a
 * layout that it did not expect, and memory that was taken too early. */
#include <math.h>

#include "graph/autodiff.h"
#include "harness.h"

#define N_GRAPHS 150
#define MAX_NUMEL 3000

typedef struct
{
  SumiGraph *g;
  GRand *random;
  GPtrArray *pool; /* of (N,C,H,W) */
} Maker;

static gint64
below (Maker *m, gint64 n)
{
  return g_rand_int_range (m->random, 0, (gint32)n);
}

/* Rather a late value than an early one. */
static SumiNode *
pick (Maker *m)
{
  guint n = m->pool->len;

  return m->pool->pdata[MAX (below (m, n), below (m, n))];
}

/* Scaled so that a product with it, of k terms, stays about as large as its other factor. */
static SumiNode *
weight (Maker *m, const SumiShape *shape, gint64 k)
{
  g_autofree char *name = g_strdup_printf ("weight.%u", sumi_graph_get_size (m->g));

  return sumi_affine (m->g, sumi_param (m->g, name, shape), 1 / sqrt ((double)k), 0);
}

static SumiNode *
plain_weight (Maker *m, const SumiShape *shape)
{
  return weight (m, shape, 1);
}

/* ---- steps: each takes and gives a picture ---- */

static SumiNode *
step_act (Maker *m, SumiNode *x)
{
  return sumi_act (m->g, x, SUMI_ACT_RELU + below (m, SUMI_ACT_QUICK_GELU - SUMI_ACT_RELU + 1));
}

static SumiNode *
step_binary (Maker *m, SumiNode *x)
{
  SumiNode *other = sumi_act (m->g, pick (m), SUMI_ACT_TANH);
  SumiShape shape = x->shape;

  for (guint axis = 0; axis < 4; axis++)
    if (other->shape.d[axis] != x->shape.d[axis] || below (m, 4) == 0)
      {
        other = sumi_slice (m->g, other, axis, below (m, other->shape.d[axis]), 1);
        shape.d[axis] = 1;
      }
  if (below (m, 3) == 0 && shape.d[0] == 1)
    other = sumi_reshape (m->g, other, &SUMI_SHAPE (shape.d[1], shape.d[2], shape.d[3]));
  switch (below (m, 4))
    {
    case 0:
      return sumi_add (m->g, x, other);
    case 1:
      return sumi_sub (m->g, other, x);
    case 2:
      return sumi_mul (m->g, x, other);
    default:
      return sumi_div (m->g, x, sumi_affine (m->g, other, 0.5, 1.5));
    }
}

static SumiNode *
step_conv (Maker *m, SumiNode *x)
{
  gint64 out = 1 + below (m, 20), kernel = 1 + below (m, 3), channels = x->shape.d[1];
  guint stride = 1 + (guint)below (m, 2), pad = kernel > 1, more = kernel > 2 ? (guint)below (m, 2) : 0;
  SumiNode *w = plain_weight (m, &SUMI_SHAPE (out, channels, kernel, kernel));
  SumiNode *b = below (m, 2) ? plain_weight (m, &SUMI_SHAPE (out)) : NULL;

  x = sumi_affine (m->g, x, 1 / sqrt ((double)(channels * kernel * kernel)), 0);
  return sumi_conv2d_padded (m->g, x, w, b, stride, pad, pad, pad + more, pad);
}

static SumiNode *
step_transposed_conv (Maker *m, SumiNode *x)
{
  SumiNode *w = weight (m, &SUMI_SHAPE (x->shape.d[1], 1 + below (m, 8), 2, 2), x->shape.d[1]);

  return sumi_conv_transpose2d (m->g, x, w, NULL, 2);
}

static SumiNode *
step_permute (Maker *m, SumiNode *x)
{
  guint8 axes[4] = { 0, 1, 2, 3 };

  for (guint i = 3; i > 0; i--)
    {
      guint j = (guint)below (m, i + 1);
      guint8 swap = axes[i];

      axes[i] = axes[j];
      axes[j] = swap;
    }
  return sumi_permute (m->g, x, axes);
}

/* Moves a factor of one axis to its neighbour. */
static SumiNode *
step_reshape (Maker *m, SumiNode *x)
{
  SumiShape shape = x->shape;
  guint from = (guint)below (m, 4), to = (from + 1) % 4;

  for (gint64 factor = 2; factor <= 5; factor++)
    if (shape.d[from] % factor == 0)
      {
        shape.d[from] /= factor;
        shape.d[to] *= factor;
        break;
      }
  return sumi_reshape (m->g, x, &shape);
}

static SumiNode *
step_slice (Maker *m, SumiNode *x)
{
  guint axis = (guint)below (m, 4);
  gint64 start = below (m, (x->shape.d[axis] + 1) / 2), length = 1 + below (m, x->shape.d[axis] - start);

  return sumi_slice (m->g, x, axis, start, length);
}

static SumiNode *
step_concat (Maker *m, SumiNode *x)
{
  guint axis = (guint)below (m, 4);
  SumiNode *other = pick (m), *part = sumi_slice (m->g, x, axis, 0, (x->shape.d[axis] + 1) / 2);
  SumiShape want = x->shape;

  want.d[axis] = other->shape.d[axis];
  if (!sumi_shape_equal (&want, &other->shape))
    other = sumi_act (m->g, part, SUMI_ACT_SIGMOID);
  return sumi_concat (m->g, axis, (SumiNode *[]){ part, other, x }, 3);
}

static SumiNode *
step_pad (Maker *m, SumiNode *x)
{
  return sumi_pad (m->g, x, (guint)below (m, 4), below (m, 3), below (m, 3));
}

static SumiNode *
step_sum (Maker *m, SumiNode *x)
{
  SumiNode *mean = sumi_mean (m->g, x, (guint)below (m, 16), TRUE);

  return below (m, 2) ? sumi_sub (m->g, x, mean) : sumi_broadcast (m->g, mean, &x->shape);
}

static SumiNode *
step_resize (Maker *m, SumiNode *x)
{
  if (below (m, 2) && x->shape.d[2] >= 2 && x->shape.d[3] >= 2)
    return sumi_max_pool2d (m->g, x, 2, 1 + (guint)below (m, 2));
  return sumi_upsample (m->g, x, x->shape.d[2] * 2, x->shape.d[3] + below (m, 4));
}

static SumiNode *
step_group_norm (Maker *m, SumiNode *x)
{
  gint64 channels = x->shape.d[1];
  guint groups = channels % 3 == 0 ? 3 : channels % 2 == 0 ? 2 : 1;
  SumiShape shape = SUMI_SHAPE (channels);

  return sumi_group_norm (m->g, x, plain_weight (m, &shape), plain_weight (m, &shape), groups, 0.1,
                          below (m, 2) ? SUMI_ACT_SILU : SUMI_ACT_NONE);
}

static SumiNode *
step_layer_norm (Maker *m, SumiNode *x)
{
  SumiShape shape = SUMI_SHAPE (x->shape.d[3]);

  return sumi_layer_norm (m->g, x, plain_weight (m, &shape), plain_weight (m, &shape), 0.1);
}

static SumiNode *
step_linear (Maker *m, SumiNode *x)
{
  gint64 out = 1 + below (m, 20), in = x->shape.d[3];

  return sumi_linear (m->g, x, weight (m, &SUMI_SHAPE (out, in), in),
                      below (m, 2) ? plain_weight (m, &SUMI_SHAPE (out)) : NULL);
}

static SumiNode *
step_matmul (Maker *m, SumiNode *x)
{
  gboolean turn = below (m, 2) != 0;
  gint64 k = x->shape.d[turn ? 2 : 3];
  SumiNode *y = sumi_matmul (m->g, x, sumi_act (m->g, x, SUMI_ACT_TANH), turn, !turn);

  return sumi_affine (m->g, y, 1 / sqrt ((double)k), 0);
}

static SumiNode *
step_attention (Maker *m, SumiNode *x)
{
  const gint64 *d = x->shape.d;
  SumiShape shape = SUMI_SHAPE (d[0] * d[1], d[2], d[3]);
  SumiNode *t = sumi_reshape (m->g, x, &shape);
  SumiNode *q = below (m, 2) ? t : sumi_act (m->g, t, SUMI_ACT_TANH);

  t = sumi_sdpa (m->g, q, t, t, d[3] % 3 == 0 ? 3 : 1, below (m, 2) != 0, 0);
  return sumi_reshape (m->g, t, &x->shape);
}

static SumiNode *
step_softmax (Maker *m, SumiNode *x)
{
  return sumi_softmax (m->g, x);
}

static SumiNode *(*const steps[]) (Maker *, SumiNode *) = {
  step_act,     step_binary,  step_binary,    step_conv,    step_conv,       step_transposed_conv,
  step_permute, step_permute, step_reshape,   step_slice,   step_concat,     step_pad,
  step_sum,     step_resize,  step_reshape,   step_concat,  step_group_norm, step_layer_norm,
  step_linear,  step_matmul,  step_attention, step_softmax,
};

/* ---- graphs ---- */

/* Values that grow too large are cut, along their longest axis. */
static SumiNode *
within_limits (Maker *m, SumiNode *x)
{
  while (sumi_shape_numel (&x->shape) > MAX_NUMEL)
    {
      guint longest = 0;

      for (guint axis = 1; axis < 4; axis++)
        if (x->shape.d[axis] > x->shape.d[longest])
          longest = axis;
      x = sumi_slice (m->g, x, longest, 1, x->shape.d[longest] / 2);
    }
  return x;
}

static void
add_gradients (SumiGraph *g, SumiNode *y)
{
  SumiNode *product = sumi_mul (g, y, sumi_input (g, "cotangent", SUMI_REAL, &y->shape));
  SumiNode *loss = sumi_mean (g, product, 15, FALSE);
  guint n = sumi_graph_get_size (g);
  g_autoptr (GPtrArray) leaves = g_ptr_array_new ();
  g_autofree SumiNode **grads = g_new0 (SumiNode *, n);

  for (guint id = 0; id < n; id++)
    if (sumi_graph_peek (g, id)->name)
      g_ptr_array_add (leaves, sumi_graph_peek (g, id));
  sumi_graph_grad (g, loss, (SumiNode *const *)leaves->pdata, leaves->len, grads);
  for (guint i = 0; i < leaves->len; i++)
    sumi_graph_output (g, ((SumiNode *)leaves->pdata[i])->name, grads[i]);
}

static SumiGraph *
random_graph (guint seed)
{
  SumiGraph *g = sumi_graph_new ();
  g_autoptr (GRand) random = g_rand_new_with_seed (seed);
  g_autoptr (GPtrArray) pool = g_ptr_array_new ();
  Maker m = { g, random, pool };
  guint n = 4 + (guint)below (&m, 12);

  for (guint i = 0; i < 2; i++)
    {
      SumiShape shape = SUMI_SHAPE (1 + below (&m, 3), 1 + below (&m, 12), 2 + below (&m, 6), 1 + below (&m, 8));
      g_autofree char *name = g_strdup_printf ("x%u", i);

      g_ptr_array_add (pool, sumi_input (g, name, SUMI_REAL, &shape));
    }
  for (guint i = 0; i < n; i++)
    {
      SumiNode *(*step) (Maker *, SumiNode *) = steps[below (&m, G_N_ELEMENTS (steps))];

      g_ptr_array_add (pool, within_limits (&m, step (&m, pick (&m))));
    }
  sumi_graph_output (g, "some", pick (&m));
  sumi_graph_output (g, "last", pool->pdata[pool->len - 1]);
  add_gradients (g, pool->pdata[pool->len - 1]);
  return g;
}

static void
compare (const char *engine, guint seed, SumiGraph *g, SumiDType dtype, SumiTolerance t)
{
  g_autofree char *key = g_strdup_printf ("random/%u", seed);
  g_autoptr (SumiEngine) e = sumi_test_open_or_skip (engine);
  g_autoptr (SumiEngine) ref = sumi_engine_open ("ref", NULL);
  g_autoptr (SumiPlan) expected = NULL;
  g_autoptr (SumiPlan) found = NULL;

  if (!e)
    return;
  if (!sumi_test_has_dtype (e, dtype))
    {
      g_test_skip ("not on this processor");
      return;
    }
  expected = sumi_test_run_graph (ref, g, key, NULL);
  found = sumi_test_run_graph (e, g, key, &(SumiCompileOptions){ .dtype = dtype, .poison = TRUE });
  sumi_test_compare (g, expected, found, t);
  sumi_test_run (found);
  sumi_test_compare (g, expected, found, t);
}

static void
test_ref (gconstpointer seed)
{
  g_autoptr (SumiGraph) g = random_graph (GPOINTER_TO_UINT (seed));

  compare ("ref", GPOINTER_TO_UINT (seed), g, SUMI_F32, (SumiTolerance){ 0, 0 });
}

/* Rounding errors grow with the depth; a layout that was mistaken gives errors as large as the values. */
static void
test_cpu_f32 (gconstpointer seed)
{
  g_autoptr (SumiGraph) g = random_graph (GPOINTER_TO_UINT (seed));

  compare ("cpu", GPOINTER_TO_UINT (seed), g, SUMI_F32, (SumiTolerance){ 1e-3, 1e-5 });
}

/* Wide, for a maximum may be another one after rounding. */
static void
test_cpu_bf16 (gconstpointer seed)
{
  g_autoptr (SumiGraph) g = random_graph (GPOINTER_TO_UINT (seed));

  compare ("cpu", GPOINTER_TO_UINT (seed), g, SUMI_BF16, (SumiTolerance){ 0.2, 0.01 });
}

static void
test_threads (gconstpointer seed)
{
  g_autoptr (SumiGraph) g = random_graph (GPOINTER_TO_UINT (seed));
  g_autoptr (SumiEngine) e = sumi_test_open_or_skip ("cpu");

  if (!e)
    return;

  gboolean bf16 = GPOINTER_TO_UINT (seed) % 2 == 0 && sumi_test_has_dtype (e, SUMI_BF16);
  SumiCompileOptions options = { .dtype = bf16 ? SUMI_BF16 : SUMI_F32, .threads = 1 };
  g_autoptr (SumiPlan) one = sumi_test_run_graph (e, g, "random", &options);

  options.threads = 3;

  g_autoptr (SumiPlan) three = sumi_test_run_graph (e, g, "random", &options);

  sumi_test_compare_bits (g, one, three, "with 3 threads");
}

int
main (int argc, char **argv)
{
  static const struct
  {
    const char *name;
    GTestDataFunc run;
  } suites[] = {
    { "ref", test_ref },
    { "cpu-f32", test_cpu_f32 },
    { "cpu-bf16", test_cpu_bf16 },
    { "threads", test_threads },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint s = 0; s < G_N_ELEMENTS (suites); s++)
    for (guint seed = 0; seed < N_GRAPHS; seed++)
      {
        g_autofree char *path = g_strdup_printf ("/random/%s/%u", suites[s].name, seed);

        g_test_add_data_func (path, GUINT_TO_POINTER (seed), suites[s].run);
      }
  return g_test_run ();
}
