/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parts of a pipeline, shared by the files that make it. */
#pragma once

#include "diffusion/autoencoder.h"
#include "diffusion/conditioner.h"
#include "diffusion/model.h"
#include "diffusion/pipeline.h"
#include "diffusion/sampler.h"
#include "engine/engine.h"
#include "nn/lora.h"
#include "nn/tokenizer.h"

G_BEGIN_DECLS

typedef struct
{
  gint64 samples, height, width; /* of the input */
  gint64 length;                 /* places of the text states; 0: the model takes no prompt */
} SumiDenoiserSize;

/* The compiled denoiser for one size, with buffers of its input and output. */
typedef struct
{
  SumiDenoiserSize size;
  SumiPlan *plan;
  SumiTensor *input, *output; /* F32 */
  SumiTensor *timestep;       /* F32 (samples) */
  guint64 conditions;         /* serial number of the text that is set; 0: none */
} SumiDenoiser;

/* An adapter as it is asked for: SumiAdapter arrays hold references. */
typedef struct
{
  SumiLora *lora;
  double unet_strength, text_strength;
} SumiAdapter;

GArray *sumi_adapters_new (void);
gboolean sumi_adapters_equal (const GArray *a, const GArray *b);

struct _SumiPipeline
{
  SumiModelConfig config;
  SumiSchedule *schedule;
  SumiTensorMap *weights;
  SumiEngine *engine;
  SumiDType dtype;
  guint threads;
  gboolean keep_warm;
  char *model, *version, *loras_folder, *embeddings_folder, *taef2;

  GPtrArray *parameters;     /* names of the denoiser's */
  GPtrArray *denoisers;      /* SumiDenoiser, the last used first */
  SumiPackedWeights *packed; /* their parameters; NULL while there is none */
  guint64 serial;            /* of the last text that was set anywhere */

  SumiConditioner *conditioner; /* NULL: the model takes no prompt */
  SumiAutoencoder *autoencoder; /* NULL: the model draws pixels */
  guint tile;                   /* its own */
  char *vae;                    /* path of the auto-encoder that is open, NULL: the model's own */

  SumiLoraTargets *targets;  /* made when they are first needed */
  GHashTable *loras;         /* path -> LoraFile: opened before */
  GArray *text_merged;       /* SumiAdapter: what is merged into the text encoders … */
  GArray *unet_merged;       /* … and into `packed` */
  SumiLoraStack *text_stack; /* the same, as sources of parameters */
  SumiLoraStack *unet_stack;
};

/* One picture of a request. */
typedef struct
{
  SumiRng rng;
  SumiPrompt *prompt, *negative; /* NULL: the model takes no prompt */
  GArray *adapters;              /* SumiAdapter */
  SumiTextStates cond, uncond;   /* empty where they are not asked */
  guint64 serial;                /* of both together */
  SumiTensor *start;             /* F32 (1,C,h,w): start noise */
  SumiTensor *original;          /* F32 (1,C,h,w): the picture to begin with; NULL: none */
  SumiTensor *beside;            /* F32 (1,K,h,w): channels behind the sample; NULL: none */
} SumiPicture;

/* What one request needs while it is drawn. */
typedef struct
{
  SumiPipeline *pipeline;
  const SumiRequest *request; /* complete */
  SumiResult *result;
  SumiShape shape; /* of one sample: (1,C,h,w) */
  gsize n_values;  /* of one sample */
  gsize n_output;  /* of the model's output for one sample */

  GPtrArray *pictures;    /* SumiPicture */
  SumiTensor *image;      /* F32 (1,3,H,W) in [-1,1]: the picture to begin with, padded to the sample's size */
  SumiTensor *mask;       /* F32 (h,w): how much of the sample may change */
  SumiTensor *image_mask; /* F32 (H,W): the same for `image` */
  float *input, *guided, *kept;

  SumiProgressFunc progress;
  gpointer user;
  guint step, n_steps;
  GCancellable *cancellable;
} SumiDrawing;

/* ---- pipeline-request.c ---- */
/* Checks everything, and says the sample's shape: (batch,C,h,w). */
gboolean sumi_pipeline_check_request (const SumiPipeline *p, const SumiRequest *r, SumiShape *sample, GError **error);
void sumi_pipeline_tell_ignored (const SumiPipeline *p, const SumiRequest *r, const SumiShape *sample,
                                 GPtrArray *notes);
