/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "samplers.h"

#include <glib/gi18n-lib.h>

typedef struct
{
  const char *name, *title, *help;
} Named;

/* Titles are the names that all programs have for them; they are not translated. */
static const Named samplers[] = {
  { "ddim", "DDIM", N_ ("Few steps; the same noise gives the same picture") },
  { "ddpm", "DDPM", N_ ("Fresh noise in each of many steps") },
  { "pndm", "PLMS", N_ ("An early multistep method, the default of Stable Diffusion 1") },
  { "euler", "Euler", N_ ("Simple and steady") },
  { "euler_a", "Euler a", N_ ("Fresh noise in each step; more steps change the picture") },
  { "heun", "Heun", N_ ("Exact, but each step takes twice as long") },
  { "dpm2", "DPM2", N_ ("Exact, but each step takes twice as long") },
  { "dpm2_a", "DPM2 a", N_ ("Fresh noise in each step, which takes twice as long") },
  { "dpmpp_2s_a", "DPM++ 2S a", N_ ("Fresh noise in each step, which takes twice as long") },
  { "dpmpp_sde", "DPM++ SDE", N_ ("Good with few steps, which take twice as long") },
  { "dpmpp_2m", "DPM++ 2M", N_ ("Good pictures in about 20 steps") },
  { "dpmpp_2m_sde", "DPM++ 2M SDE", N_ ("As DPM++ 2M, with fresh noise in each step") },
  { "dpmpp_3m_sde", "DPM++ 3M SDE", N_ ("For many steps, with fresh noise in each") },
  { "lms", "LMS", N_ ("A linear multistep method") },
  { "unipc", "UniPC", N_ ("Good pictures in 10 to 15 steps") },
  { "deis", "DEIS", N_ ("Good pictures in 10 to 15 steps") },
  { "lcm", "LCM", N_ ("For LCM models and adapters: 4 to 8 steps, guidance scale 1 to 2") },
  { "tcd", "TCD", N_ ("For TCD models and adapters: 4 to 8 steps, guidance scale 1 to 2") },
};

static const Named schedules[] = {
  { "automatic", N_ ("Automatic"), N_ ("What the model and the sampler are made for") },
  { "karras", "Karras", N_ ("More steps where little noise is left") },
  { "exponential", "Exponential", N_ ("Each step takes the same part of the noise away") },
  { "polyexponential", "Polyexponential", N_ ("Each step takes the same part of the noise away") },
  { "normal", "Normal", N_ ("Even steps in the model's time") },
  { "sgm_uniform", "SGM Uniform", N_ ("Even steps in the model's time, without the last") },
  { "simple", "Simple", N_ ("Every so many of the model's noise levels") },
  { "ddim_uniform", "DDIM", N_ ("As DDIM counts its steps") },
  { "beta", "Beta", N_ ("More steps at the beginning and at the end") },
  { "kl_optimal", "KL Optimal", N_ ("Levels that lose least, by theory") },
  { "align_your_steps", "Align Your Steps", N_ ("Levels optimised for about 10 steps") },
  { "gits", "GITS", N_ ("Levels optimised for about 10 steps") },
};

static GimpChoice *
choice_new (const Named *list, guint n)
{
  GimpChoice *choice = gimp_choice_new ();

  for (guint i = 0; i < n; i++)
    gimp_choice_add (choice, list[i].name, (gint)i, _ (list[i].title), _ (list[i].help));
  return choice;
}

GimpChoice *
sumi_sampler_choice_new (void)
{
  return choice_new (samplers, G_N_ELEMENTS (samplers));
}

GimpChoice *
sumi_schedule_choice_new (void)
{
  return choice_new (schedules, G_N_ELEMENTS (schedules));
}
