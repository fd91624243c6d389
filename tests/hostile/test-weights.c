/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Weights made to harm, in every format: each file is opened by this program as its own child, which must say the
 * expected class of error, leave no trace and stay within 256 MiB. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gio/gio.h>
#include <glib/gstdio.h>

#include "../fuzz/archive.h"
#include "io/weights.h"

#define MEMORY_LIMIT_KIB (256 * 1024)
#define MARKER "ran" /* what code in a pickle would make */

static char *self;

/* ---- opening in a child ---- */

/* The child: the class of error, or "ok", on stdout. */
static int
open_and_tell (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) map = sumi_weights_open (path, &error);

  if ((map == NULL) != (error != NULL))
    return 1;
  for (guint i = 0; map != NULL && i < sumi_tensor_map_get_size (map); i++)
    sumi_tensor_is_finite (sumi_tensor_map_peek_nth (map, i)); /* reads all of it */
  g_print ("%s %s", map != NULL ? "ok" : sumi_error_class (error), map != NULL ? "" : error->message);
  return 0;
}

/* In `folder`, where nothing may be left but what was there. expect: class, a space, part of the message. */
static void
check_open (const char *folder, const char *file, const char *expect)
{
  char *argv[] = { self, "--open", (char *)file, NULL };
  const char *space = strchr (expect, ' ');
  g_autofree char *said = g_malloc0 (4096), *marker = g_build_filename (folder, MARKER, NULL);
  g_autofree char *class = space != NULL ? g_strndup (expect, (gsize)(space - expect)) : g_strdup (expect);
  g_autofree char *start = g_strconcat (class, " ", NULL);
  struct rusage usage;
  gsize length = 0;
  gssize n;
  int out, status;
  GPid pid;

  g_assert_true (g_spawn_async_with_pipes (folder, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL, &out,
                                           NULL, NULL));
  while ((n = read (out, said + length, 4095 - length)) > 0)
    length += (gsize)n;
  close (out);
  g_assert_cmpint (wait4 (pid, &status, 0, &usage), ==, pid);
  g_test_message ("%s", said);
  g_assert_true (WIFEXITED (status) && WEXITSTATUS (status) == 0);
  if ((strcmp (class, "any") != 0 && !g_str_has_prefix (said, start))
      || (space != NULL && strstr (said, space + 1) == NULL))
    g_error ("expected %s, the child said: %s", expect, said);
  g_assert_false (g_file_test (marker, G_FILE_TEST_EXISTS));
#ifndef __SANITIZE_ADDRESS__
  g_assert_cmpint (usage.ru_maxrss, <, MEMORY_LIMIT_KIB);
#endif
}

