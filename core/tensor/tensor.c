/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE
#include "tensor/tensor.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGNMENT 64

struct _SumiTensor
{
  gatomicrefcount refs;
  SumiDType dtype;
  gboolean writable; /* own memory */
  gboolean mapped;   /* a file's pages */
  SumiShape shape;
  gint64 numel;
  char *data; /* within bytes */
  GBytes *bytes;
};

/* The number of elements and bytes; FALSE (bad_shape) when they cannot be counted. */
static gboolean
count (SumiDType dtype, const SumiShape *shape, gint64 *numel, gsize *size, GError **error)
{
  guint length = sumi_dtype_block_length (dtype);

  if (shape->rank > SUMI_MAX_RANK || !sumi_shape_checked_numel (shape, numel)
      || __builtin_mul_overflow ((gsize)*numel / length, sumi_dtype_block_size (dtype), size) || *size > G_MAXSSIZE)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE,
                   "found a shape of rank %u with too many or fewer than no elements, "
                   "expected at most %d dimensions and 2^63 bytes",
                   shape->rank, SUMI_MAX_RANK);
      return FALSE;
    }
  if (*numel % length == 0)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE,
               "found %" G_GINT64_FORMAT " elements of %s, expected whole blocks of %u", *numel,
               sumi_dtype_name (dtype), length);
  return FALSE;
}

/* Takes over bytes. */
static SumiTensor *
tensor_new_taking (SumiDType dtype, const SumiShape *shape, gint64 numel, GBytes *bytes, char *data)
{
  SumiTensor *t = g_new0 (SumiTensor, 1);

  g_atomic_ref_count_init (&t->refs);
  t->dtype = dtype;
  t->shape = *shape;
  t->numel = numel;
  t->data = data;
  t->bytes = bytes;
  return t;
}

SumiTensor *
sumi_tensor_new (SumiDType dtype, const SumiShape *shape, GError **error)
{
  gint64 numel;
  gsize size;
  char *memory, *data;
  SumiTensor *t;

  if (!count (dtype, shape, &numel, &size, error))
    return NULL;
  /* calloc rather than aligned_alloc + memset: large blocks come zeroed from the system and stay untouched. */
  memory = calloc (1, size + ALIGNMENT);
  if (memory == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "no memory for a tensor of %" G_GSIZE_FORMAT " bytes",
                   size);
      return NULL;
    }
  data = memory + (ALIGNMENT - (guintptr)memory % ALIGNMENT) % ALIGNMENT;
  t = tensor_new_taking (dtype, shape, numel, g_bytes_new_with_free_func (data, size, free, memory), data);
  t->writable = TRUE;
  return t;
}

SumiTensor *
sumi_tensor_new_bytes (SumiDType dtype, const SumiShape *shape, GBytes *bytes, GError **error)
{
  gint64 numel;
  gsize size;

  if (!count (dtype, shape, &numel, &size, error))
    return NULL;
  if (g_bytes_get_size (bytes) != size)
    {
      g_autofree char *text = sumi_shape_to_string (shape);
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE,
                   "found %" G_GSIZE_FORMAT " bytes, expected %" G_GSIZE_FORMAT " for %s %s", g_bytes_get_size (bytes),
                   size, sumi_dtype_name (dtype), text);
      return NULL;
    }
  return tensor_new_taking (dtype, shape, numel, g_bytes_ref (bytes), (char *)g_bytes_get_data (bytes, NULL));
}

SumiTensor *
sumi_tensor_new_mapped (SumiDType dtype, const SumiShape *shape, GBytes *bytes, GError **error)
{
  SumiTensor *t = sumi_tensor_new_bytes (dtype, shape, bytes, error);

  if (t != NULL)
    t->mapped = TRUE;
  return t;
}

static gsize
bytes_of (SumiDType dtype, gint64 numel)
{
  return (gsize)numel / sumi_dtype_block_length (dtype) * sumi_dtype_block_size (dtype);
}

static SumiTensor *
tensor_new_copy (SumiDType dtype, const SumiShape *shape, const void *values, GError **error)
{
  SumiTensor *t = sumi_tensor_new (dtype, shape, error);
  if (t != NULL && t->numel > 0)
    memcpy (t->data, values, sumi_tensor_get_size (t));
  return t;
}

SumiTensor *
sumi_tensor_new_f32 (const SumiShape *shape, const float *values, GError **error)
{
  return tensor_new_copy (SUMI_F32, shape, values, error);
}

