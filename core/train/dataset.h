/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pictures with captions to train on, read one at a time. */
#pragma once

#include <gio/gio.h>

#include "tensor/tensor.h"

G_BEGIN_DECLS

typedef enum
{
  SUMI_DATASET_AUTO,
  SUMI_DATASET_FOLDER, /* pictures, with metadata.jsonl or NAME.txt beside NAME.png (dataset-folder.c) */
  SUMI_DATASET_IDX,    /* the files of MNIST and Fashion-MNIST (dataset-idx.c) */
  SUMI_N_DATASETS
} SumiDatasetKind;

gboolean sumi_dataset_kind_parse (const char *name, SumiDatasetKind *kind, GError **error); /* usage */

typedef struct _SumiDataset SumiDataset;

typedef struct
{
  SumiTensor *(*load) (SumiDataset *d, guint i, guint height, guint width, guint channels, GError **error);
  void (*free) (SumiDataset *d);
} SumiDatasetClass;

/* A kind's data set begins with this. */
struct _SumiDataset
{
  const SumiDatasetClass *klass;
  GPtrArray *captions; /* char**: of each picture, the most important first; none: an empty list */
  GPtrArray *notes;    /* char*: what was passed over, for the user */
  char *fingerprint;   /* changes when a picture does */
};

/* `path` is a folder (or an idx file).  Fails when it holds no picture (missing_file), or as reading it fails; single
 * bad entries are passed over with a note. */
SumiDataset *sumi_dataset_open (const char *path, SumiDatasetKind kind, GError **error);
void sumi_dataset_free (SumiDataset *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiDataset, sumi_dataset_free)

guint sumi_dataset_get_size (const SumiDataset *d);
const char *const *sumi_dataset_peek_captions (const SumiDataset *d, guint i); /* NULL-terminated */
gboolean sumi_dataset_has_captions (const SumiDataset *d);                     /* at least one */
/* U8 (height,width,channels), channels 1 or 3; transparent places are white. */
SumiTensor *sumi_dataset_load (SumiDataset *d, guint i, guint height, guint width, guint channels, GError **error);

/* ---- for the kinds ---- */
SumiDataset *sumi_dataset_folder_open (const char *path, GError **error);
SumiDataset *sumi_dataset_idx_open (const char *path, GError **error);
gboolean sumi_dataset_is_idx (const char *path);
void sumi_dataset_init (SumiDataset *d, const SumiDatasetClass *klass);
void sumi_dataset_note (SumiDataset *d, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* U8 (H,W,3) -> (H,W,1): luma after Rec. 601. */
SumiTensor *sumi_dataset_to_grey (const SumiTensor *image, GError **error);

G_END_DECLS
