/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The idx files of MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017), gzip or plain: a big-endian magic
 * number (0, 0, type 8 = u8, rank), the dimensions, the bytes.  Pictures are padded with black to a multiple of eight
 * (28 -> 32); the caption is the class. */
#include "train/dataset.h"

#include <string.h>

#include "io/image.h"

#define MAX_SIDE 1024
#define MAX_BYTES (G_GUINT64_CONSTANT (1) << 32)
#define IMAGES "train-images-idx3-ubyte"
#define LABELS "train-labels-idx1-ubyte"

static const char *const classes[]
    = { "t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "handbag", "ankle boot" };

typedef struct
{
  guint rank;
  guint32 d[3];
  guint8 *values; /* g_free */
  gsize size;
} Idx;

typedef struct
{
  SumiDataset parent;
  Idx images;
} IdxSet;

/* ---- the file ---- */

static GInputStream *
open_stream (const char *path, GError **error)
{
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GFileInputStream) raw = g_file_read (file, NULL, error);
  g_autoptr (GZlibDecompressor) gzip = NULL;

  if (raw == NULL)
    return NULL;
  if (!g_str_has_suffix (path, ".gz"))
    return G_INPUT_STREAM (g_steal_pointer (&raw));
  gzip = g_zlib_decompressor_new (G_ZLIB_COMPRESSOR_FORMAT_GZIP);
  return g_converter_input_stream_new (G_INPUT_STREAM (raw), G_CONVERTER (gzip));
}

/* A broken gzip stream is a file that ends too early. */
static gboolean
read_all (GInputStream *in, const char *path, void *into, gsize size, GError **error)
{
  g_autoptr (GError) wrong = NULL;
  gsize got = 0;

  if (g_input_stream_read_all (in, into, size, &got, NULL, &wrong) && got == size)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_TRUNCATED,
               "%s: found %" G_GSIZE_FORMAT " bytes, expected %" G_GSIZE_FORMAT "%s%s", path, got, size,
               wrong != NULL ? ": " : "", wrong != NULL ? wrong->message : "");
  return FALSE;
}

static gboolean
read_header (GInputStream *in, const char *path, guint rank, Idx *idx, GError **error)
{
  guint8 magic[4];
  guint32 d[3];
  guint64 size = 1;

  if (!read_all (in, path, magic, sizeof magic, error))
    return FALSE;
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || magic[3] != rank)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER,
                   "%s: found magic %02x%02x%02x%02x, expected 000008%02x (idx, bytes, rank %u)", path, magic[0],
                   magic[1], magic[2], magic[3], rank, rank);
      return FALSE;
    }
  if (!read_all (in, path, d, rank * sizeof *d, error))
    return FALSE;
  idx->rank = rank;
  for (guint i = 0; i < rank; i++)
    {
      idx->d[i] = GUINT32_FROM_BE (d[i]);
      if (idx->d[i] == 0 || (i > 0 && idx->d[i] > MAX_SIDE))
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE, "%s: found size %u, expected 1 to %d", path, idx->d[i],
                       MAX_SIDE);
          return FALSE;
        }
      size *= idx->d[i]; /* at most 2^52 */
    }
  if (size > MAX_BYTES)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
                   "%s: found %" G_GUINT64_FORMAT " bytes of pictures, expected at most %" G_GUINT64_FORMAT, path, size,
                   (guint64)MAX_BYTES);
      return FALSE;
    }
  idx->size = size;
  return TRUE;
}

static gboolean
read_values (GInputStream *in, const char *path, Idx *idx, GError **error)
{
  guint8 more;

  idx->values = g_try_malloc (idx->size); /* untouched pages cost nothing: a false size stays cheap */
  if (idx->values == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "%s: found no %" G_GSIZE_FORMAT " bytes of memory",
                   path, idx->size);
      return FALSE;
    }
  if (!read_all (in, path, idx->values, idx->size, error))
    return FALSE;
  if (g_input_stream_read (in, &more, 1, NULL, NULL) == 1)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER,
                   "%s: found more bytes than its header says, expected %" G_GSIZE_FORMAT, path, idx->size);
      return FALSE;
    }
  return TRUE;
}

static gboolean
read_idx (const char *path, guint rank, Idx *idx, GError **error)
{
  g_autoptr (GInputStream) in = open_stream (path, error);

  if (in != NULL && read_header (in, path, rank, idx, error) && read_values (in, path, idx, error))
    return TRUE;
  g_clear_pointer (&idx->values, g_free);
  return FALSE;
}

