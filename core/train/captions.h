/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Captions as rows of the model's own vocabulary, and the draw of one for a training sample. */
#pragma once

#include "base/rng.h"
#include "nn/tokenizer.h"
#include "train/dataset.h"

G_BEGIN_DECLS

typedef struct
{
  guint context;         /* places of a prompt */
  SumiTensor *token_ids; /* I64 (V), as diffusion/model.h says */
  gint64 start, end;     /* rows of the marks */
  GPtrArray *pictures;   /* GPtrArray of GArray of gint64: rows without marks, at most context - 2 */
  guint n_cut;           /* captions that did not fit */
} SumiCaptions;

/* For `n` pictures of the data set (their numbers).  token_ids: the vocabulary of an earlier run, or NULL to make one
 * of all their captions.  Needs context >= 2 (bad_config). */
SumiCaptions *sumi_captions_new (SumiDataset *d, const guint32 *pictures, guint n, SumiTokenizer *tokenizer,
                                 guint context, SumiTensor *token_ids, GError **error);
void sumi_captions_free (SumiCaptions *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiCaptions, sumi_captions_free)

gint64 sumi_captions_get_vocabulary (const SumiCaptions *c); /* rows */

typedef struct
{
  double dropout;      /* the empty prompt instead */
  double word_dropout; /* each token: the unknown one instead, so that it gets a meaning */
} SumiCaptionDraw;

/* Start mark, tokens, end marks: `context` rows.  The first caption is drawn in 6 of 10 cases. */
void sumi_captions_draw (const SumiCaptions *c, const SumiCaptionDraw *how, guint picture, SumiRng *rng, gint64 *rows);

G_END_DECLS
