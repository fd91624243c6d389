/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Component "textual-inversion": a prompt with a learned word, through the first text encoder.
 * Parameters: "prompt"; "files", in models/textual-inversion, which hold the same vectors in every format; "token",
 * what stands for them in the prompt, whatever the files call it. */
#include "probe.h"

#include <string.h>

#include "diffusion/conditioner.h"
#include "io/weights.h"
#include "models/model-store.h"
#include "nn/config.h"

static SumiConditioner *
open_conditioner (Probe *p, const ProbeModel *model, GError **error)
{
  g_autofree char *merges = g_build_filename (sumi_data_dir (), "clip", "merges.txt.gz", NULL);
  g_autoptr (SumiTokenizer) tokenizer = sumi_tokenizer_open (merges, error);

  if (tokenizer == NULL)
    return NULL;
  return sumi_conditioner_new (&model->config, model->weights, tokenizer, p->engine, p->options.threads, error);
}

static gboolean
add_file (Probe *p, SumiConditioner *c, const char *file, const char *token, GError **error)
{
  g_autofree char *path = g_build_filename (p->root, "models", "textual-inversion", file, NULL);
  g_autoptr (SumiTensorMap) map = NULL;
  SumiEmbedding *e;

  if (file == NULL || file[0] == '.' || strpbrk (file, "/\\") != NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PATH,
                   "files: found '%s', expected the name of a file in models/textual-inversion",
                   file != NULL ? file : "");
      return FALSE;
    }
  if ((map = sumi_weights_open (path, error)) == NULL || (e = sumi_embedding_new (map, file, error)) == NULL)
    return FALSE;
  g_free (e->token);
  e->token = g_strdup (token);
  return sumi_conditioner_add_embedding (c, e, error);
}

static SumiTensor *
encode (SumiConditioner *c, const char *text, GError **error)
{
  static const char *const what[] = { "prompt" };
  SumiConditionerOptions options = { .emphasis = SUMI_EMPHASIS_NONE, .clip_skip = 1, .one_chunk = TRUE };
  g_autoptr (SumiPrompt) prompt = sumi_prompt_parse (text, options.emphasis, 0, error);
  g_autoptr (GPtrArray) notes = g_ptr_array_new_with_free_func (g_free);
  g_auto (SumiTextStates) states = { NULL };

  if (prompt == NULL
      || !sumi_conditioner_encode (c, (const SumiPrompt *const *)&prompt, what, 1, &options, &states, notes, NULL,
                                   error))
    return NULL;
  return g_steal_pointer (&states.states);
}

/* The states with the first file's vectors; with the others' they must be the same. */
static gboolean
check_states (Probe *p, const char *file, SumiTensor *states, GError **error)
{
  static const char name[] = "last_hidden_state";
  const SumiTensor *first = sumi_tensor_map_peek (p->out, name);

  if (first == NULL)
    {
      sumi_tensor_map_set (p->out, name, states);
      return TRUE;
    }
  if (sumi_shape_equal (sumi_tensor_get_shape (first), sumi_tensor_get_shape (states))
      && memcmp (sumi_tensor_peek (first), sumi_tensor_peek (states), sumi_tensor_get_size (states)) == 0)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
               "%s: found other vectors than in the first file, expected the same in all", file);
  return FALSE;
}

static gboolean
run (Probe *p, const ProbeModel *model, JsonArray *files, const char *prompt, const char *token, GError **error)
{
  g_autoptr (SumiConditioner) c = open_conditioner (p, model, error);

  if (c == NULL)
    return FALSE;
  for (guint i = 0; i < json_array_get_length (files); i++)
    {
      JsonNode *node = json_array_get_element (files, i);
      const char *file = JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;
      g_autoptr (SumiTensor) states = NULL;

      sumi_conditioner_clear_embeddings (c);
      if (!add_file (p, c, file, token, error) || (states = encode (c, prompt, error)) == NULL
          || !check_states (p, file, states, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
probe_textual_inversion (Probe *p, GError **error)
{
  g_auto (ProbeModel) model = { NULL };
  const char *prompt = NULL, *token = NULL;
  JsonNode *files = json_object_get_member (p->params, "files");

  if (!sumi_config_string (p->params, "prompt", &prompt, error)
      || !sumi_config_string (p->params, "token", &token, error))
    return FALSE;
  if (prompt == NULL || token == NULL || files == NULL || !JSON_NODE_HOLDS_ARRAY (files)
      || json_array_get_length (json_node_get_array (files)) == 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "params: found no prompt, token or files, expected all three");
      return FALSE;
    }
  if (!probe_model_open (p, &model, error))
    return FALSE;
  return run (p, &model, json_node_get_array (files), prompt, token, error);
}
