/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "run-status.h"

#define BUSY "busy"
#define MESSAGE "message"
#define WIDTH_CHARS 50

static GtkWidget *
message_box (void)
{
  GtkWidget *box = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, 6);
  GtkWidget *icon = gtk_image_new_from_icon_name ("dialog-error", GTK_ICON_SIZE_BUTTON);
  GtkWidget *label = gtk_label_new (NULL);

  gtk_label_set_line_wrap (GTK_LABEL (label), TRUE);
  gtk_label_set_max_width_chars (GTK_LABEL (label), WIDTH_CHARS);
  gtk_label_set_xalign (GTK_LABEL (label), 0.0);
  gtk_label_set_selectable (GTK_LABEL (label), TRUE); /* to be copied into a report */
  gtk_widget_set_can_focus (label, FALSE);
  gtk_widget_set_no_show_all (icon, TRUE);
  gtk_box_pack_start (GTK_BOX (box), icon, FALSE, FALSE, 0);
  gtk_box_pack_start (GTK_BOX (box), label, TRUE, TRUE, 0);
  g_object_set_data (G_OBJECT (box), "icon", icon);
  g_object_set_data (G_OBJECT (box), "label", label);
  return box;
}

GtkWidget *
sumi_run_status_new (void)
{
  GtkWidget *stack = gtk_stack_new ();
  GtkWidget *bar = gtk_progress_bar_new ();

  gtk_progress_bar_set_show_text (GTK_PROGRESS_BAR (bar), TRUE);
  gtk_progress_bar_set_text (GTK_PROGRESS_BAR (bar), "");
  gtk_stack_add_named (GTK_STACK (stack), message_box (), MESSAGE);
  gtk_stack_add_named (GTK_STACK (stack), bar, BUSY);
  gtk_stack_set_vhomogeneous (GTK_STACK (stack), FALSE);
  gtk_widget_show_all (stack);
  return stack;
}

void
sumi_run_status_set_busy (GtkWidget *status, const char *what, double fraction)
{
  GtkProgressBar *bar = GTK_PROGRESS_BAR (gtk_stack_get_child_by_name (GTK_STACK (status), BUSY));

  gtk_progress_bar_set_text (bar, what);
  if (fraction < 0.0)
    gtk_progress_bar_pulse (bar);
  else
    gtk_progress_bar_set_fraction (bar, CLAMP (fraction, 0.0, 1.0));
  gtk_stack_set_visible_child_name (GTK_STACK (status), BUSY);
}

void
sumi_run_status_set_message (GtkWidget *status, const char *text, gboolean is_error)
{
  GtkWidget *box = gtk_stack_get_child_by_name (GTK_STACK (status), MESSAGE);

  gtk_label_set_text (GTK_LABEL (g_object_get_data (G_OBJECT (box), "label")), text);
  gtk_widget_set_visible (GTK_WIDGET (g_object_get_data (G_OBJECT (box), "icon")), is_error);
  gtk_stack_set_visible_child_name (GTK_STACK (status), MESSAGE);
}
