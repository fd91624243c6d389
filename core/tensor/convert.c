/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading any element type as numbers. The data may be unaligned, so every read is a memcpy. */
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "tensor/quantised.h"

#define BLOCK 1024 /* elements at a time, a multiple of every block-quantised type's block */

/* ---- the small float types, through f32 ---- */

/* 1 sign, 4 exponent (bias 7), 3 mantissa bits; no infinity, 0x7f is NaN (Micikevicius et al. 2022, "FP8 formats").
 * Moved to a half's places the exponent is read with bias 15, which the factor 2^8 makes good, for subnormals too. */
static void
f8_e4m3_to_f32_array (float *out, const guint8 *from, gsize n)
{
  guint16 half[BLOCK];

  for (gsize i = 0; i < n; i++)
    half[i] = (guint16)((from[i] & 0x80) << 8 | (from[i] & 0x7f) << 7);
  sumi_f16_to_f32_array (out, half, n);
  for (gsize i = 0; i < n; i++)
    out[i] = (from[i] & 0x7f) == 0x7f ? NAN : out[i] * 256;
}

/* The upper byte of an IEEE half. */
static void
f8_e5m2_to_f32_array (float *out, const guint8 *from, gsize n)
{
  guint16 half[BLOCK];

  for (gsize i = 0; i < n; i++)
    half[i] = (guint16)(from[i] << 8);
  sumi_f16_to_f32_array (out, half, n);
}

/* At most BLOCK elements. FALSE for the types whose values a float does not hold, and for float itself. */
static gboolean
small_to_f32 (SumiDType dtype, const char *from, float *out, gsize n)
{
  switch (dtype)
    {
    case SUMI_F16:
      sumi_f16_to_f32_array (out, from, n);
      return TRUE;
    case SUMI_BF16:
      sumi_bf16_to_f32_array (out, from, n);
      return TRUE;
    case SUMI_F8_E4M3:
      f8_e4m3_to_f32_array (out, (const guint8 *)from, n);
      return TRUE;
    case SUMI_F8_E5M2:
      f8_e5m2_to_f32_array (out, (const guint8 *)from, n);
      return TRUE;
    default:
      if (!sumi_dtype_is_quantised (dtype))
        return FALSE;
      sumi_dequantise (dtype, from, out, n / sumi_dtype_block_length (dtype));
      return TRUE;
    }
}

/* ---- all the others ---- */

#define EACH(TYPE, VALUE)                                                                                              \
  for (gsize i = 0; i < n; i++)                                                                                        \
    {                                                                                                                  \
      TYPE x;                                                                                                          \
      memcpy (&x, from + i * sizeof x, sizeof x);                                                                      \
      out[i] = (VALUE);                                                                                                \
    }                                                                                                                  \
  break

/* n elements from `from` */
#define DEFINE_CONVERT(NAME, OUT)                                                                                      \
  static void NAME (SumiDType dtype, const char *from, OUT *out, gsize n)                                              \
  {                                                                                                                    \
    switch (dtype)                                                                                                     \
      {                                                                                                                \
      case SUMI_F32:                                                                                                   \
        EACH (float, (OUT)x);                                                                                          \
      case SUMI_F64:                                                                                                   \
        EACH (double, (OUT)x);                                                                                         \
      case SUMI_I64:                                                                                                   \
        EACH (gint64, (OUT)x);                                                                                         \
      case SUMI_I32:                                                                                                   \
        EACH (gint32, (OUT)x);                                                                                         \
      case SUMI_I16:                                                                                                   \
        EACH (gint16, (OUT)x);                                                                                         \
      case SUMI_I8:                                                                                                    \
        EACH (gint8, (OUT)x);                                                                                          \
      case SUMI_U64:                                                                                                   \
        EACH (guint64, (OUT)x);                                                                                        \
      case SUMI_U32:                                                                                                   \
        EACH (guint32, (OUT)x);                                                                                        \
      case SUMI_U16:                                                                                                   \
        EACH (guint16, (OUT)x);                                                                                        \
      case SUMI_U8:                                                                                                    \
        EACH (guint8, (OUT)x);                                                                                         \
      case SUMI_BOOL:                                                                                                  \
        EACH (guint8, (OUT)(x != 0));                                                                                  \
      default:                                                                                                         \
        break;                                                                                                         \
      }                                                                                                                \
  }

DEFINE_CONVERT (large_to_f32, float)
DEFINE_CONVERT (large_to_f64, double)

