/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "text-to-image-dialog.h"

#include <glib/gi18n-lib.h>
#include <libgimp/gimpui.h>

#include "ui/model-chooser.h"
#include "ui/prompt-box.h"
#include "ui/run-status.h"
#include "text-to-image.h"
#include "worker-client.h"

#define RESPONSE_RESET 1
#define SPACING 6

static const char *const fields[] = { "prompt",  "negative", "width", "height", "steps",    "guidance-scale",
                                      "sampler", "eta",      "seed",  "model",  "schedule", NULL };

typedef struct
{
  GimpProcedureConfig *config;
  GtkDialog *dialog;
  GtkWidget *grid; /* all fields */
  GtkWidget *prompt, *models, *status;
  GMainLoop *loop;
  SumiWorkerClient *client;
  SumiRunArgs *args;
  SumiPicture *picture;
} Dialog;

/* ---- a run ---- */

static void
set_running (Dialog *d, gboolean running)
{
  gtk_widget_set_sensitive (d->grid, !running);
  gtk_dialog_set_response_sensitive (d->dialog, GTK_RESPONSE_OK, !running);
  gtk_dialog_set_response_sensitive (d->dialog, RESPONSE_RESET, !running);
}

static void
show_error (Dialog *d, const GError *error)
{
  g_autofree char *text = sumi_explain (error);
  sumi_run_status_set_message (d->status, text, TRUE);
}

static void
on_models (const char *const *names, gpointer user)
{
  Dialog *d = user;
  sumi_model_chooser_set_names (d->models, names);
}

static void
on_progress (const char *phase, guint step, guint n_steps, gpointer user)
{
  Dialog *d = user;
  double fraction = sumi_phase_fraction (phase, step, n_steps);
  /* Translators: what is done, and how many steps of how many */
  g_autofree char *text = fraction >= 0.0 && n_steps > 1
                              ? g_strdup_printf (_ ("%s (%u of %u)"), sumi_phase_text (phase), step, n_steps)
                              : g_strdup (sumi_phase_text (phase));
  sumi_run_status_set_busy (d->status, text, fraction);
}

static void
on_picture (const SumiResultInfo *info, GBytes *pixels, gpointer user)
{
  Dialog *d = user;
  sumi_picture_set (d->picture, info, pixels);
}

static void
on_ended (const GError *error, gpointer user)
{
  Dialog *d = user;

  set_running (d, FALSE);
  gtk_widget_grab_focus (sumi_prompt_box_get_view (SUMI_PROMPT_BOX (d->prompt)));
  if (error == NULL)
    g_main_loop_quit (d->loop);
  else if (g_error_matches (error, SUMI_ERROR, SUMI_ERROR_CANCELLED))
    sumi_run_status_set_message (d->status, error->message, FALSE);
  else
    show_error (d, error);
}

static void
start_run (Dialog *d)
{
  g_autoptr (GError) error = NULL;

  sumi_picture_clear (d->picture);
  sumi_run_args_clear (d->args);
  sumi_text_to_image_args (d->config, d->args);
  if (!sumi_worker_client_run (d->client, d->args, &error))
    {
      show_error (d, error);
      return;
    }
  set_running (d, TRUE);
  sumi_run_status_set_busy (d->status, _ ("Starting"), 0.0);
}

/* ---- buttons ---- */

static void
reset_fields (Dialog *d)
{
  for (guint i = 0; fields[i] != NULL; i++)
    {
      GParamSpec *field = g_object_class_find_property (G_OBJECT_GET_CLASS (d->config), fields[i]);
      g_object_set_property (G_OBJECT (d->config), fields[i], g_param_spec_get_default_value (field));
    }
}

static void
on_response (GtkDialog *dialog, int response, Dialog *d)
{
  gboolean running = sumi_worker_client_is_running (d->client);

  if (response == GTK_RESPONSE_OK && !running)
    start_run (d);
  else if (response == RESPONSE_RESET && !running)
    reset_fields (d);
  else if (response == GTK_RESPONSE_CANCEL && running) /* the first Cancel stops, the second closes */
    sumi_worker_client_cancel (d->client);
  else if (response == GTK_RESPONSE_CANCEL || response == GTK_RESPONSE_DELETE_EVENT)
    {
      sumi_picture_clear (d->picture);
      g_main_loop_quit (d->loop);
    }
}

