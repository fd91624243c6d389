/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tensor/tensor-map.h"

#include <math.h>
#include <string.h>

static void
test_dtype (void)
{
  SumiDType t;

  for (guint i = 0; i < SUMI_N_DTYPES; i++)
    {
      g_assert_true (sumi_dtype_from_name (sumi_dtype_name (i), &t));
      g_assert_cmpint (t, ==, i);
      g_assert_cmpuint (sumi_dtype_block_size (i), >, 0);
      g_assert_cmpuint (sumi_dtype_size (i), ==, sumi_dtype_is_quantised (i) ? 0 : sumi_dtype_block_size (i));
      g_assert_true (sumi_dtype_is_quantised (i) == (sumi_dtype_block_length (i) > 1));
    }
  g_assert_false (sumi_dtype_from_name ("F33", &t));
  g_assert_false (sumi_dtype_from_name ("f32", &t));
}

static void
test_shape (void)
{
  const SumiShape shape = SUMI_SHAPE (2, 3), same = SUMI_SHAPE (2, 3), other = SUMI_SHAPE (3, 2), scalar = SUMI_SCALAR;
  const SumiShape empty = SUMI_SHAPE (5, 0),
                  large = SUMI_SHAPE (G_GINT64_CONSTANT (1) << 33, G_GINT64_CONSTANT (1) << 33);
  const SumiShape empty_large = SUMI_SHAPE (0, G_MAXINT64, 2), negative = SUMI_SHAPE (-1, -1);
  g_autofree char *text = sumi_shape_to_string (&shape), *nothing = sumi_shape_to_string (&scalar);
  gint64 n;

  g_assert_cmpstr (text, ==, "(2,3)");
  g_assert_cmpstr (nothing, ==, "()");
  g_assert_true (sumi_shape_equal (&shape, &same));
  g_assert_false (sumi_shape_equal (&shape, &other));
  g_assert_false (sumi_shape_equal (&shape, &scalar));
  g_assert_true (sumi_shape_checked_numel (&scalar, &n) && n == 1);
  g_assert_true (sumi_shape_checked_numel (&empty, &n) && n == 0);
  g_assert_false (sumi_shape_checked_numel (&large, &n));
  g_assert_false (sumi_shape_checked_numel (&empty_large, &n));
  g_assert_false (sumi_shape_checked_numel (&negative, &n));
}

static void
test_new (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (3, 5), &error);
  g_autoptr (SumiTensor) none = NULL;

  g_assert_no_error (error);
  g_assert_cmpuint ((guintptr)sumi_tensor_peek (t) % 64, ==, 0);
  g_assert_cmpuint (sumi_tensor_get_size (t), ==, 60);
  for (int i = 0; i < 15; i++)
    g_assert_cmpfloat (sumi_tensor_peek_f32 (t)[i], ==, 0);
  memset (sumi_tensor_poke (t), 0xff, 60); /* all of it is writable */

  none = sumi_tensor_new (SUMI_F64, &SUMI_SHAPE (G_MAXINT64 / 2), &error);
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE);
  g_assert_null (none);
}

/* More than any machine has: an error, not the end of the program. */
static void
test_out_of_memory (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (G_GINT64_CONSTANT (1) << 62), &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY);
}

static void
test_empty (void)
{
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (0, 5), NULL);
  g_autoptr (SumiTensor) cast = sumi_tensor_cast (t, SUMI_F16, NULL);

  g_assert_cmpint (sumi_tensor_get_numel (cast), ==, 0);
  g_assert_true (sumi_tensor_is_finite (t));
  sumi_tensor_to_f32 (t, NULL);
}

/* Bytes at an odd address, as old files have them. */
static void
test_unaligned (void)
{
  const float values[] = { 1.5f, -2.25f, 1e30f };
  char buffer[1 + sizeof values];
  g_autoptr (GBytes) whole = NULL, part = NULL;
  g_autoptr (SumiTensor) t = NULL, wrong = NULL;
  g_autoptr (GError) error = NULL;
  float got[3];
  double wide[3];

  memcpy (buffer + 1, values, sizeof values);
  whole = g_bytes_new (buffer, sizeof buffer);
  part = g_bytes_new_from_bytes (whole, 1, sizeof values);
  t = sumi_tensor_new_bytes (SUMI_F32, &SUMI_SHAPE (3), part, &error);
  g_assert_no_error (error);
  g_assert_false (sumi_tensor_is_aligned (t));
  sumi_tensor_to_f32 (t, got);
  g_assert_cmpmem (got, sizeof got, values, sizeof values);
  sumi_tensor_to_f64 (t, wide);
  g_assert_cmpfloat (wide[2], ==, (double)1e30f);

  wrong = sumi_tensor_new_bytes (SUMI_F32, &SUMI_SHAPE (4), part, &error);
  g_assert_null (wrong);
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE);
}

