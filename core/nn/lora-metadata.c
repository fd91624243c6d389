/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What adapters say in their headers. */
#include "nn/lora-private.h"

#include <math.h>
#include <string.h>

#define MAX_LENGTH (1 << 20)
#define MAX_LISTS 1000 /* json-glib parses by recursion: this bounds the depth */

JsonNode *
sumi_lora_metadata_json (const SumiTensorMap *file, const char *key)
{
  const char *text = sumi_tensor_map_get_metadata (file, key);
  g_autoptr (JsonParser) parser = json_parser_new ();
  guint lists = 0;

  if (text == NULL || strlen (text) > MAX_LENGTH || !g_utf8_validate (text, -1, NULL))
    return NULL;
  for (const char *c = text; *c != '\0'; c++)
    lists += *c == '[' || *c == '{';
  if (lists > MAX_LISTS || !json_parser_load_from_data (parser, text, -1, NULL))
    return NULL;
  return json_parser_steal_root (parser);
}

/* A positive number, else `otherwise`. */
static double
number (JsonObject *o, const char *member, double otherwise)
{
  JsonNode *node = json_object_get_member (o, member);
  double x;

  if (node == NULL || !JSON_NODE_HOLDS_VALUE (node))
    return otherwise;
  x = json_node_get_double (node);
  return isfinite (x) && x > 0 ? x : otherwise;
}

/* The module's path, or its end behind a dot, is what a pattern names. */
static gboolean
matches (const char *pattern, const char *path)
{
  gsize n = strlen (pattern), length = strlen (path);

  if (pattern[0] == '^')
    return strcmp (pattern + 1, path) == 0;
  return n > 0 && length >= n && strcmp (path + length - n, pattern) == 0
         && (length == n || path[length - n - 1] == '.');
}

static double
alpha_of (JsonObject *o, const char *prefix, const char *path)
{
  g_autofree char *alpha = g_strconcat (prefix, "lora_alpha", NULL),
                  *patterns = g_strconcat (prefix, "alpha_pattern", NULL);
  JsonNode *node = json_object_get_member (o, patterns);

  if (node != NULL && JSON_NODE_HOLDS_OBJECT (node))
    {
      g_autoptr (GList) names = json_object_get_members (json_node_get_object (node));

      for (GList *n = names; n != NULL; n = n->next)
        if (matches (n->data, path))
          return number (json_node_get_object (node), n->data, 0);
    }
  return number (o, alpha, 0);
}

double
sumi_lora_metadata_scale (JsonNode *json, const char *module, guint rank)
{
  const char *path = strchr (module, '.');
  g_autofree char *prefix = path != NULL ? g_strndup (module, path + 1 - module) : NULL; /* "unet." */
  g_autofree char *rslora = NULL;
  JsonObject *o;
  JsonNode *node;
  double alpha;

  if (json == NULL || !JSON_NODE_HOLDS_OBJECT (json) || path == NULL || rank == 0)
    return 1;
  o = json_node_get_object (json);
  alpha = alpha_of (o, prefix, path + 1);
  if (alpha == 0)
    {
      g_clear_pointer (&prefix, g_free);
      prefix = g_strdup (""); /* written for one model only */
      alpha = alpha_of (o, prefix, path + 1);
    }
  rslora = g_strconcat (prefix, "use_rslora", NULL);
  node = json_object_get_member (o, rslora);
  if (alpha == 0)
    return 1;
  /* Kalajdzievski 2023, "A rank stabilization scaling factor": alpha / sqrt (r) */
  return alpha / (node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_boolean (node) ? sqrt (rank) : rank);
}
