/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The computation graph: a network function builds nodes, an engine compiles them, the plan runs many times.
 *
 * Nodes are immutable, owned by their graph, numbered in the order they were built (a topological order).
 * Shapes are LOGICAL (pictures are N,C,H,W); memory layout belongs to the engine.
 * A node is REAL (computed in the engine's arithmetic: f32, f64 in `ref`, bf16 storage in `cpu`) or INDEX (int64).
 *
 * Builders never return NULL.  A shape mistake poisons the graph: the first one is remembered with its scope path
 * ("unet/down.1/attn.0/to_q: got (2,320), want (2,640)") and reported by sumi_graph_check, so that network code
 * carries no error plumbing.  After a mistake builders go on with a harmless node.
 */
#pragma once

#include "tensor/tensor.h"

G_BEGIN_DECLS

typedef enum
{
#define SUMI_OP(ID, name, min, max, diff) SUMI_OP_##ID,
#include "graph/ops.def"
#undef SUMI_OP
  SUMI_N_OPS
} SumiOp;

#define SUMI_MAX_SRC 4

typedef enum
{
  SUMI_REAL,
  SUMI_INDEX
} SumiNodeKind;

typedef enum
{
  SUMI_ACT_NONE,
  SUMI_ACT_RELU,
  SUMI_ACT_SILU,       /* x sigmoid(x) */
  SUMI_ACT_SIGMOID,
  SUMI_ACT_TANH,
  SUMI_ACT_GELU,       /* x Phi(x), exact (erf) */
  SUMI_ACT_QUICK_GELU, /* x sigmoid(1.702 x) */
  SUMI_ACT_EXP,
  SUMI_ACT_SQRT,
  SUMI_N_ACTS
} SumiAct;

/* What an op needs beside its sources; which member applies is said at each builder. */
typedef union
{
  struct { double value; } fill;
  struct { double a, b; } affine;                                         /* a x + b */
  struct { SumiAct kind; } act;
  struct { guint8 axis[SUMI_MAX_RANK]; } permute;                         /* out.d[i] = x.d[axis[i]] */
  struct { guint axis; } concat;
  struct { guint axis; gint64 start, length; } slice;
  struct { guint axis; gint64 before, after; } pad;                       /* zeros */
  struct { guint axes; gboolean keep; } sum;                              /* bit i: axis i is summed */
  struct { gboolean ta, tb; } matmul;
  struct { guint stride; guint pad_top, pad_left, pad_bottom, pad_right; } conv;
  struct { guint kernel, stride; } pool;
  struct { guint groups; double eps; SumiAct act; } norm;                 /* act: NONE or SILU, applied after */
  struct { guint heads; gboolean causal; double scale; } sdpa;
  struct { guint dim; gboolean cos_first; double freq_shift, max_period; } timestep;
} SumiAttr;

typedef struct _SumiGraph SumiGraph;
typedef struct _SumiNode  SumiNode;

struct _SumiNode
{
  SumiOp       op;
  SumiNodeKind kind;
  SumiShape    shape;
  SumiAttr     attr;
  guint        id;                /* index in its graph */
  guint        n_src;
  SumiNode    *src[SUMI_MAX_SRC];
  const char  *name;              /* INPUT and PARAM: its name; else NULL. Interned */
  const char  *scope;             /* "unet/down.1/attn.0"; interned, "" at the top */
};

SumiGraph *sumi_graph_new (void);
SumiGraph *sumi_graph_ref (SumiGraph *g);
void       sumi_graph_unref (SumiGraph *g);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiGraph, sumi_graph_unref)

