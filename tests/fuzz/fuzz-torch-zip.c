/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <string.h>

#include "io/torch-zip.h"
#include "weights.h"

#define OFFSET_IN_CENTRAL 42
#define SIZE_IN_END 12

const char *fuzz_outcome;

const char *const fuzz_tokens[] = { "PK\3\4", "PK\1\2", "PK\5\6", "PK\6\6", "PK\6\7",   "data.pkl",         "data/0",
                                    "\1",     "\x08",   "\x7f",   "\xff",   "\xff\xff", "\xff\xff\xff\xff", NULL };

/* The first "PK" CODE from a place on; G_MAXUINT: none. */
static guint
find (const GByteArray *a, guint from, const char *code)
{
  for (guint i = from; i + 4 <= a->len; i++)
    if (memcmp (a->data + i, code, 4) == 0)
      return i;
  return G_MAXUINT;
}

static void
set_u32 (GByteArray *a, guint at, guint32 value)
{
  guint32 little = GUINT32_TO_LE (value);

  if (at + 4 <= a->len)
    memcpy (a->data + at, &little, 4);
}

/* The places of the headers, which any insertion moves. */
void
fuzz_repair (GByteArray *input)
{
  guint directory = find (input, 0, "PK\1\2"), end = find (input, 0, "PK\5\6"), local = find (input, 0, "PK\3\4");

  if (directory == G_MAXUINT || end == G_MAXUINT || end < directory)
    return;
  set_u32 (input, end + SIZE_IN_END, end - directory);
  set_u32 (input, end + SIZE_IN_END + 4, directory);
  for (guint at = directory; at != G_MAXUINT && local != G_MAXUINT; at = find (input, at + 4, "PK\1\2"))
    {
      set_u32 (input, at + OFFSET_IN_CENTRAL, local);
      local = find (input, local + 4, "PK\3\4");
    }
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static (data, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = sumi_torch_zip_parse (bytes, &error);

  fuzz_outcome = fuzz_check_weights (map, error);
  return 0;
}
