/* SPDX-License-Identifier: GPL-3.0-or-later */
/* libFuzzer's own search, with the target's words and repairs: scripts/fuzz.sh. */
#include "fuzz.h"

#include <string.h>

gsize LLVMFuzzerMutate (guint8 *data, gsize size, gsize max_size);
gsize LLVMFuzzerCustomMutator (guint8 *data, gsize size, gsize max_size, guint seed);

static void
insert_token (GByteArray *input, guint seed)
{
  guint n_tokens = 0, n, at = seed / 64 % (input->len + 1);
  const char *token;

  while (fuzz_tokens[n_tokens] != NULL)
    n_tokens++;
  token = fuzz_tokens[seed / 8 % n_tokens];
  n = (guint)strlen (token);
  g_byte_array_set_size (input, input->len + n);
  memmove (input->data + at + n, input->data + at, input->len - n - at);
  memcpy (input->data + at, token, n);
}

gsize
LLVMFuzzerCustomMutator (guint8 *data, gsize size, gsize max_size, guint seed)
{
  g_autoptr (GByteArray) input = g_byte_array_new ();
  g_autofree guint8 *room = g_malloc0 (MAX (max_size, 1));

  memcpy (room, data, size);
  if (seed % 8 > 0)
    size = LLVMFuzzerMutate (room, size, max_size);
  g_byte_array_append (input, room, (guint)size);
  if (seed % 4 == 0)
    insert_token (input, seed);
  if (seed % 16 > 1)
    fuzz_repair (input);
  size = MIN (input->len, max_size);
  memcpy (data, input->data, size);
  return size;
}
