/* SPDX-License-Identifier: GPL-3.0-or-later */
/* diffusers' scheduler_config.json: the noise schedule a model was trained under, and the sampler its authors draw
 * with.  What would change the pictures and is not built is refused; what concerns one sampler is its affair. */
#include "diffusion/model-private.h"
#include "nn/config.h"

#include <string.h>

/* diffusers' scheduler classes. NULL: another noise process than this program's (EDM, flow matching …). */
static const struct
{
  const char *class, *sampler;
} classes[] = {
  { "DDPMScheduler", "ddpm" },
  { "DDPMParallelScheduler", "ddpm" },
  { "DDIMScheduler", "ddim" },
  { "DDIMParallelScheduler", "ddim" },
  { "PNDMScheduler", "pndm" },
  { "LMSDiscreteScheduler", "lms" },
  { "EulerDiscreteScheduler", "euler" },
  { "EulerAncestralDiscreteScheduler", "euler_a" },
  { "HeunDiscreteScheduler", "heun" },
  { "KDPM2DiscreteScheduler", "dpm2" },
  { "KDPM2AncestralDiscreteScheduler", "dpm2_a" },
  { "DPMSolverMultistepScheduler", "dpmpp_2m" },
  { "DPMSolverSinglestepScheduler", "dpmpp_2m" },
  { "DPMSolverSDEScheduler", "dpmpp_sde" },
  { "UniPCMultistepScheduler", "unipc" },
  { "DEISMultistepScheduler", "deis" },
  { "LCMScheduler", "lcm" },
  { "TCDScheduler", "tcd" },
  { "EDMEulerScheduler", NULL },
  { "EDMDPMSolverMultistepScheduler", NULL },
  { "CosineDPMSolverMultistepScheduler", NULL },
  { "FlowMatchEulerDiscreteScheduler", NULL },
  { "FlowMatchHeunDiscreteScheduler", NULL },
  { "FlowMatchLCMScheduler", NULL },
  { "ScoreSdeVeScheduler", NULL },
  { "ScoreSdeVpScheduler", NULL },
  { "KarrasVeScheduler", NULL },
  { "UnCLIPScheduler", NULL },
  { "VQDiffusionScheduler", NULL },
  { "CMStochasticIterativeScheduler", NULL },
};

/* Noise levels that a sampler of diffusers is switched to. */
static const struct
{
  const char *field, *sigmas;
} sigma_switches[]
    = { { "use_karras_sigmas", "karras" }, { "use_exponential_sigmas", "exponential" }, { "use_beta_sigmas", "beta" } };

void
sumi_model_scheduler_defaults (SumiModelConfig *c)
{
  gboolean sd = sumi_model_is_stable_diffusion (c);

  c->betas = sd ? SUMI_BETAS_SCALED_LINEAR : SUMI_BETAS_LINEAR;
  c->num_train_timesteps = 1000;
  c->beta_start = sd ? 0.00085 : 1e-4;
  c->beta_end = sd ? 0.012 : 0.02;
  c->prediction = SUMI_PREDICT_EPSILON;
  c->variance = SUMI_VARIANCE_FIXED_SMALL;
  c->clip_sample = c->family == SUMI_FAMILY_SIMPLE_UNET || c->family == SUMI_FAMILY_DDPM;
  c->spacing = sd ? SUMI_SPACING_LEADING : SUMI_SPACING_TRAILING;
  c->steps_offset = sd ? 1 : 0;
  c->set_alpha_to_one = !sd;
  c->defaults.sampler = sd ? "euler" : "ddim";
}

gboolean
sumi_model_check_process (JsonObject *json, GError **error)
{
  const char *name = NULL;

  if (!sumi_config_string (json, "_class_name", &name, NULL))
    return TRUE; /* refused with the other fields */
  for (guint i = 0; name != NULL && i < G_N_ELEMENTS (classes); i++)
    if (classes[i].sampler == NULL && strcmp (name, classes[i].class) == 0)
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
                     "found a model of another noise process (%s), expected one of discrete diffusion", name);
        return FALSE;
      }
  return TRUE;
}

