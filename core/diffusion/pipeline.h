/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a request to pictures: prompt, adapters, text encoders, the sampler's loop under guidance, auto-encoder; from
 * noise, from a picture (SDEdit, Meng et al. 2021), or within a mask.
 *
 * A pipeline opens its model once and draws one request after the other. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#include "base/rng.h"
#include "diffusion/prompt.h"
#include "diffusion/sampler.h"
#include "tensor/tensor-map.h"

G_BEGIN_DECLS

#define SUMI_MIN_SIDE 16
#define SUMI_MAX_SIDE 4096
#define SUMI_MAX_STEPS 1000
#define SUMI_MAX_BATCH 64
#define SUMI_MAX_GUIDANCE 100.0
#define SUMI_MAX_CLIP_SKIP 12
#define SUMI_MAX_ADAPTERS 64
#define SUMI_MODEL_OWN (-1.0)  /* for guidance_scale and eta: what the model, or the sampler, is made for */
#define SUMI_CFG_PP_SCALE 12.5 /* guidance scales above 1 are divided by this for CFG++ */

typedef struct
{
  const char *path; /* a file as io/weights.h reads it; its stem is the adapter's name */
  double unet_strength, text_strength;
} SumiRequestLora;

typedef enum
{
  SUMI_PREVIEW_FULL, /* as the finished picture is decoded */
  SUMI_PREVIEW_ROUGH /* of latents one linear map a value, at the picture's size: costs nothing */
} SumiPreview;

typedef struct
{
  /* ---- what ---- */
  const char *prompt; /* UTF-8; NULL or "" for none; the language of diffusion/prompt.h */
  const char *negative_prompt;
  SumiEmphasis emphasis;
  gboolean one_chunk;           /* what one chunk of 75 tokens does not hold is cut, as by the reference pipelines */
  guint clip_skip;              /* A1111's count; 0: the model's own */
  const SumiRequestLora *loras; /* beside those in the prompt */
  guint n_loras;
  const char *const *embeddings; /* paths, NULL-terminated, or NULL; those the prompt names are found by themselves */
  const char *vae;               /* path of another auto-encoder, or NULL */
  guint width, height;           /* pixels; 0: those of `image`, else the model's own */
  guint batch;                   /* pictures; picture i is drawn with seed + i */

  /* ---- how ---- */
  guint steps;                /* 1..SUMI_MAX_STEPS; 0: the model's own */
  const char *sampler;        /* sumi_sampler_list(); NULL: the model's own, with its noise levels */
  const char *sigmas;         /* sumi_sigmas_list(), "automatic": those of the sampler and the model's spacing; NULL:
                                 the model's own where it chooses the sampler too, else automatic */
  gboolean use_karras_sigmas; /* with automatic levels: as diffusers' schedulers do under that option */
  gboolean follow_diffusers;  /* its mistakes included (diffusion/sampler.h): to compare with it */
  const char *prediction;     /* "epsilon", "v_prediction", "sample"; NULL: the model's own */
  guint order;                /* of multistep samplers; 0: the sampler's own */
  double eta;                 /* noise of the sampler, 0..1, or SUMI_MODEL_OWN */
  guint64 seed;
  SumiRngKind rng;

  /* ---- guidance ---- */
  double guidance_scale;   /* 1: the prompt alone, 0: the negative prompt alone, one model call each; SUMI_MODEL_OWN */
  double guidance_rescale; /* 0..1: phi of Lin et al. 2023 */
  double guidance_low, guidance_high; /* only where low < sigma <= high, else the prompt alone (Kynkäänniemi et al.
                                         2024); 0 and infinity: everywhere */
  double image_guidance_scale;        /* instruct-pix2pix (Brooks et al. 2023) only */
  gboolean cfg_pp; /* CFG++ (Chung et al. 2024); guidance_scale is then 0..1, or divided by 12.5 above */

  /* ---- from a picture ---- */
  SumiTensor *image;  /* U8 (H,W,3), or F32 (1,3,H,W) in [0,1]: what to begin with; scaled to cover the size; or NULL */
  double strength;    /* 0..1: how much of the way is drawn; 1 begins with noise alone where there is a mask */
  SumiTensor *mask;   /* U8 (H,W), (H,W,1) or F32 (1,1,H,W), of the picture's size: how much may change, 0 to 1.  Grey:
                         the place joins after the part of the steps that is missing to 1 (Levin & Fried 2023) */
  gboolean composite; /* the result outside the mask is the picture itself, to the byte */

  const SumiTensor *init_noise;       /* instead of the drawn start noise: (batch,C,h,w) of the sample, or NULL */
  SumiPreview preview;                /* the progress function gets a picture … */
  guint preview_every;                /* … every so many steps; 0: never */
  guint tile;                         /* latents a side of the auto-encoder's tiles; 0: as it likes */
  gboolean keep_decoded;              /* result->decoded */
  const struct _SumiPipelineTap *tap; /* for comparison with a reference, or NULL */
} SumiRequest;

