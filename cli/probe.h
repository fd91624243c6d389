/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the components of `sumi probe` share. A component reads its case's parameters and tensors, and adds what it
 * computes to `out` under the names of the reference. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#include "diffusion/model.h"
#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct
{
  const char *root;     /* holds cases/ and models/ */
  gboolean single_file; /* models/NAME.safetensors even where there is a folder */
  JsonObject *json;     /* case.json */
  JsonObject *params;   /* its "params"; empty when it has none */
  SumiTensorMap *in, *out;
  SumiEngine *engine;
  SumiCompileOptions options;
} Probe;

typedef gboolean (*ProbeFunc) (Probe *p, GError **error);

/* ---- components (probe-*.c) ---- */
gboolean probe_schedule (Probe *p, GError **error);
gboolean probe_unet (Probe *p, GError **error);
gboolean probe_unet_backward (Probe *p, GError **error);
gboolean probe_text_encoder (Probe *p, GError **error);
gboolean probe_vae_encoder (Probe *p, GError **error);
gboolean probe_vae_decoder (Probe *p, GError **error);
gboolean probe_vae_train (Probe *p, GError **error);
gboolean probe_taef2_encode (Probe *p, GError **error);
gboolean probe_taef2_decode (Probe *p, GError **error);
gboolean probe_textual_inversion (Probe *p, GError **error);
gboolean probe_tokenizer (Probe *p, GError **error);
gboolean probe_generate (Probe *p, GError **error); /* also img2img and inpaint */
gboolean probe_randn (Probe *p, GError **error);
gboolean probe_p_sample_loop (Probe *p, GError **error);
gboolean probe_lora (Probe *p, GError **error);
gboolean probe_ddim_sample (Probe *p, GError **error);
gboolean probe_ddpm_sample (Probe *p, GError **error);
gboolean probe_ddpm_train (Probe *p, GError **error);

/* ---- tensors (probe-tensors.c) ---- */
/* An input as F32 of this rank (0: any), with at least one value; transfer full. */
SumiTensor *probe_in (Probe *p, const char *name, guint rank, GError **error);
/* TRUE without a value when there is no such input. */
gboolean probe_in_optional (Probe *p, const char *name, guint rank, SumiTensor **t, GError **error);
/* The same; an integer input is turned into floating point (timesteps). */
SumiTensor *probe_in_number (Probe *p, const char *name, guint rank, GError **error);
/* As I64, each from 0 to max. */
SumiTensor *probe_in_index (Probe *p, const char *name, guint rank, gint64 max, GError **error);
/* shape_mismatch with this name unless equal. */
gboolean probe_check_shape (const char *name, const SumiTensor *t, const SumiShape *want, GError **error);
/* A new zeroed F32 or I64 output; borrowed, NULL on error. */
SumiTensor *probe_out (Probe *p, const char *name, SumiDType dtype, const SumiShape *shape, GError **error);
/* A plan's output, as F32 whatever it computed in, into `out` (name) or to the caller. */
SumiTensor *probe_read (SumiPlan *plan, const char *output, GError **error);
gboolean probe_store (Probe *p, SumiPlan *plan, const char *output, GError **error);

/* ---- models (probe-model.c) ---- */
typedef struct
{
  SumiTensorMap *weights; /* names as in diffusion/model.h */
  SumiModelConfig config;
} ProbeModel;

/* The case's model. */
gboolean probe_model_open (Probe *p, ProbeModel *model, GError **error);
/* The same, and unknown_model unless it draws pixels. */
gboolean probe_model_open_pixels (Probe *p, ProbeModel *model, GError **error);
/* Of a folder that is no whole model the networks there are; *found: whether there is any (probe-parts.c). */
gboolean probe_parts_open (const char *folder, ProbeModel *model, gboolean *found, GError **error);
void probe_model_clear (ProbeModel *model);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ProbeModel, probe_model_clear)
/* `prefix` where the model's parameters are named by their networks, "" for models of pixels. */
const char *probe_model_prefix (const ProbeModel *model, const char *prefix);
/* missing_tensor unless the model has weights of this network ("vae"). */
gboolean probe_model_needs (const ProbeModel *model, const char *network, GError **error);
/* conditioning NULL: none. */
SumiNode *probe_model_denoiser (SumiModule *m, const ProbeModel *model, SumiNode *sample, SumiNode *timestep,
                                const SumiUnetConditioning *conditioning);
/* A file under models/, whose names come from the case: unsafe_path when they lead elsewhere. Free with g_free. */
char *probe_model_path (Probe *p, const char *suffix, GError **error);
/* Checks the module's weights, compiles, sets all parameters. */
SumiPlan *probe_compile (Probe *p, SumiModule *m, const SumiTensorMap *weights, GError **error);

/* "schedule", "T", "beta_start" and "beta_end" of the parameters. */
SumiSchedule *probe_params_schedule (Probe *p, GError **error);

/* ---- gradients (probe-gradients.c) ---- */
typedef struct
{
  Probe *p;
  char *prefix;      /* of the model's parameters, but not of the case's names */
  GPtrArray *params; /* names, in the order of the case's param_order; else of declaration */
  GArray *shapes;    /* SumiShape */
} ProbeGradients;

/* The mean squared difference of all values. */
SumiNode *probe_mse (SumiGraph *g, SumiNode *a, SumiNode *b);
/* Adds outputs to the graph: "grad.NAME", the gradient of the loss to every parameter, and "grad_INPUT" to the inputs
 * named (NULL: none). Fails where the graph is poisoned. */
gboolean probe_gradients_build (ProbeGradients *t, Probe *p, SumiModule *m, const char *prefix, SumiNode *loss,
                                const char *const *inputs, GError **error);
/* Stores the gradients of the last run: norm, sum and samples of all ("grad_l2", "grad_sum", "grad_probe"), and as a
 * whole those of at most "limit" values (`limit`, where the case does not say), or listed in "full". */
gboolean probe_gradients_report (ProbeGradients *t, SumiPlan *plan, gint64 limit, GError **error);
void probe_gradients_clear (ProbeGradients *t);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ProbeGradients, probe_gradients_clear)

/* Outputs PREFIX_l2, PREFIX_sum, PREFIX_probe: one row for every parameter. */
typedef struct
{
  SumiTensor *l2, *sum, *probe;
} ProbeSummary;
gboolean probe_summary_new (ProbeGradients *t, const char *prefix, ProbeSummary *s, GError **error);
void probe_summary_set (const ProbeSummary *s, guint i, const SumiTensor *values);

/* ---- comparison (probe-check.c) ---- */
/* Prints a line for every tensor of the reference; FALSE with what is outside the tolerance.
 * `least` is the smallest relative L2 that is asked for. */
gboolean probe_check (const SumiTensorMap *got, const SumiTensorMap *reference, JsonObject *json, double least,
                      GError **error);

G_END_DECLS
