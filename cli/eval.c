/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sumi eval nearest: does a prompt give its own picture?
 *
 * For captions spread evenly over a data set a picture is drawn and compared with every picture of the data set, both
 * at 64x64 RGB by the L2 distance.  The picture of the caption should be among the nearest; the share of prompts where
 * it is the nearest, and among the nearest five, says how well the model learnt which word means which thing (not how
 * well it draws what it has not seen). */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/image.h"
#include "models/model-store.h"
#include "train/dataset.h"

#define SIDE 64
#define VALUES (SIDE * SIDE * 3)

typedef struct
{
  char *model, *data, *sheet, *seed_text;
  int prompts, steps, threads;
  double guidance_scale;
  guint64 seed;
} EvalOptions;

static void
eval_options_clear (EvalOptions *o)
{
  g_free (o->model);
  g_free (o->data);
  g_free (o->sheet);
  g_free (o->seed_text);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (EvalOptions, eval_options_clear)

static gboolean
parse (int argc, char **argv, EvalOptions *o, GError **error)
{
  o->prompts = 200;
  o->steps = 30;
  o->guidance_scale = 4;
  o->seed = 1;
  const GOptionEntry entries[] = {
    { "model", 0, 0, G_OPTION_ARG_FILENAME, &o->model, "Model file or name (starter)", "M" },
    { "data", 0, 0, G_OPTION_ARG_FILENAME, &o->data, "Pictures with captions", "DIR" },
    { "prompts", 0, 0, G_OPTION_ARG_INT, &o->prompts, "How many captions to draw (200)", "N" },
    { "steps", 0, 0, G_OPTION_ARG_INT, &o->steps, "Sampling steps", "N" },
    { "guidance-scale", 0, 0, G_OPTION_ARG_DOUBLE, &o->guidance_scale, "Classifier-free guidance", "G" },
    { "seed", 0, 0, G_OPTION_ARG_STRING, &o->seed_text, "Seed of the first prompt, the next gets one more (1)", "S" },
    { "threads", 0, 0, G_OPTION_ARG_INT, &o->threads, "Threads (0: all cores)", "N" },
    { "sheet", 0, 0, G_OPTION_ARG_FILENAME, &o->sheet, "Also write drawn and true pictures in pairs", "OUT.png" },
    { NULL },
  };

  if (!sumi_cli_parse (&argc, &argv, "eval nearest", NULL, "How often a caption draws its own picture.", entries,
                       error))
    return FALSE;
  if (o->seed_text != NULL && !sumi_cli_parse_u64 ("--seed", o->seed_text, &o->seed, error))
    return FALSE;
  if (o->data == NULL || o->prompts < 1 || o->steps < 1 || o->threads < 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE,
                   "found --data %s --prompts %d --steps %d --threads %d, expected a folder and positive numbers",
                   o->data != NULL ? o->data : "nothing", o->prompts, o->steps, o->threads);
      return FALSE;
    }
  return TRUE;
}

/* ---- the measure ---- */

/* Every picture of the data set at SIDE x SIDE: U8 (N,SIDE,SIDE,3). */
static SumiTensor *
load_all (SumiDataset *d, GError **error)
{
  guint n = sumi_dataset_get_size (d);
  g_autoptr (SumiTensor) all = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (n, SIDE, SIDE, 3), error);

  for (guint i = 0; all != NULL && i < n; i++)
    {
      g_autoptr (SumiTensor) one = sumi_dataset_load (d, i, SIDE, SIDE, 3, error);
      if (one == NULL)
        return NULL;
      memcpy ((guint8 *)sumi_tensor_poke (all) + (gsize)i * VALUES, sumi_tensor_peek (one), VALUES);
      sumi_cli_progress ("read", i + 1, n, NULL);
    }
  return g_steal_pointer (&all);
}

static guint64
squared_distance (const guint8 *a, const guint8 *b)
{
  guint64 sum = 0;
  for (guint i = 0; i < VALUES; i++)
    sum += (guint64)((int)a[i] - b[i]) * (guint64)((int)a[i] - b[i]);
  return sum;
}

/* 0: picture `which` is the nearest of all. */
static guint
rank_of (const guint8 *all, guint n, guint which, const guint8 *drawn)
{
  guint64 own = squared_distance (all + (gsize)which * VALUES, drawn);
  guint rank = 0;

  for (guint i = 0; i < n; i++)
    rank += i != which && squared_distance (all + (gsize)i * VALUES, drawn) < own;
  return rank;
}

