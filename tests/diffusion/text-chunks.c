/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How prompts are cut into chunks of tokens, and where learned vectors go. */
#include "diffusion/text-chunks.h"

#include <string.h>

#define A 320 /* "a" */
#define COMMA 267
#define SIZE 75

static SumiTokenizer *tokenizer;

typedef struct
{
  GPtrArray *words;      /* SumiTextWord */
  GPtrArray *embeddings; /* SumiTensor: their vectors, all values of vector i of word w being 100 w + i */
  gint64 pad_id;
  gboolean one;
} Setup;

static Setup *
setup_new (void)
{
  Setup *s = g_new0 (Setup, 1);

  s->words = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_text_word_free);
  s->embeddings = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_tensor_unref);
  s->pad_id = SUMI_TOKEN_END;
  return s;
}

static void
setup_free (Setup *s)
{
  g_ptr_array_unref (s->words);
  g_ptr_array_unref (s->embeddings);
  g_free (s);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Setup, setup_free)

static void
add_word (Setup *s, const char *token, guint n_vectors)
{
  g_autoptr (GError) error = NULL;
  SumiTensor *t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (n_vectors, 3), &error);
  SumiTextWord *w;

  g_assert_no_error (error);
  for (guint i = 0; i < 3 * n_vectors; i++)
    sumi_tensor_poke_f32 (t)[i] = 100 * s->words->len + i / 3;
  g_ptr_array_add (s->embeddings, t);
  w = sumi_text_word_new (token, t, tokenizer, s->pad_id, &error);
  g_assert_no_error (error);
  g_ptr_array_add (s->words, w);
}

static SumiTextChunks *
split (const Setup *s, const char *text)
{
  SumiTextChunker chunker = { tokenizer, s->pad_id, SIZE, s->one, s->words };
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiPrompt) prompt = sumi_prompt_parse (text, SUMI_EMPHASIS_ORIGINAL, 0, &error);
  SumiTextChunks *chunks;

  g_assert_no_error (error);
  chunks = sumi_text_chunks_new (&chunker, prompt, &error);
  g_assert_no_error (error);
  return chunks;
}

/* The lengths of the chunks, as "75 3". */
static void
check_lengths (const SumiTextChunks *t, const char *want)
{
  g_autoptr (GString) got = g_string_new (NULL);

  for (guint i = 0; i < t->chunks->len; i++)
    g_string_append_printf (got, "%s%u", i > 0 ? " " : "", ((GArray *)g_ptr_array_index (t->chunks, i))->len);
  g_assert_cmpstr (got->str, ==, want);
}

/* A chunk's tokens: ids, "vN" for a vector of value N, and "*W" behind one of a weight that is not 1. */
static void
check_chunk (const SumiTextChunks *t, guint chunk, const char *want)
{
  const GArray *tokens = g_ptr_array_index (t->chunks, chunk);
  g_autoptr (GString) got = g_string_new (NULL);

  for (guint i = 0; i < tokens->len; i++)
    {
      const SumiTextToken *k = &g_array_index (tokens, SumiTextToken, i);

      g_string_append (got, i > 0 ? " " : "");
      if (k->vector != NULL)
        g_string_append_printf (got, "v%g", k->vector[2]);
      else
        g_string_append_printf (got, "%" G_GINT64_FORMAT, k->id);
      if (k->weight != 1)
        g_string_append_printf (got, "*%g", k->weight);
      g_assert_true ((k->vector != NULL) == (k->id == -1));
    }
  g_assert_cmpstr (got->str, ==, want);
}

static char *
repeat (const char *s, guint n, const char *end)
{
  GString *text = g_string_new (NULL);

  while (n-- > 0)
    g_string_append (text, s);
  g_string_append (text, end);
  return g_string_free (text, FALSE);
}

static void
test_comma_id (void)
{
  g_autoptr (GArray) ids = sumi_tokenizer_encode (tokenizer, "a,", NULL);

  g_assert_cmpuint (ids->len, ==, 2);
  g_assert_cmpint (g_array_index (ids, gint64, 0), ==, A);
  g_assert_cmpint (g_array_index (ids, gint64, 1), ==, COMMA);
}

static void
test_lengths (void)
{
  static const struct
  {
    guint n;
    const char *lengths;
  } rows[] = { { 0, "0" },       { 1, "1" },         { 74, "74" },        { 75, "75" },       { 76, "75 1" },
               { 150, "75 75" }, { 151, "75 75 1" }, { 200, "75 75 50" }, { 225, "75 75 75" } };
  g_autoptr (Setup) s = setup_new ();

  for (gsize i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autofree char *text = repeat ("a ", rows[i].n, "");
      g_autoptr (SumiTextChunks) t = split (s, text);

      check_lengths (t, rows[i].lengths);
      g_assert_cmpuint (t->n_tokens, ==, rows[i].n);
      g_assert_cmpuint (t->n_cut, ==, 0);
    }
}

static void
test_weights (void)
{
  g_autoptr (Setup) s = setup_new ();
  g_autoptr (SumiTextChunks) t = split (s, "a (a:1.5) a, [a]");

  check_chunk (t, 0, "320 320*1.5 320 267 320*0.909091");
}

