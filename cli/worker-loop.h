/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The worker without its models: a main thread that listens to the plug-in, an engine thread that runs one job after
 * the other.  What a job does comes from outside, so that the tests can put in jobs that are slow, fail or crash. */
#pragma once

#include <gio/gio.h>

#include "base/protocol.h"

G_BEGIN_DECLS

typedef struct _SumiJob SumiJob;

/* Called on the engine thread, one at a time; FALSE with an error set ends the job with ERROR. */
typedef struct
{
  const char *version;
  char **(*list_models) (gpointer user); /* on the main thread; free with g_strfreev */
  gboolean (*load) (SumiJob *job, const char *model, guint threads, gpointer user, GError **error);
  gboolean (*run) (SumiJob *job, const SumiRunArgs *args, gpointer user, GError **error);
} SumiWorkerJobs;

GCancellable *sumi_job_get_cancellable (SumiJob *job);
/* These speak to the plug-in; when it is gone they do nothing, and the job is cancelled. */
void sumi_job_progress (SumiJob *job, const char *phase, guint step, guint n_steps);
void sumi_job_preview (SumiJob *job, const void *pixels, guint width, guint height);
gboolean sumi_job_result (SumiJob *job, const SumiResultInfo *info, const void *pixels, GError **error);

/* Serves the connection until the plug-in closes it or says BYE, `idle_seconds` pass without a job (0: never), or it
 * breaks the protocol (status 1).  Then ends the process, whatever the engine thread is in the middle of. */
G_NORETURN void sumi_worker_serve (int fd, guint idle_seconds, const SumiWorkerJobs *jobs, gpointer user);

G_END_DECLS
