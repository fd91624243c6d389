/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pictures on their way in (what to begin with, mask, the channels behind the sample) and out. */
#include "diffusion/pipeline-private.h"

#include <math.h>
#include <string.h>

#include "io/image.h"
#include "io/resample.h"

/* ---- sizes: the sample covers the asked size, which lies in its middle ---- */

typedef struct
{
  gint64 height, width, top, left; /* of the picture that is drawn, and where the asked one lies in it */
} Frame;

static Frame
frame_of (const SumiDrawing *d)
{
  const SumiRequest *r = d->request;
  Frame f = { .height = d->shape.d[2] * d->pipeline->config.scale, .width = d->shape.d[3] * d->pipeline->config.scale };

  f.top = (f.height - r->height) / 2;
  f.left = (f.width - r->width) / 2;
  return f;
}

/* The place of the asked picture that is shown at y (or x) of the drawn one: its edges go on outwards. */
static gint64
inside (gint64 at, gint64 start, gint64 length)
{
  return CLAMP (at - start, 0, length - 1);
}

/* planes (C, asked height, asked width) -> (1,C, drawn height, drawn width) */
static SumiTensor *
pad (const SumiDrawing *d, const float *planes, gint64 channels, GError **error)
{
  Frame f = frame_of (d);
  gint64 h = d->request->height, w = d->request->width;
  SumiTensor *t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, channels, f.height, f.width), error);
  float *out = t != NULL ? sumi_tensor_poke_f32 (t) : NULL;

  for (gint64 c = 0; t != NULL && c < channels; c++)
    for (gint64 y = 0; y < f.height; y++)
      for (gint64 x = 0; x < f.width; x++)
        *out++ = planes[(c * h + inside (y, f.top, h)) * w + inside (x, f.left, w)];
  return t;
}

/* ---- reading the request's picture and mask ---- */

/* U8 (H,W,C): the part that fills the asked size when it is scaled to it, as sumi_image_cover has it. */
static SumiTensor *
cover (const SumiTensor *image, guint height, guint width, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (image);
  double step = MIN ((double)s->d[0] / height, (double)s->d[1] / width);
  SumiSpan rows = { ((double)s->d[0] - step * height) / 2, step * height };
  SumiSpan columns = { ((double)s->d[1] - step * width) / 2, step * width };

  if (s->d[0] == height && s->d[1] == width)
    return sumi_tensor_cast (image, SUMI_U8, error);
  return sumi_resample (image, rows, columns, height, width, error);
}

static gboolean
read_picture (SumiDrawing *d, GError **error)
{
  const SumiRequest *r = d->request;
  g_autoptr (SumiTensor) chw = NULL;
  float *values;

  if (sumi_tensor_get_dtype (r->image) == SUMI_U8)
    {
      const SumiShape *s = sumi_tensor_get_shape (r->image);
      g_autoptr (SumiTensor) covered = cover (r->image, r->height, r->width, error);

      if (s->d[0] != r->height || s->d[1] != r->width)
        g_ptr_array_add (d->result->notes, g_strdup_printf ("the picture of %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT
                                                            " pixels was scaled and cut to %ux%u",
                                                            s->d[1], s->d[0], r->width, r->height));
      chw = covered != NULL ? sumi_image_to_chw (covered, -1, 1, error) : NULL;
      if (chw == NULL)
        return FALSE;
    }
  else
    {
      chw = sumi_tensor_cast (r->image, SUMI_F32, error);
      if (chw == NULL)
        return FALSE;
      values = sumi_tensor_poke_f32 (chw);
      for (gint64 i = 0; i < sumi_tensor_get_numel (chw); i++)
        values[i] = 2 * values[i] - 1;
    }
  d->image = pad (d, sumi_tensor_peek_f32 (chw), 3, error);
  return d->image != NULL;
}

