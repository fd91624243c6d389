/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which table, and how much room its kernels need (kernels.h). */
#include "engine/cpu/kernels/table.h"

#include <string.h>

#include "engine/cpu/kernels/nest.h"

typedef struct
{
  const char *name;
  SumiCpuFeatures needs;
  const SumiKernels *f32, *bf16;
} Level;

/* From the least to the best. */
static const Level levels[] = {
  { "generic", 0, &sumi_kernels_generic_f32, &sumi_kernels_generic_bf16 },
#if defined(__x86_64__)
  { "avx2", SUMI_CPU_AVX2, &sumi_kernels_avx2_f32, &sumi_kernels_avx2_bf16 },
  { "avx512", SUMI_CPU_AVX512, &sumi_kernels_avx512_f32, &sumi_kernels_avx512_bf16 },
#endif
};

/* SUMI_CPU names the best level to use: for tests, and to compare. */
static guint
highest_level (void)
{
  const char *wanted = g_getenv ("SUMI_CPU");

  if (wanted == NULL || *wanted == '\0')
    return G_N_ELEMENTS (levels) - 1;
  for (guint i = 0; i < G_N_ELEMENTS (levels); i++)
    if (strcmp (wanted, levels[i].name) == 0)
      return i;
  g_warning ("SUMI_CPU: found \"%s\", expected generic, avx2 or avx512; it is ignored", wanted);
  return G_N_ELEMENTS (levels) - 1;
}

const SumiKernels *
sumi_kernels_get (SumiCpuFeatures features, SumiDType dtype)
{
  guint i = highest_level ();

  while (i > 0 && (features & levels[i].needs) != levels[i].needs)
    i--;
  return dtype == SUMI_BF16 ? levels[i].bf16 : levels[i].f32;
}

gsize
sumi_kernels_sum_scratch (const SumiShape *dims, const gint64 *sy)
{
  gint64 kept = 1, summed = 1;

  for (guint a = 0; a < dims->rank; a++)
    if (sy[a] != 0)
      kept *= dims->d[a];
    else
      summed *= dims->d[a];
  return sizeof (float) * (gsize)(kept * sumi_cuts (summed, sumi_sum_piece (kept, summed)));
}

gsize
sumi_kernels_group_norm_scratch (const SumiGroupNormDims *dims)
{
  return sizeof (double) * (gsize)(dims->n * sumi_group_norm_room (dims));
}

gsize
sumi_kernels_layer_norm_bwd_w_scratch (gint64 rows, gint64 c)
{
  return sizeof (float) * (gsize)(sumi_cuts (rows, sumi_layer_norm_piece (c)) * 2 * c);
}

gsize
sumi_kernels_sdpa_scratch (const SumiSdpaDims *dims, guint threads)
{
  return sizeof (float) * (gsize)sumi_sdpa_room (dims) * MAX (threads, 1);
}

gsize
sumi_kernels_sdpa_bwd_scratch (const SumiSdpaDims *dims, guint threads)
{
  return sizeof (float) * (gsize)sumi_sdpa_bwd_room (dims) * MAX (threads, 1);
}