static SumiTensor *
draw (SumiPipeline *p, const EvalOptions *o, const char *prompt, guint i, GError **error)
{
  SumiRequest request;
  sumi_request_init (&request);
  request.prompt = prompt;
  request.steps = (guint)o->steps;
  request.guidance_scale = o->guidance_scale;
  request.seed = o->seed + i;

  g_autoptr (SumiResult) result = sumi_pipeline_run (p, &request, NULL, NULL, sumi_cli_cancellable (), error);
  return result != NULL ? sumi_tensor_ref (g_ptr_array_index (result->images, 0)) : NULL;
}

/* ---- the run ---- */

typedef struct
{
  guint n, nearest, nearest5;
  GPtrArray *pairs; /* SumiTensor: drawn, true, drawn, true…; or NULL */
} Score;

static gboolean
score_prompt (SumiPipeline *p, SumiDataset *d, const EvalOptions *o, SumiTensor *all, guint i, Score *score,
              GError **error)
{
  guint n = sumi_dataset_get_size (d);
  guint which = (guint)((guint64)i * n / (guint)o->prompts);
  const char *prompt = sumi_dataset_peek_captions (d, which)[0];
  g_autoptr (SumiTensor) drawn = NULL;
  g_autoptr (SumiTensor) small = NULL;
  guint rank;

  if (prompt == NULL)
    return TRUE; /* a picture without words cannot be asked for */
  if ((drawn = draw (p, o, prompt, i, error)) == NULL || (small = sumi_image_resize (drawn, SIDE, SIDE, error)) == NULL)
    return FALSE;
  rank = rank_of (sumi_tensor_peek (all), n, which, sumi_tensor_peek (small));
  score->n++;
  score->nearest += rank < 1;
  score->nearest5 += rank < 5;
  if (score->pairs != NULL)
    {
      g_autoptr (SumiTensor) row = sumi_tensor_slice0 (all, which, 1, error);
      SumiTensor *own = row != NULL ? sumi_tensor_reshape (row, &SUMI_SHAPE (SIDE, SIDE, 3), error) : NULL;
      if (own == NULL)
        return FALSE;
      g_ptr_array_add (score->pairs, g_steal_pointer (&small));
      g_ptr_array_add (score->pairs, own);
    }
  sumi_cli_progress ("eval", i + 1, (guint64)o->prompts, "top5", (double)score->nearest5 / score->n, NULL);
  return TRUE;
}

static gboolean
save_sheet (const Score *score, const char *path, GError **error)
{
  g_autoptr (SumiTensor) grid
      = sumi_image_grid ((SumiTensor *const *)score->pairs->pdata, score->pairs->len, 20, error);
  return grid != NULL && sumi_image_save_png (grid, path, NULL, error);
}

static gboolean
evaluate (EvalOptions *o, GError **error)
{
  SumiPipelineOptions options = { .dtype = SUMI_F32, .threads = (guint)o->threads };
  g_autoptr (SumiPipeline) pipeline = NULL;
  g_autoptr (SumiDataset) dataset = NULL;
  g_autoptr (SumiTensor) all = NULL;
  g_autoptr (GPtrArray) pairs = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_tensor_unref);
  Score score = { .pairs = o->sheet != NULL ? pairs : NULL };

  if ((pipeline = sumi_model_open_pipeline (o->model != NULL ? o->model : "starter", &options, error)) == NULL
      || (dataset = sumi_dataset_open (o->data, SUMI_DATASET_AUTO, error)) == NULL
      || (all = load_all (dataset, error)) == NULL)
    return FALSE;
  if (!sumi_dataset_has_captions (dataset))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "%s: found no captions, expected pictures with captions",
                   o->data);
      return FALSE;
    }
  for (guint i = 0; i < (guint)o->prompts; i++)
    if (!score_prompt (pipeline, dataset, o, all, i, &score, error))
      return FALSE;
  sumi_cli_progress_end ();
  printf ("%u prompts, %u pictures: nearest %.1f %%, among the nearest five %.1f %%\n", score.n,
          sumi_dataset_get_size (dataset), 100.0 * score.nearest / score.n, 100.0 * score.nearest5 / score.n);
  return o->sheet == NULL || save_sheet (&score, o->sheet, error);
}

int
sumi_cli_eval (int argc, char **argv)
{
  g_auto (EvalOptions) options = { 0 };
  g_autoptr (GError) error = NULL;

  sumi_cli_cancellable ();
  if (argc < 2 || strcmp (argv[1], "nearest") != 0)
    return sumi_cli_usage ("eval: found '%s', expected nearest", argc > 1 ? argv[1] : "nothing");
  if (!parse (argc - 1, argv + 1, &options, &error) || !evaluate (&options, &error))
    return sumi_cli_fail (error);
  return 0;
}
