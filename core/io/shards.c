/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/shards.h"

#include <string.h>

#include "io/json.h"

#define MAX_SHARDS 1024

typedef struct
{
  const char *folder;
  SumiShardOpen open;
  GHashTable *shards; /* file name (char*, owned) -> SumiTensorMap* */
  JsonObject *index;  /* tensor -> file name */
} Load;

/* The name of a file beside the index, and nothing that leads elsewhere. */
static gboolean
is_plain_name (const char *name)
{
  return name[0] != '\0' && name[0] != '.' && strpbrk (name, "/\\:") == NULL;
}

/* What a shard holds and the index does not give to it is a second value of a tensor, or a lost one. */
static gboolean
check_listed (const Load *l, const char *file, const SumiTensorMap *shard, GError **error)
{
  for (guint i = 0; i < sumi_tensor_map_get_size (shard); i++)
    {
      const char *name = sumi_tensor_map_get_name (shard, i);
      JsonNode *node = json_object_get_member (l->index, name);
      const char *listed = node != NULL && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;

      if (g_strcmp0 (listed, file) != 0)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER, "%s: found in %s, expected %s%s", name, file,
                       listed != NULL ? "only in " : "in no shard: the index does not list it",
                       listed != NULL ? listed : "");
          return FALSE;
        }
    }
  return TRUE;
}

/* Borrowed from the table, which opens each shard once. */
static SumiTensorMap *
find_shard (Load *l, const char *file, GError **error)
{
  SumiTensorMap *shard = g_hash_table_lookup (l->shards, file);
  g_autofree char *path = NULL;

  if (shard != NULL)
    return shard;
  if (!is_plain_name (file))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PATH,
                   "found the shard '%.64s', expected the name of a file beside the index", file);
      return NULL;
    }
  if (g_hash_table_size (l->shards) == MAX_SHARDS)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE, "found more than %d shards", MAX_SHARDS);
      return NULL;
    }
  path = g_build_filename (l->folder, file, NULL);
  shard = l->open (path, error);
  if (shard == NULL)
    return NULL;
  g_hash_table_insert (l->shards, g_strdup (file), shard);
  return check_listed (l, file, shard, error) ? shard : NULL;
}

static gboolean
add_tensor (Load *l, SumiTensorMap *map, const char *name, JsonNode *value, GError **error)
{
  const char *file = json_node_get_value_type (value) == G_TYPE_STRING ? json_node_get_string (value) : NULL;
  SumiTensorMap *shard;
  SumiTensor *t;

  if (file == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "weight_map.%.64s: expected the name of a file", name);
      return FALSE;
    }
  shard = find_shard (l, file, error);
  if (shard == NULL)
    return FALSE;
  t = sumi_tensor_map_peek (shard, name);
  if (t == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR, "%s: not in %s, where the index has it", name, file);
      return FALSE;
    }
  sumi_tensor_map_set (map, name, t);
  return TRUE;
}

static gboolean
load_all (Load *l, SumiTensorMap *map, GError **error)
{
  JsonObjectIter iter;
  const char *name;
  JsonNode *value;

  json_object_iter_init_ordered (&iter, l->index);
  while (json_object_iter_next_ordered (&iter, &name, &value))
    if (!add_tensor (l, map, name, value, error))
      return FALSE;
  return TRUE;
}

/* Texts and numbers, such as "total_size". */
static void
copy_metadata (JsonObject *metadata, SumiTensorMap *map)
{
  JsonObjectIter iter;
  const char *name;
  JsonNode *value;

  json_object_iter_init_ordered (&iter, metadata);
  while (json_object_iter_next_ordered (&iter, &name, &value))
    if (json_node_get_value_type (value) == G_TYPE_STRING)
      sumi_tensor_map_set_metadata (map, name, json_node_get_string (value));
    else if (JSON_NODE_HOLDS_VALUE (value))
      {
        g_autofree char *number = json_to_string (value, FALSE);
        sumi_tensor_map_set_metadata (map, name, number);
      }
}

static JsonObject *
peek_object (JsonObject *o, const char *name)
{
  JsonNode *node = json_object_get_member (o, name);

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

SumiTensorMap *
sumi_shards_open (const char *text, gsize length, const char *folder, SumiShardOpen open, GError **error)
{
  g_autoptr (JsonObject) json = sumi_json_parse (text, length, "index", error);
  g_autoptr (GHashTable) shards
      = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)sumi_tensor_map_unref);
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  Load l = { folder, open, shards, NULL };

  if (json == NULL)
    return NULL;
  l.index = peek_object (json, "weight_map");
  if (l.index == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "found JSON without the object \"weight_map\", "
                   "expected an index of shards");
      return NULL;
    }
  if (!load_all (&l, map, error))
    return NULL;
  if (peek_object (json, "metadata") != NULL)
    copy_metadata (peek_object (json, "metadata"), map);
  return g_steal_pointer (&map);
}
