/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the kernels' tests share: every table that this processor can run, guarded memory, and trials that repeat a
 * kernel with 1, 2 and 3 threads and want the same bits. */
#pragma once

#include <omp.h>

#include "engine/cpu/kernels/kernels.h"

typedef struct
{
  const SumiKernels *k;
  SumiDType dtype;
  char *name; /* "avx2/f32" */
} Table;

/* Runs check for every table, as /kernels/NAME/LEVEL/DTYPE. */
void add_tests (const char *name, void (*check) (gconstpointer table));

/* Values between two guards that nothing may touch; 64-byte aligned. */
typedef struct
{
  SumiDType dtype; /* F32 or BF16 */
  gint64 n;
  guint8 *memory;
  void *data;
} Values;

Values *values_new (SumiDType dtype, gint64 n); /* filled with a pattern that is a NaN */
Values *values_random (SumiDType dtype, gint64 n, double centre, double spread); /* evenly about the centre */
Values *scratch_new (gsize bytes);
void values_free (Values *v); /* checks the guards */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Values, values_free)
double values_get (const Values *v, gint64 i);
void values_set (Values *v, gint64 i, double value); /* rounded to the dtype */
Values *values_copy (const Values *v);

/* |found - wanted| <= relative |wanted| + absolute; half a unit of bfloat16 is added where the values are such. */
void expect_near (const Table *t, const Values *v, gint64 i, double wanted, double relative, double absolute);

/* for (Trial trial = trial_begin (out); trial_next (&trial);) runs the body with 1, 2 and 3 threads; `out` must come
 * out the same. `out` is filled anew before each. */
typedef struct
{
  Values *out;
  int threads;
  guint8 *start, *first;
} Trial;

Trial trial_begin (Values *out);
gboolean trial_next (Trial *trial);

/* ---- shapes and strides ---- */
gint64 random_between (gint64 low, gint64 high);
SumiShape random_shape (guint max_rank, gint64 max_numel);
/* Of a dense array with its axes in random order, now and then with gaps; broadcast: bit a gives axis a stride 0. */
void random_strides (const SumiShape *dims, guint broadcast, gint64 *strides);
gint64 extent_of (const SumiShape *dims, const gint64 *strides); /* values from the first to the last */
gint64 offset_of (const SumiShape *dims, const gint64 *strides, gint64 index);