/* ---- the data set ---- */

/* The picture in the middle of a black square of a multiple of eight. */
static SumiTensor *
padded (const IdxSet *d, guint i, guint channels, GError **error)
{
  guint height = d->images.d[1], width = d->images.d[2], side = (MAX (height, width) + 7) / 8 * 8;
  const guint8 *in = d->images.values + (gsize)i * height * width;
  SumiTensor *t = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (side, side, channels), error);
  guint8 *out;

  if (t == NULL)
    return NULL;
  out = sumi_tensor_poke (t);
  for (guint y = 0; y < height; y++)
    for (guint x = 0; x < width; x++)
      memset (out + (((gsize)y + (side - height) / 2) * side + x + (side - width) / 2) * channels, *in++, channels);
  return t;
}

static SumiTensor *
idx_load (SumiDataset *dataset, guint i, guint height, guint width, guint channels, GError **error)
{
  g_autoptr (SumiTensor) image = padded ((IdxSet *)dataset, i, channels, error);
  const SumiShape *s;

  if (image == NULL)
    return NULL;
  s = sumi_tensor_get_shape (image);
  if (s->d[0] == height && s->d[1] == width)
    return g_steal_pointer (&image);
  return sumi_image_resize (image, height, width, error);
}

static void
idx_free (SumiDataset *dataset)
{
  IdxSet *d = (IdxSet *)dataset;

  g_free (d->images.values);
  g_free (d);
}

static const SumiDatasetClass idx_class = { idx_load, idx_free };

/* FOLDER/NAME or FOLDER/NAME.gz, or NULL. */
static char *
find_file (const char *folder, const char *name)
{
  g_autofree char *plain = g_build_filename (folder, name, NULL);
  g_autofree char *gzip = g_strconcat (plain, ".gz", NULL);

  if (g_file_test (gzip, G_FILE_TEST_IS_REGULAR))
    return g_steal_pointer (&gzip);
  return g_file_test (plain, G_FILE_TEST_IS_REGULAR) ? g_steal_pointer (&plain) : NULL;
}

gboolean
sumi_dataset_is_idx (const char *path)
{
  g_autofree char *images = find_file (path, IMAGES);

  return images != NULL || g_str_has_suffix (path, "-idx3-ubyte") || g_str_has_suffix (path, "-idx3-ubyte.gz");
}

/* Labels are welcome, not needed: without good ones the pictures have no captions. */
static void
add_captions (IdxSet *d, const char *folder)
{
  g_autofree char *path = find_file (folder, LABELS);
  g_autoptr (GError) error = NULL;
  Idx labels = { 0 };

  if (path == NULL)
    sumi_dataset_note (&d->parent, "%s: found no labels; the pictures have no captions", folder);
  else if (!read_idx (path, 1, &labels, &error))
    sumi_dataset_note (&d->parent, "%s; the pictures have no captions", error->message);
  else if (labels.size != d->images.d[0])
    {
      sumi_dataset_note (&d->parent, "%s: found %" G_GSIZE_FORMAT " labels, expected %u; the pictures have no captions",
                         path, labels.size, d->images.d[0]);
      g_clear_pointer (&labels.values, g_free);
    }
  for (guint i = 0; i < d->images.d[0]; i++)
    {
      char **captions = g_new0 (char *, 2);
      if (labels.values != NULL && labels.values[i] < G_N_ELEMENTS (classes))
        captions[0] = g_strdup (classes[labels.values[i]]);
      g_ptr_array_add (d->parent.captions, captions);
    }
  g_free (labels.values);
}

SumiDataset *
sumi_dataset_idx_open (const char *path, GError **error)
{
  gboolean is_folder = g_file_test (path, G_FILE_TEST_IS_DIR);
  g_autofree char *file = is_folder ? find_file (path, IMAGES) : g_strdup (path);
  g_autofree char *folder = is_folder ? g_strdup (path) : g_path_get_dirname (path);
  IdxSet *d;

  if (file == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE, "%s: found no %s, expected it or %s.gz", path, IMAGES,
                   IMAGES);
      return NULL;
    }
  d = g_new0 (IdxSet, 1);
  sumi_dataset_init (&d->parent, &idx_class);
  if (!read_idx (file, 3, &d->images, error))
    {
      sumi_dataset_free (&d->parent);
      return NULL;
    }
  add_captions (d, folder);
  d->parent.fingerprint = g_compute_checksum_for_data (G_CHECKSUM_SHA256, d->images.values, d->images.size);
  return &d->parent;
}
