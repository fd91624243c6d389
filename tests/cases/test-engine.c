/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What every engine promises beside right numbers: engine.h, line by line. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "engine/engine.h"

static SumiTensor *
tensor (SumiDType dtype, const SumiShape *shape, double start)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensor) wide = sumi_tensor_new (SUMI_F64, shape, &error);
  SumiTensor *t;

  for (gint64 i = 0; i < sumi_shape_numel (shape); i++)
    ((double *)sumi_tensor_poke (wide))[i] = start + (double)i;
  t = sumi_tensor_cast (wide, dtype, &error);
  g_assert_no_error (error);
  return t;
}

/* y = x + embedding of ids, with a parameter that no output needs */
static SumiGraph *
small_graph (void)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (2, 3));
  SumiNode *table = sumi_param (g, "table", &SUMI_SHAPE (5, 3));
  SumiNode *ids = sumi_input (g, "ids", SUMI_INDEX, &SUMI_SHAPE (2));

  sumi_affine (g, sumi_param (g, "unused", &SUMI_SHAPE (7)), 2, 0);
  sumi_graph_output (g, "y", sumi_add (g, x, sumi_embedding (g, table, ids)));
  return g;
}

static SumiPlan *
compile (const char *engine, SumiGraph *g)
{
  g_autoptr (SumiEngine) e = sumi_engine_open (engine, NULL);
  g_autoptr (GError) error = NULL;
  SumiPlan *p = sumi_engine_compile (e, g, NULL, &error);

  g_assert_no_error (error);
  return p;
}

static void
set (SumiPlan *p, const char *name, SumiDType dtype, const SumiShape *shape, double start)
{
  g_autoptr (SumiTensor) t = tensor (dtype, shape, start);
  g_autoptr (GError) error = NULL;

  sumi_plan_set (p, name, t, &error);
  g_assert_no_error (error);
}

static void
refuse_set (SumiPlan *p, const char *name, SumiDType dtype, const SumiShape *shape, SumiError code)
{
  g_autoptr (SumiTensor) t = tensor (dtype, shape, 0);
  g_autoptr (GError) error = NULL;

  g_assert_false (sumi_plan_set (p, name, t, &error));
  g_assert_error (error, SUMI_ERROR, (gint)code);
}

static void
refuse_run (SumiPlan *p, GCancellable *cancellable, SumiError code)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (sumi_plan_run (p, cancellable, &error));
  g_assert_error (error, SUMI_ERROR, (gint)code);
}

static void
run (SumiPlan *p)
{
  g_autoptr (GError) error = NULL;

  sumi_plan_run (p, NULL, &error);
  g_assert_no_error (error);
}

static void
expect (SumiPlan *p, const char *output, const SumiShape *shape, const float *values)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensor) t = sumi_plan_get (p, output, &error);

  g_assert_no_error (error);
  g_assert_cmpint (sumi_tensor_get_dtype (t), ==, SUMI_F32);
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (t), shape));
  for (gint64 i = 0; i < sumi_shape_numel (shape); i++)
    g_assert_cmpfloat (sumi_tensor_peek_f32 (t)[i], ==, values[i]);
}

static void
set_small (SumiPlan *p)
{
  set (p, "x", SUMI_F32, &SUMI_SHAPE (2, 3), 0);
  set (p, "table", SUMI_F32, &SUMI_SHAPE (5, 3), 100);
  set (p, "ids", SUMI_I64, &SUMI_SHAPE (2), 3); /* 3, 4 */
}

static void
test_values (gconstpointer engine)
{
  g_autoptr (SumiGraph) g = small_graph ();
  g_autoptr (SumiPlan) p = compile (engine, g);
  gsize arena, parameters;

  set_small (p);
  run (p);
  expect (p, "y", &SUMI_SHAPE (2, 3), (float[]){ 109, 111, 113, 115, 117, 119 });
  /* values stay; other dtypes are converted */
  set (p, "x", SUMI_F16, &SUMI_SHAPE (2, 3), 1);
  set (p, "ids", SUMI_U8, &SUMI_SHAPE (2), 0);
  run (p);
  expect (p, "y", &SUMI_SHAPE (2, 3), (float[]){ 101, 103, 105, 107, 109, 111 });
  set (p, "x", SUMI_F64, &SUMI_SHAPE (2, 3), 2);
  set (p, "ids", SUMI_I32, &SUMI_SHAPE (2), 1);
  set (p, "table", SUMI_BF16, &SUMI_SHAPE (5, 3), 10);
  run (p);
  expect (p, "y", &SUMI_SHAPE (2, 3), (float[]){ 15, 17, 19, 21, 23, 25 });

  sumi_plan_get_memory (p, &arena, &parameters);
  g_assert_cmpuint (arena, >, 0);
  g_assert_cmpuint (parameters, >=, 15 * sizeof (float));
}

