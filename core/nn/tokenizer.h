/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The CLIP byte-level BPE tokenizer (Radford et al. 2021), vocabulary 49,408: NFC, white space collapsed, lower case,
 * the CLIP split pattern, merges by rank.  Exact against the reference for every UTF-8 text. */
#pragma once

#include "base/error.h"

G_BEGIN_DECLS

#define SUMI_TOKEN_START 49406
#define SUMI_TOKEN_END 49407
#define SUMI_TOKEN_CONTEXT 77

typedef struct _SumiTokenizer SumiTokenizer;

/* From a merges.txt (48,894 merges; gzip allowed). */
SumiTokenizer *sumi_tokenizer_open (const char *merges_path, GError **error);
SumiTokenizer *sumi_tokenizer_ref (SumiTokenizer *t);
void sumi_tokenizer_unref (SumiTokenizer *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiTokenizer, sumi_tokenizer_unref)

/* Plain ids (gint64), without start and end marks. Text that is not UTF-8 is a usage error. */
GArray *sumi_tokenizer_encode (SumiTokenizer *t, const char *text, GError **error);
/* The same for a model that is padded with pad_id.  With 0, which is "!", every "!" of the text becomes one 0, as in
 * the tokenizers of the models that are padded so. */
GArray *sumi_tokenizer_encode_for (SumiTokenizer *t, const char *text, gint64 pad_id, GError **error);
/* start + encode_for + end, cut to `context` (end mark kept last), padded with pad_id; ids has `context` places.
 * n_cut (may be NULL): how many tokens did not fit. */
gboolean sumi_tokenizer_encode_padded (SumiTokenizer *t, const char *text, guint context, gint64 pad_id, gint64 *ids,
                                       guint *n_cut, GError **error);

G_END_DECLS
