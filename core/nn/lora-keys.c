/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The dialects: what each program calls the parts of a module, and how it spells the modules. */
#include "nn/lora-private.h"

#include <string.h>

#define SHOWN_KEYS 3

static const char *const dialect_names[] = {
  [SUMI_LORA_NO_DIALECT] = "unknown",
  [SUMI_LORA_FULL] = "full",
  [SUMI_LORA_KOHYA] = "kohya",
  [SUMI_LORA_PEFT] = "peft",
  [SUMI_LORA_DIFFUSERS] = "diffusers",
  [SUMI_LORA_DIFFUSERS_LEGACY] = "diffusers-legacy",
  [SUMI_LORA_CLONEOFSIMO] = "cloneofsimo",
  [SUMI_LORA_LYCORIS] = "lycoris",
};

const char *
sumi_lora_dialect_name (SumiLoraDialect d)
{
  return dialect_names[d];
}

/* The last component of a key, ".weight" set aside.  PEFT may put an adapter's name behind it. */
static const struct
{
  const char *word;
  SumiLoraRole role;
  SumiLoraDialect dialect;
  gboolean weight; /* only with ".weight" */
} words[] = {
  { "lora_down", SUMI_LORA_DOWN, SUMI_LORA_KOHYA, TRUE },
  { "lora_up", SUMI_LORA_UP, SUMI_LORA_KOHYA, TRUE },
  { "lora_mid", SUMI_LORA_MID, SUMI_LORA_KOHYA, TRUE },
  { "alpha", SUMI_LORA_ALPHA, SUMI_LORA_NO_DIALECT },
  { "dora_scale", SUMI_LORA_DORA_SCALE, SUMI_LORA_NO_DIALECT },
  { "lora_A", SUMI_LORA_DOWN, SUMI_LORA_PEFT },
  { "lora_B", SUMI_LORA_UP, SUMI_LORA_PEFT },
  { "lora_magnitude_vector", SUMI_LORA_MAGNITUDE, SUMI_LORA_PEFT },
  { "hada_w1_a", SUMI_LORA_HADA_W1_A, SUMI_LORA_LYCORIS },
  { "hada_w1_b", SUMI_LORA_HADA_W1_B, SUMI_LORA_LYCORIS },
  { "hada_w2_a", SUMI_LORA_HADA_W2_A, SUMI_LORA_LYCORIS },
  { "hada_w2_b", SUMI_LORA_HADA_W2_B, SUMI_LORA_LYCORIS },
  { "hada_t1", SUMI_LORA_HADA_T1, SUMI_LORA_LYCORIS },
  { "hada_t2", SUMI_LORA_HADA_T2, SUMI_LORA_LYCORIS },
  { "lokr_w1", SUMI_LORA_LOKR_W1, SUMI_LORA_LYCORIS },
  { "lokr_w1_a", SUMI_LORA_LOKR_W1_A, SUMI_LORA_LYCORIS },
  { "lokr_w1_b", SUMI_LORA_LOKR_W1_B, SUMI_LORA_LYCORIS },
  { "lokr_w2", SUMI_LORA_LOKR_W2, SUMI_LORA_LYCORIS },
  { "lokr_w2_a", SUMI_LORA_LOKR_W2_A, SUMI_LORA_LYCORIS },
  { "lokr_w2_b", SUMI_LORA_LOKR_W2_B, SUMI_LORA_LYCORIS },
  { "lokr_t2", SUMI_LORA_LOKR_T2, SUMI_LORA_LYCORIS },
  { "a1", SUMI_LORA_GLORA_A1, SUMI_LORA_LYCORIS, TRUE },
  { "a2", SUMI_LORA_GLORA_A2, SUMI_LORA_LYCORIS, TRUE },
  { "b1", SUMI_LORA_GLORA_B1, SUMI_LORA_LYCORIS, TRUE },
  { "b2", SUMI_LORA_GLORA_B2, SUMI_LORA_LYCORIS, TRUE },
  { "bm", SUMI_LORA_GLORA_BM, SUMI_LORA_LYCORIS, TRUE },
  { "oft_blocks", SUMI_LORA_OFT_BLOCKS, SUMI_LORA_LYCORIS },
  { "oft_diag", SUMI_LORA_OFT_DIAG, SUMI_LORA_LYCORIS },
  { "rescale", SUMI_LORA_RESCALE, SUMI_LORA_LYCORIS },
  { "oft_R", SUMI_LORA_OFT_R, SUMI_LORA_LYCORIS },
  { "on_input", SUMI_LORA_ON_INPUT, SUMI_LORA_LYCORIS },
  { "diff", SUMI_LORA_DIFF, SUMI_LORA_FULL },
  { "diff_b", SUMI_LORA_DIFF_B, SUMI_LORA_FULL },
  { "set_weight", SUMI_LORA_SET_WEIGHT, SUMI_LORA_FULL },
  { "w_norm", SUMI_LORA_W_NORM, SUMI_LORA_LYCORIS },
  { "b_norm", SUMI_LORA_B_NORM, SUMI_LORA_LYCORIS },
};

