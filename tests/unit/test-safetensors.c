/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the format allows is read, what is written is read back; every rule refuses by its own class.
 * Whole malformed files are in tests/hostile. */
#include "io/safetensors.h"

#include <string.h>

#include <glib/gstdio.h>

/* length | header | data_size zero bytes */
static SumiTensorMap *
parse (const char *header, gsize data_size, GError **error)
{
  guint64 length = strlen (header);
  g_autoptr (GByteArray) file = g_byte_array_new ();
  g_autofree guint8 *zeros = g_malloc0 (data_size + 1);
  g_autoptr (GBytes) bytes = NULL;

  g_byte_array_append (file, (const guint8 *)&length, sizeof length);
  g_byte_array_append (file, (const guint8 *)header, (guint)length);
  g_byte_array_append (file, zeros, (guint)data_size);
  bytes = g_byte_array_free_to_bytes (g_steal_pointer (&file));
  return sumi_safetensors_parse (bytes, error);
}

#define T(NAME, DTYPE, SHAPE, OFFSETS)                                                                                 \
  "\"" NAME "\":{\"dtype\":\"" DTYPE "\",\"shape\":" SHAPE ",\"data_offsets\":" OFFSETS "}"
#define RANK9 "[1,1,1,1,1,1,1,1,1]"

