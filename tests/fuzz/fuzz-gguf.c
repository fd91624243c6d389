/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include "io/gguf.h"
#include "weights.h"

const char *fuzz_outcome;

const char *const fuzz_tokens[] = {
  "GGUF", "general.alignment", "comfy.gguf.orig_shape.f32",        "\1", "\2", "\x08", "\x09", "\x0c", "\x20", "\x7f",
  "\xff", "\xff\xff\xff\xff",  "\xff\xff\xff\xff\xff\xff\xff\xff", NULL
};

void
fuzz_repair (GByteArray *input)
{
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static (data, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = sumi_gguf_parse (bytes, &error);

  fuzz_outcome = fuzz_check_weights (map, error);
  return 0;
}
