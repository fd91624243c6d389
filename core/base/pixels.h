/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pixels that travel between processes: sealed shared memory (memfd), so that neither side can change or shorten them
 * under the other's feet. */
#pragma once

#include "base/error.h"

G_BEGIN_DECLS

/* A descriptor of a sealed copy of the bytes (size > 0), or -1 (io, out_of_memory). */
int sumi_pixels_share (const void *data, gsize size, GError **error);

/* Maps what a peer sent; the descriptor stays the caller's.  Anything but sealed shared memory of exactly
 * width * height * channels bytes is a protocol error. */
GBytes *sumi_pixels_map (int fd, guint width, guint height, guint channels, GError **error);

G_END_DECLS
