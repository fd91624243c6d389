/* SPDX-License-Identifier: GPL-3.0-or-later */
/* AdamW (Loshchilov & Hutter 2019) and EMA over lists of F32 tensors, on the host, multi-threaded, deterministic. */
#pragma once

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

typedef struct
{
  double lr, beta1, beta2, eps, weight_decay;
} SumiAdamWConfig;

/* One tensor's step number `step` (from 1), in place:
 *   p *= 1 - lr wd;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
 *   p -= lr (m / (1-b1^step)) / (sqrt (v / (1-b2^step)) + eps)
 * g is multiplied by grad_scale first (clipping, accumulation). */
void sumi_adamw_step (const SumiAdamWConfig *c, guint64 step, double grad_scale, float *p, const float *g, float *m,
                      float *v, gsize n);

/* ema = decay ema + (1 - decay) p */
void sumi_ema_step (double decay, float *ema, const float *p, gsize n);

/* Sum of squares in double, in an order that does not depend on the threads. */
double sumi_sum_of_squares (const float *x, gsize n);

G_END_DECLS
