/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `sumi train ddpm` as a process: killed, interrupted, gone on with, started wrongly. */
#include <gio/gio.h>
#include <signal.h>
#include <string.h>

#include "folder.h"
#include "io/safetensors.h"

static const char model[] = "{\"family\": \"simple-unet\", \"base_channels\": 4, \"time_emb_dim\": 8, \"groups\": 2,"
                            " \"sample_size\": 8}";

typedef struct
{
  char *data, *out; /* folders */
} Place;

static Place
place_new (void)
{
  Place p = { folder_new (), folder_new () };

  folder_write_picture (p.data, "a.png", 8, 0xff0000);
  folder_write_picture (p.data, "b.png", 8, 0x00ff00);
  folder_write_picture (p.data, "c.png", 8, 0x0000ff);
  folder_write (p.out, "model.json", model, -1);
  return p;
}

static void
place_remove (Place *p)
{
  folder_remove (p->data);
  folder_remove (p->out);
}

/* The command with these arguments (NULL-terminated, DATA and OUT/… put in their places) in a process. */
static GSubprocess *
start (const Place *p, const char *const *arguments)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  GSubprocess *process;

  g_ptr_array_add (argv, g_strdup (g_getenv ("SUMI_TEST_SUMI")));
  g_ptr_array_add (argv, g_strdup ("train"));
  for (; *arguments != NULL; arguments++)
    if (strcmp (*arguments, "DATA") == 0)
      g_ptr_array_add (argv, g_strdup (p->data));
    else if (g_str_has_prefix (*arguments, "OUT/"))
      g_ptr_array_add (argv, g_build_filename (p->out, *arguments + 4, NULL));
    else
      g_ptr_array_add (argv, g_strdup (*arguments));
  g_ptr_array_add (argv, NULL);
  process = g_subprocess_newv ((const char *const *)argv->pdata, G_SUBPROCESS_FLAGS_STDERR_PIPE, &error);
  g_assert_no_error (error);
  return process;
}

/* Its exit status; what it said in *text. */
static int
finish (GSubprocess *process, char **text)
{
  g_autoptr (GError) error = NULL;

  g_subprocess_communicate_utf8 (process, NULL, NULL, NULL, text, &error);
  g_assert_no_error (error);
  g_assert_true (g_subprocess_get_if_exited (process));
  return g_subprocess_get_exit_status (process);
}

static void
run_well (const Place *p, const char *const *arguments)
{
  g_autoptr (GSubprocess) process = start (p, arguments);
  g_autofree char *text = NULL;
  int status = finish (process, &text);

  g_test_message ("%s", text);
  g_assert_cmpint (status, ==, 0);
}

static guint64
checkpoint_step (const Place *p, const char *name)
{
  g_autofree char *path = g_build_filename (p->out, name, NULL);
  g_autoptr (SumiTensorMap) map = NULL;
  SumiTensor *counters;
  guint64 step;

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return 0;
  map = sumi_safetensors_open (path, NULL);
  g_assert_nonnull (map); /* complete at every moment */
  counters = sumi_tensor_map_peek (map, "counters");
  memcpy (&step, sumi_tensor_peek (counters), sizeof step);
  return step;
}

/* Waits for a checkpoint of at least ten steps; a minute is long enough for any machine. */
static void
wait_for_checkpoint (const Place *p, const char *name)
{
  for (guint i = 0; i < 6000 && checkpoint_step (p, name) < 10; i++)
    g_usleep (10000);
  g_assert_cmpuint (checkpoint_step (p, name), >=, 10);
}

static void
assert_same_model (const Place *p, const char *a, const char *b)
{
  g_autofree char *path_a = g_build_filename (p->out, a, NULL);
  g_autofree char *path_b = g_build_filename (p->out, b, NULL);
  g_autofree char *x = NULL;
  g_autofree char *y = NULL;
  gsize n, m;

  g_assert_true (g_file_get_contents (path_a, &x, &n, NULL));
  g_assert_true (g_file_get_contents (path_b, &y, &m, NULL));
  g_assert_cmpmem (x, n, y, m);
}

/* The end of the learning rate's cosine is its beginning: then more steps do not change the earlier ones. */
#define RUN(output, steps)                                                                                             \
  (const char *[])                                                                                                     \
  {                                                                                                                    \
    "ddpm", "--data", "DATA", "--config", "OUT/model.json", "--output", output, "--engine", "ref", "--batch", "2",     \
        "--lr", "0.001", "--lr-end", "0.001", "--seed", "3", "--flip", "yes", "--save-every", "5", "--steps", steps,   \
        NULL                                                                                                           \
  }

/* After `end` (a signal), what was saved goes on to the very model of an undisturbed run. */
static void
check_ended_by (int end, int want_status)
{
  Place p = place_new ();
  g_autoptr (GSubprocess) process = start (&p, RUN ("OUT/part.safetensors", "1000000"));
  g_autofree char *steps = NULL;
  g_autofree char *text = NULL;
  guint64 saved;

  wait_for_checkpoint (&p, "part.ckpt.safetensors");
  g_subprocess_send_signal (process, end);
  if (want_status != 0)
    {
      g_assert_cmpint (finish (process, &text), ==, want_status);
      g_assert_nonnull (strstr (text, "sumi: error [cancelled]"));
    }
  else
    g_assert_true (g_subprocess_wait (process, NULL, NULL));
  saved = checkpoint_step (&p, "part.ckpt.safetensors");
  steps = g_strdup_printf ("%" G_GUINT64_FORMAT, saved + 7);
  run_well (&p, (const char *[]){ "ddpm", "--resume", "OUT/part.ckpt.safetensors", "--steps", steps, NULL });
  run_well (&p, RUN ("OUT/whole.safetensors", steps));
  assert_same_model (&p, "part.safetensors", "whole.safetensors");
  place_remove (&p);
}