static void
test_break (void)
{
  g_autoptr (Setup) s = setup_new ();
  g_autofree char *full = repeat ("a ", 75, "BREAK a");
  static const struct
  {
    const char *text, *lengths;
  } rows[] = { { "a BREAK a a", "1 2" }, { "BREAK a", "0 1" },     { "a BREAK", "1" },
               { "BREAK", "0" },         { "BREAK BREAK", "0 0" }, { "a BREAK BREAK a", "1 0 1" } };
  g_autoptr (SumiTextChunks) t = split (s, full);

  check_lengths (t, "75 1"); /* no empty chunk between */
  for (gsize i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (SumiTextChunks) k = split (s, rows[i].text);

      check_lengths (k, rows[i].lengths);
    }
}

/* `before` words, a comma, `after` words. */
static void
check_comma (guint before, guint after, const char *lengths)
{
  g_autoptr (Setup) s = setup_new ();
  g_autofree char *head = repeat ("a ", before, ","), *tail = repeat (" b", after, "");
  g_autofree char *text = g_strconcat (head, tail, NULL);
  g_autoptr (SumiTextChunks) t = split (s, text);

  check_lengths (t, lengths);
}

static void
test_look_back (void)
{
  check_comma (70, 10, "71 10"); /* what follows the comma moves */
  check_comma (70, 4, "75");     /* nothing has to */
  check_comma (55, 20, "56 20"); /* the comma is the 20th from the end */
  check_comma (54, 21, "75 1");  /* the 21st */
  check_comma (74, 5, "75 5");   /* the last */
  check_comma (75, 5, "75 6");   /* a comma itself moves nothing, and goes into the next chunk */
  check_comma (70, 100, "71 75 25");
}

static void
test_look_back_again (void)
{
  g_autoptr (Setup) s = setup_new ();
  /* 60 a, comma, 10 b, comma (its place is 71), then 4 c: the next c does not fit */
  g_autofree char *a = repeat ("a ", 60, ","), *b = repeat (" b", 10, ","), *c = repeat (" c", 4, " BREAK c");
  g_autofree char *text = g_strconcat (a, b, c, NULL), *more = g_strconcat (a, b, " c c c c", NULL);
  g_autoptr (SumiTextChunks) t = split (s, text), last = split (s, more);

  check_lengths (t, "72 4 1"); /* the last comma counts, not the one before */
  check_lengths (last, "72 4");
  /* a comma before BREAK is none of the next chunk */
  {
    g_autofree char *x = repeat ("a ", 60, ", BREAK "), *y = repeat ("b ", 80, "");
    g_autofree char *both = g_strconcat (x, y, NULL);
    g_autoptr (SumiTextChunks) k = split (s, both);

    check_lengths (k, "61 75 5");
  }
}

/* ---- learned vectors ---- */

static void
test_word (void)
{
  g_autoptr (Setup) s = setup_new ();
  g_autoptr (SumiTextChunks) t = NULL, upper = NULL, twice = NULL, other = NULL;

  add_word (s, "myfox", 2);
  t = split (s, "a (myfox:2) a");
  check_chunk (t, 0, "320 v0*2 v1*2 320");
  g_assert_cmpuint (t->n_tokens, ==, 4);
  upper = split (s, "MyFox, MYFOX");
  check_chunk (upper, 0, "v0 v1 267 v0 v1");
  twice = split (s, "myfox myfox");
  check_chunk (twice, 0, "v0 v1 v0 v1");
  other = split (s, "a");
  check_chunk (other, 0, "320");
}

static void
test_longest_word (void)
{
  g_autoptr (Setup) s = setup_new ();
  g_autoptr (SumiTextChunks) t = NULL;

  add_word (s, "a a", 1);
  add_word (s, "a a a", 1);
  add_word (s, "b", 1);
  t = split (s, "a a a a a b a");
  check_chunk (t, 0, "v100 v0 v200 320");
}

/* Not within other words, and not across a change of weight. */
static void
test_no_word (void)
{
  g_autoptr (Setup) s = setup_new ();
  g_autoptr (SumiTextChunks) inside = NULL, across = NULL;

  add_word (s, "a a", 1);
  across = split (s, "a (a)");
  check_chunk (across, 0, "320 320*1.1");
  inside = split (s, "a apple");
  g_assert_cmpuint (inside->n_tokens, ==, 2);
  g_assert_null (g_array_index ((GArray *)g_ptr_array_index (inside->chunks, 0), SumiTextToken, 0).vector);
}

/* A word of signs is found beside other signs, which the tokenizer would join with it. */
static void
test_word_of_signs (void)
{
  g_autoptr (Setup) s = setup_new ();
  g_autoptr (SumiTextChunks) t = NULL, names = NULL;

  add_word (s, "<Fox-style>", 2);
  add_word (s, "*", 1);
  t = split (s, "a <fox-STYLE>, a<fox-style><fox-style>* (a)");
  check_chunk (t, 0, "320 v0 v1 267 320 v0 v1 v0 v1 v100 320*1.1");
  names = split (s, "<fox style>");
  for (guint i = 0; i < names->n_tokens; i++)
    g_assert_null (g_array_index ((GArray *)g_ptr_array_index (names->chunks, 0), SumiTextToken, i).vector);
}

