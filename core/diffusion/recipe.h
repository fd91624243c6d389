/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Recipes: how a picture was drawn, in the form that AUTOMATIC1111's web UI writes into PNG files ("parameters"),
 * because everyone's tools read it:
 *   prompt
 *   Negative prompt: …
 *   Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Model: …, RNG: CPU */
#pragma once

#include "diffusion/pipeline.h"

G_BEGIN_DECLS

#define SUMI_RECIPE_MAX_SIZE (1 << 20) /* bytes */

#define SUMI_RECIPE_LATENT 8 /* tiles are told in pixels: so many a side of a latent value */

/* What the writer has to know about the model. */
typedef struct
{
  const char *model; /* its name, or NULL */
  gboolean takes_prompt, takes_image_guidance;
  const char *version;     /* of the program, or NULL: not said */
  const char *lora_hashes; /* "name: hash, …", or NULL */
  gboolean bf16;
} SumiRecipeModel;

/* The recipe of picture i of a complete request. Free with g_free. */
char *sumi_recipe_write (const SumiRequest *r, guint i, const SumiRecipeModel *model);

/* A recipe that was read. */
typedef struct
{
  SumiRequest request; /* what is not said is as sumi_request_init has it; strings are the recipe's */
  char *prompt, *negative_prompt;
  char *model, *vae; /* names, or NULL */
  gboolean bf16;
  gboolean from_image; /* drawn from a picture, which no recipe holds */
  gboolean masked;
  GPtrArray *notes; /* char*: what was said and is not understood or not followed */
} SumiRecipe;

/* Reads Sumi's recipes and those of A1111 and its kin.  usage: no recipe (without steps and sampler), not UTF-8, or
 * larger than SUMI_RECIPE_MAX_SIZE; what is said wrongly is told in notes and left out. */
SumiRecipe *sumi_recipe_read (const char *text, GError **error);
void sumi_recipe_free (SumiRecipe *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiRecipe, sumi_recipe_free)

G_END_DECLS