static void
check_bytes (const void *data, gsize size, const char *expect)
{
  g_autofree char *folder = g_dir_make_tmp ("sumi-test-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (folder, "file", NULL);

  g_assert_true (g_file_set_contents (path, data, (gssize)size, NULL));
  check_open (folder, "file", expect);
  g_assert_cmpint (g_unlink (path), ==, 0);
  g_assert_cmpint (g_rmdir (folder), ==, 0);
}

static void
check_array (GByteArray *a, const char *expect)
{
  check_bytes (a->data, a->len, expect);
}

static void
check_pickle (const void *pickle, gsize size, const char *expect)
{
  g_autoptr (GBytes) archive = archive_new_torch (pickle, size);
  check_bytes (g_bytes_get_data (archive, NULL), g_bytes_get_size (archive), expect);
}

/* ---- pickles ---- */

#define LITERAL(TEXT) (TEXT), sizeof (TEXT) - 1
#define COMMAND "X\11\0\0\0touch ran"
#define UNSAFE(WHAT) "unsafe_pickle found the " WHAT
#define UNSAFE_CALL(WHAT) "unsafe_pickle found a call of" WHAT
#define HUGE_INT "\212\10\0\0\0\0\0\0\0\100" /* LONG1: 2^62 */

/* A tensor of a storage of NUMEL floats, under the key 'a'. */
#define TENSOR_OF(KEY, NUMEL, OFFSET, SHAPE, STRIDE)                                                                   \
  "\200\2}X\1\0\0\0a"                                                                                                  \
  "ctorch._utils\n_rebuild_tensor_v2\n"                                                                                \
  "((X\7\0\0\0storagectorch\nFloatStorage\n" KEY "X\3\0\0\0cpu" NUMEL "tQ" OFFSET "(" SHAPE "t(" STRIDE "t\211NtRs."
#define TENSOR(NUMEL, OFFSET, SHAPE, STRIDE)                                                                           \
  TENSOR_OF ("X\1\0\0\0"                                                                                               \
             "0",                                                                                                      \
             NUMEL, OFFSET, SHAPE, STRIDE)

static const struct
{
  const char *code;
  gsize size;
  const char *expect;
} pickles[] = {
  { LITERAL (TENSOR ("K\20", "K\0", "K\4K\4", "K\4K\1")), "ok" },
  { LITERAL (TENSOR ("K\20", "K\0", "K\4K\4", "K\1K\4")), "ok" },

  /* code: by every instruction that can call or look up something */
  { LITERAL ("\200\2cposix\nsystem\n" COMMAND "\205R."), UNSAFE ("name posix.system") },
  { LITERAL ("\200\2cos\nsystem\n" COMMAND "\205R."), UNSAFE ("name os.system") },
  { LITERAL ("\200\2c__builtin__\neval\n" COMMAND "\205R."), UNSAFE ("name __builtin__.eval") },
  { LITERAL ("\200\2cbuiltins\ngetattr\n."), UNSAFE ("name builtins.getattr") },
  { LITERAL ("\200\4\214\2os\214\6system\223" COMMAND "\205R."), UNSAFE ("name os.system") },
  { LITERAL ("\200\4\214\5torch\214\4load\223" COMMAND "\205R."), UNSAFE ("name torch.load") },
  { LITERAL ("\200\2ccollections\nOrderedDict.update\n."), UNSAFE ("name collections.OrderedDict.update") },
  { LITERAL ("\200\2ctorch._utils\n_rebuild_tensor\n."), UNSAFE ("name torch._utils._rebuild_tensor") },
  { LITERAL ("\200\2cos\033[2J\nsystem\n."), UNSAFE ("name os?[2J.system") }, /* nothing for the terminal */
  { LITERAL ("(S'touch ran'\nios\nsystem\n."), UNSAFE ("instruction STRING") },
  { LITERAL ("\200\2(" COMMAND "ios\nsystem\n."), UNSAFE ("instruction INST") },
  { LITERAL ("\200\2(N" COMMAND "o."), UNSAFE ("instruction OBJ") },
  { LITERAL ("\200\2\202\1."), UNSAFE ("instruction EXT1") },
  { LITERAL ("\200\2Pos.system\n."), UNSAFE ("instruction PERSID") },
  { LITERAL ("\200\4N)}\222."), UNSAFE ("instruction NEWOBJ_EX") },
  { LITERAL ("\200\5\227."), UNSAFE ("instruction NEXT_BUFFER") },
  { LITERAL ("\200\2N)R."), UNSAFE_CALL (" a None") },
  { LITERAL ("\200\2X\11\0\0\0os.system" COMMAND "\205R."), UNSAFE_CALL (" a string") },
  { LITERAL ("\200\2ctorch\nFloatStorage\n)R."), UNSAFE_CALL (" torch.FloatStorage") },
  { LITERAL ("\200\2]}b."), UNSAFE ("instruction BUILD on a list") },
  { LITERAL ("\200\2ctorch\nFloatStorage\n}b."), UNSAFE ("instruction BUILD on a class") },
  /* the known names with what they do not expect: kept as nothing, or refused */
  { LITERAL ("\200\2c_codecs\nencode\n" COMMAND "\205R."), "ok" },
  { LITERAL ("\200\2ccollections\nOrderedDict\n" COMMAND "\205R."), "bad_header" },
  { LITERAL ("\200\2ctorch._utils\n_rebuild_tensor_v2\n)R."), "bad_header" },
  { LITERAL ("\200\2ctorch._utils\n_rebuild_parameter\nNNN\207R."), "bad_header" },
  { LITERAL ("\200\2NQ."), "bad_header" },
  { LITERAL ("\200\2(X\7\0\0\0storageNNNNtQ."), "bad_header" },

  /* the machine */
  { LITERAL (""), "truncated" },
  { LITERAL ("\200\2}"), "truncated" },
  { LITERAL ("\200\2X\377\377\377\377a."), "truncated" },
  { LITERAL ("\200\2\212\377a."), "truncated" },
  { LITERAL ("\200\2cos"), "truncated" },
  { LITERAL ("\200\7}."), "bad_header" },
  { LITERAL ("\200\2\377."), "bad_header" },
  { LITERAL ("\200\2."), "bad_header" },
  { LITERAL ("\200\2t."), "bad_header" },
  { LITERAL ("\200\2\207."), "bad_header" },
  { LITERAL ("\200\2}u."), "bad_header" },
  { LITERAL ("\200\2}(Nu."), "bad_header" },
  { LITERAL ("\200\2](NNs."), "bad_header" },
  { LITERAL ("\200\2N(NNu."), "bad_header" },
  { LITERAL ("\200\2}(a."), "bad_header" },
  { LITERAL ("\200\2q\0."), "bad_header" },
  { LITERAL ("\200\2h\0."), "bad_header" },
  { LITERAL ("\200\2]r\377\377\377\377j\377\377\377\376."), "bad_header" },
  { LITERAL ("\200\2]r\377\377\377\377j\377\377\377\377a."), "too_large" }, /* a list in itself */
  { LITERAL ("\200\2}q\0X\1\0\0\0ah\0s."), "too_large" },
  { LITERAL ("\200\2]q\0h\0\205q\1ah\1."), "too_large" },
  { LITERAL ("\200\2}K\1\205Ns."), "ok" }, /* a key without a name, and nothing under it */
  { LITERAL ("\200\2}K\1\205]Nas."), "bad_header" },
  { LITERAL ("\200\2}(X\1\0\0\0aK\1X\1\0\0\0aK\2u."), "bad_header twice" },

  /* tensors */
  { LITERAL (TENSOR ("K\21", "K\0", "K\4K\4", "K\4K\1")), "bad_offsets" }, /* a larger storage than there is */
  { LITERAL (TENSOR (HUGE_INT, "K\0", "K\4K\4", "K\4K\1")), "bad_offsets" },
  { LITERAL (TENSOR ("K\20", "K\1", "K\4K\4", "K\4K\1")), "bad_offsets" },
  { LITERAL (TENSOR ("K\20", HUGE_INT, "K\4K\4", "K\4K\1")), "bad_offsets" },
  { LITERAL (TENSOR ("K\20", "K\0", "K\4K\4", "K\5K\1")), "bad_offsets" },
  { LITERAL (TENSOR ("K\20", "K\0", "K\5K\5", HUGE_INT HUGE_INT)), "bad_offsets" },
  { LITERAL (TENSOR ("K\20", "K\0", HUGE_INT HUGE_INT, "K\0K\0")), "bad_shape" },
  { LITERAL (TENSOR ("K\20", "K\0", HUGE_INT, "K\0")), "too_large" }, /* one element many times */
  { LITERAL (TENSOR ("K\20", "K\0", "J\0\0\20\0", "K\0")), "too_large" },
  { LITERAL (TENSOR ("K\20", "K\20", "K\0" HUGE_INT, "K\1K\1")), "ok" }, /* empty */
  { LITERAL (TENSOR ("K\20", "K\21", "K\0", "K\1")), "bad_offsets" },
  { LITERAL (TENSOR ("K\20", "K\0", "K\1K\2", HUGE_INT "K\2")), "ok" },
  { LITERAL (TENSOR ("K\20", "K\0", "J\377\377\377\377", "K\1")), "bad_header" },
  { LITERAL (TENSOR ("K\20", "K\0", "K\4", "K\4K\1")), "bad_header" },
  { LITERAL (TENSOR ("K\20", "K\0", "K\1K\1K\1K\1K\1K\1K\1K\1K\1", "K\1K\1K\1K\1K\1K\1K\1K\1K\1")), "bad_header" },
  { LITERAL (TENSOR_OF ("X\1\0\0\0"
                        "1",
                        "K\20", "K\0", "K\4", "K\1")),
    "missing_tensor" },
  { LITERAL (TENSOR_OF ("X\13\0\0\0../../x/a/0", "K\20", "K\0", "K\4", "K\1")), "missing_tensor" },
  { LITERAL ("\200\2(X\7\0\0\0storagectorch\nComplexFloatStorage\nX\1\0\0\0"
             "0NK\1tQ."),
    "unsupported_dtype" },
};

static void
test_pickles (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (pickles); i++)
    check_pickle (pickles[i].code, pickles[i].size, pickles[i].expect);
}

