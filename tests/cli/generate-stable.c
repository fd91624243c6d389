/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `sumi generate` with a Stable Diffusion model: pictures, masks, adapters, recipes. Arguments: the program, and
 * make-random-model. */
#include "io/image.h"
#include "io/png-text.h"
#include "io/safetensors.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

#include "run-generate.h"

#define SIDE 64

#define TINY "--model", "tiny", "--width", "64", "--height", "64", "--steps", "3", "--seed", "7", "--prompt", "a fox"

static void
assert_same_file (const char *a, const char *b, gboolean want)
{
  g_autofree char *x = NULL, *y = NULL;
  gsize n, m;

  g_assert_true (g_file_get_contents (a, &x, &n, NULL) && g_file_get_contents (b, &y, &m, NULL));
  g_assert_cmpint (n == m && memcmp (x, y, n) == 0, ==, want);
}

static char *
recipe_of (const char *path)
{
  g_autoptr (GError) error = NULL;
  char *text = sumi_png_read_text (path, "parameters", &error);

  g_assert_no_error (error);
  return text;
}

static SumiTensor *
pixels_of (const char *path)
{
  g_autoptr (GError) error = NULL;
  SumiTensor *t = sumi_image_load (path, 0, &error);

  g_assert_no_error (error);
  return t;
}

static char *
write_picture (const char *name, gboolean mask)
{
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (SIDE, SIDE, 3), NULL);
  g_autoptr (GError) error = NULL;
  char *path = in_folder (name);

  for (guint i = 0; i < SIDE * SIDE * 3; i++)
    ((guint8 *)sumi_tensor_poke (t))[i] = (guint8)(mask ? (i / 3 % SIDE < SIDE / 2 ? 0 : 255) : i * 7 % 251);
  sumi_image_save_png (t, path, NULL, &error);
  g_assert_no_error (error);
  return path;
}

static char *
write_adapter (const char *name)
{
  static const char *const ends[] = { ".lora_down.weight", ".lora_up.weight" };
  const SumiShape shapes[] = { SUMI_SHAPE (1, 32), SUMI_SHAPE (32, 1) };
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  g_autoptr (GError) error = NULL;
  char *path = g_build_filename (folder, "sumi", "loras", name, NULL);

  for (guint i = 0; i < 2; i++)
    {
      g_autofree char *key
          = g_strconcat ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", ends[i], NULL);
      SumiTensor *t = sumi_tensor_new (SUMI_F32, &shapes[i], NULL);

      for (guint k = 0; k < 32; k++)
        sumi_tensor_poke_f32 (t)[k] = (float)(k % 5) - 2;
      sumi_tensor_map_take (map, key, t);
    }
  sumi_safetensors_save (map, path, &error);
  g_assert_no_error (error);
  return path;
}

/* ---- tests ---- */

static void
test_notes (void)
{
  g_autofree char *a = in_folder ("a.png"), *said = NULL, *recipe = NULL;

  g_assert_cmpint (RUN (&said, TINY, "--negative", "blue, red", "-o", a), ==, 0);
  g_assert_cmpstr (said, ==, "sumi: note: tokens: 2 in the prompt, 3 in the negative prompt (75 in a chunk)\n");
  recipe = recipe_of (a);
  g_assert_true (g_str_has_prefix (recipe,
                                   "a fox\nNegative prompt: blue, red\nSteps: 3, Sampler: PLMS, CFG scale: 7.5, "
                                   "Seed: 7, Size: 64x64, Model: tiny, RNG: CPU, Version: sumi "));
}

