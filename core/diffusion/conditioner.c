/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "diffusion/conditioner.h"

#include <string.h>

#include "diffusion/conditioner-private.h"
#include "diffusion/unknown-words.h"

void
sumi_text_states_clear (SumiTextStates *t)
{
  g_clear_pointer (&t->states, sumi_tensor_unref);
  g_clear_pointer (&t->pooled, sumi_tensor_unref);
  t->n_tokens = 0;
}

/* ---- making one ---- */

/* The rows of a model that has a vocabulary of its own. */
static gboolean
read_vocabulary (SumiConditioner *c, GError **error)
{
  gint64 v = c->config->text.vocab_size;
  SumiTensor *t = sumi_tensor_map_lookup_shaped (c->weights, "token_ids", &SUMI_SHAPE (v), error);

  if (t == NULL)
    return FALSE;
  if (sumi_tensor_get_dtype (t) != SUMI_I64)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "token_ids: found %s, expected I64",
                   sumi_dtype_name (sumi_tensor_get_dtype (t)));
      return FALSE;
    }
  c->vocabulary = sumi_tensor_cast (t, SUMI_I64, error); /* its own memory: aligned */
  if (c->vocabulary == NULL)
    return FALSE;
  c->token_ids = sumi_tensor_peek (c->vocabulary);
  for (gint64 i = 0; i < v; i++)
    if (i == 0 ? c->token_ids[i] != -1 : c->token_ids[i] <= c->token_ids[i - 1])
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                     "token_ids[%" G_GINT64_FORMAT "]: found %" G_GINT64_FORMAT ", expected -1, then ascending ids", i,
                     c->token_ids[i]);
        return FALSE;
      }
  return TRUE;
}

SumiConditioner *
sumi_conditioner_new (const SumiModelConfig *config, SumiTensorMap *weights, SumiTokenizer *tokenizer,
                      SumiEngine *engine, guint threads, GError **error)
{
  g_autoptr (SumiConditioner) c = g_new0 (SumiConditioner, 1);

  c->config = config;
  c->weights = sumi_tensor_map_ref (weights);
  c->tokenizer = sumi_tokenizer_ref (tokenizer);
  c->engine = sumi_engine_ref (engine);
  c->threads = threads;
  c->embeddings = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_embedding_free);
  if ((config->family == SUMI_FAMILY_LATENT && !read_vocabulary (c, error))
      || !sumi_conditioner_find_encoders (c, error))
    return NULL;
  return g_steal_pointer (&c);
}

void
sumi_conditioner_free (SumiConditioner *c)
{
  if (c == NULL)
    return;
  sumi_conditioner_trim (c);
  for (guint i = 0; i < c->n_encoders; i++)
    g_ptr_array_unref (c->encoders[i].words); /* before what they stand for */
  g_ptr_array_unref (c->embeddings);
  g_clear_pointer (&c->vocabulary, sumi_tensor_unref);
  sumi_tensor_map_unref (c->weights);
  sumi_tokenizer_unref (c->tokenizer);
  sumi_engine_unref (c->engine);
  g_free (c);
}

void
sumi_conditioner_set_source (SumiConditioner *c, SumiParameterFunc source, gpointer user)
{
  c->source = source;
  c->source_user = user;
  sumi_conditioner_trim (c);
}

void
sumi_conditioner_trim (SumiConditioner *c)
{
  for (guint i = 0; i < c->n_encoders; i++)
    g_clear_pointer (&c->encoders[i].plan, sumi_plan_free);
}

/* ---- textual inversion ---- */

/* The width of each of n tensors, "and" between them. */
static char *
widths_text (const gint64 *widths, guint n)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < n; i++)
    if (widths[i] > 0)
      g_string_append_printf (text, "%s%" G_GINT64_FORMAT, text->len > 0 ? " and " : "", widths[i]);
  return g_string_free (text, FALSE);
}

