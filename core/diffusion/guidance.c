/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "diffusion/guidance.h"

void
sumi_guidance_combine (const float *uncond, const float *cond, double w, float *out, gsize n)
{
  for (gsize i = 0; i < n; i++)
    out[i] = (float)(uncond[i] + w * ((double)cond[i] - uncond[i]));
}
