/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From the parts of a prompt to chunks of tokens, cut as AUTOMATIC1111's web UI does: a full chunk gives what follows
 * its last comma to the next one where that comma is among its last 20 tokens; BREAK ends a chunk; the vectors of a
 * textual inversion stay together. */
#pragma once

#include "diffusion/embedding.h"
#include "diffusion/prompt.h"
#include "nn/tokenizer.h"

G_BEGIN_DECLS

typedef struct
{
  gint64 id;           /* CLIP's; -1 where there is a vector */
  const float *vector; /* a learned vector, borrowed, or NULL */
  float weight;
} SumiTextToken;

/* A word that stands for learned vectors of one text encoder. */
typedef struct
{
  const char *token;
  GArray *ids; /* gint64: the word as tokens, at least one */
  const float *vectors;
  guint n_vectors;
  gint64 width;
} SumiTextWord;

/* token and vectors (F32 (n,D)) are borrowed.  usage: a word without tokens (white space). */
SumiTextWord *sumi_text_word_new (const char *token, const SumiTensor *vectors, SumiTokenizer *tokenizer, gint64 pad_id,
                                  GError **error);
void sumi_text_word_free (SumiTextWord *w);

typedef struct
{
  SumiTokenizer *tokenizer;
  gint64 pad_id;          /* of the text encoder: it decides how "!" is read */
  guint size;             /* tokens in a chunk, without marks; no word has more vectors */
  gboolean one;           /* one chunk only: BREAK is passed over, and what does not fit is cut */
  const GPtrArray *words; /* SumiTextWord */
} SumiTextChunker;

typedef struct
{
  GPtrArray *chunks; /* GArray of SumiTextToken, each up to `size`; one at least */
  guint n_tokens;    /* in all chunks */
  guint n_cut;
} SumiTextChunks;

SumiTextChunks *sumi_text_chunks_new (const SumiTextChunker *c, const SumiPrompt *prompt, GError **error);
void sumi_text_chunks_free (SumiTextChunks *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiTextChunks, sumi_text_chunks_free)

G_END_DECLS
