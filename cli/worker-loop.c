/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "worker-loop.h"

#include <glib-unix.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/pixels.h"

typedef struct
{
  SumiChannel *channel;
  const SumiWorkerJobs *jobs;
  gpointer user;
  GAsyncQueue *queue;  /* SumiJob, to the engine thread */
  GHashTable *running; /* job number -> SumiJob: queued or running; main thread */
  guint idle_seconds, idle_source;
} Worker;

struct _SumiJob
{
  Worker *worker;
  guint32 number;
  SumiFrameType type; /* LOAD or RUN */
  char *model;        /* LOAD */
  guint threads;      /* LOAD */
  SumiRunArgs args;   /* RUN */
  GCancellable *cancellable;
};

static void
job_free (SumiJob *job)
{
  g_free (job->model);
  sumi_run_args_clear (&job->args);
  g_object_unref (job->cancellable);
  g_free (job);
}

/* ---- the engine thread ---- */

GCancellable *
sumi_job_get_cancellable (SumiJob *job)
{
  return job->cancellable;
}

static void
send_or_cancel (SumiJob *job, SumiFrameType type, GVariant *payload, int pixels)
{
  if (!sumi_channel_send (job->worker->channel, type, job->number, payload, pixels, NULL))
    g_cancellable_cancel (job->cancellable); /* nobody waits for it any more */
}

void
sumi_job_progress (SumiJob *job, const char *phase, guint step, guint n_steps)
{
  send_or_cancel (job, SUMI_FRAME_PROGRESS, g_variant_new ("(suu)", phase, step, n_steps), -1);
}

void
sumi_job_preview (SumiJob *job, const void *pixels, guint width, guint height)
{
  int fd = sumi_pixels_share (pixels, (gsize)width * height * 3, NULL);
  if (fd < 0)
    return; /* a preview is not worth failing for */
  send_or_cancel (job, SUMI_FRAME_PREVIEW, g_variant_new ("(uuu)", width, height, 3), fd);
  close (fd);
}

gboolean
sumi_job_result (SumiJob *job, const SumiResultInfo *info, const void *pixels, GError **error)
{
  int fd = sumi_pixels_share (pixels, (gsize)info->width * info->height * info->channels, error);
  if (fd < 0)
    return FALSE;
  gboolean ok = sumi_channel_send (job->worker->channel, SUMI_FRAME_RESULT, job->number,
                                   sumi_result_info_to_variant (info), fd, error);
  close (fd);
  return ok;
}

static gboolean
run_job (SumiJob *job, GError **error)
{
  Worker *w = job->worker;

  if (sumi_set_error_if_cancelled (job->cancellable, error))
    return FALSE;
  if (job->type == SUMI_FRAME_RUN)
    return w->jobs->run (job, &job->args, w->user, error);
  if (!w->jobs->load (job, job->model, job->threads, w->user, error))
    return FALSE;
  sumi_job_progress (job, "load", 1, 1);
  return TRUE;
}

static gboolean job_ended (gpointer data);

static gpointer
engine_thread (gpointer data)
{
  Worker *w = data;
  for (;;)
    {
      SumiJob *job = g_async_queue_pop (w->queue);
      g_autoptr (GError) error = NULL;
      if (!run_job (job, &error))
        send_or_cancel (job, SUMI_FRAME_ERROR, sumi_error_to_variant (error), -1);
      g_idle_add (job_ended, job);
    }
  return NULL;
}

/* ---- the main thread ---- */

static gboolean
idle_too_long (gpointer data)
{
  Worker *w = data;
  sumi_channel_send (w->channel, SUMI_FRAME_BYE, 0, g_variant_new ("()"), -1, NULL);
  _exit (0);
}

static void
watch_idleness (Worker *w)
{
  g_clear_handle_id (&w->idle_source, g_source_remove);
  if (w->idle_seconds > 0 && g_hash_table_size (w->running) == 0)
    w->idle_source = g_timeout_add_seconds (w->idle_seconds, idle_too_long, w);
}

static gboolean
job_ended (gpointer data)
{
  SumiJob *job = data;
  Worker *w = job->worker;
  g_hash_table_remove (w->running, GUINT_TO_POINTER (job->number));
  watch_idleness (w);
  return G_SOURCE_REMOVE;
}

