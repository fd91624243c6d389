/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The language of prompts, and the chunks that come of it. */
#include "fuzz.h"

#include <math.h>
#include <string.h>

#include "diffusion/text-chunks.h"

#define SIZE 75

const char *fuzz_outcome;

const char *const fuzz_tokens[] = { "(",
                                    ")",
                                    "[",
                                    "]",
                                    "{",
                                    "|",
                                    "}",
                                    "\\",
                                    ":",
                                    ":1.3)",
                                    ":-2)",
                                    ":9999999)",
                                    "<",
                                    ">",
                                    "<lora:",
                                    ":0.5>",
                                    "<lora:a:1:2>",
                                    "BREAK",
                                    " BREAK ",
                                    "#",
                                    " # ",
                                    "\n",
                                    ",",
                                    "!",
                                    "<fox>",
                                    "myfox",
                                    "a a a a a a a a a a ",
                                    "((((((((((((((((((((((((((((((((",
                                    "{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{",
                                    "\xff",
                                    "é",
                                    "雪",
                                    NULL };

/* Ends at the first NUL; what is not UTF-8 becomes text that is. */
void
fuzz_repair (GByteArray *input)
{
  g_autofree char *valid = input->len > 0 ? g_utf8_make_valid ((const char *)input->data, input->len) : g_strdup ("");

  g_byte_array_set_size (input, 0);
  g_byte_array_append (input, (const guint8 *)valid, (guint)strlen (valid));
}

/* ---- chunks ---- */

static SumiTokenizer *
the_tokenizer (void)
{
  static SumiTokenizer *tokenizer;

  if (tokenizer == NULL)
    {
      g_autofree char *merges = g_build_filename (g_getenv ("SUMI_DATADIR"), "clip", "merges.txt.gz", NULL);
      GError *error = NULL;

      tokenizer = sumi_tokenizer_open (merges, &error);
      g_assert_no_error (error);
    }
  return tokenizer;
}

/* "<fox>" of 2 vectors, "myfox" of 75 and "a a" of 1. */
static const GPtrArray *
the_words (gint64 pad_id)
{
  static const struct
  {
    const char *token;
    guint n;
  } rows[] = { { "<fox>", 2 }, { "myfox", SIZE }, { "a a", 1 } };
  static GPtrArray *words[2], *vectors;
  GPtrArray **w = &words[pad_id == 0];

  if (*w != NULL)
    return *w;
  *w = g_ptr_array_new ();
  if (vectors == NULL)
    vectors = g_ptr_array_new (); /* which the words borrow */
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      SumiTensor *t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (rows[i].n, 2), NULL);

      g_ptr_array_add (vectors, t);
      g_ptr_array_add (*w, sumi_text_word_new (rows[i].token, t, the_tokenizer (), pad_id, NULL));
    }
  return *w;
}

/* Vectors stand together, in order, from the first to the last. */
static void
check_word (const GArray *chunk, guint *at, const GPtrArray *words)
{
  const float *vector = g_array_index (chunk, SumiTextToken, *at).vector;

  for (guint i = 0; i < words->len; i++)
    {
      const SumiTextWord *w = g_ptr_array_index (words, i);

      if (vector != w->vectors)
        continue;
      g_assert_cmpuint (*at + w->n_vectors, <=, chunk->len);
      for (guint k = 0; k < w->n_vectors; k++)
        g_assert_true (g_array_index (chunk, SumiTextToken, *at + k).vector == w->vectors + k * w->width);
      *at += w->n_vectors - 1;
      return;
    }
  g_assert_not_reached ();
}

static void
check_chunks (const SumiPrompt *prompt, gint64 pad_id, gboolean one)
{
  SumiTextChunker chunker = { the_tokenizer (), pad_id, SIZE, one, the_words (pad_id) };
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTextChunks) t = sumi_text_chunks_new (&chunker, prompt, &error);
  guint n = 0;

  if (t == NULL)
    {
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE); /* too many combining marks in a row */
      return;
    }
  g_assert_cmpuint (t->chunks->len, >=, 1);
  g_assert_true (!one || t->chunks->len == 1);
  g_assert_true (one || t->n_cut == 0);
  for (guint i = 0; i < t->chunks->len; i++)
    {
      const GArray *chunk = g_ptr_array_index (t->chunks, i);

      g_assert_cmpuint (chunk->len, <=, SIZE);
      n += chunk->len;
      for (guint k = 0; k < chunk->len; k++)
        {
          const SumiTextToken *token = &g_array_index (chunk, SumiTextToken, k);

          g_assert_true (isfinite (token->weight));
          if (token->vector != NULL)
            check_word (chunk, &k, chunker.words);
          else
            g_assert_true (token->id >= 0 && token->id < SUMI_TOKEN_START);
        }
    }
  g_assert_cmpuint (n, ==, t->n_tokens);
}

/* ---- the prompt ---- */

static void
check_prompt (const SumiPrompt *p, const char *text)
{
  g_assert_true (g_utf8_validate (p->plain, -1, NULL));
  g_assert_cmpuint (strlen (p->plain), <=, strlen (text));
  for (guint i = 0; i < p->parts->len; i++)
    {
      const SumiPromptPart *part = g_ptr_array_index (p->parts, i);

      g_assert_true (part->text == NULL || (*part->text != '\0' && g_utf8_validate (part->text, -1, NULL)));
      g_assert_true (fabs (part->weight) <= 1e12);
    }
  for (guint i = 0; i < p->loras->len; i++)
    {
      const SumiPromptLora *l = g_ptr_array_index (p->loras, i);

      g_assert_true (*l->name != '\0' && g_utf8_validate (l->name, -1, NULL));
      g_assert_true (isfinite (l->unet_strength) && isfinite (l->text_strength));
    }
}

static void
run (const char *text, SumiEmphasis emphasis, guint64 seed)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiPrompt) p = sumi_prompt_parse (text, emphasis, seed, &error);

  g_assert_true ((p == NULL) == (error != NULL));
  fuzz_outcome = p != NULL ? "ok" : sumi_error_class (error);
  if (p == NULL)
    return;
  check_prompt (p, text);
  check_chunks (p, seed % 2 ? 0 : SUMI_TOKEN_END, seed % 4 >= 2);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);

  run (text, SUMI_EMPHASIS_NONE, size);
  run (text, SUMI_EMPHASIS_ORIGINAL, size);
  return 0;
}
