/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "worker-command.h"

#include <glib/gi18n-lib.h>

#define PROGRAM "sumi"

static char *
if_executable (char *path)
{
  if (g_file_test (path, G_FILE_TEST_IS_REGULAR) && g_file_test (path, G_FILE_TEST_IS_EXECUTABLE))
    return path;
  g_free (path);
  return NULL;
}

static char *
find_from (const char *folder)
{
  char *found = if_executable (g_build_filename (folder, PROGRAM, NULL));
  g_autofree char *above = g_strdup (folder);

  while (found == NULL && above[0] == '/' && above[1] != '\0')
    {
      char *next = g_path_get_dirname (above);
      g_free (above);
      above = next;
      found = if_executable (g_build_filename (above, "bin", PROGRAM, NULL));
    }
  return found;
}

static char *
find_program (void)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *folder = self != NULL ? g_path_get_dirname (self) : NULL;
  char *found = folder != NULL ? find_from (folder) : NULL;

  if (found == NULL)
    found = if_executable (g_build_filename (SUMI_BINDIR, PROGRAM, NULL));
  return found != NULL ? found : g_find_program_in_path (PROGRAM);
}

char **
sumi_worker_command (GError **error)
{
  const char *given = g_getenv ("SUMI_WORKER_COMMAND");
  char **argv = NULL;

  if (given != NULL && given[0] != '\0')
    return g_shell_parse_argv (given, NULL, &argv, error) ? argv : NULL;

  g_autofree char *program = find_program ();
  if (program == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE,
                   _ ("The program “%s”, which computes the pictures, was not found. Please install Sumi again."),
                   PROGRAM);
      return NULL;
    }
  const char *words[] = { program, "worker", NULL };
  return g_strdupv ((char **)words);
}
