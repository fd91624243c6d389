/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the kinds of data sets share. */
#include "train/dataset.h"

#include <stdarg.h>
#include <string.h>

#define MAX_NOTES 20

static const char *const kind_names[SUMI_N_DATASETS] = { "auto", "folder", "fashion-mnist" };

gboolean
sumi_dataset_kind_parse (const char *name, SumiDatasetKind *kind, GError **error)
{
  for (guint i = 0; i < SUMI_N_DATASETS; i++)
    if (strcmp (name, kind_names[i]) == 0)
      {
        *kind = (SumiDatasetKind)i;
        return TRUE;
      }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "--kind: found '%s', expected auto, folder or fashion-mnist", name);
  return FALSE;
}

void
sumi_dataset_init (SumiDataset *d, const SumiDatasetClass *klass)
{
  d->klass = klass;
  d->captions = g_ptr_array_new_with_free_func ((GDestroyNotify)g_strfreev);
  d->notes = g_ptr_array_new_with_free_func (g_free);
}

/* A thousand broken files are told as twenty and a last word. */
void
sumi_dataset_note (SumiDataset *d, const char *format, ...)
{
  va_list args;

  if (d->notes->len < MAX_NOTES)
    {
      va_start (args, format);
      g_ptr_array_add (d->notes, g_strdup_vprintf (format, args));
      va_end (args);
    }
  else if (d->notes->len == MAX_NOTES)
    g_ptr_array_add (d->notes, g_strdup ("more of the data set was passed over"));
}

SumiDataset *
sumi_dataset_open (const char *path, SumiDatasetKind kind, GError **error)
{
  SumiDataset *d;

  if (kind == SUMI_DATASET_AUTO)
    kind = sumi_dataset_is_idx (path) ? SUMI_DATASET_IDX : SUMI_DATASET_FOLDER;
  d = kind == SUMI_DATASET_IDX ? sumi_dataset_idx_open (path, error) : sumi_dataset_folder_open (path, error);
  if (d != NULL && sumi_dataset_get_size (d) == 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE, "%s: found no picture, expected at least one%s%s", path,
                   d->notes->len > 0 ? "; " : "", d->notes->len > 0 ? (char *)d->notes->pdata[0] : "");
      g_clear_pointer (&d, sumi_dataset_free);
    }
  return d;
}

void
sumi_dataset_free (SumiDataset *d)
{
  if (d == NULL)
    return;
  g_ptr_array_unref (d->captions);
  g_ptr_array_unref (d->notes);
  g_free (d->fingerprint);
  d->klass->free (d);
}

guint
sumi_dataset_get_size (const SumiDataset *d)
{
  return d->captions->len;
}

const char *const *
sumi_dataset_peek_captions (const SumiDataset *d, guint i)
{
  return d->captions->pdata[i];
}

gboolean
sumi_dataset_has_captions (const SumiDataset *d)
{
  for (guint i = 0; i < d->captions->len; i++)
    if (*sumi_dataset_peek_captions (d, i) != NULL)
      return TRUE;
  return FALSE;
}

SumiTensor *
sumi_dataset_load (SumiDataset *d, guint i, guint height, guint width, guint channels, GError **error)
{
  if (channels != 1 && channels != 3)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "channels: found %u, expected 1 (grey) or 3 (colour)",
                   channels);
      return NULL;
    }
  return d->klass->load (d, i, height, width, channels, error);
}

SumiTensor *
sumi_dataset_to_grey (const SumiTensor *image, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (image);
  SumiTensor *grey = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (s->d[0], s->d[1], 1), error);
  const guint8 *rgb = sumi_tensor_peek (image);
  guint8 *out;

  if (grey == NULL)
    return NULL;
  out = sumi_tensor_poke (grey);
  for (gint64 i = 0; i < s->d[0] * s->d[1]; i++, rgb += 3)
    out[i] = (guint8)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
  return grey;
}
