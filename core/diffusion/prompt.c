/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Weights follow AUTOMATIC1111's grammar, in which a text is a row of
 *   \( \) \[ \] \\ | \ | ( | [ | :NUMBER) | ) | ] | text without \ ( ) [ ] : | :
 * each the first of these that fits, a lone backslash saying nothing. */
#include "diffusion/prompt.h"

#include <math.h>
#include <string.h>

#include "diffusion/prompt-text.h"

#define MAX_PROMPT (64 << 10)
#define MAX_WEIGHT 1e12 /* what is multiplied with it stays finite */
#define ROUND_FACTOR 1.1
#define SQUARE_FACTOR (1 / 1.1)

static const char *const emphasis_names[] = { "original", "no-norm", "none" };

const char *
sumi_emphasis_name (SumiEmphasis e)
{
  return (guint)e < G_N_ELEMENTS (emphasis_names) ? emphasis_names[e] : "unknown";
}

gboolean
sumi_emphasis_parse (const char *s, SumiEmphasis *e, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (emphasis_names); i++)
    if (g_strcmp0 (s, emphasis_names[i]) == 0)
      {
        *e = (SumiEmphasis)i;
        return TRUE;
      }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "emphasis: found '%s', expected original, no-norm or none",
               s != NULL ? s : "");
  return FALSE;
}

/* ---- the prompt ---- */

static void
part_free (gpointer data)
{
  SumiPromptPart *p = data;

  g_free (p->text);
  g_free (p);
}

static void
lora_free (gpointer data)
{
  SumiPromptLora *l = data;

  g_free (l->name);
  g_free (l);
}

void
sumi_prompt_free (SumiPrompt *p)
{
  if (p == NULL)
    return;
  g_ptr_array_unref (p->parts);
  g_ptr_array_unref (p->loras);
  g_free (p->plain);
  g_free (p);
}

static void
add_part (SumiPrompt *p, const char *text, double weight)
{
  SumiPromptPart *part = g_new (SumiPromptPart, 1);

  *part = (SumiPromptPart){ g_strdup (text), weight };
  g_ptr_array_add (p->parts, part);
}

/* ---- weights ---- */

typedef struct
{
  const char *start; /* NULL: BREAK */
  gsize length;
  double weight;
} Piece;

typedef struct
{
  GArray *pieces;         /* Piece */
  GArray *round, *square; /* guint: how many pieces there were at each open bracket */
} Weights;

static void
add_piece (Weights *w, const char *start, gsize length)
{
  Piece piece = { start, length, 1 };

  g_array_append_val (w->pieces, piece);
}

static gboolean
open_bracket (Weights *w, GArray *brackets, GError **error)
{
  if (w->round->len + w->square->len == SUMI_PROMPT_MAX_LEVELS)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
                   "prompt: found more than %d open brackets, expected at most that", SUMI_PROMPT_MAX_LEVELS);
      return FALSE;
    }
  g_array_append_val (brackets, w->pieces->len);
  return TRUE;
}

static void
close_bracket (Weights *w, GArray *brackets, double factor)
{
  for (guint i = g_array_index (brackets, guint, brackets->len - 1); i < w->pieces->len; i++)
    g_array_index (w->pieces, Piece, i).weight *= factor;
  g_array_set_size (brackets, brackets->len - 1);
}

/* No sign of the grammar is white space, nor is the end of the text. */
static const char *
skip_space (const char *p)
{
  while (g_unichar_isspace (g_utf8_get_char (p)))
    p = g_utf8_next_char (p);
  return p;
}

static const char *
skip_space_back (const char *start, const char *p)
{
  while (p > start && g_unichar_isspace (g_utf8_get_char (g_utf8_prev_char (p))))
    p = g_utf8_prev_char (p);
  return p;
}

/* The length of ":NUMBER)" at p, or 0. */
static gsize
match_weight (const char *p, double *weight)
{
  const char *number = skip_space (p + 1), *after;
  gsize length = (*number == '+' || *number == '-');

  length += strspn (number + length, ".0123456789");
  after = skip_space (number + length);
  if (*after != ')' || !sumi_prompt_parse_number (number, length, weight))
    return 0;
  return (gsize)(after + 1 - p);
}

static gboolean
is_word_char (gunichar c)
{
  return g_unichar_isalnum (c) || c == '_';
}

/* The first BREAK in [p,end) that is a word of its own, or NULL. */
static const char *
find_break (const char *p, const char *end)
{
  const gsize length = strlen ("BREAK");

  for (const char *at = p; (at = g_strstr_len (at, end - at, "BREAK")) != NULL; at += length)
    if ((at == p || !is_word_char (g_utf8_get_char (g_utf8_prev_char (at))))
        && (at + length == end || !is_word_char (g_utf8_get_char (at + length))))
      return at;
  return NULL;
}

