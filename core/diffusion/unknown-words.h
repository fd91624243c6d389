/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a model with a small vocabulary of its own has not learned. */
#pragma once

#include "diffusion/prompt.h"
#include "nn/tokenizer.h"

G_BEGIN_DECLS

/* Adds one note that names them, when there are any.  token_ids: the vocabulary, I64 of v places
 * (sumi_model_tokens_to_rows). */
void sumi_unknown_words_tell (SumiTokenizer *tokenizer, const gint64 *token_ids, gint64 v, const SumiPrompt *prompt,
                              GPtrArray *notes);

G_END_DECLS