SumiTensor *
sumi_tensor_new_i64 (const SumiShape *shape, const gint64 *values, GError **error)
{
  return tensor_new_copy (SUMI_I64, shape, values, error);
}

SumiTensor *
sumi_tensor_ref (SumiTensor *t)
{
  g_atomic_ref_count_inc (&t->refs);
  return t;
}

void
sumi_tensor_unref (SumiTensor *t)
{
  if (t == NULL || !g_atomic_ref_count_dec (&t->refs))
    return;
  g_bytes_unref (t->bytes);
  g_free (t);
}

SumiDType
sumi_tensor_get_dtype (const SumiTensor *t)
{
  return t->dtype;
}

const SumiShape *
sumi_tensor_get_shape (const SumiTensor *t)
{
  return &t->shape;
}

gint64
sumi_tensor_get_numel (const SumiTensor *t)
{
  return t->numel;
}

gsize
sumi_tensor_get_size (const SumiTensor *t)
{
  return bytes_of (t->dtype, t->numel);
}

const void *
sumi_tensor_peek (const SumiTensor *t)
{
  return t->data;
}

void *
sumi_tensor_poke (SumiTensor *t)
{
  g_return_val_if_fail (t->writable, NULL);
  return t->data;
}

float *
sumi_tensor_poke_f32 (SumiTensor *t)
{
  g_return_val_if_fail (t->writable && t->dtype == SUMI_F32, NULL);
  return (float *)t->data;
}

const float *
sumi_tensor_peek_f32 (const SumiTensor *t)
{
  g_return_val_if_fail (t->dtype == SUMI_F32 && sumi_tensor_is_aligned (t), NULL);
  return (const float *)t->data;
}

gboolean
sumi_tensor_is_aligned (const SumiTensor *t)
{
  return sumi_dtype_is_quantised (t->dtype) || (guintptr)t->data % sumi_dtype_size (t->dtype) == 0;
}

static SumiTensor *
tensor_new_view (SumiTensor *t, const SumiShape *shape, gint64 numel, gsize offset)
{
  SumiTensor *view = tensor_new_taking (t->dtype, shape, numel, g_bytes_ref (t->bytes), t->data + offset);

  view->writable = t->writable;
  view->mapped = t->mapped;
  return view;
}

SumiTensor *
sumi_tensor_reshape (SumiTensor *t, const SumiShape *shape, GError **error)
{
  gint64 numel;

  if (!sumi_shape_checked_numel (shape, &numel) || numel != t->numel)
    {
      g_autofree char *found = sumi_shape_to_string (&t->shape), *wanted = sumi_shape_to_string (shape);
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "reshape: found %s, expected as many elements as %s",
                   found, wanted);
      return NULL;
    }
  return tensor_new_view (t, shape, numel, 0);
}

SumiTensor *
sumi_tensor_slice0 (SumiTensor *t, gint64 start, gint64 n, GError **error)
{
  guint length = sumi_dtype_block_length (t->dtype);
  SumiShape shape = t->shape;
  gint64 row;

  if (shape.rank == 0 || start < 0 || n < 0 || start > shape.d[0] || n > shape.d[0] - start)
    {
      g_autofree char *text = sumi_shape_to_string (&t->shape);
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
                   "slice: found %s, expected %" G_GINT64_FORMAT " rows from row %" G_GINT64_FORMAT, text, n, start);
      return NULL;
    }
  row = shape.d[0] > 0 ? t->numel / shape.d[0] : 0;
  if (start * row % length != 0 || n * row % length != 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
                   "slice: found rows of %" G_GINT64_FORMAT " elements, expected whole blocks of %u for %s", row,
                   length, sumi_dtype_name (t->dtype));
      return NULL;
    }
  shape.d[0] = n;
  return tensor_new_view (t, &shape, n * row, bytes_of (t->dtype, start * row));
}

void
sumi_tensor_forget_pages (const SumiTensor *t)
{
  guintptr page = (guintptr)sysconf (_SC_PAGESIZE);
  guintptr start = (guintptr)t->data, end = start + sumi_tensor_get_size (t);

  /* Whole pages only: those at the ends are shared with the neighbours. */
  start = (start + page - 1) / page * page;
  end = end / page * page;
  if (t->mapped && end > start)
    madvise ((void *)start, end - start, MADV_DONTNEED); /* advice: nothing is lost when it is not taken */
}
