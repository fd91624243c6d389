/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/png-text.h"

#include <string.h>

#include <gio/gio.h>

#include "io/plain-file.h"

#define SIGNATURE "\x89PNG\r\n\x1a\n"
#define CHUNK_OVERHEAD 12 /* length, type, CRC */

typedef struct
{
  const guint8 *p, *end;
} Slice;

static guint32
load_u32 (const guint8 *p)
{
  return (guint32)p[0] << 24 | (guint32)p[1] << 16 | (guint32)p[2] << 8 | p[3];
}

/* CRC-32 of ISO 3309, as annex D of the specification has it. */
static guint32
crc32 (const guint8 *p, gsize size)
{
  guint32 crc = 0xffffffff;

  for (gsize i = 0; i < size; i++)
    {
      crc ^= p[i];
      for (int k = 0; k < 8; k++)
        crc = crc & 1 ? 0xedb88320 ^ crc >> 1 : crc >> 1;
    }
  return ~crc;
}

/* The bytes up to the next zero, which is passed; FALSE when there is none. */
static gboolean
take_string (Slice *s, Slice *string)
{
  const guint8 *zero = memchr (s->p, 0, (gsize)(s->end - s->p));

  if (zero == NULL)
    return FALSE;
  *string = (Slice){ s->p, zero };
  s->p = zero + 1;
  return TRUE;
}

static gboolean
refuse (GError **error, SumiError code, const char *what)
{
  g_set_error_literal (error, SUMI_ERROR, code, what);
  return FALSE;
}

/* zlib data, at most SUMI_PNG_MAX_TEXT bytes of it; NULL on error. */
static GByteArray *
inflate (Slice s, GError **error)
{
  g_autoptr (GConverter) zlib = G_CONVERTER (g_zlib_decompressor_new (G_ZLIB_COMPRESSOR_FORMAT_ZLIB));
  g_autoptr (GByteArray) out = g_byte_array_sized_new (4096);
  GConverterResult result = G_CONVERTER_CONVERTED;

  while (result != G_CONVERTER_FINISHED)
    {
      guint8 buffer[4096];
      gsize n_read = 0, n_written = 0;

      result = g_converter_convert (zlib, s.p, (gsize)(s.end - s.p), buffer, sizeof buffer, G_CONVERTER_INPUT_AT_END,
                                    &n_read, &n_written, NULL);
      if (result == G_CONVERTER_ERROR)
        {
          refuse (error, SUMI_ERROR_BAD_HEADER, "PNG: found a text that is damaged, expected zlib data");
          return NULL;
        }
      if (out->len + n_written > SUMI_PNG_MAX_TEXT)
        {
          refuse (error, SUMI_ERROR_TOO_LARGE, "PNG: found a text of more than 4 MiB when decompressed");
          return NULL;
        }
      s.p += n_read;
      g_byte_array_append (out, buffer, (guint)n_written);
    }
  return g_steal_pointer (&out);
}

static char *
latin1_to_utf8 (const guint8 *text, gsize length)
{
  GString *utf8 = g_string_sized_new (length);

  for (gsize i = 0; i < length; i++)
    g_string_append_unichar (utf8, text[i]);
  return g_string_free (utf8, FALSE);
}

/* Up to a zero byte, if there is one. */
static char *
text_to_utf8 (Slice s, gboolean is_utf8, GError **error)
{
  gsize length = strnlen ((const char *)s.p, (gsize)(s.end - s.p));

  if (!is_utf8)
    return latin1_to_utf8 (s.p, length);
  if (g_utf8_validate_len ((const char *)s.p, length, NULL))
    return g_strndup ((const char *)s.p, length);
  refuse (error, SUMI_ERROR_BAD_HEADER, "PNG: found an international text that is not UTF-8");
  return NULL;
}

/* What follows the keyword in a zTXt (method | data) or iTXt (compressed? | method | language\0 | keyword\0 | data)
 * becomes the data alone. */
