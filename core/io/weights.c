/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/weights.h"

#include "io/gguf.h"
#include "io/plain-file.h"
#include "io/reader.h"
#include "io/safetensors.h"
#include "io/shards.h"
#include "io/torch-zip.h"

typedef enum
{
  SAFETENSORS,
  TORCH_ZIP,
  GGUF,
  INDEX
} Format;

static gboolean
starts_with (const guint8 *data, gsize size, const char *magic, gsize n)
{
  return size >= n && memcmp (data, magic, n) == 0;
}

/* A length that fits, then a brace: it may begin with the letters of any other format. */
static gboolean
looks_like_safetensors (const guint8 *data, gsize size)
{
  SumiReader r = { data, data + size };
  guint64 length;

  return sumi_reader_take_uint (&r, 8, &length) && length <= sumi_reader_left (&r) && length > 0 && r.p[0] == '{';
}

/* Text, which has no zeros: the length that a damaged file of safetensors begins with has some. */
static gboolean
looks_like_json (const guint8 *data, gsize size)
{
  gsize i = 0;

  if (memchr (data, 0, MIN (size, 8)) != NULL)
    return FALSE;
  while (i < size && g_ascii_isspace (data[i]))
    i++;
  return i < size && data[i] == '{';
}

/* Told by what the file holds. What nothing else begins with is left to the reader of safetensors, to say what is
 * wrong. */
static Format
find_format (const guint8 *data, gsize size)
{
  if (looks_like_safetensors (data, size))
    return SAFETENSORS;
  if (starts_with (data, size, "PK\3\4", 4) || starts_with (data, size, "PK\5\6", 4))
    return TORCH_ZIP;
  if (starts_with (data, size, "GGUF", 4))
    return GGUF;
  return looks_like_json (data, size) ? INDEX : SAFETENSORS;
}

static SumiTensorMap *
open_one (const char *path, GError **error)
{
  g_autoptr (GBytes) bytes = sumi_plain_file_map (path, error);
  const guint8 *data;
  gsize size;

  if (bytes == NULL)
    return NULL;
  data = g_bytes_get_data (bytes, &size);
  switch (find_format (data, size))
    {
    case TORCH_ZIP:
      return sumi_torch_zip_open (path, error);
    case GGUF:
      return sumi_gguf_open (path, error);
    default:
      return sumi_safetensors_open (path, error);
    }
}

SumiTensorMap *
sumi_weights_open (const char *path, GError **error)
{
  g_autoptr (GBytes) bytes = sumi_plain_file_map (path, error);
  g_autofree char *folder = g_path_get_dirname (path);
  const guint8 *data;
  SumiTensorMap *map;
  gsize size;

  if (bytes == NULL)
    return NULL;
  data = g_bytes_get_data (bytes, &size);
  if (find_format (data, size) != INDEX)
    return open_one (path, error);
  map = sumi_shards_open ((const char *)data, size, folder, open_one, error);
  if (map == NULL)
    g_prefix_error (error, "%s: ", path);
  return map;
}
