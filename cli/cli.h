/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What every command of `sumi` shares: options, errors, exit status, progress, Ctrl-C.
 *
 * A command is `int sumi_cli_NAME (int argc, char **argv)` in cli/NAME.c, argv[0] its name; it returns the exit status:
 * 0 done, 1 failed, 2 wrong usage, 130 cancelled. */
#pragma once

#include <gio/gio.h>

#include "base/error.h"

G_BEGIN_DECLS

int sumi_cli_generate (int argc, char **argv);
int sumi_cli_train (int argc, char **argv);
int sumi_cli_inspect (int argc, char **argv);
int sumi_cli_probe (int argc, char **argv);
int sumi_cli_bench (int argc, char **argv);
int sumi_cli_eval (int argc, char **argv);
int sumi_cli_models (int argc, char **argv);
int sumi_cli_worker (int argc, char **argv);

/* Prints `sumi: error [CLASS]: MESSAGE` (always one line) and says the exit status. The error stays the caller's. */
int sumi_cli_fail (const GError *error);
/* The same for a mistake on the command line: class usage, status 2. */
int sumi_cli_usage (const char *format, ...) G_GNUC_PRINTF (1, 2);
/* `sumi: note: TEXT` on stderr, unless --quiet. */
void sumi_cli_note (const char *text);

/* Parses the options of `command` ("generate", "train ddpm"): entries (NULL-terminated) plus --quiet and --progress.
 * `arguments` is what follows the options in the help ("FILE", or NULL when none are taken: then a left-over argument
 * is a usage error).  Whatever is wrong is a SUMI_ERROR_USAGE.  --help prints and exits with 0.
 *
 * Texts from users (prompts, paths) should be G_OPTION_ARG_FILENAME: raw bytes, independent of the locale. */
gboolean sumi_cli_parse (int *argc, char ***argv, const char *command, const char *arguments, const char *summary,
                         const GOptionEntry *entries, GError **error);

/* A whole non-negative number that fits; else a usage error that names the option. */
gboolean sumi_cli_parse_u64 (const char *option, const char *text, guint64 *value, GError **error);

/* Cancelled by Ctrl-C or SIGTERM; a second signal ends the program at once. Call it before any other thread starts. */
GCancellable *sumi_cli_cancellable (void);

/* Progress on stderr: a bar on a terminal, nothing with --quiet or into a file, one JSON object a line with
 * --progress json.  `phase` is a word ("sample"); then pairs of name and double ("loss", 0.05), NULL-terminated. */
void sumi_cli_progress (const char *phase, guint64 step, guint64 n_steps, ...) G_GNUC_NULL_TERMINATED;
/* Ends the bar's line, if one is open: before any other output. */
void sumi_cli_progress_end (void);

G_END_DECLS
