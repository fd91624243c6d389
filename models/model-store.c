/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/model-store.h"

#include <stdlib.h>
#include <string.h>

#include "diffusion/model.h"
#include "models/model-file.h"

/* The models among the installed data. */
static const char *const builtin[] = { "starter", NULL };

/* ---- find ---- */

static const char *const endings[] = { ".safetensors", ".ckpt", ".gguf", ".pt" };

/* dir/NAME.safetensors (or another ending of weights), the same in dir/NAME, or a diffusers folder dir/NAME; NULL where
 * none of them is. */
static char *
find_in (const char *dir, const char *name)
{
  g_autofree char *folder = g_build_filename (dir, name, NULL);
  g_autofree char *index = g_build_filename (folder, "model_index.json", NULL);

  for (guint i = 0; i < G_N_ELEMENTS (endings); i++)
    {
      g_autofree char *file_name = g_strconcat (name, endings[i], NULL);
      g_autofree char *file = g_build_filename (dir, file_name, NULL);
      g_autofree char *inner = g_build_filename (folder, file_name, NULL);

      if (g_file_test (file, G_FILE_TEST_IS_REGULAR))
        return g_steal_pointer (&file);
      if (g_file_test (inner, G_FILE_TEST_IS_REGULAR))
        return g_steal_pointer (&inner);
    }
  return g_file_test (index, G_FILE_TEST_IS_REGULAR) ? g_steal_pointer (&folder) : NULL;
}

static char *
find_name (const char *name)
{
  if (g_strv_contains (builtin, name))
    {
      char *path = find_in (sumi_data_dir (), name);
      if (path != NULL)
        return path;
    }
  return find_in (sumi_user_models_dir (), name);
}

static gboolean
is_name (const char *model)
{
  return model[0] != '\0' && model[0] != '.' && strchr (model, '/') == NULL;
}

char *
sumi_model_find (const char *model, GError **error)
{
  char *path = is_name (model) ? find_name (model) : NULL;

  if (path != NULL)
    return path;
  if (g_file_test (model, G_FILE_TEST_EXISTS))
    return g_strdup (model);
  if (!g_path_is_absolute (model) && (g_str_has_prefix (model, "../") || strstr (model, "/../") != NULL))
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PATH,
                 "%s: found no such file, and as a name it leaves the folders "
                 "of models",
                 model);
  else
    {
      g_auto (GStrv) names = sumi_model_list ();
      g_autofree char *known = g_strjoinv (", ", names);
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE,
                   "%s: found no such file, folder or model, expected one of: %s", model,
                   names[0] != NULL ? known : "(no models are installed)");
    }
  return NULL;
}

/* ---- list ---- */

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

static void
add_name (GPtrArray *names, const char *dir, const char *name)
{
  g_autofree char *path = is_name (name) ? find_in (dir, name) : NULL;

  if (path != NULL && !g_ptr_array_find_with_equal_func (names, name, g_str_equal, NULL))
    g_ptr_array_add (names, g_strdup (name));
}

char **
sumi_model_list (void)
{
  GPtrArray *names = g_ptr_array_new ();
  GDir *dir = g_dir_open (sumi_user_models_dir (), 0, NULL);
  const char *entry;

  for (guint i = 0; builtin[i] != NULL; i++)
    add_name (names, sumi_data_dir (), builtin[i]);
  while (dir != NULL && (entry = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *name = g_strdup (entry);
      name[sumi_model_stem (name)] = '\0';
      add_name (names, sumi_user_models_dir (), name);
    }
  g_clear_pointer (&dir, g_dir_close);
  if (names->len > 0)
    qsort (names->pdata, names->len, sizeof (char *), compare_names);
  g_ptr_array_add (names, NULL);
  return (char **)g_ptr_array_free (names, FALSE);
}

/* ---- open ---- */

gboolean
sumi_model_open (const char *model, SumiTensorMap **weights, JsonObject **config, GError **error)
{
  g_autofree char *path = sumi_model_find (model, error);
  g_autoptr (SumiTensorMap) w = NULL;
  g_autoptr (JsonObject) c = NULL;
  SumiModelConfig parsed;
  GError *why = NULL;

  if (path == NULL || !sumi_model_read (path, &w, &c, &why, error))
    return FALSE;
  if (c == NULL)
    {
      g_propagate_prefixed_error (error, why, "%s: ", path);
      return FALSE;
    }
  if (!sumi_model_config_parse (c, &parsed, error))
    {
      g_prefix_error (error, "%s: ", path);
      return FALSE;
    }
  *weights = g_steal_pointer (&w);
  *config = g_steal_pointer (&c);
  return TRUE;
}

/* For recipes: the last part of a path, without its ending, in UTF-8. */
static char *
name_of (const char *model)
{
  g_autofree char *base = g_path_get_basename (model);

  base[sumi_model_stem (base)] = '\0';
  return g_filename_display_name (base);
}

SumiPipeline *
sumi_model_open_pipeline (const char *model, const SumiPipelineOptions *options, GError **error)
{
  g_autofree char *merges = g_build_filename (sumi_data_dir (), "clip", "merges.txt.gz", NULL);
  g_autofree char *taef2 = g_build_filename (sumi_data_dir (), "taef2", "taef2.safetensors", NULL);
  g_autofree char *name = name_of (model);
  g_autoptr (SumiTensorMap) weights = NULL;
  g_autoptr (JsonObject) config = NULL;
  SumiPipelineOptions o = *options;
  SumiPipeline *pipeline;

  if (!sumi_model_open (model, &weights, &config, error))
    return NULL;
  if (o.merges == NULL)
    o.merges = merges;
  if (o.taef2 == NULL)
    o.taef2 = taef2;
  if (o.model == NULL)
    o.model = name;
  if (o.loras == NULL)
    o.loras = sumi_user_folder ("loras");
  if (o.embeddings == NULL)
    o.embeddings = sumi_user_folder ("embeddings");
  pipeline = sumi_pipeline_new (weights, config, &o, error);
  if (pipeline == NULL)
    g_prefix_error (error, "%s: ", model);
  return pipeline;
}
