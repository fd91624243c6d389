/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory from the system, by the mapping. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct
{
  guint8 *at; /* NULL: none */
  gsize size;
} SumiCpuRoom;

/* Rounded up to whole cache lines. */
static inline gsize
sumi_cpu_aligned (gsize size)
{
  return (size + 63) / 64 * 64;
}

/* Zeroed room for `what`; out_of_memory when this machine could not hold it. */
gboolean sumi_cpu_map (SumiCpuRoom *room, gsize size, const char *what, GError **error);
void sumi_cpu_unmap (SumiCpuRoom *room);
/* Gives the pages back; the room stays, its contents do not. */
void sumi_cpu_forget (const SumiCpuRoom *room);
/* out_of_memory when the system has not this much left without ending programs: it promises more than it has. */
gboolean sumi_cpu_check_free (gsize size, const char *what, GError **error);

G_END_DECLS
