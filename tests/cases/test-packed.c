/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Plans that share packed weights, and plans that give their memory back. */
#include "base/error.h"
#include "engine/engine.h"

/* y = conv (x, w), z = linear (x as rows, m) + bias, for n pictures of this size */
static SumiGraph *
network (gint64 n, gint64 size)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (n, 32, size, size));
  SumiNode *w = sumi_param (g, "w", &SUMI_SHAPE (48, 32, 3, 3)), *b = sumi_param (g, "b", &SUMI_SHAPE (48));
  SumiNode *m = sumi_param (g, "m", &SUMI_SHAPE (64, 48));
  SumiNode *y = sumi_conv2d (g, x, w, b, 1, 1);

  sumi_graph_output (g, "y", y);
  y = sumi_permute (g, sumi_reshape (g, y, &SUMI_SHAPE (n, 48, size * size)), (const guint8[]){ 0, 2, 1 });
  sumi_graph_output (g, "z", sumi_linear (g, y, m, NULL));
  return g;
}

static SumiPlan *
compile (const char *engine, SumiGraph *g, SumiPackedWeights *packed)
{
  g_autoptr (SumiEngine) e = sumi_engine_open (engine, NULL);
  g_autoptr (GError) error = NULL;
  SumiPlan *p = sumi_engine_compile (e, g, &(SumiCompileOptions){ .dtype = SUMI_F32, .packed = packed }, &error);

  g_assert_no_error (error);
  return p;
}

static SumiPackedWeights *
packed_new (const char *engine)
{
  g_autoptr (SumiEngine) e = sumi_engine_open (engine, NULL);

  return sumi_packed_weights_new (e);
}

static SumiTensor *
tensor (SumiDType dtype, const SumiShape *shape, guint32 seed)
{
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, shape, NULL);
  g_autoptr (GRand) rand = g_rand_new_with_seed (seed);

  for (gint64 i = 0; i < sumi_shape_numel (shape); i++)
    sumi_tensor_poke_f32 (t)[i] = (float)g_rand_int_range (rand, -64, 64) / 64; /* exact in F16 and BF16 too */
  return sumi_tensor_cast (t, dtype, NULL);
}

static void
set (SumiPlan *p, const char *name, SumiDType dtype, const SumiShape *shape, guint32 seed)
{
  g_autoptr (SumiTensor) t = tensor (dtype, shape, seed);
  g_autoptr (GError) error = NULL;

  sumi_plan_set (p, name, t, &error);
  g_assert_no_error (error);
  g_assert_true (sumi_plan_has_value (p, name));
}

static void
set_parameters (SumiPlan *p, SumiDType dtype, guint32 seed)
{
  set (p, "w", dtype, &SUMI_SHAPE (48, 32, 3, 3), seed);
  set (p, "b", dtype, &SUMI_SHAPE (48), seed + 1);
  set (p, "m", dtype, &SUMI_SHAPE (64, 48), seed + 2);
}

static void
run (SumiPlan *p)
{
  g_autoptr (GError) error = NULL;

  sumi_plan_run (p, NULL, &error);
  g_assert_no_error (error);
}

static void
assert_equal (SumiPlan *a, SumiPlan *b)
{
  static const char *const outputs[] = { "y", "z" };

  for (guint i = 0; i < G_N_ELEMENTS (outputs); i++)
    {
      g_autoptr (SumiTensor) x = sumi_plan_get (a, outputs[i], NULL), y = sumi_plan_get (b, outputs[i], NULL);

      g_assert_cmpmem (sumi_tensor_peek (x), sumi_tensor_get_size (x), sumi_tensor_peek (y), sumi_tensor_get_size (y));
    }
}

/* The plan's results with these parameters are those of a plan of its own. */
static void
check (const char *engine, SumiPlan *p, gint64 n, gint64 size, guint32 seed)
{
  g_autoptr (SumiGraph) g = network (n, size);
  g_autoptr (SumiPlan) alone = compile (engine, g, NULL);

  set_parameters (alone, SUMI_F32, seed);
  set (alone, "x", SUMI_F32, &SUMI_SHAPE (n, 32, size, size), 99);
  set (p, "x", SUMI_F32, &SUMI_SHAPE (n, 32, size, size), 99);
  run (alone);
  run (p);
  assert_equal (p, alone);
}

