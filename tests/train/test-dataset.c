/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Data sets as people leave them: idx files, broken idx files, captions in two layouts, broken lines and pictures. */
#include "train/dataset.h"

#include "folder.h"
#include "train/samples.h"

#define IMAGES "train-images-idx3-ubyte"
#define LABELS "train-labels-idx1-ubyte"

/* Two pictures of 2x3. */
static const guint8 good_images[]
    = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16 };
static const guint8 good_labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 9, 1 };

static void
test_idx (void)
{
  char *folder = folder_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiDataset) d = NULL;
  g_autoptr (SumiTensor) grey = NULL;
  g_autoptr (SumiTensor) rgb = NULL;
  const guint8 *p;

  folder_write (folder, IMAGES, good_images, sizeof good_images);
  folder_write (folder, LABELS, good_labels, sizeof good_labels);
  d = sumi_dataset_open (folder, SUMI_DATASET_AUTO, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_dataset_get_size (d), ==, 2);
  g_assert_cmpstr (sumi_dataset_peek_captions (d, 0)[0], ==, "ankle boot");
  g_assert_cmpstr (sumi_dataset_peek_captions (d, 1)[0], ==, "trousers");
  /* in the middle of 8x8: three rows above, two columns before */
  grey = sumi_dataset_load (d, 1, 8, 8, 1, &error);
  g_assert_no_error (error);
  p = sumi_tensor_peek (grey);
  g_assert_cmpuint (p[3 * 8 + 2], ==, 11);
  g_assert_cmpuint (p[3 * 8 + 4], ==, 13);
  g_assert_cmpuint (p[4 * 8 + 4], ==, 16);
  g_assert_cmpuint (p[3 * 8 + 5], ==, 0);
  g_assert_cmpuint (p[0], ==, 0);
  rgb = sumi_dataset_load (d, 0, 8, 8, 3, &error);
  g_assert_no_error (error);
  p = sumi_tensor_peek (rgb);
  g_assert_cmpuint (p[(3 * 8 + 2) * 3 + 2], ==, 1);
  g_assert_null (sumi_dataset_load (d, 0, 8, 8, 2, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
  folder_remove (folder);
}

/* Debian's dataset-fashion-mnist, where it is installed. */
static void
test_fashion_mnist (void)
{
  const char *folder = "/usr/share/datasets/fashion-mnist";
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiDataset) d = NULL;
  g_autoptr (SumiTensor) image = NULL;
  const guint8 *p;
  guint border = 0, inside = 0;

  if (!g_file_test (folder, G_FILE_TEST_IS_DIR))
    {
      g_test_skip ("Fashion-MNIST is not installed");
      return;
    }
  d = sumi_dataset_open (folder, SUMI_DATASET_AUTO, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_dataset_get_size (d), ==, 60000);
  g_assert_cmpstr (sumi_dataset_peek_captions (d, 0)[0], ==, "ankle boot");
  image = sumi_dataset_load (d, 0, 32, 32, 1, &error);
  g_assert_no_error (error);
  p = sumi_tensor_peek (image);
  for (guint i = 0; i < 32; i++)
    for (guint j = 0; j < 32; j++)
      *(i < 2 || j < 2 || i >= 30 || j >= 30 ? &border : &inside) += p[i * 32 + j];
  g_assert_cmpuint (border, ==, 0);
  g_assert_cmpuint (inside, ==, 76247); /* the sum of its first picture */
}