/* The same picture again, byte for byte, whatever was asked. */
static void
test_like (void)
{
  static const char *const ways[][16] = {
    { "--sampler", "euler_a", NULL },
    { "--sampler", "DPM++ 2M Karras", "--negative", "blue", "--guidance-scale", "5.1", NULL },
    { "--sampler", "dpmpp_3m_sde", "--schedule", "beta", "--eta", "0.3", "--rng", "philox", NULL },
    { "--sampler", "euler", "--cfg-pp", "--emphasis", "no-norm", "--clip-skip", "2", NULL },
    { "--guidance-rescale", "0.7", "--guidance-interval", "0.3,9.5", "--prediction", "v_prediction", NULL },
    { "--sampler", "dpmpp_2m", "--schedule", "diffusers-karras", "--lora", "ink:0.75:0.5", NULL },
    { "--prompt", "a {fox|cat}, (red:1.3) # not said\n<lora:ink:0.3>", "--seed", "18446744073709551615", NULL },
    { "--dtype", "bf16", "--engine", "cpu", "--width", "61", NULL },
  };
  g_autofree char *a = in_folder ("like-a.png"), *b = in_folder ("like-b.png"), *c = in_folder ("like-c.png");
  g_autofree char *adapter = write_adapter ("ink.safetensors");

  for (guint i = 0; i < G_N_ELEMENTS (ways); i++)
    {
      g_autoptr (GPtrArray) argv = g_ptr_array_new ();
      const char *const first[] = { TINY, "-o", a };

      for (guint k = 0; k < G_N_ELEMENTS (first); k++)
        g_ptr_array_add (argv, (gpointer)first[k]);
      for (guint k = 0; ways[i][k] != NULL; k++)
        g_ptr_array_add (argv, (gpointer)ways[i][k]);
      g_ptr_array_add (argv, NULL);
      g_assert_cmpint (run ((const char *const *)argv->pdata, NULL), ==, 0);
      g_assert_cmpint (RUN (NULL, "--like", a, "-o", b), ==, 0);
      assert_same_file (a, b, TRUE);
      g_assert_cmpint (RUN (NULL, "--like", a, "--seed", "8", "-o", c), ==, 0);
      assert_same_file (a, c, FALSE);
    }
}

/* An adapter given again stands for the one the recipe names. */
static void
test_like_with_adapter (void)
{
  g_autofree char *a = in_folder ("with.png"), *b = in_folder ("with-again.png"), *c = in_folder ("without.png");
  g_autofree char *adapter = write_adapter ("chalk.safetensors"), *moved = in_folder ("chalk.safetensors"),
                  *said = NULL;

  g_assert_cmpint (RUN (NULL, TINY, "--lora", "chalk:0.75", "-o", a), ==, 0);
  g_assert_cmpint (g_rename (adapter, moved), ==, 0);
  g_assert_cmpint (RUN (&said, "--like", a, "-o", c), ==, 0);
  g_assert_nonnull (strstr (said, "adapter chalk was ignored: no such file was found"));
  assert_same_file (a, c, FALSE);
  {
    g_autofree char *again = g_strconcat (moved, ":0.75", NULL);

    g_assert_cmpint (RUN (NULL, "--like", a, "--lora", again, "-o", b), ==, 0);
  }
  assert_same_file (a, b, TRUE);
}

/* As the web UI writes it, with things that are not Sumi's. */
static void
test_like_of_others (void)
{
  g_autofree char *theirs = in_folder ("theirs.png"), *a = in_folder ("theirs-a.png"), *b = in_folder ("theirs-b.png");
  g_autofree char *said = NULL;
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (8, 8, 3), NULL);
  const char *text[] = { "parameters",
                         "a fox, (snow:1.2)\nNegative prompt: blue\nSteps: 3, Sampler: DPM++ 2M Karras, CFG scale: 6, "
                         "Seed: 5, Size: 64x64, Model hash: 0123456789, Model: tiny, Clip skip: 2, ENSD: 31337, "
                         "Version: v1.6.0",
                         NULL };

  sumi_image_save_png (t, theirs, text, NULL);
  g_assert_cmpint (RUN (&said, "--like", theirs, "-o", a), ==, 0);
  g_assert_nonnull (strstr (said, "sumi: note: recipe: not understood and ignored: ENSD\n"));
  g_assert_cmpint (RUN (NULL, "--model", "tiny", "--prompt", "a fox, (snow:1.2)", "--negative", "blue", "--steps", "3",
                        "--sampler", "dpmpp_2m", "--schedule", "karras", "--guidance-scale", "6", "--seed", "5",
                        "--width", "64", "--height", "64", "--clip-skip", "2", "--rng", "philox", "-o", b),
                   ==, 0);
  assert_same_file (a, b, TRUE);
}

