/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A folder of pictures.  With metadata.jsonl its lines name the pictures and their captions (the Hugging Face
 * "imagefolder" layout, with an optional list "captions" beside "text"); without, every picture counts and NAME.txt
 * beside it holds its captions, one a line. */
#include "train/dataset.h"

#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/image.h"

#define WHITE 0xffffff
#define MAX_METADATA (1u << 30)
#define MAX_SIDECAR (1u << 20)
#define MAX_LINE (1u << 16)
#define MAX_CAPTION 4096
#define MAX_CAPTIONS 256
#define MAX_BRACKETS 64 /* json-glib recurses; no honest line nests so deep */

typedef struct
{
  SumiDataset parent;
  GPtrArray *paths; /* char*: of each picture */
  GChecksum *checksum;
} Folder;

static SumiTensor *
folder_load (SumiDataset *dataset, guint i, guint height, guint width, guint channels, GError **error)
{
  Folder *d = (Folder *)dataset;
  const char *path = d->paths->pdata[i];
  g_autoptr (SumiTensor) image = sumi_image_load (path, WHITE, error);
  g_autoptr (SumiTensor) fitted = NULL;

  if (image == NULL)
    return NULL;
  fitted = sumi_image_cover (image, height, width, error);
  if (fitted == NULL)
    return NULL;
  return channels == 1 ? sumi_dataset_to_grey (fitted, error) : g_steal_pointer (&fitted);
}

static void
folder_free (SumiDataset *dataset)
{
  Folder *d = (Folder *)dataset;

  g_ptr_array_unref (d->paths);
  g_checksum_free (d->checksum);
  g_free (d);
}

static const SumiDatasetClass folder_class = { folder_load, folder_free };

/* ---- entries ---- */

/* Adds a stripped, valid, non-empty caption; FALSE when it is none. */
static gboolean
add_caption (GPtrArray *captions, const char *text)
{
  g_autofree char *caption = NULL;

  if (text == NULL || strlen (text) > MAX_CAPTION || !g_utf8_validate (text, -1, NULL))
    return FALSE;
  caption = g_strstrip (g_strdup (text));
  if (*caption == '\0' || captions->len >= MAX_CAPTIONS)
    return FALSE;
  for (guint i = 0; i < captions->len; i++)
    if (strcmp (captions->pdata[i], caption) == 0)
      return TRUE;
  g_ptr_array_add (captions, g_steal_pointer (&caption));
  return TRUE;
}

/* Takes the captions. The fingerprint sees size and time of the file, not its content: folders can be large. */
static void
add_picture (Folder *d, const char *folder, const char *name, GPtrArray *captions)
{
  g_autofree char *path = g_build_filename (folder, name, NULL);
  g_autofree char *line = NULL;
  struct stat st;

  if (stat (path, &st) != 0 || !S_ISREG (st.st_mode))
    {
      sumi_dataset_note (&d->parent, "%s: found no such picture; passed over", name);
      g_ptr_array_unref (captions);
      return;
    }
  line = g_strdup_printf ("%s\n%" G_GINT64_FORMAT "\n%" G_GINT64_FORMAT ".%09ld\n", name, (gint64)st.st_size,
                          (gint64)st.st_mtim.tv_sec, (long)st.st_mtim.tv_nsec);
  g_checksum_update (d->checksum, (const guchar *)line, -1);
  g_ptr_array_add (d->paths, g_steal_pointer (&path));
  g_ptr_array_add (captions, NULL);
  g_ptr_array_add (d->parent.captions, g_ptr_array_free (captions, FALSE));
}

/* ---- metadata.jsonl ---- */

/* Below the folder itself, whatever the file says. */
static gboolean
is_safe_name (const char *name)
{
  g_auto (GStrv) parts = g_strsplit (name, "/", -1);

  if (*name == '\0' || g_path_is_absolute (name))
    return FALSE;
  for (char **part = parts; *part != NULL; part++)
    if (strcmp (*part, "..") == 0)
      return FALSE;
  return TRUE;
}

static const char *
string_member (JsonObject *json, const char *name)
{
  JsonNode *node = json_object_get_member (json, name);

  return node != NULL && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;
}

static GPtrArray *
captions_of (JsonObject *json)
{
  GPtrArray *captions = g_ptr_array_new_with_free_func (g_free);
  JsonNode *node = json_object_get_member (json, "captions");

  add_caption (captions, string_member (json, "text"));
  if (node != NULL && JSON_NODE_HOLDS_ARRAY (node))
    for (guint i = 0; i < json_array_get_length (json_node_get_array (node)); i++)
      {
        JsonNode *e = json_array_get_element (json_node_get_array (node), i);
        add_caption (captions, JSON_NODE_HOLDS_VALUE (e) ? json_node_get_string (e) : NULL);
      }
  return captions;
}

