/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The `sumi` command: one table of sub-commands, one way to fail. */
#include "cli.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static const struct
{
  const char *name;
  int (*run) (int argc, char **argv);
  const char *summary;
} commands[] = {
  { "generate", sumi_cli_generate, "draw pictures from a prompt" },
  { "train", sumi_cli_train, "train a model on a folder of pictures" },
  { "inspect", sumi_cli_inspect, "say what a model file holds" },
  { "probe", sumi_cli_probe, "run a reference case and compare" },
  { "bench", sumi_cli_bench, "measure speed and memory" },
  { "eval", sumi_cli_eval, "measure what a model has learnt" },
  { "models", sumi_cli_models, "list the models that are here" },
  { "worker", sumi_cli_worker, "compute for the GIMP plug-in (started by it)" },
};

static int
print_help (void)
{
  printf ("Usage: sumi COMMAND [OPTIONS]\n\nDiffusion models, drawn and trained on this computer.\n\nCommands:\n");
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    printf ("  %-10s %s\n", commands[i].name, commands[i].summary);
  printf ("\n'sumi COMMAND --help' tells a command's options; 'sumi --version' the version.\n");
  return 0;
}

int
main (int argc, char **argv)
{
  /* Texts follow the user's language, numbers do not: 7.5 is 7.5 in every locale. */
  setlocale (LC_ALL, "");
  setlocale (LC_NUMERIC, "C");

  if (argc < 2)
    return sumi_cli_usage ("no command (see 'sumi --help')");
  if (strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0 || strcmp (argv[1], "help") == 0)
    return print_help ();
  if (strcmp (argv[1], "--version") == 0)
    {
      printf ("sumi %s\n", SUMI_VERSION);
      return 0;
    }
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    if (strcmp (argv[1], commands[i].name) == 0)
      return commands[i].run (argc - 1, argv + 1);
  return sumi_cli_usage ("unknown command '%s' (see 'sumi --help')", argv[1]);
}
