/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "diffusion/unknown-words.h"

#include "diffusion/model.h"

#define MAX_TOLD 8 /* words named in a note */

typedef struct
{
  SumiTokenizer *tokenizer;
  const gint64 *token_ids;
  gint64 v;
  GPtrArray *told; /* char* */
  guint more;
} Search;

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
is_unknown (const Search *s, const char *word)
{
  g_autoptr (GArray) ids = sumi_tokenizer_encode (s->tokenizer, word, NULL);
  g_autofree gint64 *rows = NULL;
  guint unknown;

  if (ids == NULL)
    return FALSE; /* no text, which the whole prompt's encoding reports */
  rows = g_new (gint64, ids->len + 1);
  sumi_model_tokens_to_rows (s->token_ids, s->v, (const gint64 *)(gpointer)ids->data, ids->len, rows, &unknown);
  return unknown > 0;
}

/* The tokenizer never joins across white space or from letters to other signs, so a word's tokens alone are its tokens
 * in the prompt. */
static void
search (Search *s, const char *at)
{
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
      if (!is_unknown (s, word) || g_ptr_array_find_with_equal_func (s->told, word, g_str_equal, NULL))
        continue;
      if (s->told->len < MAX_TOLD)
        g_ptr_array_add (s->told, g_steal_pointer (&word));
      else
        s->more++;
    }
}

void
sumi_unknown_words_tell (SumiTokenizer *tokenizer, const gint64 *token_ids, gint64 v, const SumiPrompt *prompt,
                         GPtrArray *notes)
{
  g_autoptr (GPtrArray) told = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *words = NULL;
  Search s = { tokenizer, token_ids, v, told, 0 };

  for (guint i = 0; i < prompt->parts->len; i++)
    {
      const SumiPromptPart *part = g_ptr_array_index (prompt->parts, i);

      if (part->text != NULL)
        search (&s, part->text);
    }
  if (told->len == 0)
    return;
  g_ptr_array_add (told, NULL);
  words = g_strjoinv (", ", (char **)told->pdata);
  if (s.more > 0)
    g_ptr_array_add (notes, g_strdup_printf ("words this model has not learned: %s and %u more", words, s.more));
  else
    g_ptr_array_add (notes, g_strdup_printf ("words this model has not learned: %s", words));
}
