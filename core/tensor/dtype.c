/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Element types, by the names of the safetensors format. */
#include "tensor/tensor.h"

#include <string.h>

static const struct
{
  const char *name;
  guint8 size;
  gboolean is_float;
} dtypes[SUMI_N_DTYPES] = {
  [SUMI_F32] = { "F32", 4, TRUE },   [SUMI_F64] = { "F64", 8, TRUE },         [SUMI_F16] = { "F16", 2, TRUE },
  [SUMI_BF16] = { "BF16", 2, TRUE }, [SUMI_F8_E4M3] = { "F8_E4M3", 1, TRUE }, [SUMI_F8_E5M2] = { "F8_E5M2", 1, TRUE },
  [SUMI_I64] = { "I64", 8, FALSE },  [SUMI_I32] = { "I32", 4, FALSE },        [SUMI_I16] = { "I16", 2, FALSE },
  [SUMI_I8] = { "I8", 1, FALSE },    [SUMI_U64] = { "U64", 8, FALSE },        [SUMI_U32] = { "U32", 4, FALSE },
  [SUMI_U16] = { "U16", 2, FALSE },  [SUMI_U8] = { "U8", 1, FALSE },          [SUMI_BOOL] = { "BOOL", 1, FALSE },
};

gsize
sumi_dtype_size (SumiDType t)
{
  return dtypes[t].size;
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
