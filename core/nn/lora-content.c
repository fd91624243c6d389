/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is in an adapter's file, before any model is looked at. */
#include "nn/lora-private.h"

#include <string.h>

/* ---- parts by module ---- */

static void
add_embedding (SumiLoraContent *c, const char *token, const char *name, SumiTensor *t)
{
  SumiTensorMap *map = g_hash_table_lookup (c->tokens, token);

  if (map == NULL)
    {
      map = sumi_tensor_map_new ();
      g_hash_table_insert (c->tokens, g_strdup (token), map);
    }
  sumi_tensor_map_set (map, name, t);
}

/* FALSE: the module has this part already. Takes over the module's name. */
static gboolean
add_part (SumiLoraContent *c, char *module, SumiLoraRole role, const char *key, SumiTensor *t, GError **error)
{
  SumiLoraParts *parts = g_hash_table_lookup (c->parts, module);

  if (parts == NULL)
    {
      parts = g_new0 (SumiLoraParts, 1);
      g_hash_table_insert (c->parts, module, parts);
      g_ptr_array_add (c->modules, module);
    }
  else
    g_free (module);
  if (parts->t[role] != NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT,
                   "%s: found beside %s, expected one of them: several adapters in one file", key, parts->key[role]);
      return FALSE;
    }
  parts->t[role] = t;
  parts->key[role] = key;
  return TRUE;
}

/* What looked like IA3 and is a model's own weight. */
static void
drop_plain_weights (SumiLoraContent *c)
{
  guint kept = 0;

  for (guint i = 0; i < c->modules->len; i++)
    {
      char *module = g_ptr_array_index (c->modules, i);
      SumiLoraParts *parts = g_hash_table_lookup (c->parts, module);
      gboolean empty = TRUE;

      if (parts->t[SUMI_LORA_IA3] != NULL && parts->t[SUMI_LORA_ON_INPUT] == NULL)
        {
          g_ptr_array_add (c->unknown, g_strdup (parts->key[SUMI_LORA_IA3]));
          parts->t[SUMI_LORA_IA3] = NULL;
          parts->key[SUMI_LORA_IA3] = NULL;
        }
      for (guint r = 0; r < SUMI_LORA_N_ROLES; r++)
        empty &= parts->t[r] == NULL;
      if (empty)
        g_hash_table_remove (c->parts, module);
      else
        g_ptr_array_index (c->modules, kept++) = module;
    }
  g_ptr_array_set_size (c->modules, (gint)kept);
}

/* A bundle for one text encoder is a file with "emb_params". */
static void
name_single_vectors (SumiLoraContent *c)
{
  GHashTableIter iter;
  gpointer map;

  g_hash_table_iter_init (&iter, c->tokens);
  while (g_hash_table_iter_next (&iter, NULL, &map))
    {
      SumiTensor *clip_l = sumi_tensor_map_peek (map, "clip_l");

      if (clip_l == NULL || sumi_tensor_map_peek (map, "clip_g") != NULL)
        continue;
      sumi_tensor_map_set (map, "emb_params", clip_l);
      sumi_tensor_map_remove (map, "clip_l");
    }
}

gboolean
sumi_lora_content_init (SumiLoraContent *c, const SumiTensorMap *file, GError **error)
{
  *c = (SumiLoraContent){ 0 };
  c->modules = g_ptr_array_new ();
  c->parts = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  c->tokens = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)sumi_tensor_map_unref);
  c->unknown = g_ptr_array_new_with_free_func (g_free);
  for (guint i = 0; i < sumi_tensor_map_get_size (file); i++)
    {
      const char *key = sumi_tensor_map_get_name (file, i);
      g_autofree char *name = NULL, *token = sumi_lora_key_embedding (file, key, &name);
      SumiLoraRole role;
      SumiLoraDialect dialect;
      char *module = token == NULL ? sumi_lora_key_split (key, &role, &dialect) : NULL;

      if (token != NULL)
        add_embedding (c, token, name, sumi_tensor_map_peek_nth (file, i));
      else if (module == NULL)
        g_ptr_array_add (c->unknown, g_strdup (key));
      else if (!add_part (c, module, role, key, sumi_tensor_map_peek_nth (file, i), error))
        return FALSE;
      else if (role != SUMI_LORA_IA3)
        c->dialect = MAX (c->dialect, dialect);
    }
  drop_plain_weights (c);
  name_single_vectors (c);
  return TRUE;
}

void
sumi_lora_content_clear (SumiLoraContent *c)
{
  g_clear_pointer (&c->modules, g_ptr_array_unref);
  g_clear_pointer (&c->parts, g_hash_table_unref);
  g_clear_pointer (&c->tokens, g_hash_table_unref);
  g_clear_pointer (&c->unknown, g_ptr_array_unref);
}

/* ---- the family ---- */

/* The start of a text of the file's, on one line. */
static char *
shown (const char *text)
{
  g_autofree char *start = g_strndup (text, 64);
  char *line = g_utf8_make_valid (start, -1);

  for (char *c = line; *c != '\0'; c++)
    if (g_ascii_iscntrl (*c))
      *c = ' ';
  return line;
}

/* "sd_v1", "sdxl_base_v1-0" (kohya), "sd_1.5", "sdxl_1.0" (ai-toolkit) */
static const char *
family_by_version (const char *version)
{
  g_autofree char *lower = g_ascii_strdown (version, -1);

  if (strstr (lower, "sdxl") != NULL || strstr (lower, "sd_xl") != NULL)
    return strstr (lower, "refiner") != NULL ? "sdxl-refiner" : "sdxl";
  if (g_str_has_prefix (lower, "sd_v1") || g_str_has_prefix (lower, "sd_1") || g_str_has_prefix (lower, "sd1"))
    return "sd15";
  if (g_str_has_prefix (lower, "sd_v2") || g_str_has_prefix (lower, "sd_2") || g_str_has_prefix (lower, "sd2"))
    return "sd21";
  return NULL;
}

