/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The data set as the values the model is trained on, in memory: pixels, or latents encoded once by TAEF2. */
#pragma once

#include "diffusion/model.h"
#include "engine/engine.h"
#include "train/dataset.h"

G_BEGIN_DECLS

typedef struct
{
  gboolean latent;
  gint64 channels, height, width;
  guint n;            /* pictures that could be read */
  guint32 *pictures;  /* their numbers in the data set, ascending */
  gboolean mirrored;  /* each can be had mirrored */
  SumiTensor *values; /* U8 (n,H,W,C), or F16 (n or 2n,C,h,w): all as they are, then all mirrored */
  double mean[SUMI_TAEF2_CHANNELS], std[SUMI_TAEF2_CHANNELS]; /* latent: over all values, per channel */
} SumiSamples;

typedef struct
{
  const char *cache; /* latents on disk, read when they are of this data set and else written; NULL: none */
  const char *taef2; /* the auto-encoder's weights */
  SumiEngine *engine;
  guint threads;
  gboolean flip;
} SumiSampleOptions;

/* Called now and then: n of n_all pictures are there. */
typedef void (*SumiSamplesProgress) (guint n, guint n_all, gpointer user);

/* Pictures that cannot be read are passed over with a note in the data set. */
SumiSamples *sumi_samples_new (SumiDataset *d, const SumiModelConfig *config, const SumiSampleOptions *options,
                               SumiSamplesProgress progress, gpointer user, GCancellable *cancellable, GError **error);
void sumi_samples_free (SumiSamples *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiSamples, sumi_samples_free)

/* Sample i as the model sees it, (C,H,W): pixels in [-1,1], latents (latent - mean) / std. */
void sumi_samples_get (const SumiSamples *s, guint i, gboolean mirrored, float *out);

G_END_DECLS
