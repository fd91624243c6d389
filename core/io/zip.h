/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The directory of a zip archive whose entries are stored, not compressed: what torch.save writes.
 * Nothing is extracted: entries are slices of the archive's bytes.  (PKWARE, ".ZIP File Format Specification".) */
#pragma once

#include "base/error.h"

G_BEGIN_DECLS

typedef struct _SumiZip SumiZip;

/* Every entry's place has been checked.  truncated, bad_header, bad_offsets, too_large. */
SumiZip *sumi_zip_new (GBytes *bytes, GError **error);
void     sumi_zip_free (SumiZip *z);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiZip, sumi_zip_free)

/* The names in the archive (char*, owned by it), sorted. */
GPtrArray *sumi_zip_get_names (const SumiZip *z);
gboolean   sumi_zip_contains (const SumiZip *z, const char *name);
/* The entry's data: a slice. missing_tensor (no such entry), unsupported_format (compressed or encrypted). */
GBytes    *sumi_zip_lookup (const SumiZip *z, const char *name, GError **error);

G_END_DECLS
