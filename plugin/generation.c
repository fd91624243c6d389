/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "generation.h"

#include <glib/gi18n-lib.h>
#include <libgimp/gimp.h>

#include "worker-client.h"

void
sumi_picture_clear (SumiPicture *p)
{
  sumi_result_info_clear (&p->info);
  g_clear_pointer (&p->pixels, g_bytes_unref);
}

void
sumi_picture_set (SumiPicture *p, const SumiResultInfo *info, GBytes *pixels)
{
  sumi_picture_clear (p);
  p->info = *info;
  p->info.parameters = g_strdup (info->parameters);
  p->info.notes = g_strdupv (info->notes);
  p->pixels = g_bytes_ref (pixels);
}

const char *
sumi_phase_text (const char *phase)
{
  if (g_str_equal (phase, "load"))
    return _ ("Loading the model");
  if (g_str_equal (phase, "text"))
    return _ ("Reading the prompt");
  if (g_str_equal (phase, "sample"))
    return _ ("Drawing");
  return _ ("Finishing the picture");
}

double
sumi_phase_fraction (const char *phase, guint step, guint n_steps)
{
  if (g_str_equal (phase, "decode"))
    return 1.0;
  return g_str_equal (phase, "sample") && n_steps > 0 ? MIN (step, n_steps) / (double)n_steps : -1.0;
}

char *
sumi_explain (const GError *error)
{
  const char *advice = NULL;

  if (error->domain == SUMI_ERROR)
    switch ((SumiError)error->code)
      {
      case SUMI_ERROR_OUT_OF_MEMORY:
        advice = _ ("Try a smaller size, or close other programs.");
        break;
      case SUMI_ERROR_UNKNOWN_MODEL:
      case SUMI_ERROR_MISSING_FILE:
        advice = _ ("Choose another model, or check that its file is there.");
        break;
      case SUMI_ERROR_PROTOCOL:
        advice = _ ("The plug-in and the program “sumi” may come from different versions; please install Sumi again.");
        break;
      default:
        break;
      }
  return advice != NULL ? g_strdup_printf ("%s\n%s", error->message, advice) : g_strdup (error->message);
}

/* ---- without a window ---- */

typedef struct
{
  GMainLoop *loop;
  SumiPicture *picture;
  GError *error;
  char *phase;
} Wait;

static void
show_progress (const char *phase, guint step, guint n_steps, gpointer user)
{
  Wait *w = user;
  double fraction = sumi_phase_fraction (phase, step, n_steps);

  if (g_strcmp0 (w->phase, phase) != 0)
    {
      g_free (w->phase);
      w->phase = g_strdup (phase);
      gimp_progress_set_text (sumi_phase_text (phase));
    }
  if (fraction < 0.0)
    gimp_progress_pulse ();
  else
    gimp_progress_update (fraction);
}

static void
keep_picture (const SumiResultInfo *info, GBytes *pixels, gpointer user)
{
  Wait *w = user;
  sumi_picture_set (w->picture, info, pixels);
}

static void
stop_waiting (const GError *error, gpointer user)
{
  Wait *w = user;
  w->error = error != NULL ? g_error_copy (error) : NULL;
  g_main_loop_quit (w->loop);
}

gboolean
sumi_generate (const SumiRunArgs *args, SumiPicture *picture, GError **error)
{
  const SumiWorkerEvents events = { .progress = show_progress, .picture = keep_picture, .ended = stop_waiting };
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Wait w = { .loop = loop, .picture = picture };
  g_autoptr (SumiWorkerClient) client = sumi_worker_client_new (&events, &w, error);

  if (client == NULL || !sumi_worker_client_run (client, args, error))
    return FALSE;
  gimp_progress_init (_ ("Starting"));
  g_main_loop_run (loop);
  gimp_progress_end ();
  g_free (w.phase);
  if (w.error == NULL)
    return TRUE;
  sumi_picture_clear (picture);
  g_propagate_error (error, w.error);
  return FALSE;
}
