/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cpu engine as a whole: views, aliasing, layouts, memory, threads, errors. */
#include <gio/gio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "graph/autodiff.h"
#include "plans.h"

#define TOLERANCE 2e-6

static SumiNode *
input (SumiGraph *g, const char *name, const SumiShape *shape)
{
  return sumi_input (g, name, SUMI_REAL, shape);
}

/* A convolution's result is channels last; these read it in every other order. */
static void
test_views (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = input (g, "x", &SUMI_SHAPE (2, 3, 6, 5));
  SumiNode *w = sumi_param (g, "w", &SUMI_SHAPE (8, 3, 3, 3));
  SumiNode *y = sumi_conv2d (g, x, w, NULL, 1, 1);
  SumiNode *tokens = sumi_reshape (g, sumi_permute (g, y, (const guint8[]){ 0, 2, 3, 1 }), &SUMI_SHAPE (2, 30, 8));

  sumi_graph_output (g, "y", y);
  sumi_graph_output (g, "tokens", tokens);
  sumi_graph_output (g, "flat", sumi_reshape (g, y, &SUMI_SHAPE (2, 240)));
  sumi_graph_output (g, "groups", sumi_reshape (g, y, &SUMI_SHAPE (2, 4, 2, 30)));
  sumi_graph_output (g, "channels", sumi_slice (g, y, 1, 2, 3));
  sumi_graph_output (g, "rows", sumi_act (g, sumi_slice (g, y, 2, 1, 4), SUMI_ACT_SILU));
  sumi_graph_output (g, "one", sumi_affine (g, sumi_slice (g, sumi_slice (g, y, 3, 4, 1), 0, 1, 1), 2, 1));
  sumi_graph_output (g, "turned", sumi_mul (g, tokens, sumi_affine (g, tokens, 0.5, 0)));
  sumi_graph_output (g, "input", x);
  sumi_graph_output (g, "fill", sumi_fill (g, 0.25, &SUMI_SHAPE (3, 2)));
  plans_check (g, TOLERANCE);
}

static void
test_broadcast (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = input (g, "x", &SUMI_SHAPE (2, 4, 3, 3));
  SumiNode *t = input (g, "t", &SUMI_SHAPE (2, 4));
  SumiNode *row = input (g, "row", &SUMI_SHAPE (3));
  SumiNode *wide = sumi_broadcast (g, row, &SUMI_SHAPE (2, 4, 3, 3));
  SumiNode *n = sumi_group_norm (g, x, sumi_param (g, "nw", &SUMI_SHAPE (4)), sumi_param (g, "nb", &SUMI_SHAPE (4)), 2,
                                 1e-5, SUMI_ACT_NONE);

  sumi_graph_output (g, "time", sumi_add (g, n, sumi_reshape (g, t, &SUMI_SHAPE (2, 4, 1, 1))));
  sumi_graph_output (g, "left", sumi_sub (g, row, x));
  sumi_graph_output (g, "both", sumi_add (g, sumi_reshape (g, t, &SUMI_SHAPE (2, 4, 1)), row));
  sumi_graph_output (g, "wide", wide);
  sumi_graph_output (g, "act", sumi_act (g, wide, SUMI_ACT_GELU));
  sumi_graph_output (g, "act_bwd", sumi_act_bwd (g, wide, x, SUMI_ACT_SILU));
  sumi_graph_output (g, "act_bwd2", sumi_act_bwd (g, n, wide, SUMI_ACT_SILU));
  sumi_graph_output (g, "sum", sumi_sum (g, wide, 0xb, FALSE));
  sumi_graph_output (g, "concat", sumi_concat (g, 1, (SumiNode *[]){ wide, n, x }, 3));
  sumi_graph_output (g, "pad", sumi_pad (g, wide, 3, 1, 2));
  sumi_graph_output (g, "conv", sumi_conv2d (g, wide, sumi_broadcast (g, row, &SUMI_SHAPE (2, 4, 3, 3)), NULL, 1, 1));
  sumi_graph_output (g, "fills", sumi_conv2d (g, x, sumi_fill (g, 0.5, &SUMI_SHAPE (2, 4, 3, 3)), NULL, 1, 1));
  plans_check (g, TOLERANCE);
}

