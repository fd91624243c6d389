/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `sumi generate` was asked for on the command line. */
#pragma once

#include "diffusion/pipeline.h"

G_BEGIN_DECLS

typedef struct
{
  SumiPipelineOptions pipeline;
  SumiRequest request; /* strings and tensors belong to the options */
  char *model;         /* never NULL */
  gboolean seed_given;
  char *output, *save_latents, *steps_out;
  GPtrArray *notes; /* char*: to be told before anything is drawn */

  GPtrArray *owned_text;    /* char* */
  GPtrArray *owned_tensors; /* SumiTensor */
  GArray *loras;            /* SumiRequestLora */
} GenerateOptions;

/* Parses, reads the files that are named (but no model), and checks everything that can be checked before. */
gboolean generate_options_parse (int *argc, char ***argv, GenerateOptions *options, GError **error);
void generate_options_clear (GenerateOptions *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (GenerateOptions, generate_options_clear)

/* ---- generate-adapters.c ---- */
/* FILE[:WEIGHT[:TEXTWEIGHT]]; FILE may be a name in the user's folder "loras". path: free with g_free. */
gboolean generate_parse_lora (const char *text, char **path, double *unet, double *text_strength, GError **error);
/* The same for a name in `folder` ("embeddings", "loras", "vae"). Free with g_free. */
char *generate_find_file (const char *option, const char *folder, const char *file, GError **error);
/* A prompt without the adapters (<lora:NAME:…>) of these names. Free with g_free. */
char *generate_strip_loras (const char *prompt, const GArray *loras);

G_END_DECLS