/* The code repeated n times, between a beginning and an end. */
static void
check_repeated (const char *before, const char *code, gsize size, guint n, const char *after, const char *expect)
{
  g_autoptr (GByteArray) a = g_byte_array_new ();

  g_byte_array_append (a, (const guint8 *)"\200\2", 2);
  g_byte_array_append (a, (const guint8 *)before, (guint)strlen (before));
  for (guint i = 0; i < n; i++)
    g_byte_array_append (a, (const guint8 *)code, (guint)size);
  g_byte_array_append (a, (const guint8 *)after, (guint)strlen (after));
  check_pickle (a->data, a->len, expect);
}

static void
test_large_pickles (void)
{
  check_repeated ("", LITERAL ("}"), 500000, ".", "ok");
  check_repeated ("", LITERAL ("}"), 5000000, ".", "too_large");
  check_repeated ("N", LITERAL ("\205"), 500000, ".", "too_large"); /* a tuple in a tuple in a tuple… */
  check_repeated ("N", LITERAL ("q\0"), 4000000, ".", "ok");
  check_repeated ("", LITERAL ("("), 5000000, ".", "too_large");
  check_repeated ("", LITERAL ("N"), 17 << 20, ".", "too_large");
  check_repeated ("]", LITERAL ("q\0h\0h\0\206"), 300000, ".", "too_large"); /* doubled each time */
  check_repeated ("X\5", LITERAL ("\0\0\0"), 1, "short", "truncated");
}