/* d = 0.5, then 32 integers from `first`, in each of n blocks */
static SumiTensor *
quantised (const SumiShape *shape, gint8 first)
{
  GByteArray *blocks = g_byte_array_new ();
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) error = NULL;
  SumiTensor *t;

  for (gint64 i = 0; i < sumi_shape_numel (shape) / 32; i++)
    {
      g_byte_array_append (blocks, (const guint8[]){ 0x00, 0x38 }, 2);
      for (gint8 k = 0; k < 32; k++)
        g_byte_array_append (blocks, (const guint8[]){ (guint8)(first + k) }, 1);
      first++;
    }
  bytes = g_byte_array_free_to_bytes (blocks);
  t = sumi_tensor_new_bytes (SUMI_Q8_0, shape, bytes, &error);
  g_assert_no_error (error);
  return t;
}

/* Blocks as they lie in GGUF files are values like any others: of a sum, of a table, of a product's weights. */
static void
test_quantised (gconstpointer engine)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (1, 32));
  SumiNode *bias = sumi_param (g, "bias", &SUMI_SHAPE (1, 32)), *table = sumi_param (g, "table", &SUMI_SHAPE (3, 32));
  SumiNode *weight = sumi_param (g, "weight", &SUMI_SHAPE (2, 32));
  SumiNode *row = sumi_embedding (g, table, sumi_input (g, "ids", SUMI_INDEX, &SUMI_SHAPE (1)));
  g_autoptr (SumiTensor) b = quantised (&SUMI_SHAPE (1, 32), -16), t = quantised (&SUMI_SHAPE (3, 32), 4);
  g_autoptr (SumiTensor) w = quantised (&SUMI_SHAPE (2, 32), 0);
  g_autoptr (SumiPlan) p = NULL;
  g_autoptr (GError) error = NULL;
  float sum[32];

  sumi_graph_output (g, "sum", sumi_add (g, sumi_add (g, x, bias), row));
  sumi_graph_output (g, "product", sumi_linear (g, x, weight, NULL));
  p = compile (engine, g);
  set (p, "x", SUMI_F32, &SUMI_SHAPE (1, 32), 0);
  set (p, "ids", SUMI_I64, &SUMI_SHAPE (1), 2);
  g_assert_true (sumi_plan_set (p, "bias", b, &error) && sumi_plan_set (p, "table", t, &error)
                 && sumi_plan_set (p, "weight", w, &error));
  run (p);
  for (int i = 0; i < 32; i++) /* i + (i - 16) / 2 + (i + 6) / 2 */
    sum[i] = 2 * (float)i - 5;
  expect (p, "sum", &SUMI_SHAPE (1, 32), sum);
  /* half the sums of i i and of i (i + 1) */
  expect (p, "product", &SUMI_SHAPE (1, 2), (float[]){ 10416 / 2, (10416 + 496) / 2 });
}

static void
test_bad_values (gconstpointer engine)
{
  g_autoptr (SumiGraph) g = small_graph ();
  g_autoptr (SumiPlan) p = compile (engine, g);

  refuse_set (p, "z", SUMI_F32, &SUMI_SHAPE (2, 3), SUMI_ERROR_MISSING_TENSOR);
  refuse_set (p, "y", SUMI_F32, &SUMI_SHAPE (2, 3), SUMI_ERROR_MISSING_TENSOR);
  refuse_set (p, "x", SUMI_F32, &SUMI_SHAPE (3, 2), SUMI_ERROR_SHAPE_MISMATCH);
  refuse_set (p, "x", SUMI_F32, &SUMI_SHAPE (6), SUMI_ERROR_SHAPE_MISMATCH);
  refuse_set (p, "x", SUMI_I64, &SUMI_SHAPE (2, 3), SUMI_ERROR_UNSUPPORTED_DTYPE);
  refuse_set (p, "ids", SUMI_F32, &SUMI_SHAPE (2), SUMI_ERROR_UNSUPPORTED_DTYPE);
  refuse_set (p, "ids", SUMI_BOOL, &SUMI_SHAPE (2), SUMI_ERROR_UNSUPPORTED_DTYPE);
  set (p, "unused", SUMI_F32, &SUMI_SHAPE (7), 0);
}

