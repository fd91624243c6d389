/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sumi inspect and sumi models: what they print, and how they fail. */
#include <string.h>
#include <sys/wait.h>

#include <glib/gstdio.h>
#include <json-glib/json-glib.h>

#include "io/safetensors.h"

static char *sumi, *tiny_model, *folder;

typedef struct
{
  char *out, *err;
  int status;
} Result;

static void
result_clear (Result *r)
{
  g_free (r->out);
  g_free (r->err);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Result, result_clear)

/* The user's data lie in the test's folder. */
static Result
run (const char *command, const char *argument, const char *option)
{
  const char *argv[] = { sumi, command, argument, option, NULL };
  g_auto (GStrv) environment = g_environ_setenv (g_get_environ (), "XDG_DATA_HOME", folder, TRUE);
  Result r = { NULL, NULL, 0 };
  int status;

  g_assert_true (g_spawn_sync (NULL, (char **)argv, environment, 0, NULL, NULL, &r.out, &r.err, &status, NULL));
  g_assert_true (WIFEXITED (status));
  r.status = WEXITSTATUS (status);
  return r;
}

static void
test_json (void)
{
  g_auto (Result) r = run ("inspect", tiny_model, "--json");
  g_autoptr (JsonNode) node = json_from_string (r.out, NULL);
  JsonObject *o;

  g_assert_cmpint (r.status, ==, 0);
  g_assert_cmpstr (r.err, ==, "");
  g_assert_nonnull (node);
  o = json_node_get_object (node);
  g_assert_cmpstr (json_object_get_string_member (o, "family"), ==, "sumi-latent");
  g_assert_cmpstr (json_object_get_string_member (o, "prediction_type"), ==, "v_prediction");
  g_assert_cmpint (json_object_get_int_member (o, "parameters"), >, 1000);
  g_assert_cmpint (json_object_get_int_member (json_object_get_object_member (o, "dtypes"), "I64"), ==, 1);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (o, "missing")), ==, 0);
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (o, "unknown")), ==, 0);
  g_assert_true (json_object_has_member (json_object_get_object_member (o, "metadata"), "sumi.config"));
}

static void
test_text (void)
{
  g_auto (Result) r = run ("inspect", tiny_model, "--load=model");

  g_assert_cmpint (r.status, ==, 0);
  g_assert_nonnull (strstr (r.out, "sumi-latent"));
  g_assert_nonnull (strstr (r.out, "v_prediction"));
  g_assert_nonnull (strstr (r.out, " F32"));
}

/* Names and texts in a file cannot write to the terminal. */
static void
test_control_characters (void)
{
  g_autofree char *path = g_build_filename (folder, "a.safetensors", NULL);
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();

  sumi_tensor_map_set_metadata (map, "k\033[31m", "v\nw");
  sumi_tensor_map_take (map, "t\033[2J", sumi_tensor_new (SUMI_F32, &SUMI_SCALAR, NULL));
  g_assert_true (sumi_safetensors_save (map, path, NULL));
  g_auto (Result) text = run ("inspect", path, NULL), load = run ("inspect", path, "--load=model");
  g_assert_cmpint (text.status, ==, 0);
  g_assert_null (strchr (text.out, '\033'));
  g_assert_null (strstr (text.out, "v\nw"));
  g_assert_cmpint (load.status, ==, 1);
  g_assert_true (g_str_has_prefix (load.err, "sumi: error [unknown_model]: "));
  g_assert_null (strchr (load.err, '\033'));
  g_unlink (path);
}

static void
test_usage (void)
{
  g_auto (Result) none = run ("inspect", NULL, NULL), two = run ("inspect", "a", "b");
  g_auto (Result) as = run ("inspect", tiny_model, "--load=picture"), missing = run ("inspect", "/nowhere/x", NULL);

  g_assert_cmpint (none.status, ==, 2);
  g_assert_cmpint (two.status, ==, 2);
  g_assert_cmpint (as.status, ==, 2);
  g_assert_true (g_str_has_prefix (as.err, "sumi: error [usage]: --load: found 'picture'"));
  g_assert_cmpint (missing.status, ==, 1);
  g_assert_true (g_str_has_prefix (missing.err, "sumi: error [missing_file]: "));
}

static void
test_models (void)
{
  g_autofree char *dir = g_build_filename (folder, "sumi", "models", NULL);
  g_autofree char *path = g_build_filename (dir, "mine.safetensors", NULL),
                  *line = g_strconcat ("mine\t", path, "\n", NULL);
  g_autofree char *parent = g_path_get_dirname (dir), *bytes = NULL;
  gsize size;

  g_assert_cmpint (g_mkdir_with_parents (dir, 0777), ==, 0);
  g_assert_true (g_file_get_contents (tiny_model, &bytes, &size, NULL));
  g_assert_true (g_file_set_contents (path, bytes, (gssize)size, NULL));
  g_auto (Result) list = run ("models", NULL, NULL), word = run ("models", "list", NULL),
                  wrong = run ("models", "x", NULL);
  g_auto (Result) by_name = run ("inspect", "mine", NULL);
  g_assert_cmpint (list.status, ==, 0);
  g_assert_nonnull (strstr (list.out, line));
  g_assert_cmpstr (word.out, ==, list.out);
  g_assert_cmpint (wrong.status, ==, 2);
  g_assert_cmpint (by_name.status, ==, 0);
  g_unlink (path);
  g_rmdir (dir);
  g_rmdir (parent);
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  g_assert_cmpint (argc, ==, 3); /* sumi, a tiny text model */
  sumi = argv[1];
  tiny_model = argv[2];
  folder = g_dir_make_tmp ("sumi-test-XXXXXX", NULL);
  g_test_add_func ("/inspect/json", test_json);
  g_test_add_func ("/inspect/text", test_text);
  g_test_add_func ("/inspect/control-characters", test_control_characters);
  g_test_add_func ("/inspect/usage", test_usage);
  g_test_add_func ("/models/list", test_models);
  status = g_test_run ();
  g_rmdir (folder);
  return status;
}
