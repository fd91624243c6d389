/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What samplers are made of: one file each in samplers/, over what sampler.c and sampler-walk.c share. */
#pragma once

#include "diffusion/sampler.h"

G_BEGIN_DECLS

#define SUMI_SAMPLER_MAX_HISTORY 4

/* A noise level: sigma = sqrt ((1 - alphas_cumprod) / alphas_cumprod), 0 is the picture. */
typedef struct
{
  double alphas_cumprod, sigma;
  double timestep; /* what the model is told there */
} SumiNoiseLevel;

/* From one noise level to the next; more than one model call where the sampler has stages. */
typedef struct
{
  SumiNoiseLevel from, to;
} SumiSamplerStep;

typedef struct
{
  guint step, stage;
  SumiNoiseLevel at; /* of x before the call */
} SumiSamplerCall;

/* Which timesteps the diffusers scheduler of a sampler visits. */
typedef enum
{
  SUMI_WALK_FIXED_STRIDE, /* DDIM, PNDM: each step lands T / n below, whatever the spacing says */
  SUMI_WALK_CHAIN,        /* DDPM: each lands on the next */
  SUMI_WALK_SIGMAS,       /* Euler and its kin: timesteps between two are allowed, sigma is linear in them */
  SUMI_WALK_MULTISTEP, /* DPM-Solver, UniPC, DEIS: other leading and linspace timesteps, an integer with Karras too */
  SUMI_WALK_DISTILLED  /* LCM, TCD: a choice among 50 */
} SumiWalkKind;

typedef struct _SumiSamplerClass SumiSamplerClass;

struct _SumiSampler
{
  const SumiSamplerClass *klass;
  SumiSamplerOptions o; /* eta and order resolved */
  SumiSamplerStep *steps;
  guint n_steps;
  SumiSamplerCall *calls;
  guint n_calls;
  double start_scale;  /* of the noise a walk begins with */
  gboolean ends_noisy; /* on a timestep, not on the picture */

  float *x_start, *eps;                     /* predicted in this call (and clipped); n_values each */
  float *uncond_x_start, *uncond_eps;       /* the same of the unconditional output */
  float *saved;                             /* x as it was before the first stage; for two-stage samplers */
  float *history[SUMI_SAMPLER_MAX_HISTORY]; /* of earlier calls, the last first */
  guint n_history;                          /* how many of them hold something */
};

/* What one call hands to the sampler. */
typedef struct
{
  const SumiSamplerCall *call;
  const SumiSamplerStep *step;
  const float *uncond_x_start; /* NULL without CFG++ */
  const float *uncond_eps;
  const float *variance; /* NULL unless learned */
  const float *noise;    /* NULL where none is added */
} SumiSamplerInput;

struct _SumiSamplerClass
{
  const char *name;
  SumiWalkKind walk;
  gboolean sigma_view;
  gboolean cfg_pp;
  gboolean churns;
  gboolean discards_next_to_last; /* in lists of sigmas: one more is made, and the last but one is left out */
  double eta;                     /* default; < 0: it has none */
  guint order, max_order;         /* default; 0: it has none */
  guint n_history;
  /* The sigma of the second stage's call; 0: this step has none.  NULL: no step has. */
  double (*second_sigma) (const SumiSampler *s, const SumiSamplerStep *step);
  /* The standard deviation of what a call adds to x; 0: none.  NULL: never. */
  double (*noise) (const SumiSampler *s, const SumiSamplerCall *call);
  void (*step) (SumiSampler *s, const SumiSamplerInput *in, float *x);
};

extern const SumiSamplerClass sumi_sampler_ddim_class;
extern const SumiSamplerClass sumi_sampler_ddpm_class;

/* ---- sampler-walk.c ---- */
/* Fills in steps, calls and start_scale. usage. */
gboolean sumi_sampler_plan_walk (SumiSampler *s, GError **error);

/* ---- sampler.c ---- */
/* Puts a copy of n_values in front of the history. */
void sumi_sampler_remember (SumiSampler *s, const float *values);

G_END_DECLS
