/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `sumi generate` from outside: exit status, messages, files. Arguments: the program, a tiny text model. */
#include "io/safetensors.h"

#include <gdk-pixbuf/gdk-pixbuf.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <signal.h>
#include <string.h>

#include "run-generate.h"

static const char *model;

#define TINY "--model", model, "--steps", "3"

static char *
recipe_of (const char *path, int *width, int *height)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GdkPixbuf) picture = gdk_pixbuf_new_from_file (path, &error);

  g_assert_no_error (error);
  *width = gdk_pixbuf_get_width (picture);
  *height = gdk_pixbuf_get_height (picture);
  return g_strdup (gdk_pixbuf_get_option (picture, "tEXt::parameters"));
}

static GBytes *
bytes_of (const char *path)
{
  g_autoptr (GError) error = NULL;
  char *data;
  gsize n;

  g_file_get_contents (path, &data, &n, &error);
  g_assert_no_error (error);
  return g_bytes_new_take (data, n);
}

static void
assert_same_file (const char *a, const char *b, gboolean want)
{
  g_autoptr (GBytes) x = bytes_of (a);
  g_autoptr (GBytes) y = bytes_of (b);

  g_assert_cmpint (g_bytes_equal (x, y), ==, want);
}

static void
test_picture (void)
{
  g_autofree char *a = in_folder ("a.png"), *b = in_folder ("b.png"), *c = in_folder ("c.png"), *said = NULL;
  g_autofree char *recipe = NULL;
  int width, height;

  g_assert_cmpint (RUN (&said, TINY, "--prompt", "a red apple", "--seed", "7", "-o", a), ==, 0);
  g_assert_cmpstr (said, ==, "");
  g_assert_cmpint (RUN (NULL, TINY, "--prompt", "a red apple", "--seed", "7", "-o", b), ==, 0);
  g_assert_cmpint (RUN (NULL, TINY, "--prompt", "a fox", "--seed", "7", "--rng", "philox", "-o", c), ==, 0);
  assert_same_file (a, b, TRUE);
  assert_same_file (a, c, FALSE);
  recipe = recipe_of (a, &width, &height);
  g_assert_cmpint (width, ==, 16);
  g_assert_cmpint (height, ==, 16);
  g_assert_cmpstr (recipe, ==,
                   "a red apple\nSteps: 3, Sampler: DDIM, CFG scale: 4, Seed: 7, Size: 16x16, Model: tiny-model, "
                   "RNG: CPU");
}

/* How much more red than green a picture is: mean, -255 to 255. */
static double
redness (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GdkPixbuf) picture = gdk_pixbuf_new_from_file (path, &error);
  const guint8 *pixels;
  double sum = 0;
  int width, height, n, stride;

  g_assert_no_error (error);
  width = gdk_pixbuf_get_width (picture);
  height = gdk_pixbuf_get_height (picture);
  n = gdk_pixbuf_get_n_channels (picture);
  stride = gdk_pixbuf_get_rowstride (picture);
  pixels = gdk_pixbuf_read_pixels (picture);
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++)
      sum += pixels[y * stride + x * n] - pixels[y * stride + x * n + 1];
  return sum / (width * height);
}

/* The model that is shipped, by its name left out: it knows its colours, and words it does not know give a picture. */
static void
test_starter (void)
{
  g_autofree char *red = in_folder ("red.png"), *green = in_folder ("green.png"), *other = in_folder ("other.png");
  g_autofree char *recipe = NULL, *said = NULL;
  int width, height;

  g_assert_cmpint (RUN (NULL, "--prompt", "red heart", "--seed", "1", "-o", red), ==, 0);
  g_assert_cmpint (RUN (NULL, "--prompt", "green heart", "--seed", "1", "-o", green), ==, 0);
  g_assert_cmpint (RUN (&said, "--prompt", "xylograph", "--seed", "1", "--steps", "4", "-o", other), ==, 0);
  recipe = recipe_of (red, &width, &height);
  g_assert_cmpint (width, ==, 128);
  g_assert_cmpint (height, ==, 128);
  g_assert_nonnull (strstr (recipe, "Model: starter"));
  g_assert_cmpfloat (redness (red), >, 20);
  g_assert_cmpfloat (redness (green), <, -5);
  g_assert_nonnull (strstr (said, "sumi: note: words this model has not learned: xylograph"));
  assert_same_file (red, other, FALSE);
}