void sumi_request_init (SumiRequest *r); /* everything as the model has it, one picture from noise, seed 0 */

/* Looks into a run, or takes over its draws.  All may be NULL; picture: which of the batch. */
typedef struct _SumiPipelineTap
{
  /* Instead of the generator: n normal values. kind: "latent" (start noise), "vae" (sample of the posterior), "step".
   */
  gboolean (*draw) (guint picture, const char *kind, float *out, gsize n, gpointer user, GError **error);
  /* The text states: (1,S,D), and (1,P) or NULL where there are none; of the prompts that are asked. */
  gboolean (*text) (guint picture, const char *prompt_or_negative, const SumiTensor *states, const SumiTensor *pooled,
                    gpointer user, GError **error);
  /* Before the first call. */
  void (*walk) (guint picture, const SumiSampler *sampler, gpointer user);
  /* x after the step of `call` (in the sampler's view), n values. */
  gboolean (*step) (guint picture, guint call, const float *x, gsize n, gpointer user, GError **error);
  /* How many samples the model was asked for at once: 1, 2 (guided), 3 (instruct-pix2pix). */
  void (*asked) (guint picture, guint call, guint samples, gpointer user);
  gpointer user;
} SumiPipelineTap;

typedef enum
{
  SUMI_PHASE_LOAD,
  SUMI_PHASE_TEXT,
  SUMI_PHASE_SAMPLE,
  SUMI_PHASE_DECODE
} SumiPhase;

const char *sumi_phase_name (SumiPhase phase); /* "load", "text", "sample", "decode" */

/* On the calling thread. step of n_steps done, all pictures of the batch together; picture: U8 (H,W,3), what the
 * picture being drawn is expected to become, or NULL. */
typedef void (*SumiProgressFunc) (SumiPhase phase, guint step, guint n_steps, SumiTensor *picture, gpointer user);

typedef struct
{
  const char *engine;  /* NULL: best */
  SumiDType dtype;     /* SUMI_F32 or SUMI_BF16 (of the denoising network; text encoder and decoder are F32) */
  guint threads;       /* 0: all */
  const char *merges;  /* path of the CLIP merges (text models) */
  const char *taef2;   /* path of the TAEF2 weights (latent models) */
  const char *model;   /* name for the recipe, or NULL */
  const char *version; /* of the program, for the recipe, or NULL */
  const char *loras;   /* folders where adapters and embeddings that a prompt names are looked for, or NULL */
  const char *embeddings;
  gboolean keep_warm; /* compiled networks are kept for the next request; else each is freed when it has done its
                         part, so that the largest alone sets the memory needed */
} SumiPipelineOptions;

typedef struct
{
  GPtrArray *images;     /* SumiTensor U8 (H,W,3) */
  SumiTensor *latents;   /* F32 (N,C,h,w): the sampler's last state */
  SumiTensor *decoded;   /* F32 (N,3,8h,8w) about [-1,1], neither cut nor composed; with keep_decoded only */
  GPtrArray *notes;      /* char*: what was ignored, cut or scaled, for the user */
  GPtrArray *parameters; /* char*: the recipe of each picture, as AUTOMATIC1111's web UI writes it */
  /* Of the first picture's prompts as far as they are asked, 75 to a chunk; 0 for families other than Stable Diffusion,
   * whose context is one small chunk. */
  guint n_tokens, n_negative_tokens;
} SumiResult;

void sumi_result_free (SumiResult *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiResult, sumi_result_free)

typedef struct _SumiPipeline SumiPipeline;

/* weights (canonical names) + configuration of one model (models/ finds both), see diffusion/model.h.  Everything the
 * networks need is looked for here, with its shape; that the numbers are finite is checked where they are used for
 * Stable Diffusion, and here for the small families. */
SumiPipeline *sumi_pipeline_new (SumiTensorMap *weights, JsonObject *config, const SumiPipelineOptions *options,
                                 GError **error);
void sumi_pipeline_free (SumiPipeline *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiPipeline, sumi_pipeline_free)

gboolean sumi_pipeline_takes_prompt (const SumiPipeline *p);
void sumi_pipeline_get_size (const SumiPipeline *p, guint *width, guint *height); /* the model's own */
/* Fills in what the request leaves to the model: steps, sampler, sigmas, guidance_scale, width, height. */
void sumi_pipeline_complete_request (const SumiPipeline *p, SumiRequest *r);

/* NULL on error or cancellation (checked between nodes). The same request on the same machine gives the same bytes;
 * a picture does not depend on the batch it is drawn in. */
SumiResult *sumi_pipeline_run (SumiPipeline *p, const SumiRequest *request, SumiProgressFunc progress, gpointer user,
                               GCancellable *cancellable, GError **error);

G_END_DECLS
