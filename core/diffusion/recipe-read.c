/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading a recipe.  The text comes from anywhere: nothing in it is trusted, and what is out of range is left out. */
#include "diffusion/recipe.h"

#include <math.h>
#include <string.h>

#include "diffusion/sampler.h"

#define MAX_FIELDS 256
#define MAX_NAME 64
#define MIN_FIELDS 3 /* of a last line, as A1111 asks */

/* ---- fields ---- */

static gboolean
is_name_char (char c)
{
  return g_ascii_isalnum (c) || c == ' ' || c == '_' || c == '-' || c == '/' || c == '+';
}

/* "text" with \" and \\, or what comes before the next comma. *at goes behind it. */
static char *
read_value (const char **at)
{
  const char *c = *at, *end;
  GString *value;

  if (*c != '"')
    {
      end = strchr (c, ',');
      *at = end != NULL ? end : c + strlen (c);
      return g_strchomp (g_strndup (c, (gsize)(*at - c)));
    }
  value = g_string_new (NULL);
  for (c++; *c != '\0' && *c != '"'; c++)
    {
      if (*c == '\\' && c[1] != '\0')
        c++;
      g_string_append_c (value, *c);
    }
  *at = *c == '"' ? c + 1 : c;
  return g_string_free (value, FALSE);
}

/* "Name: value, Name: value"; of a name that comes twice the first counts. NULL: not such a line. */
static GHashTable *
read_fields (const char *line)
{
  g_autoptr (GHashTable) fields = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  const char *at = line;

  while (*at != '\0' && g_hash_table_size (fields) < MAX_FIELDS)
    {
      const char *start;
      char *name, *value;

      while (*at == ' ' || *at == ',')
        at++;
      for (start = at; is_name_char (*at);)
        at++;
      if (at == start || at - start > MAX_NAME || *at != ':')
        break;
      name = g_strndup (start, (gsize)(at - start));
      for (at++; *at == ' ';)
        at++;
      value = read_value (&at);
      if (g_hash_table_contains (fields, name))
        {
          g_free (name);
          g_free (value);
        }
      else
        g_hash_table_insert (fields, name, value);
    }
  return g_hash_table_size (fields) >= MIN_FIELDS ? g_steal_pointer (&fields) : NULL;
}

/* Takes a field out; NULL when there is none. */
static char *
take (GHashTable *fields, const char *name)
{
  gpointer key, value;

  if (!g_hash_table_steal_extended (fields, name, &key, &value))
    return NULL;
  g_free (key);
  return value;
}

/* ---- values ---- */

static void
wrong (SumiRecipe *r, const char *name, const char *value)
{
  g_ptr_array_add (r->notes, g_strdup_printf ("recipe: %s was ignored: found '%.40s'", name, value));
}

static void
read_uint (SumiRecipe *r, GHashTable *fields, const char *name, guint min, guint max, guint *out)
{
  g_autofree char *value = take (fields, name);
  guint64 n;

  if (value == NULL)
    return;
  if (g_ascii_string_to_unsigned (value, 10, min, max, &n, NULL))
    *out = (guint)n;
  else
    wrong (r, name, value);
}

/* TRUE when it was there and good. */
static gboolean
read_double (SumiRecipe *r, GHashTable *fields, const char *name, double min, double max, double *out)
{
  g_autofree char *value = take (fields, name);
  char *end;
  double x;

  if (value == NULL)
    return FALSE;
  x = g_ascii_strtod (value, &end);
  if (end != value && *end == '\0' && x >= min && x <= max)
    {
      *out = x;
      return TRUE;
    }
  wrong (r, name, value);
  return FALSE;
}

static gboolean
read_flag (GHashTable *fields, const char *name)
{
  g_autofree char *value = take (fields, name);

  return value != NULL && g_ascii_strcasecmp (value, "false") != 0;
}

static void
read_seed (SumiRecipe *r, GHashTable *fields)
{
  g_autofree char *value = take (fields, "Seed");

  if (value != NULL && !g_ascii_string_to_unsigned (value, 10, 0, G_MAXUINT64, &r->request.seed, NULL))
    wrong (r, "Seed", value);
}