/* One text of 1 MiB under many names. */
static void
test_metadata (void)
{
  g_autoptr (GByteArray) a = g_byte_array_new ();
  g_autofree char *text = g_malloc (1 << 20);

  memset (text, 'a', 1 << 20);
  g_byte_array_append (a, (const guint8 *)LITERAL ("\200\2X\0\0\20\0"));
  g_byte_array_append (a, (const guint8 *)text, 1 << 20);
  g_byte_array_append (a, (const guint8 *)LITERAL ("q\0}"));
  for (guint i = 0; i < 1000; i++)
    {
      g_byte_array_append (a, (const guint8 *)LITERAL ("M"));
      g_byte_array_append (a, (const guint8 *)&i, 2);
      g_byte_array_append (a, (const guint8 *)LITERAL ("h\0s"));
    }
  g_byte_array_append (a, (const guint8 *)LITERAL ("."));
  check_pickle (a->data, a->len, "too_large");
}

/* ---- archives ---- */

static void
check_archive (const ArchiveEntry *entries, guint n, const char *expect)
{
  g_autoptr (GBytes) archive = archive_new (entries, n);
  check_bytes (g_bytes_get_data (archive, NULL), g_bytes_get_size (archive), expect);
}

static void
test_archives (void)
{
  static const char zeros[1 << 16];
  const ArchiveEntry twice[] = { { "x/data.pkl", "}.", 2 }, { "x/data.pkl", "}.", 2 } };
  const ArchiveEntry two[] = { { "x/data.pkl", "}.", 2 }, { "y/data.pkl", "}.", 2 } };
  const ArchiveEntry outside[] = { { "../data.pkl", "}.", 2 }, { "../../" MARKER, "x", 1 }, { "/" MARKER, "x", 1 } };
  const ArchiveEntry deeper[] = { { "../x/data.pkl", "}.", 2 } };
  const ArchiveEntry nothing[] = { { "x/version", "3\n", 2 } };
  const ArchiveEntry big_endian[] = { { "x/data.pkl", "}.", 2 }, { "x/byteorder", "big", 3 } };
  const ArchiveEntry bomb[] = { { "x/data.pkl", zeros, sizeof zeros, 8 } };

  check_archive (NULL, 0, "unsupported_format data.pkl");
  check_archive (twice, 2, "bad_header twice");
  check_archive (two, 2, "bad_header two entries");
  check_archive (outside, 3, "ok"); /* names lead nowhere, for nothing is extracted */
  check_archive (deeper, 1, "unsupported_format data.pkl");
  check_archive (nothing, 1, "unsupported_format data.pkl");
  check_archive (big_endian, 2, "unsupported_format byte order");
  check_archive (bomb, 1, "unsupported_format compressed");
}

