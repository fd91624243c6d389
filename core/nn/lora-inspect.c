/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What an adapter's file says of itself. */
#include "nn/lora-private.h"

#include <math.h>

#define MAX_AXIS (1 << 24)

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

/* The file's, where it is one number. */
static double
alpha_of (const SumiLoraParts *p)
{
  const SumiTensor *t = p->t[SUMI_LORA_ALPHA];
  double alpha = 0;

  if (t != NULL && sumi_tensor_get_numel (t) == 1)
    sumi_tensor_to_f64 (t, &alpha);
  return isfinite (alpha) ? alpha : 0;
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
      info->alpha = MAX (info->alpha, alpha_of (p));
    }
}

gboolean
sumi_lora_inspect (const SumiTensorMap *file, SumiLoraInfo *info, GError **error)
{
  SumiLoraContent content;
  gboolean ok = sumi_lora_content_init (&content, file, error);
  g_autofree char *keys = NULL;

  *info = (SumiLoraInfo){ 0 };
  if (ok)
    describe (&content, file, info);
  sumi_lora_content_clear (&content);
  if (!ok || info->n_modules > 0)
    return ok;
  keys = sumi_lora_examples (info->unknown);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "found %s, expected the keys of an adapter", keys);
  sumi_lora_info_clear (info);
  return FALSE;
}

void
sumi_lora_info_clear (SumiLoraInfo *info)
{
  g_clear_pointer (&info->unknown, g_ptr_array_unref);
}

/* ---- checks without a model ---- */

static gint64
axis (const SumiLoraParts *p, SumiLoraRole role, guint i)
{
  const SumiShape *s = p->t[role] != NULL ? sumi_tensor_get_shape (p->t[role]) : NULL;

  return s != NULL && i < s->rank ? s->d[i] : 1;
}

/* 0 where the product is none that a weight can have. */
static gint64
times (gint64 a, gint64 b)
{
  return a > 0 && b > 0 && a <= MAX_AXIS && b <= MAX_AXIS ? a * b : 0;
}

static SumiLoraRole
first_of (const SumiLoraParts *p, SumiLoraRole a, SumiLoraRole b)
{
  return p->t[a] != NULL ? a : b;
}

/* (rows, columns) and the kernel of `kernel`, which has it from its third axis on. */
static SumiShape
weight_of (const SumiLoraParts *p, gint64 rows, gint64 columns, SumiLoraRole kernel)
{
  SumiShape s = SUMI_SHAPE (rows, columns);

  for (guint i = 2; p->t[kernel] != NULL && i < sumi_tensor_get_shape (p->t[kernel])->rank; i++)
    s.d[s.rank++] = axis (p, kernel, i);
  return s;
}