/* White space around BREAK goes with it. */
static void
add_text (Weights *w, const char *p, gsize length)
{
  const char *end = p + length, *at;

  while ((at = find_break (p, end)) != NULL)
    {
      add_piece (w, p, (gsize)(skip_space_back (p, at) - p));
      add_piece (w, NULL, 0);
      p = skip_space (at + strlen ("BREAK"));
    }
  add_piece (w, p, (gsize)(end - p));
}

/* Takes one element of the grammar at p; its length, 0 on error. */
static gsize
take_element (Weights *w, const char *p, GError **error)
{
  double factor;
  gsize n;

  switch (*p)
    {
    case '\\':
      n = p[1] != '\0' && strchr ("()[]\\", p[1]) != NULL ? 1 : 0;
      add_piece (w, p + 1, n);
      return n + 1;
    case '(':
    case '[':
      return open_bracket (w, *p == '(' ? w->round : w->square, error) ? 1 : 0;
    case ':':
      n = match_weight (p, &factor);
      if (n > 0 && w->round->len > 0)
        close_bracket (w, w->round, factor);
      else
        add_piece (w, p, MAX (n, 1));
      return MAX (n, 1);
    case ')':
    case ']':
      if (*p == ')' && w->round->len > 0)
        close_bracket (w, w->round, ROUND_FACTOR);
      else if (*p == ']' && w->square->len > 0)
        close_bracket (w, w->square, SQUARE_FACTOR);
      else
        add_piece (w, p, 1);
      return 1;
    default:
      n = strcspn (p, "\\()[]:");
      add_text (w, p, n);
      return n;
    }
}

/* Runs of pieces of one weight become parts; pieces without text have then done what they do, keeping words apart. */
static gboolean
join_pieces (SumiPrompt *prompt, const GArray *pieces, GError **error)
{
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < pieces->len; i++)
    {
      const Piece *piece = &g_array_index (pieces, Piece, i), *next = piece + 1;

      if (piece->start == NULL)
        {
          add_part (prompt, NULL, 1);
          continue;
        }
      g_string_append_len (text, piece->start, (gssize)piece->length);
      if (i + 1 < pieces->len && next->start != NULL && next->weight == piece->weight)
        continue;
      if (text->len > 0 && !(fabs (piece->weight) <= MAX_WEIGHT))
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "prompt: found weight %g, expected at most %g",
                       piece->weight, MAX_WEIGHT);
          return FALSE;
        }
      if (text->len > 0)
        add_part (prompt, text->str, piece->weight);
      g_string_truncate (text, 0);
    }
  return TRUE;
}

static gboolean
parse_weights (SumiPrompt *prompt, const char *text, GError **error)
{
  g_autoptr (GArray) pieces = g_array_new (FALSE, FALSE, sizeof (Piece));
  g_autoptr (GArray) round = g_array_new (FALSE, FALSE, sizeof (guint));
  g_autoptr (GArray) square = g_array_new (FALSE, FALSE, sizeof (guint));
  Weights w = { pieces, round, square };

  for (gsize n; *text != '\0'; text += n)
    if ((n = take_element (&w, text, error)) == 0)
      return FALSE;
  while (round->len > 0) /* brackets left open reach to the end */
    close_bracket (&w, round, ROUND_FACTOR);
  while (square->len > 0)
    close_bracket (&w, square, SQUARE_FACTOR);
  return join_pieces (prompt, pieces, error);
}

/* ---- all of it ---- */

static gboolean
check_text (const char *text, GError **error)
{
  gsize size = strlen (text);

  if (size > MAX_PROMPT)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE,
                   "prompt: found %" G_GSIZE_FORMAT " bytes, expected at most %d", size, MAX_PROMPT);
      return FALSE;
    }
  if (!g_utf8_validate (text, (gssize)size, NULL))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "prompt: found bytes that are not UTF-8, expected UTF-8 text");
      return FALSE;
    }
  return TRUE;
}

SumiPrompt *
sumi_prompt_parse (const char *text, SumiEmphasis emphasis, guint64 seed, GError **error)
{
  g_autoptr (SumiPrompt) prompt = g_new0 (SumiPrompt, 1);
  g_autofree char *commented = NULL, *chosen = NULL;

  prompt->parts = g_ptr_array_new_with_free_func (part_free);
  prompt->loras = g_ptr_array_new_with_free_func (lora_free);
  if (text == NULL)
    text = "";
  if (!check_text (text, error))
    return NULL;
  if (emphasis == SUMI_EMPHASIS_NONE)
    {
      prompt->plain = g_strdup (text);
      if (*text != '\0')
        add_part (prompt, text, 1);
      return g_steal_pointer (&prompt);
    }
  commented = sumi_prompt_strip_comments (text);
  chosen = sumi_prompt_choose (commented, seed, error);
  if (chosen == NULL)
    return NULL;
  prompt->plain = sumi_prompt_take_loras (chosen, prompt->loras);
  return parse_weights (prompt, prompt->plain, error) ? g_steal_pointer (&prompt) : NULL;
}
