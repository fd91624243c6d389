/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From prompts to what the denoiser is conditioned on: the prompt language (diffusion/prompt.h), the tokenizer, chunks
 * of 75 tokens, textual inversion, one or two text encoders, emphasis. */
#pragma once

#include "diffusion/embedding.h"
#include "diffusion/model.h"
#include "diffusion/prompt.h"
#include "engine/engine.h"
#include "nn/tokenizer.h"

G_BEGIN_DECLS

typedef struct
{
  SumiTensor *states; /* F32 (1,S,D), S = 77 x chunks */
  SumiTensor *pooled; /* F32 (1,P), or NULL where the denoiser takes none */
  guint n_tokens;     /* of the prompt, without marks and padding */
} SumiTextStates;

void sumi_text_states_clear (SumiTextStates *t);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SumiTextStates, sumi_text_states_clear)

/* Where a parameter's value comes from (adapters are merged there). Transfer full. */
typedef SumiTensor *(*SumiParameterFunc) (const char *name, gpointer user, GError **error);

typedef struct _SumiConditioner SumiConditioner;

/* config: of a model that takes a prompt (sumi-latent, sd15, sd21, sdxl, sdxl-refiner); outlives the conditioner.
 * weights: canonical names, all of the text encoders' are checked here; the token embeddings are read from them row by
 * row, and never packed. */
SumiConditioner *sumi_conditioner_new (const SumiModelConfig *config, SumiTensorMap *weights, SumiTokenizer *tokenizer,
                                       SumiEngine *engine, guint threads, GError **error);
void sumi_conditioner_free (SumiConditioner *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiConditioner, sumi_conditioner_free)

/* Where the encoders' parameters come from, instead of `weights`; forgets the compiled encoders. NULL: weights again.
 */
void sumi_conditioner_set_source (SumiConditioner *c, SumiParameterFunc source, gpointer user);
/* Frees the compiled encoders; they are compiled again when needed. */
void sumi_conditioner_trim (SumiConditioner *c);
/* Takes the embedding over, also when it fails: shape_mismatch when its widths are another model's, usage when its word
 * is only white space. One with the same token is replaced. */
gboolean sumi_conditioner_add_embedding (SumiConditioner *c, SumiEmbedding *e, GError **error);
void sumi_conditioner_clear_embeddings (SumiConditioner *c);

typedef struct
{
  SumiEmphasis emphasis;
  guint clip_skip;    /* A1111's count: 1 the last layer, 2 the one before…; 0: the model's own */
  guint zero_empty;   /* bit i: prompt i becomes zeros when it is empty and the model's configuration says so; negative
                         prompts do (SDXL), in diffusers and in the web UI */
  gboolean one_chunk; /* what one chunk does not hold is cut (as by the reference pipelines), and told */
} SumiConditionerOptions;

/* Encodes n parsed prompts together: all get the same number of chunks.  what: names for messages ("prompt",
 * "negative prompt").  notes gets what was cut, unknown or ignored. Models with a fixed context of one chunk
 * (sumi-latent) cut the rest and say so. */
gboolean sumi_conditioner_encode (SumiConditioner *c, const SumiPrompt *const *prompts, const char *const *what,
                                  guint n, const SumiConditionerOptions *options, SumiTextStates *out, GPtrArray *notes,
                                  GCancellable *cancellable, GError **error);

G_END_DECLS
