/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/evidence.h"

void
sumi_evidence_add (JsonObject *config, const char *format, ...)
{
  JsonNode *node = json_object_get_member (config, "evidence");
  g_autofree char *text = NULL;
  va_list args;

  if (node == NULL || !JSON_NODE_HOLDS_ARRAY (node))
    {
      json_object_set_array_member (config, "evidence", json_array_new ());
      node = json_object_get_member (config, "evidence");
    }
  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  json_array_add_string_element (json_node_get_array (node), text);
}

void
sumi_evidence_set_ignored (JsonObject *config, const GPtrArray *names)
{
  JsonArray *list;

  if (names->len == 0)
    return;
  list = json_array_new ();
  for (guint i = 0; i < names->len; i++)
    json_array_add_string_element (list, g_ptr_array_index (names, i));
  json_object_set_array_member (config, "ignored", list);
}