static void
read_size (SumiRecipe *r, GHashTable *fields)
{
  g_autofree char *value = take (fields, "Size");
  g_auto (GStrv) sides = value != NULL ? g_strsplit (value, "x", 3) : NULL;
  guint64 width, height;

  if (value == NULL)
    return;
  if (g_strv_length (sides) == 2
      && g_ascii_string_to_unsigned (sides[0], 10, SUMI_MIN_SIDE, SUMI_MAX_SIDE, &width, NULL)
      && g_ascii_string_to_unsigned (sides[1], 10, SUMI_MIN_SIDE, SUMI_MAX_SIDE, &height, NULL))
    {
      r->request.width = (guint)width;
      r->request.height = (guint)height;
    }
  else
    wrong (r, "Size", value);
}

/* "DPM++ 2M Karras" of older files names both; a newer "Schedule type" comes beside it. */
static void
read_sampler (SumiRecipe *r, GHashTable *fields)
{
  g_autofree char *sampler = take (fields, "Sampler"), *schedule = take (fields, "Schedule type");

  r->request.sampler = sumi_sampler_from_title (sampler);
  if (r->request.sampler == NULL)
    wrong (r, "Sampler", sampler);
  else
    r->request.sigmas = sumi_sampler_sigmas_from_title (sampler);
  if (schedule == NULL)
    return;
  if (strcmp (schedule, "Karras (diffusers)") == 0)
    r->request.use_karras_sigmas = TRUE;
  else if (g_ascii_strcasecmp (schedule, "Automatic") == 0)
    r->request.sigmas = sumi_sampler_automatic_sigmas (r->request.sampler);
  else if (sumi_sigmas_from_title (schedule) != NULL)
    r->request.sigmas = sumi_sigmas_from_title (schedule);
  else
    wrong (r, "Schedule type", schedule);
}

/* A1111 draws as the GPU does unless it says otherwise. */
static void
read_rng (SumiRecipe *r, GHashTable *fields)
{
  g_autofree char *value = take (fields, "RNG");

  if (value == NULL || g_str_equal (value, "NV") || g_str_equal (value, "GPU"))
    r->request.rng = SUMI_RNG_PHILOX;
  else if (g_str_equal (value, "CPU"))
    r->request.rng = SUMI_RNG_TORCH;
  else
    wrong (r, "RNG", value);
}

static void
read_emphasis (SumiRecipe *r, GHashTable *fields)
{
  g_autofree char *value = take (fields, "Emphasis");

  if (value == NULL || g_str_equal (value, "Original"))
    r->request.emphasis = SUMI_EMPHASIS_ORIGINAL;
  else if (g_str_equal (value, "No norm"))
    r->request.emphasis = SUMI_EMPHASIS_NO_NORM;
  else if (g_str_equal (value, "None"))
    r->request.emphasis = SUMI_EMPHASIS_NONE;
  else
    wrong (r, "Emphasis", value);
}

static void
read_prediction (SumiRecipe *r, GHashTable *fields)
{
  g_autofree char *value = take (fields, "Prediction");
  SumiPrediction prediction;

  if (value != NULL && sumi_prediction_parse (value, &prediction, NULL))
    r->request.prediction = sumi_prediction_name (prediction);
  else if (value != NULL)
    wrong (r, "Prediction", value);
}

static void
read_guidance (SumiRecipe *r, GHashTable *fields)
{
  SumiRequest *q = &r->request;
  double low = 0, high = INFINITY;

  read_double (r, fields, "CFG scale", 0, SUMI_MAX_GUIDANCE, &q->guidance_scale);
  read_double (r, fields, "Image CFG scale", 0, SUMI_MAX_GUIDANCE, &q->image_guidance_scale);
  read_double (r, fields, "Guidance rescale", 0, 1, &q->guidance_rescale);
  read_double (r, fields, "Guidance to sigma", 0, 1e6, &low);
  read_double (r, fields, "Guidance from sigma", 0, INFINITY, &high);
  if (low < high)
    {
      q->guidance_low = low;
      q->guidance_high = high;
    }
  q->cfg_pp = read_flag (fields, "CFG++");
}

/* ---- the whole ---- */