/* At most BLOCK elements, a multiple of a block. */
static void
block_to_f32 (SumiDType dtype, const char *from, float *out, gsize n)
{
  if (dtype == SUMI_F32)
    memcpy (out, from, n * sizeof *out);
  else if (!small_to_f32 (dtype, from, out, n))
    large_to_f32 (dtype, from, out, n);
}

static void
block_to_f64 (SumiDType dtype, const char *from, double *out, gsize n)
{
  float narrow[BLOCK];

  if (!small_to_f32 (dtype, from, narrow, n))
    {
      large_to_f64 (dtype, from, out, n);
      return;
    }
  for (gsize i = 0; i < n; i++)
    out[i] = narrow[i];
}

/* Where element i lies, for i that begins a block. */
static const char *
element_at (const SumiTensor *t, gsize i)
{
  SumiDType dtype = sumi_tensor_get_dtype (t);

  return (const char *)sumi_tensor_peek (t) + i / sumi_dtype_block_length (dtype) * sumi_dtype_block_size (dtype);
}

void
sumi_tensor_to_f32 (const SumiTensor *t, float *out)
{
  gsize n = (gsize)sumi_tensor_get_numel (t);

  for (gsize i = 0; i < n; i += BLOCK)
    block_to_f32 (sumi_tensor_get_dtype (t), element_at (t, i), out + i, MIN (BLOCK, n - i));
}

void
sumi_tensor_to_f64 (const SumiTensor *t, double *out)
{
  gsize n = (gsize)sumi_tensor_get_numel (t);

  for (gsize i = 0; i < n; i += BLOCK)
    block_to_f64 (sumi_tensor_get_dtype (t), element_at (t, i), out + i, MIN (BLOCK, n - i));
}

/* ---- casting: block by block, through f32 for the small float types and through f64 for the rest ---- */

/* The nearest value of the type, ties to even, NaN to 0. The bounds are exact doubles or one step beyond. */
#define STORE_INTEGER(TYPE, MIN, MAX)                                                                                  \
  for (gsize i = 0; i < n; i++)                                                                                        \
    {                                                                                                                  \
      double r = rint (x[i]);                                                                                          \
      ((TYPE *)out)[i] = isnan (r) ? 0 : r <= (double)(MIN) ? (MIN) : r >= (double)(MAX) ? (MAX) : (TYPE)r;            \
    }                                                                                                                  \
  return TRUE

/* FALSE: no values of that type are made. */
static gboolean
store_f64 (SumiDType dtype, void *out, const double *x, gsize n)
{
  switch (dtype)
    {
    case SUMI_F64:
      memcpy (out, x, n * sizeof *x);
      return TRUE;
    case SUMI_F32:
      for (gsize i = 0; i < n; i++)
        ((float *)out)[i] = (float)x[i];
      return TRUE;
    case SUMI_F16:
      for (gsize i = 0; i < n; i++)
        ((guint16 *)out)[i] = sumi_f16_from_f32 ((float)x[i]);
      return TRUE;
    case SUMI_BF16:
      for (gsize i = 0; i < n; i++)
        ((guint16 *)out)[i] = sumi_bf16_from_f32 ((float)x[i]);
      return TRUE;
    case SUMI_I64:
      STORE_INTEGER (gint64, G_MININT64, G_MAXINT64);
    case SUMI_I32:
      STORE_INTEGER (gint32, G_MININT32, G_MAXINT32);
    case SUMI_I16:
      STORE_INTEGER (gint16, G_MININT16, G_MAXINT16);
    case SUMI_I8:
      STORE_INTEGER (gint8, G_MININT8, G_MAXINT8);
    case SUMI_U64:
      STORE_INTEGER (guint64, 0, G_MAXUINT64);
    case SUMI_U32:
      STORE_INTEGER (guint32, 0, G_MAXUINT32);
    case SUMI_U16:
      STORE_INTEGER (guint16, 0, G_MAXUINT16);
    case SUMI_U8:
      STORE_INTEGER (guint8, 0, G_MAXUINT8);
    case SUMI_BOOL:
      for (gsize i = 0; i < n; i++)
        ((guint8 *)out)[i] = x[i] != 0;
      return TRUE;
    default:
      return FALSE;
    }
}

static gboolean
cast_block (SumiDType from_dtype, const char *from, SumiDType dtype, void *out, gsize n)
{
  double wide[BLOCK];
  float narrow[BLOCK];

  if (dtype == SUMI_F32)
    {
      block_to_f32 (from_dtype, from, out, n);
      return TRUE;
    }
  if (dtype == SUMI_F16 || dtype == SUMI_BF16)
    {
      block_to_f32 (from_dtype, from, narrow, n);
      if (dtype == SUMI_F16)
        sumi_f16_from_f32_array (out, narrow, n);
      else
        sumi_bf16_from_f32_array (out, narrow, n);
      return TRUE;
    }
  block_to_f64 (from_dtype, from, wide, n);
  return store_f64 (dtype, out, wide, n);
}

