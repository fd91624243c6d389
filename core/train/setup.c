/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A checkpoint remembers how its run was started, so that going on needs its name alone. */
#include "train/setup.h"

#include <string.h>
#include <sys/stat.h>

#include "io/json.h"
#include "io/safetensors.h"

#define ENDING ".safetensors"
#define CHECKPOINT_ENDING ".ckpt.safetensors"

void
sumi_train_setup_clear (SumiTrainSetup *s)
{
  g_clear_pointer (&s->config, json_object_unref);
  g_clear_pointer (&s->data, g_free);
  g_clear_pointer (&s->engine, g_free);
  g_clear_pointer (&s->prompts, g_strfreev);
  g_clear_pointer (&s->output, g_free);
  g_clear_pointer (&s->merges, g_free);
  g_clear_pointer (&s->taef2, g_free);
  g_clear_pointer (&s->checkpoint, sumi_tensor_map_unref);
  g_clear_pointer (&s->init, sumi_tensor_map_unref);
}

static char *
strip_ending (const char *path, const char *ending)
{
  return g_str_has_suffix (path, ending) ? g_strndup (path, strlen (path) - strlen (ending)) : NULL;
}

char *
sumi_train_setup_beside (const SumiTrainSetup *s, const char *ending)
{
  g_autofree char *stem = strip_ending (s->output, ENDING);

  return g_strconcat (stem != NULL ? stem : s->output, ".", ending, NULL);
}

static gboolean
same_folder (const char *a, const char *b)
{
  struct stat x, y;

  return stat (a, &x) == 0 && stat (b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

gboolean
sumi_train_setup_check (const SumiTrainSetup *s, GError **error)
{
  const char *missing = s->data == NULL ? "--data DIR" : s->output == NULL ? "--output OUT.safetensors" : NULL;
  g_autofree char *folder = s->output != NULL ? g_path_get_dirname (s->output) : NULL;

  if (missing != NULL)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "expected %s", missing);
  else if (same_folder (s->data, folder))
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE,
                 "--output: found %s in the folder of the training pictures,"
                 " expected it elsewhere: its curve and samples are pictures too",
                 s->output);
  else if (!g_file_test (folder, G_FILE_TEST_IS_DIR))
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "--output: found no folder %s", folder);
  else
    return TRUE;
  return FALSE;
}

/* ---- checkpoint ---- */

char *
sumi_train_setup_to_text (const SumiTrainSetup *s)
{
  g_autoptr (JsonNode) node = json_node_new (JSON_NODE_OBJECT);
  JsonObject *json = json_object_new ();

  json_object_set_object_member (json, "options", sumi_train_options_to_json (&s->options));
  json_object_set_string_member (json, "data", s->data);
  json_object_set_int_member (json, "kind", s->kind);
  if (s->engine != NULL)
    json_object_set_string_member (json, "engine", s->engine);
  if (s->prompts != NULL)
    {
      JsonArray *prompts = json_array_new ();
      for (char **prompt = s->prompts; *prompt != NULL; prompt++)
        json_array_add_string_element (prompts, *prompt);
      json_object_set_array_member (json, "prompts", prompts);
    }
  json_node_take_object (node, json);
  return json_to_string (node, FALSE);
}

static JsonObject *
parse_metadata (const SumiTensorMap *file, const char *key, GError **error)
{
  const char *text = sumi_tensor_map_get_metadata (file, key);
  JsonObject *json = text != NULL ? sumi_json_parse (text, strlen (text), key, NULL) : NULL;

  if (json != NULL)
    return json;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER, "checkpoint: found no JSON object in its metadata %s", key);
  return NULL;
}

static char *
string_member (JsonObject *json, const char *name)
{
  JsonNode *node = json_object_get_member (json, name);

  return node != NULL && JSON_NODE_HOLDS_VALUE (node) ? g_strdup (json_node_get_string (node)) : NULL;
}

static char **
strings_member (JsonObject *json, const char *name)
{
  JsonNode *node = json_object_get_member (json, name);
  GPtrArray *list;

  if (node == NULL || !JSON_NODE_HOLDS_ARRAY (node))
    return NULL;
  list = g_ptr_array_new ();
  for (guint i = 0; i < json_array_get_length (json_node_get_array (node)); i++)
    {
      JsonNode *e = json_array_get_element (json_node_get_array (node), i);
      if (JSON_NODE_HOLDS_VALUE (e) && json_node_get_string (e) != NULL)
        g_ptr_array_add (list, json_node_dup_string (e));
    }
  g_ptr_array_add (list, NULL);
  return (char **)g_ptr_array_free (list, FALSE);
}

gboolean
sumi_train_setup_resume (SumiTrainSetup *s, const char *checkpoint, GError **error)
{
  g_autoptr (JsonObject) run = NULL;
  g_autofree char *stem = strip_ending (checkpoint, CHECKPOINT_ENDING);
  SumiModelConfig config;
  JsonNode *options;
  gint64 kind;

  s->checkpoint = sumi_safetensors_open (checkpoint, error);
  if (s->checkpoint == NULL || (run = parse_metadata (s->checkpoint, "sumi.run", error)) == NULL
      || (s->config = parse_metadata (s->checkpoint, "sumi.config", error)) == NULL
      || !sumi_train_config_prepare (s->config, &config, error))
    return FALSE;
  sumi_train_options_init (&s->options, &config);
  options = json_object_get_member (run, "options");
  if (options != NULL && JSON_NODE_HOLDS_OBJECT (options)
      && !sumi_train_options_from_json (&s->options, json_node_get_object (options), error))
    return FALSE;
  kind = json_object_get_int_member_with_default (run, "kind", SUMI_DATASET_AUTO);
  s->kind = kind >= 0 && kind < SUMI_N_DATASETS ? (SumiDatasetKind)kind : SUMI_DATASET_AUTO;
  s->data = string_member (run, "data");
  s->engine = string_member (run, "engine");
  s->prompts = strings_member (run, "prompts");
  s->output = stem != NULL ? g_strconcat (stem, ENDING, NULL) : NULL;
  return TRUE;
}
