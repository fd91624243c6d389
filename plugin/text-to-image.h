/* SPDX-License-Identifier: GPL-3.0-or-later */
/* plug-in-sumi-text-to-image: a prompt becomes a layer, or an image where there is none. */
#pragma once

#include <libgimp/gimp.h>

#include "base/protocol.h"

G_BEGIN_DECLS

#define SUMI_TEXT_TO_IMAGE "plug-in-sumi-text-to-image"

GimpProcedure *sumi_text_to_image_create (GimpPlugIn *plug_in);

/* The procedure's arguments as a job; a seed of -1 becomes a random one.  `args` holds nothing before. */
void sumi_text_to_image_args (GimpProcedureConfig *config, SumiRunArgs *args);

G_END_DECLS
