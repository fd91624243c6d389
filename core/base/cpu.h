/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What this processor can do; chosen once at run time, never at compile time. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum
{
  SUMI_CPU_F16C = 1 << 0,
  SUMI_CPU_AVX2 = 1 << 1,        /* with FMA */
  SUMI_CPU_AVX512 = 1 << 2,      /* F, BW, DQ, VL */
  SUMI_CPU_AVX512_BF16 = 1 << 3,
  SUMI_CPU_AMX_BF16 = 1 << 4
} SumiCpuFeatures;

SumiCpuFeatures sumi_cpu_features (void);
guint           sumi_cpu_count (void); /* usable cores: the affinity mask, at least 1 */

G_END_DECLS