static void
test_like_refusals (void)
{
  g_autofree char *plain = write_picture ("plain.png", FALSE), *out = in_folder ("never.png"), *said = NULL;
  g_autofree char *drawn = in_folder ("drawn.png"), *missing = in_folder ("none.png");

  g_assert_cmpint (RUN (&said, "--like", plain, "-o", out), ==, 2);
  g_assert_nonnull (strstr (said, "found no recipe"));
  g_assert_cmpint (RUN (NULL, "--like", missing, "-o", out), ==, 1);
  g_assert_cmpint (RUN (NULL, TINY, "--init", plain, "-o", drawn), ==, 0);
  g_clear_pointer (&said, g_free);
  g_assert_cmpint (RUN (&said, "--like", drawn, "-o", out), ==, 2);
  g_assert_nonnull (strstr (said, "expected that with --init"));
  g_assert_cmpint (RUN (NULL, "--like", drawn, "--init", plain, "-o", out), ==, 0);
  assert_same_file (drawn, out, TRUE);
  g_remove (out);
}

static void
test_picture_and_mask (void)
{
  g_autofree char *image = write_picture ("image.png", FALSE), *mask = write_picture ("mask.png", TRUE);
  g_autofree char *a = in_folder ("painted.png"), *b = in_folder ("whole.png"), *c = in_folder ("painted-again.png");
  g_autofree char *recipe = NULL;
  g_autoptr (SumiTensor) was = pixels_of (image);
  g_autoptr (SumiTensor) is = NULL;
  guint moved = 0;

  g_assert_cmpint (RUN (NULL, TINY, "--init", image, "--mask", mask, "-o", a), ==, 0);
  is = pixels_of (a);
  for (guint i = 0; i < SIDE * SIDE * 3; i++)
    {
      guint8 x = ((const guint8 *)sumi_tensor_peek (was))[i], y = ((const guint8 *)sumi_tensor_peek (is))[i];

      if (i / 3 % SIDE < SIDE / 2)
        g_assert_cmpuint (x, ==, y);
      else
        moved += x != y;
    }
  g_assert_cmpuint (moved, >, SIDE);
  recipe = recipe_of (a);
  g_assert_nonnull (strstr (recipe, "Denoising strength: 1, Masked: True"));
  g_assert_cmpint (RUN (NULL, "--like", a, "--init", image, "--mask", mask, "-o", c), ==, 0);
  assert_same_file (a, c, TRUE);
  g_assert_cmpint (RUN (NULL, TINY, "--init", image, "--mask", mask, "--no-composite", "-o", b), ==, 0);
  assert_same_file (a, b, FALSE);
}

/* A step is a call: Heun makes two of a step but the last. */
static void
test_steps_out (void)
{
  g_autofree char *out = in_folder ("steps.png"), *steps = in_folder ("steps");
  guint n = 0;

  g_assert_cmpint (RUN (NULL, TINY, "--sampler", "heun", "--steps-out", steps, "-o", out), ==, 0);
  for (;; n++)
    {
      g_autofree char *name = g_strdup_printf ("step-%03u.png", n + 1), *path = g_build_filename (steps, name, NULL);

      if (g_remove (path) != 0)
        break;
    }
  g_assert_cmpuint (n, ==, 5);
  g_assert_cmpint (g_rmdir (steps), ==, 0);
}

