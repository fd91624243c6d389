/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading a hyper-parameter out of a JSON object that may say anything: type and range are checked here, so that no
 * graph is ever built from a number nobody looked at.  Every refusal is bad_config and names the field.
 * A field that is absent or null takes the default, which is what `value` holds when the function is called. */
#pragma once

#include <json-glib/json-glib.h>

#include "base/error.h"

G_BEGIN_DECLS

/* Limits no known network comes near, small enough that no product of them overflows. */
#define SUMI_MAX_CHANNELS 16384
#define SUMI_MAX_LAYERS 256

gboolean sumi_config_int (JsonObject *json, const char *name, gint64 min, gint64 max, gint64 *value, GError **error);
/* As above, and absent is an error. */
gboolean sumi_config_required_int (JsonObject *json, const char *name, gint64 min, gint64 max, gint64 *value,
                                   GError **error);
gboolean sumi_config_uint (JsonObject *json, const char *name, guint min, guint max, guint *value, GError **error);
gboolean sumi_config_double (JsonObject *json, const char *name, double min, double max, double *value, GError **error);
gboolean sumi_config_bool (JsonObject *json, const char *name, gboolean *value, GError **error);
/* Borrowed from the object. */
gboolean sumi_config_string (JsonObject *json, const char *name, const char **value, GError **error);
/* One of the choices (NULL-terminated), stored as its index. */
gboolean sumi_config_choice (JsonObject *json, const char *name, const char *const *choices, guint *value,
                             GError **error);
/* A list of n integers, or one integer for all; absent or null leaves the values. */
gboolean sumi_config_ints (JsonObject *json, const char *name, guint n, gint64 min, gint64 max, gint64 *values,
                           GError **error);
/* Length of a required list, within [min,max]. */
gboolean sumi_config_list_length (JsonObject *json, const char *name, guint min, guint max, guint *n, GError **error);
/* Only one value can be built; any other is refused. The JSON text of `expected` is compared: "null", "false", "1". */
gboolean sumi_config_must_be (JsonObject *json, const char *name, const char *expected, GError **error);

G_END_DECLS
