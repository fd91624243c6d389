/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a request to pictures: text encoder, sampler loop with classifier-free guidance (Ho & Salimans 2022:
 * uncond + w (cond - uncond)), decoder.  One pipeline keeps its compiled plans warm between requests. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#include "base/rng.h"
#include "tensor/tensor-map.h"

G_BEGIN_DECLS

typedef struct
{
  const char *prompt; /* UTF-8; NULL or "" for none */
  const char *negative_prompt;
  guint width, height;   /* pixels; 0: the model's own size */
  guint steps;           /* 1..1000 */
  double guidance_scale; /* 1: no guidance, one model call a step */
  const char *sampler;   /* "ddim" or "ddpm" */
  double eta;            /* ddim */
  guint64 seed;
  SumiRngKind rng;
  guint batch;                  /* pictures; picture i is drawn with seed + i */
  const SumiTensor *init_noise; /* instead of the drawn start noise, or NULL */
} SumiRequest;

void sumi_request_init (SumiRequest *r); /* defaults */

typedef enum
{
  SUMI_PHASE_LOAD,
  SUMI_PHASE_TEXT,
  SUMI_PHASE_SAMPLE,
  SUMI_PHASE_DECODE
} SumiPhase;

/* On the calling thread. step of n_steps done; picture: U8 (H,W,3) preview or NULL. */
typedef void (*SumiProgressFunc) (SumiPhase phase, guint step, guint n_steps, SumiTensor *picture, gpointer user);

typedef struct
{
  const char *engine; /* NULL: best */
  SumiDType dtype;    /* SUMI_F32 or SUMI_BF16 */
  guint threads;      /* 0: all */
  const char *merges; /* path of the CLIP merges (text models) */
} SumiPipelineOptions;

typedef struct
{
  GPtrArray *images;   /* SumiTensor U8 (H,W,3) */
  SumiTensor *latents; /* F32 (N,C,h,w): the sampler's last state */
  GPtrArray *notes;    /* char*: what was ignored, cut or scaled, for the user */
  char *parameters;    /* A1111 text of the first picture; picture i: sumi_result_parameters */
} SumiResult;

void sumi_result_free (SumiResult *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiResult, sumi_result_free)

typedef struct _SumiPipeline SumiPipeline;

/* weights + configuration of one model (models/ finds both).  config: {"family": "simple-unet" | "ddpm" |
 * "sumi-latent", …}, see docs/FORMATS.md. */
SumiPipeline *sumi_pipeline_new (SumiTensorMap *weights, JsonObject *config, const SumiPipelineOptions *options,
                                 GError **error);
void sumi_pipeline_free (SumiPipeline *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiPipeline, sumi_pipeline_free)

/* NULL on error or cancellation (checked between nodes). */
SumiResult *sumi_pipeline_run (SumiPipeline *p, const SumiRequest *request, SumiProgressFunc progress, gpointer user,
                               GCancellable *cancellable, GError **error);

G_END_DECLS
