/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Components "unet" (one pass) and "unet-backward" (one pass and all gradients). */
#include "probe.h"

#include "nn/config.h"

enum
{
  STATES,
  LABELS,
  TEXT_EMBEDS,
  TIME_IDS,
  TIMESTEP_COND,
  N_CONDITIONS
};

static const struct
{
  const char *name;
  guint rank;
} conditions[N_CONDITIONS] = {
  [STATES] = { "encoder_hidden_states", 3 }, [LABELS] = { "class_labels", 2 },
  [TEXT_EMBEDS] = { "text_embeds", 2 },      [TIME_IDS] = { "time_ids", 2 },
  [TIMESTEP_COND] = { "timestep_cond", 2 },
};

/* What the case gives a U-Net. */
typedef struct
{
  SumiTensor *sample, *timestep;
  SumiTensor *conditions[N_CONDITIONS]; /* NULL: the case has none */
} Inputs;

static void
inputs_clear (Inputs *in)
{
  g_clear_pointer (&in->sample, sumi_tensor_unref);
  g_clear_pointer (&in->timestep, sumi_tensor_unref);
  for (guint i = 0; i < N_CONDITIONS; i++)
    g_clear_pointer (&in->conditions[i], sumi_tensor_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Inputs, inputs_clear)

static gboolean
inputs_read (Inputs *in, Probe *p, GError **error)
{
  if ((in->sample = probe_in (p, "sample", 4, error)) == NULL
      || (in->timestep = probe_in_number (p, "timestep", 1, error)) == NULL)
    return FALSE;
  for (guint i = 0; i < N_CONDITIONS; i++)
    if (!probe_in_optional (p, conditions[i].name, conditions[i].rank, &in->conditions[i], error))
      return FALSE;
  return TRUE;
}

/* The U-Net on inputs of these shapes. */
static SumiNode *
build (const Inputs *in, SumiModule *m, const ProbeModel *model)
{
  SumiGraph *g = m->graph;
  SumiNode *sample = sumi_input (g, "sample", SUMI_REAL, sumi_tensor_get_shape (in->sample));
  SumiNode *timestep = sumi_input (g, "timestep", SUMI_REAL, sumi_tensor_get_shape (in->timestep));
  SumiNode *nodes[N_CONDITIONS] = { NULL };

  for (guint i = 0; i < N_CONDITIONS; i++)
    if (in->conditions[i] != NULL)
      nodes[i] = sumi_input (g, conditions[i].name, SUMI_REAL, sumi_tensor_get_shape (in->conditions[i]));
  return probe_model_denoiser (m, model, sample, timestep,
                               &(SumiUnetConditioning){ nodes[STATES], nodes[LABELS], nodes[TEXT_EMBEDS],
                                                        nodes[TIME_IDS], nodes[TIMESTEP_COND] });
}

static gboolean
inputs_set (const Inputs *in, SumiPlan *plan, GError **error)
{
  if (!sumi_plan_set (plan, "sample", in->sample, error) || !sumi_plan_set (plan, "timestep", in->timestep, error))
    return FALSE;
  for (guint i = 0; i < N_CONDITIONS; i++)
    if (in->conditions[i] != NULL && !sumi_plan_set (plan, conditions[i].name, in->conditions[i], error))
      return FALSE;
  return TRUE;
}

gboolean
probe_unet (Probe *p, GError **error)
{
  g_auto (Inputs) in = { NULL };
  g_auto (ProbeModel) model = { NULL };
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;

  if (!inputs_read (&in, p, error) || !probe_model_open (p, &model, error)
      || !probe_model_needs (&model, "unet", error))
    return FALSE;
  sumi_graph_output (g, "out", build (&in, m, &model));
  plan = probe_compile (p, m, model.weights, error);
  return plan != NULL && inputs_set (&in, plan, error) && sumi_plan_run (plan, NULL, error)
         && probe_store (p, plan, "out", error);
}

gboolean
probe_unet_backward (Probe *p, GError **error)
{
  static const char *const to_inputs[] = { "sample", "encoder_hidden_states", NULL };
  g_auto (Inputs) in = { NULL };
  g_auto (ProbeModel) model = { NULL };
  g_auto (ProbeGradients) gradients = { NULL };
  g_autoptr (SumiTensor) target = probe_in (p, "target", 4, error);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;
  SumiNode *out, *loss;

  if (target == NULL || !inputs_read (&in, p, error) || !probe_model_open (p, &model, error)
      || !probe_model_needs (&model, "unet", error))
    return FALSE;
  out = build (&in, m, &model);
  loss = probe_mse (g, out, sumi_input (g, "target", SUMI_REAL, sumi_tensor_get_shape (target)));
  if (!probe_gradients_build (&gradients, p, m, probe_model_prefix (&model, "unet."), loss,
                              in.conditions[STATES] != NULL ? to_inputs : to_inputs + 2, error))
    return FALSE;
  sumi_graph_output (g, "out", out);
  sumi_graph_output (g, "loss", sumi_reshape (g, loss, &SUMI_SHAPE (1)));
  plan = probe_compile (p, m, model.weights, error);
  return plan != NULL && inputs_set (&in, plan, error) && sumi_plan_set (plan, "target", target, error)
         && sumi_plan_run (plan, NULL, error) && probe_store (p, plan, "out", error)
         && probe_store (p, plan, "loss", error)
         && (in.conditions[STATES] == NULL
             || (probe_store (p, plan, "grad_sample", error)
                 && probe_store (p, plan, "grad_encoder_hidden_states", error)))
         && probe_gradients_report (&gradients, plan, 1024, error);
}
