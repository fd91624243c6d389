/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Values on the host: dense, row-major, reference-counted.
 *
 * A tensor is a slice of a GBytes (a memory-mapped file stays alive as long as a tensor of it), or its own
 * 64-byte aligned memory.  Mapped data may be unaligned: read it through sumi_tensor_to_f32 and friends or memcpy,
 * never through a cast pointer, unless sumi_tensor_is_aligned.
 *
 * The block-quantised types (GGUF's) keep 32 or 256 elements that follow each other in row-major order in one block:
 * small integers and their common scales.  A tensor of them holds whole blocks.  In GGUF files rows, too, are whole
 * blocks, but shapes may be changed freely.
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
  SUMI_Q4_0, /* block-quantised from here on: read with sumi_tensor_to_f32 and friends, never made */
  SUMI_Q4_1,
  SUMI_Q5_0,
  SUMI_Q5_1,
  SUMI_Q8_0,
  SUMI_Q2_K,
  SUMI_Q3_K,
  SUMI_Q4_K,
  SUMI_Q5_K,
  SUMI_Q6_K,
  SUMI_Q8_K,
  SUMI_N_DTYPES
} SumiDType;

/* The bytes of one element; 0 for the block-quantised types, which have none (sumi_dtype_block_size). */
gsize       sumi_dtype_size (SumiDType t);
/* A block's elements and bytes; a single element for the plain types. */
guint       sumi_dtype_block_length (SumiDType t);
gsize       sumi_dtype_block_size (SumiDType t);
gboolean    sumi_dtype_is_quantised (SumiDType t);
/* The name in safetensors ("F32", "BF16", "I64"…) or GGUF ("Q8_0", "Q4_K"…) */
const char *sumi_dtype_name (SumiDType t);
gboolean    sumi_dtype_from_name (const char *name, SumiDType *t);
gboolean    sumi_dtype_is_float (SumiDType t); /* also of the block-quantised types */

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
/* The same for bytes that are a slice of a file mapping, whose pages sumi_tensor_forget_pages may give back. */
SumiTensor *sumi_tensor_new_mapped (SumiDType dtype, const SumiShape *shape, GBytes *bytes, GError **error);
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

/* Converts every dtype to float (out has numel elements); integers are rounded to the nearest float, blocks decoded. */
void        sumi_tensor_to_f32 (const SumiTensor *t, float *out);
void        sumi_tensor_to_f64 (const SumiTensor *t, double *out);
/* A new tensor with own memory; unsupported_dtype for F8 and block-quantised results (but for a mere copy). */
SumiTensor *sumi_tensor_cast (const SumiTensor *t, SumiDType dtype, GError **error);
/* Same memory, other shape of equal numel (else shape_mismatch). */
SumiTensor *sumi_tensor_reshape (SumiTensor *t, const SumiShape *shape, GError **error);
/* Rows [start, start+n) of the first dimension, sharing memory; shape_mismatch also where a block would be cut. */
SumiTensor *sumi_tensor_slice0 (SumiTensor *t, gint64 start, gint64 n, GError **error);
gboolean    sumi_tensor_is_finite (const SumiTensor *t);
/* Tells the system that a mapped tensor will not be read soon: its pages no longer count as this process's memory, and
 * come back from the file when it is read again.  Does nothing to other tensors. */
void        sumi_tensor_forget_pages (const SumiTensor *t);

G_END_DECLS
