/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of the CLIP tokenizer that is about text: normalization, lower case, words. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* NFC and lower case as Python's str.lower (not GLib's, which follows the locale): İ becomes i and a combining dot,
 * Σ at the end of a word ς. `text` is valid UTF-8. */
char *sumi_clip_normalize (const char *text);

/* The next word of normalized text from *p on, or NULL at the end; *p moves behind it.
 * A word is one of 's 't 're 've 'm 'll 'd, a run of letters, one digit, or a run of anything else but white space. */
const char *sumi_clip_next_word (const char **p, gsize *length);

G_END_DECLS
