/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TAESD with random weights against PyTorch (taesd.json, written by make-taesd.py), in every spelling of its names. */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "nn/networks.h"

#define REL_L2 2e-5

typedef enum
{
  HALF_ALONE, /* "1.weight" */
  WITH_HALF,  /* "decoder.1.weight" */
  DIFFUSERS,  /* "decoder.layers.0.weight" */
  N_SPELLINGS
} Spelling;

static char *
spell (const char *name, const char *half, Spelling spelling)
{
  char *rest;
  guint place = (guint)g_ascii_strtoull (name, &rest, 10);

  switch (spelling)
    {
    case HALF_ALONE:
      return g_strdup (name);
    case WITH_HALF:
      return g_strconcat (half, ".", name, NULL);
    default:
      return g_strdup_printf ("%s.layers.%u%s", half, place - (strcmp (half, "decoder") == 0), rest);
    }
}

static SumiShape
read_shape (JsonObject *json, const char *field)
{
  JsonArray *list = json_object_get_array_member (json, field);
  SumiShape s = { .rank = json_array_get_length (list) };

  for (guint i = 0; i < s.rank; i++)
    s.d[i] = json_array_get_int_element (list, i);
  return s;
}

/* As make-taesd.py's fill: in the order of the case's names, the shapes from the module. */
static SumiTensorMap *
random_file (JsonObject *json, const SumiModule *m, Spelling spelling)
{
  const char *half = json_object_get_string_member (json, "kind");
  JsonArray *names = json_object_get_array_member (json, "names");
  SumiTensorMap *map = sumi_tensor_map_new ();
  SumiRng rng;

  sumi_rng_seed (&rng, SUMI_RNG_TORCH, (guint64)json_object_get_int_member (json, "seed"));
  g_assert_cmpuint (json_array_get_length (names), ==, m->params->len);
  for (guint i = 0; i < m->params->len; i++)
    {
      const char *name = json_array_get_string_element (names, i);
      g_autofree char *full = g_strconcat (half, ".", name, NULL), *spelt = spell (name, half, spelling);
      const SumiNode *node = sumi_graph_lookup (m->graph, full);
      SumiTensor *t;
      gint64 n;
      double scale;

      g_assert_nonnull (node);
      t = sumi_tensor_new (SUMI_F32, &node->shape, NULL);
      n = sumi_tensor_get_numel (t);
      sumi_rng_normal (&rng, sumi_tensor_poke_f32 (t), (gsize)n);
      scale = node->shape.rank == 1 ? 0.1 : 1 / sqrt ((double)n / node->shape.d[0]);
      for (gint64 k = 0; k < n; k++)
        sumi_tensor_poke_f32 (t)[k] *= (float)scale;
      sumi_tensor_map_take (map, spelt, t);
    }
  return map;
}

static double
relative_l2 (const SumiTensor *got, JsonArray *want)
{
  double difference = 0, norm = 0;

  g_assert_cmpint (sumi_tensor_get_numel (got), ==, json_array_get_length (want));
  for (guint i = 0; i < json_array_get_length (want); i++)
    {
      double w = json_array_get_double_element (want, i), d = sumi_tensor_peek_f32 (got)[i] - w;

      difference += d * d;
      norm += w * w;
    }
  return sqrt (difference / norm);
}

