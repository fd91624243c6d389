/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "diffusion/prompt-text.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

/* ---- comments ---- */

char *
sumi_prompt_strip_comments (const char *text)
{
  GString *out = g_string_new (NULL);
  gboolean may_begin = TRUE; /* here, a '#' begins a comment */

  for (const char *p = text, *next; *p != '\0'; p = next)
    {
      next = g_utf8_next_char (p);
      if (*p == '#' && may_begin)
        {
          next = p + strcspn (p, "\r\n");
          continue;
        }
      g_string_append_len (out, p, next - p);
      may_begin = g_unichar_isspace (g_utf8_get_char (p));
    }
  return g_string_free (out, FALSE);
}

/* ---- choices ---- */

typedef struct
{
  const char *text;
  guint32 *close; /* per byte: at the '{' of a choice the place of its '}', else 0 */
  SumiRng rng;
  GString *out;
} Choices;

typedef struct
{
  guint32 at;
  gboolean has_bar;
} Brace;

/* Braces without a bar between them are text, as are those without a partner. */
static gboolean
match_braces (Choices *c, GError **error)
{
  g_autoptr (GArray) open = g_array_new (FALSE, FALSE, sizeof (Brace));

  for (guint32 i = 0; c->text[i] != '\0'; i++)
    {
      Brace *top = open->len > 0 ? &g_array_index (open, Brace, open->len - 1) : NULL;

      if (c->text[i] == '\\' && c->text[i + 1] != '\0')
        i++;
      else if (c->text[i] == '{')
        {
          Brace brace = { i, FALSE };

          if (open->len == SUMI_PROMPT_MAX_LEVELS)
            {
              g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
                           "prompt: found more than %d open braces, expected at most that", SUMI_PROMPT_MAX_LEVELS);
              return FALSE;
            }
          g_array_append_val (open, brace);
        }
      else if (c->text[i] == '|' && top != NULL)
        top->has_bar = TRUE;
      else if (c->text[i] == '}' && top != NULL)
        {
          c->close[top->at] = top->has_bar ? i : 0;
          g_array_set_size (open, open->len - 1);
        }
    }
  return TRUE;
}

/* Draws one of the options of the choice that begins at `open`: text[*from,*to). */
static void
pick (Choices *c, guint32 open, guint32 *from, guint32 *to)
{
  g_autoptr (GArray) bars = g_array_new (FALSE, FALSE, sizeof (guint32)); /* and the braces around them */
  guint32 close = c->close[open], drawn;

  g_array_append_val (bars, open);
  for (guint32 i = open + 1; i < close; i++)
    if (c->close[i] != 0)
      i = c->close[i];
    else if (c->text[i] == '\\')
      i++;
    else if (c->text[i] == '|')
      g_array_append_val (bars, i);
  g_array_append_val (bars, close);
  drawn = (guint32)sumi_rng_below (&c->rng, bars->len - 1);
  *from = g_array_index (bars, guint32, drawn) + 1;
  *to = g_array_index (bars, guint32, drawn + 1);
}

/* Only what is said draws: an option that is not chosen changes nothing behind it. */
static void
say (Choices *c, guint32 from, guint32 to)
{
  for (guint32 i = from; i < to; i++)
    if (c->close[i] != 0)
      {
        guint32 option, end;

        pick (c, i, &option, &end);
        say (c, option, end);
        i = c->close[i];
      }
    else
      g_string_append_c (c->out, c->text[i]);
}

char *
sumi_prompt_choose (const char *text, guint64 seed, GError **error)
{
  gsize length = strlen (text);
  g_autofree guint32 *close = g_new0 (guint32, length + 1);
  g_autoptr (GString) out = g_string_new (NULL);
  Choices c = { .text = text, .close = close, .out = out };

  if (!match_braces (&c, error))
    return NULL;
  sumi_rng_seed (&c.rng, SUMI_RNG_PHILOX, seed);
  say (&c, 0, (guint32)length);
  return g_string_free (g_steal_pointer (&out), FALSE);
}

/* ---- adapters ---- */

gboolean
sumi_prompt_parse_number (const char *s, gsize length, double *value)
{
  g_autofree char *number = g_strndup (s, length);
  char *end;

  if (length == 0 || strspn (number + (*number == '+' || *number == '-'), ".0123456789") == 0)
    return FALSE;
  *value = g_ascii_strtod (number, &end);
  /* strtod would take an exponent or a hexadecimal number, too */
  return *end == '\0' && strspn (number, "+-.0123456789") == length && isfinite (*value);
}

/* NULL where the fields between the colons are no adapter. */
static SumiPromptLora *
lora_from_fields (char **fields)
{
  double text = 1, unet;
  guint n = g_strv_length (fields);
  SumiPromptLora *lora;

  for (guint i = 0; i < n; i++)
    g_strstrip (fields[i]);
  if (n < 1 || n > 3 || fields[0][0] == '\0')
    return NULL;
  if (n > 1 && !sumi_prompt_parse_number (fields[1], strlen (fields[1]), &text))
    return NULL;
  unet = text;
  if (n > 2 && !sumi_prompt_parse_number (fields[2], strlen (fields[2]), &unet))
    return NULL;
  lora = g_new0 (SumiPromptLora, 1);
  *lora = (SumiPromptLora){ g_strdup (fields[0]), unet, text };
  return lora;
}

/* The length of the adapter's tag at p, 0 where there is none. */
static gsize
take_lora (const char *p, GPtrArray *loras)
{
  const char *inner = p + strlen ("<lora:");
  g_autofree char *text = NULL;
  g_auto (GStrv) fields = NULL;
  SumiPromptLora *lora;
  gsize length;

  if (!g_str_has_prefix (p, "<lora:"))
    return 0;
  length = strcspn (inner, "<>");
  if (inner[length] != '>')
    return 0;
  text = g_strndup (inner, length);
  fields = g_strsplit (text, ":", -1);
  lora = lora_from_fields (fields);
  if (lora == NULL)
    return 0;
  g_ptr_array_add (loras, lora);
  return (gsize)(inner - p) + length + 1;
}

char *
sumi_prompt_take_loras (const char *text, GPtrArray *loras)
{
  GString *out = g_string_new (NULL);

  while (*text != '\0')
    {
      gsize tag = *text == '<' ? take_lora (text, loras) : 0;

      text += tag;
      if (tag > 0)
        continue;
      if (*text == '\\' && text[1] != '\0')
        g_string_append_c (out, *text++);
      g_string_append_c (out, *text++);
    }
  return g_string_free (out, FALSE);
}
