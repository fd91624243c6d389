/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Element types, by the names of the safetensors and GGUF formats. */
#include "tensor/tensor.h"

#include <string.h>

static const struct
{
  const char *name;
  guint16 size, length; /* of a block: bytes, elements */
  gboolean is_float;
} dtypes[SUMI_N_DTYPES] = {
  [SUMI_F32] = { "F32", 4, 1, TRUE },         [SUMI_F64] = { "F64", 8, 1, TRUE },
  [SUMI_F16] = { "F16", 2, 1, TRUE },         [SUMI_BF16] = { "BF16", 2, 1, TRUE },
  [SUMI_F8_E4M3] = { "F8_E4M3", 1, 1, TRUE }, [SUMI_F8_E5M2] = { "F8_E5M2", 1, 1, TRUE },
  [SUMI_I64] = { "I64", 8, 1, FALSE },        [SUMI_I32] = { "I32", 4, 1, FALSE },
  [SUMI_I16] = { "I16", 2, 1, FALSE },        [SUMI_I8] = { "I8", 1, 1, FALSE },
  [SUMI_U64] = { "U64", 8, 1, FALSE },        [SUMI_U32] = { "U32", 4, 1, FALSE },
  [SUMI_U16] = { "U16", 2, 1, FALSE },        [SUMI_U8] = { "U8", 1, 1, FALSE },
  [SUMI_BOOL] = { "BOOL", 1, 1, FALSE },      [SUMI_Q4_0] = { "Q4_0", 18, 32, TRUE },
  [SUMI_Q4_1] = { "Q4_1", 20, 32, TRUE },     [SUMI_Q5_0] = { "Q5_0", 22, 32, TRUE },
  [SUMI_Q5_1] = { "Q5_1", 24, 32, TRUE },     [SUMI_Q8_0] = { "Q8_0", 34, 32, TRUE },
  [SUMI_Q2_K] = { "Q2_K", 84, 256, TRUE },    [SUMI_Q3_K] = { "Q3_K", 110, 256, TRUE },
  [SUMI_Q4_K] = { "Q4_K", 144, 256, TRUE },   [SUMI_Q5_K] = { "Q5_K", 176, 256, TRUE },
  [SUMI_Q6_K] = { "Q6_K", 210, 256, TRUE },   [SUMI_Q8_K] = { "Q8_K", 292, 256, TRUE },
};

gsize
sumi_dtype_size (SumiDType t)
{
  return sumi_dtype_is_quantised (t) ? 0 : dtypes[t].size;
}

guint
sumi_dtype_block_length (SumiDType t)
{
  return dtypes[t].length;
}

gsize
sumi_dtype_block_size (SumiDType t)
{
  return dtypes[t].size;
}

gboolean
sumi_dtype_is_quantised (SumiDType t)
{
  return dtypes[t].length > 1;
}

const char *
sumi_dtype_name (SumiDType t)
{
  return dtypes[t].name;
}

gboolean
sumi_dtype_from_name (const char *name, SumiDType *t)
{
  for (guint i = 0; i < SUMI_N_DTYPES; i++)
    if (strcmp (name, dtypes[i].name) == 0)
      {
        *t = (SumiDType)i;
        return TRUE;
      }
  return FALSE;
}

gboolean
sumi_dtype_is_float (SumiDType t)
{
  return dtypes[t].is_float;
}
