/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sumi worker: computes for the GIMP plug-in, which starts it and talks to it over a socket (base/protocol.h). */
#include "cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/model-store.h"
#include "worker-loop.h"

#define NICENESS 5
#define IDLE_SECONDS 900
#define OOM_SCORE "500" /* when memory runs out, this process goes before GIMP does */

/* The last model stays warm. */
typedef struct
{
  char *model;
  guint threads;
  SumiPipeline *pipeline;
} Warm;

static SumiPipeline *
open_pipeline (Warm *warm, const char *model, guint threads, GError **error)
{
  if (warm->pipeline != NULL && strcmp (warm->model, model) == 0 && warm->threads == threads)
    return warm->pipeline;

  const SumiPipelineOptions options = { .dtype = SUMI_F32, .threads = threads, .keep_warm = TRUE };
  g_clear_pointer (&warm->pipeline, sumi_pipeline_free); /* first: two models may be too many for the memory */
  g_free (warm->model);
  warm->model = g_strdup (model);
  warm->threads = threads;
  warm->pipeline = sumi_model_open_pipeline (model, &options, error);
  return warm->pipeline;
}

static char **
list_models (gpointer user)
{
  return sumi_model_list ();
}

static gboolean
load (SumiJob *job, const char *model, guint threads, gpointer user, GError **error)
{
  return open_pipeline (user, model, threads, error) != NULL;
}

static void
tell_progress (SumiPhase phase, guint step, guint n_steps, SumiTensor *picture, gpointer user)
{
  sumi_job_progress (user, sumi_phase_name (phase), step, n_steps);
}

/* U8 (H,W,3) */
static gboolean
send_picture (SumiJob *job, SumiTensor *image, SumiResultInfo *info, GError **error)
{
  const SumiShape *shape = sumi_tensor_get_shape (image);
  info->height = (guint)shape->d[0];
  info->width = (guint)shape->d[1];
  info->channels = (guint)shape->d[2];
  return sumi_job_result (job, info, sumi_tensor_peek (image), error);
}

static gboolean
send_result (SumiJob *job, const SumiResult *result, guint64 seed, GError **error)
{
  guint count = result->images->len;
  g_autoptr (GPtrArray) notes = g_ptr_array_new ();

  for (guint i = 0; i < result->notes->len; i++)
    g_ptr_array_add (notes, g_ptr_array_index (result->notes, i));
  g_ptr_array_add (notes, NULL);
  for (guint i = 0; i < count; i++)
    {
      SumiResultInfo info = { .index = i,
                              .count = count,
                              .seed = seed + i,
                              .notes = (char **)notes->pdata,
                              .parameters = g_ptr_array_index (result->parameters, i) };
      if (!send_picture (job, g_ptr_array_index (result->images, i), &info, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
run (SumiJob *job, const SumiRunArgs *args, gpointer user, GError **error)
{
  SumiRequest r;
  sumi_job_progress (job, sumi_phase_name (SUMI_PHASE_LOAD), 0, 1);
  SumiPipeline *pipeline = open_pipeline (user, args->model, args->threads, error);
  if (pipeline == NULL)
    return FALSE;

  sumi_request_init (&r);
  r.prompt = args->prompt;
  r.negative_prompt = args->negative;
  r.width = args->width;
  r.height = args->height;
  r.steps = args->steps;
  r.guidance_scale = args->guidance_scale;
  r.sampler = args->sampler;
  r.sigmas = args->schedule[0] != '\0' ? args->schedule : "automatic";
  if (args->eta != 0.0) /* 0 there means what the sampler is made for */
    r.eta = args->eta;
  r.seed = args->seed;
  r.batch = args->batch;
  g_autoptr (SumiResult) result
      = sumi_pipeline_run (pipeline, &r, tell_progress, job, sumi_job_get_cancellable (job), error);
  return result != NULL && send_result (job, result, args->seed, error);
}

/* Not in the way of whoever started it: no signals from its terminal, last in the queue for the processor. */
static void
step_back (void)
{
  FILE *score = fopen ("/proc/self/oom_score_adj", "w");

  setsid (); /* fails harmlessly where it leads its group already */
  if (nice (NICENESS) == -1)
    g_debug ("the priority stays as it is");
  if (score != NULL)
    {
      fputs (OOM_SCORE, score);
      fclose (score);
    }
}

int
sumi_cli_worker (int argc, char **argv)
{
  static int fd = -1, idle = IDLE_SECONDS;
  static const GOptionEntry entries[]
      = { { "fd", 0, 0, G_OPTION_ARG_INT, &fd, "The socket to the plug-in, inherited", "N" },
          { "idle", 0, 0, G_OPTION_ARG_INT, &idle, "End after so long without a job; 0: never", "SECONDS" },
          { NULL } };
  static const SumiWorkerJobs jobs = { SUMI_VERSION, list_models, load, run };
  static Warm warm;
  g_autoptr (GError) error = NULL;

  if (!sumi_cli_parse (&argc, &argv, "worker", NULL, "Computes for the GIMP plug-in, which starts it.", entries,
                       &error))
    return sumi_cli_fail (error);
  if (fd < 0 || fcntl (fd, F_GETFD) == -1)
    return sumi_cli_usage ("--fd: found %d, expected an open socket", fd);
  if (idle < 0)
    return sumi_cli_usage ("--idle: found %d, expected 0 or more seconds", idle);
  fcntl (fd, F_SETFD, FD_CLOEXEC);
  step_back ();
  sumi_worker_serve (fd, (guint)idle, &jobs, &warm);
}