static void
run_case (JsonObject *json, const char *engine_name, Spelling spelling)
{
  const gboolean encodes = strcmp (json_object_get_string_member (json, "kind"), "encoder") == 0;
  const gint64 channels = json_object_get_int_member (json, "channels");
  SumiShape in = read_shape (json, "in"), out = read_shape (json, "out");
  g_autoptr (SumiEngine) engine = sumi_engine_open (engine_name, NULL);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiTensorMap) file = NULL, weights = NULL;
  g_autoptr (SumiTensor) x = sumi_tensor_new (SUMI_F32, &in, NULL);
  g_autoptr (SumiTensor) y = NULL;
  g_autoptr (SumiPlan) plan = NULL;
  SumiNode *node = sumi_input (g, "in", SUMI_REAL, &in);
  gint64 found = 0;
  SumiRng rng;
  GError *error = NULL;

  sumi_graph_output (g, "out",
                     encodes ? sumi_taesd_encoder (m, channels, node) : sumi_taesd_decoder (m, channels, node));
  file = random_file (json, m, spelling);
  weights = sumi_taesd_weights (file, &found, &error);
  g_assert_no_error (error);
  g_assert_cmpint (found, ==, channels);
  sumi_module_check (m, weights, "", &error);
  g_assert_no_error (error);
  plan = sumi_engine_compile (engine, g, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < m->params->len; i++)
    {
      const char *name = g_array_index (m->params, SumiModuleParam, i).node->name;

      g_assert_true (sumi_plan_set (plan, name, sumi_tensor_map_peek (weights, name), NULL));
    }
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, (guint64)json_object_get_int_member (json, "seed") + 1);
  sumi_rng_normal (&rng, sumi_tensor_poke_f32 (x), (gsize)sumi_tensor_get_numel (x));
  g_assert_true (sumi_plan_set (plan, "in", x, NULL));
  sumi_plan_run (plan, NULL, &error);
  g_assert_no_error (error);
  y = sumi_plan_get (plan, "out", NULL);
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (y), &out));
  g_assert_cmpfloat (relative_l2 (y, json_object_get_array_member (json, "values")), <, REL_L2);
}

static JsonNode *cases;

static void
test_reference (gconstpointer engine)
{
  JsonArray *list = json_node_get_array (cases);

  g_assert_cmpuint (json_array_get_length (list), ==, 4);
  for (guint i = 0; i < json_array_get_length (list); i++)
    run_case (json_array_get_object_element (list, i), engine, i % N_SPELLINGS);
}

static void
test_spellings (void)
{
  JsonArray *list = json_node_get_array (cases);

  for (guint spelling = 0; spelling < N_SPELLINGS; spelling++)
    {
      run_case (json_array_get_object_element (list, 1), NULL, spelling);
      run_case (json_array_get_object_element (list, 2), NULL, spelling);
    }
}

static void
assert_no_taesd (const char *name, SumiShape shape, const char *what)
{
  g_autoptr (SumiTensorMap) file = sumi_tensor_map_new ();
  gint64 channels;
  GError *error = NULL;

  sumi_tensor_map_take (file, name, sumi_tensor_new (SUMI_F32, &shape, NULL));
  g_assert_null (sumi_taesd_weights (file, &channels, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL);
  g_assert_nonnull (strstr (error->message, what));
  g_clear_error (&error);
}

static void
test_refusals (void)
{
  assert_no_taesd ("decoder.conv_in.weight", SUMI_SHAPE (64, 4, 3, 3), "tiny auto-encoder");
  assert_no_taesd ("decoder.1.weight", SUMI_SHAPE (64), "tiny auto-encoder");
  assert_no_taesd ("decoder.1.weight", SUMI_SHAPE (32, 4, 3, 3), "tiny auto-encoder");
  assert_no_taesd ("decoder.1.weight", SUMI_SHAPE (64, 32, 3, 3), "found 32 latent channels"); /* TAEF2 */
  assert_no_taesd ("decoder.99999999999999999999.weight", SUMI_SHAPE (64, 4, 3, 3), "tiny auto-encoder");
}

int
main (int argc, char **argv)
{
  static const char *const engines[] = { "ref", "cpu" };
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_SOURCE_ROOT"), "tests", "golden", "taesd.json", NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  GError *error = NULL;
  int status;

  g_test_init (&argc, &argv, NULL);
  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  cases = json_parser_steal_root (parser);
  for (guint i = 0; i < G_N_ELEMENTS (engines); i++)
    {
      g_autoptr (SumiEngine) engine = sumi_engine_open (engines[i], NULL);
      g_autofree char *name = g_strconcat ("/taesd/", engines[i], NULL);

      if (engine != NULL)
        g_test_add_data_func (name, engines[i], test_reference);
    }
  g_test_add_func ("/taesd/spellings", test_spellings);
  g_test_add_func ("/taesd/refusals", test_refusals);
  status = g_test_run ();
  json_node_unref (cases);
  return status;
}
