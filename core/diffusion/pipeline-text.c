/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a prompt to what the denoiser is conditioned on; and what to tell about it. */
#include "diffusion/pipeline-private.h"

#define MAX_TOLD 8 /* unknown words named in a note */

/* Commas and quotation marks are not worth telling; a picture sign is. */
static gboolean
is_word_char (gunichar c)
{
  switch (g_unichar_type (c))
    {
    case G_UNICODE_CONNECT_PUNCTUATION:
    case G_UNICODE_DASH_PUNCTUATION:
    case G_UNICODE_CLOSE_PUNCTUATION:
    case G_UNICODE_FINAL_PUNCTUATION:
    case G_UNICODE_INITIAL_PUNCTUATION:
    case G_UNICODE_OTHER_PUNCTUATION:
    case G_UNICODE_OPEN_PUNCTUATION:
      return c == '\'' || c == 0x2019; /* as in "fox's" */
    default:
      return !g_unichar_isspace (c) && !g_unichar_iscntrl (c);
    }
}

/* TRUE when some token of the word has no row in the model's vocabulary. */
static gboolean
is_unknown (SumiPipeline *p, const char *word)
{
  g_autoptr (GArray) ids = sumi_tokenizer_encode (p->tokenizer, word, NULL);
  g_autofree gint64 *rows = NULL;
  guint unknown;

  if (ids == NULL)
    return FALSE; /* not UTF-8, which the whole prompt's encoding reports */
  rows = g_new (gint64, ids->len + 1);
  sumi_model_tokens_to_rows (p->token_ids, p->config.text.vocab_size, (const gint64 *)(gpointer)ids->data, ids->len,
                             rows, &unknown);
  return unknown > 0;
}

/* The tokenizer never joins across white space or from letters to other signs, so a word's tokens alone are its tokens
 * in the prompt. */
static void
tell_unknown_words (SumiPipeline *p, const char *prompt, GPtrArray *notes)
{
  g_autoptr (GPtrArray) told = g_ptr_array_new_with_free_func (g_free);
  const char *at = prompt;
  guint more = 0;

  while (*at != '\0')
    {
      const char *start = at;
      g_autofree char *word = NULL;

      while (*at != '\0' && is_word_char (g_utf8_get_char (at)))
        at = g_utf8_next_char (at);
      if (at == start)
        {
          at = g_utf8_next_char (at);
          continue;
        }
      word = g_strndup (start, at - start);
      if (!is_unknown (p, word) || g_ptr_array_find_with_equal_func (told, word, g_str_equal, NULL))
        continue;
      if (told->len < MAX_TOLD)
        g_ptr_array_add (told, g_steal_pointer (&word));
      else
        more++;
    }
  if (told->len > 0)
    {
      g_autofree char *words = NULL;

      g_ptr_array_add (told, NULL);
      words = g_strjoinv (", ", (char **)told->pdata);
      if (more > 0)
        g_ptr_array_add (notes, g_strdup_printf ("words this model has not learned: %s and %u more", words, more));
      else
        g_ptr_array_add (notes, g_strdup_printf ("words this model has not learned: %s", words));
    }
}

/* CLIP ids of the whole prompt, padded as in training, as rows of the model's vocabulary. */
static SumiTensor *
input_ids (SumiPipeline *p, const char *what, const char *prompt, GPtrArray *notes, GError **error)
{
  guint length = (guint)p->config.text.max_position_embeddings, cut = 0;
  g_autofree gint64 *ids = g_new (gint64, length);

  if (!sumi_tokenizer_encode_padded (p->tokenizer, prompt, length, SUMI_TOKEN_END, ids, &cut, error))
    {
      g_prefix_error (error, "%s: ", what);
      return NULL;
    }
  if (cut > 0)
    g_ptr_array_add (notes, g_strdup_printf ("%s: the last %u tokens were cut, %u fit", what, cut, length - 2));
  tell_unknown_words (p, prompt, notes);
  sumi_model_tokens_to_rows (p->token_ids, p->config.text.vocab_size, ids, length, ids, NULL);
  return sumi_tensor_new_i64 (&SUMI_SHAPE (1, length), ids, error);
}

gboolean
sumi_pipeline_encode (SumiPipeline *p, const char *what, const char *prompt, SumiTextStates *t, GPtrArray *notes,
                      GCancellable *cancellable, GError **error)
{
  g_autoptr (SumiTensor) ids = input_ids (p, what, prompt != NULL ? prompt : "", notes, error);
  SumiPlan *plan;

  if (ids == NULL || (plan = sumi_pipeline_text_plan (p, error)) == NULL
      || !sumi_plan_set (plan, "input_ids", ids, error) || !sumi_plan_run (plan, cancellable, error))
    return FALSE;
  t->states = sumi_plan_get (plan, "states", error);
  if (t->states == NULL)
    return FALSE;
  t->pooled = sumi_plan_get (plan, "pooled", error);
  return t->pooled != NULL;
}
