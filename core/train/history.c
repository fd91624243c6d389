/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The table for other programs; numbers with a point in every locale. */
#include "train/history.h"

#include "base/atomic-file.h"

static void
append_number (GString *s, const char *format, double x)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];

  g_string_append_c (s, ',');
  g_string_append (s, g_ascii_formatd (text, sizeof text, format, x));
}

gboolean
sumi_train_history_save_csv (const GArray *history, const char *path, GError **error)
{
  double samples = 0;
  g_autoptr (GString) s = g_string_new ("step,samples,loss,smooth_loss,lr,grad_norm,seconds\n");

  for (guint i = 0; i < history->len; i++)
    {
      const SumiTrainRow *row = &g_array_index (history, SumiTrainRow, i);
      const double values[] = { row->loss, row->smooth_loss, row->lr, row->grad_norm };

      samples += row->samples;
      g_string_append_printf (s, "%u,%.0f", i + 1, samples);
      for (guint j = 0; j < G_N_ELEMENTS (values); j++)
        append_number (s, "%.7g", values[j]);
      append_number (s, "%.1f", row->seconds);
      g_string_append_c (s, '\n');
    }
  return sumi_atomic_file_write (path, s->str, s->len, error);
}