static void
test_idx_hostile (void)
{
  static const struct
  {
    const char *what;
    guint8 header[17];
    guint size;
    SumiError code;
  } cases[] = {
    { "empty", { 0 }, 0, SUMI_ERROR_TRUNCATED },
    { "half a header", { 0, 0, 8, 3, 0, 0, 0, 2 }, 8, SUMI_ERROR_TRUNCATED },
    { "no values", { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3 }, 16, SUMI_ERROR_TRUNCATED },
    { "little-endian", { 3, 8, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0 }, 16, SUMI_ERROR_BAD_HEADER },
    { "floats", { 0, 0, 13, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3 }, 16, SUMI_ERROR_BAD_HEADER },
    { "labels", { 0, 0, 8, 1, 0, 0, 0, 1, 0 }, 9, SUMI_ERROR_BAD_HEADER },
    { "none", { 0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3 }, 16, SUMI_ERROR_BAD_SHAPE },
    { "no rows", { 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3 }, 16, SUMI_ERROR_BAD_SHAPE },
    { "huge side", { 0, 0, 8, 3, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 1 }, 16, SUMI_ERROR_BAD_SHAPE },
    { "huge count", { 0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 4, 0, 0, 0, 4, 0 }, 16, SUMI_ERROR_TOO_LARGE },
    { "a good one", { 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1 }, 17, SUMI_N_ERRORS },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    for (guint gzip = 0; gzip < 2; gzip++)
      {
        char *folder = folder_new ();
        g_autoptr (GError) error = NULL;
        g_autoptr (SumiDataset) d = NULL;

        /* under a .gz name none of them is a gzip stream */
        folder_write (folder, gzip ? IMAGES ".gz" : IMAGES, cases[i].header, cases[i].size);
        d = sumi_dataset_open (folder, SUMI_DATASET_IDX, &error);
        g_test_message ("%s: %s", cases[i].what, error != NULL ? error->message : "read");
        if (gzip)
          g_assert_error (error, SUMI_ERROR, SUMI_ERROR_TRUNCATED);
        else if (cases[i].code == SUMI_N_ERRORS)
          g_assert_no_error (error); /* so the others fail for what they are */
        else
          g_assert_error (error, SUMI_ERROR, (int)cases[i].code);
        folder_remove (folder);
      }
}

static void
test_idx_left_over (void)
{
  char *folder = folder_new ();
  g_autoptr (GError) error = NULL;
  guint8 longer[sizeof good_images + 1] = { 0 };

  memcpy (longer, good_images, sizeof good_images);
  folder_write (folder, IMAGES, longer, sizeof longer);
  g_assert_null (sumi_dataset_open (folder, SUMI_DATASET_AUTO, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER);
  folder_remove (folder);
}

/* Labels that do not fit cost the captions, not the pictures. */
static void
test_idx_labels (void)
{
  char *folder = folder_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiDataset) d = NULL;

  folder_write (folder, IMAGES, good_images, sizeof good_images);
  folder_write (folder, LABELS, good_labels, sizeof good_labels - 1);
  d = sumi_dataset_open (folder, SUMI_DATASET_AUTO, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_dataset_get_size (d), ==, 2);
  g_assert_false (sumi_dataset_has_captions (d));
  g_assert_cmpuint (d->notes->len, ==, 1);
  folder_remove (folder);
}

static gboolean
has_note (const SumiDataset *d, const char *part)
{
  for (guint i = 0; i < d->notes->len; i++)
    if (strstr (d->notes->pdata[i], part) != NULL)
      return TRUE;
  return FALSE;
}

static void
test_metadata (void)
{
  char *folder = folder_new ();
  g_autoptr (GString) lines = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiDataset) d = NULL;
  const char *const *captions;

  folder_write_picture (folder, "a.png", 8, 0xff0000);
  folder_write_picture (folder, "b.png", 8, 0x00ff00);
  folder_write_picture (folder, "c.png", 8, 0x0000ff);
  g_string_append (lines,
                   "{\"file_name\": \"b.png\", \"text\": \" green \", \"captions\": [\"green\", \"leaf\", 7, \"\"]}\n"
                   "\n"
                   "not json\n"
                   "[1, 2]\n"
                   "{\"text\": \"nameless\"}\n"
                   "{\"file_name\": 5}\n"
                   "{\"file_name\": \"../secret.png\", \"text\": \"outside\"}\n"
                   "{\"file_name\": \"/etc/passwd\", \"text\": \"outside\"}\n"
                   "{\"file_name\": \"missing.png\", \"text\": \"gone\"}\n"
                   "{\"file_name\": \"a.png\", \"text\": \"caf\xff\"}\n");
  for (guint i = 0; i < 20000; i++)
    g_string_append_c (lines, '[');
  g_string_append (lines, "\n{\"file_name\": \"a.png\", \"text\": null, \"captions\": \"none\"}\r\n"
                          "{\"file_name\": \"c.png\", \"text\": \"blue\"}"); /* no line end */
  folder_write (folder, "metadata.jsonl", lines->str, -1);
  d = sumi_dataset_open (folder, SUMI_DATASET_AUTO, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_dataset_get_size (d), ==, 3); /* in the order of the lines */
  captions = sumi_dataset_peek_captions (d, 0);
  g_assert_cmpstr (captions[0], ==, "green");
  g_assert_cmpstr (captions[1], ==, "leaf");
  g_assert_null (captions[2]);
  g_assert_null (sumi_dataset_peek_captions (d, 1)[0]);
  g_assert_cmpstr (sumi_dataset_peek_captions (d, 2)[0], ==, "blue");
  for (guint line = 3; line <= 8; line++)
    {
      g_autofree char *part = g_strdup_printf ("line %u:", line);
      g_assert_true (has_note (d, part));
    }
  g_assert_true (has_note (d, "line 10:"));
  g_assert_true (has_note (d, "line 11:"));
  g_assert_true (has_note (d, "missing.png"));
  folder_remove (folder);
}

