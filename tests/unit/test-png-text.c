/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files of text chunks made here; those that other programs write are in unit-image (libpng). */
#include "io/png-text.h"

#include <string.h>

#include <gio/gio.h>

static const guint8 signature[] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
static const guint8 end_chunk[] = { 0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xae, 0x42, 0x60, 0x82 };

/* Division of polynomials bit by bit, from the definition: 32 zeros appended, first 32 bits inverted. */
static guint32
crc_by_definition (const guint8 *data, gsize size)
{
  guint32 remainder = 0;

  for (gsize bit = 0; bit < 8 * (size + 4); bit++)
    {
      guint32 next = bit < 8 * size ? data[bit / 8] >> bit % 8 & 1 : 0, top = remainder >> 31;
      remainder = remainder << 1 | (next ^ (bit < 32));
      if (top)
        remainder ^= 0x04c11db7;
    }
  for (guint i = 0; i < 16; i++) /* bits are sent lowest first */
    {
      guint32 low = remainder >> i & 1, high = remainder >> (31 - i) & 1;
      remainder = (remainder & ~(1u << i) & ~(1u << (31 - i))) | low << (31 - i) | high << i;
    }
  return ~remainder;
}

static void
append_u32 (GByteArray *file, guint32 value)
{
  guint32 big = GUINT32_TO_BE (value);
  g_byte_array_append (file, (const guint8 *)&big, 4);
}

static void
append_chunk (GByteArray *file, const char *type, const void *head, gsize n_head, const void *tail, gsize n_tail)
{
  guint start = file->len + 4;

  append_u32 (file, (guint32)(n_head + n_tail));
  g_byte_array_append (file, (const guint8 *)type, 4);
  g_byte_array_append (file, head, (guint)n_head);
  g_byte_array_append (file, tail, (guint)n_tail);
  append_u32 (file, crc_by_definition (file->data + start, file->len - start));
}

static GByteArray *
png_new (void)
{
  GByteArray *file = g_byte_array_new ();
  g_byte_array_append (file, signature, sizeof signature);
  return file;
}

static GBytes *
compress (const void *data, gsize size)
{
  g_autoptr (GConverter) zlib = G_CONVERTER (g_zlib_compressor_new (G_ZLIB_COMPRESSOR_FORMAT_ZLIB, 9));
  gsize room = size + 1024, n_read, n_written;
  guint8 *out = g_malloc (room);

  g_assert_cmpint (
      g_converter_convert (zlib, data, size, out, room, G_CONVERTER_INPUT_AT_END, &n_read, &n_written, NULL), ==,
      G_CONVERTER_FINISHED);
  return g_bytes_new_take (out, n_written);
}

static char *
parse (GByteArray *file, const char *key, GError **error)
{
  return sumi_png_parse_text (file->data, file->len, key, error);
}

#define LITERAL(TEXT) (TEXT), sizeof (TEXT) - 1

static void
test_kinds (void)
{
  static const struct
  {
    const char *key, *want;
  } rows[] = { { "latin", "a\nf\303\274chs" },
               { "squeezed", "twice twice" },
               { "wide", "\347\213\220" },
               { "both", "\347\213\220\347\213\220" },
               { "late", "x" },
               { "empty", "" },
               { "none", NULL },
               { "lati", NULL } };
  g_autoptr (GByteArray) file = png_new ();
  g_autoptr (GBytes) squeezed = compress (LITERAL ("twice twice")),
                     both = compress (LITERAL ("\347\213\220\347\213\220")), empty = compress (LITERAL (""));

  append_chunk (file, "IHDR", LITERAL ("0123456789abc"), NULL, 0);
  append_chunk (file, "tEXt", LITERAL ("latin\0"), LITERAL ("a\nf\374chs"));
  append_chunk (file, "tEXt", LITERAL ("latin\0"), LITERAL ("the first wins"));
  append_chunk (file, "tEXt", LITERAL ("no zero in it"), NULL, 0);
  append_chunk (file, "zTXt", LITERAL ("squeezed\0\0"), g_bytes_get_data (squeezed, NULL), g_bytes_get_size (squeezed));
  append_chunk (file, "zTXt", LITERAL ("empty\0\0"), g_bytes_get_data (empty, NULL), g_bytes_get_size (empty));
  append_chunk (file, "iTXt", LITERAL ("wide\0\0\0ja\0\345\220\0"), LITERAL ("\347\213\220"));
  append_chunk (file, "iTXt", LITERAL ("both\0\1\0\0\0"), g_bytes_get_data (both, NULL), g_bytes_get_size (both));
  append_chunk (file, "IDAT", LITERAL ("tEXtnone"), NULL, 0);
  append_chunk (file, "tEXt", LITERAL ("late\0"), LITERAL ("x"));
  g_byte_array_append (file, end_chunk, sizeof end_chunk);
  append_chunk (file, "tEXt", LITERAL ("none\0"), LITERAL ("after the end"));

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autofree char *text = parse (file, rows[i].key, &error);

      g_assert_no_error (error);
      g_assert_cmpstr (text, ==, rows[i].want);
    }
}

