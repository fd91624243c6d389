/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The plug-in's end of the line: starts the worker, sends it jobs, tells what it says.  Everything happens on the
 * thread and main context that made the client; nothing blocks. */
#pragma once

#include "base/protocol.h"

G_BEGIN_DECLS

typedef struct _SumiWorkerClient SumiWorkerClient;

/* Any may be NULL.  `ended` comes once for every job: after its last picture (error NULL), or when it failed or was
 * cancelled.  A handler may start the next job, and must not free the client. */
typedef struct
{
  void (*models) (const char *const *names, gpointer user); /* soon after the start */
  void (*progress) (const char *phase, guint step, guint n_steps, gpointer user);
  void (*picture) (const SumiResultInfo *info, GBytes *pixels, gpointer user); /* R'G'B' u8 */
  void (*ended) (const GError *error, gpointer user);
} SumiWorkerEvents;

/* Starts the worker: $SUMI_WORKER_COMMAND, or the `sumi` that was installed with this plug-in. */
SumiWorkerClient *sumi_worker_client_new (const SumiWorkerEvents *events, gpointer user, GError **error);
/* Closes the line, which ends the worker, whatever it does. */
void sumi_worker_client_free (SumiWorkerClient *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiWorkerClient, sumi_worker_client_free)

/* One job at a time: `args` when none is running.  A worker that has ended is started again. */
gboolean sumi_worker_client_run (SumiWorkerClient *c, const SumiRunArgs *args, GError **error);
/* Makes the model ready while the user still types. */
void sumi_worker_client_load (SumiWorkerClient *c, const char *model, guint threads);
/* The running job has ended, cancelled, when this returns; the worker is told to stop. */
void sumi_worker_client_cancel (SumiWorkerClient *c);
gboolean sumi_worker_client_is_running (SumiWorkerClient *c);

G_END_DECLS
