/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Errors, options, progress and Ctrl-C, the same in every command so that scripts need to learn them once. */
#include "cli.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 30

static gboolean cli_quiet;
static gboolean cli_json;
static char *cli_progress_mode;
static gboolean cli_bar_open;

/* One line whatever the text holds: file names may contain line breaks and broken UTF-8. */
static char *
one_line (const char *text)
{
  char *line = g_utf8_make_valid (text, -1);
  for (char *c = line; *c != '\0'; c++)
    if ((guchar)*c < 0x20 || *c == 0x7f)
      *c = ' ';
  return line;
}

int
sumi_cli_fail (const GError *error)
{
  g_autofree char *line = one_line (error != NULL ? error->message : "unknown");
  const char *class = error != NULL ? sumi_error_class (error) : "engine";

  sumi_cli_progress_end ();
  fprintf (stderr, "sumi: error [%s]: %s\n", class, line);
  if (strcmp (class, "usage") == 0)
    return 2;
  return strcmp (class, "cancelled") == 0 ? 130 : 1;
}

int
sumi_cli_usage (const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autoptr (GError) error = g_error_new_valist (SUMI_ERROR, SUMI_ERROR_USAGE, format, args);
  va_end (args);
  return sumi_cli_fail (error);
}

void
sumi_cli_note (const char *text)
{
  if (cli_quiet)
    return;
  g_autofree char *line = one_line (text);
  sumi_cli_progress_end ();
  fprintf (stderr, "sumi: note: %s\n", line);
}

gboolean
sumi_cli_parse (int *argc, char ***argv, const char *command, const char *arguments, const char *summary,
                const GOptionEntry *entries, GError **error)
{
  const GOptionEntry common[]
      = { { "quiet", 'q', 0, G_OPTION_ARG_NONE, &cli_quiet, "No progress and no notes", NULL },
          { "progress", 0, 0, G_OPTION_ARG_STRING, &cli_progress_mode, "Progress on stderr: bar or json", "KIND" },
          { NULL } };
  g_autofree char *name = g_strconcat ("sumi ", command, NULL);

  g_autoptr (GOptionContext) context = g_option_context_new (arguments);
  g_autoptr (GError) wrong = NULL;

  g_set_prgname (name); /* what --help says */
  g_option_context_set_summary (context, summary);
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_main_entries (context, common, NULL);
  if (!g_option_context_parse (context, argc, argv, &wrong))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "%s (see '%s --help')", wrong->message, name);
      return FALSE;
    }
  if (cli_progress_mode != NULL && strcmp (cli_progress_mode, "bar") != 0 && strcmp (cli_progress_mode, "json") != 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "--progress: found '%s', expected bar or json",
                   cli_progress_mode);
      return FALSE;
    }
  cli_json = g_strcmp0 (cli_progress_mode, "json") == 0;
  if (arguments == NULL && *argc > 1)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "unexpected argument '%s' (see '%s --help')", (*argv)[1], name);
      return FALSE;
    }
  return TRUE;
}

gboolean
sumi_cli_parse_u64 (const char *option, const char *text, guint64 *value, GError **error)
{
  if (g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT64, value, NULL))
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "%s: found '%s', expected a whole number from 0 to 2^64-1", option,
               text);
  return FALSE;
}

/* ---- Ctrl-C ---- */

/* Signals are taken by a thread that waits for them: a signal handler could not touch a GCancellable safely. */
static gpointer
wait_for_signals (gpointer data)
{
  sigset_t *signals = data;
  for (int n = 0;; n++)
    {
      int got;
      if (sigwait (signals, &got) != 0)
        continue;
      if (n > 0)
        _exit (130);
      g_cancellable_cancel (sumi_cli_cancellable ());
    }
  return NULL;
}

GCancellable *
sumi_cli_cancellable (void)
{
  static GCancellable *cancellable;
  static sigset_t signals;

  if (g_once_init_enter (&cancellable))
    {
      GCancellable *c = g_cancellable_new ();
      sigemptyset (&signals);
      sigaddset (&signals, SIGINT);
      sigaddset (&signals, SIGTERM);
      pthread_sigmask (SIG_BLOCK, &signals, NULL); /* inherited by every thread made from here on */
      g_once_init_leave (&cancellable, c);
      g_thread_unref (g_thread_new ("signals", wait_for_signals, &signals));
    }
  return cancellable;
}

/* ---- progress ---- */

static void
print_json (const char *phase, guint64 step, guint64 n_steps, va_list values)
{
  char number[G_ASCII_DTOSTR_BUF_SIZE];
  g_autoptr (GString) s = g_string_new (NULL);

  g_string_append_printf (s, "{\"phase\":\"%s\",\"step\":%" G_GUINT64_FORMAT ",\"steps\":%" G_GUINT64_FORMAT, phase,
                          step, n_steps);
  for (const char *name; (name = va_arg (values, const char *)) != NULL;)
    {
      double v = va_arg (values, double);
      /* JSON has no NaN */
      g_string_append_printf (s, ",\"%s\":%s", name,
                              isfinite (v) ? g_ascii_formatd (number, sizeof number, "%.6g", v) : "null");
    }
  fprintf (stderr, "%s}\n", s->str);
}

static void
print_bar (const char *phase, guint64 step, guint64 n_steps, va_list values)
{
  guint filled = n_steps > 0 ? (guint)(BAR_WIDTH * (MIN (step, n_steps) / (double)n_steps)) : 0;
  char bar[BAR_WIDTH + 1];

  memset (bar, ' ', BAR_WIDTH);
  memset (bar, '=', filled);
  bar[BAR_WIDTH] = '\0';
  fprintf (stderr, "\r\033[K%-7s [%s] %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, phase, bar, step, n_steps);
  for (const char *name; (name = va_arg (values, const char *)) != NULL;)
    fprintf (stderr, "  %s %.5g", name, va_arg (values, double));
  cli_bar_open = TRUE;
}

void
sumi_cli_progress (const char *phase, guint64 step, guint64 n_steps, ...)
{
  va_list values;

  va_start (values, n_steps);
  if (cli_json && !cli_quiet)
    print_json (phase, step, n_steps, values);
  else if (!cli_quiet && isatty (STDERR_FILENO))
    print_bar (phase, step, n_steps, values);
  va_end (values);
}

void
sumi_cli_progress_end (void)
{
  if (cli_bar_open)
    fputc ('\n', stderr);
  cli_bar_open = FALSE;
}
