/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The tokenizer against the reference ids, and against texts that nobody would write. */
#include "golden.h"
#include "nn/tokenizer.h"

#include <glib/gstdio.h>
#include <string.h>

static SumiTokenizer *tokenizer;

static GArray *
encode (const char *text)
{
  GError *error = NULL;
  GArray *ids = sumi_tokenizer_encode (tokenizer, text, &error);

  g_assert_no_error (error);
  return ids;
}

static void
assert_ids (const char *text, JsonArray *want)
{
  g_autoptr (GArray) ids = encode (text);

  g_assert_cmpuint (ids->len, ==, json_array_get_length (want));
  for (guint i = 0; i < ids->len; i++)
    g_assert_cmpint (g_array_index (ids, gint64, i), ==, json_array_get_int_element (want, i));
}

/* The reference had HTML entities replaced twice before; the few that its texts use. */
static char *
unescape (const char *text)
{
  g_autoptr (GString) s = g_string_new (text);

  for (int i = 0; i < 2; i++)
    {
      g_string_replace (s, "&lt;", "<", 0);
      g_string_replace (s, "&gt;", ">", 0);
      g_string_replace (s, "&amp;", "&", 0);
    }
  return g_string_free (g_steal_pointer (&s), FALSE);
}

static void
test_reference_ids (void)
{
  const char *root = golden_root ();
  g_autoptr (JsonNode) node = NULL;
  JsonArray *texts;
  guint n_special = 0;

  if (root == NULL)
    return;
  node = golden_basics (root, "clip_tokens.json");
  texts = json_node_get_array (node);
  g_assert_cmpuint (json_array_get_length (texts), >=, 20);
  for (guint i = 0; i < json_array_get_length (texts); i++)
    {
      JsonObject *row = json_array_get_object_element (texts, i);
      g_autofree char *text = unescape (json_object_get_string_member (row, "text"));

      /* There the marks in a text are marks; in a prompt they are plain text (test_marks_are_text). */
      if (strstr (text, "<|startoftext|>") != NULL)
        n_special++;
      else
        assert_ids (text, json_object_get_array_member (row, "ids"));
    }
  g_assert_cmpuint (n_special, ==, 1);
}

static void
test_marks_are_text (void)
{
  g_autoptr (GArray) marks = encode ("<|startoftext|>a<|endoftext|>");
  g_autoptr (GArray) apart = encode ("<| startoftext |> a <| endoftext |>");

  g_assert_cmpmem (marks->data, marks->len * 8, apart->data, apart->len * 8);
  for (guint i = 0; i < marks->len; i++)
    g_assert_cmpint (g_array_index (marks, gint64, i), <, SUMI_TOKEN_START);
}

static void
assert_same (const char *a, const char *b)
{
  g_autoptr (GArray) x = encode (a);
  g_autoptr (GArray) y = encode (b);

  g_assert_cmpuint (x->len, >, 0);
  g_assert_cmpmem (x->data, x->len * sizeof (gint64), y->data, y->len * sizeof (gint64));
}

/* Pairs that Python's str.lower and NFC make equal. */
static void
test_case_and_composition (void)
{
  assert_same ("ΟΔΥΣΣΕΥΣ ΣΑΣ. Σ", "οδυσσευς σας. σ");
  assert_same ("Α'Σ ΑΣ'Α 1Σ", "α'ς ασ'α 1σ");
  assert_same ("İstanbul", "i\u0307stanbul");
  assert_same ("IŞIK", "işik"); /* in every locale */
  assert_same ("cafe\u0301 \u212b", "café å");
  assert_same ("Ⅳ Ⓐ", "ⅳ ⓐ");
  assert_same ("a\u00a0b\u2003c\u3000d", "a b c d");
}

