/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Noise schedules, the forward process and the algebra of prediction types.
 * All tables are computed in double precision.
 *   alpha_t = 1 - beta_t,  alphas_cumprod_t = prod alpha_s                           (Ho et al. 2020)
 *   q(x_t | x_0):  x_t = sqrt (alphas_cumprod_t) x_0 + sqrt (1 - alphas_cumprod_t) eps
 *   posterior_variance_t = beta_t (1 - alphas_cumprod_{t-1}) / (1 - alphas_cumprod_t)  (Ho et al. 2020, eq. 7)
 */
#pragma once

#include "tensor/tensor.h"

G_BEGIN_DECLS

typedef enum
{
  SUMI_BETAS_LINEAR,        /* linspace (beta_start, beta_end, T) */
  SUMI_BETAS_SCALED_LINEAR, /* linspace (sqrt, sqrt, T)^2: Stable Diffusion */
  SUMI_BETAS_COSINE,        /* Nichol & Dhariwal 2021: s = 0.008, betas at most 0.999 */
  SUMI_BETAS_QUADRATIC,     /* as golden/schedule-quadratic */
  SUMI_BETAS_SIGMOID,
  SUMI_N_BETAS
} SumiBetaKind;

typedef enum
{
  SUMI_PREDICT_EPSILON,
  SUMI_PREDICT_V,     /* v = sqrt (ac) eps - sqrt (1 - ac) x_0; Salimans & Ho 2022 */
  SUMI_PREDICT_SAMPLE /* x_0 */
} SumiPrediction;

/* Which n of the T training timesteps are visited (Lin et al. 2023, table 2).  "leading" never reaches T-1, "trailing"
 * always begins there. */
typedef enum
{
  SUMI_SPACING_LEADING,  /* i (T / n) + steps_offset */
  SUMI_SPACING_LINSPACE, /* n from 0 to T-1, both ends, rounded half to even (numpy) */
  SUMI_SPACING_TRAILING, /* round (T - i T / n) - 1 */
  SUMI_N_SPACINGS
} SumiSpacing;

/* The variance of a DDPM step. */
typedef enum
{
  SUMI_VARIANCE_FIXED_SMALL,  /* the posterior variance (Ho et al. 2020, eq. 7) */
  SUMI_VARIANCE_FIXED_LARGE,  /* beta */
  SUMI_VARIANCE_LEARNED_RANGE /* the model's second half of channels interpolates between the two, in the logarithm
                                 (Nichol & Dhariwal 2021, eq. 15) */
} SumiVariance;

const char *sumi_beta_kind_name (SumiBetaKind k); /* "linear", "scaled_linear", "cosine", "quadratic", "sigmoid" */
/* bad_config; also "squaredcos_cap_v2" */
gboolean sumi_beta_kind_parse (const char *s, SumiBetaKind *k, GError **error);
const char *sumi_prediction_name (SumiPrediction p); /* "epsilon", "v_prediction", "sample" */
gboolean sumi_prediction_parse (const char *s, SumiPrediction *p, GError **error);
const char *sumi_spacing_name (SumiSpacing s); /* "leading", "linspace", "trailing" */
gboolean sumi_spacing_parse (const char *s, SumiSpacing *spacing, GError **error);

typedef struct
{
  guint T;
  double *betas;
  double *alphas_cumprod;
  double *posterior_variance;
} SumiSchedule;

/* T in [1, 100000]; 0 < beta_start <= beta_end < 1 (unused by cosine). */
SumiSchedule *sumi_schedule_new (SumiBetaKind kind, guint T, double beta_start, double beta_end, GError **error);
/* Lin et al. 2023: the last timestep becomes pure noise, alphas_cumprod 0 and beta 1, the first one stays as it is. */
void sumi_schedule_rescale_zero_snr (SumiSchedule *s);
void sumi_schedule_free (SumiSchedule *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiSchedule, sumi_schedule_free)

/* n timesteps, descending, all different, in [0,T): out has n places.  FALSE (usage) unless 1 <= n <= T and, for
 * leading, the offset keeps them inside. */
gboolean sumi_schedule_timesteps (guint T, SumiSpacing spacing, guint steps_offset, guint n, guint *out,
                                  GError **error);

/* The i-th of those n, from the highest down; linspace's before rounding.  Not checked. */
double sumi_schedule_spaced (guint T, SumiSpacing spacing, guint steps_offset, guint n, guint i);

double sumi_schedule_snr (const SumiSchedule *s, guint t); /* ac / (1 - ac) */
/* min-SNR-gamma weight (Hang et al. 2023): epsilon min(snr,g)/snr, v min(snr,g)/(snr+1), sample min(snr,g).
 * gamma 0: 1. */
double sumi_schedule_min_snr_weight (const SumiSchedule *s, guint t, SumiPrediction p, double gamma);

/* n values each; out may be an input. */
void sumi_schedule_q_sample (const SumiSchedule *s, guint t, const float *x_start, const float *noise, float *out,
                             gsize n);
/* The training target for a prediction type. */
void sumi_schedule_target (const SumiSchedule *s, guint t, SumiPrediction p, const float *x_start, const float *noise,
                           float *out, gsize n);
/* Model output at x_t -> predicted x_0 and eps (either may be NULL). */
void sumi_schedule_predict (const SumiSchedule *s, guint t, SumiPrediction p, const float *x_t,
                            const float *model_output, float *x_start, float *eps, gsize n);
/* The same at any alphas_cumprod, for an x that is x_t / scale. */
void sumi_predict (double alphas_cumprod, double scale, SumiPrediction p, const float *x, const float *model_output,
                   float *x_start, float *eps, gsize n);

G_END_DECLS