static void
test_cast (void)
{
  const float values[] = { 0, -1.5f, 2.5f, 1000, -1000, NAN };
  const gint8 as_i8[] = { 0, -2, 2, 127, -128, 0 };
  const guint8 as_u8[] = { 0, 0, 2, 255, 0, 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensor) t = sumi_tensor_new_f32 (&SUMI_SHAPE (6), values, NULL);
  g_autoptr (SumiTensor) i8 = sumi_tensor_cast (t, SUMI_I8, NULL), u8 = sumi_tensor_cast (t, SUMI_U8, NULL);
  g_autoptr (SumiTensor) none = NULL;
  const gint64 ids[] = { 49407, -1, G_MAXINT64 };
  g_autoptr (SumiTensor) i64 = sumi_tensor_new_i64 (&SUMI_SHAPE (3), ids, NULL), copy = NULL;

  g_assert_cmpmem (sumi_tensor_peek (i8), 6, as_i8, 6);
  g_assert_cmpmem (sumi_tensor_peek (u8), 6, as_u8, 6);
  copy = sumi_tensor_cast (i64, SUMI_I64, NULL);
  g_assert_cmpmem (sumi_tensor_peek (copy), sizeof ids, ids, sizeof ids);

  for (SumiDType to = SUMI_F32; to <= SUMI_BF16; to++)
    {
      g_autoptr (SumiTensor) cast = sumi_tensor_cast (t, to, NULL);
      double back[6];
      sumi_tensor_to_f64 (cast, back);
      for (int i = 0; i < 5; i++)
        g_assert_cmpfloat (back[i], ==, values[i]); /* all of them are exact in every float type */
      g_assert_true (isnan (back[5]));
    }
  none = sumi_tensor_cast (t, SUMI_F8_E4M3, &error);
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE);
  g_assert_null (none);
}

/* sign, exponent, mantissa of an 8-bit float by the definition */
static double
f8_by_definition (guint code, int exponent_bits, int bias)
{
  int mantissa_bits = 7 - exponent_bits;
  int exponent = (int)(code >> mantissa_bits) & ((1 << exponent_bits) - 1);
  double mantissa = ldexp (code & ((1u << mantissa_bits) - 1), -mantissa_bits);
  double magnitude = exponent == 0 ? ldexp (mantissa, 1 - bias) : ldexp (1 + mantissa, exponent - bias);

  return code & 0x80 ? -magnitude : magnitude;
}

/* All codes, with NaN at 0x7f in E4M3 and NaN and infinities as in IEEE formats in E5M2; and each code's finiteness. */
static void
test_f8 (void)
{
  for (guint e4m3 = 0; e4m3 < 2; e4m3++)
    for (guint code = 0; code < 256; code++)
      {
        guint8 byte = (guint8)code, magnitude = code & 0x7f;
        g_autoptr (GBytes) bytes = g_bytes_new_static (&byte, 1);
        g_autoptr (SumiTensor) t
            = sumi_tensor_new_bytes (e4m3 ? SUMI_F8_E4M3 : SUMI_F8_E5M2, &SUMI_SHAPE (1), bytes, NULL);
        gboolean nan = e4m3 ? magnitude == 0x7f : magnitude > 0x7c, infinite = !e4m3 && magnitude == 0x7c;
        double want
            = infinite ? (code & 0x80 ? -INFINITY : INFINITY) : f8_by_definition (code, e4m3 ? 4 : 5, e4m3 ? 7 : 15);
        double wide;
        float narrow;

        sumi_tensor_to_f64 (t, &wide);
        sumi_tensor_to_f32 (t, &narrow);
        g_assert_true (nan ? isnan (wide) && isnan (narrow) : wide == want && narrow == want);
        g_assert_true (nan || signbit (wide) == (code >= 0x80)); /* zero keeps its sign */
        g_assert_true (sumi_tensor_is_finite (t) == !(nan || infinite));
      }
}

/* d = 0.5 (0x3800) and, in the last block, infinity. */
static void
test_quantised (void)
{
  guint8 blocks[4 * 34] = { 0 };
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (SumiTensor) t = NULL, good = NULL, flat = NULL, cast = NULL, none = NULL;
  g_autoptr (GError) error = NULL;
  float got[64];

  for (int b = 0; b < 4; b++)
    {
      blocks[b * 34 + 1] = b == 3 ? 0x7c : 0x38;
      for (int i = 0; i < 32; i++)
        blocks[b * 34 + 2 + i] = (guint8)(b * 32 + i - 64);
    }
  bytes = g_bytes_new_static (blocks, sizeof blocks);
  t = sumi_tensor_new_bytes (SUMI_Q8_0, &SUMI_SHAPE (2, 2, 32), bytes, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_tensor_get_size (t), ==, sizeof blocks);
  g_assert_false (sumi_tensor_is_finite (t));
  good = sumi_tensor_slice0 (t, 0, 1, NULL);
  g_assert_true (sumi_tensor_is_finite (good));
  flat = sumi_tensor_reshape (good, &SUMI_SHAPE (64), NULL);
  sumi_tensor_to_f32 (flat, got);
  for (int i = 0; i < 64; i++)
    g_assert_cmpfloat (got[i], ==, 0.5f * (float)(i - 64));
  cast = sumi_tensor_cast (flat, SUMI_F16, NULL);
  sumi_tensor_to_f32 (cast, got);
  g_assert_cmpfloat (got[63], ==, -0.5f);

  g_assert_null (sumi_tensor_slice0 (flat, 16, 32, &error)); /* half a block */
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_clear_error (&error);
  none = sumi_tensor_new (SUMI_Q4_K, &SUMI_SHAPE (3, 128), &error);
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE);
  g_clear_error (&error);
  g_assert_null (sumi_tensor_cast (cast, SUMI_Q8_0, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE);
}