/* Steps may write over a source only when nobody reads it any more, whatever the view. */
static void
test_aliasing (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = input (g, "x", &SUMI_SHAPE (8, 8));
  SumiNode *a = sumi_affine (g, x, 2, 1);
  SumiNode *turned = sumi_permute (g, a, (const guint8[]){ 1, 0 });
  SumiNode *sum = sumi_add (g, a, turned);
  SumiNode *b = sumi_act (g, sum, SUMI_ACT_TANH);
  SumiNode *half = sumi_slice (g, b, 0, 0, 4);
  SumiNode *c = sumi_act (g, half, SUMI_ACT_EXP);
  SumiNode *d = sumi_mul (g, c, sumi_slice (g, b, 0, 4, 4));
  SumiNode *e = sumi_add (g, d, d);

  sumi_graph_output (g, "e", e);
  sumi_graph_output (g, "f", sumi_act (g, sumi_act (g, e, SUMI_ACT_RELU), SUMI_ACT_SQRT));
  plans_check (g, TOLERANCE);
}

static void
test_products (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *a = input (g, "a", &SUMI_SHAPE (2, 3, 5, 7)), *b = input (g, "b", &SUMI_SHAPE (2, 3, 7, 6));
  SumiNode *m = input (g, "m", &SUMI_SHAPE (7, 6)), *w = sumi_param (g, "w", &SUMI_SHAPE (9, 7));
  SumiNode *one = input (g, "one", &SUMI_SHAPE (3, 7, 6)), *v = input (g, "v", &SUMI_SHAPE (7, 1));
  SumiNode *ta = sumi_permute (g, a, (const guint8[]){ 0, 1, 3, 2 });
  SumiNode *heads = sumi_permute (g, sumi_reshape (g, input (g, "h", &SUMI_SHAPE (2, 5, 21)), &SUMI_SHAPE (2, 5, 3, 7)),
                                  (const guint8[]){ 0, 2, 1, 3 });

  sumi_graph_output (g, "ab", sumi_matmul (g, a, b, FALSE, FALSE));
  sumi_graph_output (g, "am", sumi_matmul (g, a, m, FALSE, FALSE));
  sumi_graph_output (g, "ma", sumi_matmul (g, m, ta, TRUE, FALSE));
  sumi_graph_output (g, "ta", sumi_matmul (g, ta, b, TRUE, FALSE));
  sumi_graph_output (g, "aw", sumi_matmul (g, a, w, FALSE, TRUE));
  sumi_graph_output (g, "one", sumi_matmul (g, a, one, FALSE, FALSE));
  sumi_graph_output (g, "v", sumi_matmul (g, a, v, FALSE, FALSE));
  sumi_graph_output (g, "heads", sumi_matmul (g, heads, heads, FALSE, TRUE));
  sumi_graph_output (g, "linear", sumi_linear (g, a, w, sumi_param (g, "bias", &SUMI_SHAPE (9))));
  sumi_graph_output (g, "linear2", sumi_linear (g, sumi_slice (g, a, 2, 1, 3), w, NULL));
  sumi_graph_output (g, "sliced", sumi_linear (g, sumi_slice (g, a, 3, 1, 3), sumi_slice (g, w, 1, 2, 3), NULL));
  sumi_graph_output (g, "turned", sumi_linear (g, heads, sumi_permute (g, m, (const guint8[]){ 1, 0 }), NULL));
  plans_check (g, TOLERANCE);
}

