/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <string.h>

#include "io/png-text.h"
#include "base/error.h"

const char *fuzz_outcome;

const char *const fuzz_tokens[]
    = { "tEXt", "zTXt", "iTXt", "IEND", "IDAT", "parameters", "\1", "\xff", "\xc3\xa9", NULL };

/* CRC-32, highest bit first: the reader's is lowest first. */
static guint32
crc32 (const guint8 *p, gsize size)
{
  guint32 crc = 0xffffffff, turned = 0;

  for (gsize i = 0; i < size; i++)
    for (int k = 0; k < 8; k++)
      {
        guint32 bit = (crc >> 31) ^ (p[i] >> k & 1);
        crc = crc << 1 ^ (bit ? 0x04c11db7 : 0);
      }
  for (int k = 0; k < 32; k++)
    turned |= (crc >> k & 1) << (31 - k);
  return ~turned;
}

/* The checksums of all chunks up to the first with an impossible length. */
void
fuzz_repair (GByteArray *input)
{
  gsize at = 8;

  while (at + 12 <= input->len)
    {
      const guint8 *p = input->data + at;
      gsize length = (gsize)p[0] << 24 | (gsize)p[1] << 16 | (gsize)p[2] << 8 | p[3];
      guint32 crc;

      if (length > input->len - at - 12)
        return;
      crc = GUINT32_TO_BE (crc32 (p + 4, length + 4));
      memcpy (input->data + at + 8 + length, &crc, 4);
      at += 12 + length;
    }
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *text = sumi_png_parse_text (data, size, "parameters", &error);

  g_assert_true (text == NULL || error == NULL);
  g_assert_true (text == NULL || (g_utf8_validate (text, -1, NULL) && strlen (text) <= 2 * SUMI_PNG_MAX_TEXT));
  fuzz_outcome = error != NULL ? sumi_error_class (error) : text != NULL ? "ok" : "none";
  return 0;
}
