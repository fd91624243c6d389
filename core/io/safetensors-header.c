/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/safetensors-header.h"

#include <string.h>

/* Far above any known file; together with the format's own limit on the header's length they bound the memory that a
 * header can make us use. */
#define MAX_TENSORS (1 << 17)
#define MAX_NAME 1024

typedef struct
{
  const char *start, *p, *end;
  GError **error;
} Scanner;

static gboolean fail (Scanner *s, SumiError code, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* Always FALSE. */
static gboolean
fail (Scanner *s, SumiError code, const char *format, ...)
{
  g_autofree char *what = NULL;
  va_list args;

  va_start (args, format);
  what = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (s->error, SUMI_ERROR, code, "header, byte %" G_GSIZE_FORMAT ": %s", (gsize)(s->p - s->start), what);
  return FALSE;
}

static void
skip_space (Scanner *s)
{
  while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
    s->p++;
}

/* Goes past c, when c comes next. */
static gboolean
accept (Scanner *s, char c)
{
  skip_space (s);
  if (s->p == s->end || *s->p != c)
    return FALSE;
  s->p++;
  return TRUE;
}

static gboolean
expect (Scanner *s, char c)
{
  if (accept (s, c))
    return TRUE;
  if (s->p == s->end)
    return fail (s, SUMI_ERROR_BAD_HEADER, "found its end, expected '%c'", c);
  return fail (s, SUMI_ERROR_BAD_HEADER, "found '%c', expected '%c'", g_ascii_isprint (*s->p) ? *s->p : '?', c);
}

/* ---- strings ---- */

static gboolean
scan_hex4 (Scanner *s, gunichar *value)
{
  *value = 0;
  for (int i = 0; i < 4; i++, s->p++)
    {
      if (s->p == s->end || !g_ascii_isxdigit (*s->p))
        return fail (s, SUMI_ERROR_BAD_HEADER, "expected four hexadecimal digits after \\u");
      *value = *value << 4 | (gunichar)g_ascii_xdigit_value (*s->p);
    }
  return TRUE;
}

/* After \u: a character, or a pair of surrogates. A zero could not be told from the end of a name. */
static gboolean
scan_unicode_escape (Scanner *s, GString *out)
{
  gunichar c, low;

  if (!scan_hex4 (s, &c))
    return FALSE;
  if (c >= 0xd800 && c < 0xdc00)
    {
      if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
        return fail (s, SUMI_ERROR_BAD_HEADER, "half a surrogate pair");
      s->p += 2;
      if (!scan_hex4 (s, &low))
        return FALSE;
      if (low < 0xdc00 || low >= 0xe000)
        return fail (s, SUMI_ERROR_BAD_HEADER, "half a surrogate pair");
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
  if (c == 0 || (c >= 0xd800 && c < 0xe000))
    return fail (s, SUMI_ERROR_BAD_HEADER, "found \\u%04x in a string", (guint)c);
  g_string_append_unichar (out, c);
  return TRUE;
}

static gboolean
scan_escape (Scanner *s, GString *out)
{
  static const char codes[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  const char *code;

  if (s->p == s->end)
    return fail (s, SUMI_ERROR_BAD_HEADER, "a string does not end");
  if (*s->p == 'u')
    {
      s->p++;
      return scan_unicode_escape (s, out);
    }
  code = memchr (codes, *s->p, sizeof codes - 1);
  if (code == NULL)
    return fail (s, SUMI_ERROR_BAD_HEADER, "an unknown escape in a string");
  g_string_append_c (out, values[code - codes]);
  s->p++;
  return TRUE;
}

/* The text is known to be UTF-8. NULL on error. */
static char *
scan_string (Scanner *s)
{
  g_autoptr (GString) out = NULL;

  if (!expect (s, '"'))
    return NULL;
  out = g_string_new (NULL);
  for (;;)
    {
      const char *plain = s->p;

      while (s->p < s->end && *s->p != '"' && *s->p != '\\' && (guchar)*s->p >= 0x20)
        s->p++;
      g_string_append_len (out, plain, s->p - plain);
      if (s->p == s->end || (guchar)*s->p < 0x20)
        {
          fail (s, SUMI_ERROR_BAD_HEADER, "a string does not end");
          return NULL;
        }
      if (*s->p++ == '"')
        return g_string_free (g_steal_pointer (&out), FALSE);
      if (!scan_escape (s, out))
        return NULL;
    }
}

/* ---- lists of integers ---- */

/* A non-negative integer, and nothing else that JSON calls a number. */
static gboolean
scan_integer (Scanner *s, SumiError code, guint64 *value)
{
  const char *first;

  skip_space (s);
  first = s->p;
  for (*value = 0; s->p < s->end && g_ascii_isdigit (*s->p); s->p++)
    if (__builtin_mul_overflow (*value, 10, value) || __builtin_add_overflow (*value, (guint64)(*s->p - '0'), value)
        || *value > G_MAXINT64)
      return fail (s, code, "found a number above 2^63-1");
  if (s->p == first && s->p < s->end && *s->p == '-')
    return fail (s, code, "found a negative number, expected an integer from 0");
  if (s->p == first)
    return fail (s, SUMI_ERROR_BAD_HEADER, "expected an integer from 0");
  if (s->p < s->end && (*s->p == '.' || *s->p == 'e' || *s->p == 'E'))
    return fail (s, code, "found a number with a fraction or an exponent, expected an integer");
  if (*first == '0' && s->p - first > 1)
    return fail (s, SUMI_ERROR_BAD_HEADER, "found an integer with leading zeros");
  return TRUE;
}

/* [a, b, …]: at most `max` of them */
static gboolean
scan_integers (Scanner *s, SumiError code, guint max, guint64 *values, guint *n)
{
  *n = 0;
  if (!expect (s, '['))
    return FALSE;
  if (accept (s, ']'))
    return TRUE;
  do
    {
      if (*n == max)
        return fail (s, code, "found more than %u numbers in a list", max);
      if (!scan_integer (s, code, &values[(*n)++]))
        return FALSE;
    }
  while (accept (s, ','));
  return expect (s, ']');
}

/* ---- the fields of a tensor ---- */

static gboolean
scan_dtype (Scanner *s, SumiSafetensorsEntry *e)
{
  g_autofree char *name = scan_string (s);

  if (name == NULL)
    return FALSE;
  if (!sumi_dtype_from_name (name, &e->dtype) || sumi_dtype_is_quantised (e->dtype))
    return fail (s, SUMI_ERROR_UNSUPPORTED_DTYPE,
                 "%s: found dtype '%.32s', expected F32, F16, BF16 or another known one", e->name, name);
  return TRUE;
}

static gboolean
scan_shape (Scanner *s, SumiSafetensorsEntry *e)
{
  guint64 d[SUMI_MAX_RANK];

  if (!scan_integers (s, SUMI_ERROR_BAD_SHAPE, SUMI_MAX_RANK, d, &e->shape.rank))
    return FALSE;
  for (guint i = 0; i < e->shape.rank; i++)
    e->shape.d[i] = (gint64)d[i];
  return TRUE;
}

static gboolean
scan_offsets (Scanner *s, SumiSafetensorsEntry *e)
{
  guint64 offsets[2];
  guint n;

  if (!scan_integers (s, SUMI_ERROR_BAD_OFFSETS, 2, offsets, &n))
    return FALSE;
  if (n != 2 || offsets[1] < offsets[0])
    return fail (s, SUMI_ERROR_BAD_OFFSETS, "%s: expected data_offsets [BEGIN, END] with BEGIN <= END", e->name);
  e->begin = offsets[0];
  e->end = offsets[1];
  return TRUE;
}

/* Do dtype, shape and offsets say the same size? */
static gboolean
check_size (Scanner *s, const SumiSafetensorsEntry *e)
{
  gint64 numel;
  guint64 size;

  if (!sumi_shape_checked_numel (&e->shape, &numel)
      || __builtin_mul_overflow ((guint64)numel, sumi_dtype_size (e->dtype), &size) || size > G_MAXINT64)
    return fail (s, SUMI_ERROR_BAD_SHAPE, "%s: the shape has too many elements", e->name);
  if (size != e->end - e->begin)
    return fail (s, SUMI_ERROR_BAD_OFFSETS,
                 "%s: found %" G_GUINT64_FORMAT " bytes, expected %" G_GUINT64_FORMAT " for its shape", e->name,
                 e->end - e->begin, size);
  return TRUE;
}

/* {"dtype": …, "shape": …, "data_offsets": …} in any order, each once, nothing else */
static gboolean
scan_tensor (Scanner *s, SumiSafetensorsEntry *e)
{
  static const struct
  {
    const char *name;
    gboolean (*scan) (Scanner *s, SumiSafetensorsEntry *e);
  } fields[] = { { "dtype", scan_dtype }, { "shape", scan_shape }, { "data_offsets", scan_offsets } };
  guint seen = 0;

  if (!expect (s, '{'))
    return FALSE;
  do
    {
      g_autofree char *key = scan_string (s);
      guint i = 0;

      if (key == NULL || !expect (s, ':'))
        return FALSE;
      while (i < G_N_ELEMENTS (fields) && strcmp (key, fields[i].name) != 0)
        i++;
      if (i == G_N_ELEMENTS (fields) || seen & 1u << i)
        return fail (s, SUMI_ERROR_BAD_HEADER, "%s: found '%.32s', expected dtype, shape and data_offsets once each",
                     e->name, key);
      seen |= 1u << i;
      if (!fields[i].scan (s, e))
        return FALSE;
    }
  while (accept (s, ','));
  if (!expect (s, '}'))
    return FALSE;
  if (seen != (1u << G_N_ELEMENTS (fields)) - 1)
    return fail (s, SUMI_ERROR_BAD_HEADER, "%s: expected dtype, shape and data_offsets", e->name);
  return check_size (s, e);
}

/* ---- the header ---- */

/* {"key": "value", …} */
static gboolean
scan_metadata (Scanner *s, GHashTable *metadata)
{
  if (!expect (s, '{'))
    return FALSE;
  if (accept (s, '}'))
    return TRUE;
  do
    {
      g_autofree char *key = scan_string (s);
      char *value;

      if (key == NULL || !expect (s, ':'))
        return FALSE;
      if (g_hash_table_contains (metadata, key))
        return fail (s, SUMI_ERROR_BAD_HEADER, "found '%.64s' twice in " SUMI_SAFETENSORS_METADATA, key);
      value = scan_string (s);
      if (value == NULL)
        return FALSE;
      g_hash_table_insert (metadata, g_steal_pointer (&key), value);
    }
  while (accept (s, ','));
  return expect (s, '}');
}

static gboolean
scan_header (Scanner *s, GArray *entries, GHashTable *metadata)
{
  g_autoptr (GHashTable) names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  if (!expect (s, '{'))
    return FALSE;
  if (accept (s, '}'))
    return TRUE;
  do
    {
      char *name = scan_string (s);
      SumiSafetensorsEntry e = { .name = name };

      if (name == NULL)
        return FALSE;
      if (!g_hash_table_add (names, name))
        return fail (s, SUMI_ERROR_BAD_HEADER, "found the name '%.64s' twice", name);
      if (strlen (name) > MAX_NAME)
        return fail (s, SUMI_ERROR_BAD_HEADER, "found a name of more than %d bytes", MAX_NAME);
      if (!expect (s, ':'))
        return FALSE;
      if (strcmp (name, SUMI_SAFETENSORS_METADATA) == 0)
        {
          if (!scan_metadata (s, metadata))
            return FALSE;
          continue;
        }
      if (!scan_tensor (s, &e))
        return FALSE;
      if (entries->len == MAX_TENSORS)
        return fail (s, SUMI_ERROR_TOO_LARGE, "found more than %d tensors", MAX_TENSORS);
      e.name = g_strdup (name);
      g_array_append_val (entries, e);
    }
  while (accept (s, ','));
  return expect (s, '}');
}

void
sumi_safetensors_entry_clear (SumiSafetensorsEntry *e)
{
  g_clear_pointer (&e->name, g_free);
}

GArray *
sumi_safetensors_header_parse (const char *text, gsize length, GHashTable *metadata, GError **error)
{
  Scanner s = { text, text, text + length, error };
  g_autoptr (GArray) entries = g_array_new (FALSE, FALSE, sizeof (SumiSafetensorsEntry));

  g_array_set_clear_func (entries, (GDestroyNotify)sumi_safetensors_entry_clear);
  if (!g_utf8_validate_len (text, length, &s.p))
    {
      fail (&s, SUMI_ERROR_BAD_HEADER, "not UTF-8");
      return NULL;
    }
  s.p = text;
  if (!scan_header (&s, entries, metadata))
    return NULL;
  skip_space (&s);
  if (s.p < s.end)
    {
      fail (&s, SUMI_ERROR_BAD_HEADER, "found text after the closing brace");
      return NULL;
    }
  return g_steal_pointer (&entries);
}
