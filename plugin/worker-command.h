/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "base/error.h"

G_BEGIN_DECLS

/* How to start the worker: $SUMI_WORKER_COMMAND (shell words), else `sumi worker` from the first place that has it:
 * beside the plug-in, PARENT/bin for every folder above it (so that an installation may be moved as a whole), the
 * configured bin folder, $PATH.  Free with g_strfreev; NULL: missing_file. */
char **sumi_worker_command (GError **error);

G_END_DECLS
