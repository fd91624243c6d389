/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Building networks: a graph, a dotted parameter prefix ("down_blocks.0.resnets.1."), and for every parameter how it
 * is initialised when trained from scratch.  Parameter names are those of the reference checkpoints. */
#pragma once

#include "base/rng.h"
#include "graph/graph.h"
#include "tensor/tensor-map.h"

G_BEGIN_DECLS

typedef enum
{
  SUMI_INIT_ZEROS,
  SUMI_INIT_ONES,
  SUMI_INIT_UNIFORM_FAN_IN, /* U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's default of linear and conv weight AND bias */
  SUMI_INIT_NORMAL          /* N(0, std^2) */
} SumiInitKind;

typedef struct
{
  SumiInitKind kind;
  double scale; /* fan_in, or std */
} SumiInit;

typedef struct
{
  SumiNode *node;
  SumiInit init;
} SumiModuleParam;

/* What of a picture a network is built for.  Norms, and attention of the pixels to each other, depend on the whole
 * picture; where it does not fit, they take from a sample of it what they would have seen. */
typedef enum
{
  SUMI_VIEW_WHOLE,
  SUMI_VIEW_SAMPLE, /* the batch is patches of one picture, whose statistics are the graph's outputs "view/NAME" */
  SUMI_VIEW_TILE    /* a part of a picture, the statistics are inputs of the same names */
} SumiView;

typedef struct
{
  SumiGraph *graph;
  SumiView view;
  gint64 view_places; /* TILE: pixels that the sample had where they attend to each other */
  GString *prefix;    /* "" or "…." */
  GArray *params;     /* SumiModuleParam, in order of declaration, each once */
  GArray *lengths;    /* gsize: length of the prefix before each push */
} SumiModule;

SumiModule *sumi_module_new (SumiGraph *graph); /* takes a reference */
void sumi_module_free (SumiModule *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiModule, sumi_module_free)

/* Enter and leave "name." (printf-style); pushes the graph's scope too. */
void sumi_module_push (SumiModule *m, const char *format, ...) G_GNUC_PRINTF (2, 3);
void sumi_module_pop (SumiModule *m);

/* The parameter prefix + name. */
SumiNode *sumi_module_param (SumiModule *m, const char *name, const SumiShape *shape, SumiInit init);

/* Layers: parameters name.weight (and name.bias). */
SumiNode *sumi_nn_linear (SumiModule *m, const char *name, SumiNode *x, gint64 out_features, gboolean bias);
SumiNode *sumi_nn_conv2d (SumiModule *m, const char *name, SumiNode *x, gint64 out_channels, guint kernel, guint stride,
                          guint pad, gboolean bias);
/* As conv2d, the weights drawn as said (the bias keeps torch's default; zero weights go with a zero bias). */
SumiNode *sumi_nn_conv2d_init (SumiModule *m, const char *name, SumiNode *x, gint64 out_channels, guint kernel,
                               guint stride, guint pad, gboolean bias, SumiInit init);
/* As conv2d with a bias, each side padded as said. */
SumiNode *sumi_nn_conv2d_padded (SumiModule *m, const char *name, SumiNode *x, gint64 out_channels, guint kernel,
                                 guint stride, guint top, guint left, guint bottom, guint right);
SumiNode *sumi_nn_linear_init (SumiModule *m, const char *name, SumiNode *x, gint64 out_features, gboolean bias,
                               SumiInit init);
SumiNode *sumi_nn_conv_transpose2d (SumiModule *m, const char *name, SumiNode *x, gint64 out_channels, guint kernel,
                                    guint stride);
SumiNode *sumi_nn_group_norm (SumiModule *m, const char *name, SumiNode *x, guint groups, double eps, SumiAct act);
SumiNode *sumi_nn_layer_norm (SumiModule *m, const char *name, SumiNode *x, double eps);

/* A fresh value for every declared parameter (F32), drawn in declaration order. */
SumiTensorMap *sumi_module_init (const SumiModule *m, SumiRng *rng, GError **error);
/* Checks that `weights` holds every declared parameter with its shape and finite values
 * (missing_tensor, shape_mismatch, non_finite).  `prefix` is put before each name when looking up; may be "". */
gboolean sumi_module_check (const SumiModule *m, const SumiTensorMap *weights, const char *prefix, GError **error);

G_END_DECLS