static gboolean
take_text_fields (Slice *s, gboolean international, gboolean *compressed, GError **error)
{
  Slice ignored;
  gsize n = international ? 2 : 1;

  if ((gsize)(s->end - s->p) < n)
    return refuse (error, SUMI_ERROR_BAD_HEADER, "PNG: found a text chunk that ends within its fields");
  *compressed = !international || s->p[0] != 0;
  if (*compressed && s->p[n - 1] != 0)
    return refuse (error, SUMI_ERROR_BAD_HEADER, "PNG: found an unknown compression of a text");
  s->p += n;
  if (international && (!take_string (s, &ignored) || !take_string (s, &ignored)))
    return refuse (error, SUMI_ERROR_BAD_HEADER, "PNG: found a text chunk that ends within its fields");
  return TRUE;
}

/* The text of a chunk whose keyword has been passed. */
static char *
read_text (const guint8 *type, Slice s, GError **error)
{
  gboolean international = type[0] == 'i', compressed = FALSE;
  g_autoptr (GByteArray) inflated = NULL;

  if (type[0] != 't' && !take_text_fields (&s, international, &compressed, error))
    return NULL;
  if (compressed)
    {
      inflated = inflate (s, error);
      if (inflated == NULL)
        return NULL;
      s = (Slice){ inflated->data, inflated->data + inflated->len };
    }
  if (s.end - s.p > SUMI_PNG_MAX_TEXT)
    {
      refuse (error, SUMI_ERROR_TOO_LARGE, "PNG: found a text of more than 4 MiB");
      return NULL;
    }
  return text_to_utf8 (s, international, error);
}

static gboolean
is_text (const guint8 *type)
{
  return memcmp (type, "tEXt", 4) == 0 || memcmp (type, "zTXt", 4) == 0 || memcmp (type, "iTXt", 4) == 0;
}

static gboolean
is_keyword (Slice s, const char *key)
{
  return (gsize)(s.end - s.p) == strlen (key) && memcmp (s.p, key, strlen (key)) == 0;
}

char *
sumi_png_parse_text (const guint8 *data, gsize size, const char *key, GError **error)
{
  Slice file = { data, data + size };

  if (size < strlen (SIGNATURE) || memcmp (data, SIGNATURE, strlen (SIGNATURE)) != 0)
    {
      refuse (error, SUMI_ERROR_UNSUPPORTED_FORMAT, "found another file, expected a PNG");
      return NULL;
    }
  file.p += strlen (SIGNATURE);
  while (file.end - file.p >= CHUNK_OVERHEAD && load_u32 (file.p) <= (gsize)(file.end - file.p) - CHUNK_OVERHEAD)
    {
      const guint8 *type = file.p + 4;
      Slice chunk = { type + 4, type + 4 + load_u32 (file.p) }, keyword;

      if (memcmp (type, "IEND", 4) == 0)
        return NULL;
      file.p = chunk.end + 4;
      if (!is_text (type) || !take_string (&chunk, &keyword) || !is_keyword (keyword, key))
        continue;
      if (crc32 (type, (gsize)(chunk.end - type)) == load_u32 (chunk.end))
        return read_text (type, chunk, error);
      refuse (error, SUMI_ERROR_BAD_HEADER, "PNG: found a damaged text chunk (its CRC differs)");
      return NULL;
    }
  refuse (error, SUMI_ERROR_TRUNCATED, "PNG: found its end within a chunk, expected IEND");
  return NULL;
}

char *
sumi_png_read_text (const char *path, const char *key, GError **error)
{
  g_autoptr (GBytes) bytes = sumi_plain_file_map (path, error);
  GError *wrong = NULL;
  char *text;
  gsize size;

  if (bytes == NULL)
    return NULL;
  text = sumi_png_parse_text (g_bytes_get_data (bytes, &size), g_bytes_get_size (bytes), key, &wrong);
  if (wrong != NULL)
    g_propagate_prefixed_error (error, wrong, "%s: ", path);
  return text;
}