/* Neither asked for when drawing, nor missed. */
static void
drop_known (GHashTable *fields)
{
  static const char *const known[] = { "Model hash", "VAE hash", "Lora hashes", "TI hashes",  "TI",
                                       "Hashes",     "Version",  "User",        "Batch size", "Batch pos" };

  for (guint i = 0; i < G_N_ELEMENTS (known); i++)
    g_hash_table_remove (fields, known[i]);
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

static void
tell_unknown (SumiRecipe *r, GHashTable *fields)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_autofree char *all = NULL;
  GHashTableIter i;
  gpointer name;

  g_hash_table_iter_init (&i, fields);
  while (g_hash_table_iter_next (&i, &name, NULL))
    g_ptr_array_add (names, name);
  if (names->len == 0)
    return;
  g_ptr_array_sort (names, compare_names);
  g_ptr_array_add (names, NULL);
  all = g_strjoinv (", ", (char **)names->pdata);
  g_ptr_array_add (r->notes, g_strdup_printf ("recipe: not understood and ignored: %s", all));
}

static void
read_all (SumiRecipe *r, GHashTable *fields)
{
  SumiRequest *q = &r->request;
  g_autofree char *precision = take (fields, "Precision");
  guint tile = 0;

  read_uint (r, fields, "Steps", 1, SUMI_MAX_STEPS, &q->steps);
  read_sampler (r, fields);
  read_seed (r, fields);
  read_size (r, fields);
  read_guidance (r, fields);
  read_uint (r, fields, "Clip skip", 0, SUMI_MAX_CLIP_SKIP, &q->clip_skip);
  read_emphasis (r, fields);
  read_prediction (r, fields);
  if (!read_double (r, fields, "Eta DDIM", 0, 1, &q->eta))
    read_double (r, fields, "Eta", 0, 1, &q->eta);
  read_uint (r, fields, "Tile", SUMI_RECIPE_LATENT, SUMI_MAX_SIDE, &tile);
  q->tile = tile / SUMI_RECIPE_LATENT;
  read_rng (r, fields);
  r->model = take (fields, "Model");
  r->vae = take (fields, "VAE");
  r->bf16 = g_strcmp0 (precision, "bf16") == 0;
  r->from_image = read_double (r, fields, "Denoising strength", 0, 1, &q->strength);
  r->from_image |= read_flag (fields, "Picture");
  r->masked = read_flag (fields, "Masked");
  drop_known (fields);
  tell_unknown (r, fields);
}

/* The lines before the last: prompt, then from "Negative prompt:" on the other. */
static void
read_texts (SumiRecipe *r, const char *text, gsize length)
{
  static const char mark[] = "Negative prompt:";
  g_autofree char *both = g_strndup (text, length);
  char *at = both;

  while (at != NULL && !g_str_has_prefix (at, mark))
    {
      at = strchr (at, '\n');
      at = at != NULL ? at + 1 : NULL;
    }
  if (at != NULL)
    {
      r->negative_prompt = g_strstrip (g_strdup (at + strlen (mark)));
      *at = '\0';
    }
  r->prompt = g_strstrip (g_strdup (both));
  r->request.prompt = r->prompt;
  r->request.negative_prompt = r->negative_prompt;
}

SumiRecipe *
sumi_recipe_read (const char *text, GError **error)
{
  gsize length = strlen (text);
  g_autofree char *whole = NULL;
  g_autoptr (GHashTable) fields = NULL;
  SumiRecipe *r;
  const char *last;

  if (length > SUMI_RECIPE_MAX_SIZE || !g_utf8_validate (text, (gssize)length, NULL))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE,
                   "recipe: found %" G_GSIZE_FORMAT " bytes, expected UTF-8 of at most %d bytes", length,
                   SUMI_RECIPE_MAX_SIZE);
      return NULL;
    }
  whole = g_strchomp (g_strdup (text));
  last = strrchr (whole, '\n');
  last = last != NULL ? last + 1 : whole;
  fields = read_fields (last);
  if (fields == NULL || !g_hash_table_contains (fields, "Steps") || !g_hash_table_contains (fields, "Sampler"))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE,
                   "recipe: found no line of settings, expected 'Steps: …, Sampler: …' at the end");
      return NULL;
    }
  r = g_new0 (SumiRecipe, 1);
  r->notes = g_ptr_array_new_with_free_func (g_free);
  sumi_request_init (&r->request);
  read_texts (r, whole, (gsize)(last - whole));
  read_all (r, fields);
  return r;
}

void
sumi_recipe_free (SumiRecipe *r)
{
  if (r == NULL)
    return;
  g_free (r->prompt);
  g_free (r->negative_prompt);
  g_free (r->model);
  g_free (r->vae);
  g_ptr_array_unref (r->notes);
  g_free (r);
}
