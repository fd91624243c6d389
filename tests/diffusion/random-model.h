/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Checkpoints as people have them, with random values: of the true size or tiny, as a diffusers folder or in one file
 * with the original ("ldm") names.  A parameter's values depend on its diffusers name alone, so that both forms hold
 * the same model.  Weights are scaled by their fan-in and norms are one, so that activations stay finite. */
#pragma once

#include <json-glib/json-glib.h>

#include "tensor/tensor.h"

G_BEGIN_DECLS

/* "sd15", "sd21" (v-prediction, 768 pixels), "sd21-base", "sdxl", "sdxl-refiner", "inpaint", "pix2pix", "lcm"; each of
 * size "full" or "tiny". */
typedef struct
{
  const char *name, *size;
  gboolean ldm;    /* one file, and for a tiny one (whose head counts cannot be told) NAME.json beside it */
  SumiDType dtype; /* SUMI_F16 or SUMI_F32 */
  gboolean sparse; /* only small tensors are written, the others are holes in the file, which read as zeros */
} RandomModel;

/* Written piece by piece: memory stays small. path: a folder to be made, or the file with its ending .safetensors. */
gboolean random_model_write (const RandomModel *m, const char *path, GError **error);
/* Sumi's configuration of it. Free with json_object_unref; NULL (usage): no such model. */
JsonObject *random_model_config (const char *name, const char *size, GError **error);

G_END_DECLS