static void
test_convolutions (void)
{
  static const struct
  {
    gint64 c, o, k;
    guint stride, pad;
  } cases[] = {
    { 3, 16, 3, 1, 1 }, { 16, 16, 3, 1, 1 }, { 16, 32, 1, 1, 0 },
    { 32, 3, 3, 1, 1 }, { 16, 32, 3, 2, 1 }, { 5, 7, 5, 3, 2 },
  };
  g_autoptr (SumiGraph) g = sumi_graph_new ();

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *xn = g_strdup_printf ("x%u", i), *wn = g_strdup_printf ("w%u", i),
                      *yn = g_strdup_printf ("y%u", i);
      g_autofree char *gn = g_strdup_printf ("gx%u", i), *hn = g_strdup_printf ("gw%u", i);
      SumiNode *x = input (g, xn, &SUMI_SHAPE (3, cases[i].c, 9, 10));
      SumiNode *w = sumi_param (g, wn, &SUMI_SHAPE (cases[i].o, cases[i].c, cases[i].k, cases[i].k));
      SumiNode *y = sumi_conv2d (g, x, w, NULL, cases[i].stride, cases[i].pad);

      sumi_graph_output (g, yn, y);
      sumi_graph_output (g, gn, sumi_conv2d_bwd_data (g, y, w, 9, 10, &y->attr));
      sumi_graph_output (g, hn, sumi_conv2d_bwd_weights (g, x, y, cases[i].k, cases[i].k, &y->attr));
    }
  sumi_graph_output (g, "padded",
                     sumi_conv2d_padded (g, input (g, "px", &SUMI_SHAPE (1, 4, 8, 8)),
                                         sumi_param (g, "pw", &SUMI_SHAPE (8, 4, 3, 3)),
                                         sumi_param (g, "pb", &SUMI_SHAPE (8)), 2, 0, 0, 1, 1));
  sumi_graph_output (g, "up",
                     sumi_conv_transpose2d (g, input (g, "ux", &SUMI_SHAPE (2, 6, 4, 4)),
                                            sumi_param (g, "uw", &SUMI_SHAPE (6, 5, 2, 2)),
                                            sumi_param (g, "ub", &SUMI_SHAPE (5)), 2));
  plans_check (g, TOLERANCE);
}

/* A small network with every layout change, and its gradients. */
static SumiGraph *
network (void)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *x = input (g, "x", &SUMI_SHAPE (4, 4, 8, 8)), *goal = input (g, "goal", &SUMI_SHAPE (4, 4, 8, 8));
  SumiNode *p[] = {
    sumi_param (g, "conv_in", &SUMI_SHAPE (16, 4, 3, 3)),
    sumi_param (g, "bias_in", &SUMI_SHAPE (16)),
    sumi_param (g, "norm_w", &SUMI_SHAPE (16)),
    sumi_param (g, "norm_b", &SUMI_SHAPE (16)),
    sumi_param (g, "linear", &SUMI_SHAPE (32, 16)),
    sumi_param (g, "linear_b", &SUMI_SHAPE (32)),
    sumi_param (g, "back", &SUMI_SHAPE (16, 32)),
    sumi_param (g, "conv_out", &SUMI_SHAPE (4, 16, 3, 3)),
    sumi_param (g, "ln_w", &SUMI_SHAPE (16)),
    sumi_param (g, "ln_b", &SUMI_SHAPE (16)),
  };
  SumiNode *grads[G_N_ELEMENTS (p)];
  SumiNode *h = sumi_conv2d (g, x, p[0], p[1], 1, 1), *t, *loss;

  h = sumi_group_norm (g, h, p[2], p[3], 4, 1e-5, SUMI_ACT_SILU);
  t = sumi_reshape (g, sumi_permute (g, h, (const guint8[]){ 0, 2, 3, 1 }), &SUMI_SHAPE (4, 64, 16));
  t = sumi_layer_norm (g, t, p[8], p[9], 1e-5);
  t = sumi_act (g, sumi_linear (g, t, p[4], p[5]), SUMI_ACT_GELU);
  t = sumi_linear (g, t, p[6], NULL);
  t = sumi_permute (g, sumi_reshape (g, t, &SUMI_SHAPE (4, 8, 8, 16)), (const guint8[]){ 0, 3, 1, 2 });
  h = sumi_add (g, h, t);
  h = sumi_upsample (g, sumi_max_pool2d (g, h, 2, 2), 8, 8);
  h = sumi_conv2d (g, h, p[7], NULL, 1, 1);
  sumi_graph_output (g, "y", h);
  h = sumi_sub (g, h, goal);
  loss = sumi_mean (g, sumi_mul (g, h, h), 0xf, FALSE);
  sumi_graph_output (g, "loss", loss);
  sumi_graph_grad (g, loss, p, G_N_ELEMENTS (p), grads);
  for (guint i = 0; i < G_N_ELEMENTS (p); i++)
    {
      g_autofree char *name = g_strdup_printf ("grad.%s", p[i]->name);

      sumi_graph_output (g, name, grads[i]);
    }
  return g;
}

