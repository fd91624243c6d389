/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cutting an axis into tiles of one size that overlap, and putting them together again without a seam: every place of
 * the axis is the average of the tiles over it, each weighted by a ramp that is zero at its own edges. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct
{
  gint64 size, tile;
  guint n;
  gint64 *starts; /* n, ascending; the first is 0, the last size - tile */
  float *weights; /* n x (tile x unit): those of all tiles over a place sum to 1 */
} SumiTiles;

/* tile is cut to size; neighbours share at least `overlap` (less than tile).  unit: how many values a place has in the
 * result, for weights. */
void sumi_tiles_init (SumiTiles *t, gint64 size, gint64 tile, gint64 overlap, guint unit);
void sumi_tiles_clear (SumiTiles *t);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SumiTiles, sumi_tiles_clear)

G_END_DECLS
