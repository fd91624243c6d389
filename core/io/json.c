/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/json.h"

#include <glib/gstdio.h>
#include <string.h>

#define MAX_SIZE (4 << 20) /* json-glib makes some fifty bytes of one */
#define MAX_DEPTH 64       /* json-glib parses by recursion */

/* Also FALSE for what json-glib takes for comments and texts and JSON does not know: a quote in one of them would hide
 * brackets from this count. */
static gboolean
is_shallow (const char *text, gsize length)
{
  guint depth = 0;
  gboolean in_string = FALSE;

  for (gsize i = 0; i < length; i++)
    {
      char c = text[i];

      if (in_string)
        {
          if (c == '\\')
            i++;
          else if (c == '"')
            in_string = FALSE;
        }
      else if (c == '"')
        in_string = TRUE;
      else if (c == '[' || c == '{')
        {
          if (++depth > MAX_DEPTH)
            return FALSE;
        }
      else if ((c == ']' || c == '}') && depth > 0)
        depth--;
      else if (c == '/' || c == '\'')
        return FALSE;
    }
  return TRUE;
}

/* Python writes numbers that JSON has no words for ("lambda_min_clipped": -Infinity in diffusers' schedulers): they are
 * read as null.  text: valid UTF-8. */
static char *
without_non_finite (const char *text, gsize length)
{
  static const char *const words[] = { "-Infinity", "Infinity", "NaN" };
  GString *out = g_string_sized_new (length);
  gboolean in_string = FALSE;

  for (gsize i = 0; i < length; i++)
    {
      guint w = 0;

      if (in_string && text[i] == '\\' && i + 1 < length)
        g_string_append_c (out, text[i++]);
      else if (text[i] == '"')
        in_string = !in_string;
      while (w < G_N_ELEMENTS (words)
             && (in_string || length - i < strlen (words[w]) || memcmp (text + i, words[w], strlen (words[w])) != 0))
        w++;
      if (w < G_N_ELEMENTS (words))
        {
          g_string_append (out, "null");
          i += strlen (words[w]) - 1;
        }
      else
        g_string_append_c (out, text[i]);
    }
  return g_string_free (out, FALSE);
}

/* json-glib keeps the last of two members of one name; here the name is kept, for a message. */
typedef struct
{
  GHashTable *counts; /* JsonObject* -> number of members read */
  char *twice;
} Duplicates;

static void
count_member (JsonParser *parser, JsonObject *object, const char *name, Duplicates *d)
{
  guint count = GPOINTER_TO_UINT (g_hash_table_lookup (d->counts, object)) + 1;

  g_hash_table_insert (d->counts, object, GUINT_TO_POINTER (count));
  if (d->twice == NULL && count > json_object_get_size (object))
    d->twice = g_strdup (name);
}

static void
forget_object (JsonParser *parser, JsonObject *object, Duplicates *d)
{
  g_hash_table_remove (d->counts, object);
}

static gboolean
parse (JsonParser *parser, const char *text, const char *what, GError **error)
{
  g_autoptr (GHashTable) counts = g_hash_table_new (NULL, NULL);
  Duplicates d = { counts, NULL };
  g_autoptr (GError) wrong = NULL;

  g_signal_connect (parser, "object-member", G_CALLBACK (count_member), &d);
  g_signal_connect (parser, "object-end", G_CALLBACK (forget_object), &d);
  if (!json_parser_load_from_data (parser, text, -1, &wrong))
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "%s: %s, expected JSON", what, wrong->message);
  else if (d.twice != NULL)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "%s: found the name '%.64s' twice", what, d.twice);
  g_signal_handlers_disconnect_by_data (parser, &d);
  if (wrong == NULL && d.twice == NULL)
    return TRUE;
  g_free (d.twice);
  return FALSE;
}

JsonObject *
sumi_json_parse (const char *text, gsize length, const char *what, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autofree char *plain = NULL;
  JsonNode *root;

  if (length > MAX_SIZE)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE, "%s: found %" G_GSIZE_FORMAT " bytes, expected at most %d",
                   what, length, MAX_SIZE);
      return NULL;
    }
  if (!g_utf8_validate (text, (gssize)length, NULL) || !is_shallow (text, length))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "%s: found bytes that are not UTF-8, or lists in lists in lists, expected JSON", what);
      return NULL;
    }
  plain = without_non_finite (text, length);
  if (!parse (parser, plain, what, error))
    return NULL;
  root = json_parser_get_root (parser);
  if (root == NULL || !JSON_NODE_HOLDS_OBJECT (root))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "%s: found %s, expected a JSON object", what,
                   root != NULL ? json_node_type_name (root) : "nothing");
      return NULL;
    }
  return json_object_ref (json_node_get_object (root));
}

JsonObject *
sumi_json_load (const char *path, GError **error)
{
  g_autofree char *name = g_filename_display_name (path);
  g_autofree char *text = NULL;
  gsize length = 0;
  GStatBuf status;

  if (g_stat (path, &status) != 0 || !S_ISREG (status.st_mode))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE, "%s: found no such file, expected JSON", name);
      return NULL;
    }
  if (status.st_size > MAX_SIZE)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE, "%s: found %" G_GINT64_FORMAT " bytes, expected at most %d",
                   name, (gint64)status.st_size, MAX_SIZE);
      return NULL;
    }
  if (!g_file_get_contents (path, &text, &length, error))
    return NULL;
  return sumi_json_parse (text, length, name, error);
}
