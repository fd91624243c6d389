/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The vocabulary of the captions, and how often what is drawn. */
#include "train/captions.h"

#include <math.h>

#include "folder.h"

#define CONTEXT 8
#define DRAWS 20000

static SumiTokenizer *
open_tokenizer (void)
{
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_DATADIR"), "clip", "merges.txt.gz", NULL);
  g_autoptr (GError) error = NULL;
  SumiTokenizer *t = sumi_tokenizer_open (path, &error);

  g_assert_no_error (error);
  return t;
}

/* Two pictures: three captions, none. */
static SumiDataset *
open_data (char *folder)
{
  g_autoptr (GError) error = NULL;
  SumiDataset *d;

  folder_write_picture (folder, "a.png", 8, 0);
  folder_write_picture (folder, "b.png", 8, 0);
  folder_write (folder, "a.txt", "red fox\na fox\na very long tale of a fox in the snow at night in winter", -1);
  d = sumi_dataset_open (folder, SUMI_DATASET_AUTO, &error);
  g_assert_no_error (error);
  return d;
}

static SumiCaptions *
make (SumiDataset *d, SumiTensor *ids, guint context, GError **error)
{
  const guint32 pictures[] = { 0, 1 };
  g_autoptr (SumiTokenizer) tokenizer = open_tokenizer ();

  return sumi_captions_new (d, pictures, 2, tokenizer, context, ids, error);
}

static void
test_vocabulary (void)
{
  char *folder = folder_new ();
  g_autoptr (SumiDataset) d = open_data (folder);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiCaptions) c = make (d, NULL, CONTEXT, &error);
  const gint64 *ids;
  gint64 v;

  g_assert_no_error (error);
  ids = sumi_tensor_peek (c->token_ids);
  v = sumi_captions_get_vocabulary (c);
  g_assert_cmpint (v, ==, 3 + 7); /* red fox a very long tale of: what comes after does not fit */
  g_assert_cmpint (ids[0], ==, -1);
  for (gint64 i = 1; i < v; i++)
    g_assert_cmpint (ids[i], >, ids[i - 1]);
  g_assert_cmpint (ids[c->start], ==, SUMI_TOKEN_START);
  g_assert_cmpint (ids[c->end], ==, SUMI_TOKEN_END);
  g_assert_cmpuint (c->n_cut, ==, 1);
  folder_remove (folder);
}

/* A vocabulary from elsewhere is kept; its gaps become the unknown row; a wrong one is refused. */
static void
test_given_vocabulary (void)
{
  const gint64 few[] = { -1, 3240, SUMI_TOKEN_START, SUMI_TOKEN_END }, wrong[] = { -1, 9, 5, SUMI_TOKEN_START };
  char *folder = folder_new ();
  g_autoptr (SumiDataset) d = open_data (folder);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensor) good = sumi_tensor_new_i64 (&SUMI_SHAPE (4), few, NULL);
  g_autoptr (SumiTensor) bad = sumi_tensor_new_i64 (&SUMI_SHAPE (4), wrong, NULL);
  g_autoptr (SumiCaptions) c = make (d, good, CONTEXT, &error);
  SumiCaptionDraw how = { 0, 0 };
  gint64 rows[CONTEXT];
  SumiRng rng;

  g_assert_no_error (error);
  g_assert_cmpint (sumi_captions_get_vocabulary (c), ==, 4);
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 0);
  for (guint i = 0; i < 100; i++)
    {
      sumi_captions_draw (c, &how, 0, &rng, rows);
      g_assert_cmpint (rows[0], ==, 2);
      g_assert_cmpint (rows[1], ==, 0);
      g_assert_cmpint (rows[CONTEXT - 1], ==, 3);
    }
  g_assert_null (make (d, bad, CONTEXT, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE);
  g_clear_error (&error);
  g_assert_null (make (d, NULL, 1, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
  folder_remove (folder);
}

/* Five standard deviations of a binomial count. */
static void
assert_share (guint count, guint n, double p)
{
  double limit = 5 * sqrt (n * p * (1 - p));

  g_assert_cmpfloat (ABS (count - n * p), <, limit);
}

static void
test_rates (void)
{
  char *folder = folder_new ();
  g_autoptr (SumiDataset) d = open_data (folder);
  g_autoptr (SumiCaptions) c = make (d, NULL, CONTEXT, NULL);
  SumiCaptionDraw how = { 0.1, 0.02 };
  guint empty = 0, first = 0, tokens = 0, unknown = 0;
  gint64 rows[CONTEXT];
  SumiRng rng;

  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 5);
  for (guint i = 0; i < DRAWS; i++)
    {
      guint n = 1;

      sumi_captions_draw (c, &how, 0, &rng, rows);
      g_assert_cmpint (rows[0], ==, c->start);
      for (; rows[n] != c->end; n++, tokens++)
        unknown += rows[n] == 0;
      g_assert_cmpint (rows[CONTEXT - 1], ==, c->end);
      empty += n == 1;
      /* "red fox" has two tokens as "a fox" has: tell them by the first */
      first += n == 3 && rows[1] != 0 && ((const gint64 *)sumi_tensor_peek (c->token_ids))[rows[1]] != 320;
    }
  assert_share (empty, DRAWS, 0.1);
  assert_share (unknown, tokens, 0.02);
  assert_share (first, DRAWS, 0.9 * 0.6 * 0.98);
  /* no caption: always the empty prompt */
  sumi_captions_draw (c, &how, 1, &rng, rows);
  g_assert_cmpint (rows[1], ==, c->end);
  folder_remove (folder);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/train/captions/vocabulary", test_vocabulary);
  g_test_add_func ("/train/captions/given-vocabulary", test_given_vocabulary);
  g_test_add_func ("/train/captions/rates", test_rates);
  return g_test_run ();
}