/* A NaN or infinity is found wherever it lies, in every float type. */
static void
test_finite (void)
{
  const gint64 n = 3001;
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (n), NULL);

  for (SumiDType dtype = SUMI_F32; dtype <= SUMI_BF16; dtype++)
    for (gint64 i = 0; i < n; i += 500)
      {
        g_autoptr (SumiTensor) good = sumi_tensor_cast (t, dtype, NULL), bad = NULL, endless = NULL;
        g_assert_true (sumi_tensor_is_finite (good));
        sumi_tensor_poke_f32 (t)[i] = NAN;
        bad = sumi_tensor_cast (t, dtype, NULL);
        g_assert_false (sumi_tensor_is_finite (bad));
        sumi_tensor_poke_f32 (t)[i] = -INFINITY;
        endless = sumi_tensor_cast (t, dtype, NULL);
        g_assert_false (sumi_tensor_is_finite (endless));
        sumi_tensor_poke_f32 (t)[i] = 0;
      }
}

static void
test_views (void)
{
  const float values[] = { 0, 1, 2, 3, 4, 5 };
  SumiTensor *t = sumi_tensor_new_f32 (&SUMI_SHAPE (3, 2), values, NULL);
  g_autoptr (SumiTensor) rows = sumi_tensor_slice0 (t, 1, 2, NULL);
  g_autoptr (SumiTensor) flat = sumi_tensor_reshape (rows, &SUMI_SHAPE (4), NULL);
  g_autoptr (GError) error = NULL;

  sumi_tensor_poke_f32 (t)[2] = 7;
  g_assert_cmpfloat (sumi_tensor_peek_f32 (flat)[0], ==, 7); /* shared memory */
  sumi_tensor_unref (t);                                     /* … which lives as long as a view */
  g_assert_cmpfloat (sumi_tensor_peek_f32 (flat)[3], ==, 5);

  g_assert_null (sumi_tensor_reshape (flat, &SUMI_SHAPE (5), &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_clear_error (&error);
  g_assert_null (sumi_tensor_slice0 (flat, 2, 3, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_clear_error (&error);
  g_assert_null (sumi_tensor_slice0 (flat, 1, G_MAXINT64, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
}

static void
test_map (void)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (2, 3), NULL);
  g_autoptr (GError) error = NULL;

  sumi_tensor_map_set (map, "b", t);
  sumi_tensor_map_set (map, "a", t);
  sumi_tensor_map_take (map, "b", sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1), NULL)); /* replaced in its place */
  sumi_tensor_map_set (map, "c", t);
  g_assert_cmpuint (sumi_tensor_map_get_size (map), ==, 3);
  g_assert_cmpstr (sumi_tensor_map_get_name (map, 0), ==, "b");
  g_assert_cmpint (sumi_tensor_get_numel (sumi_tensor_map_peek (map, "b")), ==, 1);

  g_assert_true (sumi_tensor_map_remove (map, "a"));
  g_assert_false (sumi_tensor_map_remove (map, "a"));
  g_assert_cmpstr (sumi_tensor_map_get_name (map, 1), ==, "c");

  g_assert_null (sumi_tensor_map_lookup (map, "a", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
  g_clear_error (&error);
  g_assert_null (sumi_tensor_map_lookup_shaped (map, "c", &SUMI_SHAPE (3, 2), &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_assert_cmpstr (error->message, ==, "c: found (2,3), expected (3,2)");
  g_assert_true (sumi_tensor_map_lookup_shaped (map, "c", &SUMI_SHAPE (2, 3), NULL) == t);

  sumi_tensor_map_set_metadata (map, "key", "value");
  g_assert_cmpstr (sumi_tensor_map_get_metadata (map, "key"), ==, "value");
  g_assert_null (sumi_tensor_map_get_metadata (map, "other"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tensor/dtype", test_dtype);
  g_test_add_func ("/tensor/shape", test_shape);
  g_test_add_func ("/tensor/new", test_new);
  g_test_add_func ("/tensor/out-of-memory", test_out_of_memory);
  g_test_add_func ("/tensor/empty", test_empty);
  g_test_add_func ("/tensor/unaligned", test_unaligned);
  g_test_add_func ("/tensor/cast", test_cast);
  g_test_add_func ("/tensor/f8", test_f8);
  g_test_add_func ("/tensor/quantised", test_quantised);
  g_test_add_func ("/tensor/finite", test_finite);
  g_test_add_func ("/tensor/views", test_views);
  g_test_add_func ("/tensor/map", test_map);
  return g_test_run ();
}
