/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cpu engine's own kernels: everything but convolutions and matrix products.
 *
 * A table of functions per instruction set and storage type, chosen once: sumi_kernels_get (features, SUMI_F32).
 * The same sources are compiled for each instruction set (generic, AVX2 + FMA, AVX-512).
 *
 * Values are `void *` in the table's storage type T: float, or bfloat16 as guint16.  Arithmetic is always float:
 * load, compute in float, store rounded to nearest even.  What is `float *` here is float in every table (norm weights,
 * biases, gradients of parameters, timesteps).
 *
 * Pictures are dense NHWC.  Kernels with strides take dimensions in any order, strides in elements, 0 to broadcast a
 * source.  Sources and results must not overlap, except where "in place" is said (same address, same strides).
 * Pointers are aligned to their type; no kernel needs more.
 *
 * Threads: kernels open OpenMP regions of omp_get_max_threads () threads (set it with omp_set_num_threads).  Work is
 * cut into pieces whose size depends on shapes alone and every sum has one fixed order: results have the same bits for
 * any number of threads.  They may differ between instruction sets.
 *
 * Nothing allocates: what needs room says how much in a …_scratch function (bytes; the room is 64-byte aligned).
 */
#pragma once

#include "base/cpu.h"
#include "graph/graph.h"

G_BEGIN_DECLS

typedef enum
{
  SUMI_BINARY_ADD,
  SUMI_BINARY_SUB,
  SUMI_BINARY_MUL,
  SUMI_BINARY_DIV,
  SUMI_N_BINARIES
} SumiBinary;

/* A picture batch, dense NHWC in memory. */
typedef struct
{
  gint64 n, h, w, c;
} SumiPicture;

/* Group norm: n samples of c channels and s places; memory is (n, s, c) when channels_last, else (n, c, s). */
typedef struct
{
  gint64 n, c, s;
  gboolean channels_last;
  guint groups; /* divides c */
  float eps;
  SumiAct act; /* NONE or SILU */
} SumiGroupNormDims;

/* Attention: q (n, sq, heads d), k and v (n, sk, heads d), dense. */
typedef struct
{
  gint64 n, heads, sq, sk, d;
  gboolean causal; /* query i sees keys 0..i */
  float scale;     /* 0: 1 / sqrt (d) */
} SumiSdpaDims;

