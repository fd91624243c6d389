/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Between pictures and latents: one of the networks of nn/, compiled for the sizes asked for, in tiles where the
 * picture is large.  Latents are in the denoiser's scale: (latent - shift) x scaling factor. */
#pragma once

#include "engine/engine.h"
#include "nn/networks.h"

G_BEGIN_DECLS

typedef enum
{
  SUMI_AUTOENCODER_KL,    /* AutoencoderKL: "encoder.…", "decoder.…", "quant_conv", "post_quant_conv" */
  SUMI_AUTOENCODER_TAESD, /* madebyollin/taesd and its kin: 4 (SD 1, SDXL) or 16 latent channels */
  SUMI_AUTOENCODER_TAEF2, /* 32 latent channels */
} SumiAutoencoderKind;

typedef struct
{
  SumiAutoencoderKind kind;
  SumiVaeConfig vae; /* KL */
  gint64 latent_channels;
  double mean[SUMI_MAX_LATENT_CHANNELS], std[SUMI_MAX_LATENT_CHANNELS]; /* latents = (raw - mean) / std, per channel:
                                                             for KL mean = shift_factor, std = 1 / scaling_factor */
} SumiAutoencoderConfig;

typedef struct _SumiAutoencoder SumiAutoencoder;

/* weights: names with `prefix` in front ("vae.", ""). Checks that what the decoder needs is there; an encoder that is
 * missing is told when it is needed. Takes references. */
SumiAutoencoder *sumi_autoencoder_new (const SumiAutoencoderConfig *config, SumiTensorMap *weights, const char *prefix,
                                       SumiEngine *engine, guint threads, GError **error);
void sumi_autoencoder_free (SumiAutoencoder *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiAutoencoder, sumi_autoencoder_free)

/* Pixels a side of a latent value: 8. */
guint sumi_autoencoder_get_scale (const SumiAutoencoder *a);
/* Latents a side of a tile; pictures up to 1.5 times that (area) are done whole, exactly; 0: always whole.  Tiles
 * overlap by a quarter and are blended linearly; what norms and attention know of the whole picture they take from a
 * sample of it, the same for all tiles.  Default: as the memory allows (108 for Stable Diffusion's: up to 1058 x 1058
 * pixels whole in 2.4 GB; more for a narrower network). */
void sumi_autoencoder_set_tile (SumiAutoencoder *a, guint tile);
guint sumi_autoencoder_get_tile (const SumiAutoencoder *a);
/* Frees compiled plans; they are made again when needed. */
void sumi_autoencoder_trim (SumiAutoencoder *a);

/* Bytes a run needs beside the parameters, and of the parameters: the most of all plans there are. */
void sumi_autoencoder_get_memory (const SumiAutoencoder *a, gsize *arena, gsize *parameters);

/* latents F32 (N,L,h,w) -> F32 (N,3,8h,8w), about [-1,1], not clamped. non_finite. */
SumiTensor *sumi_autoencoder_decode (SumiAutoencoder *a, const SumiTensor *latents, GCancellable *cancellable,
                                     GError **error);
/* image F32 (N,3,H,W) in [-1,1], sides multiples of 8 -> F32 (N,L,H/8,W/8).  noise: as many normal values as latents,
 * for a sample of the posterior: mean + exp (logvar / 2) noise; NULL: the mean (and for the tiny ones, which have no
 * variance, ignored). */
SumiTensor *sumi_autoencoder_encode (SumiAutoencoder *a, const SumiTensor *image, const float *noise,
                                     GCancellable *cancellable, GError **error);

/* A rough picture without any network: U8 (h,w,3), one linear map per pixel.  family: as sumi_family_name; NULL
 * (unsupported) for a family without factors. latents F32 (1,L,h,w). */
SumiTensor *sumi_latent_preview (const char *family, const SumiTensor *latents, GError **error);

G_END_DECLS
