/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The loss over the steps, as a table and as a picture. */
#pragma once

#include "train/state.h"

G_BEGIN_DECLS

/* step, samples, loss, smooth_loss, lr, grad_norm, seconds: CSV, one line a step, complete or untouched. */
gboolean sumi_train_history_save_csv (const GArray *history, const char *path, GError **error);
/* The curve, loss over steps: U8 (H,W,3). */
SumiTensor *sumi_train_history_plot (const GArray *history, GError **error);

G_END_DECLS
