/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `sumi inspect` says of adapters and embeddings. */
#include "inspect.h"

#include <stdio.h>

static void
print_lora (const SumiLoraInfo *l)
{
  printf ("%-13s LoRA, keys as written by: %s\n", "kind:", l->dialect);
  if (l->rank > 0)
    printf ("%-13s %u\n", "rank:", l->rank);
  if (l->alpha != 0)
    printf ("%-13s %g\n", "alpha:", l->alpha);
  printf ("%-13s %u%s\n", "modules:", l->n_modules, l->text_encoder ? ", some of a text encoder" : "");
  if (l->n_tokens > 0)
    printf ("%-13s %u\n", "embeddings:", l->n_tokens);
  inspect_print_names ("unknown:", l->unknown);
}

static gint64
width_of (const SumiTensor *vectors)
{
  return vectors != NULL ? sumi_tensor_get_shape (vectors)->d[1] : 0;
}

static void
print_embedding (const SumiEmbedding *e)
{
  const SumiTensor *both[] = { e->vectors, e->vectors_2 };
  g_autofree char *token = inspect_shown (e->token);

  printf ("%-13s textual inversion\n", "kind:");
  printf ("%-13s %s\n", "token:", token);
  printf ("%-13s %u of", "vectors:", e->n_vectors);
  for (guint i = 0; i < G_N_ELEMENTS (both); i++)
    if (both[i] != NULL)
      printf (" %" G_GINT64_FORMAT, width_of (both[i]));
  printf (" values\n");
}

void
inspect_print_adapter (const SumiAdapterReport *r)
{
  if (r->embedding != NULL)
    print_embedding (r->embedding);
  else
    print_lora (&r->lora);
}

/* ---- JSON ---- */

static void
add_string (JsonBuilder *b, const char *member, const char *value)
{
  json_builder_set_member_name (b, member);
  json_builder_add_string_value (b, value);
}

static void
add_int (JsonBuilder *b, const char *member, gint64 value)
{
  json_builder_set_member_name (b, member);
  json_builder_add_int_value (b, value);
}

static void
add_lora (JsonBuilder *b, const SumiLoraInfo *l)
{
  add_string (b, "kind", "lora");
  add_string (b, "dialect", l->dialect);
  add_int (b, "rank", l->rank);
  json_builder_set_member_name (b, "alpha");
  json_builder_add_double_value (b, l->alpha);
  add_int (b, "modules", l->n_modules);
  json_builder_set_member_name (b, "text_encoder");
  json_builder_add_boolean_value (b, l->text_encoder);
  add_int (b, "embeddings", l->n_tokens);
  inspect_add_names (b, "unknown", l->unknown);
}

static void
add_embedding (JsonBuilder *b, const SumiEmbedding *e)
{
  const SumiTensor *both[] = { e->vectors, e->vectors_2 };

  add_string (b, "kind", "textual-inversion");
  add_string (b, "token", e->token);
  add_int (b, "vectors", e->n_vectors);
  json_builder_set_member_name (b, "widths");
  json_builder_begin_array (b);
  for (guint i = 0; i < G_N_ELEMENTS (both); i++)
    if (both[i] != NULL)
      json_builder_add_int_value (b, width_of (both[i]));
  json_builder_end_array (b);
}

void
inspect_add_adapter (JsonBuilder *b, const SumiAdapterReport *r)
{
  if (r->embedding != NULL)
    add_embedding (b, r->embedding);
  else
    add_lora (b, &r->lora);
}