static gboolean
find_word (const char *word, gboolean weight, SumiLoraRole *role, SumiLoraDialect *dialect)
{
  for (guint i = 0; i < G_N_ELEMENTS (words); i++)
    if (strcmp (word, words[i].word) == 0 && (weight || !words[i].weight))
      {
        *role = words[i].role;
        *dialect = words[i].dialect;
        return TRUE;
      }
  return FALSE;
}

const char *
sumi_lora_role_name (SumiLoraRole role)
{
  for (guint i = 0; i < G_N_ELEMENTS (words); i++)
    if (words[i].role == role)
      return words[i].word;
  return "weight";
}

/* Cuts the last component off; NULL where there is but one. */
static char *
cut (char *path)
{
  char *dot = strrchr (path, '.');

  if (dot == NULL)
    return NULL;
  *dot = '\0';
  return dot + 1;
}

/* "….lora" + down, "….lora_linear_layer" + down, "….to_q_lora" + down: what is left is the module. */
static gboolean
is_diffusers (char *path, const char *last, SumiLoraRole *role, SumiLoraDialect *dialect)
{
  if (strcmp (last, "down") != 0 && strcmp (last, "up") != 0)
    return FALSE;
  *role = last[0] == 'd' ? SUMI_LORA_DOWN : SUMI_LORA_UP;
  *dialect = SUMI_LORA_DIFFUSERS;
  if (g_str_has_suffix (path, ".lora") || g_str_has_suffix (path, ".lora_linear_layer"))
    {
      cut (path);
      return TRUE;
    }
  if (!g_str_has_suffix (path, "_lora"))
    return FALSE;
  *dialect = SUMI_LORA_DIFFUSERS_LEGACY;
  path[strlen (path) - strlen ("_lora")] = '\0';
  return TRUE;
}

/* "unet:12:up" */
static char *
split_numbered (const char *key, SumiLoraRole *role)
{
  const char *first = strchr (key, ':'), *last = strrchr (key, ':');

  if (first == NULL || last == first || (!g_str_has_prefix (key, "unet:") && !g_str_has_prefix (key, "text_encoder:"))
      || strspn (first + 1, "0123456789") != (gsize)(last - first - 1) || last - first < 2 || last - first > 6
      || (strcmp (last, ":up") != 0 && strcmp (last, ":down") != 0))
    return NULL;
  *role = strcmp (last, ":up") == 0 ? SUMI_LORA_UP : SUMI_LORA_DOWN;
  return g_strndup (key, last - key);
}

