/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a picture was made from, in words and in JSON. */
#pragma once

#include "base/protocol.h"

G_BEGIN_DECLS

/* "a red apple (seed 7)", the prompt on one line and cut where it gets long. */
char *sumi_recipe_layer_name (const char *prompt, guint64 seed);

/* Everything that is needed to draw it again: the arguments with the size and the seed that were really used. */
char *sumi_recipe_json (const char *procedure, const SumiRunArgs *args, const SumiResultInfo *info);

G_END_DECLS