/* The shape of the weight that these parts are for, as far as they tell. */
static SumiShape
guess_weight (const SumiLoraParts *p)
{
  const SumiLoraRole w1a = first_of (p, SUMI_LORA_LOKR_W1, SUMI_LORA_LOKR_W1_A);
  const SumiLoraRole w1b = first_of (p, SUMI_LORA_LOKR_W1, SUMI_LORA_LOKR_W1_B);
  const SumiLoraRole w2a = first_of (p, SUMI_LORA_LOKR_W2, SUMI_LORA_LOKR_W2_A);
  const SumiLoraRole w2b = first_of (p, SUMI_LORA_LOKR_W2, SUMI_LORA_LOKR_W2_B);
  const SumiLoraRole whole = first_of (p, SUMI_LORA_DIFF, SUMI_LORA_SET_WEIGHT);
  const SumiLoraRole blocks = first_of (p, SUMI_LORA_OFT_BLOCKS, SUMI_LORA_OFT_DIAG);

  if (p->t[SUMI_LORA_DOWN] != NULL)
    return weight_of (p, axis (p, SUMI_LORA_UP, 0), axis (p, SUMI_LORA_DOWN, 1),
                      first_of (p, SUMI_LORA_MID, SUMI_LORA_DOWN));
  if (p->t[SUMI_LORA_HADA_W1_A] != NULL)
    return weight_of (p, axis (p, SUMI_LORA_HADA_W1_A, p->t[SUMI_LORA_HADA_T1] != NULL),
                      axis (p, SUMI_LORA_HADA_W1_B, 1), SUMI_LORA_HADA_T1);
  if (p->t[w1a] != NULL && p->t[w2a] != NULL)
    return weight_of (p, times (axis (p, w1a, 0), axis (p, w2a, p->t[SUMI_LORA_LOKR_T2] != NULL)),
                      times (axis (p, w1b, 1), axis (p, w2b, 1)), first_of (p, SUMI_LORA_LOKR_T2, w2b));
  if (p->t[SUMI_LORA_GLORA_A1] != NULL)
    {
      gboolean old = axis (p, SUMI_LORA_GLORA_A1, 0) < axis (p, SUMI_LORA_GLORA_A1, 1);
      SumiLoraRole b1 = old ? SUMI_LORA_GLORA_B2 : SUMI_LORA_GLORA_B1,
                   b2 = old ? SUMI_LORA_GLORA_B1 : SUMI_LORA_GLORA_B2;

      return weight_of (p, axis (p, b1, 0), axis (p, b2, 1), first_of (p, SUMI_LORA_GLORA_BM, b2));
    }
  if (p->t[SUMI_LORA_OFT_R] != NULL)
    return SUMI_SHAPE (1, times (axis (p, SUMI_LORA_OFT_R, 0), sumi_lora_triangle_side (axis (p, SUMI_LORA_OFT_R, 1))));
  if (p->t[blocks] != NULL)
    {
      guint rank = sumi_tensor_get_shape (p->t[blocks])->rank;

      return SUMI_SHAPE (rank >= 3 ? times (axis (p, blocks, rank - 3), axis (p, blocks, rank - 1)) : 1, 1);
    }
  return p->t[whole] != NULL ? *sumi_tensor_get_shape (p->t[whole])
         : p->t[SUMI_LORA_IA3] != NULL
             ? SUMI_SHAPE (sumi_tensor_get_numel (p->t[SUMI_LORA_IA3]), sumi_tensor_get_numel (p->t[SUMI_LORA_IA3]))
         : p->t[SUMI_LORA_W_NORM] != NULL ? *sumi_tensor_get_shape (p->t[SUMI_LORA_W_NORM])
                                          : SUMI_SHAPE (1, 1);
}

static gboolean
is_possible (const SumiShape *s)
{
  gint64 numel;

  for (guint i = 0; i < s->rank; i++)
    if (s->d[i] < 1 || s->d[i] > MAX_AXIS)
      return FALSE;
  return sumi_shape_checked_numel (s, &numel) && numel <= (gint64)MAX_AXIS * MAX_AXIS;
}

static gboolean
check_module (const char *name, const SumiLoraParts *p, JsonNode *peft, GError **error)
{
  g_autoptr (GPtrArray) changes = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_lora_change_free);
  g_autoptr (GPtrArray) unmatched = g_ptr_array_new_with_free_func (g_free);
  const SumiTensor *bias = p->t[first_of (p, SUMI_LORA_DIFF_B, SUMI_LORA_B_NORM)];
  g_autofree char *copy = g_strdup (name);
  SumiLoraModule module = { copy, TRUE, bias != NULL, guess_weight (p) };

  if (bias != NULL)
    module.bias = *sumi_tensor_get_shape (bias);
  if (!is_possible (&module.weight))
    {
      g_autofree char *found = sumi_shape_to_string (&module.weight);

      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_SHAPE,
                   "%s: found parts of a weight of %s, expected a possible one", name, found);
      return FALSE;
    }
  return sumi_lora_change_append (changes, unmatched, p, &module, peft, error);
}

gboolean
sumi_lora_check (const SumiTensorMap *file, GError **error)
{
  g_autoptr (JsonNode) peft = sumi_lora_metadata_json (file, "lora_adapter_metadata");
  SumiLoraContent content;
  gboolean ok = sumi_lora_content_init (&content, file, error);

  for (guint i = 0; ok && i < content.modules->len; i++)
    {
      const char *module = g_ptr_array_index (content.modules, i);

      ok = check_module (module, g_hash_table_lookup (content.parts, module), peft, error);
    }
  sumi_lora_content_clear (&content);
  return ok;
}
