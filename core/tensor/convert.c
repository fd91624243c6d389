/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading any element type as numbers. The data may be unaligned, so every read is a memcpy. */
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

/* 1 sign, 4 exponent (bias 7), 3 mantissa bits; no infinity, 0x7f is NaN (Micikevicius et al. 2022, "FP8 formats"). */
static float
f8_e4m3_to_f32 (guint8 x)
{
  int exponent = x >> 3 & 15, mantissa = x & 7;
  float magnitude = exponent == 0 ? ldexpf ((float)mantissa, -9) : ldexpf ((float)(8 + mantissa), exponent - 10);

  if ((x & 0x7f) == 0x7f)
    return NAN;
  return x & 0x80 ? -magnitude : magnitude;
}

/* The upper byte of an IEEE half. */
static float
f8_e5m2_to_f32 (guint8 x)
{
  return sumi_f16_to_f32 ((guint16)(x << 8));
}

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
      case SUMI_F16:                                                                                                   \
        EACH (guint16, (OUT)sumi_f16_to_f32 (x));                                                                      \
      case SUMI_BF16:                                                                                                  \
        EACH (guint16, (OUT)sumi_bf16_to_f32 (x));                                                                     \
      case SUMI_F8_E4M3:                                                                                               \
        EACH (guint8, (OUT)f8_e4m3_to_f32 (x));                                                                        \
      case SUMI_F8_E5M2:                                                                                               \
        EACH (guint8, (OUT)f8_e5m2_to_f32 (x));                                                                        \
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
      case SUMI_N_DTYPES:                                                                                              \
        break;                                                                                                         \
      }                                                                                                                \
  }

DEFINE_CONVERT (convert_to_f32, float)
DEFINE_CONVERT (convert_to_f64, double)

static void
to_f32 (SumiDType dtype, const char *from, float *out, gsize n)
{
  if (n == 0)
    return;
  if (dtype == SUMI_F32)
    memcpy (out, from, n * sizeof *out);
  else if (dtype == SUMI_F16)
    sumi_f16_to_f32_array (out, from, n);
  else if (dtype == SUMI_BF16)
    sumi_bf16_to_f32_array (out, from, n);
  else
    convert_to_f32 (dtype, from, out, n);
}

void
sumi_tensor_to_f32 (const SumiTensor *t, float *out)
{
  to_f32 (sumi_tensor_get_dtype (t), sumi_tensor_peek (t), out, (gsize)sumi_tensor_get_numel (t));
}

void
sumi_tensor_to_f64 (const SumiTensor *t, double *out)
{
  convert_to_f64 (sumi_tensor_get_dtype (t), sumi_tensor_peek (t), out, (gsize)sumi_tensor_get_numel (t));
}

/* ---- casting: block by block, through f32 for the small float types and through f64 for the rest ---- */

#define BLOCK 1024

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
    case SUMI_F8_E4M3:
    case SUMI_F8_E5M2:
    case SUMI_N_DTYPES:
      break;
    }
  return FALSE;
}

static gboolean
cast_block (SumiDType from_dtype, const char *from, SumiDType dtype, void *out, gsize n)
{
  double wide[BLOCK];
  float narrow[BLOCK];

  if (dtype == SUMI_F32)
    {
      to_f32 (from_dtype, from, out, n);
      return TRUE;
    }
  if (dtype == SUMI_F16 || dtype == SUMI_BF16)
    {
      to_f32 (from_dtype, from, narrow, n);
      if (dtype == SUMI_F16)
        sumi_f16_from_f32_array (out, narrow, n);
      else
        sumi_bf16_from_f32_array (out, narrow, n);
      return TRUE;
    }
  convert_to_f64 (from_dtype, from, wide, n);
  return store_f64 (dtype, out, wide, n);
}

SumiTensor *
sumi_tensor_cast (const SumiTensor *t, SumiDType dtype, GError **error)
{
  g_autoptr (SumiTensor) cast = sumi_tensor_new (dtype, sumi_tensor_get_shape (t), error);
  SumiDType from_dtype = sumi_tensor_get_dtype (t);
  const char *from = sumi_tensor_peek (t);
  gsize n = (gsize)sumi_tensor_get_numel (t);
  char *out;

  if (cast == NULL)
    return NULL;
  out = sumi_tensor_poke (cast);
  if (from_dtype == dtype)
    {
      if (n > 0)
        memcpy (out, from, sumi_tensor_get_size (t));
      return g_steal_pointer (&cast);
    }
  for (gsize i = 0; i < n; i += BLOCK)
    if (!cast_block (from_dtype, from + i * sumi_dtype_size (from_dtype), dtype, out + i * sumi_dtype_size (dtype),
                     MIN (BLOCK, n - i)))
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "cannot convert %s to %s",
                     sumi_dtype_name (from_dtype), sumi_dtype_name (dtype));
        return NULL;
      }
  return g_steal_pointer (&cast);
}

/* ---- */

static gboolean
floats_are_finite (const float *x, gsize n)
{
  guint32 largest = 0;
  for (gsize i = 0; i < n; i++)
    {
      guint32 bits;
      memcpy (&bits, x + i, sizeof bits);
      largest = MAX (largest, bits & 0x7fffffff);
    }
  return largest < 0x7f800000;
}

gboolean
sumi_tensor_is_finite (const SumiTensor *t)
{
  SumiDType dtype = sumi_tensor_get_dtype (t);
  const char *from = sumi_tensor_peek (t);
  gsize n = (gsize)sumi_tensor_get_numel (t), size = sumi_dtype_size (dtype);

  if (!sumi_dtype_is_float (dtype))
    return TRUE;
  for (gsize i = 0; i < n; i += BLOCK)
    {
      gsize m = MIN (BLOCK, n - i);
      float narrow[BLOCK];

      if (dtype == SUMI_F64) /* a finite double may overflow a float */
        {
          double wide[BLOCK];
          memcpy (wide, from + i * size, m * size);
          for (gsize j = 0; j < m; j++)
            if (!isfinite (wide[j]))
              return FALSE;
          continue;
        }
      to_f32 (dtype, from + i * size, narrow, m);
      if (!floats_are_finite (narrow, m))
        return FALSE;
    }
  return TRUE;
}