static void
test_unset (gconstpointer engine)
{
  g_autoptr (SumiGraph) g = small_graph ();
  g_autoptr (SumiPlan) p = compile (engine, g);
  g_autoptr (GError) error = NULL;

  set (p, "x", SUMI_F32, &SUMI_SHAPE (2, 3), 0);
  g_assert_false (sumi_plan_run (p, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
  g_assert_cmpstr (error->message, ==, "table: found no value (2 of 3 are unset)");
}

static void
test_ids (gconstpointer engine)
{
  g_autoptr (SumiGraph) g = small_graph ();
  g_autoptr (SumiPlan) p = compile (engine, g);

  set_small (p);
  set (p, "ids", SUMI_I64, &SUMI_SHAPE (2), 4); /* 4, 5 */
  refuse_run (p, NULL, SUMI_ERROR_SHAPE_MISMATCH);
  set (p, "ids", SUMI_I64, &SUMI_SHAPE (2), -1);
  refuse_run (p, NULL, SUMI_ERROR_SHAPE_MISMATCH);
  set (p, "ids", SUMI_I64, &SUMI_SHAPE (2), 3);
  run (p);
  expect (p, "y", &SUMI_SHAPE (2, 3), (float[]){ 109, 111, 113, 115, 117, 119 });
}

static void
test_ids_of_gradient (gconstpointer engine)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *ids = sumi_input (g, "ids", SUMI_INDEX, &SUMI_SHAPE (2));
  SumiNode *gy = sumi_input (g, "gy", SUMI_REAL, &SUMI_SHAPE (2, 1));
  g_autoptr (SumiPlan) p = NULL;

  sumi_graph_output (g, "table", sumi_embedding_bwd (g, ids, gy, 3));
  p = compile (engine, g);
  set (p, "gy", SUMI_F32, &SUMI_SHAPE (2, 1), 5);
  set (p, "ids", SUMI_I64, &SUMI_SHAPE (2), 2); /* 2, 3 */
  refuse_run (p, NULL, SUMI_ERROR_SHAPE_MISMATCH);
  set (p, "ids", SUMI_I64, &SUMI_SHAPE (2), 1);
  run (p);
  expect (p, "table", &SUMI_SHAPE (3, 1), (float[]){ 0, 5, 6 });
}

static void
test_cancel (gconstpointer engine)
{
  g_autoptr (SumiGraph) g = small_graph ();
  g_autoptr (SumiPlan) p = compile (engine, g);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  set_small (p);
  g_cancellable_cancel (cancellable);
  refuse_run (p, cancellable, SUMI_ERROR_CANCELLED);
  g_assert_null (sumi_plan_get (p, "y", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE);
  run (p);
  expect (p, "y", &SUMI_SHAPE (2, 3), (float[]){ 109, 111, 113, 115, 117, 119 });
}

static void
test_read (gconstpointer engine)
{
  g_autoptr (SumiGraph) g = small_graph ();
  g_autoptr (SumiPlan) p = compile (engine, g);
  g_autoptr (SumiTensor) room = tensor (SUMI_F32, &SUMI_SHAPE (2, 3), 0);
  g_autoptr (SumiTensor) flat = tensor (SUMI_F32, &SUMI_SHAPE (6), 0);
  g_autoptr (SumiTensor) whole = tensor (SUMI_I64, &SUMI_SHAPE (2, 3), 0);
  g_autoptr (GError) early = NULL;
  g_autoptr (GError) unknown = NULL;
  g_autoptr (GError) shape = NULL;
  g_autoptr (GError) dtype = NULL;

  set_small (p);
  g_assert_false (sumi_plan_read (p, "y", room, &early));
  g_assert_error (early, SUMI_ERROR, SUMI_ERROR_ENGINE);
  run (p);
  g_assert_true (sumi_plan_read (p, "y", room, NULL));
  g_assert_cmpfloat (sumi_tensor_peek_f32 (room)[5], ==, 119);
  g_assert_false (sumi_plan_read (p, "x", room, &unknown)); /* an input, not an output */
  g_assert_error (unknown, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
  g_assert_false (sumi_plan_read (p, "y", flat, &shape));
  g_assert_error (shape, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_assert_false (sumi_plan_read (p, "y", whole, &dtype));
  g_assert_error (dtype, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE);
}

/* The graph and the engine may go; a graph that grows after the compilation does not disturb the plan. */
static void
test_lifetimes (gconstpointer engine)
{
  SumiGraph *g = small_graph ();
  g_autoptr (SumiPlan) p = compile (engine, g);
  g_autoptr (GError) error = NULL;

  sumi_graph_output (g, "late", sumi_input (g, "more", SUMI_REAL, &SUMI_SHAPE (2)));
  sumi_graph_unref (g);
  set_small (p);
  run (p);
  expect (p, "y", &SUMI_SHAPE (2, 3), (float[]){ 109, 111, 113, 115, 117, 119 });
  g_assert_null (sumi_plan_get (p, "late", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
}

static void
refuse_compile (SumiEngine *e, SumiGraph *g, SumiDType dtype, SumiError code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (sumi_engine_compile (e, g, &(SumiCompileOptions){ .dtype = dtype }, &error));
  g_assert_error (error, SUMI_ERROR, (gint)code);
}

static void
test_bad_graphs (gconstpointer engine)
{
  g_autoptr (SumiEngine) e = sumi_engine_open (engine, NULL);
  g_autoptr (SumiGraph) empty = sumi_graph_new ();
  g_autoptr (SumiGraph) poisoned = small_graph ();
  g_autoptr (SumiGraph) good = small_graph ();

  refuse_compile (e, empty, SUMI_F32, SUMI_ERROR_ENGINE);
  sumi_graph_poison (poisoned, "a mistake");
  refuse_compile (e, poisoned, SUMI_F32, SUMI_ERROR_SHAPE_MISMATCH);
  refuse_compile (e, good, SUMI_F16, SUMI_ERROR_ENGINE);
  refuse_compile (e, good, SUMI_I64, SUMI_ERROR_ENGINE);
}

static void
test_one_arithmetic_each (void)
{
  g_autoptr (SumiEngine) ref = sumi_engine_open ("ref", NULL);
  g_autoptr (SumiEngine) cpu = sumi_engine_open ("cpu", NULL);
  g_autoptr (SumiGraph) g = small_graph ();

  refuse_compile (ref, g, SUMI_BF16, SUMI_ERROR_ENGINE);
  if (cpu)
    refuse_compile (cpu, g, SUMI_F64, SUMI_ERROR_ENGINE);
}

static void
test_open (void)
{
  g_autoptr (SumiEngine) ref = sumi_engine_open ("ref", NULL);
  g_autoptr (SumiEngine) best = sumi_engine_open (NULL, NULL);
  g_autoptr (GError) error = NULL;

  g_assert_cmpstr (sumi_engine_get_name (ref), ==, "ref");
  g_assert_nonnull (best);
  g_assert_null (sumi_engine_open ("abacus", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
}

/* f32 rounds each value to float, f64 does not. */
static void
test_ref_precision (void)
{
  g_autoptr (SumiEngine) e = sumi_engine_open ("ref", NULL);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiNode *third = sumi_div (g, sumi_fill (g, 1, &SUMI_SCALAR), sumi_fill (g, 3, &SUMI_SCALAR));
  double expected[] = { (float)(1.0 / 3) * 3.0, 1.0 / 3 * 3 };

  sumi_graph_output (g, "third", third);
  for (guint wide = 0; wide < 2; wide++)
    {
      SumiCompileOptions options = { .dtype = wide ? SUMI_F64 : SUMI_F32 };
      g_autoptr (SumiPlan) p = sumi_engine_compile (e, g, &options, NULL);
      g_autoptr (SumiTensor) t = NULL;
      double value;

      run (p);
      t = sumi_plan_get (p, "third", NULL);
      g_assert_cmpint (sumi_tensor_get_dtype (t), ==, options.dtype);
      sumi_tensor_to_f64 (t, &value);
      g_assert_cmpfloat (value * 3, ==, expected[wide]);
    }
}

int
main (int argc, char **argv)
{
  static const struct
  {
    const char *name;
    GTestDataFunc run;
  } tests[] = {
    { "values", test_values },
    { "quantised", test_quantised },
    { "bad-values", test_bad_values },
    { "unset", test_unset },
    { "ids", test_ids },
    { "ids-of-gradient", test_ids_of_gradient },
    { "cancel", test_cancel },
    { "read", test_read },
    { "lifetimes", test_lifetimes },
    { "bad-graphs", test_bad_graphs },
  };
  static const char *const engines[] = { "ref", "cpu" };

  g_test_init (&argc, &argv, NULL);
  for (guint e = 0; e < G_N_ELEMENTS (engines); e++)
    {
      g_autoptr (SumiEngine) engine = sumi_engine_open (engines[e], NULL);

      for (guint i = 0; engine && i < G_N_ELEMENTS (tests); i++)
        {
          g_autofree char *path = g_strdup_printf ("/engine/%s/%s", engines[e], tests[i].name);
          g_test_add_data_func (path, engines[e], tests[i].run);
        }
    }
  g_test_add_func ("/engine/open", test_open);
  g_test_add_func ("/engine/one-arithmetic-each", test_one_arithmetic_each);
  g_test_add_func ("/engine/ref-precision", test_ref_precision);
  return g_test_run ();
}