static void
test_network (void)
{
  g_autoptr (SumiGraph) g = network ();

  plans_check (g, 5e-6);
}

/* A convolution of a picture enlarged to more than 32 MiB; when the enlarged picture is an output, it is made whole. */
static SumiGraph *
enlarged (gboolean whole, gint64 factor)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *x = input (g, "x", &SUMI_SHAPE (2, 256, 288 / factor, 144 / factor));
  SumiNode *w = sumi_param (g, "w", &SUMI_SHAPE (8, 256, 3, 3)), *b = sumi_param (g, "b", &SUMI_SHAPE (8));

  x = sumi_upsample (g, x, 288, 144);
  sumi_graph_output (g, "y", sumi_conv2d (g, x, w, b, 1, 1));
  if (whole)
    sumi_graph_output (g, "enlarged", sumi_slice (g, x, 2, 0, 1));
  return g;
}

static void
check_enlarged (SumiDType dtype, gint64 factor)
{
  g_autoptr (SumiGraph) g = enlarged (FALSE, factor);
  g_autoptr (SumiGraph) h = enlarged (TRUE, factor);
  g_autoptr (SumiPlan) strips = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = dtype });
  g_autoptr (SumiPlan) poisoned = plans_compile (g, "cpu", (SumiCompileOptions){ dtype, .threads = 3, .poison = TRUE });
  g_autoptr (SumiPlan) whole = plans_compile (h, "cpu", (SumiCompileOptions){ .dtype = dtype });
  g_autoptr (SumiTensor) y = NULL;
  g_autoptr (SumiTensor) expected = NULL;
  gsize arena, whole_arena, parameters;

  plans_set_all (strips, g, 1);
  plans_set_all (poisoned, g, 1);
  plans_set_all (whole, h, 1);
  plans_run (strips);
  plans_run (poisoned);
  plans_run (whole);
  y = plans_get (strips, "y");
  expected = plans_get (whole, "y");
  g_assert_cmpfloat (plans_distance (y, expected), <=, 1e-6);
  plans_assert_equal (poisoned, strips, g);
  sumi_plan_get_memory (strips, &arena, &parameters);
  sumi_plan_get_memory (whole, &whole_arena, &parameters);
  g_assert_cmpuint (arena, <, whole_arena - ((gsize)20 << 20));
}

static void
test_enlarged (void)
{
  check_enlarged (SUMI_F32, 2);
  check_enlarged (SUMI_F32, 3);
  if (plans_have_bf16 ())
    check_enlarged (SUMI_BF16, 2);
}

static void
test_set_twice (void)
{
  g_autoptr (SumiGraph) g = network ();
  g_autoptr (SumiPlan) a = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_F32 });
  g_autoptr (SumiPlan) b = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_F32 });

  plans_set_all (a, g, 7);
  plans_run (a);
  plans_set_all (a, g, 8);
  plans_run (a);
  plans_set_all (b, g, 8);
  plans_run (b);
  plans_assert_equal (a, b, g);
}

static void
test_threads (void)
{
  g_autoptr (SumiGraph) g = network ();
  g_autoptr (SumiPlan) one = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_F32, .threads = 1 });

  plans_set_all (one, g, 3);
  plans_run (one);
  for (guint threads = 2; threads <= 5; threads++)
    {
      g_autoptr (SumiPlan) p = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_F32, .threads = threads });

      plans_set_all (p, g, 3);
      plans_run (p);
      plans_assert_equal (p, one, g);
    }
}

static void
test_cancel (void)
{
  g_autoptr (SumiGraph) g = network ();
  g_autoptr (SumiPlan) p = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_F32 });
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  plans_set_all (p, g, 1);
  g_cancellable_cancel (cancellable);
  g_assert_false (sumi_plan_run (p, cancellable, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_CANCELLED);
  plans_run (p); /* and the plan still works */
}

