/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A worker whose jobs are made up, so that the tests of everything around it are quick and can be made to go wrong:
 *   --fd N [--idle SECONDS]
 * Models: "starter" draws two flat colours at once; "slow" takes 60 seconds unless it is cancelled; "crash" kills the
 * process half-way; anything else is unknown.
 * What happens is appended to the file $SUMI_STAND_IN_LOG: "run MODEL PID PARENT", "cancelled". */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../cli/worker-loop.h"

#define OWN_WIDTH 64
#define OWN_HEIGHT 48
#define SLOW_STEPS 3000

static const guint8 left[3] = { 200, 30, 60 }, right[3] = { 20, 120, 220 };

static void note (const char *format, ...) G_GNUC_PRINTF (1, 2);

static void
note (const char *format, ...)
{
  const char *path = g_getenv ("SUMI_STAND_IN_LOG");
  FILE *log = path != NULL ? fopen (path, "a") : NULL;
  va_list args;

  if (log == NULL)
    return;
  va_start (args, format);
  vfprintf (log, format, args);
  va_end (args);
  fclose (log);
}

static char **
list_models (gpointer user)
{
  return g_strsplit ("crash slow starter", " ", -1);
}

static gboolean
known (const char *model, GError **error)
{
  if (g_str_equal (model, "starter") || g_str_equal (model, "slow") || g_str_equal (model, "crash"))
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "model: found '%s', expected starter, slow or crash",
               model);
  return FALSE;
}

static gboolean
load (SumiJob *job, const char *model, guint threads, gpointer user, GError **error)
{
  return known (model, error);
}

static gboolean
take_long (SumiJob *job, GError **error)
{
  for (guint step = 0; step < SLOW_STEPS; step++)
    {
      if (sumi_set_error_if_cancelled (sumi_job_get_cancellable (job), error))
        {
          note ("cancelled\n");
          return FALSE;
        }
      sumi_job_progress (job, "sample", step, SLOW_STEPS);
      g_usleep (20000);
    }
  return TRUE;
}

static guint8 *
two_colours (guint width, guint height)
{
  guint8 *pixels = g_malloc (3 * (gsize)width * height);
  for (gsize i = 0; i < (gsize)width * height; i++)
    memcpy (pixels + 3 * i, i % width < width / 2 ? left : right, 3);
  return pixels;
}

static gboolean
run (SumiJob *job, const SumiRunArgs *args, gpointer user, GError **error)
{
  const char *notes[] = { "this picture is made up", NULL };
  guint width = args->width > 0 ? args->width : OWN_WIDTH, height = args->height > 0 ? args->height : OWN_HEIGHT;

  note ("run %s %d %d\n", args->model, (int)getpid (), (int)getppid ());
  if (!known (args->model, error))
    return FALSE;
  sumi_job_progress (job, "load", 1, 1);
  sumi_job_progress (job, "sample", 0, args->steps);
  if (g_str_equal (args->model, "crash"))
    raise (SIGKILL);
  if (g_str_equal (args->model, "slow") && !take_long (job, error))
    return FALSE;

  g_autofree guint8 *pixels = two_colours (width, height);
  sumi_job_preview (job, pixels, width, height);
  for (guint i = 0; i < args->batch; i++)
    {
      SumiResultInfo info = { i, args->batch, width, height, 3, args->seed + i, (char *)"Steps: 1", (char **)notes };
      if (!sumi_job_result (job, &info, pixels, error))
        return FALSE;
    }
  return TRUE;
}

int
main (int argc, char **argv)
{
  static const SumiWorkerJobs jobs = { "0", list_models, load, run };
  int fd = -1, idle = 0;

  for (int i = 1; i + 1 < argc; i++)
    {
      if (g_str_equal (argv[i], "--fd"))
        fd = atoi (argv[i + 1]);
      if (g_str_equal (argv[i], "--idle"))
        idle = atoi (argv[i + 1]);
    }
  if (fd < 0)
    return 2;
  sumi_worker_serve (fd, (guint)idle, &jobs, NULL);
}
