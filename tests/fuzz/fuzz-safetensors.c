/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <string.h>

#include "io/safetensors.h"

const char *fuzz_outcome;

const char *const fuzz_tokens[] = { "\"__metadata__\":{\"k\":\"v\"},",
                                    "\"x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},",
                                    "\"dtype\":\"F16\"",
                                    "\"shape\":[",
                                    "\"data_offsets\":[0,4]",
                                    "-1",
                                    "1.0",
                                    "1e3",
                                    "00",
                                    "18446744073709551616",
                                    "9223372036854775807",
                                    ",",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    "\"",
                                    "\\u0000",
                                    "\\ud83e\\udd8a",
                                    "\\ud83e",
                                    "\xff",
                                    "é",
                                    NULL };

/* The header's length, where the header ends with the last closing brace. */
void
fuzz_repair (GByteArray *input)
{
  guint64 length;

  for (guint i = input->len; i > 8; i--)
    if (input->data[i - 1] == '}')
      {
        length = i - 8;
        memcpy (input->data, &length, 8);
        return;
      }
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static (data, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = sumi_safetensors_parse (bytes, &error);
  gsize total = 0;

  g_assert_true ((map == NULL) == (error != NULL));
  fuzz_outcome = map != NULL ? "ok" : sumi_error_class (error);
  if (map == NULL)
    return 0;
  for (guint i = 0; i < sumi_tensor_map_get_size (map); i++)
    {
      SumiTensor *t = sumi_tensor_map_peek_nth (map, i);
      const guint8 *start = sumi_tensor_peek (t);

      g_assert_true (sumi_tensor_map_peek (map, sumi_tensor_map_get_name (map, i)) == t);
      g_assert_true (start >= data && start + sumi_tensor_get_size (t) <= data + size);
      g_assert_cmpuint (sumi_tensor_get_size (t), ==,
                        (gsize)sumi_shape_numel (sumi_tensor_get_shape (t))
                            * sumi_dtype_size (sumi_tensor_get_dtype (t)));
      total += sumi_tensor_get_size (t);
      sumi_tensor_is_finite (t); /* reads all of it */
    }
  g_assert_cmpuint (total, <=, size);
  return 0;
}
