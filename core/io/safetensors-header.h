/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The JSON header of a safetensors file. Its grammar is small and fixed, so it is read by a scanner of its own:
 * json-glib would take duplicate names (the last one silently wins), integers written as 1.0 or 1e3, and any depth of
 * nesting. */
#pragma once

#include "tensor/tensor-map.h"

G_BEGIN_DECLS

#define SUMI_SAFETENSORS_METADATA "__metadata__"

typedef struct
{
  char *name;
  SumiDType dtype;
  SumiShape shape;
  guint64 begin, end; /* relative to the data */
} SumiSafetensorsEntry;

void sumi_safetensors_entry_clear (SumiSafetensorsEntry *e);

/* The entries (GArray of SumiSafetensorsEntry, freeing itself), in the order of the text; metadata pairs are put into
 * `metadata` (char* -> char*, owned).  Every entry has a known dtype, a shape of at most SUMI_MAX_RANK dimensions whose
 * bytes can be counted, and end - begin is that number.  bad_header, bad_shape, bad_offsets, unsupported_dtype. */
GArray *sumi_safetensors_header_parse (const char *text, gsize length, GHashTable *metadata, GError **error);

G_END_DECLS
