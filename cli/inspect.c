/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sumi inspect: what a model file is, as text or as JSON. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#include <json-glib/json-glib.h>

#include "inspect.h"
#include "models/inspection.h"

#define SHOWN_NAMES 10
#define SHOWN_BYTES 200

/* How many tensors of each type, and how many bytes in all. */
static void
count_tensors (const SumiTensorMap *weights, guint count[SUMI_N_DTYPES], guint64 *values, guint64 *bytes)
{
  *values = *bytes = 0;
  for (guint i = 0; i < sumi_tensor_map_get_size (weights); i++)
    {
      const SumiTensor *t = sumi_tensor_map_peek_nth (weights, i);
      SumiDType dtype = sumi_tensor_get_dtype (t);

      count[dtype]++;
      *bytes += sumi_tensor_get_size (t);
      if (sumi_dtype_is_float (dtype))
        *values += (guint64)sumi_tensor_get_numel (t);
    }
}

static char **
sorted_keys (GHashTable *metadata)
{
  g_autoptr (GList) keys = g_list_sort (g_hash_table_get_keys (metadata), (GCompareFunc)strcmp);
  GPtrArray *list = g_ptr_array_new ();

  for (GList *k = keys; k != NULL; k = k->next)
    g_ptr_array_add (list, k->data);
  g_ptr_array_add (list, NULL);
  return (char **)g_ptr_array_free (list, FALSE); /* the strings are the table's */
}

static const char *
family_of (const SumiInspection *i)
{
  const char *family = i->adapter != NULL ? sumi_adapter_report_family (i->adapter) : NULL;

  if (i->report != NULL)
    family = sumi_family_name (i->config.family);
  return family != NULL ? family : "unknown";
}

/* ---- JSON ---- */

void
inspect_add_names (JsonBuilder *b, const char *member, const GPtrArray *names)
{
  if (names == NULL)
    return;
  json_builder_set_member_name (b, member);
  json_builder_begin_array (b);
  for (guint i = 0; i < names->len; i++)
    json_builder_add_string_value (b, g_ptr_array_index (names, i));
  json_builder_end_array (b);
}

static void
add_string (JsonBuilder *b, const char *member, const char *value)
{
  json_builder_set_member_name (b, member);
  json_builder_add_string_value (b, value);
}

static void
add_int (JsonBuilder *b, const char *member, guint64 value)
{
  json_builder_set_member_name (b, member);
  json_builder_add_int_value (b, (gint64)value);
}

static void
add_double (JsonBuilder *b, const char *member, double value)
{
  json_builder_set_member_name (b, member);
  json_builder_add_double_value (b, value);
}

/* A list of texts of the configuration, as it is. */
static void
add_texts (JsonBuilder *b, const char *member, JsonObject *config)
{
  JsonNode *node = json_object_get_member (config, member);

  if (node == NULL || !JSON_NODE_HOLDS_ARRAY (node))
    return;
  json_builder_set_member_name (b, member);
  json_builder_add_value (b, json_node_copy (node));
}

static void
add_parts (JsonBuilder *b, const SumiInspection *i)
{
  json_builder_set_member_name (b, "components");
  json_builder_begin_object (b);
  for (guint k = 0; k < SUMI_N_COMPONENTS; k++)
    if (i->report->n_part[k] > 0)
      add_int (b, sumi_component_name (k), i->report->n_part[k]);
  json_builder_end_object (b);
}

static void
add_defaults (JsonBuilder *b, const SumiModelConfig *c)
{
  json_builder_set_member_name (b, "defaults");
  json_builder_begin_object (b);
  add_string (b, "sampler", c->defaults.sampler);
  if (c->defaults.sigmas != NULL)
    add_string (b, "sigmas", c->defaults.sigmas);
  add_int (b, "steps", c->defaults.steps);
  add_double (b, "guidance_scale", c->defaults.guidance_scale);
  add_int (b, "width", (guint64)c->width * c->scale);
  add_int (b, "height", (guint64)c->height * c->scale);
  json_builder_end_object (b);
}

