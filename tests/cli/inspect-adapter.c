/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sumi inspect on adapters and embeddings: what it prints, and what it refuses. */
#include <math.h>
#include <string.h>
#include <sys/wait.h>

#include <glib/gstdio.h>
#include <json-glib/json-glib.h>

#include "io/safetensors.h"

#define MODULE "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"

static char *sumi, *tiny_model, *path;

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

static Result
run (const char *file, const char *load_as, gboolean json)
{
  const char *argv[] = { sumi, "inspect", file, load_as, json ? "--json" : NULL, NULL };
  Result r = { NULL, NULL, 0 };
  int status;

  g_assert_true (g_spawn_sync (NULL, (char **)argv, NULL, 0, NULL, NULL, &r.out, &r.err, &status, NULL));
  g_assert_true (WIFEXITED (status));
  r.status = WEXITSTATUS (status);
  return r;
}

static void
refused (const char *file, const char *load_as, const char *class)
{
  g_auto (Result) r = run (file, load_as, FALSE);
  g_autofree char *start = g_strdup_printf ("sumi: error [%s]: ", class);

  g_assert_cmpint (r.status, ==, 1);
  g_assert_cmpstr (r.out, ==, "");
  if (!g_str_has_prefix (r.err, start))
    g_error ("found '%s', expected '%s'", r.err, start);
}

static void
add (SumiTensorMap *map, const char *name, SumiShape shape, float first)
{
  SumiTensor *t = sumi_tensor_new (SUMI_F32, &shape, NULL);

  sumi_tensor_poke_f32 (t)[0] = first;
  sumi_tensor_map_take (map, name, t);
}

static void
save (SumiTensorMap *map)
{
  GError *error = NULL;

  sumi_safetensors_save (map, path, &error);
  g_assert_no_error (error);
}

static SumiTensorMap *
make_lora (void)
{
  SumiTensorMap *map = sumi_tensor_map_new ();

  add (map, MODULE ".lora_down.weight", SUMI_SHAPE (4, 768), 1);
  add (map, MODULE ".lora_up.weight", SUMI_SHAPE (320, 4), 1);
  add (map, MODULE ".alpha", SUMI_SCALAR, 2);
  return map;
}

static void
test_lora (void)
{
  static const char *const load[] = { NULL, "--load=lora", "--load=any" };
  g_autoptr (SumiTensorMap) map = make_lora ();

  save (map);
  for (guint i = 0; i < G_N_ELEMENTS (load); i++)
    {
      g_auto (Result) text = run (path, load[i], FALSE),
                      json = load[i] != NULL ? run (path, load[i], TRUE) : run (path, "--json", FALSE);
      g_autoptr (JsonNode) node = json_from_string (json.out, NULL);
      JsonObject *o;

      g_assert_cmpint (text.status, ==, 0);
      g_assert_nonnull (strstr (text.out, "sd15\n"));
      g_assert_nonnull (strstr (text.out, "LoRA"));
      g_assert_cmpint (json.status, ==, 0);
      g_assert_nonnull (node);
      o = json_node_get_object (node);
      g_assert_cmpstr (json_object_get_string_member (o, "family"), ==, "sd15");
      g_assert_cmpstr (json_object_get_string_member (o, "kind"), ==, "lora");
      g_assert_cmpstr (json_object_get_string_member (o, "dialect"), ==, "kohya");
      g_assert_cmpint (json_object_get_int_member (o, "rank"), ==, 4);
      g_assert_cmpfloat (json_object_get_double_member (o, "alpha"), ==, 2);
      g_assert_cmpint (json_object_get_int_member (o, "modules"), ==, 1);
      g_assert_false (json_object_get_boolean_member (o, "text_encoder"));
    }
  refused (path, "--load=model", "unknown_model");
  refused (path, "--load=sd15", "unknown_model");
  refused (path, "--load=textual-inversion", "unknown_model");
  refused (tiny_model, "--load=lora", "unknown_model");
}

static void
test_broken_lora (void)
{
  g_autoptr (SumiTensorMap) map = make_lora ();

  add (map, MODULE ".lora_up.weight", SUMI_SHAPE (320, 4), NAN);
  save (map);
  refused (path, "--load=lora", "non_finite");
  add (map, MODULE ".lora_up.weight", SUMI_SHAPE (320, 5), 1);
  save (map);
  refused (path, "--load=lora", "shape_mismatch");
  sumi_tensor_map_remove (map, MODULE ".lora_up.weight");
  save (map);
  refused (path, "--load=lora", "missing_tensor");
}

static void
test_embedding (void)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();

  add (map, "emb_params", SUMI_SHAPE (3, 1024), 1);
  save (map);
  {
    g_auto (Result) text = run (path, "--load=textual-inversion", FALSE), json = run (path, "--json", FALSE);
    g_autoptr (JsonNode) node = json_from_string (json.out, NULL);
    JsonObject *o;

    g_assert_cmpint (text.status, ==, 0);
    g_assert_nonnull (strstr (text.out, "3 of 1024 values"));
    g_assert_nonnull (node);
    o = json_node_get_object (node);
    g_assert_cmpstr (json_object_get_string_member (o, "family"), ==, "sd21");
    g_assert_cmpstr (json_object_get_string_member (o, "kind"), ==, "textual-inversion");
    g_assert_cmpstr (json_object_get_string_member (o, "token"), ==, "style");
    g_assert_cmpint (json_object_get_int_member (o, "vectors"), ==, 3);
    g_assert_cmpint (json_array_get_int_element (json_object_get_array_member (o, "widths"), 0), ==, 1024);
  }
  refused (path, "--load=lora", "unknown_model");
  add (map, "emb_params", SUMI_SHAPE (3, 1024), INFINITY);
  save (map);
  refused (path, "--load=textual-inversion", "non_finite");
}

int
main (int argc, char **argv)
{
  g_autofree char *folder = NULL;
  int status;

  g_test_init (&argc, &argv, NULL);
  g_assert_cmpint (argc, ==, 3); /* sumi, a tiny text model */
  sumi = argv[1];
  tiny_model = argv[2];
  folder = g_dir_make_tmp ("sumi-test-XXXXXX", NULL);
  path = g_build_filename (folder, "style.safetensors", NULL);
  g_test_add_func ("/inspect/lora", test_lora);
  g_test_add_func ("/inspect/broken-lora", test_broken_lora);
  g_test_add_func ("/inspect/embedding", test_embedding);
  status = g_test_run ();
  g_unlink (path);
  g_rmdir (folder);
  g_free (path);
  return status;
}
