/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Components of one pass through a network: "unet", "taef2-encode", "taef2-decode". */
#include "probe.h"

#include "io/safetensors.h"

/* NULL for a tensor that the case does not have. */
static SumiNode *
input_of (SumiGraph *g, const char *name, const SumiTensor *t)
{
  return t != NULL ? sumi_input (g, name, SUMI_REAL, sumi_tensor_get_shape (t)) : NULL;
}

gboolean
probe_unet (Probe *p, GError **error)
{
  g_autoptr (SumiTensor) sample = probe_in (p, "sample", 4, error);
  g_autoptr (SumiTensor) timestep = sample != NULL ? probe_in_number (p, "timestep", 1, error) : NULL;
  g_autoptr (SumiTensor) states = NULL;
  g_autoptr (SumiTensor) labels = NULL;
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;
  ProbeModel model = { 0 };
  SumiNode *x, *t;

  if (timestep == NULL || !probe_in_optional (p, "encoder_hidden_states", 3, &states, error)
      || !probe_in_optional (p, "class_labels", 2, &labels, error) || !probe_model_open (p, &model, error))
    {
      probe_model_clear (&model);
      return FALSE;
    }
  x = input_of (g, "sample", sample);
  t = input_of (g, "timestep", timestep);
  x = probe_model_denoiser (m, &model, x, t, input_of (g, "encoder_hidden_states", states),
                            input_of (g, "class_labels", labels));
  sumi_graph_output (g, "out", x);
  plan = probe_compile (p, m, model.weights, error);
  probe_model_clear (&model);
  return plan != NULL && sumi_plan_set (plan, "sample", sample, error)
         && sumi_plan_set (plan, "timestep", timestep, error)
         && (states == NULL || sumi_plan_set (plan, "encoder_hidden_states", states, error))
         && (labels == NULL || sumi_plan_set (plan, "class_labels", labels, error)) && sumi_plan_run (plan, NULL, error)
         && probe_store (p, plan, "out", error);
}

/* ---- TAEF2 ---- */

static gboolean
taef2 (Probe *p, const char *from, const char *to, SumiNode *(*build) (SumiModule *, SumiNode *), GError **error)
{
  g_autofree char *path = g_build_filename (p->root, "models", "taef2.safetensors", NULL);
  g_autoptr (SumiTensor) value = probe_in (p, from, 4, error);
  g_autoptr (SumiTensorMap) weights = value != NULL ? sumi_safetensors_open (path, error) : NULL;
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;

  if (weights == NULL)
    return FALSE;
  sumi_graph_output (g, to, build (m, sumi_input (g, from, SUMI_REAL, sumi_tensor_get_shape (value))));
  plan = probe_compile (p, m, weights, error);
  return plan != NULL && sumi_plan_set (plan, from, value, error) && sumi_plan_run (plan, NULL, error)
         && probe_store (p, plan, to, error);
}

gboolean
probe_taef2_encode (Probe *p, GError **error)
{
  return taef2 (p, "image", "latent", sumi_taef2_encoder, error);
}

gboolean
probe_taef2_decode (Probe *p, GError **error)
{
  return taef2 (p, "latent", "image", sumi_taef2_decoder, error);
}
