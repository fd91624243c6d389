/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The models of a reference root: folders as diffusers writes them, or single files beside a JSON file. */
#include "probe.h"

#include <string.h>

#include "io/json.h"
#include "io/safetensors.h"
#include "nn/config.h"

/* A plain name: no way out of the folder. */
static gboolean
check_name (const char *name, GError **error)
{
  if (name != NULL && name[0] != '\0' && name[0] != '.' && strpbrk (name, "/\\") == NULL)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PATH, "model: found '%s', expected the name of a file in models/",
               name != NULL ? name : "");
  return FALSE;
}

char *
probe_model_path (Probe *p, const char *suffix, GError **error)
{
  const char *name = NULL;

  if (!sumi_config_string (p->json, "model", &name, error) || !check_name (name, error))
    return NULL;
  return g_strconcat (p->root, G_DIR_SEPARATOR_S "models" G_DIR_SEPARATOR_S, name, suffix, NULL);
}

/* ---- the configuration, in the terms of sumi_model_config_parse ---- */

/* A folder of a pixel model. Where diffusers' DDPMScheduler leaves the spacing open, it is leading. */
static JsonObject *
pixel_folder_config (JsonObject *unet, const char *folder, GError **error)
{
  g_autofree char *path = g_build_filename (folder, "scheduler", "scheduler_config.json", NULL);
  g_autoptr (JsonObject) scheduler = sumi_json_load (path, error);
  g_autoptr (JsonObject) config = json_object_new ();

  if (scheduler == NULL)
    return NULL;
  if (!json_object_has_member (scheduler, "timestep_spacing"))
    json_object_set_string_member (scheduler, "timestep_spacing", "leading");
  json_object_set_string_member (config, "family", "ddpm");
  json_object_set_object_member (config, "unet", json_object_ref (unet));
  json_object_set_object_member (config, "scheduler", g_steal_pointer (&scheduler));
  return g_steal_pointer (&config);
}

static gboolean
open_folder (const char *folder, ProbeModel *model, GError **error)
{
  g_autofree char *config_path = g_build_filename (folder, "unet", "config.json", NULL);
  g_autofree char *weights = g_build_filename (folder, "unet", "diffusion_pytorch_model.safetensors", NULL);
  g_autoptr (JsonObject) unet = sumi_json_load (config_path, error);
  g_autoptr (JsonObject) config = NULL;

  if (unet == NULL || !sumi_unet_config_parse (unet, &model->config.unet, error))
    return FALSE;
  model->pixels = model->config.unet.cross_attention_dim == 0;
  if (model->pixels)
    {
      config = pixel_folder_config (unet, folder, error);
      if (config == NULL || !sumi_model_config_parse (config, &model->config, error))
        return FALSE;
    }
  model->weights = sumi_safetensors_open (weights, error);
  return model->weights != NULL;
}

static gboolean
open_single (Probe *p, ProbeModel *model, GError **error)
{
  g_autofree char *config_path = probe_model_path (p, ".json", error);
  g_autofree char *weights = probe_model_path (p, ".safetensors", error);
  g_autoptr (JsonObject) config = NULL;

  if (config_path == NULL || weights == NULL || (config = sumi_json_load (config_path, error)) == NULL
      || !sumi_model_config_parse (config, &model->config, error))
    return FALSE;
  model->pixels = TRUE;
  model->weights = sumi_safetensors_open (weights, error);
  return model->weights != NULL;
}

gboolean
probe_model_open (Probe *p, ProbeModel *model, GError **error)
{
  g_autofree char *folder = probe_model_path (p, "", error);

  *model = (ProbeModel){ 0 };
  if (folder == NULL)
    return FALSE;
  if (!p->single_file && g_file_test (folder, G_FILE_TEST_IS_DIR))
    return open_folder (folder, model, error);
  return open_single (p, model, error);
}

void
probe_model_clear (ProbeModel *model)
{
  g_clear_pointer (&model->weights, sumi_tensor_map_unref);
}

SumiNode *
probe_model_denoiser (SumiModule *m, const ProbeModel *model, SumiNode *sample, SumiNode *timestep,
                      SumiNode *encoder_hidden_states, SumiNode *class_labels)
{
  if (model->pixels)
    return sumi_model_denoiser (m, &model->config, sample, timestep, NULL);
  return sumi_unet (
      m, &model->config.unet, sample, timestep,
      &(SumiUnetConditioning){ .encoder_hidden_states = encoder_hidden_states, .class_labels = class_labels });
}

SumiPlan *
probe_compile (Probe *p, SumiModule *m, const SumiTensorMap *weights, GError **error)
{
  g_autoptr (SumiPlan) plan = NULL;

  if (!sumi_graph_check (m->graph, error) || !sumi_module_check (m, weights, "", error))
    return NULL;
  plan = sumi_engine_compile (p->engine, m->graph, &p->options, error);
  for (guint i = 0; plan != NULL && i < m->params->len; i++)
    {
      const char *name = g_array_index (m->params, SumiModuleParam, i).node->name;

      if (!sumi_plan_set (plan, name, sumi_tensor_map_peek (weights, name), error))
        return NULL;
    }
  return g_steal_pointer (&plan);
}

SumiSchedule *
probe_params_schedule (Probe *p, GError **error)
{
  const char *name = "linear";
  guint T = 1000;
  double start = 1e-4, end = 0.02;
  SumiBetaKind kind;

  if (!sumi_config_string (p->params, "schedule", &name, error) || !sumi_beta_kind_parse (name, &kind, error)
      || !sumi_config_uint (p->params, "T", 1, 100000, &T, error)
      || !sumi_config_double (p->params, "beta_start", 1e-12, 0.9999, &start, error)
      || !sumi_config_double (p->params, "beta_end", 1e-12, 0.9999, &end, error))
    return NULL;
  return sumi_schedule_new (kind, T, start, end, error);
}
