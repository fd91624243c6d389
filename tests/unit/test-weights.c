/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which reader a file goes to, shards beside their index, and real files of torch. */
#include "io/weights.h"

#include <string.h>

#include <glib/gstdio.h>

#include "io/safetensors.h"

/* A temporary folder, emptied at the end. */
typedef char *Folder;

static char *
folder_new (void)
{
  return g_dir_make_tmp ("sumi-test-XXXXXX", NULL);
}

static void
folder_clear (Folder *folder)
{
  GDir *dir = g_dir_open (*folder, 0, NULL);
  const char *name;

  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (*folder, name, NULL);
      g_unlink (path);
    }
  g_dir_close (dir);
  g_assert_cmpint (g_rmdir (*folder), ==, 0);
  g_free (*folder);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Folder, folder_clear)

static SumiTensorMap *
open_in (const char *folder, const char *name, GError **error)
{
  g_autofree char *path = g_build_filename (folder, name, NULL);
  return sumi_weights_open (path, error);
}

static void
write_text (const char *folder, const char *name, const char *text, gssize size)
{
  g_autofree char *path = g_build_filename (folder, name, NULL);
  g_assert_true (g_file_set_contents (path, text, size, NULL));
}

/* One tensor [value] under each of the names, separated by spaces. */
static void
write_shard (const char *folder, const char *file, const char *names, float value)
{
  g_autofree char *path = g_build_filename (folder, file, NULL);
  g_auto (GStrv) each = g_strsplit (names, " ", -1);
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();

  for (guint i = 0; each[i] != NULL; i++)
    sumi_tensor_map_take (map, each[i], sumi_tensor_new_f32 (&SUMI_SHAPE (1), &value, NULL));
  g_assert_true (sumi_safetensors_save (map, path, NULL));
}

#define INDEX(MAP) "{\"metadata\":{\"total_size\":12,\"by\":\"x\"},\"weight_map\":{" MAP "}}"

static void
test_shards (void)
{
  g_auto (Folder) folder = folder_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = NULL;
  float value;

  write_shard (folder, "one.safetensors", "a b", 1);
  write_shard (folder, "two.safetensors", "c", 2);
  write_text (folder, "model.safetensors.index.json",
              "\n" INDEX ("\"c\":\"two.safetensors\",\"a\":\"one.safetensors\",\"b\":\"one.safetensors\""), -1);
  map = open_in (folder, "model.safetensors.index.json", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_tensor_map_get_size (map), ==, 3);
  g_assert_cmpstr (sumi_tensor_map_get_name (map, 0), ==, "c");
  sumi_tensor_to_f32 (sumi_tensor_map_peek (map, "c"), &value);
  g_assert_cmpfloat (value, ==, 2);
  g_assert_cmpstr (sumi_tensor_map_get_metadata (map, "total_size"), ==, "12");
  g_assert_cmpstr (sumi_tensor_map_get_metadata (map, "by"), ==, "x");
}

