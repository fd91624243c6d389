/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/mapped.h"

#include "io/plain-file.h"

SumiTensorMap *
sumi_parse_mapped (const char *path, SumiParseFunc parse, GError **error)
{
  g_autoptr (GBytes) bytes = sumi_plain_file_map (path, error);
  SumiTensorMap *map;

  if (bytes == NULL)
    return NULL;
  map = parse (bytes, sumi_tensor_new_mapped, error);
  if (map == NULL)
    g_prefix_error (error, "%s: ", path);
  return map;
}
