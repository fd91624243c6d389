/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "weights.h"

#define MAX_VALUES (1 << 16) /* what is converted; all is looked at */

static void
check_tensor (const SumiTensorMap *map, guint i)
{
  SumiTensor *t = sumi_tensor_map_peek_nth (map, i);
  SumiDType dtype = sumi_tensor_get_dtype (t);
  gint64 numel = sumi_tensor_get_numel (t);

  g_assert_true (sumi_tensor_map_peek (map, sumi_tensor_map_get_name (map, i)) == t);
  g_assert_cmpint (sumi_shape_numel (sumi_tensor_get_shape (t)), ==, numel);
  g_assert_cmpint (numel % sumi_dtype_block_length (dtype), ==, 0);
  g_assert_cmpuint (sumi_tensor_get_size (t), ==,
                    (gsize)numel / sumi_dtype_block_length (dtype) * sumi_dtype_block_size (dtype));
  sumi_tensor_is_finite (t);
  if (numel <= MAX_VALUES)
    {
      g_autofree float *values = g_new (float, (gsize)numel);
      sumi_tensor_to_f32 (t, values);
    }
}

const char *
fuzz_check_weights (SumiTensorMap *map, const GError *error)
{
  g_assert_true ((map == NULL) == (error != NULL));
  if (map == NULL)
    return sumi_error_class (error);
  for (guint i = 0; i < sumi_tensor_map_get_size (map); i++)
    check_tensor (map, i);
  return "ok";
}
