/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What an adapter's file says of itself. */
#include "nn/lora-private.h"

/* A part that gives the rank: down, hada_w1_b and the factors of LoKr have it as their first axis. */
static guint
rank_of (const SumiLoraParts *p)
{
  static const SumiLoraRole roles[]
      = { SUMI_LORA_DOWN, SUMI_LORA_HADA_W1_B, SUMI_LORA_LOKR_W2_B, SUMI_LORA_LOKR_W1_B, SUMI_LORA_GLORA_A2 };

  for (guint i = 0; i < G_N_ELEMENTS (roles); i++)
    if (p->t[roles[i]] != NULL && sumi_tensor_get_shape (p->t[roles[i]])->rank >= 2)
      return (guint)MIN (sumi_tensor_get_shape (p->t[roles[i]])->d[0], G_MAXINT32);
  return 0;
}

static void
add_keys (GPtrArray *list, const SumiLoraParts *p)
{
  for (guint r = 0; r < SUMI_LORA_N_ROLES; r++)
    if (p->t[r] != NULL)
      g_ptr_array_add (list, g_strdup (p->key[r]));
}

static void
describe (const SumiLoraContent *c, const SumiTensorMap *file, SumiLoraInfo *info)
{
  g_autofree char *why = NULL;

  info->dialect = sumi_lora_dialect_name (c->dialect);
  info->family = sumi_lora_content_family (c, file, &why);
  info->unknown = g_ptr_array_ref (c->unknown);
  info->n_tokens = g_hash_table_size (c->tokens);
  for (guint i = 0; i < c->modules->len; i++)
    {
      const char *module = g_ptr_array_index (c->modules, i);
      const SumiLoraParts *p = g_hash_table_lookup (c->parts, module);
      gboolean text;

      if (!sumi_lora_module_is_plausible (module, &text))
        {
          add_keys (info->unknown, p);
          continue;
        }
      info->n_modules++;
      info->text_encoder |= text;
      info->rank = MAX (info->rank, rank_of (p));
    }
}

gboolean
sumi_lora_inspect (const SumiTensorMap *file, SumiLoraInfo *info, GError **error)
{
  SumiLoraContent content;
  gboolean ok = sumi_lora_content_init (&content, file, error);

  *info = (SumiLoraInfo){ 0 };
  if (ok)
    describe (&content, file, info);
  sumi_lora_content_clear (&content);
  if (!ok || info->n_modules > 0)
    return ok;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
               "found %u keys that no program writes for adapters%s%s, expected some", info->unknown->len,
               info->unknown->len > 0 ? ", such as " : "",
               info->unknown->len > 0 ? (const char *)g_ptr_array_index (info->unknown, 0) : "");
  sumi_lora_info_clear (info);
  return FALSE;
}

void
sumi_lora_info_clear (SumiLoraInfo *info)
{
  g_clear_pointer (&info->unknown, g_ptr_array_unref);
}
