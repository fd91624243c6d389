/* SPDX-License-Identifier: GPL-3.0-or-later */
/* make-tiny-model MERGES OUT.safetensors: the model of tiny-model.c as a file, for tests of whole programs. */
#include "io/safetensors.h"
#include "tiny-model.h"

#include <stdio.h>

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = NULL;

  if (argc != 3)
    return 2;
  map = tiny_model_new (argv[1]);
  if (sumi_safetensors_save (map, argv[2], &error))
    return 0;
  fprintf (stderr, "%s\n", error->message);
  return 1;
}
