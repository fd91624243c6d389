/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The block formats of GGUF files, as ggml defines them (ggml-common.h, block_q4_0 … block_q8_K).
 *
 * A block of 32 has one scale d, those ending in _1 also a minimum m, halves both: x = d q + m.
 * A block of 256 ("K") has sub-blocks of 16 or 32 with small integer scales s (and minima m) of their own, which are in
 * turn scaled by halves: x = d s q - dmin m.
 * Integers of 2 to 6 bits are spread over the bytes so that vector code can unpack many with one shift. */
#include "tensor/quantised.h"

#include <string.h>

#include "base/half.h"

static float
load_half (const guint8 *at)
{
  return sumi_f16_to_f32 ((guint16)(at[0] | at[1] << 8));
}

/* ---- blocks of 32: elements 0…15 in the low four bits, 16…31 in the high ones ---- */

/* d, 16 bytes */
static void
decode_q4_0 (const guint8 *b, float *x)
{
  float d = load_half (b);

  for (int i = 0; i < 16; i++)
    {
      x[i] = d * (float)((b[2 + i] & 15) - 8);
      x[i + 16] = d * (float)((b[2 + i] >> 4) - 8);
    }
}

/* d, m, 16 bytes */
static void
decode_q4_1 (const guint8 *b, float *x)
{
  float d = load_half (b), m = load_half (b + 2);

  for (int i = 0; i < 16; i++)
    {
      x[i] = d * (float)(b[4 + i] & 15) + m;
      x[i + 16] = d * (float)(b[4 + i] >> 4) + m;
    }
}

/* The fifth bit of element i is bit i of four bytes. */
static int
fifth_bit (const guint8 *bits, int i)
{
  return (bits[i / 8] >> i % 8 & 1) << 4;
}

/* d, 4 bytes of fifth bits, 16 bytes */
static void
decode_q5_0 (const guint8 *b, float *x)
{
  float d = load_half (b);

  for (int i = 0; i < 16; i++)
    {
      x[i] = d * (float)(((b[6 + i] & 15) | fifth_bit (b + 2, i)) - 16);
      x[i + 16] = d * (float)((b[6 + i] >> 4 | fifth_bit (b + 2, i + 16)) - 16);
    }
}

/* d, m, 4 bytes of fifth bits, 16 bytes */
static void
decode_q5_1 (const guint8 *b, float *x)
{
  float d = load_half (b), m = load_half (b + 2);

  for (int i = 0; i < 16; i++)
    {
      x[i] = d * (float)((b[8 + i] & 15) | fifth_bit (b + 4, i)) + m;
      x[i + 16] = d * (float)(b[8 + i] >> 4 | fifth_bit (b + 4, i + 16)) + m;
    }
}

/* d, 32 signed bytes */
static void
decode_q8_0 (const guint8 *b, float *x)
{
  float d = load_half (b);

  for (int i = 0; i < 32; i++)
    x[i] = d * (float)(gint8)b[2 + i];
}

/* ---- blocks of 256 ---- */