SumiTensor *
sumi_tensor_cast (const SumiTensor *t, SumiDType dtype, GError **error)
{
  g_autoptr (SumiTensor) cast = sumi_tensor_new (dtype, sumi_tensor_get_shape (t), error);
  SumiDType from_dtype = sumi_tensor_get_dtype (t);
  gsize n = (gsize)sumi_tensor_get_numel (t);
  char *out;

  if (cast == NULL)
    return NULL;
  out = sumi_tensor_poke (cast);
  if (from_dtype == dtype)
    {
      if (n > 0)
        memcpy (out, sumi_tensor_peek (t), sumi_tensor_get_size (t));
      return g_steal_pointer (&cast);
    }
  for (gsize i = 0; i < n; i += BLOCK)
    if (!cast_block (from_dtype, element_at (t, i), dtype, out + i * sumi_dtype_size (dtype), MIN (BLOCK, n - i)))
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "cannot convert %s to %s",
                     sumi_dtype_name (from_dtype), sumi_dtype_name (dtype));
        return NULL;
      }
  return g_steal_pointer (&cast);
}

/* ---- is it finite? ---- */

/* The bits below the sign, and what added to them carries into the sign's place if and only if the exponent is the
 * largest (in F8_E4M3: if all bits are set). */
typedef struct
{
  guint64 magnitude, carry;
} FiniteCheck;

static const FiniteCheck finite_checks[SUMI_N_DTYPES] = {
  [SUMI_F32] = { G_GUINT64_CONSTANT (0x7fffffff7fffffff), G_GUINT64_CONSTANT (0x0080000000800000) },
  [SUMI_F64] = { G_GUINT64_CONSTANT (0x7fffffffffffffff), G_GUINT64_CONSTANT (0x0010000000000000) },
  [SUMI_F16] = { G_GUINT64_CONSTANT (0x7fff7fff7fff7fff), G_GUINT64_CONSTANT (0x0400040004000400) },
  [SUMI_BF16] = { G_GUINT64_CONSTANT (0x7fff7fff7fff7fff), G_GUINT64_CONSTANT (0x0080008000800080) },
  [SUMI_F8_E4M3] = { G_GUINT64_CONSTANT (0x7f7f7f7f7f7f7f7f), G_GUINT64_CONSTANT (0x0101010101010101) },
  [SUMI_F8_E5M2] = { G_GUINT64_CONSTANT (0x7f7f7f7f7f7f7f7f), G_GUINT64_CONSTANT (0x0404040404040404) },
};

/* Eight bytes at a time, whatever they hold: a whole model is looked through before it is used. */
static gboolean
bytes_are_finite (const FiniteCheck *check, const char *from, gsize size)
{
  guint64 carried = 0, last = 0;
  gsize words = size / sizeof last, rest = size % sizeof last;

  for (gsize i = 0; i < words; i++)
    {
      guint64 word;
      memcpy (&word, from + i * sizeof word, sizeof word);
      carried |= (word & check->magnitude) + check->carry;
    }
  if (rest > 0)
    memcpy (&last, from + words * sizeof last, rest);
  carried |= (last & check->magnitude) + check->carry;
  return (carried & ~check->magnitude) == 0;
}

gboolean
sumi_tensor_is_finite (const SumiTensor *t)
{
  SumiDType dtype = sumi_tensor_get_dtype (t);
  gsize n = (gsize)sumi_tensor_get_numel (t);

  if (!sumi_dtype_is_float (dtype))
    return TRUE;
  if (!sumi_dtype_is_quantised (dtype))
    return bytes_are_finite (&finite_checks[dtype], sumi_tensor_peek (t), sumi_tensor_get_size (t));
  for (gsize i = 0; i < n; i += BLOCK) /* an infinite or NaN scale gives such values, or NaN where it meets a zero */
    {
      float x[BLOCK];
      gsize m = MIN (BLOCK, n - i);

      sumi_dequantise (dtype, element_at (t, i), x, m / sumi_dtype_block_length (dtype));
      if (!bytes_are_finite (&finite_checks[SUMI_F32], (const char *)x, m * sizeof *x))
        return FALSE;
    }
  return TRUE;
}
