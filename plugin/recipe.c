/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "recipe.h"

#include <glib/gi18n-lib.h>
#include <json-glib/json-glib.h>

#define NAME_CHARACTERS 60

/* White space of any kind and length becomes one space. */
static char *
on_one_line (const char *text)
{
  g_autoptr (GString) line = g_string_new (NULL);
  gboolean gap = FALSE;

  for (const char *p = text; *p != '\0'; p = g_utf8_next_char (p))
    {
      gunichar c = g_utf8_get_char (p);
      if (g_unichar_isspace (c) || g_unichar_iscntrl (c))
        gap = line->len > 0;
      else
        {
          if (gap)
            g_string_append_c (line, ' ');
          g_string_append_unichar (line, c);
          gap = FALSE;
        }
    }
  return g_string_free (g_steal_pointer (&line), FALSE);
}

char *
sumi_recipe_layer_name (const char *prompt, guint64 seed)
{
  g_autofree char *line = on_one_line (prompt);
  g_autofree char *start = g_utf8_substring (line, 0, MIN (g_utf8_strlen (line, -1), NAME_CHARACTERS));
  const char *cut = g_utf8_strlen (line, -1) > NAME_CHARACTERS ? "…" : "";
  g_autofree char *number = g_strdup_printf ("%" G_GUINT64_FORMAT, seed);
  const char *name = line[0] != '\0' ? start : _ ("No prompt");

  /* Translators: a layer's name: the start of the prompt, an ellipsis or nothing, the seed */
  return g_strdup_printf (_ ("%s%s (seed %s)"), name, cut, number);
}

char *
sumi_recipe_json (const char *procedure, const SumiRunArgs *args, const SumiResultInfo *info)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;

  json_builder_begin_object (b);
#define TEXT(name, value) (json_builder_set_member_name (b, name), json_builder_add_string_value (b, value))
#define WHOLE(name, value) (json_builder_set_member_name (b, name), json_builder_add_int_value (b, value))
#define REAL(name, value) (json_builder_set_member_name (b, name), json_builder_add_double_value (b, value))
  TEXT ("sumi", SUMI_VERSION);
  TEXT ("procedure", procedure);
  TEXT ("prompt", args->prompt);
  TEXT ("negative", args->negative);
  WHOLE ("width", info->width);
  WHOLE ("height", info->height);
  WHOLE ("steps", args->steps);
  REAL ("guidance-scale", args->guidance_scale);
  TEXT ("sampler", args->sampler);
  REAL ("eta", args->eta);
  WHOLE ("seed", (gint64)info->seed); /* the plug-in's seeds have 31 bits */
  TEXT ("model", args->model);
  TEXT ("schedule", args->schedule);
  TEXT ("parameters", info->parameters);
#undef TEXT
#undef WHOLE
#undef REAL
  json_builder_end_object (b);
  root = json_builder_get_root (b);
  json_generator_set_root (generator, root);
  return json_generator_to_data (generator, NULL);
}
