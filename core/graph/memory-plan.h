/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where each value lives: greedy-by-size placement of lifetime intervals in one arena
 * (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference"). */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct
{
  gsize size;        /* bytes; 0: takes no place */
  guint first, last; /* alive from step `first` to step `last`, both included */
  gsize offset;      /* result, 64-byte aligned */
} SumiInterval;

/* Sets every offset so that no two intervals alive at one step overlap; returns the arena's size in bytes, or
 * G_MAXSIZE (offsets unset) when no address space could hold the values. */
gsize sumi_memory_plan (SumiInterval *intervals, guint n);

G_END_DECLS
