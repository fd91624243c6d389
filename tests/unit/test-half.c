/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Half and bfloat16 against their definition: every 16-bit pattern, every boundary between two neighbours, and the
 * vector code against the scalar code bit for bit. */
#include "base/half.h"

#include <math.h>
#include <string.h>

static guint32
bits_of (float f)
{
  guint32 u;
  memcpy (&u, &f, sizeof u);
  return u;
}

static float
float_of (guint32 u)
{
  float f;
  memcpy (&f, &u, sizeof f);
  return f;
}

/* IEEE 754: sign, exponent, mantissa read as a sum of powers of two */
static double
value_of (guint16 h, int exponent_bits)
{
  int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  int exponent = h >> mantissa_bits & ((1 << exponent_bits) - 1), mantissa = h & ((1 << mantissa_bits) - 1);
  double sign = h & 0x8000 ? -1 : 1;

  if (exponent == (1 << exponent_bits) - 1)
    return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0)
    return sign * ldexp (mantissa, 1 - bias - mantissa_bits);
  return sign * ldexp ((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

typedef struct
{
  int exponent_bits;
  float (*to) (guint16 h);
  guint16 (*from) (float f);
  void (*to_array) (float *dst, const void *src, gsize n);
  void (*from_array) (guint16 *dst, const float *src, gsize n);
} Format;

static const Format formats[] = {
  { 5, sumi_f16_to_f32, sumi_f16_from_f32, sumi_f16_to_f32_array, sumi_f16_from_f32_array },
  { 8, sumi_bf16_to_f32, sumi_bf16_from_f32, sumi_bf16_to_f32_array, sumi_bf16_from_f32_array },
};

static void
test_every_pattern (gconstpointer data)
{
  const Format *f = data;

  for (guint h = 0; h < 0x10000; h++)
    {
      double want = value_of ((guint16)h, f->exponent_bits);
      float got = f->to ((guint16)h);

      if (isnan (want))
        {
          g_assert_true (isnan (got) && isnan (f->to (f->from (got))));
          g_assert_cmpint (f->from (got) & 0x8000, ==, h & 0x8000);
          continue;
        }
      g_assert_true (got == want && !signbit (got) == !signbit (want));
      g_assert_cmphex (f->from (got), ==, h);
    }
}

/* Halfway between two neighbours the even one is taken; a float's step beside halfway, the nearer one. */
static void
test_rounding (gconstpointer data)
{
  const Format *f = data;
  guint16 infinity = (guint16)(((1 << f->exponent_bits) - 1) << (15 - f->exponent_bits));

  for (guint h = 0; h < infinity; h++)
    {
      double low = value_of ((guint16)h, f->exponent_bits), step = low - value_of ((guint16)(h - 1), f->exponent_bits);
      double high = h + 1u < infinity ? value_of ((guint16)(h + 1), f->exponent_bits) : low + step;
      float middle = (float)((low + high) / 2); /* exact: one bit more than the format has */
      guint even = h % 2 == 0 ? h : h + 1;

      g_assert_cmphex (f->from (middle), ==, even);
      g_assert_cmphex (f->from (nextafterf (middle, 0)), ==, h);
      g_assert_cmphex (f->from (nextafterf (middle, INFINITY)), ==, h + 1);
      g_assert_cmphex (f->from (-middle), ==, even | 0x8000);
    }
  g_assert_cmphex (f->from (INFINITY), ==, infinity);
  g_assert_cmphex (f->from (3e38f), ==, f->exponent_bits == 5 ? infinity : f->from (3e38f));
}

/* Arrays: every pattern, odd lengths, an odd address. */
static void
test_arrays (gconstpointer data)
{
  const Format *f = data;
  const gsize n = 0x10000 + 5;
  g_autofree char *memory = g_malloc (2 * n + 1);
  g_autofree guint16 *halves = g_new (guint16, n), *back = g_new (guint16, n);
  g_autofree float *floats = g_new (float, n);

  for (gsize i = 0; i < n; i++)
    halves[i] = (guint16)i;
  memcpy (memory + 1, halves, 2 * n);
  f->to_array (floats, memory + 1, n);
  for (gsize i = 0; i < n; i++)
    g_assert_cmphex (bits_of (floats[i]), ==, bits_of (f->to (halves[i])));
  f->from_array (back, floats, n);
  for (gsize i = 0; i < n; i++)
    g_assert_cmphex (back[i], ==, f->from (floats[i]));

  for (gsize i = 0; i < n; i++) /* floats all over, with low bits */
    floats[i] = float_of ((guint32)i * 65521u + 12345u);
  for (gsize length = 0; length < 40; length++)
    {
      memset (back, 0x55, 2 * 64);
      f->from_array (back, floats + length, length);
      g_assert_cmphex (back[length], ==, 0x5555); /* not a step too far */
    }
  f->from_array (back, floats, n);
  for (gsize i = 0; i < n; i++)
    if (isnan (floats[i]))
      g_assert_true (isnan (f->to (back[i])));
    else
      g_assert_cmphex (back[i], ==, f->from (floats[i]));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/half/f16/every-pattern", &formats[0], test_every_pattern);
  g_test_add_data_func ("/half/bf16/every-pattern", &formats[1], test_every_pattern);
  g_test_add_data_func ("/half/f16/rounding", &formats[0], test_rounding);
  g_test_add_data_func ("/half/bf16/rounding", &formats[1], test_rounding);
  g_test_add_data_func ("/half/f16/arrays", &formats[0], test_arrays);
  g_test_add_data_func ("/half/bf16/arrays", &formats[1], test_arrays);
  return g_test_run ();
}
