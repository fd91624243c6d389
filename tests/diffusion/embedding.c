/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Textual inversion files: every kind, and what is none. */
#include "diffusion/embedding.h"

#include <math.h>
#include <string.h>

#include "io/weights.h"

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

/* ---- real files ---- */

static SumiEmbedding *
open_file (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *file = g_build_filename (g_getenv ("SUMI_GOLDEN"), path, NULL), *stem = g_path_get_basename (file);
  g_autoptr (SumiTensorMap) map = sumi_weights_open (file, &error);
  SumiEmbedding *e;

  g_assert_no_error (error);
  *strrchr (stem, '.') = '\0';
  e = sumi_embedding_new (map, stem, &error);
  g_assert_no_error (error);
  return e;
}

static void
test_files (void)
{
  static const struct
  {
    const char *path, *token;
    guint n;
    gint64 width;
  } rows[] = {
    { "models/textual-inversion/emb_params.safetensors", "emb_params", 2, 32 },
    { "models/textual-inversion/learned_embeds.safetensors", "<golden-style>", 2, 32 },
    { "models/textual-inversion/learned_embeds.bin", "<golden-style>", 2, 32 },
    { "models/textual-inversion/golden-style.pt", "golden-style", 2, 32 },
    { "real-files/ti_a1111_bad-artist.pt", "ti_a1111_bad-artist", 2, 768 },
    { "real-files/ti_a1111_bad-hands-5.pt", "ti_a1111_bad-hands-5", 2, 768 },
    { "real-files/ti_a1111_bad-prompt.pt", "ti_a1111_bad-prompt", 16, 768 },
    { "real-files/ti_a1111_eyeliner2.pt", "ti_a1111_eyeliner2", 3, 768 },
    { "real-files/ti_fastai_learned_embeds.bin", "<birb-style>", 1, 768 },
  };
  g_autoptr (SumiEmbedding) first = NULL;

  if (g_getenv ("SUMI_GOLDEN") == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  first = open_file (rows[0].path);
  for (gsize i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (SumiEmbedding) e = open_file (rows[i].path);

      g_assert_cmpstr (e->token, ==, rows[i].token);
      g_assert_cmpuint (e->n_vectors, ==, rows[i].n);
      g_assert_null (e->vectors_2);
      g_assert_cmpint (sumi_tensor_get_shape (e->vectors)->d[0], ==, rows[i].n);
      g_assert_cmpint (sumi_tensor_get_shape (e->vectors)->d[1], ==, rows[i].width);
      if (rows[i].width == 32) /* all four hold the same */
        g_assert_cmpmem (sumi_tensor_peek (e->vectors), sumi_tensor_get_size (e->vectors),
                         sumi_tensor_peek (first->vectors), sumi_tensor_get_size (first->vectors));
    }
}

/* Every other real file is none. */
static void
test_other_files (void)
{
  static const char *const paths[]
      = { "real-files/sd15_peft_lora_mvclab.safetensors", "real-files/cloneofsimo_analog_svd_rank4.safetensors",
          "real-files/derived_vaeapprox_sd1.safetensors", "models/tiny-sd15.safetensors" };

  if (g_getenv ("SUMI_GOLDEN") == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  for (gsize i = 0; i < G_N_ELEMENTS (paths); i++)
    {
      g_autofree char *path = g_build_filename (g_getenv ("SUMI_GOLDEN"), paths[i], NULL);
      g_autoptr (SumiTensorMap) map = sumi_weights_open (path, NULL);

      g_assert_nonnull (map);
      check_refused (map, SUMI_ERROR_UNKNOWN_MODEL);
    }
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
  g_test_add_func ("/embedding/files", test_files);
  g_test_add_func ("/embedding/other-files", test_other_files);
  return g_test_run ();
}