/* The mask at the asked size, 0 to 1. */
static SumiTensor *
mask_values (const SumiRequest *r, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (r->mask);
  SumiTensor *values = NULL;

  if (sumi_tensor_get_dtype (r->mask) == SUMI_F32 && s->d[2] == r->height && s->d[3] == r->width)
    return sumi_tensor_cast (r->mask, SUMI_F32, error);
  if (sumi_tensor_get_dtype (r->mask) == SUMI_U8)
    {
      g_autoptr (SumiTensor) plane = sumi_tensor_reshape (r->mask, &SUMI_SHAPE (s->d[0], s->d[1], 1), error);
      g_autoptr (SumiTensor) covered = plane != NULL ? cover (plane, r->height, r->width, error) : NULL;

      values = covered != NULL ? sumi_tensor_cast (covered, SUMI_F32, error) : NULL;
      for (gint64 i = 0; values != NULL && i < sumi_tensor_get_numel (values); i++)
        sumi_tensor_poke_f32 (values)[i] /= 255;
      return values;
    }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
               "mask: found numbers of another size, expected %ux%u (only 8-bit masks are scaled)", r->width,
               r->height);
  return NULL;
}

static gboolean
is_hard (const SumiTensor *mask)
{
  const float *m = sumi_tensor_peek_f32 (mask);

  for (gint64 i = 0; i < sumi_tensor_get_numel (mask); i++)
    if (m[i] != 0 && m[i] != 1)
      return FALSE;
  return TRUE;
}

/* To the sample's size: a hard mask by the first pixel of each value, as the reference does; a grey one by the mean. */
static SumiTensor *
shrink_mask (const SumiDrawing *d, GError **error)
{
  gint64 h = d->shape.d[2], w = d->shape.d[3], scale = d->pipeline->config.scale, side = w * scale;
  const float *m = sumi_tensor_peek_f32 (d->image_mask);
  gint64 span = is_hard (d->image_mask) ? 1 : scale;
  SumiTensor *t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (h, w), error);
  float *out = t != NULL ? sumi_tensor_poke_f32 (t) : NULL;

  for (gint64 y = 0; t != NULL && y < h; y++)
    for (gint64 x = 0; x < w; x++)
      {
        double sum = 0;

        for (gint64 v = 0; v < span; v++)
          for (gint64 u = 0; u < span; u++)
            sum += m[(y * scale + v) * side + x * scale + u];
        *out++ = (float)(sum / (double)(span * span));
      }
  return t;
}

gboolean
sumi_drawing_read_image (SumiDrawing *d, GError **error)
{
  g_autoptr (SumiTensor) mask = NULL;

  if (d->request->image == NULL)
    return TRUE;
  if (!read_picture (d, error))
    return FALSE;
  if (d->request->mask == NULL)
    return TRUE;
  mask = mask_values (d->request, error);
  return mask != NULL && (d->image_mask = pad (d, sumi_tensor_peek_f32 (mask), 1, error)) != NULL
         && (d->mask = shrink_mask (d, error)) != NULL;
}

/* ---- draws ---- */

gboolean
sumi_drawing_draw (SumiDrawing *d, guint i, const char *kind, float *out, gsize n, GError **error)
{
  const SumiPipelineTap *tap = d->request->tap;
  SumiPicture *picture = g_ptr_array_index (d->pictures, i);

  sumi_rng_normal (&picture->rng, out, n);
  return tap == NULL || tap->draw == NULL || tap->draw (i, kind, out, n, tap->user, error);
}

static SumiTensor *
draw_tensor (SumiDrawing *d, guint i, const char *kind, GError **error)
{
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, &d->shape, error);

  if (t == NULL || !sumi_drawing_draw (d, i, kind, sumi_tensor_poke_f32 (t), d->n_values, error))
    return NULL;
  return g_steal_pointer (&t);
}

/* ---- encoding ---- */

/* A picture in [-1,1] -> a sample. noise NULL: the mean of the posterior. */
static SumiTensor *
encode (SumiDrawing *d, const SumiTensor *image, const float *noise, GError **error)
{
  gint64 plane = d->shape.d[2] * d->shape.d[3];
  const float *in = sumi_tensor_peek_f32 (image);
  SumiTensor *t;
  float *out;

  if (d->pipeline->autoencoder != NULL)
    return sumi_autoencoder_encode (d->pipeline->autoencoder, image, noise, d->cancellable, error);
  t = sumi_tensor_new (SUMI_F32, &d->shape, error); /* a model of pixels: of colours, or of their mean */
  out = t != NULL ? sumi_tensor_poke_f32 (t) : NULL;
  if (t != NULL && d->shape.d[1] == 3)
    memcpy (out, in, 3 * (gsize)plane * sizeof *out);
  else
    for (gint64 i = 0; t != NULL && i < plane; i++)
      out[i] = (in[i] + in[plane + i] + in[2 * plane + i]) / 3;
  return t;
}