/* An SDXL file's second vectors are for OpenCLIP, which is all that the refiner has; another file has only one kind. */
static const SumiTensor *
vectors_for (const SumiConditioner *c, const SumiEmbedding *e, guint encoder)
{
  if (c->config->family == SUMI_FAMILY_SDXL_REFINER)
    return e->vectors_2 != NULL ? e->vectors_2 : e->vectors;
  return encoder == 0 ? e->vectors : e->vectors_2;
}

static gboolean
check_embedding (const SumiConditioner *c, const SumiEmbedding *e, GError **error)
{
  const SumiTensor *stored[] = { e->vectors, e->vectors_2 };
  gint64 have[2] = { 0 }, want[SUMI_MAX_TEXT_ENCODERS] = { 0 };
  /* a model of one encoder does not take half of a file made for two; the refiner does, being one half itself */
  gboolean fits = c->n_encoders == 2 || e->vectors == NULL || e->vectors_2 == NULL
                  || c->config->family == SUMI_FAMILY_SDXL_REFINER;
  guint size = sumi_conditioner_chunk_size (c);
  g_autofree char *have_text = NULL, *want_text = NULL;

  for (guint i = 0; i < 2; i++)
    have[i] = stored[i] != NULL ? sumi_tensor_get_shape (stored[i])->d[1] : 0;
  for (guint i = 0; i < c->n_encoders; i++)
    {
      const SumiTensor *vectors = vectors_for (c, e, i);

      want[i] = c->encoders[i].config->hidden_size;
      fits = fits && vectors != NULL && sumi_tensor_get_shape (vectors)->d[1] == want[i];
    }
  if (fits && e->n_vectors <= size)
    return TRUE;
  have_text = widths_text (have, 2);
  want_text = widths_text (want, c->n_encoders);
  if (!fits)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
                 "textual inversion '%s': found vectors of width %s, expected %s for this model", e->token, have_text,
                 want_text);
  else
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
                 "textual inversion '%s': found %u vectors, expected at most the %u that this model reads", e->token,
                 e->n_vectors, size);
  return FALSE;
}

static void
forget_embedding (SumiConditioner *c, const char *token)
{
  for (guint i = 0; i < c->embeddings->len; i++)
    if (g_str_equal (((SumiEmbedding *)g_ptr_array_index (c->embeddings, i))->token, token))
      {
        for (guint k = 0; k < c->n_encoders; k++)
          g_ptr_array_remove_index (c->encoders[k].words, i);
        g_ptr_array_remove_index (c->embeddings, i);
        return;
      }
}

gboolean
sumi_conditioner_add_embedding (SumiConditioner *c, SumiEmbedding *embedding, GError **error)
{
  g_autoptr (SumiEmbedding) e = embedding;
  SumiTextWord *words[SUMI_MAX_TEXT_ENCODERS] = { NULL };
  guint n = 0;

  if (!check_embedding (c, e, error))
    return FALSE;
  for (; n < c->n_encoders; n++)
    {
      words[n] = sumi_text_word_new (e->token, vectors_for (c, e, n), c->tokenizer, c->encoders[n].pad_id, error);
      if (words[n] == NULL)
        break;
    }
  if (n < c->n_encoders)
    {
      while (n > 0)
        sumi_text_word_free (words[--n]);
      return FALSE;
    }
  forget_embedding (c, e->token);
  for (guint i = 0; i < n; i++)
    g_ptr_array_add (c->encoders[i].words, words[i]);
  g_ptr_array_add (c->embeddings, g_steal_pointer (&e));
  return TRUE;
}

void
sumi_conditioner_clear_embeddings (SumiConditioner *c)
{
  for (guint i = 0; i < c->n_encoders; i++)
    g_ptr_array_set_size (c->encoders[i].words, 0);
  g_ptr_array_set_size (c->embeddings, 0);
}

/* ---- encoding ---- */