static const struct
{
  const char *header;
  gsize data;
  int code; /* -1: good */
} rows[] = {
  { "{}", 0, -1 },
  { "  {}  \n", 0, -1 },
  { "{" T ("a", "F32", "[2, 2]", "[0, 16]") "}   ", 16, -1 },
  { "{ \"a\" : { \"shape\" : [ ] , \"data_offsets\" : [ 0 , 8 ] , \"dtype\" : \"I64\" } }", 8, -1 },
  { "{\"__metadata__\":{}}", 0, -1 },
  { "{\"__metadata__\":{\"k\":\"v\"}}", 0, -1 },
  { "{" T ("a", "U8", "[0,9]", "[0,0]") "," T ("b", "U8", "[1]", "[0,1]") "," T ("c", "U8", "[0]", "[0,0]") "}", 1,
    -1 },

  { "", 0, SUMI_ERROR_BAD_HEADER },
  { "[]", 0, SUMI_ERROR_BAD_HEADER },
  { "{", 0, SUMI_ERROR_BAD_HEADER },
  { "{}}", 0, SUMI_ERROR_BAD_HEADER },
  { "{,}", 0, SUMI_ERROR_BAD_HEADER },
  { "{" T ("a", "U8", "[]", "[0,1]") ",}", 1, SUMI_ERROR_BAD_HEADER },
  { "{\"a\":1}", 0, SUMI_ERROR_BAD_HEADER },
  { "{\"a\":{}}", 0, SUMI_ERROR_BAD_HEADER },
  { "{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 0, SUMI_ERROR_BAD_HEADER },
  { "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":1}}", 1, SUMI_ERROR_BAD_HEADER },
  { "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("a", "U8", "[]", "[0,1]") "," T ("\\u0061", "U8", "[]", "[1,2]") "}", 2, SUMI_ERROR_BAD_HEADER },
  { "{\"__metadata__\":{\"k\":1}}", 0, SUMI_ERROR_BAD_HEADER },
  { "{\"__metadata__\":{\"k\":\"v\",\"k\":\"v\"}}", 0, SUMI_ERROR_BAD_HEADER },
  { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, SUMI_ERROR_BAD_HEADER },
  { "{\"__metadata__\":{\"k\":{\"k\":\"v\"}}}", 0, SUMI_ERROR_BAD_HEADER },
  { "{" T ("a\\", "U8", "[]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("\\x", "U8", "[]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("\\u0000", "U8", "[]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("\\u12", "U8", "[]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("\\ud800", "U8", "[]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("\\ud800\\u0041", "U8", "[]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("\\udc00", "U8", "[]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("a\n", "U8", "[]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("a\xff", "U8", "[]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("a", "U8", "[01]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("a", "U8", "[1", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("a", "U8", "[null]", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },
  { "{" T ("a", "U8", "{}", "[0,1]") "}", 1, SUMI_ERROR_BAD_HEADER },

  { "{" T ("a", "u8", "[1]", "[0,1]") "}", 1, SUMI_ERROR_UNSUPPORTED_DTYPE },
  { "{" T ("a", "C64", "[1]", "[0,8]") "}", 8, SUMI_ERROR_UNSUPPORTED_DTYPE },
  { "{" T ("a", "Q8_0", "[32]", "[0,34]") "}", 34, SUMI_ERROR_UNSUPPORTED_DTYPE }, /* a type of GGUF only */

  { "{" T ("a", "U8", "[1.0]", "[0,1]") "}", 1, SUMI_ERROR_BAD_SHAPE },
  { "{" T ("a", "U8", "[1e0]", "[0,1]") "}", 1, SUMI_ERROR_BAD_SHAPE },
  { "{" T ("a", "U8", "[-1]", "[0,1]") "}", 1, SUMI_ERROR_BAD_SHAPE },
  { "{" T ("a", "U8", "[18446744073709551617]", "[0,1]") "}", 1, SUMI_ERROR_BAD_SHAPE },
  { "{" T ("a", "U8", "[9223372036854775808]", "[0,1]") "}", 1, SUMI_ERROR_BAD_SHAPE },
  { "{" T ("a", "F32", "[4611686018427387904]", "[0,0]") "}", 0, SUMI_ERROR_BAD_SHAPE },
  { "{" T ("a", "U8", "[0,9223372036854775807,2]", "[0,0]") "}", 0, SUMI_ERROR_BAD_SHAPE },
  { "{" T ("a", "U8", RANK9, "[0,1]") "}", 1, SUMI_ERROR_BAD_SHAPE },

  { "{" T ("a", "F32", "[1]", "[0,3]") "}", 3, SUMI_ERROR_BAD_OFFSETS },
  { "{" T ("a", "U8", "[1]", "[1,0]") "}", 1, SUMI_ERROR_BAD_OFFSETS },
  { "{" T ("a", "U8", "[1]", "[0]") "}", 1, SUMI_ERROR_BAD_OFFSETS },
  { "{" T ("a", "U8", "[1]", "[0,1,2]") "}", 1, SUMI_ERROR_BAD_OFFSETS },
  { "{" T ("a", "U8", "[1]", "[-1,0]") "}", 1, SUMI_ERROR_BAD_OFFSETS },
  { "{" T ("a", "U8", "[1]", "[0.0,1]") "}", 1, SUMI_ERROR_BAD_OFFSETS },
  { "{" T ("a", "U8", "[1]", "[1,2]") "}", 2, SUMI_ERROR_BAD_OFFSETS },
  { "{" T ("a", "U8", "[2]", "[0,2]") "," T ("b", "U8", "[2]", "[1,3]") "}", 3, SUMI_ERROR_BAD_OFFSETS },
  { "{" T ("a", "U8", "[1]", "[0,1]") "," T ("b", "U8", "[1]", "[2,3]") "}", 3, SUMI_ERROR_BAD_OFFSETS },
  { "{" T ("a", "U8", "[1]", "[0,1]") "}", 2, SUMI_ERROR_BAD_OFFSETS },
  { "{}", 1, SUMI_ERROR_BAD_OFFSETS },

  { "{" T ("a", "U8", "[2]", "[0,2]") "}", 1, SUMI_ERROR_TRUNCATED },
};

static void
test_rules (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (SumiTensorMap) map = parse (rows[i].header, rows[i].data, &error);

      g_autofree char *shown = g_strescape (rows[i].header, NULL);

      g_test_message ("%s: %s", shown, error != NULL ? error->message : "read");
      if (rows[i].code < 0)
        g_assert_no_error (error);
      else
        g_assert_error (error, SUMI_ERROR, rows[i].code);
      g_assert_true ((map == NULL) == (error != NULL));
    }
}

static void
test_strings (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = parse ("{\"__metadata__\":{\"\\\"\\\\\\/\\n\":\"\\u00e9\xc3\xa9\\ud83e\\udd8a\"},"
                                         "\"\\u65e5\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}",
                                         1, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (sumi_tensor_map_get_metadata (map, "\"\\/\n"), ==, "éé🦊");
  g_assert_cmpstr (sumi_tensor_map_get_name (map, 0), ==, "日");
}

/* A header of 100 MB and one byte is refused by its length alone; so is one with too many tensors. */
static void
test_limits (void)
{
  const gsize size = 100000001;
  char *file = g_malloc0 (8 + size);
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) many = g_string_new ("{");

  memcpy (file, &size, 8);
  bytes = g_bytes_new_take (file, 8 + size);
  g_assert_null (sumi_safetensors_parse (bytes, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE);
  g_clear_error (&error);

  for (int i = 0; i < 140000; i++)
    g_string_append_printf (many, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "", i);
  g_string_append_c (many, '}');
  g_assert_null (parse (many->str, 0, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE);
}

static void
test_other_formats (void)
{
  static const struct
  {
    const char *start;
    gsize n;
    int code;
  } files[] = { { "PK\3\4\24\0\0\0\0\0", 10, SUMI_ERROR_UNSUPPORTED_FORMAT },
                { "\x80\2\x8a\nl\xfc\x9c\x46\xf9\x20", 10, SUMI_ERROR_UNSAFE_PICKLE },
                { "GGUF\3\0\0\0\0\0", 10, SUMI_ERROR_UNSUPPORTED_FORMAT },
                { "version https://git-lfs.github.com/spec/v1\n", 43, SUMI_ERROR_UNSUPPORTED_FORMAT } };

  for (guint i = 0; i < G_N_ELEMENTS (files); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (GBytes) bytes = g_bytes_new_static (files[i].start, files[i].n);
      g_assert_null (sumi_safetensors_parse (bytes, &error));
      g_assert_error (error, SUMI_ERROR, files[i].code);
    }
}

static char *
temporary_path (const char *name)
{
  g_autofree char *folder = g_dir_make_tmp ("sumi-test-XXXXXX", NULL);
  return g_build_filename (folder, name, NULL);
}

static void
remove_path (const char *path)
{
  g_autofree char *folder = g_path_get_dirname (path);
  g_unlink (path);
  g_assert_cmpint (g_rmdir (folder), ==, 0); /* nothing else was left there */
}

static void
test_round_trip (void)
{
  const float values[] = { 1, -2, 3 };
  const guint8 byte = 7;
  g_autofree char *path = temporary_path ("a.safetensors");
  g_autofree char *first = NULL, *second = NULL;
  gsize n_first, n_second;
  guint64 length;
  g_autoptr (GBytes) bytes = g_bytes_new_static (&byte, 1);
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new (), back = NULL;
  g_autoptr (GError) error = NULL;

  sumi_tensor_map_take (map, "b\"\n", sumi_tensor_new_bytes (SUMI_U8, &SUMI_SCALAR, bytes, NULL));
  sumi_tensor_map_take (map, "empty", sumi_tensor_new (SUMI_F16, &SUMI_SHAPE (0, 5), NULL));
  sumi_tensor_map_take (map, "a", sumi_tensor_new_f32 (&SUMI_SHAPE (3), values, NULL));
  sumi_tensor_map_set_metadata (map, "format", "pt");
  sumi_tensor_map_set_metadata (map, "é\\", "\t");
  g_assert_true (sumi_safetensors_save (map, path, &error));
  g_assert_no_error (error);

  back = sumi_safetensors_open (path, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_tensor_map_get_size (back), ==, 3);
  g_assert_cmpstr (sumi_tensor_map_get_name (back, 0), ==, "a"); /* largest element first */
  g_assert_cmpstr (sumi_tensor_map_get_metadata (back, "é\\"), ==, "\t");
  g_assert_cmpmem (sumi_tensor_peek (sumi_tensor_map_peek (back, "a")), 12, values, 12);
  g_assert_true (sumi_tensor_is_aligned (sumi_tensor_map_peek (back, "a")));
  g_assert_cmpint (*(const guint8 *)sumi_tensor_peek (sumi_tensor_map_peek (back, "b\"\n")), ==, 7);
  g_assert_cmpint (sumi_tensor_get_shape (sumi_tensor_map_peek (back, "empty"))->d[1], ==, 5);

  /* Writing over the very file the tensors are mapped from, in another order, gives the same bytes. */
  g_assert_true (g_file_get_contents (path, &first, &n_first, NULL));
  g_assert_true (sumi_safetensors_save (back, path, &error));
  g_assert_true (g_file_get_contents (path, &second, &n_second, NULL));
  g_assert_cmpmem (first, n_first, second, n_second);
  memcpy (&length, first, 8);
  g_assert_cmpuint (length % 8, ==, 0);
  remove_path (path);
}

/* KiB of this process's memory that are pages of files */
static gint64
file_pages (void)
{
  g_autofree char *status = NULL;
  const char *line;

  g_assert_true (g_file_get_contents ("/proc/self/status", &status, NULL, NULL));
  line = strstr (status, "RssFile:");
  g_assert_nonnull (line);
  return g_ascii_strtoll (line + strlen ("RssFile:"), NULL, 10);
}

/* Mapped pages go, and come back with the same values; own memory stays as it is. */
static void
test_forget_pages (void)
{
  const gint64 n = 1 << 21;
  g_autofree char *path = temporary_path ("a.safetensors");
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new (), back = NULL;
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (2, n), NULL), row = NULL, first = NULL;
  gint64 before;

  sumi_tensor_poke_f32 (t)[n] = 5;
  sumi_tensor_map_set (map, "a", t);
  sumi_tensor_forget_pages (t);
  g_assert_cmpfloat (sumi_tensor_peek_f32 (t)[n], ==, 5);
  g_assert_true (sumi_safetensors_save (map, path, NULL));

  back = sumi_safetensors_open (path, NULL);
  row = sumi_tensor_slice0 (sumi_tensor_map_peek (back, "a"), 1, 1, NULL);
  g_assert_true (sumi_tensor_is_finite (row)); /* reads it */
  before = file_pages ();
  sumi_tensor_forget_pages (row);
  g_assert_cmpint (before - file_pages (), >, n * 4 / 1024 * 9 / 10);
  first = sumi_tensor_slice0 (row, 0, 1, NULL);
  g_assert_cmpfloat (*(const float *)sumi_tensor_peek (first), ==, 5);
  remove_path (path);
}

/* A failed write leaves the old file and no other. */
static void
test_bad_names (void)
{
  g_autofree char *path = temporary_path ("a.safetensors"), *text = NULL;
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  g_autoptr (GError) error = NULL;

  g_assert_true (g_file_set_contents (path, "old", -1, NULL));
  sumi_tensor_map_take (map, "__metadata__", sumi_tensor_new (SUMI_F32, &SUMI_SCALAR, NULL));
  g_assert_false (sumi_safetensors_save (map, path, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER);
  g_clear_error (&error);
  sumi_tensor_map_remove (map, "__metadata__");
  sumi_tensor_map_take (map, "\xff", sumi_tensor_new (SUMI_F32, &SUMI_SCALAR, NULL));
  g_assert_false (sumi_safetensors_save (map, path, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER);
  g_clear_error (&error);
  sumi_tensor_map_remove (map, "\xff");
  sumi_tensor_map_take (map, "q", sumi_tensor_new (SUMI_Q8_0, &SUMI_SHAPE (32), NULL));
  g_assert_false (sumi_safetensors_save (map, path, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE);
  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "old");
  remove_path (path);
}

static void
test_open (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (sumi_safetensors_open ("/nowhere/at-all.safetensors", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE);
  g_clear_error (&error);
  g_assert_null (sumi_safetensors_open (g_get_tmp_dir (), &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/safetensors/rules", test_rules);
  g_test_add_func ("/safetensors/strings", test_strings);
  g_test_add_func ("/safetensors/limits", test_limits);
  g_test_add_func ("/safetensors/other-formats", test_other_formats);
  g_test_add_func ("/safetensors/round-trip", test_round_trip);
  g_test_add_func ("/safetensors/forget-pages", test_forget_pages);
  g_test_add_func ("/safetensors/bad-names", test_bad_names);
  g_test_add_func ("/safetensors/open", test_open);
  return g_test_run ();
}
