/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Textual inversion files: every kind, and what is none. */
#include "diffusion/embedding.h"

#include <math.h>
#include <string.h>

/* n vectors of this width (0: one, without its own dimension), counting up from 1. */
static void
add (SumiTensorMap *file, const char *name, SumiDType dtype, gint64 n, gint64 width)
{
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, n > 0 ? &SUMI_SHAPE (n, width) : &SUMI_SHAPE (width), NULL);

  for (gint64 i = 0; i < sumi_tensor_get_numel (t); i++)
    sumi_tensor_poke_f32 (t)[i] = 1 + i % 100;
  sumi_tensor_map_take (file, name, sumi_tensor_cast (t, dtype, NULL));
}

static SumiEmbedding *
read_ok (const SumiTensorMap *file)
{
  g_autoptr (GError) error = NULL;
  SumiEmbedding *e = sumi_embedding_new (file, "stem", &error);

  g_assert_no_error (error);
  g_assert_nonnull (e);
  return e;
}

static void
check_vectors (const SumiTensor *t, gint64 n, gint64 width)
{
  const SumiShape *shape = sumi_tensor_get_shape (t);

  g_assert_cmpuint (shape->rank, ==, 2);
  g_assert_cmpint (shape->d[0], ==, n);
  g_assert_cmpint (shape->d[1], ==, width);
  for (gint64 i = 0; i < n * width; i++)
    g_assert_cmpfloat (sumi_tensor_peek_f32 (t)[i], ==, 1 + i % 100);
}

static void
check_file (const SumiTensorMap *file, const char *token, gint64 n, gint64 width, gint64 width_2)
{
  g_autoptr (SumiEmbedding) e = read_ok (file);

  g_assert_cmpstr (e->token, ==, token);
  g_assert_cmpuint (e->n_vectors, ==, n);
  g_assert_true ((e->vectors != NULL) == (width > 0));
  g_assert_true ((e->vectors_2 != NULL) == (width_2 > 0));
  if (width > 0)
    check_vectors (e->vectors, n, width);
  if (width_2 > 0)
    check_vectors (e->vectors_2, n, width_2);
}

/* One or two tensors of two vectors each. */
static void
check_kind (const char *first, gint64 width, const char *second, gint64 width_2, const char *token)
{
  g_autoptr (SumiTensorMap) file = sumi_tensor_map_new ();

  add (file, first, SUMI_F32, 2, width);
  if (second != NULL)
    add (file, second, SUMI_F16, 2, width_2);
  check_file (file, token, 2, width, width_2);
}

static void
test_kinds (void)
{
  check_kind ("string_to_param.*", 768, NULL, 0, "stem");
  check_kind ("emb_params", 768, NULL, 0, "stem");
  check_kind ("<fox>", 1024, NULL, 0, "<fox>");
  check_kind ("a.b", 4, NULL, 0, "a.b");
  check_kind ("", 4, NULL, 0, "stem");
  check_kind ("clip_l", 768, "clip_g", 1280, "stem");
  check_kind ("text_encoders_0", 7, "text_encoders_1", 12, "stem");
  check_kind ("clip_l", 768, NULL, 0, "stem");
}

static void
test_second_only (void)
{
  g_autoptr (SumiTensorMap) file = sumi_tensor_map_new ();

  add (file, "clip_g", SUMI_F32, 3, 1280);
  check_file (file, "stem", 3, 0, 1280);
}

/* The web UI's files hold more than the vectors. */
static void
test_beside (void)
{
  g_autoptr (SumiTensorMap) file = sumi_tensor_map_new ();

  add (file, "string_to_token.*", SUMI_I64, 0, 1);
  add (file, "string_to_param.*", SUMI_F32, 2, 8);
  sumi_tensor_map_set_metadata (file, "name", "other");
  sumi_tensor_map_set_metadata (file, "step", "100");
  check_file (file, "stem", 2, 8, 0);
}

