/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whole ways from a prompt to a picture: every reference case through `sumi probe --check`, from both forms of a model
 * and on every engine; and through `sumi generate`, whose own draws, text and scheduler must come to the same latents.
 */
#include "golden.h"

#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

#include "io/json.h"
#include "io/safetensors.h"

/* How many cases there are at least of each component. */
static const struct
{
  const char *component;
  guint n;
} expected[] = { { "generate", 31 }, { "img2img", 3 }, { "inpaint", 2 } };

typedef struct
{
  char *name;
  const char *engine;
  gboolean single_file;
} Case;

static void
case_free (gpointer data)
{
  Case *c = data;

  g_free (c->name);
  g_free (c);
}

/* What the program says; it must end well. */
static char *
run_well (GPtrArray *argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GSubprocess) process = NULL;
  char *said = NULL;

  g_ptr_array_add (argv, NULL);
  process = g_subprocess_newv ((const char *const *)argv->pdata,
                               G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE, &error);
  g_assert_no_error (error);
  g_subprocess_communicate_utf8 (process, NULL, NULL, &said, NULL, &error);
  g_assert_no_error (error);
  if (!g_subprocess_get_if_exited (process) || g_subprocess_get_exit_status (process) != 0)
    g_test_message ("%s", said);
  g_assert_true (g_subprocess_get_if_exited (process));
  g_assert_cmpint (g_subprocess_get_exit_status (process), ==, 0);
  return said;
}

static GPtrArray *
command (const char *name)
{
  GPtrArray *argv = g_ptr_array_new_with_free_func (g_free);

  g_ptr_array_add (argv, g_strdup (g_getenv ("SUMI")));
  g_ptr_array_add (argv, g_strdup (name));
  return argv;
}

/* option and value; value: taken over. */
static void
add (GPtrArray *argv, const char *option, char *value)
{
  g_ptr_array_add (argv, g_strdup (option));
  g_ptr_array_add (argv, value);
}

/* ---- probe ---- */

static void
test_probe (gconstpointer data)
{
  const Case *c = data;
  g_autofree char *dir = g_dir_make_tmp ("sumi-probe-XXXXXX", NULL);
  g_autofree char *output = g_build_filename (dir, "out.safetensors", NULL), *said = NULL;
  g_autoptr (GPtrArray) argv = command ("probe");

  add (argv, "--root", g_strdup (g_getenv ("SUMI_GOLDEN")));
  add (argv, "--case", g_strdup (c->name));
  add (argv, "--output", g_strdup (output));
  add (argv, "--engine", g_strdup (c->engine));
  g_ptr_array_add (argv, g_strdup ("--check"));
  if (c->single_file)
    g_ptr_array_add (argv, g_strdup ("--single-file"));
  said = run_well (argv);
  g_assert_null (strstr (said, "FAIL"));
  g_assert_nonnull (strstr (said, "\nok: "));
  g_remove (output);
  g_rmdir (dir);
}

/* ---- generate ---- */

static JsonObject *
case_json (const char *name)
{
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_GOLDEN"), "cases", name, "case.json", NULL);
  g_autoptr (GError) error = NULL;
  JsonObject *json = sumi_json_load (path, &error);

  g_assert_no_error (error);
  return json;
}

static char *
number (double x)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];

  return g_strdup (g_ascii_dtostr (text, sizeof text, x));
}

static void
add_params (GPtrArray *argv, JsonObject *params)
{
  g_autofree char *sampler = g_strdup (json_object_get_string_member (params, "sampler"));

  if (g_str_has_suffix (sampler, "_karras"))
    {
      sampler[strlen (sampler) - strlen ("_karras")] = '\0';
      add (argv, "--schedule", g_strdup ("diffusers-karras"));
    }
  add (argv, "--sampler", g_strdup (sampler));
  add (argv, "--emphasis", g_strdup ("none"));
  add (argv, "--prompt", g_strdup (json_object_get_string_member (params, "prompt")));
  add (argv, "--negative", g_strdup (json_object_get_string_member (params, "negative_prompt")));
  add (argv, "--steps", number ((double)json_object_get_int_member (params, "steps")));
  add (argv, "--width", number ((double)json_object_get_int_member (params, "width")));
  add (argv, "--height", number ((double)json_object_get_int_member (params, "height")));
  add (argv, "--seed", number ((double)json_object_get_int_member (params, "seed")));
  add (argv, "--guidance-scale", number (json_object_get_double_member (params, "cfg")));
}