/* Two bits of element i: each half of the block has 32 bytes, each quarter of the half two bits of them. */
static int
two_bits (const guint8 *bytes, int i)
{
  return bytes[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

/* 16 bytes: scale in the low, minimum in the high four bits, for 16 elements each; 64 bytes of two bits; d; dmin */
static void
decode_q2_k (const guint8 *b, float *x)
{
  float d = load_half (b + 80), dmin = load_half (b + 82);

  for (int i = 0; i < 256; i++)
    {
      float scale = d * (float)(b[i / 16] & 15), minimum = dmin * (float)(b[i / 16] >> 4);
      x[i] = scale * (float)two_bits (b + 16, i) - minimum;
    }
}

/* 32 bytes of third bits (bit k of byte i % 32 belongs to the k-th run of 32), 64 bytes of two bits, 16 scales of six
 * bits in 12 bytes (the low four as nibbles in 8, the high two in 4), d. Without its third bit a value is 4 less. */
static void
decode_q3_k (const guint8 *b, float *x)
{
  const guint8 *third = b, *scales = b + 96;
  float d = load_half (b + 108);

  for (int i = 0; i < 256; i++)
    {
      int s = i / 16;
      int low = s < 8 ? scales[s] & 15 : scales[s - 8] >> 4, high = scales[8 + s % 4] >> s / 4 * 2 & 3;
      float scale = d * (float)((low | high << 4) - 32);
      x[i] = scale * (float)(two_bits (b + 32, i) - (third[i % 32] >> i / 32 & 1 ? 0 : 4));
    }
}

/* Eight scales and eight minima of six bits in 12 bytes: the first four of each are the low six bits of the first eight
 * bytes; of the others, the low four bits are in the last four bytes and the high two on top of the first eight. */
static void
unpack_scales (const guint8 *packed, int i, int *scale, int *minimum)
{
  if (i < 4)
    {
      *scale = packed[i] & 63;
      *minimum = packed[i + 4] & 63;
      return;
    }
  *scale = (packed[i + 4] & 15) | packed[i - 4] >> 6 << 4;
  *minimum = packed[i + 4] >> 4 | packed[i] >> 6 << 4;
}

/* d, dmin, 12 bytes of scales; then four bits of 64 elements in 32 bytes each: the first 32 in the low nibbles, the
 * next in the high ones. Where fifth is not NULL, bit k of byte i % 32 is the fifth bit of the k-th run of 32. */
static void
decode_q45_k (const guint8 *b, const guint8 *fifth, const guint8 *nibbles, float *x)
{
  float d = load_half (b), dmin = load_half (b + 2);

  for (int run = 0; run < 8; run++)
    {
      const guint8 *bytes = nibbles + run / 2 * 32;
      int s, m;
      float scale, minimum;

      unpack_scales (b + 4, run, &s, &m);
      scale = d * (float)s;
      minimum = dmin * (float)m;
      for (int i = 0; i < 32; i++)
        {
          int q = bytes[i] >> run % 2 * 4 & 15;
          if (fifth != NULL)
            q |= (fifth[i] >> run & 1) << 4;
          x[run * 32 + i] = scale * (float)q - minimum;
        }
    }
}

static void
decode_q4_k (const guint8 *b, float *x)
{
  decode_q45_k (b, NULL, b + 16, x);
}

static void
decode_q5_k (const guint8 *b, float *x)
{
  decode_q45_k (b, b + 16, b + 48, x);
}

/* 128 bytes of the low four bits, 64 bytes of the high two, 16 signed scales, d. In each half of the block, elements
 * 0…63 are the low nibbles of 64 bytes and 64…127 the high ones. */
static void
decode_q6_k (const guint8 *b, float *x)
{
  const guint8 *low = b, *high = b + 128, *scales = b + 192;
  float d = load_half (b + 208);

  for (int i = 0; i < 256; i++)
    {
      int q = (low[i / 128 * 64 + i % 64] >> i % 128 / 64 * 4 & 15) | two_bits (high, i) << 4;
      x[i] = d * (float)(gint8)scales[i / 16] * (float)(q - 32);
    }
}

/* d as f32, 256 signed bytes, 16 sums of them for faster products */
static void
decode_q8_k (const guint8 *b, float *x)
{
  float d;

  memcpy (&d, b, sizeof d);
  for (int i = 0; i < 256; i++)
    x[i] = d * (float)(gint8)b[4 + i];
}

void
sumi_dequantise (SumiDType dtype, const void *blocks, float *out, gsize n_blocks)
{
  static void (*const decoders[SUMI_N_DTYPES]) (const guint8 *block, float *x) = {
    [SUMI_Q4_0] = decode_q4_0, [SUMI_Q4_1] = decode_q4_1, [SUMI_Q5_0] = decode_q5_0, [SUMI_Q5_1] = decode_q5_1,
    [SUMI_Q8_0] = decode_q8_0, [SUMI_Q2_K] = decode_q2_k, [SUMI_Q3_K] = decode_q3_k, [SUMI_Q4_K] = decode_q4_k,
    [SUMI_Q5_K] = decode_q5_k, [SUMI_Q6_K] = decode_q6_k, [SUMI_Q8_K] = decode_q8_k,
  };
  gsize length = sumi_dtype_block_length (dtype), size = sumi_dtype_block_size (dtype);

  if (decoders[dtype] != NULL)
    for (gsize i = 0; i < n_blocks; i++)
      decoders[dtype]((const guint8 *)blocks + i * size, out + i * length);
}
