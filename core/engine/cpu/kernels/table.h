/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The tables that kernels.c chooses from; each is table.c compiled for one instruction set and one storage type. */
#pragma once

#include "engine/cpu/kernels/kernels.h"

G_BEGIN_DECLS

extern const SumiKernels sumi_kernels_generic_f32, sumi_kernels_generic_bf16;
extern const SumiKernels sumi_kernels_avx2_f32, sumi_kernels_avx2_bf16;
extern const SumiKernels sumi_kernels_avx512_f32, sumi_kernels_avx512_bf16;

/* Work is cut by these, whatever the table: scratch sizes follow from shapes alone. */

/* A sum is cut into pieces of this many of the summed values. */
static inline gint64
sumi_sum_piece (gint64 kept, gint64 summed)
{
  return MAX (1, MIN (summed, kept >= 2048 ? summed : MAX (64, 16384 / MAX (1, kept))));
}

/* Rows of c channels whose statistics are one piece. */
static inline gint64
sumi_norm_piece (gint64 c)
{
  return MAX (64, 16384 / MAX (1, c));
}

/* Rows that one piece of a layer norm's weight gradient takes. */
static inline gint64
sumi_layer_norm_piece (gint64 c)
{
  return CLAMP (16384 / MAX (1, c), 16, 256);
}

static inline gint64
sumi_cuts (gint64 n, gint64 piece)
{
  return (n + piece - 1) / piece;
}

/* What group norm keeps per sample: doubles, a whole number of cache lines. */
static inline gint64
sumi_group_norm_room (const SumiGroupNormDims *d)
{
  const gint64 pieces = d->channels_last ? sumi_cuts (d->s, sumi_norm_piece (d->c)) : 1;
  return ((pieces + 1) * 2 * d->c + 4 * d->c + 7) / 8 * 8;
}

/* Attention: queries of a block at most, and rows of d values padded to whole registers of any width. */
#define SUMI_SDPA_QUERIES 64
#define SUMI_SDPA_KEYS 64
#define SUMI_SDPA_PAD(n) (((n) + 15) / 16 * 16)

/* Floats of room that a thread needs: see SdpaRoom and SdpaBwdRoom in attention.inc. */
static inline gint64
sumi_sdpa_room (const SumiSdpaDims *d)
{
  return 2 * SUMI_SDPA_PAD (d->d) * (SUMI_SDPA_QUERIES + SUMI_SDPA_KEYS) + SUMI_SDPA_KEYS * SUMI_SDPA_QUERIES
         + 3 * SUMI_SDPA_QUERIES;
}

static inline gint64
sumi_sdpa_bwd_room (const SumiSdpaDims *d)
{
  return 4 * d->sk * SUMI_SDPA_PAD (d->d) + 2 * d->sk * SUMI_SDPA_QUERIES + 5 * SUMI_SDPA_PAD (d->d) * SUMI_SDPA_QUERIES
         + SUMI_SDPA_QUERIES;
}

G_END_DECLS
