/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "worker-client.h"

#include <gio/gio.h>
#include <glib-unix.h>
#include <glib/gi18n-lib.h>
#include <signal.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/pixels.h"
#include "worker-command.h"

#define WORKER_FD 3

struct _SumiWorkerClient
{
  SumiWorkerEvents events;
  gpointer user;
  SumiChannel *channel; /* NULL: no worker */
  guint source;
  GSubprocess *process;
  guint32 last_number; /* of the jobs sent so far */
  guint32 running;     /* the job whose frames count, 0: none */
};

static gboolean readable (int fd, GIOCondition condition, gpointer data);

/* ---- the process ---- */

static GSubprocess *
spawn (int fd, GError **error)
{
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_NONE);
  g_auto (GStrv) words = sumi_worker_command (error);
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autofree char *number = g_strdup_printf ("%d", WORKER_FD);

  g_subprocess_launcher_take_fd (launcher, fd, WORKER_FD);
  /* Threads that wait for each other sleep early: GIMP and the rest of the desktop want the cores too. */
  g_subprocess_launcher_setenv (launcher, "GOMP_SPINCOUNT", "10000", FALSE);
  if (words == NULL)
    return NULL;
  for (guint i = 0; words[i] != NULL; i++)
    g_ptr_array_add (argv, words[i]);
  g_ptr_array_add (argv, (gpointer) "--fd");
  g_ptr_array_add (argv, number);
  g_ptr_array_add (argv, NULL);
  return g_subprocess_launcher_spawnv (launcher, (const char *const *)argv->pdata, error);
}

static gboolean
start (SumiWorkerClient *c, GError **error)
{
  int fds[2];

  if (!sumi_channel_pair (fds, error))
    return FALSE;
  c->process = spawn (fds[1], error);
  if (c->process == NULL)
    {
      close (fds[0]);
      return FALSE;
    }
  c->channel = sumi_channel_new (fds[0]);
  c->source = g_unix_fd_add (fds[0], G_IO_IN | G_IO_HUP | G_IO_ERR, readable, c);
  return sumi_channel_send (c->channel, SUMI_FRAME_HELLO, 0,
                            g_variant_new ("(s^as)", SUMI_VERSION, (const char *[]){ NULL }), -1, error);
}

static void
hang_up (SumiWorkerClient *c)
{
  g_clear_handle_id (&c->source, g_source_remove);
  g_clear_pointer (&c->channel, sumi_channel_free);
}

/* Why the worker is gone, in words.  It has closed its end: it is dead, or will be at once. */
static GError *
obituary (SumiWorkerClient *c)
{
  g_subprocess_force_exit (c->process);
  g_subprocess_wait (c->process, NULL, NULL);
  if (g_subprocess_get_if_signaled (c->process) && g_subprocess_get_term_sig (c->process) == SIGKILL)
    return g_error_new (SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY,
                        _ ("The computation was ended by the system, most likely because memory ran out."));
  return g_error_new (SUMI_ERROR, SUMI_ERROR_ENGINE, _ ("The computation ended unexpectedly."));
}

/* ---- frames ---- */

static void
end_job (SumiWorkerClient *c, const GError *error)
{
  if (c->running == 0)
    return;
  c->running = 0;
  if (c->events.ended != NULL)
    c->events.ended (error, c->user);
}

static gboolean
take_picture (SumiWorkerClient *c, SumiFrame *frame, GError **error)
{
  g_auto (SumiResultInfo) info = { 0 };
  g_autoptr (GBytes) pixels = NULL;

  if (!sumi_result_info_from_variant (frame->payload, &info, error))
    return FALSE;
  pixels = sumi_pixels_map (frame->fd, info.width, info.height, info.channels, error);
  if (pixels == NULL)
    return FALSE;
  if (c->events.picture != NULL)
    c->events.picture (&info, pixels, c->user);
  if (info.index + 1 == info.count)
    end_job (c, NULL);
  return TRUE;
}

static void
take_progress (SumiWorkerClient *c, const SumiFrame *frame)
{
  const char *phase;
  guint step, n_steps;

  g_variant_get (frame->payload, "(&suu)", &phase, &step, &n_steps);
  if (c->events.progress != NULL)
    c->events.progress (phase, step, n_steps, c->user);
}

