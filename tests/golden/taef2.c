/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The installed TAEF2 weights on the reference picture, there and back, on every engine of this build. */
#include "golden.h"

#include <math.h>

#include "engine/engine.h"
#include "io/image.h"
#include "io/safetensors.h"
#include "nn/networks.h"

#define REL_L2 2e-5

static SumiTensorMap *
open_map (const char *folder, const char *a, const char *b)
{
  g_autofree char *path = g_build_filename (folder, a, b, NULL);
  GError *error = NULL;
  SumiTensorMap *map = sumi_safetensors_open (path, &error);

  g_assert_no_error (error);
  return map;
}

static SumiTensor *
run (const char *engine_name, SumiNode *(*build) (SumiModule *, SumiNode *), const SumiTensor *value)
{
  g_autoptr (SumiTensorMap) weights = open_map (g_getenv ("SUMI_DATADIR"), "taef2", "taef2.safetensors");
  g_autoptr (SumiEngine) engine = sumi_engine_open (engine_name, NULL);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;
  SumiTensor *out;
  GError *error = NULL;

  sumi_graph_output (g, "out", build (m, sumi_input (g, "in", SUMI_REAL, sumi_tensor_get_shape (value))));
  sumi_module_check (m, weights, "", &error);
  g_assert_no_error (error);
  plan = sumi_engine_compile (engine, g, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < m->params->len; i++)
    {
      const char *name = g_array_index (m->params, SumiModuleParam, i).node->name;

      g_assert_true (sumi_plan_set (plan, name, sumi_tensor_map_peek (weights, name), NULL));
    }
  g_assert_true (sumi_plan_set (plan, "in", value, NULL));
  sumi_plan_run (plan, NULL, &error);
  g_assert_no_error (error);
  out = sumi_plan_get (plan, "out", &error);
  g_assert_no_error (error);
  return out;
}

static void
assert_near (const SumiTensor *got, const SumiTensor *want)
{
  double difference = 0, norm = 0;
  gint64 n = sumi_tensor_get_numel (want);
  g_autofree double *a = g_new (double, n), *b = g_new (double, n);

  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (got), sumi_tensor_get_shape (want)));
  sumi_tensor_to_f64 (got, a);
  sumi_tensor_to_f64 (want, b);
  for (gint64 i = 0; i < n; i++)
    {
      difference += (a[i] - b[i]) * (a[i] - b[i]);
      norm += b[i] * b[i];
    }
  g_assert_cmpfloat (sqrt (difference / norm), <, REL_L2);
}

static void
test_there_and_back (gconstpointer engine)
{
  const char *root = golden_root ();
  g_autoptr (SumiTensorMap) basics = NULL;
  g_autoptr (SumiTensor) image = NULL;
  g_autoptr (SumiTensor) latent = NULL;
  g_autoptr (SumiTensor) decoded = NULL;

  if (root == NULL)
    return;
  basics = open_map (root, "basics", "taef2_fox128.safetensors");
  image = sumi_image_to_chw (sumi_tensor_map_peek (basics, "image_u8"), 0, 1, NULL);
  latent = run (engine, sumi_taef2_encoder, image);
  assert_near (latent, sumi_tensor_map_peek (basics, "latent"));
  decoded = run (engine, sumi_taef2_decoder, sumi_tensor_map_peek (basics, "latent"));
  assert_near (decoded, sumi_tensor_map_peek (basics, "decoded"));
}

int
main (int argc, char **argv)
{
  static const char *const engines[] = { "ref", "cpu" };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (engines); i++)
    {
      g_autoptr (SumiEngine) engine = sumi_engine_open (engines[i], NULL);
      g_autofree char *name = g_strconcat ("/taef2/", engines[i], NULL);

      if (engine != NULL)
        g_test_add_data_func (name, engines[i], test_there_and_back);
    }
  return g_test_run ();
}
