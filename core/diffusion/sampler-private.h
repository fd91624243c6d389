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
  SumiNoiseLevel at;       /* of x before the call */
  SumiNoiseLevel from, to; /* of the step */
} SumiSamplerCall;

/* Which timesteps the diffusers scheduler of a sampler visits. */
typedef enum
{
  SUMI_WALK_FIXED_STRIDE, /* DDIM, PNDM: each step lands T / n below, whatever the spacing says */
  SUMI_WALK_CHAIN,        /* DDPM: each lands on the next */
  SUMI_WALK_SIGMAS,       /* Euler and its kin: timesteps between two are allowed, sigma is linear in them */
  SUMI_WALK_MULTISTEP,    /* DPM-Solver, UniPC, DEIS: leading and linspace count one more and leave the lowest out */
  SUMI_WALK_DISTILLED     /* LCM, TCD: some of the teacher's 50 */
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
  float *saved;                             /* x as it was in an earlier call */
  float *history[SUMI_SAMPLER_MAX_HISTORY]; /* of earlier calls, the last first */
  guint n_history;                          /* how many of them hold something */
  guint n_made;                             /* calls, up to now */
  guint last_order;                         /* unipc */
};

/* What one call hands to the sampler. */
typedef struct
{
  const SumiSamplerCall *call;
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
  gboolean zero_snr; /* it can begin where alphas_cumprod is 0 */
  gboolean saves;    /* x, for a later call */
  gboolean churns;
  gboolean cut_by_calls;          /* PNDM in diffusers: image to image leaves out calls, not steps */
  gboolean rounds_karras;         /* to whole timesteps */
  gboolean ends_at_min;           /* DEIS: at the smallest sigma there is, not at 0 */
  gboolean ends_at_first;         /* TCD: at timestep 0 */
  gboolean discards_next_to_last; /* in lists of sigmas: one more is made, and the last but one is left out */
  double eta;                     /* default; < 0: it has none */
  guint order, max_order;         /* default; 0: it has none */
  guint n_history;
  gboolean second_at_end; /* the second call is where the step ends, at that timestep */
  /* The sigma of a second model call in a step; 0: this step has none.  NULL: no step has. */
  double (*second_sigma) (const SumiSampler *s, guint step);
  /* The standard deviation of what a call adds to x; 0: none.  NULL: never. */
  double (*noise) (const SumiSampler *s, const SumiSamplerCall *call);
  void (*step) (SumiSampler *s, const SumiSamplerInput *in, float *x);
};

extern const SumiSamplerClass sumi_sampler_ddpm_class, sumi_sampler_ddim_class, sumi_sampler_pndm_class,
    sumi_sampler_euler_class, sumi_sampler_euler_a_class, sumi_sampler_heun_class, sumi_sampler_dpm2_class,
    sumi_sampler_dpm2_a_class, sumi_sampler_dpmpp_2s_a_class, sumi_sampler_dpmpp_sde_class, sumi_sampler_dpmpp_2m_class,
    sumi_sampler_dpmpp_2m_sde_class, sumi_sampler_dpmpp_3m_sde_class, sumi_sampler_lms_class, sumi_sampler_unipc_class,
    sumi_sampler_deis_class, sumi_sampler_lcm_class, sumi_sampler_tcd_class;

/* ---- sampler-walk.c ---- */
/* Fills in steps, calls and start_scale. usage. */
gboolean sumi_sampler_plan_walk (SumiSampler *s, GError **error);

/* ---- sampler-parts.c ---- */
/* sigma after the deterministic part of an ancestral step, and of the noise that is then added
 * (Karras et al. 2022's ancestral sampling as k-diffusion writes it): down^2 + up^2 = to^2. */
typedef struct
{
  double down, up;
} SumiAncestral;

SumiAncestral sumi_sampler_ancestral (double from, double to, double eta);
SumiAncestral sumi_sampler_ancestral_step (const SumiSampler *s, guint step);
/* For second_sigma and noise of samplers with two stages: half-way in log sigma to the end of the step, or to the lower
 * sigma of an ancestral one, whose noise comes with the second call. */
double sumi_sampler_middle_sigma (const SumiSampler *s, guint step);
double sumi_sampler_ancestral_middle_sigma (const SumiSampler *s, guint step);
double sumi_sampler_ancestral_second_noise (const SumiSampler *s, const SumiSamplerCall *call);
/* Heun and DPM2 take the slope found at the end, or in the middle, for the whole step: what is wrong with it is
 * multiplied by the ratio of the sigmas.  Where a schedule leaves next to no signal (cosine, zero terminal SNR) the
 * first step comes down from thousands to ten or so, and only errors would remain: such a step is Euler's.  Not so with
 * follow_diffusers. */
gboolean sumi_sampler_comes_from_noise (const SumiSampler *s, guint step);
/* sigma_n sqrt (1 - e^(-2 eta h)), h the step in lambda: the noise of DPM-Solver++'s SDE, in the variance-preserving
 * view. */
double sumi_sampler_sde_noise (const SumiSampler *s, const SumiSamplerCall *call);
/* The noise of churning samplers, in the last call of a step: up to the sigma the next one begins with. */
double sumi_sampler_churn_noise (const SumiSampler *s, const SumiSamplerCall *call);
/* lambda = log (alpha / sigma) (Lu et al. 2022); how far it goes from one sigma to another, infinite to 0. */
double sumi_sampler_lambda_step (double from, double to);
/* How many of the last `order` predictions a multistep solver may use in this step: what it has seen, and fewer near
 * the end. */
guint sumi_sampler_usable_order (const SumiSampler *s, const SumiSamplerCall *call, guint order);

/* A coefficient and what it multiplies (n_values; not read where the coefficient is 0). */
typedef struct
{
  double c;
  const float *v;
} SumiTerm;

/* out = the sum of the terms, in double precision; out may be among them. */
void sumi_sampler_sum (const SumiSampler *s, float *out, const SumiTerm *terms, guint n);
#define SUMI_SUM(s, out, ...)                                                                                          \
  sumi_sampler_sum (s, out, (const SumiTerm[]){ __VA_ARGS__ }, G_N_ELEMENTS (((const SumiTerm[]){ __VA_ARGS__ })))

/* Puts a copy of n_values in front of the history. */
void sumi_sampler_remember (SumiSampler *s, const float *values);

G_END_DECLS