static const char *
family_by_architecture (const char *architecture)
{
  if (g_str_has_prefix (architecture, "stable-diffusion-xl"))
    return strstr (architecture, "refiner") != NULL ? "sdxl-refiner" : "sdxl";
  if (g_str_has_prefix (architecture, "stable-diffusion-v1"))
    return "sd15";
  if (g_str_has_prefix (architecture, "stable-diffusion-v2"))
    return "sd21";
  return NULL;
}

/* The size of the second axis; 0 where there is none, or one that no layer has. */
static gint64
columns_of (const SumiTensor *t)
{
  const SumiShape *s = t != NULL ? sumi_tensor_get_shape (t) : NULL;

  return s != NULL && s->rank >= 2 && s->d[1] <= G_MAXINT32 ? s->d[1] : 0;
}

/* Of what the module reads; 0 where the parts do not show it. */
static gint64
input_width (const SumiLoraParts *p)
{
  const SumiTensor *down = p->t[SUMI_LORA_DOWN], *hada = p->t[SUMI_LORA_HADA_W1_B], *diff = p->t[SUMI_LORA_DIFF];
  const SumiTensor *w1 = p->t[SUMI_LORA_LOKR_W1], *w2 = p->t[SUMI_LORA_LOKR_W2];
  const SumiTensor *one = down != NULL ? down : hada != NULL ? hada : diff;

  if (one != NULL)
    return columns_of (one);
  return columns_of (w1 != NULL ? w1 : p->t[SUMI_LORA_LOKR_W1_B])
         * columns_of (w2 != NULL ? w2 : p->t[SUMI_LORA_LOKR_W2_B]);
}

/* Keys and values of the cross-attention read the text: 768 CLIP L, 1024 OpenCLIP H, 2048 both of SDXL. */
static const char *
family_by_context (gint64 width)
{
  return width == 768    ? "sd15"
         : width == 1024 ? "sd21"
         : width == 2048 ? "sdxl"
         : width == 1280 ? "sdxl-refiner"
                         : NULL;
}

static gboolean
reads_text (const char *module)
{
  if (g_str_has_prefix (module, "unet:"))
    {
      /* Nine a transformer block: attn2's keys and values are the seventh and eighth. */
      guint64 i = g_ascii_strtoull (module + strlen ("unet:"), NULL, 10) % 9;
      return i == 6 || i == 7;
    }
  return strstr (module, "attn2") != NULL && (g_str_has_suffix (module, "to_k") || g_str_has_suffix (module, "to_v"));
}

/* Of a text encoder's module. SDXL's first is that of SD 1. */
static const char *
family_by_text (const char *module, gint64 width)
{
  gboolean attention = g_str_has_prefix (module, "text_encoder:") || g_str_has_suffix (module, "q_proj")
                       || g_str_has_suffix (module, "k_proj") || g_str_has_suffix (module, "v_proj");

  if (!attention)
    return NULL;
  if (width == 1280)
    return "sdxl";
  if (width == 1024)
    return "sd21";
  return width == 768 && (g_str_has_prefix (module, "lora_te_") || g_str_has_prefix (module, "text_encoder:")) ? "sd15"
                                                                                                               : NULL;
}

static const char *
family_by_widths (const SumiLoraContent *c, char **why)
{
  const char *by_text = NULL;

  for (guint i = 0; i < c->modules->len; i++)
    {
      const char *module = g_ptr_array_index (c->modules, i), *family;
      gint64 width = input_width (g_hash_table_lookup (c->parts, module));
      gboolean text;

      if (width == 0 || !sumi_lora_module_is_plausible (module, &text))
        continue;
      family = text ? family_by_text (module, width) : reads_text (module) ? family_by_context (width) : NULL;
      if (family != NULL && (by_text == NULL || !text))
        {
          g_free (*why);
          *why = g_strdup_printf ("%s reads %" G_GINT64_FORMAT " values", module, width);
          by_text = family;
        }
      if (family != NULL && !text)
        return family;
    }
  return by_text;
}

/* Networks of other kinds, by a part of a module's name. */
static const char *
other_kind (const SumiLoraContent *c)
{
  static const char *const parts[] = { "double_blocks", "single_blocks", "joint_blocks", "single_transformer_blocks" };

  for (guint i = 0; i < c->modules->len; i++)
    for (guint k = 0; k < G_N_ELEMENTS (parts); k++)
      if (strstr (g_ptr_array_index (c->modules, i), parts[k]) != NULL)
        return g_ptr_array_index (c->modules, i);
  return NULL;
}

const char *
sumi_lora_content_family (const SumiLoraContent *c, const SumiTensorMap *file, char **why)
{
  static const struct
  {
    const char *key;
    const char *(*family) (const char *);
  } says[] = { { "ss_base_model_version", family_by_version }, { "modelspec.architecture", family_by_architecture } };
  const char *family, *other;

  *why = NULL;
  for (guint i = 0; i < G_N_ELEMENTS (says); i++)
    {
      const char *value = sumi_tensor_map_get_metadata (file, says[i].key);
      g_autofree char *text = value != NULL ? shown (value) : NULL;

      if (value == NULL)
        continue;
      g_free (*why);
      *why = g_strdup_printf ("%s is '%s'", says[i].key, text);
      if ((family = says[i].family (value)) != NULL)
        return family;
    }
  if ((other = other_kind (c)) == NULL)
    return family_by_widths (c, why);
  g_free (*why);
  *why = g_strdup_printf ("%s is a module of a diffusion transformer", other);
  return NULL;
}