static void
add_model (JsonBuilder *b, const SumiInspection *i)
{
  const SumiModelConfig *c = &i->config;

  add_texts (b, "evidence", i->json);
  add_string (b, "variant", sumi_inspection_get_variant (i));
  add_parts (b, i);
  add_defaults (b, c);
  add_texts (b, "ignored", i->json);
  json_builder_set_member_name (b, "rescale_betas_zero_snr");
  json_builder_add_boolean_value (b, c->rescale_betas_zero_snr);

  add_string (b, "prediction_type", sumi_prediction_name (c->prediction));
  add_int (b, "num_train_timesteps", c->num_train_timesteps);
  json_builder_set_member_name (b, "sample");
  json_builder_begin_array (b);
  json_builder_add_int_value (b, c->channels);
  json_builder_add_int_value (b, c->height);
  json_builder_add_int_value (b, c->width);
  json_builder_end_array (b);
  inspect_add_names (b, "missing", i->report->missing);
  inspect_add_names (b, "unknown", i->report->unknown);
  if (i->report->wrong != NULL)
    {
      add_string (b, "error_class", sumi_error_class (i->report->wrong));
      add_string (b, "error", i->report->wrong->message);
    }
}

static void
print_json (const SumiInspection *i)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  GHashTable *metadata = sumi_tensor_map_peek_metadata (i->weights);
  g_autofree char **keys = sorted_keys (metadata);
  g_autofree char *path = g_filename_display_name (i->path), *text = NULL;
  guint count[SUMI_N_DTYPES] = { 0 };
  guint64 values, bytes;

  count_tensors (i->weights, count, &values, &bytes);
  json_builder_begin_object (b);
  add_string (b, "path", path);
  add_string (b, "family", family_of (i));
  if (i->report == NULL && i->adapter == NULL)
    add_string (b, "found", i->why->message);
  add_int (b, "parameters", i->report != NULL ? i->report->n_parameters : values);
  add_int (b, "tensors", sumi_tensor_map_get_size (i->weights));
  add_int (b, "bytes", bytes);
  json_builder_set_member_name (b, "dtypes");
  json_builder_begin_object (b);
  for (guint d = 0; d < SUMI_N_DTYPES; d++)
    if (count[d] > 0)
      add_int (b, sumi_dtype_name (d), count[d]);
  json_builder_end_object (b);
  if (i->report != NULL)
    add_model (b, i);
  if (i->adapter != NULL)
    inspect_add_adapter (b, i->adapter);
  inspect_add_names (b, "non_finite", i->non_finite);
  json_builder_set_member_name (b, "metadata");
  json_builder_begin_object (b);
  for (guint k = 0; keys[k] != NULL; k++)
    add_string (b, keys[k], g_hash_table_lookup (metadata, keys[k]));
  json_builder_end_object (b);
  json_builder_end_object (b);

  root = json_builder_get_root (b);
  json_generator_set_root (generator, root);
  json_generator_set_pretty (generator, TRUE);
  text = json_generator_to_data (generator, NULL);
  printf ("%s\n", text);
}

/* ---- text ---- */

char *
inspect_shown (const char *text)
{
  g_autofree char *start = g_strndup (text, SHOWN_BYTES);
  char *line = g_utf8_make_valid (start, -1);

  for (char *c = line; *c != '\0'; c++)
    if ((guchar)*c < 0x20 || *c == 0x7f)
      *c = ' ';
  if (strlen (text) > SHOWN_BYTES)
    {
      char *cut = g_strconcat (line, "…", NULL);
      g_free (line);
      return cut;
    }
  return line;
}

void
inspect_print_names (const char *title, const GPtrArray *names)
{
  if (names == NULL || names->len == 0)
    return;
  printf ("%-13s %u\n", title, names->len);
  for (guint i = 0; i < MIN (names->len, SHOWN_NAMES); i++)
    {
      g_autofree char *name = inspect_shown (g_ptr_array_index (names, i));
      printf ("  %s\n", name);
    }
  if (names->len > SHOWN_NAMES)
    printf ("  … and %u more\n", names->len - SHOWN_NAMES);
}

/* A list of texts of the configuration, a line each, the first ones. */
static void
print_texts (const char *title, JsonObject *config, const char *member, gboolean counted)
{
  JsonNode *node = json_object_get_member (config, member);
  JsonArray *list = node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
  const guint n = list != NULL ? json_array_get_length (list) : 0;

  if (counted && n > 0)
    printf ("%-13s %u\n", title, n);
  for (guint i = 0; i < MIN (n, SHOWN_NAMES); i++)
    {
      JsonNode *e = json_array_get_element (list, i);
      const char *text = JSON_NODE_HOLDS_VALUE (e) ? json_node_get_string (e) : NULL;
      g_autofree char *line = inspect_shown (text != NULL ? text : "");

      printf (counted ? "  %s\n" : "              %s\n", line);
    }
  if (n > SHOWN_NAMES)
    printf ("  … and %u more\n", n - SHOWN_NAMES);
}

static void
print_parts (const SumiModelReport *r)
{
  for (guint k = 0; k < SUMI_N_COMPONENTS; k++)
    if (r->n_part[k] > 0)
      printf ("  %-15s %" G_GUINT64_FORMAT "\n", sumi_component_name (k), r->n_part[k]);
}