/* GtkDialog closes at Escape; here it is the Cancel button. */
static gboolean
on_key (GtkWidget *widget, GdkEventKey *event, Dialog *d)
{
  if (event->keyval != GDK_KEY_Escape)
    return GDK_EVENT_PROPAGATE;
  gtk_dialog_response (d->dialog, GTK_RESPONSE_CANCEL);
  return GDK_EVENT_STOP;
}

/* ---- fields ---- */

static void
add_row (Dialog *d, int row, const char *mnemonic, GtkWidget *widget, GtkWidget *target)
{
  GtkWidget *label = gtk_label_new_with_mnemonic (mnemonic);

  gtk_label_set_xalign (GTK_LABEL (label), 0.0);
  gtk_label_set_mnemonic_widget (GTK_LABEL (label), target);
  if (SUMI_IS_PROMPT_BOX (widget))
    gtk_widget_set_valign (label, GTK_ALIGN_START);
  gtk_widget_set_hexpand (widget, TRUE);
  gtk_grid_attach (GTK_GRID (d->grid), label, 0, row, 1, 1);
  gtk_grid_attach (GTK_GRID (d->grid), widget, 1, row, 1, 1);
}

static void
bind_text (Dialog *d, const char *field, gpointer widget)
{
  g_object_bind_property (d->config, field, widget, "text", G_BINDING_BIDIRECTIONAL | G_BINDING_SYNC_CREATE);
}

static void
add_prompts (Dialog *d)
{
  GtkWidget *negative = sumi_prompt_box_new (NULL, 1);

  d->prompt = sumi_prompt_box_new (_ ("a red apple"), 3);
  bind_text (d, "prompt", d->prompt);
  bind_text (d, "negative", negative);
  gtk_widget_set_vexpand (d->prompt, TRUE);
  add_row (d, 0, _ ("_Prompt"), d->prompt, sumi_prompt_box_get_view (SUMI_PROMPT_BOX (d->prompt)));
  add_row (d, 1, _ ("_Negative prompt"), negative, sumi_prompt_box_get_view (SUMI_PROMPT_BOX (negative)));
}

static void
add_size (Dialog *d)
{
  GtkWidget *box = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, SPACING);
  GtkWidget *width = gimp_prop_spin_button_new (G_OBJECT (d->config), "width", 8, 64, 0);
  GtkWidget *height = gimp_prop_spin_button_new (G_OBJECT (d->config), "height", 8, 64, 0);
  GtkWidget *by = gtk_label_new_with_mnemonic (_ ("× _height"));

  gtk_label_set_mnemonic_widget (GTK_LABEL (by), height);
  gtk_box_pack_start (GTK_BOX (box), width, FALSE, FALSE, 0);
  gtk_box_pack_start (GTK_BOX (box), by, FALSE, FALSE, 0);
  gtk_box_pack_start (GTK_BOX (box), height, FALSE, FALSE, 0);
  gtk_box_pack_start (GTK_BOX (box), gtk_label_new (_ ("0: the model’s own")), FALSE, FALSE, 0);
  add_row (d, 3, _ ("_Width"), box, width);
}

static void
add_seed (Dialog *d)
{
  GtkWidget *box = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, SPACING);
  GtkWidget *seed = gimp_prop_spin_button_new (G_OBJECT (d->config), "seed", 1, 100, 0);

  gtk_box_pack_start (GTK_BOX (box), seed, FALSE, FALSE, 0);
  gtk_box_pack_start (GTK_BOX (box), gtk_label_new (_ ("−1: another picture each time")), FALSE, FALSE, 0);
  add_row (d, 4, _ ("See_d"), box, seed);
}

static void
add_numbers (Dialog *d)
{
  GObject *config = G_OBJECT (d->config);
  GtkWidget *steps = gimp_prop_spin_scale_new (config, "steps", 1, 10, 0);
  GtkWidget *guidance = gimp_prop_spin_scale_new (config, "guidance-scale", 0.5, 1, 1);
  GtkWidget *sampler = gimp_prop_choice_combo_box_new (config, "sampler");
  GtkWidget *schedule = gimp_prop_choice_combo_box_new (config, "schedule");
  GtkWidget *eta = gimp_prop_spin_scale_new (config, "eta", 0.05, 0.1, 2);

  gimp_spin_scale_set_scale_limits (GIMP_SPIN_SCALE (steps), 1, 100);
  gimp_spin_scale_set_scale_limits (GIMP_SPIN_SCALE (guidance), 0, 20);
  gtk_grid_attach (GTK_GRID (d->grid), steps, 0, 5, 2, 1);
  gtk_grid_attach (GTK_GRID (d->grid), guidance, 0, 6, 2, 1);
  add_row (d, 7, _ ("Samp_ler"), sampler, sampler);
  add_row (d, 8, _ ("S_chedule"), schedule, schedule);
  gtk_grid_attach (GTK_GRID (d->grid), eta, 0, 9, 2, 1);
}

