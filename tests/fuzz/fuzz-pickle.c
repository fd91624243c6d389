/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The instructions of a checkpoint, with eight storages of 128 bytes for them. */
#include "fuzz.h"

#include "archive.h"
#include "io/torch-zip.h"
#include "weights.h"

const char *fuzz_outcome;

const char *const fuzz_tokens[] = { "ctorch._utils\n_rebuild_tensor_v2\n",
                                    "ctorch._utils\n_rebuild_tensor_v3\n",
                                    "ctorch._utils\n_rebuild_parameter\n",
                                    "ctorch\nFloatStorage\n",
                                    "ctorch\nHalfStorage\n",
                                    "ctorch.storage\nUntypedStorage\n",
                                    "ctorch\nfloat8_e4m3fn\n",
                                    "ccollections\nOrderedDict\n",
                                    "ctorch.nn.modules.container\nParameterDict\n",
                                    "cnumpy\ndtype\n",
                                    "cos\nsystem\n",
                                    "\x8c\5torch\x8c\x0cFloatStorage\x93",
                                    "}",
                                    "]",
                                    ")",
                                    "(",
                                    "(t",
                                    "}(u",
                                    "\x85",
                                    "\x86",
                                    "\x87",
                                    "a",
                                    "e",
                                    "s",
                                    "u",
                                    "b",
                                    "R",
                                    "Q",
                                    "\x81",
                                    "q\1",
                                    "h\1",
                                    "r\377\377\377\377",
                                    "j\1\1\1\1",
                                    "\x94",
                                    "K\1",
                                    "M\1\1",
                                    "J\377\377\377\377",
                                    "\x8a\x08\377\377\377\377\377\377\377\177",
                                    "N",
                                    "\x88",
                                    "\x89",
                                    ".",
                                    NULL };

void
fuzz_repair (GByteArray *input)
{
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  static const guint8 storage[128] = { 1, 2, 3, 4, 5, 6, 7, 8 };
  static const char *const names[]
      = { "x/data/0", "x/data/1", "x/data/2", "x/data/3", "x/data/4", "x/data/5", "x/data/6", "x/data/7" };
  ArchiveEntry entries[1 + G_N_ELEMENTS (names)] = { { "x/data.pkl", data, size } };
  g_autoptr (GBytes) archive = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    entries[1 + i] = (ArchiveEntry){ names[i], storage, sizeof storage };
  archive = archive_new (entries, G_N_ELEMENTS (entries));
  map = sumi_torch_zip_parse (archive, &error);
  fuzz_outcome = fuzz_check_weights (map, error);
  return 0;
}
