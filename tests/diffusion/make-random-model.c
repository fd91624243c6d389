/* SPDX-License-Identifier: GPL-3.0-or-later */
/* make-random-model NAME SIZE OUT [--ldm] [--dtype f16|f32]: a checkpoint of random-model.h. */
#include "random-model.h"

#include <stdio.h>
#include <string.h>

int
main (int argc, char **argv)
{
  RandomModel m = { .dtype = SUMI_F16 };
  g_autoptr (GError) error = NULL;
  gboolean usage = argc < 4;

  for (int i = 4; i < argc; i++)
    if (strcmp (argv[i], "--ldm") == 0)
      m.ldm = TRUE;
    else if (strcmp (argv[i], "--dtype") == 0 && i + 1 < argc && strcmp (argv[i + 1], "f32") == 0)
      {
        m.dtype = SUMI_F32;
        i++;
      }
    else if (strcmp (argv[i], "--dtype") == 0 && i + 1 < argc && strcmp (argv[i + 1], "f16") == 0)
      i++;
    else
      usage = TRUE;
  if (usage)
    {
      fprintf (stderr, "usage: %s NAME full|tiny OUT [--ldm] [--dtype f16|f32]\n", argv[0]);
      return 2;
    }
  m.name = argv[1];
  m.size = argv[2];
  if (random_model_write (&m, argv[3], &error))
    return 0;
  fprintf (stderr, "%s\n", error->message);
  return 1;
}
