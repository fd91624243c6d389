/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "model-chooser.h"

GtkWidget *
sumi_model_chooser_new (void)
{
  GtkWidget *chooser = gtk_combo_box_text_new_with_entry ();
  gtk_widget_show (chooser);
  return chooser;
}

GtkEntry *
sumi_model_chooser_get_entry (GtkWidget *chooser)
{
  return GTK_ENTRY (gtk_bin_get_child (GTK_BIN (chooser)));
}

void
sumi_model_chooser_set_names (GtkWidget *chooser, const char *const *names)
{
  gtk_combo_box_text_remove_all (GTK_COMBO_BOX_TEXT (chooser));
  for (guint i = 0; names[i] != NULL; i++)
    gtk_combo_box_text_append_text (GTK_COMBO_BOX_TEXT (chooser), names[i]);
}
