/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The modules of a model in every spelling.  "_" stands for "." in some dialects, and cannot be taken back; so the
 * model's own names are spelled all ways once, and a file's are looked up. */
#include "nn/lora-private.h"

#include <string.h>

struct _SumiLoraTargets
{
  SumiTensorMap *weights;
  char *family;
  GHashTable *modules; /* canonical name -> SumiLoraModule* */
  GHashTable *by_spelling;
};

static void
module_free (SumiLoraModule *m)
{
  g_free (m->name);
  g_free (m);
}

/* Takes over the spelling; the first module that has it keeps it. */
static void
spell (SumiLoraTargets *t, SumiLoraModule *m, char *spelling)
{
  if (spelling == NULL || g_hash_table_contains (t->by_spelling, spelling))
    {
      g_free (spelling);
      return;
    }
  g_hash_table_insert (t->by_spelling, spelling, m);
}

/* Takes over the path: prefix + path, "_" for ".". */
static void
spell_flat (SumiLoraTargets *t, SumiLoraModule *m, const char *prefix, const char *path)
{
  char *spelling = g_strconcat (prefix, path, NULL);

  for (char *c = spelling + strlen (prefix); *c != '\0'; c++)
    if (*c == '.')
      *c = '_';
  spell (t, m, spelling);
}

/* "attn1.to_out.0" as "attn1.processor.to_out": diffusers' first adapters were attention processors. */
static char *
as_processor (const char *path)
{
  const char *last = strrchr (path, '.');
  g_autofree char *shorter = NULL;

  if (g_str_has_suffix (path, ".to_out.0"))
    {
      shorter = g_strndup (path, last - path);
      path = shorter;
      last = strrchr (path, '.');
    }
  if (last == NULL || !g_str_has_prefix (last, ".to_"))
    return NULL;
  return g_strdup_printf ("%.*s.processor%s", (int)(last - path), path, last);
}

static char *
ldm_path (const SumiUnetConfig *unet, const char *path)
{
  g_autofree char *name = g_strconcat (path, ".weight", NULL), *ldm = sumi_names_unet_to_ldm (unet, name);

  if (ldm == NULL || !g_str_has_suffix (ldm, ".weight"))
    return NULL;
  return g_strndup (ldm, strlen (ldm) - strlen (".weight"));
}

static void
spell_unet (SumiLoraTargets *t, SumiLoraModule *m, const SumiUnetConfig *unet)
{
  const char *path = m->name + strlen ("unet.");
  g_autofree char *processor = as_processor (path), *ldm = ldm_path (unet, path);

  spell (t, m, g_strdup (m->name));
  spell (t, m, g_strdup (path));
  spell_flat (t, m, "lora_unet_", path);
  spell_flat (t, m, "lycoris_", path);
  spell_flat (t, m, "lycoris_unet_", path);
  spell_flat (t, m, "oft_unet_", path);
  if (processor != NULL)
    {
      spell (t, m, g_strconcat ("unet.", processor, NULL));
      spell (t, m, g_strdup (processor));
    }
  if (ldm == NULL)
    return;
  spell (t, m, g_strconcat ("diffusion_model.", ldm, NULL));
  spell (t, m, g_strconcat ("model.diffusion_model.", ldm, NULL));
  spell_flat (t, m, "lora_unet_", ldm);
  spell_flat (t, m, "oft_unet_", ldm);
}

