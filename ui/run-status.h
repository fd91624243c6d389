/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How a job goes, at the foot of a dialog: a progress bar while it runs, else a line of text or nothing. */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

GtkWidget *sumi_run_status_new (void);

/* fraction 0..1, below 0: moves to and fro. */
void sumi_run_status_set_busy (GtkWidget *status, const char *what, double fraction);
/* is_error: with an icon. */
void sumi_run_status_set_message (GtkWidget *status, const char *text, gboolean is_error);

G_END_DECLS