static void
test_refused (void)
{
  static const struct
  {
    const char *type, *data;
    gsize size;
  } rows[] = {
    { "zTXt", LITERAL ("key\0") },
    { "zTXt", LITERAL ("key\0\1xxxxxxxx") },
    { "zTXt", LITERAL ("key\0\0nonsense") },
    { "zTXt", LITERAL ("key\0\0") },
    { "iTXt", LITERAL ("key\0\0") },
    { "iTXt", LITERAL ("key\0\0\0en") },
    { "iTXt", LITERAL ("key\0\0\0\0\0\377") },
    { "iTXt", LITERAL ("key\0\1\7\0\0x") },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (GByteArray) file = png_new ();
      g_autoptr (GError) error = NULL;

      append_chunk (file, rows[i].type, rows[i].data, rows[i].size, NULL, 0);
      g_assert_null (parse (file, "key", &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER);
    }
}

static void
test_damaged (void)
{
  g_autoptr (GByteArray) file = png_new ();
  g_autoptr (GError) error = NULL;
  g_autofree char *other = NULL;

  g_assert_null (sumi_png_parse_text ((const guint8 *)"GIF89a.....", 11, "key", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT);
  g_clear_error (&error);
  append_chunk (file, "tEXt", LITERAL ("key\0"), LITERAL ("text"));
  for (guint n = sizeof signature; n < file->len; n++)
    {
      g_assert_null (sumi_png_parse_text (file->data, n, "key", &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_TRUNCATED);
      g_clear_error (&error);
    }
  g_assert_null (parse (file, "another", &error)); /* no IEND */
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_TRUNCATED);
  g_clear_error (&error);
  file->data[file->len - 5] ^= 1;
  g_assert_null (parse (file, "key", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER);
}

/* 5 MiB in 5 KiB, and as they are. */
static void
test_too_large (void)
{
  gsize size = 5 << 20;
  g_autofree char *text = g_malloc (size);
  g_autoptr (GBytes) squeezed = NULL;

  memset (text, 'a', size);
  squeezed = compress (text, size);
  for (int i = 0; i < 2; i++)
    {
      g_autoptr (GByteArray) file = png_new ();
      g_autoptr (GError) error = NULL;

      if (i == 0)
        append_chunk (file, "zTXt", LITERAL ("key\0\0"), g_bytes_get_data (squeezed, NULL),
                      g_bytes_get_size (squeezed));
      else
        append_chunk (file, "tEXt", LITERAL ("key\0"), text, size);
      g_assert_null (parse (file, "key", &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE);
    }
}

static void
test_path (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (sumi_png_read_text ("/nowhere/at-all.png", "key", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/png-text/kinds", test_kinds);
  g_test_add_func ("/png-text/refused", test_refused);
  g_test_add_func ("/png-text/damaged", test_damaged);
  g_test_add_func ("/png-text/too-large", test_too_large);
  g_test_add_func ("/png-text/path", test_path);
  return g_test_run ();
}