/* The picture with what may change taken out: 0, the middle grey. Without a picture all of it. */
static SumiTensor *
masked_image (const SumiDrawing *d, GError **error)
{
  Frame f = frame_of (d);
  gint64 plane = f.height * f.width;
  SumiTensor *t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 3, f.height, f.width), error);

  if (t == NULL || d->image == NULL || d->mask == NULL)
    return t;
  for (gint64 i = 0; i < 3 * plane; i++)
    if (sumi_tensor_peek_f32 (d->image_mask)[i % plane] < 0.5f)
      sumi_tensor_poke_f32 (t)[i] = sumi_tensor_peek_f32 (d->image)[i];
  return t;
}

/* What an inpainting model sees behind the sample: mask (1: draw here) and masked picture. */
static SumiTensor *
inpainting_channels (SumiDrawing *d, const float *noise, GError **error)
{
  gint64 plane = d->shape.d[2] * d->shape.d[3];
  g_autoptr (SumiTensor) image = masked_image (d, error);
  g_autoptr (SumiTensor) latents = image != NULL ? encode (d, image, noise, error) : NULL;
  SumiTensor *t;

  if (latents == NULL)
    return NULL;
  t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 1 + d->shape.d[1], d->shape.d[2], d->shape.d[3]), error);
  if (t == NULL)
    return NULL;
  for (gint64 i = 0; i < plane; i++)
    sumi_tensor_poke_f32 (t)[i] = d->mask == NULL || sumi_tensor_peek_f32 (d->mask)[i] >= 0.5f ? 1 : 0;
  memcpy (sumi_tensor_poke_f32 (t) + plane, sumi_tensor_peek_f32 (latents), d->n_values * sizeof (float));
  return t;
}

/* What instruct-pix2pix sees behind the sample: the picture's latents as the encoder gives them, not scaled. */
static SumiTensor *
pix2pix_channels (SumiDrawing *d, GError **error)
{
  const SumiModelConfig *c = &d->pipeline->config;
  gint64 plane = d->shape.d[2] * d->shape.d[3];
  SumiTensor *t = encode (d, d->image, NULL, error);
  float *x = t != NULL ? sumi_tensor_poke_f32 (t) : NULL;

  for (gint64 i = 0; t != NULL && i < (gint64)d->n_values; i++)
    x[i] = (float)(x[i] * c->std[i / plane] + c->mean[i / plane]);
  return t;
}

static gboolean
take_init_noise (SumiDrawing *d, guint i, SumiTensor *start, GError **error)
{
  SumiTensor *given = (SumiTensor *)d->request->init_noise;
  g_autoptr (SumiTensor) slice = NULL;

  if (given == NULL)
    return TRUE;
  slice = sumi_tensor_slice0 (given, i, 1, error);
  if (slice != NULL)
    sumi_tensor_to_f32 (slice, sumi_tensor_poke_f32 (start));
  return slice != NULL;
}

/* The order of diffusers' pipelines: the picture's sample of the posterior, where the way begins at the picture or a
 * model without mask channels needs it to put it back; start noise; the masked picture's sample. */
gboolean
sumi_drawing_begin_picture (SumiDrawing *d, guint i, GError **error)
{
  const SumiModelConfig *c = &d->pipeline->config;
  SumiPicture *picture = g_ptr_array_index (d->pictures, i);
  gboolean beside_mask = c->in_channels == 2 * c->channels + 1, beside_image = c->in_channels == 2 * c->channels;
  gboolean begins = d->image != NULL && !beside_image && (!beside_mask || d->request->strength < 1);
  g_autoptr (SumiTensor) noise = NULL;

  if (begins
      && ((noise = draw_tensor (d, i, "vae", error)) == NULL
          || (picture->original = encode (d, d->image, sumi_tensor_peek_f32 (noise), error)) == NULL))
    return FALSE;
  picture->start = draw_tensor (d, i, "latent", error);
  if (picture->start == NULL || !take_init_noise (d, i, picture->start, error))
    return FALSE;
  if (beside_image)
    return (picture->beside = pix2pix_channels (d, error)) != NULL;
  if (beside_mask || d->mask != NULL)
    {
      g_clear_pointer (&noise, sumi_tensor_unref);
      noise = draw_tensor (d, i, "vae", error); /* drawn by the reference even where nothing uses it */
      if (noise == NULL)
        return FALSE;
    }
  return !beside_mask || (picture->beside = inpainting_channels (d, sumi_tensor_peek_f32 (noise), error)) != NULL;
}

