/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Errors, atomic files, the processor. */
#include <string.h>
#include <unistd.h>

#include <gio/gio.h>
#include <glib/gstdio.h>

#include "base/atomic-file.h"
#include "base/cpu.h"

static void
test_error_classes (void)
{
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);
  g_autoptr (GError) file = g_error_new_literal (G_FILE_ERROR, G_FILE_ERROR_ACCES, "x");
  g_autoptr (GError) cancelled = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_CANCELLED, "x");

  for (int code = 0; code < SUMI_N_ERRORS; code++)
    {
      g_autoptr (GError) error = g_error_new_literal (SUMI_ERROR, code, "x");
      const char *class = sumi_error_class (error);

      g_assert_cmpuint (strlen (class), >, 1);
      g_assert_true (g_hash_table_add (seen, (gpointer) class)); /* each code its own */
    }
  g_assert_cmpstr (sumi_error_class (file), ==, "io");
  g_assert_cmpstr (sumi_error_class (cancelled), ==, "cancelled");
  g_assert_cmpstr (sumi_error_class (NULL), ==, "engine");
}

static void
test_cancelled (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_assert_false (sumi_set_error_if_cancelled (NULL, &error));
  g_assert_false (sumi_set_error_if_cancelled (cancellable, &error));
  g_assert_no_error (error);
  g_cancellable_cancel (cancellable);
  g_assert_true (sumi_set_error_if_cancelled (cancellable, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_CANCELLED);
}

static guint
count_files (const char *folder)
{
  GDir *dir = g_dir_open (folder, 0, NULL);
  guint n = 0;

  while (g_dir_read_name (dir) != NULL)
    n++;
  g_dir_close (dir);
  return n;
}

static void
assert_content (const char *path, const char *want)
{
  g_autofree char *text = NULL;
  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, want);
}

static void
test_atomic_file (void)
{
  g_autofree char *folder = g_dir_make_tmp ("sumi-test-XXXXXX", NULL), *path = g_build_filename (folder, "a", NULL);
  SumiAtomicFile f;
  g_autoptr (GError) error = NULL;

  g_assert_true (sumi_atomic_file_write (path, "first", 5, &error));
  assert_content (path, "first");

  g_assert_true (sumi_atomic_file_open (&f, path, &error)); /* given up: as it was */
  fputs ("half of it", f.stream);
  assert_content (path, "first");
  sumi_atomic_file_abandon (&f);
  assert_content (path, "first");
  g_assert_cmpuint (count_files (folder), ==, 1);

  g_assert_true (sumi_atomic_file_open (&f, path, &error)); /* kept: all of it, at once */
  fputs ("second", f.stream);
  fflush (f.stream);
  assert_content (path, "first");
  g_assert_true (sumi_atomic_file_commit (&f, &error));
  sumi_atomic_file_abandon (&f);
  assert_content (path, "second");
  g_assert_cmpuint (count_files (folder), ==, 1);
  g_assert_no_error (error);
  g_unlink (path);
  g_rmdir (folder);
}

/* Nowhere to write, a full disk, a folder in the way: io, and nothing is left. */
static void
test_atomic_file_fails (void)
{
  g_autofree char *folder = g_dir_make_tmp ("sumi-test-XXXXXX", NULL), *path = g_build_filename (folder, "a", NULL);
  SumiAtomicFile f;
  g_autoptr (GError) error = NULL;

  g_assert_false (sumi_atomic_file_write ("/nowhere/at/all", "x", 1, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_IO);
  g_clear_error (&error);

  g_assert_cmpint (g_mkdir (path, 0777), ==, 0);
  g_assert_false (sumi_atomic_file_write (path, "x", 1, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_IO);
  g_clear_error (&error);
  g_assert_cmpuint (count_files (folder), ==, 1);
  g_rmdir (path);

  if (g_access ("/dev/full", W_OK) == 0)
    {
      g_assert_true (sumi_atomic_file_open (&f, path, &error));
      f.stream = freopen ("/dev/full", "w", f.stream);
      g_assert_nonnull (f.stream);
      fputs ("no room for this", f.stream);
      g_assert_false (sumi_atomic_file_commit (&f, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_IO);
      g_assert_cmpuint (count_files (folder), ==, 0);
    }
  g_assert_cmpint (g_rmdir (folder), ==, 0);
}

static void
test_cpu (void)
{
  SumiCpuFeatures f = sumi_cpu_features ();

  g_assert_cmpuint (sumi_cpu_count (), >=, 1);
  g_assert_cmpuint (f, ==, sumi_cpu_features ());
  g_assert_true (!(f & SUMI_CPU_AVX512) || (f & SUMI_CPU_AVX2)); /* each step holds the one before */
  g_assert_true (!(f & SUMI_CPU_AVX2) || (f & SUMI_CPU_F16C));
  g_assert_true (!(f & (SUMI_CPU_AVX512_BF16 | SUMI_CPU_AMX_BF16)) || (f & SUMI_CPU_AVX512));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/base/error-classes", test_error_classes);
  g_test_add_func ("/base/cancelled", test_cancelled);
  g_test_add_func ("/base/atomic-file", test_atomic_file);
  g_test_add_func ("/base/atomic-file-fails", test_atomic_file_fails);
  g_test_add_func ("/base/cpu", test_cpu);
  return g_test_run ();
}