static void
test_dtypes (void)
{
  static const SumiDType dtypes[] = { SUMI_F32, SUMI_F16, SUMI_BF16, SUMI_F64 };

  for (gsize i = 0; i < G_N_ELEMENTS (dtypes); i++)
    {
      g_autoptr (SumiTensorMap) file = sumi_tensor_map_new (), flat = sumi_tensor_map_new ();

      add (file, "<x>", dtypes[i], 2, 16);
      check_file (file, "<x>", 2, 16, 0);
      add (flat, "<x>", dtypes[i], 0, 16);
      check_file (flat, "<x>", 1, 16, 0);
    }
}

static void
check_refused (const SumiTensorMap *file, SumiError code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (sumi_embedding_new (file, "stem", &error));
  g_assert_error (error, SUMI_ERROR, (gint)code);
  g_test_message ("%s", error->message);
  g_assert_true (g_str_has_prefix (error->message, "stem: "));
}

static void
test_no_embedding (void)
{
  g_autoptr (SumiTensorMap) empty = sumi_tensor_map_new (), two = sumi_tensor_map_new (),
                            words = sumi_tensor_map_new ();

  check_refused (empty, SUMI_ERROR_UNKNOWN_MODEL);
  add (two, "a", SUMI_F32, 1, 4);
  add (two, "b", SUMI_F32, 1, 4);
  check_refused (two, SUMI_ERROR_UNKNOWN_MODEL);
  add (words, "string_to_param.a", SUMI_F32, 1, 4);
  add (words, "string_to_param.b", SUMI_F32, 1, 4);
  check_refused (words, SUMI_ERROR_UNKNOWN_MODEL);
}

static void
check_tensor_refused (SumiTensor *t, SumiError code)
{
  static const char *const names[] = { "<x>", "string_to_param.*", "emb_params", "clip_l", "clip_g" };

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr (SumiTensorMap) file = sumi_tensor_map_new ();

      sumi_tensor_map_set (file, names[i], t);
      check_refused (file, code);
    }
  sumi_tensor_unref (t);
}

static void
test_bad_vectors (void)
{
  SumiTensor *nan = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (2, 4), NULL);
  SumiTensor *infinite = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (4), NULL);

  check_tensor_refused (sumi_tensor_new (SUMI_F32, &SUMI_SCALAR, NULL), SUMI_ERROR_BAD_SHAPE);
  check_tensor_refused (sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 2, 4), NULL), SUMI_ERROR_BAD_SHAPE);
  check_tensor_refused (sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (0, 4), NULL), SUMI_ERROR_BAD_SHAPE);
  check_tensor_refused (sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (2, 0), NULL), SUMI_ERROR_BAD_SHAPE);
  check_tensor_refused (sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 16385), NULL), SUMI_ERROR_BAD_SHAPE);
  check_tensor_refused (sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (76, 4), NULL), SUMI_ERROR_TOO_LARGE);
  check_tensor_refused (sumi_tensor_new (SUMI_I64, &SUMI_SHAPE (2, 4), NULL), SUMI_ERROR_UNSUPPORTED_DTYPE);
  sumi_tensor_poke_f32 (nan)[5] = NAN;
  check_tensor_refused (nan, SUMI_ERROR_NON_FINITE);
  sumi_tensor_poke_f32 (infinite)[0] = INFINITY;
  check_tensor_refused (infinite, SUMI_ERROR_NON_FINITE);
}

static void
test_uneven_pair (void)
{
  g_autoptr (SumiTensorMap) file = sumi_tensor_map_new ();

  add (file, "clip_l", SUMI_F32, 2, 8);
  add (file, "clip_g", SUMI_F32, 3, 16);
  check_refused (file, SUMI_ERROR_BAD_SHAPE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/embedding/kinds", test_kinds);
  g_test_add_func ("/embedding/second-only", test_second_only);
  g_test_add_func ("/embedding/beside", test_beside);
  g_test_add_func ("/embedding/dtypes", test_dtypes);
  g_test_add_func ("/embedding/no-embedding", test_no_embedding);
  g_test_add_func ("/embedding/bad-vectors", test_bad_vectors);
  g_test_add_func ("/embedding/uneven-pair", test_uneven_pair);
  return g_test_run ();
}
