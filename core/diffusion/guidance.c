/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "diffusion/guidance.h"

#include <math.h>

void
sumi_guidance_combine (const float *uncond, const float *cond, double w, float *out, gsize n)
{
  for (gsize i = 0; i < n; i++)
    out[i] = (float)(uncond[i] + w * ((double)cond[i] - uncond[i]));
}

void
sumi_guidance_combine_image (const float *uncond, const float *image, const float *cond, double w_image, double w,
                             float *out, gsize n)
{
  for (gsize i = 0; i < n; i++)
    out[i] = (float)(uncond[i] + w_image * ((double)image[i] - uncond[i]) + w * ((double)cond[i] - image[i]));
}

static double
standard_deviation (const float *x, gsize n)
{
  double sum = 0, squares = 0;

  for (gsize i = 0; i < n; i++)
    sum += x[i];
  for (gsize i = 0; i < n; i++)
    squares += (x[i] - sum / (double)n) * (x[i] - sum / (double)n);
  return sqrt (squares / (double)n);
}

void
sumi_guidance_rescale (const float *cond, double phi, float *guided, gsize n)
{
  double own = standard_deviation (guided, n), factor;

  if (own == 0.0)
    return;
  factor = phi * standard_deviation (cond, n) / own + (1 - phi);
  for (gsize i = 0; i < n; i++)
    guided[i] = (float)(guided[i] * factor);
}

void
sumi_guidance_embed (double w, float *out, gsize width)
{
  gsize half = width / 2;

  for (gsize i = 0; i < half; i++)
    {
      double angle = 1000 * (w - 1) * exp (-log (10000) * (double)i / MAX ((double)half - 1, 1));

      out[i] = (float)sin (angle);
      out[half + i] = (float)cos (angle);
    }
  if (width % 2 == 1)
    out[width - 1] = 0;
}
