/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE
#include "base/cpu.h"

#include <sched.h>

static SumiCpuFeatures
detect (void)
{
  SumiCpuFeatures found = 0;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init ();
  if (__builtin_cpu_supports ("f16c"))
    found |= SUMI_CPU_F16C;
  if (__builtin_cpu_supports ("avx2") && __builtin_cpu_supports ("fma") && __builtin_cpu_supports ("f16c"))
    found |= SUMI_CPU_AVX2;
  if (__builtin_cpu_supports ("avx512f") && __builtin_cpu_supports ("avx512bw") && __builtin_cpu_supports ("avx512dq")
      && __builtin_cpu_supports ("avx512vl") && (found & SUMI_CPU_AVX2))
    found |= SUMI_CPU_AVX512;
  if (__builtin_cpu_supports ("avx512bf16") && (found & SUMI_CPU_AVX512))
    found |= SUMI_CPU_AVX512_BF16;
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
  if (__builtin_cpu_supports ("amx-bf16") && (found & SUMI_CPU_AVX512))
    found |= SUMI_CPU_AMX_BF16;
#endif
#endif
  return found;
}

SumiCpuFeatures
sumi_cpu_features (void)
{
  static gsize once = 0;
  if (g_once_init_enter (&once))
    g_once_init_leave (&once, (gsize) detect () + 1); /* 0 means "not yet" */
  return (SumiCpuFeatures) (once - 1);
}

guint
sumi_cpu_count (void)
{
  cpu_set_t set;
  CPU_ZERO (&set);
  if (sched_getaffinity (0, sizeof set, &set) == 0)
    return (guint) MAX (CPU_COUNT (&set), 1);
  return (guint) MAX (g_get_num_processors (), 1);
}