typedef struct
{
  /* ---- conversion ---- */
  void (*to_f32) (gint64 n, float *y, const void *x);
  void (*from_f32) (gint64 n, void *y, const float *x);

  /* ---- element by element ---- */
  void (*fill) (gint64 n, void *y, float value);
  /* y = a op b over dims; y's strides are not 0. In place on a or b allowed. */
  void (*binary) (SumiBinary op, const SumiShape *dims, void *y, const gint64 *sy, const void *a, const gint64 *sa,
                  const void *b, const gint64 *sb);
  void (*affine) (gint64 n, void *y, const void *x, float a, float b);               /* y = a x + b; in place allowed */
  void (*act) (gint64 n, void *y, const void *x, SumiAct kind);                      /* in place allowed */
  void (*act_bwd) (gint64 n, void *gx, const void *x, const void *gy, SumiAct kind); /* gx = gy act'(x); in place */
  void (*bias_act) (gint64 rows, gint64 c, void *y, const void *x, const float *bias,
                    SumiAct kind); /* in place allowed */

  /* ---- movement ---- */
  /* y[i·sy] = x[i·sx] for every index i of dims: permute, concat, slice, broadcast, layout changes. */
  void (*copy) (const SumiShape *dims, void *y, const gint64 *sy, const void *x, const gint64 *sx);

  /* ---- reduction ---- */
  /* y[i·sy] = sum of x[i·sx]: sy is 0 on the summed axes. y is float when y_f32, else T. Accumulates in float lanes,
   * then pairwise.  A bias gradient is this over N, H, W with y_f32. */
  void (*sum) (const SumiShape *dims, void *y, const gint64 *sy, gboolean y_f32, const void *x, const gint64 *sx,
               void *scratch);

  /* ---- pictures ---- */
  void (*max_pool2d) (const SumiPicture *x_dims, guint kernel, guint stride, void *y, const void *x);
  void (*max_pool2d_bwd) (const SumiPicture *x_dims, guint kernel, guint stride, void *gx, const void *x,
                          const void *gy);
  void (*upsample) (const SumiPicture *x_dims, gint64 height, gint64 width, void *y, const void *x);
  void (*upsample_bwd) (const SumiPicture *x_dims, gint64 height, gint64 width, void *gx, const void *gy);

  /* ---- norms: group_norm and layer_norm in place allowed ---- */
  void (*group_norm) (const SumiGroupNormDims *dims, void *y, const void *x, const float *w, const float *b,
                      void *scratch);
  /* The same with y in bfloat16, whatever T is. */
  void (*group_norm_narrow) (const SumiGroupNormDims *dims, void *y, const void *x, const float *w, const float *b,
                             void *scratch);
  void (*group_norm_bwd_x) (const SumiGroupNormDims *dims, void *gx, const void *x, const float *w, const float *b,
                            const void *gy, void *scratch);
  /* gw: (2, c): dw, db */
  void (*group_norm_bwd_w) (const SumiGroupNormDims *dims, float *gw, const void *x, const float *w, const float *b,
                            const void *gy, void *scratch);
  /* Both at once: they share most of the work. The same bits as one by one. */
  void (*group_norm_bwd) (const SumiGroupNormDims *dims, void *gx, float *gw, const void *x, const float *w,
                          const float *b, const void *gy, void *scratch);
  void (*layer_norm) (gint64 rows, gint64 c, float eps, void *y, const void *x, const float *w, const float *b);
  void (*layer_norm_narrow) (gint64 rows, gint64 c, float eps, void *y, const void *x, const float *w,
                             const float *b); /* y in bfloat16 */
  void (*layer_norm_bwd_x) (gint64 rows, gint64 c, float eps, void *gx, const void *x, const float *w, const void *gy);
  void (*layer_norm_bwd_w) (gint64 rows, gint64 c, float eps, float *gw, const void *x, const void *gy, void *scratch);

  /* ---- attention and text ---- */
  void (*softmax) (gint64 rows, gint64 c, void *y, const void *x); /* in place allowed */
  void (*softmax_bwd) (gint64 rows, gint64 c, void *gx, const void *y, const void *gy);
  void (*sdpa) (const SumiSdpaDims *dims, void *y, const void *q, const void *k, const void *v, void *scratch);
  /* g: (n, sq + 2 sk, heads d): gq, gk, gv along axis 1 */
  void (*sdpa_bwd) (const SumiSdpaDims *dims, void *g, const void *q, const void *k, const void *v, const void *gy,
                    void *scratch);
  /* FALSE: an id outside [0, rows), y unspecified */
  gboolean (*embedding) (gint64 n, gint64 rows, gint64 c, void *y, const void *table, const gint64 *ids);
  gboolean (*embedding_bwd) (gint64 n, gint64 rows, gint64 c, float *gtable, const gint64 *ids, const void *gy);
  void (*timestep_embedding) (gint64 n, guint dim, gboolean cos_first, double freq_shift, double max_period, void *y,
                              const float *t);
} SumiKernels;

/* The best table for these features; dtype: SUMI_F32 or SUMI_BF16. Never NULL. */
const SumiKernels *sumi_kernels_get (SumiCpuFeatures features, SumiDType dtype);

/* Bytes of scratch, the same for every table; threads: the most that omp_get_max_threads () will say. */
gsize sumi_kernels_sum_scratch (const SumiShape *dims, const gint64 *sy);
gsize sumi_kernels_group_norm_scratch (const SumiGroupNormDims *dims); /* all of them */
gsize sumi_kernels_layer_norm_bwd_w_scratch (gint64 rows, gint64 c);
gsize sumi_kernels_sdpa_scratch (const SumiSdpaDims *dims, guint threads);
gsize sumi_kernels_sdpa_bwd_scratch (const SumiSdpaDims *dims, guint threads);

G_END_DECLS