static void
test_padding (void)
{
  gint64 ids[8];
  guint cut = 99;
  GError *error = NULL;

  g_assert_true (sumi_tokenizer_encode_padded (tokenizer, "a a a", 8, 7, ids, &cut, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (cut, ==, 0);
  g_assert_cmpmem (ids, sizeof ids, ((gint64[]){ 49406, 320, 320, 320, 49407, 7, 7, 7 }), sizeof ids);
  g_assert_true (sumi_tokenizer_encode_padded (tokenizer, "a a a a a a a a a", 8, 7, ids, &cut, &error));
  g_assert_cmpuint (cut, ==, 3);
  g_assert_cmpmem (ids, sizeof ids, ((gint64[]){ 49406, 320, 320, 320, 320, 320, 320, 49407 }), sizeof ids);
  g_assert_true (sumi_tokenizer_encode_padded (tokenizer, "a!!!a", 8, 0, ids, &cut, &error));
  g_assert_cmpmem (ids, sizeof ids, ((gint64[]){ 49406, 320, 0, 0, 0, 320, 49407, 0 }), sizeof ids);
  g_assert_true (sumi_tokenizer_encode_padded (tokenizer, "a!!!a", 8, 1, ids, &cut, &error));
  g_assert_cmpmem (ids, sizeof ids, ((gint64[]){ 49406, 320, 995, 320, 49407, 1, 1, 1 }), sizeof ids);
  g_assert_false (sumi_tokenizer_encode_padded (tokenizer, "a", 1, 7, ids, &cut, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
  g_clear_error (&error);
}

static void
assert_refused (const char *text)
{
  GError *error = NULL;

  g_assert_null (sumi_tokenizer_encode (tokenizer, text, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
  g_clear_error (&error);
}

static char *
repeat (const char *piece, guint n)
{
  GString *s = g_string_new (NULL);

  for (guint i = 0; i < n; i++)
    g_string_append (s, piece);
  return g_string_free (s, FALSE);
}

static void
test_refusals (void)
{
  g_autofree char *long_text = repeat ("a", (64 << 10) + 1);
  g_autofree char *zalgo = repeat ("\u0301", 2000);

  assert_refused (long_text);
  assert_refused (zalgo);
  assert_refused ("\xff");
  assert_refused ("half a character \xe6\x97");
}

/* One word of 60 KB: merging it must not take quadratic time (the suite's time limit would tell). */
static void
test_long_words (void)
{
  const char *const pieces[] = { "a", "ab", "the", "日", "\u0301a", "!", "supercali" };

  for (guint i = 0; i < G_N_ELEMENTS (pieces); i++)
    {
      g_autofree char *word = repeat (pieces[i], 60000 / strlen (pieces[i]));
      g_autoptr (GArray) ids = encode (word);

      g_assert_cmpuint (ids->len, >, 0);
      g_assert_cmpuint (ids->len, <=, 60000);
    }
}

/* What a merge means, done the slow way: every occurrence of the earliest pair, again and again. */
typedef struct
{
  GHashTable *ranks; /* "left right" -> rank + 1 */
  GHashTable *ids;   /* token -> id + 1 */
} Slow;

static void
slow_word (const Slow *slow, GPtrArray *parts, GArray *out)
{
  for (;;)
    {
      guint best = G_MAXUINT;
      g_autofree char *pair = NULL;

      for (guint i = 0; i + 1 < parts->len; i++)
        {
          g_autofree char *p = g_strjoin (" ", g_ptr_array_index (parts, i), g_ptr_array_index (parts, i + 1), NULL);
          guint rank = GPOINTER_TO_UINT (g_hash_table_lookup (slow->ranks, p));

          if (rank != 0 && rank < best)
            {
              best = rank;
              g_free (pair);
              pair = g_steal_pointer (&p);
            }
        }
      if (pair == NULL)
        break;
      for (guint i = 0; i + 1 < parts->len; i++)
        {
          g_autofree char *p = g_strjoin (" ", g_ptr_array_index (parts, i), g_ptr_array_index (parts, i + 1), NULL);

          if (!g_str_equal (p, pair))
            continue;
          g_free (parts->pdata[i]);
          *strchr (p, ' ') = '\0';
          parts->pdata[i] = g_strconcat (p, p + strlen (p) + 1, NULL);
          g_ptr_array_remove_index (parts, i + 1);
        }
    }
  for (guint i = 0; i < parts->len; i++)
    {
      gint64 id = (gint64)GPOINTER_TO_UINT (g_hash_table_lookup (slow->ids, g_ptr_array_index (parts, i))) - 1;

      g_array_append_val (out, id);
    }
}

static void
slow_open (Slow *slow, const char *root)
{
  g_autofree char *vocab = g_build_filename (root, "models", "tiny-sd15", "tokenizer", "vocab.json", NULL);
  g_autofree char *merges = g_build_filename (root, "models", "tiny-sd15", "tokenizer", "merges.txt", NULL);
  g_autofree char *text = NULL;
  g_auto (GStrv) lines = NULL;
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GList) names = NULL;
  JsonObject *object;

  g_assert_true (json_parser_load_from_file (parser, vocab, NULL));
  object = json_node_get_object (json_parser_get_root (parser));
  names = json_object_get_members (object);
  slow->ids = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  for (GList *n = names; n != NULL; n = n->next)
    g_hash_table_insert (slow->ids, g_strdup (n->data),
                         GUINT_TO_POINTER (json_object_get_int_member (object, n->data) + 1));
  g_assert_true (g_file_get_contents (merges, &text, NULL, NULL));
  lines = g_strsplit (text, "\n", -1);
  slow->ranks = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 1; lines[i] != NULL && *lines[i] != '\0'; i++)
    g_hash_table_insert (slow->ranks, g_strdup (lines[i]), GUINT_TO_POINTER (i));
}

/* Random words of letters, whose pairs merge in ever other orders: the fast way equals the slow one, by vocab.json. */
static void
test_merge_order (void)
{
  static const char *const letters[] = { "a", "b", "e", "h", "n", "t", "s", "o" };
  const char *root = golden_root ();
  Slow slow;

  if (root == NULL)
    return;
  slow_open (&slow, root);
  for (guint round = 0; round < 2000; round++)
    {
      g_autoptr (GPtrArray) parts = g_ptr_array_new_with_free_func (g_free);
      g_autoptr (GString) word = g_string_new (NULL);
      g_autoptr (GArray) want = g_array_new (FALSE, FALSE, sizeof (gint64));
      g_autoptr (GArray) got = NULL;
      guint n = (guint)g_test_rand_int_range (1, 24);

      for (guint i = 0; i < n; i++)
        {
          const char *letter = letters[g_test_rand_int_range (0, round % 2 == 0 ? 2 : G_N_ELEMENTS (letters))];

          g_string_append (word, letter);
          g_ptr_array_add (parts, g_strconcat (letter, i + 1 == n ? "</w>" : NULL, NULL));
        }
      slow_word (&slow, parts, want);
      got = encode (word->str);
      g_assert_cmpmem (got->data, got->len * sizeof (gint64), want->data, want->len * sizeof (gint64));
    }
  g_hash_table_unref (slow.ids);
  g_hash_table_unref (slow.ranks);
}

/* Any text gives ids of the vocabulary, at most one for a byte of it (normalizing may make it longer). */
static void
test_random_text (void)
{
  for (guint round = 0; round < 3000; round++)
    {
      g_autoptr (GString) s = g_string_new (NULL);
      g_autoptr (GArray) ids = NULL;
      guint n = (guint)g_test_rand_int_range (0, 60);

      for (guint i = 0; i < n; i++)
        {
          static const int tops[] = { 0x80, 0x250, 0x3000, 0x20000, 0x110000 };
          gunichar c = (gunichar)g_test_rand_int_range (1, tops[g_test_rand_int_range (0, 5)]);

          if (g_unichar_validate (c))
            g_string_append_unichar (s, c);
        }
      ids = encode (s->str);
      g_assert_cmpuint (ids->len, <=, 4 * s->len);
      for (guint i = 0; i < ids->len; i++)
        {
          g_assert_cmpint (g_array_index (ids, gint64, i), >=, 0);
          g_assert_cmpint (g_array_index (ids, gint64, i), <, SUMI_TOKEN_START);
        }
    }
}

static void
assert_bad_merges (const char *content, gsize length, const char *name)
{
  g_autofree char *dir = g_dir_make_tmp ("sumi-tokenizer-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (dir, name, NULL);
  GError *error = NULL;

  g_assert_true (g_file_set_contents (path, content, (gssize)length, NULL));
  g_assert_null (sumi_tokenizer_open (path, &error));
  g_assert_nonnull (error);
  g_clear_error (&error);
  g_unlink (path);
  g_rmdir (dir);
}

static void
test_bad_merges (void)
{
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_DATADIR"), "clip", "merges.txt.gz", NULL);
  g_autofree char *packed = NULL;
  gsize size;
  GError *error = NULL;

  g_assert_true (g_file_get_contents (path, &packed, &size, NULL));
  assert_bad_merges (packed, size / 2, "half.gz");
  assert_bad_merges (packed, size, "packed.txt");
  assert_bad_merges ("", 0, "empty.txt");
  assert_bad_merges ("#version: 0.2\ni n\n", 18, "short.txt");
  assert_bad_merges ("i n\ni n\n", 8, "twice.txt");
  assert_bad_merges ("in the\n", 7, "unknown.txt");
  assert_bad_merges ("i\0n\n", 4, "nul.txt");
  g_assert_null (sumi_tokenizer_open ("/nowhere/merges.txt.gz", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE);
  g_clear_error (&error);
}

int
main (int argc, char **argv)
{
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_DATADIR"), "clip", "merges.txt.gz", NULL);
  GError *error = NULL;
  int status;

  g_test_init (&argc, &argv, NULL);
  tokenizer = sumi_tokenizer_open (path, &error);
  g_assert_no_error (error);
  g_test_add_func ("/tokenizer/reference-ids", test_reference_ids);
  g_test_add_func ("/tokenizer/marks-are-text", test_marks_are_text);
  g_test_add_func ("/tokenizer/case-and-composition", test_case_and_composition);
  g_test_add_func ("/tokenizer/padding", test_padding);
  g_test_add_func ("/tokenizer/refusals", test_refusals);
  g_test_add_func ("/tokenizer/long-words", test_long_words);
  g_test_add_func ("/tokenizer/merge-order", test_merge_order);
  g_test_add_func ("/tokenizer/random-text", test_random_text);
  g_test_add_func ("/tokenizer/bad-merges", test_bad_merges);
  status = g_test_run ();
  sumi_tokenizer_unref (tokenizer);
  return status;
}