static gboolean
start_job (Worker *w, const SumiFrame *frame, GError **error)
{
  if (frame->job == 0 || g_hash_table_contains (w->running, GUINT_TO_POINTER (frame->job)))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL, "frame %s: found job %u, expected a new number above 0",
                   sumi_frame_type_name (frame->type), frame->job);
      return FALSE;
    }
  SumiJob *job = g_new0 (SumiJob, 1);
  *job = (SumiJob){ .worker = w, .number = frame->job, .type = frame->type, .cancellable = g_cancellable_new () };
  if (frame->type == SUMI_FRAME_LOAD)
    g_variant_get (frame->payload, "(su)", &job->model, &job->threads);
  else if (!sumi_run_args_from_variant (frame->payload, &job->args, error))
    {
      job_free (job);
      return FALSE;
    }
  g_hash_table_insert (w->running, GUINT_TO_POINTER (job->number), job);
  watch_idleness (w);
  g_async_queue_push (w->queue, job);
  return TRUE;
}

static gboolean
say_hello (Worker *w, GError **error)
{
  g_auto (GStrv) models = w->jobs->list_models (w->user);
  return sumi_channel_send (w->channel, SUMI_FRAME_HELLO, 0, g_variant_new ("(s^as)", w->jobs->version, models), -1,
                            error);
}

static gboolean
refuse_training (Worker *w, guint32 number, GError **error)
{
  GError refusal = { SUMI_ERROR, SUMI_ERROR_USAGE, (char *)"training is not offered by this worker" };
  return sumi_channel_send (w->channel, SUMI_FRAME_ERROR, number, sumi_error_to_variant (&refusal), -1, error);
}

static gboolean
handle (Worker *w, const SumiFrame *frame, GError **error)
{
  SumiJob *job;

  switch (frame->type)
    {
    case SUMI_FRAME_HELLO:
      return say_hello (w, error);
    case SUMI_FRAME_LOAD:
    case SUMI_FRAME_RUN:
      return start_job (w, frame, error);
    case SUMI_FRAME_TRAIN:
      return refuse_training (w, frame->job, error);
    case SUMI_FRAME_CANCEL:
      /* a job that has just ended is not there any more, and that is fine */
      job = g_hash_table_lookup (w->running, GUINT_TO_POINTER (frame->job));
      if (job != NULL)
        g_cancellable_cancel (job->cancellable);
      return TRUE;
    case SUMI_FRAME_BYE:
      _exit (0);
    default:
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL, "found frame %s, expected one that a plug-in sends",
                   sumi_frame_type_name (frame->type));
      return FALSE;
    }
}

G_NORETURN static void
give_up (Worker *w, GError *error)
{
  g_printerr ("sumi: error [%s]: %s\n", sumi_error_class (error), error->message);
  sumi_channel_send (w->channel, SUMI_FRAME_ERROR, 0, sumi_error_to_variant (error), -1, NULL);
  _exit (1);
}

static gboolean
readable (int fd, GIOCondition condition, gpointer data)
{
  Worker *w = data;
  for (;;)
    {
      g_auto (SumiFrame) frame = SUMI_FRAME_INIT;
      g_autoptr (GError) error = NULL;
      switch (sumi_channel_read (w->channel, &frame, &error))
        {
        case SUMI_CHANNEL_FRAME:
          if (!handle (w, &frame, &error))
            give_up (w, error);
          break;
        case SUMI_CHANNEL_AGAIN:
          return G_SOURCE_CONTINUE;
        case SUMI_CHANNEL_EOF:
          _exit (0);
        case SUMI_CHANNEL_ERROR:
          give_up (w, error);
        }
    }
}

void
sumi_worker_serve (int fd, guint idle_seconds, const SumiWorkerJobs *jobs, gpointer user)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Worker w = { .channel = sumi_channel_new (fd),
               .jobs = jobs,
               .user = user,
               .queue = g_async_queue_new (),
               .running = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify)job_free),
               .idle_seconds = idle_seconds };

  g_unix_fd_add (fd, G_IO_IN | G_IO_HUP | G_IO_ERR, readable, &w);
  watch_idleness (&w);
  g_thread_unref (g_thread_new ("engine", engine_thread, &w));
  g_main_loop_run (loop); /* left through _exit only: the engine thread may be busy for long */
  _exit (0);
}
