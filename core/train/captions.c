/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The vocabulary is made of the captions alone: an embedding of all 49,408 CLIP tokens would be most of a small model.
 */
#include "train/captions.h"

#include "diffusion/model.h"

#define FIRST_CAPTION 0.6 /* share of the first caption where there are others */

/* ---- the vocabulary ---- */

static gint
compare_ids (gconstpointer a, gconstpointer b)
{
  gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
  return (x > y) - (x < y);
}

static SumiTensor *
make_vocabulary (GHashTable *seen, GError **error)
{
  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (gint64));
  const gint64 always[] = { -1, SUMI_TOKEN_START, SUMI_TOKEN_END };
  GHashTableIter it;
  gpointer key;

  g_array_append_vals (ids, always, G_N_ELEMENTS (always));
  g_hash_table_iter_init (&it, seen);
  while (g_hash_table_iter_next (&it, &key, NULL))
    {
      gint64 id = GPOINTER_TO_INT (key);
      if (id < SUMI_TOKEN_START)
        g_array_append_val (ids, id);
    }
  g_array_sort (ids, compare_ids);
  return sumi_tensor_new_i64 (&SUMI_SHAPE (ids->len), (gint64 *)ids->data, error);
}

static gboolean
check_vocabulary (SumiTensor *t, GError **error)
{
  const gint64 *ids = sumi_tensor_peek (t);
  gint64 n = sumi_tensor_get_numel (t);
  gboolean good = sumi_tensor_get_dtype (t) == SUMI_I64 && sumi_tensor_is_aligned (t) && n >= 3 && ids[0] == -1
                  && ids[n - 2] == SUMI_TOKEN_START && ids[n - 1] == SUMI_TOKEN_END;

  for (gint64 i = 1; good && i < n; i++)
    good = ids[i] > ids[i - 1];
  if (!good)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE,
                 "token_ids: found no vocabulary, expected -1 and ascending CLIP ids with both marks");
  return good;
}

gint64
sumi_captions_get_vocabulary (const SumiCaptions *c)
{
  return sumi_tensor_get_numel (c->token_ids);
}

/* ---- captions ---- */

/* The captions of one picture as CLIP ids. */
static GPtrArray *
encode_picture (SumiCaptions *c, const char *const *captions, SumiTokenizer *tokenizer, GHashTable *seen,
                GError **error)
{
  g_autoptr (GPtrArray) list = g_ptr_array_new_with_free_func ((GDestroyNotify)g_array_unref);

  for (; *captions != NULL; captions++)
    {
      GArray *ids = sumi_tokenizer_encode (tokenizer, *captions, error);

      if (ids == NULL)
        return NULL;
      g_ptr_array_add (list, ids);
      if (ids->len > c->context - 2)
        {
          c->n_cut++;
          g_array_set_size (ids, c->context - 2);
        }
      for (guint i = 0; i < ids->len; i++)
        g_hash_table_add (seen, GINT_TO_POINTER ((gint)g_array_index (ids, gint64, i)));
    }
  return g_steal_pointer (&list);
}

static void
ids_to_rows (SumiCaptions *c)
{
  const gint64 *token_ids = sumi_tensor_peek (c->token_ids);
  gint64 v = sumi_captions_get_vocabulary (c);

  c->start = v - 2; /* the marks are the two highest ids */
  c->end = v - 1;
  for (guint i = 0; i < c->pictures->len; i++)
    {
      GPtrArray *list = c->pictures->pdata[i];
      for (guint j = 0; j < list->len; j++)
        {
          GArray *ids = list->pdata[j];
          sumi_model_tokens_to_rows (token_ids, v, (gint64 *)ids->data, ids->len, (gint64 *)ids->data, NULL);
        }
    }
}

SumiCaptions *
sumi_captions_new (SumiDataset *d, const guint32 *pictures, guint n, SumiTokenizer *tokenizer, guint context,
                   SumiTensor *token_ids, GError **error)
{
  g_autoptr (SumiCaptions) c = g_new0 (SumiCaptions, 1);
  g_autoptr (GHashTable) seen = g_hash_table_new (NULL, NULL);

  c->context = context;
  c->pictures = g_ptr_array_new_with_free_func ((GDestroyNotify)g_ptr_array_unref);
  if (context < 2)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "max_position_embeddings: found %u, expected at least 2 for the start and end marks", context);
      return NULL;
    }
  for (guint i = 0; i < n; i++)
    {
      GPtrArray *list = encode_picture (c, sumi_dataset_peek_captions (d, pictures[i]), tokenizer, seen, error);
      if (list == NULL)
        return NULL;
      g_ptr_array_add (c->pictures, list);
    }
  if (token_ids != NULL && !check_vocabulary (token_ids, error))
    return NULL;
  c->token_ids = token_ids != NULL ? sumi_tensor_ref (token_ids) : make_vocabulary (seen, error);
  if (c->token_ids == NULL)
    return NULL;
  ids_to_rows (c);
  return g_steal_pointer (&c);
}

void
sumi_captions_free (SumiCaptions *c)
{
  if (c == NULL)
    return;
  g_clear_pointer (&c->token_ids, sumi_tensor_unref);
  g_ptr_array_unref (c->pictures);
  g_free (c);
}

void
sumi_captions_draw (const SumiCaptions *c, const SumiCaptionDraw *how, guint picture, SumiRng *rng, gint64 *rows)
{
  const GPtrArray *list = c->pictures->pdata[picture];
  gboolean drop = sumi_rng_uniform (rng) < how->dropout;
  guint which = 0, n = 0;

  if (list->len > 1 && sumi_rng_uniform (rng) >= FIRST_CAPTION)
    which = 1 + (guint)sumi_rng_below (rng, list->len - 1);
  rows[n++] = c->start;
  if (!drop && list->len > 0)
    {
      const GArray *words = list->pdata[which];
      for (guint i = 0; i < words->len; i++)
        rows[n++] = sumi_rng_uniform (rng) < how->word_dropout ? 0 : g_array_index (words, gint64, i);
    }
  while (n < c->context)
    rows[n++] = c->end;
}