typedef struct
{
  SumiConditioner *conditioner;
  const SumiConditionerOptions *options;
  gboolean one_chunk;
  guint skip;        /* layers left out at the end */
  GPtrArray *chunks; /* SumiTextChunks: every encoder's of the first prompt, then of the next */
  guint n_chunks;    /* of all prompts */
  GPtrArray *notes;
  GCancellable *cancellable;
} Encoding;

static const SumiTextChunks *
chunks_of (const Encoding *e, guint prompt, guint encoder)
{
  return g_ptr_array_index (e->chunks, prompt * e->conditioner->n_encoders + encoder);
}

/* SDXL's encoders were never heard to the end: there, 2 is the least. */
static gboolean
choose_skip (Encoding *e, GError **error)
{
  const SumiConditioner *c = e->conditioner;
  guint asked = e->options->clip_skip, least = c->encoders[0].final_norm ? 1 : 2;
  guint count = asked != 0 ? asked : MAX (c->config->defaults.clip_skip, 1);

  if (asked != 0 && asked < least)
    g_ptr_array_add (e->notes,
                     g_strdup_printf ("clip skip %u was taken as %u, the least for this model", asked, least));
  count = MAX (count, least);
  e->skip = count - 1;
  for (guint i = 0; i < c->n_encoders; i++)
    if (count > c->encoders[i].config->num_hidden_layers)
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "clip skip: found %u, expected at most the %u layers of %s",
                     count, c->encoders[i].config->num_hidden_layers, c->encoders[i].prefix);
        return FALSE;
      }
  return TRUE;
}

static gboolean
has_break (const SumiPrompt *prompt)
{
  for (guint i = 0; i < prompt->parts->len; i++)
    if (((const SumiPromptPart *)g_ptr_array_index (prompt->parts, i))->text == NULL)
      return TRUE;
  return FALSE;
}

static void
tell (Encoding *e, const SumiPrompt *prompt, const char *what, guint n_cut)
{
  const SumiConditioner *c = e->conditioner;

  if (e->one_chunk && has_break (prompt))
    g_ptr_array_add (e->notes, g_strdup_printf ("%s: BREAK was ignored, there is one chunk", what));
  if (n_cut > 0)
    g_ptr_array_add (e->notes, g_strdup_printf ("%s: the last %u tokens were cut, %u fit", what, n_cut,
                                                sumi_conditioner_chunk_size (c)));
  if (c->token_ids != NULL)
    sumi_unknown_words_tell (c->tokenizer, c->token_ids, c->config->text.vocab_size, prompt, e->notes);
}

static gboolean
split_prompt (Encoding *e, const SumiPrompt *prompt, const char *what, GError **error)
{
  SumiConditioner *c = e->conditioner;
  guint n_cut = 0;

  for (guint i = 0; i < c->n_encoders; i++)
    {
      SumiTextChunker chunker = { c->tokenizer, c->encoders[i].pad_id, sumi_conditioner_chunk_size (c), e->one_chunk,
                                  c->encoders[i].words };
      SumiTextChunks *chunks = sumi_text_chunks_new (&chunker, prompt, error);

      if (chunks == NULL)
        {
          g_prefix_error (error, "%s: ", what);
          return FALSE;
        }
      g_ptr_array_add (e->chunks, chunks);
      e->n_chunks = MAX (e->n_chunks, chunks->chunks->len);
      n_cut = MAX (n_cut, chunks->n_cut);
    }
  tell (e, prompt, what, n_cut);
  return TRUE;
}

/* Writes the states (1,S,D) of one encoder and chunk into all of them (1,K S,sum of D), from a row and a column on. */
static void
place_states (SumiTensor *all, SumiTensor *states, gint64 row, gint64 column)
{
  const SumiShape *from = sumi_tensor_get_shape (states);
  gint64 width = sumi_tensor_get_shape (all)->d[2];
  const float *x = sumi_tensor_peek_f32 (states);
  float *y = sumi_tensor_poke_f32 (all) + row * width + column;

  for (gint64 i = 0; i < from->d[1]; i++)
    memcpy (y + i * width, x + i * from->d[2], (gsize)from->d[2] * sizeof (float));
}

