/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "diffusion/text-chunks.h"

#include <string.h>

#define COMMA 267 /* "," at the end of a word */
#define LOOK_BACK 20

/* ---- words that stand for vectors ---- */

SumiTextWord *
sumi_text_word_new (const char *token, const SumiTensor *vectors, SumiTokenizer *tokenizer, gint64 pad_id,
                    GError **error)
{
  const SumiShape *shape = sumi_tensor_get_shape (vectors);
  g_autoptr (GArray) ids = sumi_tokenizer_encode_for (tokenizer, token, pad_id, error);
  SumiTextWord *w;

  if (ids == NULL)
    return NULL;
  if (ids->len == 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "textual inversion '%s': found no tokens, expected a word",
                   token);
      return NULL;
    }
  w = g_new (SumiTextWord, 1);
  *w = (SumiTextWord){ token, g_steal_pointer (&ids), sumi_tensor_peek_f32 (vectors), (guint)shape->d[0], shape->d[1] };
  return w;
}

void
sumi_text_word_free (SumiTextWord *w)
{
  g_array_unref (w->ids);
  g_free (w);
}

/* The longest word whose tokens stand at `at`, or NULL. */
static const SumiTextWord *
word_at (const GPtrArray *words, const GArray *ids, guint at)
{
  const SumiTextWord *best = NULL;

  for (guint i = 0; i < words->len; i++)
    {
      const SumiTextWord *w = g_ptr_array_index (words, i);

      if (w->ids->len <= ids->len - at && (best == NULL || w->ids->len > best->ids->len)
          && memcmp (w->ids->data, &g_array_index (ids, gint64, at), w->ids->len * sizeof (gint64)) == 0)
        best = w;
    }
  return best;
}

/* The bytes of text that are the word but for upper and lower case, or 0. */
static gsize
same_text (const char *text, const char *word)
{
  const char *p = text;

  for (; *word != '\0'; word = g_utf8_next_char (word), p = g_utf8_next_char (p))
    if (*p == '\0' || g_unichar_tolower (g_utf8_get_char (p)) != g_unichar_tolower (g_utf8_get_char (word)))
      return 0;
  return (gsize)(p - text);
}

/* The tokenizer joins signs that touch: in "<fox>, red" the word "<fox>" has no token ">" of its own. */
static gboolean
joins_with_signs (const char *word)
{
  const char *last = g_utf8_find_prev_char (word, word + strlen (word));

  return !g_unichar_isalnum (g_utf8_get_char (word)) || !g_unichar_isalnum (g_utf8_get_char (last));
}

/* The text with space around the words that would be lost so. */
static char *
set_words_apart (const char *text, const GPtrArray *words)
{
  GString *out = g_string_new (NULL);

  while (*text != '\0')
    {
      gsize longest = 0, length;

      for (guint i = 0; i < words->len; i++)
        {
          const SumiTextWord *w = g_ptr_array_index (words, i);

          if (joins_with_signs (w->token) && (length = same_text (text, w->token)) > longest)
            longest = length;
        }
      length = longest > 0 ? longest : (gsize)(g_utf8_next_char (text) - text);
      if (longest > 0)
        g_string_append_c (out, ' ');
      g_string_append_len (out, text, (gssize)length);
      if (longest > 0)
        g_string_append_c (out, ' ');
      text += length;
    }
  return g_string_free (out, FALSE);
}

/* ---- chunks ---- */

typedef struct
{
  const SumiTextChunker *chunker;
  SumiTextChunks *result;
  GArray *chunk;    /* the one being filled */
  guint last_comma; /* its place in it, G_MAXUINT: none that is of use */
} Filling;

static GArray *
new_chunk (void)
{
  return g_array_new (FALSE, FALSE, sizeof (SumiTextToken));
}

static void
next_chunk (Filling *f)
{
  g_ptr_array_add (f->result->chunks, f->chunk);
  f->chunk = new_chunk ();
  f->last_comma = G_MAXUINT;
}

/* The full chunk ends at its last comma, where that is near. */
static void
look_back (Filling *f)
{
  GArray *full = f->chunk;
  guint keep = f->last_comma + 1;

  if (f->last_comma == G_MAXUINT || full->len - f->last_comma > LOOK_BACK)
    return;
  next_chunk (f);
  g_array_append_vals (f->chunk, &g_array_index (full, SumiTextToken, keep), full->len - keep);
  g_array_set_size (full, keep);
}

/* Before n tokens that belong together, or one; what follows a cut is cut too. */
static gboolean
make_room (Filling *f, guint n, gboolean is_comma)
{
  const SumiTextChunker *c = f->chunker;

  if (c->one)
    {
      if (f->result->n_cut == 0 && f->chunk->len + n <= c->size)
        return TRUE;
      f->result->n_cut += n;
      return FALSE;
    }
  if (f->chunk->len == c->size && !is_comma)
    look_back (f);
  if (f->chunk->len + n > c->size)
    next_chunk (f);
  return TRUE;
}

static void
add_tokens (Filling *f, const GArray *ids, float weight)
{
  for (guint at = 0; at < ids->len;)
    {
      const SumiTextWord *word = word_at (f->chunker->words, ids, at);
      SumiTextToken token = { g_array_index (ids, gint64, at), NULL, weight };
      guint n = word != NULL ? word->n_vectors : 1;
      gboolean is_comma = word == NULL && token.id == COMMA;

      at += word != NULL ? word->ids->len : 1;
      if (!make_room (f, n, is_comma))
        continue;
      if (is_comma)
        f->last_comma = f->chunk->len;
      for (guint i = 0; i < n; i++)
        {
          if (word != NULL)
            token = (SumiTextToken){ -1, word->vectors + i * word->width, weight };
          g_array_append_val (f->chunk, token);
        }
    }
}

static gboolean
add_part (Filling *f, const SumiPromptPart *part, GError **error)
{
  const SumiTextChunker *c = f->chunker;
  g_autofree char *text = NULL;
  g_autoptr (GArray) ids = NULL;

  if (part->text == NULL)
    {
      if (!c->one)
        next_chunk (f);
      return TRUE;
    }
  text = set_words_apart (part->text, c->words);
  ids = sumi_tokenizer_encode_for (c->tokenizer, text, c->pad_id, error);
  if (ids == NULL)
    return FALSE;
  add_tokens (f, ids, (float)part->weight);
  return TRUE;
}

SumiTextChunks *
sumi_text_chunks_new (const SumiTextChunker *c, const SumiPrompt *prompt, GError **error)
{
  g_autoptr (SumiTextChunks) result = g_new0 (SumiTextChunks, 1);
  Filling f = { c, result, new_chunk (), G_MAXUINT };
  gboolean ok = TRUE;

  result->chunks = g_ptr_array_new_with_free_func ((GDestroyNotify)g_array_unref);
  for (guint i = 0; ok && i < prompt->parts->len; i++)
    ok = add_part (&f, g_ptr_array_index (prompt->parts, i), error);
  if (f.chunk->len > 0 || result->chunks->len == 0)
    next_chunk (&f);
  g_array_unref (f.chunk);
  for (guint i = 0; i < result->chunks->len; i++)
    result->n_tokens += ((GArray *)g_ptr_array_index (result->chunks, i))->len;
  return ok ? g_steal_pointer (&result) : NULL;
}

void
sumi_text_chunks_free (SumiTextChunks *t)
{
  if (t == NULL)
    return;
  g_ptr_array_unref (t->chunks);
  g_free (t);
}
