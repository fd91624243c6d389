/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An index, with shards made up for it: each has the tensors that its file name's letters name. */
#include "fuzz.h"

#include <string.h>

#include "io/shards.h"
#include "weights.h"

const char *fuzz_outcome;

const char *const fuzz_tokens[] = { "\"weight_map\":{",
                                    "\"metadata\":{",
                                    "\"a\":\"ab\"",
                                    "\"b\":\"ab\"",
                                    "\"c\":\"c\"",
                                    "\"../c\"",
                                    "\"/c\"",
                                    "\"total_size\":1e308",
                                    "null",
                                    "true",
                                    "[",
                                    "]",
                                    "{",
                                    "}",
                                    ",",
                                    "\"",
                                    "'",
                                    "/*",
                                    "*/",
                                    "\\u0000",
                                    "\xff",
                                    NULL };

void
fuzz_repair (GByteArray *input)
{
}

static SumiTensorMap *
open_shard (const char *path, GError **error)
{
  g_autofree char *name = g_path_get_basename (path), *expected = g_build_filename ("folder", name, NULL);
  SumiTensorMap *map = sumi_tensor_map_new ();

  g_assert_cmpstr (path, ==, expected); /* beside the index, whatever it says */
  for (const char *c = name; *c != '\0'; c++)
    if (g_ascii_isalpha (*c))
      {
        char tensor[2] = { *c, '\0' };
        sumi_tensor_map_take (map, tensor, sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (2), NULL));
      }
  return map;
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = sumi_shards_open ((const char *)data, size, "folder", open_shard, &error);

  fuzz_outcome = fuzz_check_weights (map, error);
  return 0;
}
