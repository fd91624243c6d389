/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Hyper-parameters out of untrusted JSON. */
#include "nn/config.h"

/* The field's node, or NULL when absent or null. */
static JsonNode *
field (JsonObject *json, const char *name)
{
  JsonNode *node = json_object_get_member (json, name);

  return node != NULL && !JSON_NODE_HOLDS_NULL (node) ? node : NULL;
}

/* What was found, cut to a length that fits a message. */
static char *
describe (JsonNode *node)
{
  g_autofree char *text = json_to_string (node, FALSE);

  if (g_utf8_strlen (text, -1) > 40)
    {
      g_autofree char *head = g_utf8_substring (text, 0, 37);

      return g_strconcat (head, "…", NULL);
    }
  return g_steal_pointer (&text);
}

static gboolean refuse (const char *name, JsonNode *node, GError **error, const char *format, ...) G_GNUC_PRINTF (4, 5);

static gboolean
refuse (const char *name, JsonNode *node, GError **error, const char *format, ...)
{
  g_autofree char *found = node != NULL ? describe (node) : g_strdup ("nothing");
  g_autofree char *expected = NULL;
  va_list args;

  va_start (args, format);
  expected = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "%s: found %s, expected %s", name, found, expected);
  return FALSE;
}

static gboolean
node_is (JsonNode *node, GType type)
{
  return JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == type;
}

static gboolean
read_int (const char *name, JsonNode *node, gint64 min, gint64 max, gint64 *value, GError **error)
{
  gint64 v;

  if (!node_is (node, G_TYPE_INT64) || (v = json_node_get_int (node)) < min || v > max)
    return refuse (name, node, error, "an integer from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, min, max);
  *value = v;
  return TRUE;
}

gboolean
sumi_config_int (JsonObject *json, const char *name, gint64 min, gint64 max, gint64 *value, GError **error)
{
  JsonNode *node = field (json, name);

  return node == NULL || read_int (name, node, min, max, value, error);
}

gboolean
sumi_config_required_int (JsonObject *json, const char *name, gint64 min, gint64 max, gint64 *value, GError **error)
{
  JsonNode *node = field (json, name);

  if (node == NULL)
    return refuse (name, NULL, error, "an integer from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, min, max);
  return read_int (name, node, min, max, value, error);
}

gboolean
sumi_config_uint (JsonObject *json, const char *name, guint min, guint max, guint *value, GError **error)
{
  gint64 v = *value;

  if (!sumi_config_int (json, name, min, max, &v, error))
    return FALSE;
  *value = (guint)v;
  return TRUE;
}

gboolean
sumi_config_double (JsonObject *json, const char *name, double min, double max, double *value, GError **error)
{
  JsonNode *node = field (json, name);
  double v;

  if (node == NULL)
    return TRUE;
  if (!node_is (node, G_TYPE_DOUBLE) && !node_is (node, G_TYPE_INT64))
    return refuse (name, node, error, "a number from %g to %g", min, max);
  v = json_node_get_double (node);
  if (!(v >= min && v <= max)) /* also NaN */
    return refuse (name, node, error, "a number from %g to %g", min, max);
  *value = v;
  return TRUE;
}

gboolean
sumi_config_bool (JsonObject *json, const char *name, gboolean *value, GError **error)
{
  JsonNode *node = field (json, name);

  if (node == NULL)
    return TRUE;
  if (!node_is (node, G_TYPE_BOOLEAN))
    return refuse (name, node, error, "true or false");
  *value = json_node_get_boolean (node);
  return TRUE;
}

gboolean
sumi_config_string (JsonObject *json, const char *name, const char **value, GError **error)
{
  JsonNode *node = field (json, name);

  if (node == NULL)
    return TRUE;
  if (!node_is (node, G_TYPE_STRING))
    return refuse (name, node, error, "a string");
  *value = json_node_get_string (node);
  return TRUE;
}

gboolean
sumi_config_choice (JsonObject *json, const char *name, const char *const *choices, guint *value, GError **error)
{
  JsonNode *node = field (json, name);
  g_autofree char *all = NULL;

  if (node == NULL)
    return TRUE;
  if (node_is (node, G_TYPE_STRING))
    for (guint i = 0; choices[i] != NULL; i++)
      if (g_str_equal (json_node_get_string (node), choices[i]))
        {
          *value = i;
          return TRUE;
        }
  all = g_strjoinv (" or ", (char **)choices);
  return refuse (name, node, error, "%s", all);
}

gboolean
sumi_config_ints (JsonObject *json, const char *name, guint n, gint64 min, gint64 max, gint64 *values, GError **error)
{
  JsonNode *node = field (json, name);
  JsonArray *list;

  if (node == NULL)
    return TRUE;
  if (!JSON_NODE_HOLDS_ARRAY (node))
    {
      gint64 v;

      if (!read_int (name, node, min, max, &v, error))
        return FALSE;
      for (guint i = 0; i < n; i++)
        values[i] = v;
      return TRUE;
    }
  list = json_node_get_array (node);
  if (json_array_get_length (list) != n)
    return refuse (name, node, error, "a list of %u", n);
  for (guint i = 0; i < n; i++)
    if (!read_int (name, json_array_get_element (list, i), min, max, &values[i], error))
      return FALSE;
  return TRUE;
}

gboolean
sumi_config_list_length (JsonObject *json, const char *name, guint min, guint max, guint *n, GError **error)
{
  JsonNode *node = field (json, name);

  if (node == NULL || !JSON_NODE_HOLDS_ARRAY (node) || json_array_get_length (json_node_get_array (node)) < min
      || json_array_get_length (json_node_get_array (node)) > max)
    return refuse (name, node, error, "a list of %u to %u", min, max);
  *n = json_array_get_length (json_node_get_array (node));
  return TRUE;
}

gboolean
sumi_config_must_be (JsonObject *json, const char *name, const char *expected, GError **error)
{
  JsonNode *node = field (json, name);
  g_autofree char *text = NULL;

  if (node == NULL)
    return TRUE;
  text = json_to_string (node, FALSE);
  return g_str_equal (text, expected) || refuse (name, node, error, "%s", expected);
}