static SumiTensor *
latents_of (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = sumi_safetensors_open (path, &error);

  g_assert_no_error (error);
  return sumi_tensor_cast (sumi_tensor_map_peek (map, "latents"), SUMI_F32, NULL);
}

static void
assert_close (const SumiTensor *got, const SumiTensor *want, double limit)
{
  double difference = 0, norm = 0;

  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (got), sumi_tensor_get_shape (want)));
  for (gint64 i = 0; i < sumi_tensor_get_numel (want); i++)
    {
      double a = sumi_tensor_peek_f32 (got)[i], b = sumi_tensor_peek_f32 (want)[i];

      difference += (a - b) * (a - b);
      norm += b * b;
    }
  g_test_message ("relative L2 %g", sqrt (difference / norm));
  g_assert_cmpfloat (sqrt (difference), <=, limit * sqrt (norm));
}

static void
test_generate (gconstpointer data)
{
  const Case *c = data;
  g_autoptr (JsonObject) json = case_json (c->name);
  JsonObject *tolerance = json_object_get_object_member (json, "tolerance");
  const char *model = json_object_get_string_member (json, "model");
  g_autofree char *dir = g_dir_make_tmp ("sumi-probe-XXXXXX", NULL);
  g_autofree char *output = g_build_filename (dir, "out.png", NULL), *said = NULL;
  g_autofree char *latents = g_build_filename (dir, "latents.safetensors", NULL);
  g_autofree char *reference = g_build_filename (g_getenv ("SUMI_GOLDEN"), "cases", c->name, "out.safetensors", NULL);
  g_autoptr (GPtrArray) argv = command ("generate");
  g_autoptr (SumiTensor) got = NULL;
  g_autoptr (SumiTensor) want = latents_of (reference);

  add (argv, "--model",
       g_strdup_printf ("%s/models/%s%s", g_getenv ("SUMI_GOLDEN"), model, c->single_file ? ".safetensors" : ""));
  add_params (argv, json_object_get_object_member (json, "params"));
  add (argv, "--engine", g_strdup (c->engine));
  add (argv, "--save-latents", g_strdup (latents));
  add (argv, "--output", g_strdup (output));
  said = run_well (argv);
  got = latents_of (latents);
  assert_close (got, want, json_object_get_double_member (tolerance, "rel_l2"));
  g_remove (output);
  g_remove (latents);
  g_rmdir (dir);
}

/* ---- the list ---- */

static void
test_enough (gconstpointer data)
{
  const guint *found = data;

  for (guint i = 0; i < G_N_ELEMENTS (expected); i++)
    g_assert_cmpuint (found[i], >=, expected[i].n);
}

static void
add_test (const char *way, const char *name, const char *engine, gboolean single_file, GTestDataFunc func)
{
  g_autofree char *path = g_strdup_printf ("/%s/%s%s/%s", way, engine, single_file ? "-single-file" : "", name);
  Case *c = g_new (Case, 1);

  *c = (Case){ g_strdup (name), engine, single_file };
  g_test_add_data_func_full (path, c, func, case_free);
}

/* The naive engine is slow: it does the folders alone. */
static void
add_case (const char *name, guint found[])
{
  g_autoptr (JsonObject) json = case_json (name);
  const char *component = json_object_get_string_member (json, "component");

  for (guint i = 0; i < G_N_ELEMENTS (expected); i++)
    {
      if (strcmp (component, expected[i].component) != 0)
        continue;
      found[i]++;
      add_test ("probe", name, "ref", FALSE, test_probe);
      add_test ("probe", name, "cpu", FALSE, test_probe);
      add_test ("probe", name, "cpu", TRUE, test_probe);
      if (i == 0)
        add_test ("generate", name, "cpu", g_str_has_suffix (name, "cfg1"), test_generate);
    }
}

static void
test_no_reference (void)
{
  golden_root ();
}

int
main (int argc, char **argv)
{
  const char *root = g_getenv ("SUMI_GOLDEN");
  g_autofree char *folder = root != NULL ? g_build_filename (root, "cases", NULL) : NULL;
  g_autoptr (GDir) dir = folder != NULL ? g_dir_open (folder, 0, NULL) : NULL;
  guint found[G_N_ELEMENTS (expected)] = { 0 };

  g_test_init (&argc, &argv, NULL);
  if (dir == NULL)
    g_test_add_func ("/generate", test_no_reference);
  for (const char *name; dir != NULL && (name = g_dir_read_name (dir)) != NULL;)
    add_case (name, found);
  if (dir != NULL)
    g_test_add_data_func ("/generate/all-are-there", found, test_enough);
  return g_test_run ();
}