static void
test_killed (void)
{
  check_ended_by (SIGKILL, 0);
}

static void
test_interrupted (void)
{
  check_ended_by (SIGINT, 130);
}

static void
test_terminated (void)
{
  check_ended_by (SIGTERM, 130);
}

/* The table and the picture of the loss. */
static void
test_what_is_written (void)
{
  Place p = place_new ();
  g_autofree char *path = g_build_filename (p.out, "m.loss.csv", NULL);
  g_autofree char *png = g_build_filename (p.out, "m.loss.png", NULL);
  g_autofree char *csv = NULL;
  g_autoptr (SumiTensor) plot = NULL;
  g_auto (GStrv) lines = NULL;

  run_well (&p, RUN ("OUT/m.safetensors", "6"));
  g_assert_true (g_file_get_contents (path, &csv, NULL, NULL));
  lines = g_strsplit (csv, "\n", -1);
  g_assert_cmpuint (g_strv_length (lines), ==, 8); /* with the header and the end of the last line */
  g_assert_cmpstr (lines[0], ==, "step,samples,loss,smooth_loss,lr,grad_norm,seconds");
  g_assert_true (g_str_has_prefix (lines[6], "6,12,"));
  plot = sumi_image_load (png, 0xffffff, NULL);
  g_assert_nonnull (plot);
  place_remove (&p);
}

/* A run that begins with a model and learns nothing (rate 0) gives that model again. */
static void
test_init (void)
{
  Place p = place_new ();
  g_autofree char *path_a = g_build_filename (p.out, "a.safetensors", NULL);
  g_autofree char *path_b = g_build_filename (p.out, "b.safetensors", NULL);
  g_autoptr (SumiTensorMap) a = NULL;
  g_autoptr (SumiTensorMap) b = NULL;

  run_well (&p, RUN ("OUT/a.safetensors", "6"));
  run_well (&p,
            (const char *[]){ "ddpm", "--data", "DATA", "--init", "OUT/a.safetensors", "--output", "OUT/b.safetensors",
                              "--engine", "ref", "--batch", "2", "--lr", "0", "--steps", "2", NULL });
  a = sumi_safetensors_open (path_a, NULL);
  b = sumi_safetensors_open (path_b, NULL);
  g_assert_nonnull (a);
  g_assert_nonnull (b);
  g_assert_cmpuint (sumi_tensor_map_get_size (b), ==, sumi_tensor_map_get_size (a));
  for (guint i = 0; i < sumi_tensor_map_get_size (a); i++)
    {
      SumiTensor *x = sumi_tensor_map_peek_nth (a, i);
      SumiTensor *y = sumi_tensor_map_lookup (b, sumi_tensor_map_get_name (a, i), NULL);

      g_assert_nonnull (y);
      for (gint64 j = 0; j < sumi_tensor_get_numel (x); j++) /* the moving average rounds in its last bits */
        g_assert_cmpfloat_with_epsilon (sumi_tensor_peek_f32 (x)[j], sumi_tensor_peek_f32 (y)[j], 1e-6);
    }
  place_remove (&p);
}

static void
test_usage (void)
{
  static const struct
  {
    const char *arguments[8];
    int status;
    const char *part;
  } cases[] = {
    { { NULL }, 2, "ddpm" },
    { { "lora", NULL }, 2, "found 'lora', expected the mode ddpm" },
    { { "ddpm", NULL }, 2, "--data" },
    { { "ddpm", "--data", "DATA", NULL }, 2, "--output" },
    { { "ddpm", "--data", "DATA", "-o", "OUT/m.safetensors", "--steps", "0", NULL }, 2, "--steps" },
    { { "ddpm", "--data", "DATA", "-o", "OUT/m.safetensors", "--lr", "fast", NULL }, 2, "--lr" },
    { { "ddpm", "--data", "DATA", "-o", "OUT/m.safetensors", "--kind", "video", NULL }, 2, "--kind" },
    { { "ddpm", "--data", "DATA", "-o", "OUT/no/m.safetensors", NULL }, 1, "[io]" },
    { { "ddpm", "--data", "OUT/none", "-o", "OUT/m.safetensors", NULL }, 1, "[missing_file]" },
    { { "ddpm", "--data", "DATA", "--init", "starter", "--config", "OUT/model.json", NULL }, 2, "--init" },
    { { "ddpm", "--resume", "OUT/none.ckpt.safetensors", NULL }, 1, "none.ckpt" },
    { { "ddpm", "--resume", "OUT/model.json", NULL }, 1, "sumi: error [" },
    { { "ddpm", "--data", "OUT/", "-o", "OUT/m.safetensors", NULL }, 2, "elsewhere" },
  };
  Place p = place_new ();

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (GSubprocess) process = start (&p, cases[i].arguments);
      g_autofree char *text = NULL;
      int status = finish (process, &text);

      g_test_message ("%s", text);
      g_assert_cmpint (status, ==, cases[i].status);
      g_assert_nonnull (strstr (text, cases[i].part));
      g_assert_nonnull (strstr (text, "sumi: error ["));
    }
  place_remove (&p);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/train/command/killed", test_killed);
  g_test_add_func ("/train/command/interrupted", test_interrupted);
  g_test_add_func ("/train/command/terminated", test_terminated);
  g_test_add_func ("/train/command/what-is-written", test_what_is_written);
  g_test_add_func ("/train/command/init", test_init);
  g_test_add_func ("/train/command/usage", test_usage);
  return g_test_run ();
}