/* The state of the last place has seen the whole prompt (causal attention): sumi-latent's pooled one. */
static SumiTensor *
last_state (const SumiTensor *states, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (states);

  return sumi_tensor_new_f32 (&SUMI_SHAPE (1, s->d[2]), sumi_tensor_peek_f32 (states) + (s->d[1] - 1) * s->d[2], error);
}

static gboolean
encode_chunk (Encoding *e, guint prompt, guint encoder, guint k, gint64 column, SumiTextStates *out, GError **error)
{
  SumiConditioner *c = e->conditioner;
  SumiTextEncoder *t = &c->encoders[encoder];
  const GPtrArray *chunks = chunks_of (e, prompt, encoder)->chunks;
  const GArray *chunk = k < chunks->len ? g_ptr_array_index (chunks, k) : NULL;
  g_autoptr (SumiTensor) states = NULL, pooled = NULL;

  if (!sumi_conditioner_run (c, t, chunk, e->skip, &states, &pooled, e->cancellable, error))
    return FALSE;
  if (c->config->family == SUMI_FAMILY_LATENT && sumi_model_pooled_width (c->config) > 0
      && (pooled = last_state (states, error)) == NULL)
    return FALSE;
  if (k == 0 && pooled != NULL)
    out->pooled = g_steal_pointer (&pooled);
  sumi_conditioner_emphasize (states, chunk, e->options->emphasis);
  place_states (out->states, states, k * t->config->max_position_embeddings, column);
  return TRUE;
}

static gint64
states_width (const SumiConditioner *c)
{
  gint64 width = 0;

  for (guint i = 0; i < c->n_encoders; i++)
    width += c->encoders[i].config->hidden_size;
  return width;
}

static gboolean
is_empty (const Encoding *e, guint prompt)
{
  const SumiTextChunks *first = chunks_of (e, prompt, 0);

  return first->n_tokens == 0 && first->n_cut == 0;
}

static gboolean
encode_prompt (Encoding *e, guint prompt, SumiTextStates *out, GError **error)
{
  SumiConditioner *c = e->conditioner;
  gint64 length = e->n_chunks * c->encoders[0].config->max_position_embeddings, column = 0;
  gint64 width = sumi_model_pooled_width (c->config);

  out->n_tokens = chunks_of (e, prompt, 0)->n_tokens;
  out->states = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, length, states_width (c)), error);
  if (out->states == NULL)
    return FALSE;
  if ((e->options->zero_empty >> prompt & 1) != 0 && c->config->zero_empty && is_empty (e, prompt))
    {
      out->pooled = width > 0 ? sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, width), error) : NULL;
      return width == 0 || out->pooled != NULL;
    }
  for (guint i = 0; i < c->n_encoders; column += c->encoders[i++].config->hidden_size)
    for (guint k = 0; k < e->n_chunks; k++)
      if (!encode_chunk (e, prompt, i, k, column, out, error))
        return FALSE;
  return TRUE;
}

gboolean
sumi_conditioner_encode (SumiConditioner *c, const SumiPrompt *const *prompts, const char *const *what, guint n,
                         const SumiConditionerOptions *options, SumiTextStates *out, GPtrArray *notes,
                         GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) chunks = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_text_chunks_free);
  Encoding e = { .conditioner = c, .options = options, .chunks = chunks, .notes = notes, .cancellable = cancellable };
  gboolean ok;

  for (guint i = 0; i < n; i++)
    out[i] = (SumiTextStates){ NULL };
  e.one_chunk = options->one_chunk || c->config->family == SUMI_FAMILY_LATENT;
  ok = choose_skip (&e, error);
  for (guint i = 0; ok && i < n; i++)
    ok = split_prompt (&e, prompts[i], what[i], error);
  for (guint i = 0; ok && i < n; i++)
    ok = encode_prompt (&e, i, &out[i], error);
  for (guint i = 0; !ok && i < n; i++)
    sumi_text_states_clear (&out[i]);
  return ok;
}