static void
add_fields (Dialog *d)
{
  d->grid = gtk_grid_new ();
  gtk_grid_set_row_spacing (GTK_GRID (d->grid), SPACING);
  gtk_grid_set_column_spacing (GTK_GRID (d->grid), 2 * SPACING);
  add_prompts (d);
  d->models = sumi_model_chooser_new ();
  bind_text (d, "model", sumi_model_chooser_get_entry (d->models));
  add_row (d, 2, _ ("M_odel"), d->models, GTK_WIDGET (sumi_model_chooser_get_entry (d->models)));
  add_size (d);
  add_seed (d);
  add_numbers (d);
}

/* ---- the window ---- */

static void
add_shortcut (Dialog *d, GtkWidget *button)
{
  GtkAccelGroup *group = gtk_accel_group_new ();

  gtk_window_add_accel_group (GTK_WINDOW (d->dialog), group);
  gtk_widget_add_accelerator (button, "clicked", group, GDK_KEY_Return, GDK_CONTROL_MASK, 0);
  gtk_widget_add_accelerator (button, "clicked", group, GDK_KEY_KP_Enter, GDK_CONTROL_MASK, 0);
  gtk_widget_set_tooltip_text (button, _ ("Ctrl+Enter"));
  g_object_unref (group);
}

static void
build (Dialog *d)
{
  GtkWidget *content;

  d->dialog = GTK_DIALOG (gimp_dialog_new (_ ("Text to Image"), "sumi-text-to-image", NULL, 0, NULL, NULL, _ ("_Reset"),
                                           RESPONSE_RESET, _ ("_Cancel"), GTK_RESPONSE_CANCEL, _ ("_Generate"),
                                           GTK_RESPONSE_OK, NULL));
  gtk_dialog_set_default_response (d->dialog, GTK_RESPONSE_OK);
  add_shortcut (d, gtk_dialog_get_widget_for_response (d->dialog, GTK_RESPONSE_OK));
  add_fields (d);
  d->status = sumi_run_status_new ();
  content = gtk_dialog_get_content_area (d->dialog);
  gtk_container_set_border_width (GTK_CONTAINER (content), 2 * SPACING);
  gtk_box_set_spacing (GTK_BOX (content), 2 * SPACING);
  gtk_box_pack_start (GTK_BOX (content), d->grid, TRUE, TRUE, 0);
  gtk_box_pack_start (GTK_BOX (content), d->status, FALSE, FALSE, 0);
  gtk_widget_show_all (d->grid);
  gtk_widget_grab_focus (sumi_prompt_box_get_view (SUMI_PROMPT_BOX (d->prompt)));
  g_signal_connect (d->dialog, "response", G_CALLBACK (on_response), d);
  g_signal_connect (d->dialog, "key-press-event", G_CALLBACK (on_key), d);
}

gboolean
sumi_text_to_image_dialog (GimpProcedureConfig *config, SumiRunArgs *args, SumiPicture *picture, GError **error)
{
  const SumiWorkerEvents events
      = { .models = on_models, .progress = on_progress, .picture = on_picture, .ended = on_ended };
  Dialog d = { .config = config, .args = args, .picture = picture };

  d.client = sumi_worker_client_new (&events, &d, error);
  if (d.client == NULL)
    return FALSE;
  gimp_ui_init ("sumi-gimp");
  build (&d);
  d.loop = g_main_loop_new (NULL, FALSE);
  g_autofree char *model = NULL;
  g_object_get (config, "model", &model, NULL);
  sumi_worker_client_load (d.client, model, (guint)MAX (gimp_get_num_processors (), 1));
  gimp_window_set_transient (GTK_WINDOW (d.dialog));
  gtk_window_present (GTK_WINDOW (d.dialog));
  g_main_loop_run (d.loop);

  gtk_widget_destroy (GTK_WIDGET (d.dialog));
  g_main_loop_unref (d.loop);
  sumi_worker_client_free (d.client);
  if (picture->pixels != NULL)
    return TRUE;
  g_set_error_literal (error, SUMI_ERROR, SUMI_ERROR_CANCELLED, _ ("Cancelled."));
  return FALSE;
}