static void
test_sidecars (void)
{
  char *folder = folder_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiDataset) d = NULL;
  g_autoptr (SumiTensor) image = NULL;

  folder_write_picture (folder, "b.png", 12, 0x102030);
  folder_write_picture (folder, "a.b.png", 8, 0xffffff);
  folder_write (folder, "b.txt", "a blue square\n\n  dark  \n\xff\n", -1);
  folder_write (folder, "notes.md", "no picture", -1);
  folder_write (folder, ".hidden.png", "no picture", -1);
  d = sumi_dataset_open (folder, SUMI_DATASET_AUTO, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_dataset_get_size (d), ==, 2);
  g_assert_null (sumi_dataset_peek_captions (d, 0)[0]);
  g_assert_cmpstr (sumi_dataset_peek_captions (d, 1)[0], ==, "a blue square");
  g_assert_cmpstr (sumi_dataset_peek_captions (d, 1)[1], ==, "dark");
  g_assert_null (sumi_dataset_peek_captions (d, 1)[2]);
  g_assert_true (has_note (d, "b.txt line 4"));
  image = sumi_dataset_load (d, 1, 4, 8, 3, &error);
  g_assert_no_error (error);
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (image), &SUMI_SHAPE (4, 8, 3)));
  g_assert_cmpuint (((const guint8 *)sumi_tensor_peek (image))[2], ==, 0x30);
  folder_remove (folder);
}

static void
test_nothing (void)
{
  char *folder = folder_new ();
  g_autoptr (GError) error = NULL;

  g_assert_null (sumi_dataset_open (folder, SUMI_DATASET_AUTO, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE);
  g_clear_error (&error);
  g_assert_null (sumi_dataset_open ("/nonexistent/folder", SUMI_DATASET_AUTO, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE);
  folder_remove (folder);
}

/* Pixels: broken pictures are passed over, the others keep their numbers. */
static void
test_broken_pictures (void)
{
  char *folder = folder_new ();
  SumiModelConfig config = { .family = SUMI_FAMILY_SIMPLE_UNET, .channels = 3, .height = 2, .width = 2 };
  SumiSampleOptions o = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiDataset) d = NULL;
  g_autoptr (SumiSamples) s = NULL;
  float x[12];

  folder_write_picture (folder, "a.png", 8, 0x000000);
  folder_write (folder, "b.png", "\x89PNG\r\n\x1a\n and no more", -1);
  folder_write (folder, "c.jpg", "", 0);
  folder_write_picture (folder, "d.png", 8, 0xff00ff);
  d = sumi_dataset_open (folder, SUMI_DATASET_AUTO, &error);
  g_assert_no_error (error);
  s = sumi_samples_new (d, &config, &o, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (s->n, ==, 2);
  g_assert_cmpuint (s->pictures[1], ==, 3);
  g_assert_cmpuint (d->notes->len, ==, 2);
  sumi_samples_get (s, 1, FALSE, x);
  g_assert_cmpfloat (x[0], ==, 1);
  g_assert_cmpfloat (x[4], ==, -1);
  g_assert_cmpfloat (x[8], ==, 1);
  folder_remove (folder);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/train/dataset/idx", test_idx);
  g_test_add_func ("/train/dataset/fashion-mnist", test_fashion_mnist);
  g_test_add_func ("/train/dataset/idx-hostile", test_idx_hostile);
  g_test_add_func ("/train/dataset/idx-left-over", test_idx_left_over);
  g_test_add_func ("/train/dataset/idx-labels", test_idx_labels);
  g_test_add_func ("/train/dataset/metadata", test_metadata);
  g_test_add_func ("/train/dataset/sidecars", test_sidecars);
  g_test_add_func ("/train/dataset/nothing", test_nothing);
  g_test_add_func ("/train/dataset/broken-pictures", test_broken_pictures);
  return g_test_run ();
}