static gboolean
read_class (JsonObject *json, SumiModelConfig *c, GError **error)
{
  const char *name = NULL, *algorithm = NULL;

  if (!sumi_config_string (json, "_class_name", &name, error)
      || !sumi_config_string (json, "algorithm_type", &algorithm, error))
    return FALSE;
  for (guint i = 0; name != NULL && i < G_N_ELEMENTS (classes); i++)
    if (strcmp (name, classes[i].class) == 0)
      c->defaults.sampler = classes[i].sampler;
  if (g_strcmp0 (algorithm, "sde-dpmsolver++") == 0 && strcmp (c->defaults.sampler, "dpmpp_2m") == 0)
    c->defaults.sampler = "dpmpp_2m_sde";
  return TRUE;
}

static gboolean
read_sigmas (JsonObject *json, SumiModelConfig *c, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (sigma_switches); i++)
    {
      gboolean on = FALSE;

      if (!sumi_config_bool (json, sigma_switches[i].field, &on, error))
        return FALSE;
      if (on)
        c->defaults.sigmas = sigma_switches[i].sigmas;
    }
  return TRUE;
}

static gboolean
scheduler_is_plain (JsonObject *json, const SumiModelConfig *c, GError **error)
{
  double range = 1;

  return sumi_config_must_be (json, "thresholding", "false", error)
         && sumi_config_must_be (json, "trained_betas", "null", error)
         && sumi_config_must_be (json, "use_flow_sigmas", "false", error)
         && sumi_config_must_be (json, "timestep_type", "\"discrete\"", error)
         && (!c->clip_sample || sumi_config_double (json, "clip_sample_range", 1, 1, &range, error));
}

static gboolean
read_spacing (JsonObject *json, SumiModelConfig *c, GError **error)
{
  const char *spacing = NULL;

  if (!sumi_config_string (json, "timestep_spacing", &spacing, error))
    return FALSE;
  if (spacing != NULL)
    return sumi_spacing_parse (spacing, &c->spacing, error);
  /* diffusers writes its class into every scheduler file, and where the spacing is left out every class has its own;
   * leading is that of DDPM, DDIM and PNDM */
  if (json_object_has_member (json, "_class_name"))
    {
      c->spacing = SUMI_SPACING_LEADING;
      c->spacing_by_sampler = TRUE;
    }
  return TRUE;
}

gboolean
sumi_model_parse_scheduler (JsonObject *json, SumiModelConfig *c, GError **error)
{
  static const char *const variances[] = { "fixed_small", "fixed_large", "learned_range", NULL };
  const char *betas = NULL, *prediction = NULL;
  guint variance = c->variance;

  if (!read_class (json, c, error) || !read_sigmas (json, c, error) || !read_spacing (json, c, error)
      || !sumi_config_uint (json, "num_train_timesteps", 1, 100000, &c->num_train_timesteps, error)
      || !sumi_config_string (json, "beta_schedule", &betas, error)
      || !sumi_config_double (json, "beta_start", 1e-12, 0.9999, &c->beta_start, error)
      || !sumi_config_double (json, "beta_end", 1e-12, 0.9999, &c->beta_end, error)
      || !sumi_config_string (json, "prediction_type", &prediction, error)
      || !sumi_config_choice (json, "variance_type", variances, &variance, error)
      || !sumi_config_bool (json, "clip_sample", &c->clip_sample, error)
      || !sumi_config_uint (json, "steps_offset", 0, 1000, &c->steps_offset, error)
      || !sumi_config_bool (json, "set_alpha_to_one", &c->set_alpha_to_one, error)
      || !sumi_config_bool (json, "rescale_betas_zero_snr", &c->rescale_betas_zero_snr, error)
      || !scheduler_is_plain (json, c, error))
    return FALSE;
  c->variance = (SumiVariance)variance;
  if ((betas != NULL && !sumi_beta_kind_parse (betas, &c->betas, error))
      || (prediction != NULL && !sumi_prediction_parse (prediction, &c->prediction, error)))
    return FALSE;
  if (c->betas != SUMI_BETAS_COSINE && c->beta_start > c->beta_end)
    return sumi_refuse (error, SUMI_ERROR_BAD_CONFIG, "beta_start: found %g, expected at most beta_end %g",
                        c->beta_start, c->beta_end);
  return TRUE;
}

SumiSchedule *
sumi_model_schedule_new (const SumiModelConfig *c, GError **error)
{
  SumiSchedule *s = sumi_schedule_new (c->betas, c->num_train_timesteps, c->beta_start, c->beta_end, error);

  if (s != NULL && c->rescale_betas_zero_snr)
    sumi_schedule_rescale_zero_snr (s);
  return s;
}
