/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unicode for the tokenizer. Character classes are GLib's; what it lacks are a few fixed ranges below
 * (Unicode Standard, sections 3.13 "Default Case Algorithms" and 4.6). */
#include "nn/tokenizer-text.h"

#include <string.h>

typedef struct
{
  gunichar first, last;
} Range;

static gboolean
in_ranges (gunichar c, const Range *ranges, guint n)
{
  for (guint i = 0; i < n; i++)
    if (c >= ranges[i].first && c <= ranges[i].last)
      return TRUE;
  return FALSE;
}

/* White_Space; g_unichar_isspace knows fewer. */
static gboolean
is_white_space (gunichar c)
{
  static const Range ranges[]
      = { { 0x09, 0x0d },     { 0x20, 0x20 },     { 0x85, 0x85 },     { 0xa0, 0xa0 },     { 0x1680, 0x1680 },
          { 0x2000, 0x200a }, { 0x2028, 0x2029 }, { 0x202f, 0x202f }, { 0x205f, 0x205f }, { 0x3000, 0x3000 } };

  return in_ranges (c, ranges, G_N_ELEMENTS (ranges));
}

static gboolean
is_letter (gunichar c)
{
  return g_unichar_isalpha (c); /* L* */
}

static gboolean
is_number (gunichar c)
{
  GUnicodeType t = g_unichar_type (c);

  return t == G_UNICODE_DECIMAL_NUMBER || t == G_UNICODE_LETTER_NUMBER || t == G_UNICODE_OTHER_NUMBER;
}

/* Case_Ignorable */
static gboolean
is_case_ignorable (gunichar c)
{
  static const Range ranges[] = { { 0x27, 0x27 },     { 0x2e, 0x2e },     { 0x3a, 0x3a },     { 0xb7, 0xb7 },
                                  { 0x387, 0x387 },   { 0x55f, 0x55f },   { 0x5f4, 0x5f4 },   { 0x2018, 0x2019 },
                                  { 0x2024, 0x2024 }, { 0x2027, 0x2027 }, { 0xfe13, 0xfe13 }, { 0xfe52, 0xfe52 },
                                  { 0xfe55, 0xfe55 }, { 0xff07, 0xff07 }, { 0xff0e, 0xff0e }, { 0xff1a, 0xff1a } };

  switch (g_unichar_type (c))
    {
    case G_UNICODE_NON_SPACING_MARK:
    case G_UNICODE_ENCLOSING_MARK:
    case G_UNICODE_FORMAT:
    case G_UNICODE_MODIFIER_LETTER:
    case G_UNICODE_MODIFIER_SYMBOL:
      return TRUE;
    default:
      return in_ranges (c, ranges, G_N_ELEMENTS (ranges));
    }
}

/* Cased, of the characters that are not Case_Ignorable */
static gboolean
is_cased (gunichar c)
{
  static const Range ranges[] = { { 0xaa, 0xaa },       { 0xba, 0xba },       { 0x2160, 0x217f },  { 0x24b6, 0x24e9 },
                                  { 0x1f130, 0x1f149 }, { 0x1f150, 0x1f169 }, { 0x1f170, 0x1f189 } };

  switch (g_unichar_type (c))
    {
    case G_UNICODE_UPPERCASE_LETTER:
    case G_UNICODE_LOWERCASE_LETTER:
    case G_UNICODE_TITLECASE_LETTER:
      return TRUE;
    default:
      return in_ranges (c, ranges, G_N_ELEMENTS (ranges));
    }
}

/* Σ is final when the nearest characters that are not Case_Ignorable are a cased one before and none after it. */
static gboolean
is_final_sigma (const char *text, const char *sigma)
{
  const char *p = sigma;
  gboolean before = FALSE;

  while (!before && p > text)
    {
      p = g_utf8_prev_char (p);
      if (is_case_ignorable (g_utf8_get_char (p)))
        continue;
      if (!is_cased (g_utf8_get_char (p)))
        return FALSE;
      before = TRUE;
    }
  if (!before)
    return FALSE;
  for (p = g_utf8_next_char (sigma); *p != '\0'; p = g_utf8_next_char (p))
    if (!is_case_ignorable (g_utf8_get_char (p)))
      return !is_cased (g_utf8_get_char (p));
  return TRUE;
}

static void
append_lower (GString *out, const char *text, const char *p)
{
  gunichar c = g_utf8_get_char (p);

  if (c == 0x3a3)
    g_string_append_unichar (out, is_final_sigma (text, p) ? 0x3c2 : 0x3c3);
  else if (c == 0x130)
    g_string_append (out, "i\u0307");
  else if (c >= 0x2160 && c <= 0x216f) /* Roman numerals and circled letters have a case, but are no letters */
    g_string_append_unichar (out, c + 0x10);
  else if (c >= 0x24b6 && c <= 0x24cf)
    g_string_append_unichar (out, c + 0x1a);
  else
    g_string_append_unichar (out, g_unichar_tolower (c));
}

char *
sumi_clip_normalize (const char *text)
{
  g_autofree char *nfc = g_utf8_normalize (text, -1, G_NORMALIZE_NFC);
  GString *out = g_string_sized_new (strlen (nfc));

  for (const char *p = nfc; *p != '\0'; p = g_utf8_next_char (p))
    append_lower (out, nfc, p);
  return g_string_free (out, FALSE);
}

/* Bytes of the contraction that begins here, or 0. */
static gsize
contraction (const char *p)
{
  static const char *const all[] = { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d" };

  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    if (g_str_has_prefix (p, all[i]))
      return strlen (all[i]);
  return 0;
}

static gboolean
is_other (gunichar c)
{
  return !is_white_space (c) && !is_letter (c) && !is_number (c);
}

const char *
sumi_clip_next_word (const char **p, gsize *length)
{
  const char *word = *p, *end;
  gunichar c;

  while (*word != '\0' && is_white_space (g_utf8_get_char (word)))
    word = g_utf8_next_char (word);
  if (*word == '\0')
    {
      *p = word;
      return NULL;
    }
  c = g_utf8_get_char (word);
  end = g_utf8_next_char (word);
  if (contraction (word) > 0)
    end = word + contraction (word);
  else if (!is_number (c))
    for (gboolean letters = is_letter (c); *end != '\0'; end = g_utf8_next_char (end))
      {
        gunichar next = g_utf8_get_char (end);

        if (letters ? !is_letter (next) : !is_other (next))
          break;
      }
  *length = (gsize)(end - word);
  *p = end;
  return word;
}
