/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Values on the host: dense, row-major, reference-counted.
 *
 * A tensor is a slice of a GBytes (a memory-mapped file stays alive as long as a tensor of it), or its own
 * 64-byte aligned memory.  Mapped data may be unaligned: read it through sumi_tensor_to_f32 and friends or memcpy,
 * never through a cast pointer, unless sumi_tensor_is_aligned.
 */
#pragma once

#include "base/error.h"

G_BEGIN_DECLS

#define SUMI_MAX_RANK 8

typedef enum
{
  SUMI_F32,
  SUMI_F64,
  SUMI_F16,
  SUMI_BF16,
  SUMI_F8_E4M3,
  SUMI_F8_E5M2,
  SUMI_I64,
  SUMI_I32,
  SUMI_I16,
  SUMI_I8,
  SUMI_U64,
  SUMI_U32,
  SUMI_U16,
  SUMI_U8,
  SUMI_BOOL,
  SUMI_N_DTYPES
} SumiDType;

gsize       sumi_dtype_size (SumiDType t);
const char *sumi_dtype_name (SumiDType t);                      /* the safetensors name: "F32", "BF16", "I64"... */
gboolean    sumi_dtype_from_name (const char *name, SumiDType *t);
gboolean    sumi_dtype_is_float (SumiDType t);

typedef struct
{
  guint  rank; /* 0: a scalar */
  gint64 d[SUMI_MAX_RANK];
} SumiShape;

/* SUMI_SHAPE (2, 3): a shape literal */
#define SUMI_SHAPE(...)                                                                                                \
  ((SumiShape) { .rank = (guint) (sizeof ((gint64[]) { __VA_ARGS__ }) / sizeof (gint64)), .d = { __VA_ARGS__ } })
#define SUMI_SCALAR ((SumiShape) { .rank = 0 })

gint64   sumi_shape_numel (const SumiShape *s); /* product; shapes inside the program never overflow */
gboolean sumi_shape_equal (const SumiShape *a, const SumiShape *b);
gboolean sumi_shape_checked_numel (const SumiShape *s, gint64 *numel); /* FALSE: negative or overflow of gint64 */
char    *sumi_shape_to_string (const SumiShape *s);                    /* "(2,3)"; free with g_free */

typedef struct _SumiTensor SumiTensor;

/* Zeroed, 64-byte aligned, own memory; fails with out_of_memory (never aborts) or bad_shape. */
SumiTensor *sumi_tensor_new (SumiDType dtype, const SumiShape *shape, GError **error);
/* Takes a reference on bytes, whose size must be numel * dtype size (else bad_shape). Read-only. */
SumiTensor *sumi_tensor_new_bytes (SumiDType dtype, const SumiShape *shape, GBytes *bytes, GError **error);
/* Copies n = numel(shape) values.  */
SumiTensor *sumi_tensor_new_f32 (const SumiShape *shape, const float *values, GError **error);
SumiTensor *sumi_tensor_new_i64 (const SumiShape *shape, const gint64 *values, GError **error);
SumiTensor *sumi_tensor_ref (SumiTensor *t);
void        sumi_tensor_unref (SumiTensor *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiTensor, sumi_tensor_unref)

SumiDType        sumi_tensor_get_dtype (const SumiTensor *t);
const SumiShape *sumi_tensor_get_shape (const SumiTensor *t);
gint64           sumi_tensor_get_numel (const SumiTensor *t);
gsize            sumi_tensor_get_size (const SumiTensor *t); /* bytes */
const void      *sumi_tensor_peek (const SumiTensor *t);     /* maybe unaligned */
void            *sumi_tensor_poke (SumiTensor *t);           /* own memory only; the caller is the only user */
float           *sumi_tensor_poke_f32 (SumiTensor *t);       /* same, F32 only */
const float     *sumi_tensor_peek_f32 (const SumiTensor *t); /* F32 and aligned only */
gboolean         sumi_tensor_is_aligned (const SumiTensor *t);

/* Converts every dtype to float (out has numel elements); integers are rounded to the nearest float. */
void        sumi_tensor_to_f32 (const SumiTensor *t, float *out);
void        sumi_tensor_to_f64 (const SumiTensor *t, double *out);
SumiTensor *sumi_tensor_cast (const SumiTensor *t, SumiDType dtype, GError **error); /* a new tensor with own memory */
/* Same memory, other shape of equal numel (else shape_mismatch). */
SumiTensor *sumi_tensor_reshape (SumiTensor *t, const SumiShape *shape, GError **error);
/* Rows [start, start+n) of the first dimension, sharing memory. */
SumiTensor *sumi_tensor_slice0 (SumiTensor *t, gint64 start, gint64 n, GError **error);
gboolean    sumi_tensor_is_finite (const SumiTensor *t);

G_END_DECLS