guint     sumi_graph_get_size (const SumiGraph *g);
SumiNode *sumi_graph_peek (const SumiGraph *g, guint id);
/* FALSE with the first shape mistake (shape_mismatch), once one was made. */
gboolean  sumi_graph_check (const SumiGraph *g, GError **error);
/* For builders outside graph/: remember a mistake (printf-style) if it is the first. */
void      sumi_graph_poison (SumiGraph *g, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* Scope path of the nodes built from now on: push "down.1", pop. Names joined with '/'. */
void      sumi_graph_push_scope (SumiGraph *g, const char *name);
void      sumi_graph_pop_scope (SumiGraph *g);

/* Names a result. Outputs are what a plan computes; nodes that no output needs are not computed.
 * The same node may have several names; a name is used once. */
void        sumi_graph_output (SumiGraph *g, const char *name, SumiNode *node);
guint       sumi_graph_get_n_outputs (const SumiGraph *g);
const char *sumi_graph_get_output (const SumiGraph *g, guint i, SumiNode **node);

/* The input or parameter of this name, or NULL. */
SumiNode   *sumi_graph_lookup (const SumiGraph *g, const char *name);
/* By id: whether an output needs the node. Free with g_free. */
gboolean   *sumi_graph_needed (const SumiGraph *g);

/* Multiply-adds x 2 of the nodes that the outputs need (products and convolutions only). */
guint64 sumi_graph_flops (const SumiGraph *g);
guint64 sumi_node_flops (const SumiNode *n); /* of one node */
/* Graphviz text, for people. Free with g_free. */
char   *sumi_graph_to_dot (const SumiGraph *g);

const char *sumi_op_name (SumiOp op);
gboolean    sumi_op_is_differentiable (SumiOp op);

/* ---- leaves ---- */
SumiNode *sumi_input (SumiGraph *g, const char *name, SumiNodeKind kind, const SumiShape *shape);
/* A parameter; asking again for the same name gives the same node (another shape poisons). */
SumiNode *sumi_param (SumiGraph *g, const char *name, const SumiShape *shape);
SumiNode *sumi_fill (SumiGraph *g, double value, const SumiShape *shape);

/* ---- element by element; a and b broadcast as in numpy ---- */
SumiNode *sumi_add (SumiGraph *g, SumiNode *a, SumiNode *b);
SumiNode *sumi_sub (SumiGraph *g, SumiNode *a, SumiNode *b);
SumiNode *sumi_mul (SumiGraph *g, SumiNode *a, SumiNode *b);
SumiNode *sumi_div (SumiGraph *g, SumiNode *a, SumiNode *b);
SumiNode *sumi_affine (SumiGraph *g, SumiNode *x, double a, double b); /* a x + b */
SumiNode *sumi_act (SumiGraph *g, SumiNode *x, SumiAct kind);          /* ACT_NONE returns x */
SumiNode *sumi_act_bwd (SumiGraph *g, SumiNode *x, SumiNode *gy, SumiAct kind); /* gy act'(x) */

/* ---- shape and movement ---- */
SumiNode *sumi_reshape (SumiGraph *g, SumiNode *x, const SumiShape *shape); /* row-major logical order kept */
SumiNode *sumi_permute (SumiGraph *g, SumiNode *x, const guint8 *axes);     /* axes: rank entries */
SumiNode *sumi_concat (SumiGraph *g, guint axis, SumiNode *const *xs, guint n); /* 2..4 */
SumiNode *sumi_slice (SumiGraph *g, SumiNode *x, guint axis, gint64 start, gint64 length);
SumiNode *sumi_pad (SumiGraph *g, SumiNode *x, guint axis, gint64 before, gint64 after); /* zeros */
SumiNode *sumi_broadcast (SumiGraph *g, SumiNode *x, const SumiShape *shape);            /* numpy rules */
SumiNode *sumi_sum (SumiGraph *g, SumiNode *x, guint axes, gboolean keep); /* bit i of axes: sum axis i */
SumiNode *sumi_mean (SumiGraph *g, SumiNode *x, guint axes, gboolean keep); /* sum, then affine */

/* ---- products ---- */
/* a (…,M,K) or, with ta, (…,K,M);  b (…,K,N) or, with tb, (…,N,K)  ->  (…,M,N).  Leading dims broadcast. Rank >= 2. */
SumiNode *sumi_matmul (SumiGraph *g, SumiNode *a, SumiNode *b, gboolean ta, gboolean tb);
/* x (…,K), w (N,K), b (N) or NULL -> (…,N):  x wᵀ + b */
SumiNode *sumi_linear (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b);
/* x (N,C,H,W), w (O,C,kh,kw), b (O) or NULL -> (N,O,H',W'),  H' = (H + top + bottom - kh) / stride + 1 (floor).
 * Cross-correlation, as torch.nn.functional.conv2d; each padding less than the kernel. */
SumiNode *sumi_conv2d (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, guint stride, guint pad);
SumiNode *sumi_conv2d_padded (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, guint stride, guint top, guint left,
                              guint bottom, guint right);
/* The transpose of conv2d: gy (N,O,H',W'), w (O,C,kh,kw) -> (N,C,height,width). */
SumiNode *sumi_conv2d_bwd_data (SumiGraph *g, SumiNode *gy, SumiNode *w, gint64 height, gint64 width,
                                const SumiAttr *conv);
/* x (N,C,H,W), gy (N,O,H',W') -> (O,C,kh,kw) */
SumiNode *sumi_conv2d_bwd_weights (SumiGraph *g, SumiNode *x, SumiNode *gy, gint64 kh, gint64 kw, const SumiAttr *conv);
/* torch.nn.functional.conv_transpose2d without padding: x (N,C,H,W), w (C,O,k,k), b (O) or NULL
 * -> (N,O,(H-1) stride + k,…).  Built from conv2d_bwd_data and add. */
SumiNode *sumi_conv_transpose2d (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, guint stride);

/* ---- pictures ---- */
SumiNode *sumi_max_pool2d (SumiGraph *g, SumiNode *x, guint kernel, guint stride); /* no padding, floor */
/* The first maximum in row-major order takes all. */
SumiNode *sumi_max_pool2d_bwd (SumiGraph *g, SumiNode *x, SumiNode *gy, guint kernel, guint stride);
/* Nearest neighbour to (N,C,height,width): source row = floor (y H / height). */
SumiNode *sumi_upsample (SumiGraph *g, SumiNode *x, gint64 height, gint64 width);
SumiNode *sumi_upsample_bwd (SumiGraph *g, SumiNode *gy, gint64 height, gint64 width); /* to the source size: sums */

/* ---- norms ---- */
/* x (N,C,…), w (C), b (C): y = act ((x - mean) / sqrt (var + eps) * w + b), statistics per (n, group), biased variance.
 * Wu & He 2018.  act: SUMI_ACT_NONE or SUMI_ACT_SILU, fused because nothing else needs the value before it. */
SumiNode *sumi_group_norm (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, guint groups, double eps, SumiAct act);
SumiNode *sumi_group_norm_bwd_x (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, SumiNode *gy,
                                 const SumiAttr *norm); /* as x */
SumiNode *sumi_group_norm_bwd_w (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, SumiNode *gy,
                                 const SumiAttr *norm); /* (2,C): dw, db */
/* x (…,C), w (C), b (C); statistics over the last axis.  Ba et al. 2016. */
SumiNode *sumi_layer_norm (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *b, double eps);
SumiNode *sumi_layer_norm_bwd_x (SumiGraph *g, SumiNode *x, SumiNode *w, SumiNode *gy, const SumiAttr *norm); /* as x */
SumiNode *sumi_layer_norm_bwd_w (SumiGraph *g, SumiNode *x, SumiNode *gy, const SumiAttr *norm); /* (2,C): dw, db */

/* ---- attention and text ---- */
SumiNode *sumi_softmax (SumiGraph *g, SumiNode *x); /* over the last axis */
SumiNode *sumi_softmax_bwd (SumiGraph *g, SumiNode *y, SumiNode *gy);
/* q (N,Sq,heads d), k and v (N,Sk,heads d) -> (N,Sq,heads d): softmax (scale q kᵀ) v per head; scale 0 means 1/sqrt(d).
 * causal: query i sees keys 0..i. Vaswani et al. 2017. */
SumiNode *sumi_sdpa (SumiGraph *g, SumiNode *q, SumiNode *k, SumiNode *v, guint heads, gboolean causal, double scale);
/* -> (N, Sq + 2 Sk, heads d): the gradients of q, k, v one after the other along axis 1. */
SumiNode *sumi_sdpa_bwd (SumiGraph *g, SumiNode *q, SumiNode *k, SumiNode *v, SumiNode *gy, const SumiAttr *sdpa);
/* table (V,C), ids INDEX (…) -> (…,C). Ids outside [0,V) fail the run with shape_mismatch. */
SumiNode *sumi_embedding (SumiGraph *g, SumiNode *table, SumiNode *ids);
SumiNode *sumi_embedding_bwd (SumiGraph *g, SumiNode *ids, SumiNode *gy, gint64 rows); /* -> (rows, C) */
/* t REAL (N) -> (N,dim): sines and cosines of t max_period^(-i/(dim/2 - freq_shift)), angles in double precision.
 * cos_first: [cos, sin] else [sin, cos]. Vaswani et al. 2017; diffusers get_timestep_embedding. dim even. */
SumiNode *sumi_timestep_embedding (SumiGraph *g, SumiNode *t, guint dim, gboolean cos_first, double freq_shift,
                                   double max_period);

G_END_DECLS
