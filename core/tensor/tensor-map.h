/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A dictionary of named tensors with string metadata: what a safetensors file holds, what a network's parameters are.
 * Iteration is in insertion order.  Reference-counted. */
#pragma once

#include "tensor/tensor.h"

G_BEGIN_DECLS

typedef struct _SumiTensorMap SumiTensorMap;

SumiTensorMap *sumi_tensor_map_new (void);
SumiTensorMap *sumi_tensor_map_ref (SumiTensorMap *m);
void           sumi_tensor_map_unref (SumiTensorMap *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiTensorMap, sumi_tensor_map_unref)

guint       sumi_tensor_map_get_size (const SumiTensorMap *m);
const char *sumi_tensor_map_get_name (const SumiTensorMap *m, guint i); /* owned by the map */
SumiTensor *sumi_tensor_map_peek_nth (const SumiTensorMap *m, guint i);
SumiTensor *sumi_tensor_map_peek (const SumiTensorMap *m, const char *name); /* NULL when absent */
/* As peek, but absent is missing_tensor. Borrowed. */
SumiTensor *sumi_tensor_map_lookup (const SumiTensorMap *m, const char *name, GError **error);
/* As lookup, and another shape than `want` is shape_mismatch. */
SumiTensor *sumi_tensor_map_lookup_shaped (const SumiTensorMap *m, const char *name, const SumiShape *want,
                                           GError **error);
/* Adds or replaces; takes a reference. */
void        sumi_tensor_map_set (SumiTensorMap *m, const char *name, SumiTensor *t);
/* As set, but takes over the caller's reference. */
void        sumi_tensor_map_take (SumiTensorMap *m, const char *name, SumiTensor *t);
gboolean    sumi_tensor_map_remove (SumiTensorMap *m, const char *name);

const char *sumi_tensor_map_get_metadata (const SumiTensorMap *m, const char *key); /* NULL when absent */
void        sumi_tensor_map_set_metadata (SumiTensorMap *m, const char *key, const char *value);
GHashTable *sumi_tensor_map_peek_metadata (const SumiTensorMap *m); /* char* -> char* */

G_END_DECLS