static void
test_random_seed_is_told (void)
{
  g_autofree char *out = in_folder ("random.png"), *said = NULL, *recipe = NULL, *seed = NULL;
  int width, height;

  g_assert_cmpint (RUN (&said, TINY, "--prompt", "a red griffin", "-o", out, "--width", "20"), ==, 0);
  g_assert_nonnull (strstr (said, "sumi: note: words this model has not learned: griffin\n"));
  g_assert_nonnull (strstr (said, "sumi: note: drawn at 32x16 and cut to 20x16\n"));
  g_assert_true (g_str_has_prefix (said, "sumi: note: seed "));
  recipe = recipe_of (out, &width, &height);
  g_assert_cmpint (width, ==, 20);
  *strchr (said, '\n') = '\0';
  seed = g_strdup_printf ("Seed: %s,", said + strlen ("sumi: note: seed "));
  g_assert_nonnull (strstr (recipe, seed));
  g_clear_pointer (&said, g_free);
  g_assert_cmpint (RUN (&said, TINY, "--quiet", "-o", out), ==, 0);
  g_assert_cmpstr (said, ==, "");
}

static void
test_batch (void)
{
  g_autofree char *many = in_folder ("many.png"), *second = in_folder ("many-2.png"), *third = in_folder ("many-3.png");
  g_autofree char *alone = in_folder ("alone.png");

  g_assert_cmpint (RUN (NULL, TINY, "--prompt", "a fox", "--seed", "1", "--batch", "3", "-o", many), ==, 0);
  g_assert_cmpint (RUN (NULL, TINY, "--prompt", "a fox", "--seed", "2", "-o", alone), ==, 0);
  assert_same_file (second, alone, TRUE);
  g_assert_true (g_file_test (third, G_FILE_TEST_EXISTS));
}

static void
test_latents_and_steps (void)
{
  g_autofree char *out = in_folder ("l.png"), *again = in_folder ("l2.png"), *latents = in_folder ("l.safetensors");
  g_autofree char *noise = in_folder ("noise.safetensors"), *steps = in_folder ("steps"), *wrong = NULL, *said = NULL;
  g_autoptr (SumiTensorMap) map = NULL;
  g_autoptr (SumiTensorMap) start = sumi_tensor_map_new ();
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (
      RUN (NULL, TINY, "--prompt", "a fox", "--seed", "1", "-o", out, "--save-latents", latents, "--steps-out", steps),
      ==, 0);
  map = sumi_safetensors_open (latents, &error);
  g_assert_no_error (error);
  g_assert_true (
      sumi_shape_equal (sumi_tensor_get_shape (sumi_tensor_map_peek (map, "latents")), &SUMI_SHAPE (1, 32, 2, 2)));
  for (guint i = 1; i <= 3; i++)
    {
      g_autofree char *name = g_strdup_printf ("step-%03u.png", i), *path = g_build_filename (steps, name, NULL);
      g_assert_cmpint (g_remove (path), ==, 0);
    }
  g_assert_cmpint (g_rmdir (steps), ==, 0);

  /* latents are of the right shape to begin with */
  g_assert_cmpint (RUN (NULL, TINY, "--prompt", "a fox", "--seed", "1", "-o", again, "--init-noise", latents), ==, 0);
  assert_same_file (out, again, FALSE);
  sumi_tensor_map_take (start, "noise", sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 32, 4, 4), NULL));
  sumi_safetensors_save (start, noise, &error);
  g_assert_no_error (error);
  wrong = in_folder ("wrong.png");
  g_assert_cmpint (RUN (&said, TINY, "--seed", "1", "-o", wrong, "--init-noise", noise), ==, 1);
  g_assert_cmpstr (said, ==, "sumi: error [shape_mismatch]: start noise: found (1,32,4,4), expected (1,32,2,2)\n");
  g_assert_false (g_file_test (wrong, G_FILE_TEST_EXISTS));
}

static void
test_usage (void)
{
  g_autofree char *out = in_folder ("never.png");
  const char *const wrong[][3] = {
    { "--width", "15", NULL },
    { "--width", "4097", NULL },
    { "--height", "-1", NULL },
    { "--height", "x", NULL },
    { "--steps", "0", NULL },
    { "--steps", "1001", NULL },
    { "--steps", "99999999999999999999", NULL },
    { "--batch", "0", NULL },
    { "--batch", "1000", NULL },
    { "--guidance-scale", "-1", NULL },
    { "--guidance-scale", "nan", NULL },
    { "--eta", "2", NULL },
    { "--sampler", "magic", NULL },
    { "--rng", "dice", NULL },
    { "--seed", "-1", NULL },
    { "--seed", "fox", NULL },
    { "--seed", "18446744073709551616", NULL },
    { "--engine", "steam", NULL },
    { "--dtype", "f8", NULL },
    { "--threads", "-2", NULL },
    { "--prompt", "caf\xe9", NULL },
    { "--negative", "\xff", NULL },
    { "--progress", "dots", NULL },
    { "--colour", "red", NULL },
    { "surplus", NULL, NULL },
  };

  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++)
    {
      g_autofree char *said = NULL;

      g_assert_cmpint (RUN (&said, "--model", model, "-o", out, wrong[i][0], wrong[i][1]), ==, 2);
      g_assert_true (g_str_has_prefix (said, "sumi: error [usage]: "));
      g_assert_true (strchr (said, '\n') == said + strlen (said) - 1);
    }
  g_assert_cmpint (RUN (NULL, "--model", model), ==, 2);
  g_assert_cmpint (RUN (NULL, "--model", model, "-o", "picture.jpg"), ==, 2);
  g_assert_cmpint (RUN (NULL, "--help"), ==, 0);
  g_assert_false (g_file_test (out, G_FILE_TEST_EXISTS));
}