/* first: the model's only text encoder, or the first of two. */
static void
spell_text (SumiLoraTargets *t, SumiLoraModule *m, const char *path, gboolean first, gboolean second)
{
  spell (t, m, g_strdup (m->name));
  if (second)
    {
      spell_flat (t, m, "lora_te2_", path);
      spell (t, m, g_strconcat ("text_encoders.clip_g.transformer.", path, NULL)); /* ComfyUI */
      spell (t, m, g_strconcat ("text_encoder_2.", path, NULL));
    }
  if (!first)
    return;
  spell (t, m, g_strconcat ("text_encoder.", path, NULL));
  spell (t, m, g_strdup (path));
  spell (t, m, g_strconcat ("text_encoders.clip_l.transformer.", path, NULL));
  spell (t, m, g_strconcat ("text_encoders.clip_h.transformer.", path, NULL));
  spell_flat (t, m, "lora_te_", path);
  spell_flat (t, m, "lora_te1_", path); /* OneTrainer's for SD 1 too */
  spell_flat (t, m, "lycoris_", path);
}

/* NULL for a parameter of another component. */
static SumiLoraModule *
add_parameter (SumiLoraTargets *t, const char *name, const SumiTensor *tensor)
{
  gboolean weight = g_str_has_suffix (name, ".weight");
  g_autofree char *module = NULL;
  SumiLoraModule *m;

  if ((!weight && !g_str_has_suffix (name, ".bias"))
      || (!g_str_has_prefix (name, "unet.") && !g_str_has_prefix (name, "text_encoder.")
          && !g_str_has_prefix (name, "text_encoder_2.")))
    return NULL;
  module = g_strndup (name, strrchr (name, '.') - name);
  m = g_hash_table_lookup (t->modules, module);
  if (m == NULL)
    {
      m = g_new0 (SumiLoraModule, 1);
      m->name = g_strdup (module);
      g_hash_table_insert (t->modules, m->name, m);
    }
  *(weight ? &m->has_weight : &m->has_bias) = TRUE;
  *(weight ? &m->weight : &m->bias) = *sumi_tensor_get_shape (tensor);
  return m;
}

static gboolean
has_component (SumiTensorMap *weights, const char *prefix)
{
  for (guint i = 0; i < sumi_tensor_map_get_size (weights); i++)
    if (g_str_has_prefix (sumi_tensor_map_get_name (weights, i), prefix))
      return TRUE;
  return FALSE;
}

SumiLoraTargets *
sumi_lora_targets_new (SumiTensorMap *weights, const SumiUnetConfig *unet, const char *family)
{
  SumiLoraTargets *t = g_new0 (SumiLoraTargets, 1);
  gboolean both = has_component (weights, "text_encoder.");

  t->weights = sumi_tensor_map_ref (weights);
  t->family = g_strdup (family);
  t->modules = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, (GDestroyNotify)module_free);
  t->by_spelling = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < sumi_tensor_map_get_size (weights); i++)
    {
      SumiLoraModule *m
          = add_parameter (t, sumi_tensor_map_get_name (weights, i), sumi_tensor_map_peek_nth (weights, i));

      if (m == NULL)
        continue;
      if (g_str_has_prefix (m->name, "unet."))
        spell_unet (t, m, unet);
      else
        spell_text (t, m, strchr (m->name, '.') + 1, !both || g_str_has_prefix (m->name, "text_encoder."),
                    g_str_has_prefix (m->name, "text_encoder_2."));
    }
  return t;
}

void
sumi_lora_targets_free (SumiLoraTargets *t)
{
  if (t == NULL)
    return;
  sumi_tensor_map_unref (t->weights);
  g_free (t->family);
  g_hash_table_unref (t->by_spelling);
  g_hash_table_unref (t->modules);
  g_free (t);
}

const char *
sumi_lora_targets_get_family (const SumiLoraTargets *t)
{
  return t->family;
}

SumiTensorMap *
sumi_lora_targets_peek_weights (const SumiLoraTargets *t)
{
  return t->weights;
}

const SumiLoraModule *
sumi_lora_targets_find (const SumiLoraTargets *t, const char *spelling)
{
  return g_hash_table_lookup (t->by_spelling, spelling);
}

const SumiLoraModule *
sumi_lora_targets_peek (const SumiLoraTargets *t, const char *name)
{
  return g_hash_table_lookup (t->modules, name);
}
