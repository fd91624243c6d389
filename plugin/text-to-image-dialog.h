/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <libgimp/gimp.h>

#include "generation.h"

G_BEGIN_DECLS

/* Lets the user fill in the arguments and draws the picture while the dialog stays alive.  `args` and `picture` hold
 * nothing before.  FALSE: cancelled (the dialog was closed), or no worker could be started. */
gboolean sumi_text_to_image_dialog (GimpProcedureConfig *config, SumiRunArgs *args, SumiPicture *picture,
                                    GError **error);

G_END_DECLS
