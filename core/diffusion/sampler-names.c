/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What others call the samplers and the lists of noise levels: A1111 in its PNG files, ComfyUI, k-diffusion, diffusers,
 * kohya's sample prompts. */
#include "diffusion/sampler.h"

#include <string.h>

typedef struct
{
  const char *name, *title;
  const char *others; /* spellings, as squeeze() leaves them, in bars */
} Name;

static const Name samplers[] = {
  { "ddpm", "DDPM", "|ddpmscheduler|" },
  { "ddim", "DDIM", "|ddimscheduler|" },
  { "pndm", "PLMS", "|pndmscheduler|" },
  { "euler", "Euler", "|eulerdiscretescheduler|" },
  { "euler_a", "Euler a", "|eulerancestral|eulerancestraldiscretescheduler|" },
  { "heun", "Heun", "|heundiscretescheduler|" },
  { "dpm2", "DPM2", "|kdpm2discretescheduler|" },
  { "dpm2_a", "DPM2 a", "|dpm2ancestral|kdpm2ancestraldiscretescheduler|" },
  { "dpmpp_2s_a", "DPM++ 2S a", "|dpmpp2sancestral|" },
  { "dpmpp_sde", "DPM++ SDE", "|dpmsolversdescheduler|dpmppsdegpu|" },
  { "dpmpp_2m", "DPM++ 2M", "|dpmsolvermultistepscheduler|dpmsolverpp|" },
  { "dpmpp_2m_sde", "DPM++ 2M SDE", "|dpmpp2msdegpu|" },
  { "dpmpp_3m_sde", "DPM++ 3M SDE", "|dpmpp3msdegpu|" },
  { "lms", "LMS", "|lmsdiscretescheduler|" },
  { "unipc", "UniPC", "|unipcbh2|unipcmultistepscheduler|" },
  { "deis", "DEIS", "|deismultistepscheduler|" },
  { "lcm", "LCM", "|lcmscheduler|" },
  { "tcd", "TCD", "|tcdscheduler|" },
};

static const Name sigmas[] = {
  { "karras", "Karras", "|k|ka|" },
  { "exponential", "Exponential", "|exp|" },
  { "polyexponential", "Polyexponential", NULL },
  { "normal", "Normal", "|uniform|" },
  { "sgm_uniform", "SGM Uniform", NULL },
  { "simple", "Simple", NULL },
  { "ddim_uniform", "DDIM Uniform", "|ddim|" },
  { "beta", "Beta", NULL },
  { "kl_optimal", "KL Optimal", NULL },
  { "align_your_steps", "Align Your Steps", "|ays|alignyoursteps11|" },
  { "gits", "Align Your Steps GITS", "|aysgits|" },
};

/* Small letters and digits only, "+" as "p": spellings differ in the rest. Free with g_free. */
static char *
squeeze (const char *title)
{
  GString *s = g_string_new (NULL);

  for (const char *c = title; *c != '\0'; c++)
    if (g_ascii_isalnum (*c))
      g_string_append_c (s, g_ascii_tolower (*c));
    else if (*c == '+')
      g_string_append_c (s, 'p');
  return g_string_free (s, FALSE);
}

static gboolean
is_called (const Name *n, const char *squeezed)
{
  g_autofree char *name = squeeze (n->name), *title = squeeze (n->title);
  g_autofree char *barred = g_strconcat ("|", squeezed, "|", NULL);

  return g_str_equal (name, squeezed) || g_str_equal (title, squeezed)
         || (n->others != NULL && strstr (n->others, barred) != NULL);
}

static const Name *
look_up (const Name *names, guint n, const char *squeezed)
{
  if (*squeezed != '\0')
    for (guint i = 0; i < n; i++)
      if (is_called (&names[i], squeezed))
        return &names[i];
  return NULL;
}

static const Name *
sampler_called (const char *squeezed)
{
  /* k-diffusion's functions and A1111's old names: k_euler, sample_euler */
  static const char *const prefixes[] = { "", "ksample", "sample", "kdiffusion", "k" };

  for (guint i = 0; i < G_N_ELEMENTS (prefixes); i++)
    if (g_str_has_prefix (squeezed, prefixes[i]))
      {
        const Name *n = look_up (samplers, G_N_ELEMENTS (samplers), squeezed + strlen (prefixes[i]));

        if (n != NULL)
          return n;
      }
  return NULL;
}

/* A sampler's title, perhaps with a schedule's behind it. */
static void
split (const char *title, const Name **sampler, const Name **list)
{
  g_autofree char *squeezed = squeeze (title != NULL ? title : "");

  *list = NULL;
  *sampler = sampler_called (squeezed);
  for (gsize at = strlen (squeezed); *sampler == NULL && at-- > 1;)
    {
      g_autofree char *head = g_strndup (squeezed, at);

      *list = look_up (sigmas, G_N_ELEMENTS (sigmas), squeezed + at);
      if (*list != NULL)
        *sampler = sampler_called (head);
    }
}

const char *
sumi_sampler_title (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (samplers); i++)
    if (g_strcmp0 (samplers[i].name, name) == 0)
      return samplers[i].title;
  return name;
}

const char *
sumi_sampler_from_title (const char *title)
{
  const Name *sampler, *list;

  split (title, &sampler, &list);
  return sampler != NULL ? sampler->name : NULL;
}

const char *
sumi_sampler_sigmas_from_title (const char *title)
{
  const Name *sampler, *list;

  split (title, &sampler, &list);
  return sampler != NULL && list != NULL ? list->name : NULL;
}

const char *
sumi_sampler_automatic_sigmas (const char *name)
{
  static const struct
  {
    const char *sampler, *list;
  } automatic[] = { { "euler", "normal" },
                    { "euler_a", "normal" },
                    { "heun", "normal" },
                    { "lms", "normal" },
                    { "dpm2", "karras" },
                    { "dpm2_a", "karras" },
                    { "dpmpp_2s_a", "karras" },
                    { "dpmpp_sde", "karras" },
                    { "dpmpp_2m", "karras" },
                    { "dpmpp_2m_sde", "exponential" },
                    { "dpmpp_3m_sde", "exponential" } };

  for (guint i = 0; i < G_N_ELEMENTS (automatic); i++)
    if (g_strcmp0 (automatic[i].sampler, name) == 0)
      return automatic[i].list;
  return NULL;
}

const char *
sumi_sigmas_title (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (sigmas); i++)
    if (g_strcmp0 (sigmas[i].name, name) == 0)
      return sigmas[i].title;
  return name;
}

const char *
sumi_sigmas_from_title (const char *title)
{
  g_autofree char *squeezed = squeeze (title != NULL ? title : "");
  const Name *list = look_up (sigmas, G_N_ELEMENTS (sigmas), squeezed);

  return list != NULL ? list->name : NULL;
}