/* The file cut everywhere, and every two or four bytes of it set to extremes. */
static void
check_damaged (GBytes *archive, const char *path)
{
  static const guint8 values[] = { 0xff, 0x80, 0x00, 0x7f };
  gsize size = g_bytes_get_size (archive);
  const guint8 *data = g_bytes_get_data (archive, NULL);
  g_autofree guint8 *copy = g_malloc (size + 4);

  for (gsize at = 0; at <= size; at++)
    for (guint k = 0; k < G_N_ELEMENTS (values); k++)
      {
        g_autoptr (GError) error = NULL;
        g_autoptr (SumiTensorMap) map = NULL;

        memcpy (copy, data, size);
        memset (copy + at, values[k], k == 3 ? 2 : 4);
        g_assert_true (g_file_set_contents_full (path, (const char *)(k == 0 ? data : copy),
                                                 (gssize)(k == 0 ? at : size), G_FILE_SET_CONTENTS_NONE, 0600, NULL));
        map = sumi_weights_open (path, &error);
        g_assert_true ((map == NULL) == (error != NULL));
        g_assert_true (k > 0 || (at == size) == (map != NULL));
        if (map != NULL && sumi_tensor_map_get_size (map) > 0)
          sumi_tensor_is_finite (sumi_tensor_map_peek_nth (map, 0));
      }
}