static void
test_failures (void)
{
  g_autofree char *out = in_folder ("never.png"), *nowhere = g_build_filename (folder, "none", "x.png", NULL);
  g_autofree char *missing = in_folder ("none.safetensors");
  const struct
  {
    const char *model, *out, *class;
  } cases[] = { { "no-such-model", out, "missing_file" }, { missing, out, "missing_file" }, { model, nowhere, "io" } };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *said = NULL, *start = g_strdup_printf ("sumi: error [%s]: ", cases[i].class);

      g_assert_cmpint (RUN (&said, "--model", cases[i].model, "--seed", "1", "-o", cases[i].out), ==, 1);
      g_assert_true (g_str_has_prefix (said, start));
      g_assert_true (strchr (said, '\n') == said + strlen (said) - 1);
    }
  g_assert_false (g_file_test (out, G_FILE_TEST_EXISTS));
}

/* A model of pixels: takes no prompt, which is told. */
static void
test_pixel_model (void)
{
  const char *golden = g_getenv ("SUMI_GOLDEN");
  g_autofree char *out = in_folder ("pixels.png"), *said = NULL, *recipe = NULL, *path = NULL;
  int width, height;

  if (golden == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  path = g_build_filename (golden, "models", "simple-unet.safetensors", NULL);
  g_assert_cmpint (RUN (&said, "--model", path, "--engine", "ref", "--steps", "4", "--seed", "3", "--prompt", "a fox",
                        "--sampler", "ddpm", "--width", "24", "--height", "16", "-o", out),
                   ==, 0);
  g_assert_cmpstr (said, ==, "sumi: note: this model takes no prompt: the prompt was ignored\n");
  recipe = recipe_of (out, &width, &height);
  g_assert_cmpint (width, ==, 24);
  g_assert_cmpint (height, ==, 16);
  g_assert_cmpstr (recipe, ==, "Steps: 4, Sampler: DDPM, Seed: 3, Size: 24x16, Model: simple-unet, RNG: CPU");
}

/* Ctrl-C in the middle of the work. */
static void
test_interrupt (void)
{
  g_autofree char *out = in_folder ("interrupted.png"), *last = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GSubprocess) process = g_subprocess_new (
      G_SUBPROCESS_FLAGS_STDERR_PIPE, &error, program, "generate", "--model", model, "--engine", "ref", "--steps",
      "100", "--batch", "64", "--seed", "1", "--prompt", "a fox", "--progress", "json", "-o", out, NULL);
  g_autoptr (GDataInputStream) lines = NULL;
  gboolean sampling = FALSE;
  char *line;

  g_assert_no_error (error);
  lines = g_data_input_stream_new (g_subprocess_get_stderr_pipe (process));
  while ((line = g_data_input_stream_read_line (lines, NULL, NULL, &error)) != NULL)
    {
      g_free (last);
      last = line;
      if (!sampling && strstr (line, "\"sample\"") != NULL)
        {
          g_autoptr (JsonNode) node = json_from_string (line, &error);

          g_assert_no_error (error);
          g_assert_cmpint (json_object_get_int_member (json_node_get_object (node), "steps"), ==, 6400);
          sampling = TRUE;
          g_subprocess_send_signal (process, SIGINT);
        }
    }
  g_subprocess_wait (process, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (sampling);
  g_assert_true (g_str_has_prefix (last, "sumi: error [cancelled]: "));
  g_assert_cmpint (g_subprocess_get_exit_status (process), ==, 130);
  g_assert_false (g_file_test (out, G_FILE_TEST_EXISTS));
}

static void
remove_folder (void)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = in_folder (name);
      g_remove (path);
    }
  g_rmdir (folder);
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  if (argc != 3)
    return 2;
  program = argv[1];
  model = argv[2];
  folder = g_dir_make_tmp ("sumi-generate-XXXXXX", NULL);
  g_test_add_func ("/generate/picture", test_picture);
  g_test_add_func ("/generate/random-seed", test_random_seed_is_told);
  g_test_add_func ("/generate/starter", test_starter);
  g_test_add_func ("/generate/batch", test_batch);
  g_test_add_func ("/generate/latents-and-steps", test_latents_and_steps);
  g_test_add_func ("/generate/usage", test_usage);
  g_test_add_func ("/generate/failures", test_failures);
  g_test_add_func ("/generate/pixel-model", test_pixel_model);
  g_test_add_func ("/generate/interrupt", test_interrupt);
  status = g_test_run ();
  remove_folder ();
  return status;
}