static void
test_whole_words (void)
{
  g_autoptr (Setup) s = setup_new ();
  static const struct
  {
    guint before;
    const char *lengths;
  } rows[] = { { 71, "75 1" }, { 72, "72 5" }, { 73, "73 5" }, { 74, "74 5" }, { 75, "75 5" } };

  add_word (s, "myfox", 4);
  for (gsize i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autofree char *text = repeat ("a ", rows[i].before, "myfox a");
      g_autoptr (SumiTextChunks) t = split (s, text);

      check_lengths (t, rows[i].lengths);
      check_chunk (t, 1, rows[i].before == 71 ? "320" : "v0 v1 v2 v3 320");
    }
}

/* Behind a comma they move as whole as they came. */
static void
test_words_look_back (void)
{
  g_autoptr (Setup) s = setup_new ();
  g_autofree char *text = repeat ("a ", 69, ", myfox a a");
  g_autoptr (SumiTextChunks) t = NULL;

  add_word (s, "myfox", 4);
  t = split (s, text);
  check_lengths (t, "70 6");
  check_chunk (t, 1, "v0 v1 v2 v3 320 320");
}

static void
test_largest_word (void)
{
  g_autoptr (Setup) s = setup_new ();
  g_autoptr (SumiTextChunks) t = NULL;

  add_word (s, "myfox", SIZE);
  t = split (s, "a myfox a");
  check_lengths (t, "1 75 1");
}

/* Where "!" is the padding, it is a token of its own, also in words. */
static void
test_pads (void)
{
  g_autoptr (Setup) s = setup_new ();
  g_autoptr (SumiTextChunks) plain = split (s, "a!!!"), padded = NULL;

  g_assert_cmpuint (plain->n_tokens, ==, 2);
  s->pad_id = 0;
  add_word (s, "b!", 1);
  padded = split (s, "a!!! b!! b");
  check_chunk (padded, 0, "320 0 0 0 v0 0 321");
}

static void
test_no_tokens (void)
{
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 3), NULL);
  static const char *const words[] = { "", " ", "\t\n" };

  for (gsize i = 0; i < G_N_ELEMENTS (words); i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (sumi_text_word_new (words[i], t, tokenizer, 0, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
    }
}

/* ---- one chunk ---- */

static void
test_cut (void)
{
  g_autoptr (Setup) s = setup_new ();
  g_autofree char *comma = repeat ("a ", 70, ", b b b b b b BREAK b"), *word = repeat ("a ", 73, "myfox a");
  g_autoptr (SumiTextChunks) fits = NULL, cut = NULL, whole = NULL;

  s->one = TRUE;
  add_word (s, "myfox", 4);
  fits = split (s, "a BREAK a");
  check_lengths (fits, "2");
  g_assert_cmpuint (fits->n_cut, ==, 0);
  cut = split (s, comma);
  check_lengths (cut, "75");
  g_assert_cmpuint (cut->n_cut, ==, 3);
  g_assert_cmpuint (cut->n_tokens, ==, 75);
  whole = split (s, word);
  check_lengths (whole, "73");
  g_assert_cmpuint (whole->n_cut, ==, 5);
}

int
main (int argc, char **argv)
{
  const char *data = g_getenv ("SUMI_DATADIR");
  g_autofree char *merges = g_build_filename (data, "clip", "merges.txt.gz", NULL);
  g_autoptr (GError) error = NULL;
  int status;

  g_test_init (&argc, &argv, NULL);
  tokenizer = sumi_tokenizer_open (merges, &error);
  g_assert_no_error (error);
  g_test_add_func ("/text-chunks/comma-id", test_comma_id);
  g_test_add_func ("/text-chunks/lengths", test_lengths);
  g_test_add_func ("/text-chunks/weights", test_weights);
  g_test_add_func ("/text-chunks/break", test_break);
  g_test_add_func ("/text-chunks/look-back", test_look_back);
  g_test_add_func ("/text-chunks/look-back-again", test_look_back_again);
  g_test_add_func ("/text-chunks/word", test_word);
  g_test_add_func ("/text-chunks/longest-word", test_longest_word);
  g_test_add_func ("/text-chunks/no-word", test_no_word);
  g_test_add_func ("/text-chunks/word-of-signs", test_word_of_signs);
  g_test_add_func ("/text-chunks/whole-words", test_whole_words);
  g_test_add_func ("/text-chunks/words-look-back", test_words_look_back);
  g_test_add_func ("/text-chunks/largest-word", test_largest_word);
  g_test_add_func ("/text-chunks/pads", test_pads);
  g_test_add_func ("/text-chunks/no-tokens", test_no_tokens);
  g_test_add_func ("/text-chunks/cut", test_cut);
  status = g_test_run ();
  sumi_tokenizer_unref (tokenizer);
  return status;
}
