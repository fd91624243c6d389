/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Samplers: from noise to a sample, one model call after the other.
 *
 *   s = sumi_sampler_new (name, &options, &error);
 *   sumi_sampler_start (s, noise, x);                             (text to image)
 *   first = 0;
 *   or: first = sumi_sampler_first_call (s, strength);            (image to image)
 *       sumi_sampler_add_noise (s, first, x_0, noise, x);
 *   for (call = first; call < sumi_sampler_get_n_calls (s); call++)
 *     sumi_sampler_model_input (s, call, x, input);
 *     output = model (input, sumi_sampler_get_timestep (s, call));
 *     noise = sumi_sampler_needs_noise (s, call) ? fresh normal values : NULL;
 *     sumi_sampler_step (s, call, x, output, NULL, noise);
 *
 * The model always sees the variance-preserving view, x_t = sqrt (alphas_cumprod_t) x_0 + sqrt (1 - alphas_cumprod_t)
 * eps.  x is in the view the sampler is defined in: that one, or k-diffusion's x_0 + sigma eps (Karras et al. 2022)
 * with sigma = sqrt ((1 - alphas_cumprod) / alphas_cumprod).  Calls follow one another: a sampler remembers the last
 * ones.  One sampler draws one picture; where the noise comes from is the caller's affair. */
#pragma once

#include "diffusion/sigmas.h"

G_BEGIN_DECLS

typedef struct
{
  const SumiSchedule *schedule; /* outlives the sampler */
  SumiPrediction prediction;

  /* Which noise levels are visited.  Either the diffusers scheduler of that name with this spacing, its peculiarities
   * included (sigmas NULL), or a list of sumi_sigmas_list() as A1111 and k-diffusion walk it. */
  guint steps; /* a sampler may call the model more often (Heun: 2 n - 1) */
  const char *sigmas;
  SumiSpacing spacing;
  guint steps_offset;         /* leading only */
  gboolean use_karras_sigmas; /* with sigmas NULL: diffusers' option of that name, where the scheduler has it */
  gboolean follow_diffusers;  /* also in what goes wrong there, to compare with it: PNDM and LMS where a walk begins
                                 later  (image to image), Heun where a step comes from almost no signal */
  gboolean set_alpha_to_one;  /* ddim, pndm: the last step lands on x_0, else on alphas_cumprod[0] */
  gboolean sdxl;              /* align_your_steps and gits: SDXL's table, else Stable Diffusion 1.5's */

  const guint *timesteps;     /* instead of all that: exactly these (strictly descending; `steps` of them), with … */
  double final_alpha_cumprod; /* … this after the last; 0: the walk ends on the last one, one model call less */

  gboolean clip_sample;  /* predicted x_0 to [-1,1] */
  SumiVariance variance; /* ddpm */
  /* Noise: ddim 0 to 1, default 0; ancestral and SDE samplers as they are defined at 1, their default; tcd: gamma,
   * default 0.3.  < 0: the sampler's own default. */
  double eta;
  double s_churn; /* euler, heun, dpm2: Karras et al. 2022, algorithm 2; 0 */
  guint order;    /* dpmpp_2m, unipc, deis (1 to 3), lms, pndm (1 to 4): at most this; 0: the sampler's own */
  gsize n_values; /* of x */
} SumiSamplerOptions;

typedef struct _SumiSampler SumiSampler;

/* usage for another name, wrong timesteps, steps or eta; out_of_memory. */
SumiSampler *sumi_sampler_new (const char *name, const SumiSamplerOptions *options, GError **error);
void sumi_sampler_free (SumiSampler *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiSampler, sumi_sampler_free)

guint sumi_sampler_get_n_calls (const SumiSampler *s);
/* What the model is told; may lie between two. */
double sumi_sampler_get_timestep (const SumiSampler *s, guint call);
/* k-diffusion's sigma of x before the call, at n_calls that of the end; may be infinite. */
double sumi_sampler_get_sigma (const SumiSampler *s, guint call);
gboolean sumi_sampler_needs_noise (const SumiSampler *s, guint call);

/* noise: n_values standard normal numbers -> the start of the first call (scaled as the sampler's scheduler does).
 * x may be noise. */
void sumi_sampler_start (const SumiSampler *s, const float *noise, float *x);
/* Image to image: the call to begin with, so that int (steps strength) steps are done (diffusers). n_calls at 0. */
guint sumi_sampler_first_call (const SumiSampler *s, double strength);
/* x_0 noised to where x is before `call`, in the sampler's view.  n_calls: x_0 itself (but for a walk that ends on a
 * timestep, noised to there). */
void sumi_sampler_add_noise (const SumiSampler *s, guint call, const float *x_0, const float *noise, float *x);
/* What the model sees. `input` may be x. */
void sumi_sampler_model_input (const SumiSampler *s, guint call, const float *x, float *input);
/* x is replaced.
 * output: n_values (twice that with SUMI_VARIANCE_LEARNED_RANGE: first the prediction, then the variance).
 * uncond: the unconditional output of the same call for CFG++ (Chung et al. 2024: x_0 from the guided output, the noise
 *   put back from the unconditional one), or NULL; ignored unless sumi_sampler_has_cfg_pp.
 * noise: n_values standard normal numbers; NULL where none are needed, else as if they were zero. */
void sumi_sampler_step (SumiSampler *s, guint call, float *x, const float *output, const float *uncond,
                        const float *noise);
gboolean sumi_sampler_has_cfg_pp (const char *name);
/* The spacing of the diffusers scheduler of that name where a model's settings say none. */
SumiSpacing sumi_sampler_default_spacing (const char *name);
/* The x_0 predicted by the last step, for previews. Borrowed. */
const float *sumi_sampler_peek_x_start (const SumiSampler *s);
/* TRUE: x is k-diffusion's (x_0 + sigma eps). For those who compare with a reference. */
gboolean sumi_sampler_is_sigma_view (const SumiSampler *s);

/* Names, NULL-terminated; and how others write it ("DPM++ 2M"). Static. */
const char *const *sumi_sampler_list (void);
const char *sumi_sampler_title (const char *name);
/* Also others' spellings ("DPM++ 2M", "Euler a", "k_euler", "dpmpp_2m"), with a schedule behind or not ("DPM++ 2M
 * Karras"); NULL when unknown.  And the list of sigmas that the schedule is, NULL without one. Static. */
const char *sumi_sampler_from_title (const char *title);
const char *sumi_sampler_sigmas_from_title (const char *title);
/* The list of sigmas that A1111's schedule type "Automatic" means for this sampler; NULL: by timesteps. */
const char *sumi_sampler_automatic_sigmas (const char *name);

G_END_DECLS
