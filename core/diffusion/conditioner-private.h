/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parts of a conditioner, shared by the files that make it. */
#pragma once

#include "diffusion/conditioner.h"
#include "diffusion/text-chunks.h"

G_BEGIN_DECLS

#define SUMI_MAX_TEXT_ENCODERS 2

/* One text encoder, for one chunk at a time. */
typedef struct
{
  const char *prefix; /* of its parameters' names, without the dot; static */
  const SumiTextConfig *config;
  SumiTensor *table;   /* token_embedding.weight, borrowed from the weights */
  gint64 pad_id;       /* what stands after the first end mark */
  gboolean final_norm; /* of the states; the pooled one always has it */
  gboolean pooled;     /* the denoiser hears this one's state at the end mark */
  GPtrArray *words;    /* SumiTextWord */
  SumiPlan *plan;      /* for `skip`; NULL: not compiled */
  guint skip;
} SumiTextEncoder;

struct _SumiConditioner
{
  const SumiModelConfig *config;
  SumiTensorMap *weights;
  SumiTokenizer *tokenizer;
  SumiEngine *engine;
  guint threads;
  SumiParameterFunc source; /* NULL: weights */
  gpointer source_user;
  SumiTextEncoder encoders[SUMI_MAX_TEXT_ENCODERS];
  guint n_encoders;
  GPtrArray *embeddings; /* SumiEmbedding */
  const gint64
      *token_ids; /* the model's own vocabulary (sumi_model_tokens_to_rows), borrowed from its tensor; or NULL */
  SumiTensor *vocabulary;
};

/* ---- conditioner-encoder.c ---- */
/* Finds the encoders of the family and checks their weights. */
gboolean sumi_conditioner_find_encoders (SumiConditioner *c, GError **error);
/* Tokens in a chunk, without the two marks. */
guint sumi_conditioner_chunk_size (const SumiConditioner *c);
/* states: F32 (1,S,D) of the chunk (SumiTextToken; NULL: an empty one) with the last `skip` layers left out; pooled:
 * F32 (1,P), or NULL where the encoder has none. Transfer full. */
gboolean sumi_conditioner_run (SumiConditioner *c, SumiTextEncoder *e, const GArray *chunk, guint skip,
                               SumiTensor **states, SumiTensor **pooled, GCancellable *cancellable, GError **error);

/* ---- conditioner-emphasis.c ---- */
/* states: F32 (1,S,D), as encoded; the tokens' weights are those of the chunk, and 1 everywhere else. */
void sumi_conditioner_emphasize (SumiTensor *states, const GArray *chunk, SumiEmphasis emphasis);

G_END_DECLS
