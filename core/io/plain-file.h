/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is looked at before a file is opened, and how it is mapped. */
#pragma once

#include "base/error.h"

G_BEGIN_DECLS

/* TRUE for a plain file: opening a pipe could wait for ever, a device never ends.
 * missing_file, unsupported_format (a folder or device), io. */
gboolean sumi_plain_file_check (const char *path, GError **error);
/* The plain file at `path`, mapped for reading; the mapping lives as long as any slice of the bytes. */
GBytes  *sumi_plain_file_map (const char *path, GError **error);

G_END_DECLS
