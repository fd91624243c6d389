/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Little-endian numbers and stretches of bytes from memory that ends somewhere.
 * FALSE: not enough is left; nothing has been taken then. */
#pragma once

#include <string.h>

#include <glib.h>

G_BEGIN_DECLS

typedef struct
{
  const guint8 *p, *end;
} SumiReader;

static inline gsize
sumi_reader_left (const SumiReader *r)
{
  return (gsize)(r->end - r->p);
}

static inline gboolean
sumi_reader_take (SumiReader *r, guint64 n, const guint8 **bytes)
{
  if (n > sumi_reader_left (r))
    return FALSE;
  *bytes = r->p;
  r->p += n;
  return TRUE;
}

/* Numbers of n <= 8 bytes, without sign. */
static inline gboolean
sumi_reader_take_uint (SumiReader *r, guint n, guint64 *value)
{
  const guint8 *bytes;

  if (!sumi_reader_take (r, n, &bytes))
    return FALSE;
  *value = 0;
  for (guint i = 0; i < n; i++)
    *value |= (guint64)bytes[i] << 8 * i;
  return TRUE;
}

G_END_DECLS
