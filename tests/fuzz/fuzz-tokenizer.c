/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <string.h>

#include "nn/tokenizer.h"

const char *fuzz_outcome;

const char *const fuzz_tokens[] = { "a photo of",
                                    "'s",
                                    "'LL",
                                    "<|startoftext|>",
                                    "<|endoftext|>",
                                    "!!!",
                                    "İ",
                                    "Σ",
                                    "ς",
                                    "ß",
                                    "e\u0301",
                                    "\u0301\u0323",
                                    "가",
                                    "\u1100\u1161",
                                    "雪",
                                    "🦊",
                                    "👩\u200d🚀",
                                    "\u00a0",
                                    "\u200b",
                                    "\u3000",
                                    "\ufeff",
                                    "1234567890",
                                    "\xff",
                                    "\xc3",
                                    "\xed\xa0\x80",
                                    "A\u030a",
                                    " \t\r\n",
                                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                    "\u0327\u0327\u0327\u0327\u0327\u0327\u0327\u0327\u0327\u0327\u0327\u0327",
                                    NULL };

void
fuzz_repair (GByteArray *input)
{
  g_autofree char *valid = input->len > 0 ? g_utf8_make_valid ((const char *)input->data, input->len) : g_strdup ("");

  g_byte_array_set_size (input, 0);
  g_byte_array_append (input, (const guint8 *)valid, (guint)strlen (valid));
}

static SumiTokenizer *
the_tokenizer (void)
{
  static SumiTokenizer *tokenizer;

  if (tokenizer == NULL)
    {
      g_autofree char *merges = g_build_filename (g_getenv ("SUMI_DATADIR"), "clip", "merges.txt.gz", NULL);
      GError *error = NULL;

      tokenizer = sumi_tokenizer_open (merges, &error);
      g_assert_no_error (error);
    }
  return tokenizer;
}

/* A token never reaches across white space: the two sides of a space have their tokens each for themselves. */
static void
check_halves (const char *text)
{
  gsize size = strlen (text);
  const char *middle = g_utf8_find_prev_char (text, text + size / 2 + 1);
  g_autofree char *left = g_strndup (text, (gsize)(middle - text)), *both = g_strconcat (left, " ", middle, NULL);
  g_autoptr (GArray) all = sumi_tokenizer_encode (the_tokenizer (), both, NULL);
  g_autoptr (GArray) head = sumi_tokenizer_encode (the_tokenizer (), left, NULL);
  g_autoptr (GArray) tail = sumi_tokenizer_encode (the_tokenizer (), middle, NULL);

  if (all == NULL)
    return; /* the space was one byte too many */
  g_assert_nonnull (head);
  g_assert_nonnull (tail);
  g_array_append_vals (head, tail->data, tail->len);
  g_assert_cmpmem (all->data, all->len * sizeof (gint64), head->data, head->len * sizeof (gint64));
}

static void
check_padded (const char *text, const GArray *plain, gint64 pad_id)
{
  g_autoptr (GError) error = NULL;
  gint64 ids[SUMI_TOKEN_CONTEXT];
  guint cut, n;

  g_assert_true (sumi_tokenizer_encode_padded (the_tokenizer (), text, SUMI_TOKEN_CONTEXT, pad_id, ids, &cut, &error));
  g_assert_cmpint (ids[0], ==, SUMI_TOKEN_START);
  for (n = 1; ids[n] != SUMI_TOKEN_END; n++)
    g_assert_true (n < SUMI_TOKEN_CONTEXT - 1 && ids[n] >= 0 && ids[n] < SUMI_TOKEN_START);
  for (guint i = n + 1; i < SUMI_TOKEN_CONTEXT; i++)
    g_assert_cmpint (ids[i], ==, pad_id);
  g_assert_true (cut == 0 || n == SUMI_TOKEN_CONTEXT - 1);
  if (pad_id != 0)
    {
      g_assert_cmpuint (cut + n - 1, ==, plain->len);
      g_assert_cmpmem (ids + 1, (n - 1) * sizeof (gint64), plain->data, (n - 1) * sizeof (gint64));
    }
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) ids = sumi_tokenizer_encode (the_tokenizer (), text, &error);

  g_assert_true ((ids == NULL) == (error != NULL));
  fuzz_outcome = ids == NULL ? sumi_error_class (error) : ids->len == 0 ? "nothing" : "ok";
  if (ids == NULL)
    return 0;
  g_assert_cmpuint (ids->len, <=, 2 * strlen (text)); /* lower case may be longer: "İ" */
  for (guint i = 0; i < ids->len; i++)
    g_assert_true (g_array_index (ids, gint64, i) >= 0 && g_array_index (ids, gint64, i) < SUMI_TOKEN_START);
  check_padded (text, ids, SUMI_TOKEN_END);
  check_padded (text, ids, 0);
  check_halves (text);
  return 0;
}
