/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every reference case of a component that is there, through `sumi probe --check`, on every engine of this build. */
#include "golden.h"

#include <glib/gstdio.h>
#include <string.h>

#include "engine/engine.h"

/* What must be found: a case that has gone, or can no longer be run, is a failure. */
static const char *const expected[] = {
  "ddim-sample-T1000",
  "ddim-sample-eta0",
  "ddim-sample-eta0.5",
  "ddpm-sample-ddpm-unet",
  "ddpm-sample-ddpm-unet-lv",
  "ddpm-train-cosine",
  "ddpm-train-linear",
  "ddpm-train-quadratic",
  "lora-diffusers",
  "lora-kohya",
  "lora-kohya-locon",
  "lora-legacy",
  "lora-peft",
  "p-sample-loop",
  "pixel-ddpm-unet-0",
  "pixel-ddpm-unet-1",
  "pixel-ddpm-unet-lv-0",
  "pixel-ddpm-unet-lv-1",
  "pixel-simple-unet-0",
  "pixel-simple-unet-1",
  "schedule-cosine",
  "schedule-linear",
  "schedule-quadratic",
  "text-encoder-tiny-sd15",
  "text-encoder-tiny-sd21",
  "text-encoder-tiny-sdxl",
  "text-encoder-tiny-sdxl-2",
  "textual-inversion",
  "tokenizer",
  "unet-backward-tiny-sd15",
  "unet-backward-tiny-sd21",
  "unet-tiny-inpaint-0",
  "unet-tiny-inpaint-1",
  "unet-tiny-sd15-0",
  "unet-tiny-sd15-1",
  "unet-tiny-sd15-odd",
  "unet-tiny-sd21-0",
  "unet-tiny-sd21-1",
  "unet-tiny-sdxl-0",
  "unet-tiny-sdxl-1",
  "vae-decoder-tiny-sd15-0",
  "vae-decoder-tiny-sd15-1",
  "vae-decoder-tiny-sd21-0",
  "vae-decoder-tiny-sd21-1",
  "vae-decoder-tiny-sdxl-0",
  "vae-decoder-tiny-sdxl-1",
  "vae-encoder-tiny-sd15-0",
  "vae-encoder-tiny-sd15-1",
  "vae-encoder-tiny-sd21-0",
  "vae-encoder-tiny-sd21-1",
  "vae-encoder-tiny-sdxl-0",
  "vae-encoder-tiny-sdxl-1",
  "vae-train-tiny-sd15",
};

static const char *const components[] = { "ddim-sample", "ddpm-sample",   "ddpm-train",
                                          "lora",        "p-sample-loop", "schedule",
                                          "tokenizer",   "text-encoder",  "textual-inversion",
                                          "unet",        "unet-backward", "vae-decoder",
                                          "vae-encoder", "vae-train",     NULL };

typedef struct
{
  char *name;
  const char *engine;
  gboolean single_file;
} Case;

static char *
run_probe (const Case *c, int *status)
{
  g_autofree char *dir = g_dir_make_tmp ("sumi-probe-XXXXXX", NULL);
  g_autofree char *output = g_build_filename (dir, "out.safetensors", NULL);
  const char *argv[] = { g_getenv ("SUMI"),
                         "probe",
                         "--root",
                         g_getenv ("SUMI_GOLDEN"),
                         "--case",
                         c->name,
                         "--output",
                         output,
                         "--engine",
                         c->engine,
                         "--check",
                         c->single_file ? "--single-file" : NULL,
                         NULL };
  GSubprocess *process;
  GError *error = NULL;
  char *text = NULL;

  process = g_subprocess_newv (argv, G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE, &error);
  g_assert_no_error (error);
  g_subprocess_communicate_utf8 (process, NULL, NULL, &text, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (g_subprocess_get_if_exited (process));
  *status = g_subprocess_get_exit_status (process);
  g_assert_true (g_file_test (output, G_FILE_TEST_EXISTS));
  g_object_unref (process);
  g_remove (output);
  g_rmdir (dir);
  return text;
}

static void
test_case (gconstpointer data)
{
  const Case *c = data;
  int status;
  g_autofree char *text = run_probe (c, &status);

  if (status != 0)
    g_test_message ("%s", text);
  g_assert_cmpint (status, ==, 0);
  g_assert_null (strstr (text, "FAIL"));
  g_assert_nonnull (strstr (text, "\nok: "));
}

static void
test_all_are_there (gconstpointer data)
{
  GHashTable *found = (GHashTable *)data;

  for (guint i = 0; i < G_N_ELEMENTS (expected); i++)
    if (!g_hash_table_contains (found, expected[i]))
      g_error ("case %s is not in the reference data, or its component is not run", expected[i]);
}

static void
case_free (gpointer data)
{
  Case *c = data;

  g_free (c->name);
  g_free (c);
}

/* A model that is there as a folder and as a single file. */
static gboolean
is_twofold (const char *root, JsonObject *json)
{
  const char *model = json_object_get_string_member_with_default (json, "model", "");
  g_autofree char *folder = g_build_filename (root, "models", model, NULL);
  g_autofree char *file = g_strconcat (folder, ".safetensors", NULL);

  return *model != '\0' && g_file_test (folder, G_FILE_TEST_IS_DIR) && g_file_test (file, G_FILE_TEST_EXISTS);
}

static void
add_test (const char *name, const char *engine, gboolean single_file)
{
  g_autofree char *path = g_strdup_printf ("/cases/%s%s/%s", engine, single_file ? "-single-file" : "", name);
  Case *c = g_new0 (Case, 1);

  *c = (Case){ g_strdup (name), engine, single_file };
  g_test_add_data_func_full (path, c, test_case, case_free);
}

static void
add_case (const char *root, const char *name, const char *engine, GHashTable *found)
{
  g_autofree char *path = g_build_filename (root, "cases", name, "case.json", NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonObject *json;

  if (!json_parser_load_from_file (parser, path, NULL))
    return;
  json = json_node_get_object (json_parser_get_root (parser));
  if (!g_strv_contains (components, json_object_get_string_member (json, "component")))
    return;
  g_hash_table_add (found, g_strdup (name));
  add_test (name, engine, FALSE);
  if (is_twofold (root, json))
    add_test (name, engine, TRUE);
}

static void
test_no_reference (void)
{
  golden_root ();
}

int
main (int argc, char **argv)
{
  static const char *const engines[] = { "ref", "cpu" };
  const char *root = g_getenv ("SUMI_GOLDEN");
  g_autoptr (GHashTable) found = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autofree char *folder = root != NULL ? g_build_filename (root, "cases", NULL) : NULL;
  g_autoptr (GDir) dir = folder != NULL ? g_dir_open (folder, 0, NULL) : NULL;

  g_test_init (&argc, &argv, NULL);
  if (dir == NULL)
    {
      g_test_add_func ("/cases", test_no_reference);
      return g_test_run ();
    }
  for (guint e = 0; e < G_N_ELEMENTS (engines); e++)
    {
      g_autoptr (SumiEngine) engine = sumi_engine_open (engines[e], NULL);

      g_dir_rewind (dir);
      for (const char *name; engine != NULL && (name = g_dir_read_name (dir)) != NULL;)
        add_case (root, name, engines[e], found);
    }
  g_test_add_data_func ("/cases/all-are-there", found, test_all_are_there);
  return g_test_run ();
}
