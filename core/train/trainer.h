/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The training loop: draw a batch, run the graph, update the weights, save now and then. */
#pragma once

#include <gio/gio.h>

#include "train/setup.h"
#include "train/state.h"

G_BEGIN_DECLS

/* How the run tells its user; on the calling thread. */
typedef struct
{
  /* "cache": pictures read.  "train": updates done, with the last one's figures. */
  void (*progress) (const char *phase, guint64 step, guint64 n_steps, const SumiTrainRow *row, gpointer user);
  void (*note) (const char *text, gpointer user);
  gpointer user;
} SumiTrainReport;

typedef struct _SumiTrainer SumiTrainer;

/* Reads (or encodes) the data set, builds and compiles the model, makes or loads the state.  The setup must live as
 * long as the trainer; its configuration is completed. */
SumiTrainer *sumi_trainer_new (SumiTrainSetup *setup, const SumiTrainReport *report, GCancellable *cancellable,
                               GError **error);
void sumi_trainer_free (SumiTrainer *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiTrainer, sumi_trainer_free)

/* Trains until options.steps updates are done.  Saves checkpoint, model, loss.csv and loss.png on the way, at the end,
 * and when cancelled, and sheets of samples as often as the options say; a loss or gradient that is not finite ends the
 * run in non_finite with the state before that step saved. */
gboolean sumi_trainer_run (SumiTrainer *t, GCancellable *cancellable, GError **error);

const SumiTrainState *sumi_trainer_peek_state (const SumiTrainer *t);

G_END_DECLS
