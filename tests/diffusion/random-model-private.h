/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "random-model.h"

G_BEGIN_DECLS

typedef struct
{
  guint width, heads, layers; /* width 0: none */
  const char *act;
  guint projection;
} RandomText;

typedef struct
{
  const char *name, *size, *family;
  const char *widths, *heads, *transformer_layers; /* JSON lists */
  const char *attention;                           /* a level each, from the top: '0' or '1' */
  guint groups, in_channels, context;
  gboolean linear;
  guint addition_time, addition, time_cond, sample_size;
  const char *vae_widths;
  double scaling;
  RandomText text[2];
  const char *scheduler;
} RandomSpec;

const RandomSpec *random_spec_find (const char *name, const char *size, GError **error);
/* JSON texts; free with g_free. */
char *random_spec_unet (const RandomSpec *s);
char *random_spec_vae (const RandomSpec *s);
char *random_spec_text (const RandomText *t);
char *random_spec_sidecar (const RandomSpec *s); /* the hyper-parameters beside a single file */
JsonObject *random_spec_config (const RandomSpec *s);

G_END_DECLS