static void
test_bad_shards (void)
{
  static const struct
  {
    const char *index;
    int code;
    const char *says;
  } rows[] = {
    { INDEX ("\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"c\":\"one.safetensors\""),
      SUMI_ERROR_MISSING_TENSOR, "c: not in one.safetensors" },
    { INDEX ("\"a\":\"one.safetensors\""), SUMI_ERROR_BAD_HEADER, "b: found in one.safetensors" },
    { INDEX ("\"a\":\"one.safetensors\",\"b\":\"two.safetensors\""), SUMI_ERROR_BAD_HEADER, "only in two.safetensors" },
    { INDEX ("\"a\":\"one.safetensors\",\"a\":\"one.safetensors\""), SUMI_ERROR_BAD_CONFIG, "'a' twice" },
    { INDEX ("\"a\":\"three.safetensors\""), SUMI_ERROR_MISSING_FILE, "three.safetensors" },
    { INDEX ("\"a\":\"../one.safetensors\""), SUMI_ERROR_UNSAFE_PATH, "'../one.safetensors'" },
    { INDEX ("\"a\":\"/etc/passwd\""), SUMI_ERROR_UNSAFE_PATH, "'/etc/passwd'" },
    { INDEX ("\"a\":\"sub/one.safetensors\""), SUMI_ERROR_UNSAFE_PATH, "'sub/" },
    { INDEX ("\"a\":\"C:\\\\one\""), SUMI_ERROR_UNSAFE_PATH, "'C:" },
    { INDEX ("\"a\":\"..\""), SUMI_ERROR_UNSAFE_PATH, "'..'" },
    { INDEX ("\"a\":\"\""), SUMI_ERROR_UNSAFE_PATH, "''" },
    { INDEX ("\"a\":1"), SUMI_ERROR_BAD_CONFIG, "weight_map.a" },
    { INDEX ("\"a\":\"x.index.json\""), SUMI_ERROR_TRUNCATED, "x.index.json" }, /* an index is no shard */
    { "{\"weight_map\":[]}", SUMI_ERROR_BAD_CONFIG, "weight_map" },
    { "{\"weight_map\":{}, /* \" */ [[[[", SUMI_ERROR_BAD_CONFIG, "JSON" },
    { "{\"weight_map\":{}} trailing", SUMI_ERROR_BAD_CONFIG, "JSON" },
    { "{\"model_type\":\"clip\"}", SUMI_ERROR_BAD_CONFIG, "weight_map" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_auto (Folder) folder = folder_new ();
      g_autoptr (GError) error = NULL;

      write_shard (folder, "one.safetensors", "a b", 1);
      write_shard (folder, "two.safetensors", "b", 2);
      write_text (folder, "x.index.json", rows[i].index, -1);
      g_test_message ("%s", rows[i].index);
      g_assert_null (open_in (folder, "x.index.json", &error));
      g_test_message ("%s", error->message);
      g_assert_error (error, SUMI_ERROR, rows[i].code);
      g_assert_nonnull (strstr (error->message, rows[i].says));
    }
}

/* The name says nothing, the first bytes say all. */
static void
test_sniff (void)
{
  static const struct
  {
    const char *start;
    gssize size;
    int code;
  } rows[] = {
    { "PK\3\4\24\0\0\0\0\0", 10, SUMI_ERROR_TRUNCATED },
    { "\x80\2}q\0.", 6, SUMI_ERROR_UNSAFE_PICKLE }, /* a bare pickle: not even an empty one */
    { "\x80\2\x8a\nl\xfc\x9c\x46\xf9\x20j\xa8P\x19.", 15, SUMI_ERROR_UNSAFE_PICKLE }, /* torch before 1.6 */
    { "\x80\4\x95", 3, SUMI_ERROR_UNSAFE_PICKLE },
    { "cos\nsystem\n(S'true'\ntR.", 23, SUMI_ERROR_UNSAFE_PICKLE },
    { "GGUF\1\0\0\0", 8, SUMI_ERROR_UNSUPPORTED_FORMAT },
    { "GGUF\3\0\0\0\0\0", 10, SUMI_ERROR_TRUNCATED },
    { "version https://git-lfs.github.com/spec/v1\n", 43, SUMI_ERROR_UNSUPPORTED_FORMAT },
    { "<!DOCTYPE html><html>", 21, SUMI_ERROR_UNSUPPORTED_FORMAT },
    { "{\"a\":1}", 7, SUMI_ERROR_BAD_CONFIG },
    { "{\0\1\0\0\0\0\0{", 9, SUMI_ERROR_TRUNCATED }, /* a length that begins with a brace */
    { "", 0, SUMI_ERROR_TRUNCATED },
  };
  g_auto (Folder) folder = folder_new ();
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      write_text (folder, "model.safetensors", rows[i].start, rows[i].size);
      g_assert_null (open_in (folder, "model.safetensors", &error));
      g_test_message ("%s", error->message);
      g_assert_error (error, SUMI_ERROR, rows[i].code);
      g_clear_error (&error);
    }
  g_assert_null (sumi_weights_open (folder, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT);
  g_clear_error (&error);
  g_assert_null (open_in (folder, "none", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE);
}

/* ---- comparing ---- */

static SumiTensorMap *
open_golden (const char *folder, const char *name)
{
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_GOLDEN"), folder, name, NULL);
  g_autoptr (GError) error = NULL;
  SumiTensorMap *map = sumi_weights_open (path, &error);

  g_assert_no_error (error);
  return map;
}

static void
assert_equal (SumiTensor *a, SumiTensor *b)
{
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (a), sumi_tensor_get_shape (b)));
  g_assert_cmpint (sumi_tensor_get_dtype (a), ==, sumi_tensor_get_dtype (b));
  g_assert_cmpmem (sumi_tensor_peek (a), sumi_tensor_get_size (a), sumi_tensor_peek (b), sumi_tensor_get_size (b));
}

/* ---- the files of tests/weights ---- */

static void
check_tensor (const char *name, SumiTensor *got, SumiTensor *want)
{
  gsize n = (gsize)sumi_tensor_get_numel (want);
  g_autofree float *values = g_new (float, n);
  g_autofree double *wide = g_new (double, n);

  g_test_message ("%s %s", name, sumi_dtype_name (sumi_tensor_get_dtype (got)));
  if (!sumi_dtype_is_quantised (sumi_tensor_get_dtype (got)))
    {
      assert_equal (got, want);
      return;
    }
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (got), sumi_tensor_get_shape (want)));
  sumi_tensor_to_f32 (got, values);
  g_assert_cmpmem (values, n * sizeof *values, sumi_tensor_peek (want), sumi_tensor_get_size (want));
  sumi_tensor_to_f64 (got, wide);
  for (gsize i = 0; i < n; i++)
    g_assert_cmpfloat (wide[i], ==, values[i]);
}

