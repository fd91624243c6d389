/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The malformed files of $SUMI_GOLDEN/hostile, each to the verdict of its expected.json: in this process, and by
 * `sumi inspect FILE --load AS`, where also the exit status, the one line on stderr, the peak memory and the absence of
 * new files are looked at. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include <json-glib/json-glib.h>

#include "models/inspection.h"

#define MEMORY_LIMIT_KIB (256 * 1024)

static char *folder;
static char *command; /* the sumi executable */

typedef struct
{
  char *path, *load_as, *expect;
  char **classes; /* any of them */
} Case;

static void
case_free (Case *c)
{
  g_free (c->path);
  g_free (c->load_as);
  g_free (c->expect);
  g_strfreev (c->classes);
  g_free (c);
}

/* class == NULL: it was read */
static void
check_verdict (const Case *c, const char *class)
{
  if (strcmp (c->expect, "ok") == 0)
    g_assert_cmpstr (class, ==, NULL);
  else if (strcmp (c->expect, "error") == 0)
    {
      g_assert_nonnull (class);
      if (!g_strv_contains ((const char *const *)c->classes, class))
        g_error ("%s: class %s", c->path, class);
    }
  else
    g_assert_cmpstr (c->expect, ==, "ok-or-error");
}

static void
test_in_process (gconstpointer data)
{
  const Case *c = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiInspection) i = sumi_inspection_new (c->path, c->load_as, &error);

  g_test_message ("%s", error != NULL ? error->message : "read");
  g_assert_true ((i == NULL) == (error != NULL));
  check_verdict (c, error != NULL ? sumi_error_class (error) : NULL);
  if (g_error_matches (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR)) /* the message names it */
    g_assert_nonnull (strstr (error->message, "up_block2.norm1.bias"));
}

static char *
read_all (int fd)
{
  GString *text = g_string_new (NULL);
  char buffer[4096];
  gssize n;

  while ((n = read (fd, buffer, sizeof buffer)) > 0)
    g_string_append_len (text, buffer, n);
  close (fd);
  return g_string_free (text, FALSE);
}

/* "sumi: error [CLASS]: …\n" and nothing more; NULL when it is not that. */
static char *
class_of_line (const char *text)
{
  const char *start = "sumi: error [", *end = strstr (text, "]: ");

  if (!g_str_has_prefix (text, start) || end == NULL || strchr (text, '\n') != text + strlen (text) - 1)
    return NULL;
  return g_strndup (text + strlen (start), (gsize)(end - text) - strlen (start));
}

static void
check_status (int status, const char *class)
{
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, class != NULL ? 1 : 0);
}

static void
test_command (gconstpointer data)
{
  const Case *c = data;
  char *argv[] = { command, "inspect", c->path, "--load", c->load_as, NULL };
  g_autofree char *place = g_dir_make_tmp ("sumi-test-XXXXXX", NULL), *text = NULL, *class = NULL;
  g_autoptr (GError) error = NULL;
  struct rusage usage;
  int err, status;
  GPid pid;

  g_assert_true (g_spawn_async_with_pipes (place, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL,
                                           NULL, NULL, &pid, NULL, NULL, &err, &error));
  text = read_all (err);
  g_assert_cmpint (wait4 (pid, &status, 0, &usage), ==, pid);
  if (text[0] != '\0')
    {
      class = class_of_line (text);
      g_test_message ("%s", text);
      g_assert_nonnull (class);
    }
  check_status (status, class);
  check_verdict (c, class);
#ifndef __SANITIZE_ADDRESS__
  g_assert_cmpint (usage.ru_maxrss, <, MEMORY_LIMIT_KIB);
#endif
  g_assert_cmpint (g_rmdir (place), ==, 0); /* it wrote nothing */
}

/* ---- the list ---- */

static void
add_case (JsonObject *files, const char *name, JsonNode *node, gpointer unused)
{
  JsonObject *o = json_node_get_object (node);
  const char *error = json_object_get_string_member_with_default (o, "error", "");
  g_autofree char *in_process = g_strdup_printf ("/hostile/in-process/%s", name);
  g_autofree char *by_command = g_strdup_printf ("/hostile/command/%s", name);

  for (int i = 0; i < 2; i++)
    {
      Case *c = g_new0 (Case, 1);
      c->path = g_build_filename (folder, name, NULL);
      c->load_as = g_strdup (json_object_get_string_member (o, "load_as"));
      c->expect = g_strdup (json_object_get_string_member (o, "expect"));
      c->classes = g_strsplit (error, "|", -1);
      g_test_add_data_func_full (i == 0 ? in_process : by_command, c, i == 0 ? test_in_process : test_command,
                                 (GDestroyNotify)case_free);
    }
}

static JsonObject *listed;

/* No file lies there without a verdict. */
static void
test_complete (void)
{
  GDir *dir = g_dir_open (folder, 0, NULL);
  const char *name;
  guint n = 0;

  g_assert_nonnull (dir);
  while ((name = g_dir_read_name (dir)) != NULL)
    if (strcmp (name, "expected.json") != 0)
      {
        g_assert_true (json_object_has_member (listed, name));
        n++;
      }
  g_assert_cmpuint (n, ==, json_object_get_size (listed));
  g_assert_cmpuint (n, >, 20);
  g_dir_close (dir);
}

static void
test_no_golden (void)
{
  g_test_skip ("SUMI_GOLDEN is not set");
}

int
main (int argc, char **argv)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autofree char *list = NULL;
  int status;

  g_test_init (&argc, &argv, NULL);
  command = argc > 1 ? g_canonicalize_filename (argv[1], NULL) : NULL;
  if (g_getenv ("SUMI_GOLDEN") == NULL)
    {
      g_test_add_func ("/hostile/files", test_no_golden);
      return g_test_run ();
    }
  g_assert_nonnull (command);
  folder = g_build_filename (g_getenv ("SUMI_GOLDEN"), "hostile", NULL);
  list = g_build_filename (folder, "expected.json", NULL);
  g_assert_true (json_parser_load_from_file (parser, list, NULL));
  listed = json_object_get_object_member (json_node_get_object (json_parser_get_root (parser)), "files");
  json_object_foreach_member (listed, add_case, NULL);
  g_test_add_func ("/hostile/complete", test_complete);
  status = g_test_run ();
  g_free (folder);
  g_free (command);
  return status;
}
