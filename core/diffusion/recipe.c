/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The recipe in the form that AUTOMATIC1111's web UI writes into PNG files, because everyone's tools read it:
 *   prompt \n Negative prompt: … \n Steps: 20, Sampler: DDIM, CFG scale: 7, Seed: 1, Size: 512x512, … */
#include "diffusion/pipeline-private.h"

#include "diffusion/sampler.h"

static gboolean
is_text (const char *s)
{
  return s != NULL && *s != '\0';
}

static void
append_number (GString *s, const char *name, double value)
{
  char number[G_ASCII_DTOSTR_BUF_SIZE];

  g_string_append_printf (s, ", %s: %s", name, g_ascii_formatd (number, sizeof number, "%g", value));
}

char *
sumi_recipe_text (const SumiRequest *r, guint i, gboolean takes_prompt, const char *model)
{
  GString *s = g_string_new (NULL);

  if (takes_prompt && is_text (r->prompt))
    g_string_append_printf (s, "%s\n", r->prompt);
  if (takes_prompt && is_text (r->negative_prompt) && r->guidance_scale != 1.0)
    g_string_append_printf (s, "Negative prompt: %s\n", r->negative_prompt);
  g_string_append_printf (s, "Steps: %u, Sampler: %s", r->steps, sumi_sampler_title (r->sampler));
  if (takes_prompt)
    append_number (s, "CFG scale", r->guidance_scale);
  g_string_append_printf (s, ", Seed: %" G_GUINT64_FORMAT ", Size: %ux%u", r->seed + i, r->width, r->height);
  if (is_text (model))
    g_string_append_printf (s, ", Model: %s", model);
  if (r->eta != 0.0 && g_strcmp0 (r->sampler, "ddim") == 0)
    append_number (s, "Eta DDIM", r->eta);
  g_string_append_printf (s, ", RNG: %s", r->rng == SUMI_RNG_PHILOX ? "NV" : "CPU");
  return g_string_free (s, FALSE);
}
