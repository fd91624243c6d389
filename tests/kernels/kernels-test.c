/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kernels-test.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

#define GUARD 256
#define GUARD_BYTE 0xa5

static const struct
{
  const char *name;
  SumiCpuFeatures features;
} levels[] = { { "generic", 0 }, { "avx2", SUMI_CPU_AVX2 }, { "avx512", SUMI_CPU_AVX2 | SUMI_CPU_AVX512 } };

static void
free_table (gpointer table)
{
  g_free (((Table *)table)->name);
  g_free (table);
}

void
add_tests (const char *name, void (*check) (gconstpointer table))
{
  for (guint i = 0; i < G_N_ELEMENTS (levels); i++)
    for (guint bf16 = 0; bf16 < 2; bf16++)
      {
        if ((sumi_cpu_features () & levels[i].features) != levels[i].features)
          continue;
        Table *t = g_new0 (Table, 1);
        t->dtype = bf16 ? SUMI_BF16 : SUMI_F32;
        t->k = sumi_kernels_get (levels[i].features, t->dtype);
        t->name = g_strdup_printf ("%s/%s", levels[i].name, bf16 ? "bf16" : "f32");
        char *path = g_strdup_printf ("/kernels/%s/%s", name, t->name);
        g_test_add_data_func_full (path, t, check, free_table);
        g_free (path);
      }
}

/* ---- values ---- */

static gsize
size_of (const Values *v)
{
  return (gsize)v->n * (v->dtype == SUMI_BF16 ? 2 : 4);
}

static Values *
allocate (SumiDType dtype, gint64 n)
{
  Values *v = g_new0 (Values, 1);
  v->dtype = dtype;
  v->n = n;
  const gsize size = size_of (v);
  v->memory = g_malloc (size + 2 * GUARD + 64);
  v->data = (guint8 *)(((gsize)v->memory + GUARD + 63) / 64 * 64);
  memset (v->memory, GUARD_BYTE, (gsize)((guint8 *)v->data - v->memory));
  memset ((guint8 *)v->data + size, GUARD_BYTE, GUARD);
  return v;
}

Values *
values_new (SumiDType dtype, gint64 n)
{
  Values *v = allocate (dtype, n);
  memset (v->data, 0xff, size_of (v));
  return v;
}

Values *
scratch_new (gsize bytes)
{
  return values_new (SUMI_F32, (gint64)(bytes + 3) / 4);
}

Values *
values_random (SumiDType dtype, gint64 n, double centre, double spread)
{
  Values *v = allocate (dtype, n);
  for (gint64 i = 0; i < n; i++)
    values_set (v, i, centre + spread * g_test_rand_double_range (-1., 1.));
  return v;
}

Values *
values_copy (const Values *v)
{
  Values *copy = allocate (v->dtype, v->n);
  memcpy (copy->data, v->data, size_of (v));
  return copy;
}

void
values_free (Values *v)
{
  for (guint8 *p = v->memory; p < (guint8 *)v->data; p++)
    g_assert_cmphex (*p, ==, GUARD_BYTE);
  for (guint i = 0; i < GUARD; i++)
    g_assert_cmphex (((guint8 *)v->data)[size_of (v) + i], ==, GUARD_BYTE);
  g_free (v->memory);
  g_free (v);
}

double
values_get (const Values *v, gint64 i)
{
  g_assert_true (i >= 0 && i < v->n);
  return v->dtype == SUMI_BF16 ? (double)sumi_bf16_to_f32 (((guint16 *)v->data)[i]) : (double)((float *)v->data)[i];
}

void
values_set (Values *v, gint64 i, double value)
{
  if (v->dtype == SUMI_BF16)
    ((guint16 *)v->data)[i] = sumi_bf16_from_f32 ((float)value);
  else
    ((float *)v->data)[i] = (float)value;
}

void
expect_near (const Table *t, const Values *v, gint64 i, double wanted, double relative, double absolute)
{
  const double found = values_get (v, i);
  const double half_unit = v->dtype == SUMI_BF16 ? ldexp (1., -8) * 1.001 : 0.;
  const double allowed = (relative + half_unit) * fabs (wanted) + absolute;
  if (fabs (found - wanted) <= allowed || (isinf (wanted) && found == wanted))
    return;
  g_test_message ("%s: value %" G_GINT64_FORMAT ": found %.9g, expected %.9g, allowed difference %.3g", t->name, i,
                  found, wanted, allowed);
  g_test_fail ();
  g_assert_cmpfloat_with_epsilon (found, wanted, allowed);
}

/* ---- trials ---- */

Trial
trial_begin (Values *out)
{
  return (Trial){ .out = out, .start = g_memdup2 (out->data, size_of (out)) };
}

gboolean
trial_next (Trial *trial)
{
  const gsize size = size_of (trial->out);
  if (trial->threads == 1)
    trial->first = g_memdup2 (trial->out->data, size);
  else if (trial->threads > 1)
    g_assert_cmpmem (trial->out->data, size, trial->first, size);
  if (++trial->threads <= 3)
    {
      omp_set_num_threads (trial->threads);
      memcpy (trial->out->data, trial->start, size);
      return TRUE;
    }
  g_free (trial->first);
  g_free (trial->start);
  return FALSE;
}

/* ---- shapes ---- */

gint64
random_between (gint64 low, gint64 high)
{
  return g_test_rand_int_range ((gint32)low, (gint32)high + 1);
}

SumiShape
random_shape (guint max_rank, gint64 max_numel)
{
  static const gint64 sizes[] = { 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 64, 130 };
  SumiShape s = { .rank = (guint)random_between (0, max_rank) };
  gint64 numel = 1;
  for (guint a = 0; a < s.rank; a++)
    {
      s.d[a] = sizes[random_between (0, G_N_ELEMENTS (sizes) - 1)];
      if (numel * s.d[a] > max_numel)
        s.d[a] = 1;
      numel *= s.d[a];
    }
  return s;
}

void
random_strides (const SumiShape *dims, guint broadcast, gint64 *strides)
{
  guint order[SUMI_MAX_RANK];
  gint64 stride = random_between (0, 5) == 0 ? 2 : 1;
  const gboolean shuffled = random_between (0, 2) != 0;

  for (guint a = 0; a < dims->rank; a++)
    order[a] = a;
  for (guint a = dims->rank; shuffled && a > 1; a--)
    {
      const guint b = (guint)random_between (0, a - 1), o = order[b];
      order[b] = order[a - 1];
      order[a - 1] = o;
    }
  for (guint i = dims->rank; i-- > 0;)
    {
      const guint a = order[i];
      strides[a] = broadcast >> a & 1 ? 0 : stride;
      if (strides[a] != 0)
        stride = stride * dims->d[a] + (random_between (0, 5) == 0 ? 3 : 0);
    }
}

gint64
extent_of (const SumiShape *dims, const gint64 *strides)
{
  gint64 last = 0;
  for (guint a = 0; a < dims->rank; a++)
    last += (dims->d[a] - 1) * strides[a];
  return last + 1;
}

gint64
offset_of (const SumiShape *dims, const gint64 *strides, gint64 index)
{
  gint64 offset = 0;
  for (guint a = dims->rank; a-- > 0;)
    {
      offset += index % dims->d[a] * strides[a];
      index /= dims->d[a];
    }
  return offset;
}