static void
test_damaged_archives (void)
{
  static const char code[] = TENSOR ("K\20", "K\0", "K\4K\4", "K\4K\1");
  float values[16] = { 1 };
  const ArchiveEntry entries[] = { { "x/data.pkl", code, sizeof code - 1 }, { "x/data/0", values, sizeof values } };
  g_autofree char *folder = g_dir_make_tmp ("sumi-test-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (folder, "file", NULL);
  g_autoptr (GBytes) small = archive_new (entries, 2), large = archive_new_zip64 (entries, 2);

  check_damaged (small, path);
  check_damaged (large, path);
  g_unlink (path);
  g_rmdir (folder);
}

/* ---- GGUF ---- */

static void
put (GByteArray *a, guint64 value, guint size)
{
  guint64 little = GUINT64_TO_LE (value);
  g_byte_array_append (a, (const guint8 *)&little, size);
}

static void
put_text (GByteArray *a, const char *text)
{
  put (a, strlen (text), 8);
  g_byte_array_append (a, (const guint8 *)text, (guint)strlen (text));
}

static GByteArray *
gguf_new (guint64 n_tensors, guint64 n_pairs)
{
  GByteArray *a = g_byte_array_new ();

  g_byte_array_append (a, (const guint8 *)"GGUF", 4);
  put (a, 3, 4);
  put (a, n_tensors, 8);
  put (a, n_pairs, 8);
  return a;
}

/* Two dimensions, the fastest first. */
static void
put_tensor (GByteArray *a, const char *name, guint64 d0, guint64 d1, guint type, guint64 offset)
{
  put_text (a, name);
  put (a, 2, 4);
  put (a, d0, 8);
  put (a, d1, 8);
  put (a, type, 4);
  put (a, offset, 8);
}

static void
finish (GByteArray *a, gsize data)
{
  while (a->len % 32 != 0)
    put (a, 0, 1);
  for (gsize i = 0; i < data; i++)
    put (a, i, 1);
}

/* One tensor in 64 bytes of data. */
static void
check_tensor (guint64 d0, guint64 d1, guint type, guint64 offset, const char *expect)
{
  g_autoptr (GByteArray) a = gguf_new (1, 0);

  put_tensor (a, "t", d0, d1, type, offset);
  finish (a, 64);
  check_array (a, expect);
}

static void
test_gguf_tensors (void)
{
  g_autoptr (GByteArray) overlap = gguf_new (2, 0), twice = gguf_new (2, 0), rank = gguf_new (1, 0);

  check_tensor (4, 4, 0, 0, "ok");
  check_tensor (32, 1, 8, 0, "ok");
  check_tensor (4, 5, 0, 0, "truncated");
  check_tensor (4, 4, 0, 32, "truncated");
  check_tensor (4, 4, 0, G_MAXUINT64 - 31, "truncated");
  check_tensor (4, 1, 0, 16, "bad_offsets");
  check_tensor (G_MAXUINT64, 1, 0, 0, "bad_shape");
  check_tensor (G_GUINT64_CONSTANT (1) << 62, 8, 0, 0, "bad_shape");
  check_tensor (G_GUINT64_CONSTANT (1) << 62, 1, 0, 0, "bad_shape");
  check_tensor (16, 2, 8, 0, "bad_shape whole blocks");
  check_tensor (4, 4, 9, 0, "unsupported_dtype type 9");
  check_tensor (4, 4, 16, 0, "unsupported_dtype");
  check_tensor (4, 4, 0xffffffff, 0, "unsupported_dtype");

  put_tensor (overlap, "a", 8, 1, 0, 0);
  put_tensor (overlap, "b", 16, 1, 0, 0);
  finish (overlap, 64);
  check_array (overlap, "bad_offsets");
  put_tensor (twice, "a", 8, 1, 0, 0);
  put_tensor (twice, "a", 8, 1, 0, 32);
  finish (twice, 64);
  check_array (twice, "bad_header twice");
  put_text (rank, "a");
  put (rank, 0xffffffff, 4);
  finish (rank, 64);
  check_array (rank, "bad_shape");
}

/* A header of n pairs, the first of which begins with this key and type. */
static GByteArray *
gguf_new_pair (guint64 n_pairs, const char *key, guint type)
{
  GByteArray *a = gguf_new (0, n_pairs);

  put_text (a, key);
  put (a, type, 4);
  return a;
}

static void
check_array_value (guint type, guint64 n, gsize data, const char *expect)
{
  g_autoptr (GByteArray) a = gguf_new_pair (1, "k", 9);

  put (a, type, 4);
  put (a, n, 8);
  finish (a, data);
  check_array (a, expect);
}

static void
check_alignment (guint64 value, const char *expect)
{
  g_autoptr (GByteArray) a = gguf_new_pair (1, "general.alignment", 4);

  put (a, value, 4);
  check_array (a, expect);
}

static void
test_gguf_pairs (void)
{
  g_autoptr (GByteArray) counts = gguf_new (G_MAXUINT64, 0), pairs = gguf_new (0, G_GUINT64_CONSTANT (1) << 40);
  g_autoptr (GByteArray) missing = gguf_new (1 << 16, 0), text = gguf_new_pair (1, "k", 8);
  g_autoptr (GByteArray) type = gguf_new_pair (1, "k", 13), nested = gguf_new_pair (1, "k", 9);
  g_autoptr (GByteArray) twice = gguf_new (0, 2), long_key = gguf_new (0, 1), utf8 = gguf_new (0, 1);

  check_array (counts, "too_large");
  check_array (pairs, "too_large");
  check_array (missing, "truncated");
  put (text, G_MAXUINT64, 8);
  check_array (text, "truncated");
  check_array (type, "bad_header unknown type");
  for (guint i = 0; i < 1000; i++) /* arrays in arrays */
    {
      put (nested, 9, 4);
      put (nested, 1, 8);
    }
  check_array (nested, "too_large");
  check_array_value (9, G_MAXUINT64, 64, "any");
  check_array_value (9, G_GUINT64_CONSTANT (1) << 60, 1 << 20, "any");
  check_array_value (10, G_GUINT64_CONSTANT (1) << 61, 64, "truncated");
  check_array_value (8, G_MAXUINT64, 0, "truncated");
  check_array_value (13, 1, 64, "bad_header");
  check_array_value (0, 64, 64, "ok");
  check_alignment (0, "bad_header");
  check_alignment (48, "bad_header");
  check_alignment (0x80000000, "bad_header");
  check_alignment (1 << 20, "ok");
  for (guint i = 0; i < 2; i++)
    {
      put_text (twice, "k");
      put (twice, 7, 4);
      put (twice, 1, 1);
    }
  check_array (twice, "bad_header twice");
  put (long_key, 2000, 8);
  finish (long_key, 4000);
  check_array (long_key, "too_large");
  put_text (utf8, "\xff\xfe");
  put (utf8, 7, 4);
  put (utf8, 1, 1);
  check_array (utf8, "bad_header UTF-8");
}

/* The shape a tensor is said to have had. */
static void
test_gguf_original_shape (void)
{
  static const struct
  {
    guint type, n;
    gint32 d[3];
    const char *expect;
  } rows[] = { { 5, 2, { 2, 8 }, "ok" },
               { 5, 2, { 2, 9 }, "shape_mismatch orig_shape" },
               { 5, 2, { -2, -8 }, "bad_shape orig_shape" },
               { 5, 3, { G_MAXINT32, G_MAXINT32, G_MAXINT32 }, "shape_mismatch" },
               { 8, 2, { 0 }, "bad_shape" },
               { 5, 0x7fffffff, { 0 }, "bad_shape" } };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (GByteArray) a = gguf_new (1, 1);

      put_text (a, "comfy.gguf.orig_shape.t");
      put (a, 9, 4);
      put (a, rows[i].type, 4);
      put (a, rows[i].n, 8);
      for (guint k = 0; k < MIN (rows[i].n, 3); k++)
        put (a, (guint32)rows[i].d[k], 4);
      put_tensor (a, "t", 16, 1, 0, 0);
      finish (a, 64);
      check_array (a, rows[i].expect);
    }
}

