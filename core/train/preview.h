/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A sheet of pictures drawn by the model as it would be saved now, always from the same noise. */
#pragma once

#include <gio/gio.h>

#include "train/dataset.h"
#include "train/setup.h"
#include "train/state.h"

G_BEGIN_DECLS

/* The prompts of the sheet: those of the setup, else the first captions of some pictures.  A NULL-terminated list; free
 * with g_strfreev. */
char **sumi_train_preview_prompts (const SumiTrainSetup *setup, const SumiDataset *d);

/* One picture for each prompt (for a model of pixels sixteen without).  U8 (H,W,3). `config`: the text of the model's
 * configuration. */
SumiTensor *sumi_train_preview_draw (const SumiTrainState *state, const SumiTrainSetup *setup, const char *config,
                                     char **prompts, GCancellable *cancellable, GError **error);

G_END_DECLS