static void
print_model (const SumiInspection *i)
{
  const SumiModelConfig *c = &i->config;

  printf ("%-13s %s\n", "draws from:", sumi_inspection_get_variant (i));
  printf ("%-13s %s%s\n", "prediction:", sumi_prediction_name (c->prediction),
          c->rescale_betas_zero_snr ? ", zero terminal SNR" : "");
  printf ("%-13s %s%s%s, %u steps, guidance %g, %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT " pixels\n",
          "defaults:", c->defaults.sampler, c->defaults.sigmas != NULL ? " " : "",
          c->defaults.sigmas != NULL ? c->defaults.sigmas : "", c->defaults.steps, c->defaults.guidance_scale,
          c->width * c->scale, c->height * c->scale);
  printf ("%-13s %u\n", "timesteps:", c->num_train_timesteps);
  printf ("%-13s %" G_GINT64_FORMAT " channels, %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT "%s\n", "sample:", c->channels,
          c->width, c->height, c->scale == 1 ? " pixels" : " latents");
  inspect_print_names ("missing:", i->report->missing);
  inspect_print_names ("unknown:", i->report->unknown);
  print_texts ("ignored:", i->json, "ignored", TRUE);
  if (i->report->wrong != NULL)
    {
      g_autofree char *message = inspect_shown (i->report->wrong->message);
      printf ("%-13s [%s] %s\n", "wrong:", sumi_error_class (i->report->wrong), message);
    }
}

static void
print_text (const SumiInspection *i)
{
  GHashTable *metadata = sumi_tensor_map_peek_metadata (i->weights);
  g_autofree char **keys = sorted_keys (metadata);
  guint count[SUMI_N_DTYPES] = { 0 };
  guint64 values, bytes;
  g_autofree char *path = g_filename_display_name (i->path), *size = NULL;

  count_tensors (i->weights, count, &values, &bytes);
  size = g_format_size (bytes);
  printf ("%-13s %s\n", "path:", path);
  printf ("%-13s %s\n", "family:", family_of (i));
  if (i->report == NULL && i->adapter == NULL)
    {
      g_autofree char *why = inspect_shown (i->why->message);
      printf ("%-13s %s\n", "", why);
    }
  else if (i->report != NULL)
    print_texts ("", i->json, "evidence", FALSE);
  printf ("%-13s %" G_GUINT64_FORMAT "\n", "parameters:", i->report != NULL ? i->report->n_parameters : values);
  if (i->report != NULL)
    print_parts (i->report);
  printf ("%-13s %u (", "tensors:", sumi_tensor_map_get_size (i->weights));
  for (guint d = 0, n = 0; d < SUMI_N_DTYPES; d++)
    if (count[d] > 0)
      printf ("%s%u %s", n++ > 0 ? ", " : "", count[d], sumi_dtype_name (d));
  printf (") %s\n", size);
  if (i->report != NULL)
    print_model (i);
  if (i->adapter != NULL)
    inspect_print_adapter (i->adapter);
  inspect_print_names ("not finite:", i->non_finite);
  if (keys[0] != NULL)
    printf ("metadata:\n");
  for (guint k = 0; keys[k] != NULL; k++)
    {
      g_autofree char *key = inspect_shown (keys[k]), *value = inspect_shown (g_hash_table_lookup (metadata, keys[k]));
      printf ("  %s: %s\n", key, value);
    }
}

int
sumi_cli_inspect (int argc, char **argv)
{
  g_autofree char *load_as = NULL;
  gboolean json = FALSE;
  const GOptionEntry entries[]
      = { { "load", 0, 0, G_OPTION_ARG_STRING, &load_as,
            "Read every tensor, as: any, model, lora, textual-inversion or a family's name", "AS" },
          { "json", 0, 0, G_OPTION_ARG_NONE, &json, "Print a JSON object", NULL },
          { NULL } };
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiInspection) inspection = NULL;

  if (!sumi_cli_parse (&argc, &argv, "inspect", "FILE",
                       "Says what a model (a file, a folder, a name), an adapter or an embedding is.", entries, &error))
    return sumi_cli_fail (error);
  if (argc != 2)
    return sumi_cli_usage ("found %d arguments, expected one FILE (see 'sumi inspect --help')", argc - 1);
  inspection = sumi_inspection_new (argv[1], load_as, &error);
  if (inspection == NULL)
    return sumi_cli_fail (error);
  if (json)
    print_json (inspection);
  else
    print_text (inspection);
  return 0;
}
