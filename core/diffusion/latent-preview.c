/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A rough picture of latents without a network: red, green and blue as linear functions of the four channels. */
#include "diffusion/autoencoder.h"

#include <string.h>

typedef struct
{
  const char *families[3];
  float factors[4][3], bias[3]; /* -> about [-1,1] */
} Preview;

static const Preview previews[] = {
  /* Published by keturn for Stable Diffusion 1.4, whose auto-encoder SD 2 shares:
   * https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204/2 */
  { { "sd15", "sd21" },
    { { 0.298f, 0.207f, 0.208f },
      { 0.187f, 0.286f, 0.173f },
      { -0.158f, 0.189f, 0.264f },
      { -0.184f, -0.271f, -0.473f } },
    { 0, 0, 0 } },
  /* Measured by ComfyUI's authors (comfy/latent_formats.py, GPL-3.0). */
  { { "sdxl", "sdxl-refiner" },
    { { 0.3651f, 0.4232f, 0.4341f },
      { -0.2533f, -0.0042f, 0.1068f },
      { 0.1076f, 0.1111f, -0.0362f },
      { -0.3165f, -0.2492f, -0.2188f } },
    { 0.1084f, -0.0175f, -0.0011f } },
};

static const Preview *
find (const char *family)
{
  for (guint i = 0; i < G_N_ELEMENTS (previews); i++)
    if (g_strv_contains (previews[i].families, family))
      return &previews[i];
  return NULL;
}

/* [-1,1] -> 0..255; what is no number is black. */
static guint8
to_u8 (float x)
{
  x = x > -1 ? MIN (x, 1) : -1;
  return (guint8)(127.5f * (x + 1) + 0.5f);
}

SumiTensor *
sumi_latent_preview (const char *family, const SumiTensor *latents, GError **error)
{
  const Preview *p = find (family);
  const SumiShape *s = sumi_tensor_get_shape (latents);
  const float *x;
  SumiTensor *picture;
  gint64 n;

  if (p == NULL || sumi_tensor_get_dtype (latents) != SUMI_F32 || s->rank != 4 || s->d[0] != 1 || s->d[1] != 4)
    {
      g_autofree char *found = sumi_shape_to_string (s);

      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT,
                   "preview: found %s latents %s of %s, expected F32 (1,4,h,w) of Stable Diffusion",
                   sumi_dtype_name (sumi_tensor_get_dtype (latents)), found, family);
      return NULL;
    }
  picture = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (s->d[2], s->d[3], 3), error);
  if (picture == NULL)
    return NULL;
  x = sumi_tensor_peek_f32 (latents);
  n = s->d[2] * s->d[3];
  for (gint64 i = 0; i < n; i++)
    for (guint c = 0; c < 3; c++)
      {
        float sum = p->bias[c];

        for (guint k = 0; k < 4; k++)
          sum += p->factors[k][c] * x[k * n + i];
        ((guint8 *)sumi_tensor_poke (picture))[3 * i + c] = to_u8 (sum);
      }
  return picture;
}