static void
test_out_of_memory (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = input (g, "x", &SUMI_SHAPE (1, 1 << 23, 1));
  g_autoptr (SumiEngine) e = sumi_engine_open ("cpu", NULL);
  g_autoptr (GError) error = NULL;

  sumi_graph_output (g, "y", sumi_add (g, x, sumi_reshape (g, x, &SUMI_SHAPE (1, 1, 1 << 23))));
  g_assert_null (sumi_engine_compile (e, g, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY);
}

/* Sanitizers take more address space than any limit leaves. */
#if !defined(__SANITIZE_ADDRESS__)
/* 64 MiB for values, for the input and for the parameter; what comes last does not fit into `room`. */
static void
expect_limited (rlim_t room, const char *what)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = input (g, "x", &SUMI_SHAPE (1 << 12, 1 << 12)),
           *w = sumi_param (g, "w", &SUMI_SHAPE (1 << 12, 1 << 12));
  g_autoptr (SumiEngine) e = sumi_engine_open ("cpu", NULL);
  g_autoptr (SumiPackedWeights) packed = sumi_packed_weights_new (e);
  g_autoptr (SumiPlan) p = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *text = NULL;
  struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
  gsize pages;

  sumi_graph_output (g, "y", sumi_add (g, sumi_affine (g, x, 2, 0), w));
  g_assert_true (g_file_get_contents ("/proc/self/statm", &text, NULL, NULL));
  pages = g_ascii_strtoull (text, NULL, 10);
  limit.rlim_cur = pages * (gsize)sysconf (_SC_PAGESIZE) + room;
  g_assert_cmpint (setrlimit (RLIMIT_AS, &limit), ==, 0);
  p = sumi_engine_compile (e, g, &(SumiCompileOptions){ .packed = packed }, &error);
  limit.rlim_cur = RLIM_INFINITY;
  setrlimit (RLIMIT_AS, &limit);
  g_assert_null (p);
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY);
  g_assert_nonnull (strstr (error->message, what));
  p = sumi_engine_compile (e, g, &(SumiCompileOptions){ .packed = packed }, NULL); /* nothing is left behind */
  g_assert_false (sumi_plan_has_value (p, "w"));
  plans_set_all (p, g, 1);
  plans_run (p);
}

static void
test_limits (void)
{
  if (g_test_subprocess ())
    {
      expect_limited (32 << 20, "memory for values");
      expect_limited (160 << 20, "memory for parameters");
      return;
    }
  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
}
#endif

static void
test_errors (void)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *ids = sumi_input (g, "ids", SUMI_INDEX, &SUMI_SHAPE (3));
  SumiNode *table = sumi_param (g, "table", &SUMI_SHAPE (3, 4));
  g_autoptr (SumiTensor) bad = sumi_tensor_new_i64 (&SUMI_SHAPE (3), (const gint64[]){ 0, 3, 1 }, NULL);
  g_autoptr (SumiPlan) p = NULL;
  g_autoptr (GError) error = NULL;

  sumi_graph_output (g, "y", sumi_embedding (g, table, ids));
  p = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_F32 });
  g_assert_false (sumi_plan_set (p, "nothing", bad, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
  g_clear_error (&error);
  g_assert_false (sumi_plan_run (p, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
  g_clear_error (&error);
  plans_set_all (p, g, 1);
  plans_run (p);
  g_assert_true (sumi_plan_set (p, "ids", bad, NULL));
  g_assert_false (sumi_plan_run (p, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/views", test_views);
  g_test_add_func ("/cpu/broadcast", test_broadcast);
  g_test_add_func ("/cpu/aliasing", test_aliasing);
  g_test_add_func ("/cpu/products", test_products);
  g_test_add_func ("/cpu/convolutions", test_convolutions);
  g_test_add_func ("/cpu/network", test_network);
  g_test_add_func ("/cpu/enlarged", test_enlarged);
  g_test_add_func ("/cpu/set-twice", test_set_twice);
  g_test_add_func ("/cpu/threads", test_threads);
  g_test_add_func ("/cpu/cancel", test_cancel);
  g_test_add_func ("/cpu/out-of-memory", test_out_of_memory);
#if !defined(__SANITIZE_ADDRESS__)
  g_test_add_func ("/cpu/limits", test_limits);
#endif
  g_test_add_func ("/cpu/errors", test_errors);
  return g_test_run ();
}
