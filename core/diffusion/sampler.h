/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Samplers: from noise to a sample, one model call after the other, along a list of timesteps.
 *
 *   for (call = 0; call < sumi_sampler_get_n_calls (s); call++)
 *     output = model (x, sumi_sampler_get_timestep (s, call));
 *     noise = sumi_sampler_needs_noise (s, call) ? fresh normal values : NULL;
 *     sumi_sampler_step (s, call, x, output, noise);
 *
 * x is in the variance-preserving view of every sampler: x_t = sqrt (alphas_cumprod_t) x_0 + sqrt (1 - …) eps, which is
 * also what the model sees.  One sampler draws one picture; where the noise comes from is the caller's affair. */
#pragma once

#include "diffusion/schedule.h"

G_BEGIN_DECLS

typedef struct
{
  const SumiSchedule *schedule; /* outlives the sampler */
  SumiPrediction prediction;
  const guint *timesteps; /* strictly descending, below schedule->T; copied */
  guint n_timesteps;
  /* alphas_cumprod of the place where the step from the last timestep lands: 1 is x_0.
   * 0: no such step; the walk ends on the last timestep, one model call less. */
  double final_alpha_cumprod;
  gboolean clip_sample;  /* predicted x_0 to [-1,1] */
  SumiVariance variance; /* ddpm */
  double eta;            /* ddim: 0 is deterministic, 1 as much noise as ddpm */
  gsize n_values;        /* of x */
} SumiSamplerOptions;

typedef struct _SumiSampler SumiSampler;

/* "ddim", "ddpm"; usage for another name, wrong timesteps or eta; out_of_memory. */
SumiSampler *sumi_sampler_new (const char *name, const SumiSamplerOptions *options, GError **error);
void sumi_sampler_free (SumiSampler *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiSampler, sumi_sampler_free)

guint sumi_sampler_get_n_calls (const SumiSampler *s);
guint sumi_sampler_get_timestep (const SumiSampler *s, guint call); /* what the model is asked at */
gboolean sumi_sampler_needs_noise (const SumiSampler *s, guint call);
/* x is replaced.  model_output: n_values (twice that with SUMI_VARIANCE_LEARNED_RANGE: first the prediction, then the
 * variance).  noise: n_values standard normal numbers; NULL where none are needed, else as if they were zero. */
void sumi_sampler_step (SumiSampler *s, guint call, float *x, const float *model_output, const float *noise);
/* The x_0 predicted by the last step, for previews. Borrowed. */
const float *sumi_sampler_peek_x_start (const SumiSampler *s);

/* Names, NULL-terminated; and how others write it ("DDIM"). Static. */
const char *const *sumi_sampler_list (void);
const char *sumi_sampler_title (const char *name);

/* ---- for samplers: one file each ---- */
typedef struct
{
  const char *name, *title;
  /* from and to: alphas_cumprod before and after this step; x_start and eps are predicted (and clipped). */
  gboolean (*needs_noise) (const SumiSampler *s, double from, double to);
  void (*step) (const SumiSampler *s, double from, double to, float *x, const float *variance, const float *noise);
} SumiSamplerClass;

struct _SumiSampler
{
  const SumiSamplerClass *klass;
  SumiSamplerOptions o;
  guint *timesteps;
  float *x_start, *eps; /* n_values each */
};

extern const SumiSamplerClass sumi_sampler_ddim_class;
extern const SumiSamplerClass sumi_sampler_ddpm_class;

G_END_DECLS
