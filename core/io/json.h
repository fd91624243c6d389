/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON files from anywhere: what json-glib would trip over is looked for first. */
#pragma once

#include <json-glib/json-glib.h>

#include "base/error.h"

G_BEGIN_DECLS

/* The object in a file of at most 4 MiB, nested at most 64 deep, in UTF-8.
 * Python's NaN and Infinity are read as null.
 * missing_file, io, too_large; bad_config: not JSON, too deep, a name twice, or no object. */
JsonObject *sumi_json_load (const char *path, GError **error);
/* The same from memory; `what` names it in messages. */
JsonObject *sumi_json_parse (const char *text, gsize length, const char *what, GError **error);

G_END_DECLS
