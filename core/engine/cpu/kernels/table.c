/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One table of kernels.  The build compiles this file for every instruction set and storage type:
 * SUMI_KERNELS_TABLE is the table's name, SUMI_KERNELS_BF16 is 1 where values are bfloat16. */
#include "engine/cpu/kernels/table.h"

#include <math.h>
#include <omp.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine/cpu/kernels/nest.h"

#include "engine/cpu/kernels/value.inc"
#include "engine/cpu/kernels/math.inc"
#include "engine/cpu/kernels/elementwise.inc"
#include "engine/cpu/kernels/movement.inc"
#include "engine/cpu/kernels/reduction.inc"
#include "engine/cpu/kernels/pictures.inc"
#include "engine/cpu/kernels/group-norm.inc"
#include "engine/cpu/kernels/rows.inc"
#include "engine/cpu/kernels/text.inc"
#include "engine/cpu/kernels/attention.inc"

const SumiKernels SUMI_KERNELS_TABLE = {
  .to_f32 = k_to_f32,
  .from_f32 = k_from_f32,
  .fill = k_fill,
  .binary = k_binary,
  .affine = k_affine,
  .act = k_act,
  .act_bwd = k_act_bwd,
  .bias_act = k_bias_act,
  .copy = k_copy,
  .sum = k_sum,
  .max_pool2d = k_max_pool2d,
  .max_pool2d_bwd = k_max_pool2d_bwd,
  .upsample = k_upsample,
  .upsample_bwd = k_upsample_bwd,
  .group_norm = k_group_norm,
  .group_norm_narrow = k_group_norm_narrow,
  .group_norm_bwd_x = k_group_norm_bwd_x,
  .group_norm_bwd_w = k_group_norm_bwd_w,
  .group_norm_bwd = k_group_norm_bwd,
  .layer_norm = k_layer_norm,
  .layer_norm_narrow = k_layer_norm_narrow,
  .layer_norm_bwd_x = k_layer_norm_bwd_x,
  .layer_norm_bwd_w = k_layer_norm_bwd_w,
  .softmax = k_softmax,
  .softmax_bwd = k_softmax_bwd,
  .sdpa = k_sdpa,
  .sdpa_bwd = k_sdpa_bwd,
  .embedding = k_embedding,
  .embedding_bwd = k_embedding_bwd,
  .timestep_embedding = k_timestep_embedding,
};