/* ---- out ---- */

static SumiTensor *
cut (const SumiDrawing *d, const float *x, gint64 channels, GError **error)
{
  Frame f = frame_of (d);
  gint64 h = d->request->height, w = d->request->width;
  g_autoptr (SumiTensor) t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (3, h, w), error);

  if (t == NULL)
    return NULL;
  for (gint64 c = 0; c < 3; c++)
    for (gint64 y = 0; y < h; y++)
      memcpy (sumi_tensor_poke_f32 (t) + (c * h + y) * w,
              x + (MIN (c, channels - 1) * f.height + y + f.top) * f.width + f.left, (gsize)w * sizeof *x);
  return sumi_image_from_chw (t, -1, 1, error);
}

SumiTensor *
sumi_drawing_decode (SumiDrawing *d, const float *x, SumiTensor **decoded, GError **error)
{
  g_autoptr (SumiTensor) latents = NULL;
  g_autoptr (SumiTensor) image = NULL;

  latents = sumi_tensor_new_f32 (&d->shape, x, error);
  if (latents == NULL)
    return NULL;
  if (d->pipeline->autoencoder == NULL)
    image = sumi_tensor_ref (latents);
  else if ((image = sumi_autoencoder_decode (d->pipeline->autoencoder, latents, d->cancellable, error)) == NULL)
    return NULL;
  if (decoded != NULL)
    *decoded = sumi_tensor_ref (image);
  return cut (d, sumi_tensor_peek_f32 (image), sumi_tensor_get_shape (image)->d[1], error);
}

/* One pixel a value, made as large as the picture, cut as it is. */
static SumiTensor *
rough (SumiDrawing *d, const float *x_start, GError **error)
{
  Frame f = frame_of (d);
  double scale = d->pipeline->config.scale;
  SumiSpan rows = { f.top / scale, d->request->height / scale };
  SumiSpan columns = { f.left / scale, d->request->width / scale };
  g_autoptr (SumiTensor) latents = sumi_tensor_new_f32 (&d->shape, x_start, error);
  g_autoptr (SumiTensor) small = NULL;

  if (latents == NULL)
    return NULL;
  small = sumi_latent_preview (sumi_family_name (d->pipeline->config.family), latents, error);
  return small != NULL ? sumi_resample (small, rows, columns, d->request->height, d->request->width, error) : NULL;
}

SumiTensor *
sumi_drawing_preview (SumiDrawing *d, const float *x_start, GError **error)
{
  if (d->request->preview == SUMI_PREVIEW_ROUGH && sumi_model_is_stable_diffusion (&d->pipeline->config))
    return rough (d, x_start, error);
  return sumi_drawing_decode (d, x_start, NULL, error);
}

void
sumi_drawing_composite (SumiDrawing *d, SumiTensor *picture)
{
  Frame f = frame_of (d);
  gint64 h = d->request->height, w = d->request->width, plane = f.height * f.width;
  guint8 *pixels = sumi_tensor_poke (picture);

  if (d->image_mask == NULL || !d->request->composite)
    return;
  for (gint64 y = 0; y < h; y++)
    for (gint64 x = 0; x < w; x++, pixels += 3)
      {
        gint64 at = (y + f.top) * f.width + x + f.left;
        float m = sumi_tensor_peek_f32 (d->image_mask)[at];

        for (gint64 c = 0; c < 3; c++)
          {
            float was = (sumi_tensor_peek_f32 (d->image)[c * plane + at] + 1) * 127.5f;

            pixels[c] = (guint8)lrintf (was + m * (pixels[c] - was));
          }
      }
}
