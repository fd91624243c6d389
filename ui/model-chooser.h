/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A model by name or by file: the names that are known to choose from, and an entry for anything else. */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

GtkWidget *sumi_model_chooser_new (void);

/* Its property "text" can be bound. */
GtkEntry *sumi_model_chooser_get_entry (GtkWidget *chooser);

void sumi_model_chooser_set_names (GtkWidget *chooser, const char *const *names);

G_END_DECLS