static JsonNode *
parse_line (const char *line)
{
  guint brackets = 0;

  for (const char *c = line; *c != '\0'; c++)
    brackets += *c == '[' || *c == '{';
  if (brackets > MAX_BRACKETS || strlen (line) > MAX_LINE || !g_utf8_validate (line, -1, NULL))
    return NULL;
  return json_from_string (line, NULL);
}

static void
add_line (Folder *d, const char *folder, const char *line, guint number)
{
  g_autoptr (JsonNode) node = parse_line (line);
  JsonObject *json = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  const char *name = json != NULL ? string_member (json, "file_name") : NULL;

  if (json == NULL)
    sumi_dataset_note (&d->parent, "metadata.jsonl line %u: found no JSON object; passed over", number);
  else if (name == NULL || !is_safe_name (name))
    sumi_dataset_note (&d->parent, "metadata.jsonl line %u: found no file_name inside the folder; passed over", number);
  else
    add_picture (d, folder, name, captions_of (json));
}

/* TRUE and NULL when there is no such file. */
static gboolean
read_text (const char *path, gsize max, char **text, GError **error)
{
  struct stat st;

  *text = NULL;
  if (stat (path, &st) != 0)
    return TRUE;
  if (!S_ISREG (st.st_mode) || (guint64)st.st_size > max)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
                   "%s: found %" G_GINT64_FORMAT " bytes, expected at most %" G_GSIZE_FORMAT, path, (gint64)st.st_size,
                   max);
      return FALSE;
    }
  return g_file_get_contents (path, text, NULL, error);
}

static void
add_lines (Folder *d, const char *folder, char *text)
{
  guint number = 1;

  for (char *line = text, *next; line != NULL; line = next, number++)
    {
      next = strchr (line, '\n');
      if (next != NULL)
        *next++ = '\0';
      g_strstrip (line);
      if (*line != '\0')
        add_line (d, folder, line, number);
    }
}

/* ---- pictures with NAME.txt ---- */

static gboolean
is_picture (const char *name)
{
  static const char *const endings[] = { ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", NULL };
  g_autofree char *lower = g_ascii_strdown (name, -1);

  if (*name == '.')
    return FALSE;
  for (guint i = 0; endings[i] != NULL; i++)
    if (g_str_has_suffix (lower, endings[i]))
      return TRUE;
  return FALSE;
}

static GPtrArray *
read_sidecar (Folder *d, const char *folder, const char *name)
{
  GPtrArray *captions = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *stem = g_strndup (name, strrchr (name, '.') - name);
  g_autofree char *file = g_strconcat (stem, ".txt", NULL);
  g_autofree char *path = g_build_filename (folder, file, NULL);
  g_autofree char *text = NULL;
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) lines = NULL;

  if (!read_text (path, MAX_SIDECAR, &text, &error))
    sumi_dataset_note (&d->parent, "%s; passed over", error->message);
  if (text == NULL)
    return captions;
  lines = g_strsplit (text, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    if (*g_strstrip (lines[i]) != '\0' && !add_caption (captions, lines[i]))
      sumi_dataset_note (&d->parent, "%s line %u: found no caption of at most %d bytes of UTF-8; passed over", file,
                         i + 1, MAX_CAPTION);
  return captions;
}

static gint
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *)a, *(char *const *)b);
}

static gboolean
add_pictures (Folder *d, const char *folder, GError **error)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, error);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);

  if (dir == NULL)
    return FALSE;
  for (const char *name; (name = g_dir_read_name (dir)) != NULL;)
    if (is_picture (name))
      g_ptr_array_add (names, g_strdup (name));
  g_ptr_array_sort (names, compare_names); /* the order of a folder is no order */
  for (guint i = 0; i < names->len; i++)
    add_picture (d, folder, names->pdata[i], read_sidecar (d, folder, names->pdata[i]));
  return TRUE;
}

SumiDataset *
sumi_dataset_folder_open (const char *folder, GError **error)
{
  g_autofree char *metadata = g_build_filename (folder, "metadata.jsonl", NULL);
  g_autofree char *text = NULL;
  Folder *d;

  if (!g_file_test (folder, G_FILE_TEST_IS_DIR))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE, "%s: found no folder, expected one with pictures",
                   folder);
      return NULL;
    }
  if (!read_text (metadata, MAX_METADATA, &text, error))
    return NULL;
  d = g_new0 (Folder, 1);
  sumi_dataset_init (&d->parent, &folder_class);
  d->paths = g_ptr_array_new_with_free_func (g_free);
  d->checksum = g_checksum_new (G_CHECKSUM_SHA256);
  if (text != NULL)
    add_lines (d, folder, text);
  else if (!add_pictures (d, folder, error))
    {
      sumi_dataset_free (&d->parent);
      return NULL;
    }
  d->parent.fingerprint = g_strdup (g_checksum_get_string (d->checksum));
  return &d->parent;
}
