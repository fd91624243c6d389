/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The hyper-parameters of a single-file checkpoint, as they lie beside it in NAME.json. */
#pragma once

#include <json-glib/json-glib.h>

#include "base/error.h"

G_BEGIN_DECLS

/* Whether an object is such a list (and not a configuration in Sumi's own form). */
gboolean sumi_hyper_parameters_are (JsonObject *json);
/* Writes what `known` says over a configuration; bad_config for a field of another type. */
gboolean sumi_hyper_parameters_apply (JsonObject *known, JsonObject *config, GError **error);

G_END_DECLS
