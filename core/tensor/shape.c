/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tensor/tensor.h"

#include <string.h>

gint64
sumi_shape_numel (const SumiShape *s)
{
  gint64 n = 1;
  for (guint i = 0; i < s->rank; i++)
    n *= s->d[i];
  return n;
}

gboolean
sumi_shape_equal (const SumiShape *a, const SumiShape *b)
{
  return a->rank == b->rank && memcmp (a->d, b->d, a->rank * sizeof a->d[0]) == 0;
}

gboolean
sumi_shape_checked_numel (const SumiShape *s, gint64 *numel)
{
  gint64 n = 1;
  gboolean empty = FALSE;

  /* A zero does not excuse an overflow of the other dimensions: part products (strides) are computed too. */
  for (guint i = 0; i < s->rank; i++)
    {
      if (s->d[i] < 0)
        return FALSE;
      if (s->d[i] == 0)
        empty = TRUE;
      else if (__builtin_mul_overflow (n, s->d[i], &n))
        return FALSE;
    }
  *numel = empty ? 0 : n;
  return TRUE;
}

char *
sumi_shape_to_string (const SumiShape *s)
{
  GString *text = g_string_new ("(");
  for (guint i = 0; i < s->rank; i++)
    g_string_append_printf (text, i > 0 ? ",%" G_GINT64_FORMAT : "%" G_GINT64_FORMAT, s->d[i]);
  g_string_append_c (text, ')');
  return g_string_free (text, FALSE);
}
