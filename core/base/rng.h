/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Random numbers that equal the reference implementations bit for bit (normal draws: to the last float bit
 * as far as libm allows).
 *
 * SUMI_RNG_TORCH: torch's CPU generator (mt19937; Box-Muller in blocks of 16, last 16 redrawn when n % 16;
 *   double Box-Muller with a cached second value below 16 draws).
 * SUMI_RNG_PHILOX: torch's CUDA generator (Philox 4x32-10, one counter step per call), as A1111's "GPU" source.
 * One generator per picture: seed + index, so that batch size never changes a picture.
 * The struct is plain data: copy it to save the state, and write it to a checkpoint with its size.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum
{
  SUMI_RNG_TORCH,
  SUMI_RNG_PHILOX
} SumiRngKind;

typedef struct
{
  SumiRngKind kind;
  guint64     seed;
  guint32     mt[624];
  guint32     index;            /* next word of mt */
  gboolean    has_next_normal;  /* torch: second value of the last Box-Muller pair (n < 16) */
  double      next_normal;
  guint64     offset;           /* philox: calls so far */
} SumiRng;

void    sumi_rng_seed (SumiRng *rng, SumiRngKind kind, guint64 seed);
guint32 sumi_rng_u32 (SumiRng *rng);                        /* the next word; Philox: one counter step each */
guint64 sumi_rng_below (SumiRng *rng, guint64 n);           /* uniform in [0, n), n > 0, unbiased */
double  sumi_rng_uniform (SumiRng *rng);                    /* [0, 1) with 53 bits */
void    sumi_rng_normal (SumiRng *rng, float *out, gsize n); /* as torch.randn (n) */

G_END_DECLS