/* 40 texts of 1 MiB, all of which would be kept. */
static void
test_gguf_texts (void)
{
  g_autoptr (GByteArray) a = gguf_new (0, 40);
  g_autofree char *text = g_malloc (1 << 20);

  memset (text, 'a', (1 << 20) - 1);
  text[(1 << 20) - 1] = '\0';
  for (guint i = 0; i < 40; i++)
    {
      g_autofree char *key = g_strdup_printf ("k%u", i);

      put_text (a, key);
      put (a, 8, 4);
      put_text (a, text);
    }
  check_array (a, "too_large");
}

/* ---- shards ---- */

static void
test_index (void)
{
  g_autofree char *folder = g_dir_make_tmp ("sumi-test-XXXXXX", NULL);
  g_autofree char *index = g_build_filename (folder, "x.index.json", NULL);
  g_autofree char *pipe = g_build_filename (folder, "pipe", NULL), *sub = g_build_filename (folder, "sub", NULL);
  g_autoptr (GString) large = g_string_new ("{\"weight_map\":{\"a\":\"");
  g_autoptr (GString) deep = g_string_new ("{\"weight_map\":");
  const char *texts[][2] = {
    { "{\"weight_map\":{\"a\":\"../../../../etc/passwd\"}}", "unsafe_path" },
    { "{\"weight_map\":{\"a\":\"pipe\"}}", "unsupported_format" }, /* would wait for ever */
    { "{\"weight_map\":{\"a\":\"sub\"}}", "unsupported_format" },
    { "{\"weight_map\":{\"a\":\"x.index.json\"}}", "any x.index.json" },
    { "{\"weight_map\":{'\"':[[[[", "bad_config" },
    { "", "bad_config" },
    { "", "too_large" },
  };

  g_assert_cmpint (mkfifo (pipe, 0600), ==, 0);
  g_assert_cmpint (g_mkdir (sub, 0700), ==, 0);
  for (guint i = 0; i < 1000000; i++)
    g_string_append (deep, "[");
  for (guint i = 0; i < 1000000; i++)
    g_string_append (large, "aaaaa");
  g_string_append (large, "\"}}");
  texts[G_N_ELEMENTS (texts) - 2][0] = deep->str;
  texts[G_N_ELEMENTS (texts) - 1][0] = large->str;
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    {
      g_assert_true (g_file_set_contents (index, texts[i][0], -1, NULL));
      check_open (folder, "x.index.json", texts[i][1]);
    }
  g_unlink (index);
  g_unlink (pipe);
  g_rmdir (sub);
  g_assert_cmpint (g_rmdir (folder), ==, 0);
}

int
main (int argc, char **argv)
{
  int status;

  if (argc == 3 && strcmp (argv[1], "--open") == 0)
    return open_and_tell (argv[2]);
  g_test_init (&argc, &argv, NULL);
  self = g_canonicalize_filename (argv[0], NULL);
  g_test_add_func ("/hostile/weights/pickles", test_pickles);
  g_test_add_func ("/hostile/weights/large-pickles", test_large_pickles);
  g_test_add_func ("/hostile/weights/metadata", test_metadata);
  g_test_add_func ("/hostile/weights/archives", test_archives);
  g_test_add_func ("/hostile/weights/damaged-archives", test_damaged_archives);
  g_test_add_func ("/hostile/weights/gguf-tensors", test_gguf_tensors);
  g_test_add_func ("/hostile/weights/gguf-pairs", test_gguf_pairs);
  g_test_add_func ("/hostile/weights/gguf-original-shape", test_gguf_original_shape);
  g_test_add_func ("/hostile/weights/gguf-texts", test_gguf_texts);
  g_test_add_func ("/hostile/weights/index", test_index);
  status = g_test_run ();
  g_free (self);
  return status;
}