/* NAME.safetensors says what must be read from NAME, by tests/weights/make.py. */
static void
test_file (gconstpointer data)
{
  const char *twin_path = data;
  g_autofree char *path = g_strndup (twin_path, strlen (twin_path) - strlen (".safetensors"));
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = sumi_weights_open (path, &error), twin = NULL;
  GHashTableIter iter;
  gpointer key, value;

  g_assert_no_error (error);
  twin = sumi_safetensors_open (twin_path, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_tensor_map_get_size (map), ==, sumi_tensor_map_get_size (twin));
  for (guint i = 0; i < sumi_tensor_map_get_size (twin); i++)
    {
      const char *name = sumi_tensor_map_get_name (twin, i);
      SumiTensor *got = sumi_tensor_map_lookup (map, name, &error);

      g_assert_no_error (error);
      check_tensor (name, got, sumi_tensor_map_peek_nth (twin, i));
    }
  g_assert_cmpuint (g_hash_table_size (sumi_tensor_map_peek_metadata (map)), ==,
                    g_hash_table_size (sumi_tensor_map_peek_metadata (twin)));
  g_hash_table_iter_init (&iter, sumi_tensor_map_peek_metadata (twin));
  while (g_hash_table_iter_next (&iter, &key, &value))
    g_assert_cmpstr (sumi_tensor_map_get_metadata (map, key), ==, value);
}

static void
test_legacy (gconstpointer folder)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (open_in (folder, "legacy.pt", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PICKLE);
  g_assert_nonnull (strstr (error->message, "before 1.6"));
}

static void
add_files (const char *folder)
{
  GDir *dir = g_dir_open (folder, 0, NULL);
  const char *file;
  guint n = 0;

  g_assert_nonnull (dir);
  while ((file = g_dir_read_name (dir)) != NULL)
    if (g_str_has_suffix (file, ".safetensors"))
      {
        g_autofree char *test = g_strdup_printf ("/weights/file/%s", file);
        g_test_add_data_func_full (test, g_build_filename (folder, file, NULL), test_file, g_free);
        n++;
      }
  g_dir_close (dir);
  g_assert_cmpuint (n, >=, 10);
}

/* ---- real files ---- */

static void
test_real (void)
{
  static const struct
  {
    const char *file;
    gint64 vectors;
    const char *step;
  } rows[] = { { "ti_a1111_bad-artist.pt", 2, "1875" },
               { "ti_a1111_bad-hands-5.pt", 2, "1419" },
               { "ti_a1111_bad-prompt.pt", 16, "8000" },
               { "ti_a1111_eyeliner2.pt", 3, "3727" } };
  const char *folder = "models/textual-inversion";
  g_autoptr (SumiTensorMap) params = NULL, a1111 = NULL, bin = NULL, twin = NULL, fastai = NULL;

  if (g_getenv ("SUMI_GOLDEN") == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (SumiTensorMap) map = open_golden ("real-files", rows[i].file);
      SumiTensor *t
          = sumi_tensor_map_lookup_shaped (map, "string_to_param.*", &SUMI_SHAPE (rows[i].vectors, 768), NULL);

      g_assert_nonnull (t);
      g_assert_true (sumi_tensor_is_finite (t));
      g_assert_cmpstr (sumi_tensor_map_get_metadata (map, "step"), ==, rows[i].step);
      g_assert_cmpstr (sumi_tensor_map_get_metadata (map, "string_to_token.*"), ==, "265");
    }
  fastai = open_golden ("real-files", "ti_fastai_learned_embeds.bin");
  g_assert_nonnull (sumi_tensor_map_lookup_shaped (fastai, "<birb-style>", &SUMI_SHAPE (768), NULL));

  params = open_golden (folder, "emb_params.safetensors"); /* one embedding in four forms */
  a1111 = open_golden (folder, "golden-style.pt");
  bin = open_golden (folder, "learned_embeds.bin");
  twin = open_golden (folder, "learned_embeds.safetensors");
  assert_equal (sumi_tensor_map_peek (a1111, "string_to_param.*"), sumi_tensor_map_peek (params, "emb_params"));
  assert_equal (sumi_tensor_map_peek (bin, "<golden-style>"), sumi_tensor_map_peek (twin, "<golden-style>"));
  assert_equal (sumi_tensor_map_peek (bin, "<golden-style>"), sumi_tensor_map_peek (params, "emb_params"));
}

int
main (int argc, char **argv)
{
  g_autofree char *folder = g_build_filename (g_getenv ("SUMI_SOURCE_ROOT"), "tests", "weights", NULL);

  g_test_init (&argc, &argv, NULL);
  add_files (folder);
  g_test_add_data_func ("/weights/legacy", folder, test_legacy);
  g_test_add_func ("/weights/shards", test_shards);
  g_test_add_func ("/weights/bad-shards", test_bad_shards);
  g_test_add_func ("/weights/sniff", test_sniff);
  g_test_add_func ("/weights/real", test_real);
  return g_test_run ();
}