static void
take_models (SumiWorkerClient *c, const SumiFrame *frame)
{
  g_autofree const char **names = NULL;

  g_variant_get (frame->payload, "(&s^a&s)", NULL, &names);
  if (c->events.models != NULL)
    c->events.models (names, c->user);
}

static gboolean
handle (SumiWorkerClient *c, SumiFrame *frame, GError **error)
{
  if (frame->type == SUMI_FRAME_ERROR && frame->job == 0)
    {
      g_propagate_error (error, sumi_error_from_variant (frame->payload));
      return FALSE;
    }
  if (frame->type == SUMI_FRAME_HELLO)
    take_models (c, frame);
  else if (frame->job == 0 || frame->job != c->running)
    return TRUE; /* of a job that was given up, or a LOAD */
  else if (frame->type == SUMI_FRAME_PROGRESS)
    take_progress (c, frame);
  else if (frame->type == SUMI_FRAME_RESULT)
    return take_picture (c, frame, error);
  else if (frame->type == SUMI_FRAME_ERROR)
    {
      g_autoptr (GError) failure = sumi_error_from_variant (frame->payload);
      end_job (c, failure);
    }
  return TRUE;
}

static gboolean
readable (int fd, GIOCondition condition, gpointer data)
{
  SumiWorkerClient *c = data;
  for (;;)
    {
      g_auto (SumiFrame) frame = SUMI_FRAME_INIT;
      g_autoptr (GError) error = NULL;
      SumiChannelStatus status = sumi_channel_read (c->channel, &frame, &error);

      if (status == SUMI_CHANNEL_AGAIN)
        return G_SOURCE_CONTINUE;
      if (status == SUMI_CHANNEL_FRAME && handle (c, &frame, &error))
        continue;
      if (status == SUMI_CHANNEL_EOF)
        error = obituary (c);
      c->source = 0; /* removed by what this returns */
      hang_up (c);
      end_job (c, error);
      return G_SOURCE_REMOVE;
    }
}

/* ---- for the procedures ---- */

SumiWorkerClient *
sumi_worker_client_new (const SumiWorkerEvents *events, gpointer user, GError **error)
{
  SumiWorkerClient *c = g_new0 (SumiWorkerClient, 1);

  c->events = *events;
  c->user = user;
  if (start (c, error))
    return c;
  sumi_worker_client_free (c);
  return NULL;
}

void
sumi_worker_client_free (SumiWorkerClient *c)
{
  if (c == NULL)
    return;
  hang_up (c);
  g_clear_object (&c->process);
  g_free (c);
}

static gboolean
ensure_worker (SumiWorkerClient *c, GError **error)
{
  if (c->channel != NULL)
    return TRUE;
  g_clear_object (&c->process);
  return start (c, error);
}

gboolean
sumi_worker_client_run (SumiWorkerClient *c, const SumiRunArgs *args, GError **error)
{
  g_return_val_if_fail (c->running == 0, FALSE);
  if (!ensure_worker (c, error)
      || !sumi_channel_send (c->channel, SUMI_FRAME_RUN, c->last_number + 1, sumi_run_args_to_variant (args), -1,
                             error))
    return FALSE;
  c->running = ++c->last_number;
  return TRUE;
}

void
sumi_worker_client_load (SumiWorkerClient *c, const char *model, guint threads)
{
  /* Only a head start: what is wrong with the model is told when it is used. */
  if (c->channel != NULL)
    sumi_channel_send (c->channel, SUMI_FRAME_LOAD, ++c->last_number, g_variant_new ("(su)", model, threads), -1, NULL);
}

void
sumi_worker_client_cancel (SumiWorkerClient *c)
{
  g_autoptr (GError) cancelled = g_error_new_literal (SUMI_ERROR, SUMI_ERROR_CANCELLED, _ ("Cancelled."));

  if (c->running != 0 && c->channel != NULL)
    sumi_channel_send (c->channel, SUMI_FRAME_CANCEL, c->running, g_variant_new ("()"), -1, NULL);
  end_job (c, cancelled);
}

gboolean
sumi_worker_client_is_running (SumiWorkerClient *c)
{
  return c->running != 0;
}
