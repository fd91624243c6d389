/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where the reference data is, and reading its JSON. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

/* $SUMI_GOLDEN, or NULL after g_test_skip. */
static inline const char *
golden_root (void)
{
  const char *root = g_getenv ("SUMI_GOLDEN");

  if (root == NULL)
    g_test_skip ("SUMI_GOLDEN is not set");
  return root;
}

/* basics/NAME; the test fails when it cannot be read. */
static inline JsonNode *
golden_basics (const char *root, const char *name)
{
  g_autofree char *path = g_build_filename (root, "basics", name, NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  GError *error = NULL;

  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  return json_parser_steal_root (parser);
}
