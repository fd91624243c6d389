/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The texts in a PNG file, without its picture (PNG specification, third edition, 11.3.3). */
#pragma once

#include "base/error.h"

G_BEGIN_DECLS

#define SUMI_PNG_MAX_TEXT (4 << 20)

/* The first text under `key` ("parameters"), as UTF-8, from a tEXt, zTXt or iTXt chunk before or after the picture's
 * data; NULL without an error when there is none. Free with g_free.
 * unsupported_format (no PNG), truncated, bad_header (a damaged chunk), too_large (more than SUMI_PNG_MAX_TEXT bytes);
 * from a path also missing_file and io. */
char *sumi_png_read_text (const char *path, const char *key, GError **error);
char *sumi_png_parse_text (const guint8 *data, gsize size, const char *key, GError **error);

G_END_DECLS
