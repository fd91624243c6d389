/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Components of auto-encoders: "vae-encoder", "vae-decoder", "vae-train", "taef2-encode", "taef2-decode". */
#include "probe.h"

#include "io/safetensors.h"
#include "nn/config.h"

/* ---- AutoencoderKL ---- */

/* One of its halves, with the names a whole model has. */
static SumiNode *
vae (SumiModule *m, const ProbeModel *model, SumiNode *(*half) (SumiModule *m, const SumiVaeConfig *c, SumiNode *x),
     SumiNode *x)
{
  sumi_module_push (m, "vae");
  x = half (m, &model->config.vae, x);
  sumi_module_pop (m);
  return x;
}

/* Mean and log-variance of what the encoder gives. */
static void
split (SumiGraph *g, const ProbeModel *model, SumiNode *moments, SumiNode **mean, SumiNode **logvar)
{
  gint64 n = model->config.vae.latent_channels;

  *mean = sumi_slice (g, moments, 1, 0, n);
  *logvar = sumi_slice (g, moments, 1, n, n);
}

/* Compiles the module's graph, runs it on one input and stores all outputs. */
static gboolean
run (Probe *p, SumiModule *m, const SumiTensorMap *weights, const char *name, const SumiTensor *value, GError **error)
{
  g_autoptr (SumiPlan) plan = probe_compile (p, m, weights, error);
  SumiNode *node;

  if (plan == NULL || !sumi_plan_set (plan, name, value, error) || !sumi_plan_run (plan, NULL, error))
    return FALSE;
  for (guint i = 0; i < sumi_graph_get_n_outputs (m->graph); i++)
    if (!probe_store (p, plan, sumi_graph_get_output (m->graph, i, &node), error))
      return FALSE;
  return TRUE;
}

gboolean
probe_vae_encoder (Probe *p, GError **error)
{
  g_autoptr (SumiTensor) image = probe_in (p, "image", 4, error);
  g_auto (ProbeModel) model = { NULL };
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiNode *moments, *mean, *logvar;

  if (image == NULL || !probe_model_open (p, &model, error) || !probe_model_needs (&model, "vae", error))
    return FALSE;
  moments = vae (m, &model, sumi_vae_encoder, sumi_input (g, "image", SUMI_REAL, sumi_tensor_get_shape (image)));
  split (g, &model, moments, &mean, &logvar);
  sumi_graph_output (g, "mean", mean);
  sumi_graph_output (g, "logvar", logvar);
  return run (p, m, model.weights, "image", image, error);
}

gboolean
probe_vae_decoder (Probe *p, GError **error)
{
  g_autoptr (SumiTensor) latent = probe_in (p, "latent", 4, error);
  g_auto (ProbeModel) model = { NULL };
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);

  if (latent == NULL || !probe_model_open (p, &model, error) || !probe_model_needs (&model, "vae", error))
    return FALSE;
  sumi_graph_output (
      g, "image",
      vae (m, &model, sumi_vae_decoder, sumi_input (g, "latent", SUMI_REAL, sumi_tensor_get_shape (latent))));
  return run (p, m, model.weights, "latent", latent, error);
}

/* KL (N (mean, exp (logvar)) || N (0, 1)), summed over C, H and W, mean over the batch (Kingma & Welling 2014, B). */
static SumiNode *
kl_divergence (SumiGraph *g, SumiNode *mean, SumiNode *logvar)
{
  SumiNode *terms = sumi_add (g, sumi_mul (g, mean, mean), sumi_act (g, logvar, SUMI_ACT_EXP));

  terms = sumi_affine (g, sumi_sub (g, terms, logvar), 0.5, -0.5);
  return sumi_mean (g, sumi_sum (g, terms, 0xe, FALSE), 1, FALSE);
}

/* z = mean + exp (logvar / 2) eps, its reconstruction, and the loss: mse + kl_weight kl. */
static SumiNode *
build_training (SumiModule *m, const ProbeModel *model, const SumiShape *image, const SumiShape *eps, double kl_weight)
{
  SumiGraph *g = m->graph;
  SumiNode *x = sumi_input (g, "image", SUMI_REAL, image), *noise = sumi_input (g, "eps", SUMI_REAL, eps);
  SumiNode *mean, *logvar, *z, *out, *mse, *kl, *loss;

  split (g, model, vae (m, model, sumi_vae_encoder, x), &mean, &logvar);
  z = sumi_act (g, sumi_affine (g, logvar, 0.5, 0), SUMI_ACT_EXP);
  z = sumi_add (g, mean, sumi_mul (g, z, noise));
  out = vae (m, model, sumi_vae_decoder, z);
  mse = probe_mse (g, out, x);
  kl = kl_divergence (g, mean, logvar);
  loss = sumi_add (g, mse, sumi_affine (g, kl, kl_weight, 0));
  sumi_graph_output (g, "z", z);
  sumi_graph_output (g, "reconstruction", out);
  sumi_graph_output (g, "mse", sumi_reshape (g, mse, &SUMI_SHAPE (1)));
  sumi_graph_output (g, "kl", sumi_reshape (g, kl, &SUMI_SHAPE (1)));
  sumi_graph_output (g, "loss", sumi_reshape (g, loss, &SUMI_SHAPE (1)));
  return loss;
}

gboolean
probe_vae_train (Probe *p, GError **error)
{
  static const char *const outputs[] = { "z", "reconstruction", "mse", "kl", "loss" };
  double kl_weight = 1e-6;
  g_autoptr (SumiTensor) image = probe_in (p, "image", 4, error);
  g_autoptr (SumiTensor) eps = image != NULL ? probe_in (p, "eps", 4, error) : NULL;
  g_auto (ProbeModel) model = { NULL };
  g_auto (ProbeGradients) gradients = { NULL };
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;
  SumiNode *loss;

  if (eps == NULL || !sumi_config_double (p->params, "kl_weight", 0, 1e6, &kl_weight, error)
      || !probe_model_open (p, &model, error) || !probe_model_needs (&model, "vae", error))
    return FALSE;
  loss = build_training (m, &model, sumi_tensor_get_shape (image), sumi_tensor_get_shape (eps), kl_weight);
  if (!probe_gradients_build (&gradients, p, m, "vae.", loss, NULL, error))
    return FALSE;
  plan = probe_compile (p, m, model.weights, error);
  if (plan == NULL || !sumi_plan_set (plan, "image", image, error) || !sumi_plan_set (plan, "eps", eps, error)
      || !sumi_plan_run (plan, NULL, error))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (outputs); i++)
    if (!probe_store (p, plan, outputs[i], error))
      return FALSE;
  return probe_gradients_report (&gradients, plan, 1024, error);
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

  if (weights == NULL)
    return FALSE;
  sumi_graph_output (g, to, build (m, sumi_input (g, from, SUMI_REAL, sumi_tensor_get_shape (value))));
  return run (p, m, weights, from, value, error);
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
