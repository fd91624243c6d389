/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The first three steps of reading a prompt (diffusion/prompt.h), each from a text to a shorter one: comments go,
 * choices are made, adapters are taken out.  A backslash takes its meaning from whatever follows it, in all of them;
 * it stays in the text for the next step.  Texts are valid UTF-8; results are freed with g_free. */
#pragma once

#include "diffusion/prompt.h"

G_BEGIN_DECLS

#define SUMI_PROMPT_MAX_LEVELS 256

char *sumi_prompt_strip_comments (const char *text);
/* too_large with more than SUMI_PROMPT_MAX_LEVELS open braces */
char *sumi_prompt_choose (const char *text, guint64 seed, GError **error);
/* Appends what it takes out to `loras` (SumiPromptLora). */
char *sumi_prompt_take_loras (const char *text, GPtrArray *loras);

/* [+-]digits with at most one point, nothing else; finite. */
gboolean sumi_prompt_parse_number (const char *s, gsize length, double *value);

G_END_DECLS
