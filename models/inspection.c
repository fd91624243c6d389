/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/inspection.h"

#include <string.h>

#include "models/model-file.h"
#include "models/model-store.h"

static gboolean
check_load_as (const char *load_as, GError **error)
{
  if (load_as == NULL || strcmp (load_as, "any") == 0 || strcmp (load_as, "model") == 0
      || sumi_adapter_report_is_kind (load_as))
    return TRUE;
  for (guint f = 0; f < SUMI_N_FAMILIES; f++)
    if (strcmp (load_as, sumi_family_name (f)) == 0)
      return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE,
               "--load: found '%s', expected any, model, lora, textual-inversion or a family's name", load_as);
  return FALSE;
}

/* An unknown family is told, not refused: the file may still be looked at. */
static gboolean
understand (SumiInspection *i, JsonObject *config, GError **error)
{
  GError *wrong = NULL;

  if (config == NULL)
    return TRUE; /* why is set */
  if (!sumi_model_config_parse (config, &i->config, &wrong))
    {
      if (g_error_matches (wrong, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL))
        i->why = wrong;
      else
        g_propagate_error (error, wrong);
      return i->why != NULL;
    }
  i->report = sumi_model_report_new (i->weights, &i->config, error);
  i->json = json_object_ref (config);
  return i->report != NULL;
}

static void
look_for_non_finite (SumiInspection *i)
{
  i->non_finite = g_ptr_array_new_with_free_func (g_free);
  for (guint n = 0; n < sumi_tensor_map_get_size (i->weights); n++)
    if (!sumi_tensor_is_finite (sumi_tensor_map_peek_nth (i->weights, n)))
      g_ptr_array_add (i->non_finite, g_strdup (sumi_tensor_map_get_name (i->weights, n)));
}

/* What is no model may be something for one; that it is neither is a failure only where it was asked for. */
static gboolean
look_for_adapter (SumiInspection *i, const char *load_as, GError **error)
{
  g_autofree char *name = g_path_get_basename (i->path);
  gboolean wanted = sumi_adapter_report_is_kind (load_as);

  name[sumi_model_stem (name)] = '\0';
  if (wanted || i->report == NULL)
    i->adapter = sumi_adapter_report_new (i->weights, name, load_as, wanted ? error : NULL);
  return !wanted || i->adapter != NULL;
}

/* Opens the pipeline that would draw. It leaves it to the drawing to see that the numbers of large models are finite;
 * here every one has been looked at. */
static gboolean
load_model (const SumiInspection *i, const char *model, const char *load_as, GError **error)
{
  const SumiPipelineOptions options = { .dtype = SUMI_F32 };
  g_autoptr (SumiPipeline) pipeline = sumi_model_open_pipeline (model, &options, error);

  if (pipeline == NULL)
    return FALSE;
  if (i->report != NULL && i->report->wrong != NULL)
    {
      g_propagate_prefixed_error (error, g_error_copy (i->report->wrong), "%s: ", i->path);
      return FALSE;
    }
  if (strcmp (load_as, "model") == 0 || strcmp (load_as, sumi_family_name (i->config.family)) == 0)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "%s: found a model of family %s, expected %s", i->path,
               sumi_family_name (i->config.family), load_as);
  return FALSE;
}

SumiInspection *
sumi_inspection_new (const char *model, const char *load_as, GError **error)
{
  g_autoptr (SumiInspection) i = g_new0 (SumiInspection, 1);
  g_autoptr (JsonObject) config = NULL;

  if (!check_load_as (load_as, error) || (i->path = sumi_model_find (model, error)) == NULL
      || !sumi_model_read (i->path, &i->weights, &config, &i->why, error))
    return NULL;
  if (!understand (i, config, error) || !look_for_adapter (i, load_as, error))
    {
      g_prefix_error (error, "%s: ", i->path);
      return NULL;
    }
  if (load_as == NULL)
    return g_steal_pointer (&i);
  if (strcmp (load_as, "any") != 0 && !sumi_adapter_report_is_kind (load_as) && !load_model (i, model, load_as, error))
    return NULL;
  look_for_non_finite (i);
  return g_steal_pointer (&i);
}

const char *
sumi_inspection_get_variant (const SumiInspection *i)
{
  const SumiModelConfig *c = &i->config;

  if (c->in_channels == 2 * c->channels + 1)
    return "inpainting";
  if (c->in_channels == 2 * c->channels)
    return "edit";
  return sumi_model_states_width (c) > 0 ? "text" : "pixels";
}

void
sumi_inspection_free (SumiInspection *i)
{
  if (i == NULL)
    return;
  g_free (i->path);
  sumi_tensor_map_unref (i->weights);
  sumi_model_report_free (i->report);
  g_clear_pointer (&i->json, json_object_unref);
  sumi_adapter_report_free (i->adapter);
  g_clear_error (&i->why);
  g_clear_pointer (&i->non_finite, g_ptr_array_unref);
  g_free (i);
}
