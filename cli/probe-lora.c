/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Component "lora": an adapter merged into the U-Net, into the text encoder, into both.
 * Parameters: "file" (below the root), "strength"; "drop_te": the text encoder's part is left out. */
#include "probe.h"

#include <string.h>

#include "io/weights.h"
#include "nn/config.h"
#include "nn/lora.h"

typedef struct
{
  ProbeModel model;
  SumiLora *lora;
  double strength, text_strength;
} Adapted;

static void
adapted_clear (Adapted *a)
{
  probe_model_clear (&a->model);
  g_clear_pointer (&a->lora, sumi_lora_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Adapted, adapted_clear)

static char *
adapter_path (Probe *p, GError **error)
{
  const char *file = NULL;

  if (!sumi_config_string (p->params, "file", &file, error))
    return NULL;
  if (file == NULL || file[0] == '\0' || g_path_is_absolute (file) || strstr (file, "..") != NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PATH, "file: found '%s', expected a file below the root",
                   file != NULL ? file : "");
      return NULL;
    }
  return g_build_filename (p->root, file, NULL);
}

static gboolean
adapted_open (Probe *p, Adapted *a, GError **error)
{
  g_autofree char *path = adapter_path (p, error);
  g_autoptr (SumiTensorMap) file = path != NULL ? sumi_weights_open (path, error) : NULL;
  g_autoptr (SumiLoraTargets) targets = NULL;
  gboolean drop_te = FALSE;

  a->strength = 1;
  if (file == NULL || !sumi_config_double (p->params, "strength", -1000, 1000, &a->strength, error)
      || !sumi_config_bool (p->params, "drop_te", &drop_te, error) || !probe_model_open (p, &a->model, error)
      || !probe_model_needs (&a->model, "unet", error) || !probe_model_needs (&a->model, "text_encoder", error))
    return FALSE;
  a->text_strength = drop_te ? 0 : a->strength;
  targets = sumi_lora_targets_new (a->model.weights, &a->model.config.unet, sumi_family_name (a->model.config.family));
  a->lora = sumi_lora_new (targets, file, path, error);
  return a->lora != NULL;
}

/* The model's weights with the adapter in them. */
static SumiTensorMap *
merge (const Adapted *a, GError **error)
{
  g_autoptr (SumiLoraStack) stack = sumi_lora_stack_new (a->model.weights);
  g_autoptr (SumiTensorMap) merged = sumi_tensor_map_new ();

  sumi_lora_stack_add (stack, a->lora, a->strength, a->text_strength);
  for (guint i = 0; i < sumi_tensor_map_get_size (a->model.weights); i++)
    {
      const char *name = sumi_tensor_map_get_name (a->model.weights, i);
      SumiTensor *t = sumi_lora_stack_merge (stack, name, error);

      if (t == NULL)
        return NULL;
      sumi_tensor_map_take (merged, name, t);
    }
  return g_steal_pointer (&merged);
}

static SumiTensor *
run_text (Probe *p, const Adapted *a, const SumiTensorMap *weights, const SumiTensor *ids, GError **error)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;
  SumiNode *states;

  sumi_module_push (m, "text_encoder");
  states = sumi_text_encoder (m, &a->model.config.text,
                              sumi_input (g, "input_ids", SUMI_INDEX, sumi_tensor_get_shape (ids)), NULL);
  sumi_module_pop (m);
  sumi_graph_output (g, "states", states);
  plan = probe_compile (p, m, weights, error);
  if (plan == NULL || !sumi_plan_set (plan, "input_ids", ids, error) || !sumi_plan_run (plan, NULL, error))
    return NULL;
  return probe_read (plan, "states", error);
}

static SumiTensor *
run_unet (Probe *p, const Adapted *a, const SumiTensorMap *weights, const SumiTensor *sample,
          const SumiTensor *timestep, const SumiTensor *states, GError **error)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;
  SumiUnetConditioning c = { sumi_input (g, "states", SUMI_REAL, sumi_tensor_get_shape (states)) };
  SumiNode *out
      = probe_model_denoiser (m, &a->model, sumi_input (g, "sample", SUMI_REAL, sumi_tensor_get_shape (sample)),
                              sumi_input (g, "timestep", SUMI_REAL, sumi_tensor_get_shape (timestep)), &c);

  sumi_graph_output (g, "out", out);
  plan = probe_compile (p, m, weights, error);
  if (plan == NULL || !sumi_plan_set (plan, "sample", sample, error)
      || !sumi_plan_set (plan, "timestep", timestep, error) || !sumi_plan_set (plan, "states", states, error)
      || !sumi_plan_run (plan, NULL, error))
    return NULL;
  return probe_read (plan, "out", error);
}

gboolean
probe_lora (Probe *p, GError **error)
{
  g_auto (Adapted) a = { { NULL } };
  g_autoptr (SumiTensor) sample = probe_in (p, "sample", 4, error);
  g_autoptr (SumiTensor) timestep = sample != NULL ? probe_in_number (p, "timestep", 1, error) : NULL;
  g_autoptr (SumiTensor) ids = NULL;
  g_autoptr (SumiTensorMap) with = NULL;
  g_autoptr (SumiTensor) plain = NULL, text = NULL;

  if (timestep == NULL || !adapted_open (p, &a, error)
      || (ids = probe_in_index (p, "input_ids", 2, a.model.config.text.vocab_size - 1, error)) == NULL
      || (with = merge (&a, error)) == NULL || (plain = run_text (p, &a, a.model.weights, ids, error)) == NULL
      || (text = run_text (p, &a, with, ids, error)) == NULL)
    return FALSE;
  sumi_tensor_map_set (p->out, "text_hidden", text);
  const struct
  {
    const char *name;
    const SumiTensorMap *weights;
    const SumiTensor *states;
  } runs[] = { { "unet_out", with, plain },
               { "unet_out_with_text", with, text },
               { "unet_out_no_lora", a.model.weights, plain } };

  for (guint i = 0; i < G_N_ELEMENTS (runs); i++)
    {
      SumiTensor *out = run_unet (p, &a, runs[i].weights, sample, timestep, runs[i].states, error);

      if (out == NULL)
        return FALSE;
      sumi_tensor_map_take (p->out, runs[i].name, out);
    }
  return TRUE;
}
