/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The models of a reference root: folders as diffusers writes them, or single files beside a JSON file, opened as any
 * other command opens them. */
#include "probe.h"

#include <string.h>

#include "models/model-store.h"
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

/* Where diffusers' DDPMScheduler leaves the spacing open, it is leading. */
static void
complete_scheduler (JsonObject *config)
{
  JsonNode *node = json_object_get_member (config, "scheduler");
  JsonObject *scheduler = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;

  if (scheduler != NULL && !json_object_has_member (scheduler, "timestep_spacing"))
    json_object_set_string_member (scheduler, "timestep_spacing", "leading");
}

/* `why`, which is taken over, says what a whole model lacks: the parts there are will do. */
static gboolean
open_parts (const char *folder, ProbeModel *model, GError *why, GError **error)
{
  gboolean found = FALSE;

  if (!g_error_matches (why, SUMI_ERROR, SUMI_ERROR_MISSING_FILE) || !g_file_test (folder, G_FILE_TEST_IS_DIR))
    {
      g_propagate_error (error, why);
      return FALSE;
    }
  if (!probe_parts_open (folder, model, &found, error))
    {
      g_error_free (why);
      return FALSE;
    }
  if (!found)
    g_propagate_error (error, why);
  else
    g_error_free (why);
  return found;
}

gboolean
probe_model_open (Probe *p, ProbeModel *model, GError **error)
{
  g_autofree char *folder = probe_model_path (p, "", error);
  g_autofree char *file = folder != NULL ? g_strconcat (folder, ".safetensors", NULL) : NULL;
  g_autoptr (JsonObject) config = NULL;
  gboolean is_folder;
  GError *why = NULL;

  *model = (ProbeModel){ NULL };
  if (folder == NULL)
    return FALSE;
  is_folder = g_file_test (folder, G_FILE_TEST_IS_DIR) && !(p->single_file && g_file_test (file, G_FILE_TEST_EXISTS));
  if (!sumi_model_open (is_folder ? folder : file, &model->weights, &config, &why))
    return open_parts (is_folder ? folder : file, model, why, error);
  if (is_folder)
    complete_scheduler (config);
  return sumi_model_config_parse (config, &model->config, error);
}

void
probe_model_clear (ProbeModel *model)
{
  g_clear_pointer (&model->weights, sumi_tensor_map_unref);
}

static gboolean
draws_pixels (const ProbeModel *model)
{
  return model->config.family == SUMI_FAMILY_SIMPLE_UNET || model->config.family == SUMI_FAMILY_DDPM;
}

gboolean
probe_model_open_pixels (Probe *p, ProbeModel *model, GError **error)
{
  if (!probe_model_open (p, model, error))
    return FALSE;
  if (!draws_pixels (model))
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "model: found %s, expected one that draws pixels",
                 sumi_family_name (model->config.family));
  return draws_pixels (model);
}

const char *
probe_model_prefix (const ProbeModel *model, const char *prefix)
{
  return draws_pixels (model) ? "" : prefix;
}

gboolean
probe_model_needs (const ProbeModel *model, const char *network, GError **error)
{
  g_autofree char *prefix = g_strconcat (network, ".", NULL);

  if (draws_pixels (model) && strcmp (network, "unet") == 0)
    return TRUE;
  for (guint i = 0; i < sumi_tensor_map_get_size (model->weights); i++)
    if (g_str_has_prefix (sumi_tensor_map_get_name (model->weights, i), prefix))
      return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR, "%s: found no weights of it, expected a model that has it",
               network);
  return FALSE;
}

SumiNode *
probe_model_denoiser (SumiModule *m, const ProbeModel *model, SumiNode *sample, SumiNode *timestep,
                      const SumiUnetConditioning *conditioning)
{
  if (draws_pixels (model))
    return sumi_model_denoiser (m, &model->config, sample, timestep, NULL);
  sumi_module_push (m, "unet");
  sample = sumi_unet (m, &model->config.unet, sample, timestep, conditioning);
  sumi_module_pop (m);
  return sample;
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
