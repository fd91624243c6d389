/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mt19937: Matsumoto & Nishimura 1998, "Mersenne Twister". Philox 4x32-10: Salmon et al. 2011, "Parallel random
 * numbers: as easy as 1, 2, 3". The ways of making normal numbers of them are torch's, on the CPU and on CUDA. */
#include "base/rng.h"

#include <math.h>
#include <string.h>

#define MT_N 624
#define MT_M 397

void
sumi_rng_seed (SumiRng *rng, SumiRngKind kind, guint64 seed)
{
  memset (rng, 0, sizeof *rng);
  rng->kind = kind;
  rng->seed = seed;
  if (kind != SUMI_RNG_TORCH)
    return;
  rng->mt[0] = (guint32)seed; /* torch too takes the low 32 bits only */
  for (guint32 i = 1; i < MT_N; i++)
    rng->mt[i] = 1812433253u * (rng->mt[i - 1] ^ rng->mt[i - 1] >> 30) + i;
  rng->index = MT_N;
}

static void
mt_refill (SumiRng *rng)
{
  guint32 *mt = rng->mt;
  for (guint i = 0; i < MT_N; i++)
    {
      guint32 y = (mt[i] & 0x80000000u) | (mt[(i + 1) % MT_N] & 0x7fffffffu);
      mt[i] = mt[(i + MT_M) % MT_N] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
  rng->index = 0;
}

static guint32
mt_next (SumiRng *rng)
{
  guint32 y;

  if (rng->index >= MT_N)
    mt_refill (rng);
  y = rng->mt[rng->index++];
  y ^= y >> 11;
  y ^= y << 7 & 0x9d2c5680u;
  y ^= y << 15 & 0xefc60000u;
  return y ^ y >> 18;
}

/* The first two words of the block with counter (offset, 0, i, 0). */
static void
philox (const SumiRng *rng, guint32 i, guint32 *first, guint32 *second)
{
  guint32 c[4] = { (guint32)rng->offset, 0, i, 0 };
  guint32 k0 = (guint32)rng->seed, k1 = (guint32)(rng->seed >> 32);

  for (int round = 0; round < 10; round++)
    {
      guint64 p0 = (guint64)c[0] * 0xd2511f53u, p1 = (guint64)c[2] * 0xcd9e8d57u;
      guint32 c1 = c[1], c3 = c[3];

      c[0] = (guint32)(p1 >> 32) ^ c1 ^ k0;
      c[1] = (guint32)p1;
      c[2] = (guint32)(p0 >> 32) ^ c3 ^ k1;
      c[3] = (guint32)p0;
      k0 += 0x9e3779b9u;
      k1 += 0xbb67ae85u;
    }
  *first = c[0];
  *second = c[1];
}

guint32
sumi_rng_u32 (SumiRng *rng)
{
  guint32 word, unused;

  if (rng->kind == SUMI_RNG_TORCH)
    return mt_next (rng);
  philox (rng, 0, &word, &unused);
  rng->offset++;
  return word;
}

static guint64
next_u64 (SumiRng *rng)
{
  guint64 high = sumi_rng_u32 (rng);
  return high << 32 | sumi_rng_u32 (rng);
}

guint64
sumi_rng_below (SumiRng *rng, guint64 n)
{
  guint64 reject, x;

  g_return_val_if_fail (n > 0, 0);
  reject = (G_MAXUINT64 - n + 1) % n; /* 2^64 mod n values would be drawn too often */
  do
    x = next_u64 (rng);
  while (x < reject);
  return x % n;
}

double
sumi_rng_uniform (SumiRng *rng)
{
  return (double)(next_u64 (rng) & ((G_GUINT64_CONSTANT (1) << 53) - 1)) * 0x1p-53;
}

/* ---- torch on the CPU ---- */

static void
fill_uniform_24 (SumiRng *rng, float *out, gsize n)
{
  for (gsize i = 0; i < n; i++)
    out[i] = (float)(mt_next (rng) & 0xffffff) * 0x1p-24f;
}

/* Box-Muller in place: out[j] with out[j + 8]. */
static void
box_muller_16 (float *out)
{
  for (int j = 0; j < 8; j++)
    {
      double radius = sqrt (-2 * log (1.0 - (double)out[j]));
      double theta = 2 * G_PI * (double)out[j + 8];
      out[j] = (float)(radius * cos (theta));
      out[j + 8] = (float)(radius * sin (theta));
    }
}

static float
next_normal (SumiRng *rng)
{
  double u1, u2, radius;

  if (rng->has_next_normal)
    {
      rng->has_next_normal = FALSE;
      return (float)rng->next_normal;
    }
  u1 = sumi_rng_uniform (rng);
  u2 = sumi_rng_uniform (rng);
  radius = sqrt (-2 * log1p (-u2));
  rng->next_normal = radius * sin (2 * G_PI * u1);
  rng->has_next_normal = TRUE;
  return (float)(radius * cos (2 * G_PI * u1));
}

static void
normal_torch (SumiRng *rng, float *out, gsize n)
{
  if (n < 16)
    {
      for (gsize i = 0; i < n; i++)
        out[i] = next_normal (rng);
      return;
    }
  fill_uniform_24 (rng, out, n);
  for (gsize i = 0; i + 16 <= n; i += 16)
    box_muller_16 (out + i);
  if (n % 16 != 0)
    {
      fill_uniform_24 (rng, out + n - 16, 16);
      box_muller_16 (out + n - 16);
    }
}

/* ---- torch on CUDA: one counter step per call, one block of words per value, of which the sine is used ---- */

static void
normal_philox (SumiRng *rng, float *out, gsize n)
{
  for (gsize i = 0; i < n; i++)
    {
      guint32 x, y;
      philox (rng, (guint32)i, &x, &y);
      out[i] = (float)(sqrt (-2 * log ((x + 0.5) * 0x1p-32)) * sin (2 * G_PI * (y + 0.5) * 0x1p-32));
    }
  rng->offset++;
}

void
sumi_rng_normal (SumiRng *rng, float *out, gsize n)
{
  if (rng->kind == SUMI_RNG_TORCH)
    normal_torch (rng, out, n);
  else
    normal_philox (rng, out, n);
}