/* One value for all plans, also for those compiled later, whoever sets it and whoever goes first. */
static void
test_shared (gconstpointer engine)
{
  g_autoptr (SumiPackedWeights) packed = packed_new (engine);
  g_autoptr (SumiGraph) large = network (2, 16);
  g_autoptr (SumiGraph) small = network (1, 8);
  SumiPlan *a = compile (engine, large, packed);
  g_autoptr (SumiPlan) b = NULL;
  g_autoptr (SumiPlan) c = NULL;

  set_parameters (a, SUMI_F32, 1);
  b = compile (engine, small, packed);
  g_assert_true (sumi_plan_has_value (b, "b"));
  g_assert_false (sumi_plan_has_value (b, "x"));
  set_parameters (b, SUMI_F16, 11); /* another value, through another plan */
  check (engine, a, 2, 16, 11);
  check (engine, b, 1, 8, 11);
  sumi_plan_free (a);
  c = compile (engine, large, packed);
  g_assert_true (sumi_plan_has_value (c, "w") && sumi_plan_has_value (c, "b") && sumi_plan_has_value (c, "m"));
  check (engine, c, 2, 16, 11);
  set_parameters (c, SUMI_BF16, 21);
  check (engine, b, 1, 8, 21);
}

/* The plans keep what they share. */
static void
test_lifetimes (gconstpointer engine)
{
  g_autoptr (SumiGraph) g = network (1, 8);
  SumiPackedWeights *packed = packed_new (engine);
  g_autoptr (SumiPlan) p = compile (engine, g, packed);

  sumi_packed_weights_unref (packed);
  set_parameters (p, SUMI_F32, 5);
  check (engine, p, 1, 8, 5);
}

/* They outlive the graph that first named the parameters. */
static void
test_graph_first (gconstpointer engine)
{
  g_autoptr (SumiPackedWeights) packed = packed_new (engine);
  SumiGraph *g = network (1, 8);
  SumiPlan *p = compile (engine, g, packed);

  sumi_graph_unref (g);
  set_parameters (p, SUMI_F32, 3);
  sumi_plan_free (p);
  g = network (2, 8);
  p = compile (engine, g, packed);
  sumi_graph_unref (g);
  g_assert_true (sumi_plan_has_value (p, "b"));
  set (p, "w", SUMI_F32, &SUMI_SHAPE (48, 32, 3, 3), 3);
  set (p, "m", SUMI_F32, &SUMI_SHAPE (64, 48), 5);
  check (engine, p, 2, 8, 3);
  sumi_plan_free (p);
}

static void
test_misuse (gconstpointer engine)
{
  g_autoptr (SumiEngine) e = sumi_engine_open (engine, NULL);
  g_autoptr (SumiEngine) other = sumi_engine_open (g_str_equal (engine, "ref") ? "cpu" : "ref", NULL);
  g_autoptr (SumiPackedWeights) packed = sumi_packed_weights_new (e);
  g_autoptr (SumiPackedWeights) foreign = sumi_packed_weights_new (other);
  g_autoptr (SumiGraph) g = network (1, 8);
  g_autoptr (SumiGraph) another = sumi_graph_new ();
  g_autoptr (SumiPlan) p = compile (engine, g, packed);
  g_autoptr (GError) shape = NULL;
  g_autoptr (GError) mixed = NULL;

  sumi_graph_output (another, "y", sumi_affine (another, sumi_param (another, "w", &SUMI_SHAPE (3)), 2, 1));
  g_assert_null (sumi_engine_compile (e, another, &(SumiCompileOptions){ .packed = packed }, &shape));
  g_assert_error (shape, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_assert_null (sumi_engine_compile (e, g, &(SumiCompileOptions){ .packed = foreign }, &mixed));
  g_assert_error (mixed, SUMI_ERROR, SUMI_ERROR_ENGINE);
}

static void
test_trim (gconstpointer engine)
{
  g_autoptr (SumiGraph) g = network (1, 8);
  g_autoptr (SumiPlan) p = compile (engine, g, NULL);
  g_autoptr (GError) error = NULL;

  sumi_plan_trim (p); /* before it has anything */
  set_parameters (p, SUMI_F32, 1);
  check (engine, p, 1, 8, 1);
  sumi_plan_trim (p);
  g_assert_null (sumi_plan_get (p, "y", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE);
  g_assert_true (sumi_plan_has_value (p, "x") && sumi_plan_has_value (p, "w"));
  check (engine, p, 1, 8, 1);
}

int
main (int argc, char **argv)
{
  static const char *const engines[] = { "ref", "cpu" };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (engines); i++)
    {
      g_autofree char *shared = g_strdup_printf ("/packed/%s/shared", engines[i]);
      g_autofree char *lifetimes = g_strdup_printf ("/packed/%s/lifetimes", engines[i]);
      g_autofree char *graph_first = g_strdup_printf ("/packed/%s/graph-first", engines[i]);
      g_autofree char *misuse = g_strdup_printf ("/packed/%s/misuse", engines[i]);
      g_autofree char *trim = g_strdup_printf ("/packed/%s/trim", engines[i]);

      g_test_add_data_func (shared, engines[i], test_shared);
      g_test_add_data_func (lifetimes, engines[i], test_lifetimes);
      g_test_add_data_func (graph_first, engines[i], test_graph_first);
      g_test_add_data_func (misuse, engines[i], test_misuse);
      g_test_add_data_func (trim, engines[i], test_trim);
    }
  return g_test_run ();
}
