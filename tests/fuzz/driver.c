/* SPDX-License-Identifier: GPL-3.0-or-later */
/* usage: fuzz-TARGET CORPUS-FOLDER [FOLDER…] */
#include "fuzz.h"

#include <string.h>

#include "base/rng.h"

#define N_MUTATIONS 50000
#define MAX_LENGTH 65536
#define MIN_OUTCOMES 3

static GPtrArray *corpus; /* GBytes */
static GHashTable *outcomes;

static void
run (const guint8 *data, gsize size)
{
  g_autofree guint8 *exact = g_malloc (MAX (size, 1)); /* a step beyond it is seen by the address sanitizer */

  if (size > 0)
    memcpy (exact, data, size);
  fuzz_outcome = "none";
  g_assert_cmpint (LLVMFuzzerTestOneInput (exact, size), ==, 0);
  g_hash_table_add (outcomes, (gpointer)fuzz_outcome);
}

static void
test_corpus (void)
{
  for (guint i = 0; i < corpus->len; i++)
    {
      gsize size;
      const guint8 *data = g_bytes_get_data (g_ptr_array_index (corpus, i), &size);
      run (data, size);
    }
}

/* Every beginning of the small inputs. */
static void
test_cut (void)
{
  for (guint i = 0; i < corpus->len; i++)
    {
      gsize size;
      const guint8 *data = g_bytes_get_data (g_ptr_array_index (corpus, i), &size);
      for (gsize n = 0; n < MIN (size, 1024); n++)
        run (data, n);
    }
}

static void
insert (GByteArray *a, guint at, const void *data, guint size)
{
  guint tail = a->len - at;
  g_byte_array_set_size (a, a->len + size);
  memmove (a->data + at + size, a->data + at, tail);
  memcpy (a->data + at, data, size);
}

static void
mutate (GByteArray *a, SumiRng *rng, guint n_tokens)
{
  guint at = (guint)sumi_rng_below (rng, a->len + 1), kind = (guint)sumi_rng_below (rng, 6);

  if (kind == 0 && at < a->len) /* a bit */
    a->data[at] ^= (guint8)(1 << sumi_rng_below (rng, 8));
  else if (kind == 1 && at < a->len) /* a byte */
    a->data[at] = (guint8)sumi_rng_below (rng, 256);
  else if (kind == 2 && at < a->len) /* a stretch goes */
    g_byte_array_remove_range (a, at, 1 + (guint)sumi_rng_below (rng, MIN (a->len - at, 32)));
  else if (kind == 3 && at < a->len) /* a stretch comes twice */
    {
      guint n = 1 + (guint)sumi_rng_below (rng, MIN (a->len - at, 64));
      g_autofree guint8 *copy = g_memdup2 (a->data + at, n);
      insert (a, (guint)sumi_rng_below (rng, a->len + 1), copy, n);
    }
  else if (kind == 4) /* a word of the format */
    {
      const char *token = fuzz_tokens[sumi_rng_below (rng, n_tokens)];
      insert (a, at, token, (guint)strlen (token));
    }
  else if (at < a->len && g_ascii_isdigit (a->data[at])) /* another digit */
    a->data[at] = (guint8)('0' + sumi_rng_below (rng, 10));
}

static void
test_mutations (void)
{
  g_autoptr (GByteArray) input = g_byte_array_new ();
  guint n_tokens = 0;
  SumiRng rng;

  while (fuzz_tokens[n_tokens] != NULL)
    n_tokens++;
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 1);
  for (guint i = 0; i < N_MUTATIONS; i++)
    {
      gsize size;
      const guint8 *data = g_bytes_get_data (g_ptr_array_index (corpus, sumi_rng_below (&rng, corpus->len)), &size);

      g_byte_array_set_size (input, 0);
      g_byte_array_append (input, data, (guint)size);
      for (guint n = 1 + (guint)sumi_rng_below (&rng, 4); n > 0; n--)
        mutate (input, &rng, n_tokens);
      if (sumi_rng_below (&rng, 8) > 0)
        fuzz_repair (input);
      run (input->data, input->len);
    }
}

/* Mutations that all end at the same check would test nothing else. */
static void
test_outcomes (void)
{
  GHashTableIter iter;
  gpointer name;

  g_hash_table_iter_init (&iter, outcomes);
  while (g_hash_table_iter_next (&iter, &name, NULL))
    g_test_message ("%s", (const char *)name);
  g_assert_cmpuint (g_hash_table_size (outcomes), >=, MIN_OUTCOMES);
  g_assert_true (g_hash_table_contains (outcomes, "ok"));
}

static void
read_corpus (const char *folder)
{
  GDir *dir = g_dir_open (folder, 0, NULL);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  const char *name;

  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir)) != NULL)
    g_ptr_array_add (names, g_build_filename (folder, name, NULL));
  g_dir_close (dir);
  g_ptr_array_sort_values (names, (GCompareFunc)strcmp); /* the same mutations everywhere */
  for (guint i = 0; i < names->len; i++)
    {
      char *text;
      gsize size;
      g_assert_true (g_file_get_contents (g_ptr_array_index (names, i), &text, &size, NULL));
      g_ptr_array_add (corpus, g_bytes_new_take (text, MIN (size, MAX_LENGTH)));
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  corpus = g_ptr_array_new_with_free_func ((GDestroyNotify)g_bytes_unref);
  outcomes = g_hash_table_new (g_str_hash, g_str_equal);
  for (int i = 1; i < argc; i++)
    read_corpus (argv[i]);
  g_assert_cmpuint (corpus->len, >, 0);
  g_test_add_func ("/fuzz/corpus", test_corpus);
  g_test_add_func ("/fuzz/cut", test_cut);
  g_test_add_func ("/fuzz/mutations", test_mutations);
  g_test_add_func ("/fuzz/outcomes", test_outcomes);
  return g_test_run ();
}