/* Where a model without a spacing of its own leaves it to the sampler. */
SumiSpacing sumi_pipeline_spacing (const SumiPipeline *p, const char *sampler);
SumiPrediction sumi_pipeline_prediction (const SumiPipeline *p, const SumiRequest *r);
/* TRUE: both prompts are asked, somewhere on the way. */
gboolean sumi_request_is_guided (const SumiPipeline *p, const SumiRequest *r);

/* ---- pipeline-plans.c ---- */
void sumi_denoiser_free (SumiDenoiser *k);
/* Builds the networks once, at the model's own size, and checks the weights against them. */
gboolean sumi_pipeline_check_weights (SumiPipeline *p, GError **error);
/* The denoiser of that size with all parameters set: kept from before or compiled now. */
SumiDenoiser *sumi_pipeline_denoiser (SumiPipeline *p, const SumiDenoiserSize *size, GCancellable *cancellable,
                                      GError **error);
void sumi_pipeline_free_denoisers (SumiPipeline *p);

/* ---- pipeline-adapters.c ---- */
/* The adapters of one picture: the request's, then its prompt's; what is not found or does not fit is told.
 * Also lets the conditioner know the embeddings. */
gboolean sumi_pipeline_find_adapters (SumiPipeline *p, const SumiRequest *r, const SumiPrompt *prompt, GArray *adapters,
                                      GPtrArray *notes, GError **error);
gboolean sumi_pipeline_find_embeddings (SumiPipeline *p, const SumiRequest *r, GPtrArray *pictures, GPtrArray *notes,
                                        GError **error);
/* "name: hash, name: hash", for recipes; "" where none is known. Free with g_free. */
char *sumi_pipeline_lora_hashes (SumiPipeline *p, const GArray *adapters);
void sumi_pipeline_merge_text (SumiPipeline *p, const GArray *adapters);
/* Sets the touched parameters of the denoisers there are again, and no others. */
gboolean sumi_pipeline_merge_unet (SumiPipeline *p, const GArray *adapters, GError **error);
/* A parameter of the denoiser with what is merged into it. Transfer full. */
SumiTensor *sumi_pipeline_parameter (SumiPipeline *p, const char *name, GError **error);

/* ---- pipeline-text.c ---- */
/* Parses the prompts of all pictures, and encodes them. */
gboolean sumi_drawing_read_prompts (SumiDrawing *d, GError **error);
gboolean sumi_drawing_encode_prompts (SumiDrawing *d, GError **error);
/* Gives the denoiser what the picture's samples are conditioned on; branches: as many as it has samples. */
typedef enum
{
  SUMI_BRANCH_UNCOND,
  SUMI_BRANCH_IMAGE, /* instruct-pix2pix: the picture without the prompt */
  SUMI_BRANCH_COND
} SumiBranch;
gboolean sumi_drawing_set_conditions (SumiDrawing *d, SumiDenoiser *k, const SumiPicture *picture,
                                      const SumiBranch *branches, GError **error);

/* ---- pipeline-image.c ---- */
gboolean sumi_pipeline_open_vae (SumiPipeline *p, const char *path, GError **error);
/* Whether the model came without one, and a request has to bring it. */
gboolean sumi_pipeline_lacks_vae (const SumiPipeline *p);
/* Picture and mask of the request at the sizes drawn at. */
gboolean sumi_drawing_read_image (SumiDrawing *d, GError **error);
/* Draws the start noise of a picture, and encodes what it begins with, in the order of the reference. */
gboolean sumi_drawing_begin_picture (SumiDrawing *d, guint i, GError **error);
/* n normal values: the picture's next, or the tap's. */
gboolean sumi_drawing_draw (SumiDrawing *d, guint i, const char *kind, float *out, gsize n, GError **error);
/* A sample -> U8 (H,W,3) of the asked size. decoded: also as it comes from the decoder, or NULL. */
SumiTensor *sumi_drawing_decode (SumiDrawing *d, const float *x, SumiTensor **decoded, GError **error);
SumiTensor *sumi_drawing_preview (SumiDrawing *d, const float *x_start, GError **error);
/* Outside the mask the picture begun with is put back. */
void sumi_drawing_composite (SumiDrawing *d, SumiTensor *picture);

/* ---- pipeline-sample.c ---- */
/* x: F32 values of one sample, written. */
gboolean sumi_drawing_sample (SumiDrawing *d, guint i, float *x, GError **error);

/* ---- pipeline-run.c ---- */
void sumi_drawing_report (const SumiDrawing *d, SumiPhase phase, guint step, guint n_steps, SumiTensor *picture);

G_END_DECLS