char *
sumi_lora_key_split (const char *key, SumiLoraRole *role, SumiLoraDialect *dialect)
{
  static const char peft[] = "base_model.model.";
  g_autofree char *path = split_numbered (key, role);
  g_autofree char *whole = NULL;
  char *last, *before;
  gboolean weight;

  *dialect = SUMI_LORA_CLONEOFSIMO;
  if (path != NULL)
    return g_steal_pointer (&path);
  path = g_strdup (g_str_has_prefix (key, peft) ? key + strlen (peft) : key);
  weight = g_str_has_suffix (path, ".weight");
  if (weight)
    cut (path);
  whole = g_strdup (path);
  last = cut (path);
  if (last != NULL && (find_word (last, weight, role, dialect) || is_diffusers (path, last, role, dialect)))
    return g_steal_pointer (&path);
  before = last != NULL ? cut (path) : NULL;
  if (before != NULL && strcmp (before, "oft_R") == 0 && strcmp (last, "scaled_oft") == 0)
    {
      *role = SUMI_LORA_OFT_SCALED;
      *dialect = SUMI_LORA_LYCORIS;
      return g_steal_pointer (&path);
    }
  /* "lora_A.default.weight"; but "lora_B.bias" is something else */
  if (before != NULL && strcmp (last, "bias") != 0 && find_word (before, weight, role, dialect)
      && (*dialect == SUMI_LORA_PEFT || *dialect == SUMI_LORA_LYCORIS))
    return g_steal_pointer (&path);
  if (!weight)
    return NULL;
  *role = SUMI_LORA_IA3; /* with "on_input" beside it; alone it is a model's own weight */
  *dialect = SUMI_LORA_LYCORIS;
  return g_steal_pointer (&whole);
}

gboolean
sumi_lora_module_is_plausible (const char *module, gboolean *text)
{
  static const char *const texts[] = { "lora_te_",       "lora_te1_",     "lora_te2_",
                                       "text_encoder.",  "text_encoder:", "text_encoder_2.",
                                       "text_encoders.", "text_model.",   "lycoris_text_model_" };
  static const char *const unets[] = {
    "lora_unet_",    "lycoris_",   "oft_unet_",  "unet.",   "unet:",    "diffusion_model.", "model.diffusion_model.",
    "down_blocks.",  "up_blocks.", "mid_block.", "conv_in", "conv_out", "conv_norm_out",    "time_embedding.",
    "add_embedding."
  };

  *text = TRUE;
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    if (g_str_has_prefix (module, texts[i]))
      return TRUE;
  *text = FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (unets); i++)
    if (g_str_has_prefix (module, unets[i]))
      return TRUE;
  return FALSE;
}

char *
sumi_lora_key_embedding (const SumiTensorMap *file, const char *key, char **name)
{
  static const char bundle[] = "bundle_emb.";
  static const char *const parts[] = { "string_to_param.*", "emb_params", "clip_l", "clip_g" };

  if (g_strcmp0 (sumi_tensor_map_get_metadata (file, key), "<embed>") == 0) /* cloneofsimo */
    {
      *name = g_strdup (key);
      return g_strdup (key);
    }
  if (!g_str_has_prefix (key, bundle))
    return NULL;
  key += strlen (bundle);
  for (guint i = 0; i < G_N_ELEMENTS (parts); i++)
    {
      gsize length = strlen (key), n = strlen (parts[i]);

      if (length > n + 1 && key[length - n - 1] == '.' && strcmp (key + length - n, parts[i]) == 0)
        {
          *name = g_strdup (parts[i]);
          return g_strndup (key, length - n - 1);
        }
    }
  return NULL;
}

char *
sumi_lora_examples (const GPtrArray *keys)
{
  GString *text = g_string_new (NULL);

  g_string_printf (text, "%u %s", keys->len, keys->len == 1 ? "key" : "keys");
  for (guint i = 0; i < MIN (keys->len, SHOWN_KEYS); i++)
    g_string_append_printf (text, "%s%s", i == 0 ? ", such as " : ", ", (const char *)g_ptr_array_index (keys, i));
  return g_string_free (text, FALSE);
}