static void
test_usage (void)
{
  g_autofree char *out = in_folder ("never.png"), *image = write_picture ("usage.png", FALSE);
  const char *const wrong[][5] = {
    { "--schedule", "stairs", NULL },
    { "--strength", "1.1", NULL },
    { "--strength", "nan", NULL },
    { "--mask", image, NULL },
    { "--clip-skip", "0", NULL },
    { "--clip-skip", "13", NULL },
    { "--emphasis", "loud", NULL },
    { "--prediction", "future", NULL },
    { "--guidance-rescale", "2", NULL },
    { "--guidance-interval", "1", NULL },
    { "--guidance-interval", "2,1", NULL },
    { "--guidance-interval", "1,2,3", NULL },
    { "--guidance-interval", "a,b", NULL },
    { "--guidance-interval", "-1,2", NULL },
    { "--guidance-interval", "nan,2", NULL },
    { "--image-guidance-scale", "-1", NULL },
    { "--tile", "8", NULL },
    { "--sampler", "lms", "--cfg-pp", NULL },
    { "--lora", "ink:50", NULL },
    { "--lora", "ink:nan", NULL },
  };
  const char *const missing[][5] = { { "--lora", "no-such-adapter", NULL },
                                     { "--lora", "no/such.safetensors:1", NULL },
                                     { "--embedding", "none.pt", NULL },
                                     { "--vae", "none.safetensors", NULL },
                                     { "--init", "none.png", NULL } };
  g_autofree char *adapter = write_adapter ("ink.safetensors");

  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++)
    {
      g_autofree char *said = NULL;

      g_assert_cmpint (RUN (&said, TINY, "-o", out, wrong[i][0], wrong[i][1], wrong[i][2]), ==, 2);
      g_assert_true (g_str_has_prefix (said, "sumi: error [usage]: "));
      g_assert_true (strchr (said, '\n') == said + strlen (said) - 1);
    }
  for (guint i = 0; i < G_N_ELEMENTS (missing); i++)
    {
      g_autofree char *said = NULL;

      g_assert_cmpint (RUN (&said, TINY, "-o", out, missing[i][0], missing[i][1]), ==, 1);
      g_assert_true (g_str_has_prefix (said, "sumi: error [missing_file]: "));
    }
  g_assert_false (g_file_test (out, G_FILE_TEST_EXISTS));
}

/* ---- */

static void
remove_tree (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *child = g_build_filename (path, name, NULL);

      remove_tree (child);
    }
  g_remove (path);
}

static void
make_model (const char *maker)
{
  g_autofree char *models = g_build_filename (folder, "sumi", "models", NULL);
  g_autofree char *loras = g_build_filename (folder, "sumi", "loras", NULL);
  g_autofree char *path = g_build_filename (models, "tiny", NULL);
  const char *argv[] = { maker, "sd15", "tiny", path, NULL };
  g_autoptr (GError) error = NULL;
  int status;

  g_mkdir_with_parents (models, 0700);
  g_mkdir_with_parents (loras, 0700);
  g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status, ==, 0);
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  if (argc != 3)
    return 2;
  program = argv[1];
  folder = g_dir_make_tmp ("sumi-generate-XXXXXX", NULL);
  g_setenv ("XDG_DATA_HOME", folder, TRUE);
  make_model (argv[2]);
  g_test_add_func ("/stable/notes", test_notes);
  g_test_add_func ("/stable/like", test_like);
  g_test_add_func ("/stable/like-with-adapter", test_like_with_adapter);
  g_test_add_func ("/stable/like-of-others", test_like_of_others);
  g_test_add_func ("/stable/like-refusals", test_like_refusals);
  g_test_add_func ("/stable/picture-and-mask", test_picture_and_mask);
  g_test_add_func ("/stable/steps-out", test_steps_out);
  g_test_add_func ("/stable/usage", test_usage);
  status = g_test_run ();
  remove_tree (folder);
  return status;
}
