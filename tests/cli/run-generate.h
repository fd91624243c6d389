/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Running `sumi generate` as a user would. */
#pragma once

#include <glib.h>

#include <sys/wait.h>

static const char *program;
static char *folder; /* of the files that a test makes */

static char *
in_folder (const char *name)
{
  return g_build_filename (folder, name, NULL);
}

/* sumi generate ARGUMENTS; returns the exit status. errors: what it said, may be NULL. */
static int
run (const char *const *arguments, char **errors)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;
  g_autofree char *said = NULL;
  int status;

  g_ptr_array_add (argv, (gpointer)program);
  g_ptr_array_add (argv, "generate");
  for (; *arguments != NULL; arguments++)
    g_ptr_array_add (argv, (gpointer)*arguments);
  g_ptr_array_add (argv, NULL);
  g_spawn_sync (NULL, (char **)argv->pdata, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &said, &status, &error);
  g_assert_no_error (error);
  g_assert_true (WIFEXITED (status));
  if (WEXITSTATUS (status) != 0)
    g_test_message ("%s", said);
  if (errors != NULL)
    *errors = g_steal_pointer (&said);
  return WEXITSTATUS (status);
}

#define RUN(errors, ...) run ((const char *const[]){ __VA_ARGS__, NULL }, errors)
