/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The little language of prompts, as AUTOMATIC1111's web UI has it:
 *   (text) x1.1   [text] /1.1   (text:1.3) x1.3   nested: multiplied   \( \) \[ \] \\ the character itself
 *   BREAK            the chunk ends here (also between brackets, where the web UI says the word)
 *   {a|b|c}          one of them, chosen by the seed (nested too)
 *   <lora:name:0.8>  an adapter; <lora:name:text:unet> two strengths; <lora:name> full strength
 *   # …              from a '#' that begins a line, or stands after white space, to the end of the line: not said
 * Anything that is not finished is ordinary text, as there.  A backslash before any other sign is not said, and takes
 * the meaning from that sign: \{ \| \# \<. */
#pragma once

#include "base/error.h"

G_BEGIN_DECLS

typedef enum
{
  SUMI_EMPHASIS_ORIGINAL, /* states x weight, then the whole scaled back to its old mean */
  SUMI_EMPHASIS_NO_NORM,  /* states x weight */
  SUMI_EMPHASIS_NONE      /* the prompt is plain text: no brackets, no BREAK, no choices, no comments, no adapters */
} SumiEmphasis;

const char *sumi_emphasis_name (SumiEmphasis e);                               /* "original", "no-norm", "none" */
gboolean sumi_emphasis_parse (const char *s, SumiEmphasis *e, GError **error); /* usage */

typedef struct
{
  char *text; /* NULL: BREAK */
  double weight;
} SumiPromptPart;

typedef struct
{
  char *name; /* as written: nothing says that it is a safe file name */
  double unet_strength, text_strength;
} SumiPromptLora;

typedef struct
{
  GPtrArray *parts; /* SumiPromptPart; no text is empty */
  GPtrArray *loras; /* SumiPromptLora, in the order written */
  char *plain;      /* what is said, after choices, comments and adapters; still with its brackets: for recipes */
} SumiPrompt;

/* text: UTF-8 (else usage), NULL as "".  At most 64 KiB and 256 levels of brackets (too_large), weights up to 1e12
 * (usage).  seed: of the picture. */
SumiPrompt *sumi_prompt_parse (const char *text, SumiEmphasis emphasis, guint64 seed, GError **error);
void sumi_prompt_free (SumiPrompt *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiPrompt, sumi_prompt_free)

G_END_DECLS
