/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writing a recipe. Numbers are written so that reading them gives the same number. */
#include "diffusion/recipe.h"

#include <math.h>
#include <string.h>

#include "diffusion/sampler.h"

static gboolean
is_text (const char *s)
{
  return s != NULL && *s != '\0';
}

/* The shortest form that is read as the same number. */
static void
append_number (GString *s, double value)
{
  char number[G_ASCII_DTOSTR_BUF_SIZE];

  for (guint digits = 6; digits <= 17; digits++)
    {
      char format[8];

      g_snprintf (format, sizeof format, "%%.%ug", digits);
      g_ascii_formatd (number, sizeof number, format, value);
      if (g_ascii_strtod (number, NULL) == value)
        break;
    }
  g_string_append (s, number);
}

static void
field_number (GString *s, const char *name, double value)
{
  g_string_append_printf (s, ", %s: ", name);
  append_number (s, value);
}

/* In quotation marks where it holds a sign of the form, as A1111 does. */
static void
field_text (GString *s, const char *name, const char *value)
{
  g_string_append_printf (s, ", %s: ", name);
  if (strpbrk (value, ",:\n\"\\") == NULL)
    {
      g_string_append (s, value);
      return;
    }
  g_string_append_c (s, '"');
  for (; *value != '\0'; value++)
    {
      if (*value == '"' || *value == '\\')
        g_string_append_c (s, '\\');
      g_string_append_c (s, *value == '\n' ? ' ' : *value);
    }
  g_string_append_c (s, '"');
}

/* The name under which a file is found again. */
static char *
stem_of (const char *path)
{
  g_autofree char *base = g_path_get_basename (path);
  char *dot = strrchr (base, '.');

  if (dot != NULL && dot != base)
    *dot = '\0';
  return g_filename_display_name (base);
}

static void
append_prompt (GString *s, const SumiRequest *r)
{
  gboolean any = is_text (r->prompt);

  if (any)
    g_string_append (s, r->prompt);
  for (guint i = 0; i < r->n_loras; i++)
    {
      g_autofree char *stem = stem_of (r->loras[i].path);

      g_string_append_printf (s, "%s<lora:%s:", any ? " " : "", stem);
      append_number (s, r->loras[i].text_strength);
      if (r->loras[i].text_strength != r->loras[i].unet_strength)
        {
          g_string_append_c (s, ':');
          append_number (s, r->loras[i].unet_strength);
        }
      g_string_append_c (s, '>');
      any = TRUE;
    }
  if (any)
    g_string_append_c (s, '\n');
}

static void
append_guidance (GString *s, const SumiRequest *r, const SumiRecipeModel *model)
{
  if (model->takes_image_guidance)
    field_number (s, "Image CFG scale", r->image_guidance_scale);
  if (r->guidance_rescale != 0)
    field_number (s, "Guidance rescale", r->guidance_rescale);
  if (r->guidance_low > 0 || r->guidance_high < G_MAXDOUBLE)
    {
      field_number (s, "Guidance from sigma", r->guidance_high);
      field_number (s, "Guidance to sigma", r->guidance_low);
    }
  if (r->cfg_pp)
    field_text (s, "CFG++", "True");
}

static void
append_eta (GString *s, const SumiRequest *r)
{
  gboolean ddim = strcmp (r->sampler, "ddim") == 0;

  if (r->eta >= 0 && !(ddim && r->eta == 0))
    field_number (s, ddim ? "Eta DDIM" : "Eta", r->eta);
}

char *
sumi_recipe_write (const SumiRequest *r, guint i, const SumiRecipeModel *model)
{
  GString *s = g_string_new (NULL);

  if (model->takes_prompt)
    append_prompt (s, r);
  if (model->takes_prompt && is_text (r->negative_prompt) && r->guidance_scale != 1.0)
    g_string_append_printf (s, "Negative prompt: %s\n", r->negative_prompt);
  g_string_append_printf (s, "Steps: %u, Sampler: %s", r->steps, sumi_sampler_title (r->sampler));
  if (r->sigmas != NULL)
    field_text (s, "Schedule type", sumi_sigmas_title (r->sigmas));
  else if (r->use_karras_sigmas)
    field_text (s, "Schedule type", "Karras (diffusers)");
  if (model->takes_prompt)
    field_number (s, "CFG scale", r->guidance_scale);
  g_string_append_printf (s, ", Seed: %" G_GUINT64_FORMAT ", Size: %ux%u", r->seed + i, r->width, r->height);
  if (is_text (model->model))
    field_text (s, "Model", model->model);
  if (r->vae != NULL)
    {
      g_autofree char *vae = stem_of (r->vae);

      field_text (s, "VAE", vae);
    }
  if (r->image != NULL && !model->takes_image_guidance)
    field_number (s, "Denoising strength", r->strength);
  else if (r->image != NULL)
    field_text (s, "Picture", "True");
  if (r->mask != NULL)
    field_text (s, "Masked", "True");
  if (r->clip_skip > 0)
    g_string_append_printf (s, ", Clip skip: %u", r->clip_skip);
  if (r->emphasis != SUMI_EMPHASIS_ORIGINAL)
    field_text (s, "Emphasis", r->emphasis == SUMI_EMPHASIS_NO_NORM ? "No norm" : "None");
  append_guidance (s, r, model);
  if (r->prediction != NULL)
    field_text (s, "Prediction", r->prediction);
  append_eta (s, r);
  if (is_text (model->lora_hashes))
    field_text (s, "Lora hashes", model->lora_hashes);
  if (r->tile > 0)
    g_string_append_printf (s, ", Tile: %u", r->tile * SUMI_RECIPE_LATENT);
  if (model->bf16)
    field_text (s, "Precision", "bf16");
  g_string_append_printf (s, ", RNG: %s", r->rng == SUMI_RNG_PHILOX ? "NV" : "CPU");
  if (model->version != NULL)
    field_text (s, "Version", model->version);
  return g_string_free (s, FALSE);
}
