/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sumi models: the models that are here. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#include "models/model-store.h"

static int
list (void)
{
  g_auto (GStrv) names = sumi_model_list ();

  for (guint i = 0; names[i] != NULL; i++)
    {
      g_autofree char *path = sumi_model_find (names[i], NULL);
      g_autofree char *shown = path != NULL ? g_filename_display_name (path) : NULL;
      printf ("%s\t%s\n", names[i], shown != NULL ? shown : "");
    }
  if (names[0] == NULL)
    {
      g_autofree char *note = g_strdup_printf ("no models; put .safetensors files into %s", sumi_user_models_dir ());
      sumi_cli_note (note);
    }
  return 0;
}

int
sumi_cli_models (int argc, char **argv)
{
  const GOptionEntry entries[] = { { NULL } };
  g_autoptr (GError) error = NULL;

  if (!sumi_cli_parse (&argc, &argv, "models", "[list]", "Lists the installed models: name and path.", entries, &error))
    return sumi_cli_fail (error);
  if (argc > 2 || (argc == 2 && strcmp (argv[1], "list") != 0))
    return sumi_cli_usage ("found '%s', expected list (see 'sumi models --help')", argv[argc - 1]);
  return list ();
}
