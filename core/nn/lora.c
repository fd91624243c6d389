/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One adapter matched to a model, and several merged into its weights.
 *
 * Every change is of the model's own weight: with several adapters W' = W + sum of strength_i ΔW_i(W), also where ΔW
 * depends on W (DoRA, rotations, replacements).  So their order is of no matter; they are added up by name to make it
 * so to the last bit. */
#include "nn/lora-private.h"

#include <string.h>

#define PIECE 4096 /* of a weight in a merge; whole blocks of every quantised type */

struct _SumiLora
{
  gatomicrefcount refs;
  char *name;
  SumiTensorMap *weights; /* the model's */
  GPtrArray *changes;     /* SumiLoraChange* */
  GHashTable *by_parameter;
  GPtrArray *unmatched;
  GHashTable *embeddings; /* token -> SumiTensorMap*, or NULL */
};

SumiLora *
sumi_lora_ref (SumiLora *l)
{
  g_atomic_ref_count_inc (&l->refs);
  return l;
}

void
sumi_lora_unref (SumiLora *l)
{
  if (l == NULL || !g_atomic_ref_count_dec (&l->refs))
    return;
  g_free (l->name);
  sumi_tensor_map_unref (l->weights);
  g_hash_table_unref (l->by_parameter);
  g_ptr_array_unref (l->changes);
  g_ptr_array_unref (l->unmatched);
  g_clear_pointer (&l->embeddings, g_hash_table_unref);
  g_free (l);
}

/* ---- matching ---- */

static gboolean
check_family (const SumiLoraTargets *targets, const SumiLoraContent *content, const SumiTensorMap *file, GError **error)
{
  g_autofree char *why = NULL;
  const char *found = sumi_lora_content_family (content, file, &why), *want = sumi_lora_targets_get_family (targets);

  if (found == NULL || want == NULL || strcmp (found, want) == 0)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "found an adapter for %s (%s), expected one for %s", found,
               why, want);
  return FALSE;
}

/* cloneofsimo's numbered modules of this file. */
typedef struct
{
  GPtrArray *unet, *text;
} Walks;

static const SumiLoraModule *
find_module (const SumiLoraTargets *targets, const Walks *walks, const char *spelling)
{
  const char *number = strchr (spelling, ':');
  GPtrArray *walk = spelling[0] == 'u' ? walks->unet : walks->text;
  guint64 i;

  if (number == NULL || walks->unet == NULL)
    return sumi_lora_targets_find (targets, spelling);
  i = g_ascii_strtoull (number + 1, NULL, 10);
  return i < walk->len ? g_ptr_array_index (walk, (guint)i) : NULL;
}

static void
add_unmatched (SumiLora *l, const SumiLoraParts *parts)
{
  for (guint r = 0; r < SUMI_LORA_N_ROLES; r++)
    if (parts->t[r] != NULL)
      g_ptr_array_add (l->unmatched, g_strdup (parts->key[r]));
}

static gboolean
add_changes (SumiLora *l, const SumiLoraTargets *targets, const SumiLoraContent *content, const SumiTensorMap *file,
             const Walks *walks, GError **error)
{
  g_autoptr (JsonNode) peft = sumi_lora_metadata_json (file, "lora_adapter_metadata");

  for (guint i = 0; i < content->modules->len; i++)
    {
      const char *spelling = g_ptr_array_index (content->modules, i);
      const SumiLoraParts *parts = g_hash_table_lookup (content->parts, spelling);
      const SumiLoraModule *module = find_module (targets, walks, spelling);

      if (module == NULL)
        add_unmatched (l, parts);
      else if (!sumi_lora_change_append (l->changes, l->unmatched, parts, module, peft, error))
        return FALSE;
    }
  for (guint i = 0; i < l->changes->len; i++)
    {
      SumiLoraChange *c = g_ptr_array_index (l->changes, i);

      if (g_hash_table_insert (l->by_parameter, c->parameter, c))
        continue;
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT,
                   "found two changes of %s under different spellings, expected one", c->parameter);
      return FALSE;
    }
  return TRUE;
}

/* Something of it must be of use. */
static gboolean
check_use (const SumiLora *l, const SumiLoraContent *content, const SumiTensorMap *file, GError **error)
{
  g_autofree char *keys = sumi_lora_examples (l->unmatched), *why = NULL;

  if (l->changes->len > 0 || l->embeddings != NULL)
    return TRUE;
  sumi_lora_content_family (content, file, &why);
  if (content->modules->len == 0)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL, "found %s, expected the keys of an adapter", keys);
  else
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
                 "found no key that fits this model (%s%s%s), expected an adapter for it", keys,
                 why != NULL ? "; " : "", why != NULL ? why : "");
  return FALSE;
}

static gboolean
match (SumiLora *l, const SumiLoraTargets *targets, const SumiTensorMap *file, GError **error)
{
  SumiLoraContent content;
  Walks walks = { 0 };
  gboolean ok = sumi_lora_content_init (&content, file, error) && check_family (targets, &content, file, error);

  if (ok && content.dialect == SUMI_LORA_CLONEOFSIMO)
    {
      walks.unet = sumi_lora_targets_walk (targets, "unet", file);
      walks.text = sumi_lora_targets_walk (targets, "text_encoder", file);
    }
  if (ok && g_hash_table_size (content.tokens) > 0)
    l->embeddings = g_hash_table_ref (content.tokens);
  for (guint i = 0; ok && i < content.unknown->len; i++)
    g_ptr_array_add (l->unmatched, g_strdup (g_ptr_array_index (content.unknown, i)));
  ok = ok && add_changes (l, targets, &content, file, &walks, error) && check_use (l, &content, file, error);
  g_clear_pointer (&walks.unet, g_ptr_array_unref);
  g_clear_pointer (&walks.text, g_ptr_array_unref);
  sumi_lora_content_clear (&content);
  return ok;
}

SumiLora *
sumi_lora_new (const SumiLoraTargets *targets, SumiTensorMap *file, const char *name, GError **error)
{
  g_autoptr (SumiLora) l = g_new0 (SumiLora, 1);

  g_atomic_ref_count_init (&l->refs);
  l->name = g_strdup (name);
  l->weights = sumi_tensor_map_ref (sumi_lora_targets_peek_weights (targets));
  l->changes = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_lora_change_free);
  l->by_parameter = g_hash_table_new (g_str_hash, g_str_equal);
  l->unmatched = g_ptr_array_new_with_free_func (g_free);
  if (match (l, targets, file, error))
    return g_steal_pointer (&l);
  g_prefix_error (error, "%s: ", name);
  return NULL;
}

guint
sumi_lora_get_n_changes (const SumiLora *l)
{
  return l->changes->len;
}

const char *
sumi_lora_get_change (const SumiLora *l, guint i)
{
  g_return_val_if_fail (i < l->changes->len, NULL);
  return ((const SumiLoraChange *)g_ptr_array_index (l->changes, i))->parameter;
}

GPtrArray *
sumi_lora_peek_unmatched (const SumiLora *l)
{
  return l->unmatched;
}

GHashTable *
sumi_lora_peek_embeddings (const SumiLora *l)
{
  return l->embeddings;
}

/* ---- merging ---- */

/* One change with its strength in a sum. */
static gboolean
add_change (const SumiLoraChange *c, double strength, const SumiTensor *weight, SumiTensor *sum, GError **error)
{
  g_autofree float *w = NULL;

  if (!sumi_shape_equal (&c->shape, sumi_tensor_get_shape (weight)))
    {
      g_autofree char *found = sumi_shape_to_string (sumi_tensor_get_shape (weight));
      g_autofree char *want = sumi_shape_to_string (&c->shape);

      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "%s: found %s, expected %s as in the adapter's model",
                   c->parameter, found, want);
      return FALSE;
    }
  if (sumi_lora_change_needs_weight (c) && (w = sumi_lora_load (weight, error)) == NULL)
    return FALSE;
  return sumi_lora_change_add (c, strength, w, sumi_tensor_poke_f32 (sum), error);
}

SumiTensor *
sumi_lora_delta (const SumiLora *l, const char *parameter, GError **error)
{
  const SumiLoraChange *c = g_hash_table_lookup (l->by_parameter, parameter);
  SumiTensor *weight = sumi_tensor_map_lookup (l->weights, parameter, error);
  g_autoptr (SumiTensor) sum
      = weight != NULL ? sumi_tensor_new (SUMI_F32, sumi_tensor_get_shape (weight), error) : NULL;

  if (sum == NULL || (c != NULL && !add_change (c, 1, weight, sum, error)))
    return NULL;
  return g_steal_pointer (&sum);
}

typedef struct
{
  SumiLora *lora;
  double unet_strength, text_strength;
} Layer;

struct _SumiLoraStack
{
  SumiTensorMap *weights;
  GArray *layers; /* Layer, by name */
};

static void
layer_clear (gpointer layer)
{
  sumi_lora_unref (((Layer *)layer)->lora);
}

SumiLoraStack *
sumi_lora_stack_new (SumiTensorMap *weights)
{
  SumiLoraStack *s = g_new0 (SumiLoraStack, 1);

  s->weights = sumi_tensor_map_ref (weights);
  s->layers = g_array_new (FALSE, FALSE, sizeof (Layer));
  g_array_set_clear_func (s->layers, layer_clear);
  return s;
}

void
sumi_lora_stack_free (SumiLoraStack *s)
{
  if (s == NULL)
    return;
  sumi_tensor_map_unref (s->weights);
  g_array_unref (s->layers);
  g_free (s);
}

static int
compare_layers (gconstpointer a, gconstpointer b)
{
  const Layer *x = a, *y = b;
  int by_name = strcmp (x->lora->name, y->lora->name);

  if (by_name != 0)
    return by_name;
  if (x->unet_strength != y->unet_strength)
    return x->unet_strength < y->unet_strength ? -1 : 1;
  return x->text_strength < y->text_strength ? -1 : x->text_strength > y->text_strength;
}

void
sumi_lora_stack_add (SumiLoraStack *s, SumiLora *l, double unet_strength, double text_strength)
{
  Layer layer = { sumi_lora_ref (l), unet_strength, text_strength };

  g_array_append_val (s->layers, layer);
  g_array_sort (s->layers, compare_layers);
}

void
sumi_lora_stack_clear (SumiLoraStack *s)
{
  g_array_set_size (s->layers, 0);
}

/* The layer's change of the parameter, or NULL where there is none or its strength is 0. */
static const SumiLoraChange *
change_of (const SumiLoraStack *s, guint i, const char *parameter, double *strength)
{
  const Layer *layer = &g_array_index (s->layers, Layer, i);
  const SumiLoraChange *c = g_hash_table_lookup (layer->lora->by_parameter, parameter);

  if (c == NULL)
    return NULL;
  *strength = c->text ? layer->text_strength : layer->unet_strength;
  return *strength != 0 ? c : NULL;
}

gboolean
sumi_lora_stack_changes (const SumiLoraStack *s, const char *parameter)
{
  double strength;

  for (guint i = 0; i < s->layers->len; i++)
    if (change_of (s, i, parameter, &strength) != NULL)
      return TRUE;
  return FALSE;
}

/* sum += weight, a piece at a time: the small changes are added up before, and lose nothing beside the large weight. */
static gboolean
add_weight (SumiTensor *weight, SumiTensor *sum, GError **error)
{
  gint64 n = sumi_tensor_get_numel (weight);
  g_autoptr (SumiTensor) flat = sumi_tensor_reshape (weight, &SUMI_SHAPE (n), error);
  float *out = sumi_tensor_poke_f32 (sum);
  gboolean ok = flat != NULL;

#pragma omp parallel for schedule(static) reduction(&& : ok)
  for (gint64 first = 0; first < (flat != NULL ? n : 0); first += PIECE)
    {
      gint64 count = MIN (PIECE, n - first);
      g_autoptr (SumiTensor) piece = sumi_tensor_slice0 (flat, first, count, NULL);
      float w[PIECE];

      ok = ok && piece != NULL;
      if (piece == NULL)
        continue;
      sumi_tensor_to_f32 (piece, w);
      for (gint64 i = 0; i < count; i++)
        out[first + i] += w[i];
    }
  if (!ok && flat != NULL)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "found a weight that cannot be read in pieces of %d",
                 PIECE);
  return ok;
}

SumiTensor *
sumi_lora_stack_merge (const SumiLoraStack *s, const char *parameter, GError **error)
{
  SumiTensor *weight = sumi_tensor_map_lookup (s->weights, parameter, error);
  g_autoptr (SumiTensor) sum = NULL;

  if (weight == NULL)
    return NULL;
  for (guint i = 0; i < s->layers->len; i++)
    {
      double strength;
      const SumiLoraChange *c = change_of (s, i, parameter, &strength);

      if (c == NULL)
        continue;
      if (sum == NULL && (sum = sumi_tensor_new (SUMI_F32, sumi_tensor_get_shape (weight), error)) == NULL)
        return NULL;
      if (!add_change (c, strength, weight, sum, error))
        return NULL;
    }
  if (sum == NULL)
    return sumi_tensor_ref (weight);
  if (!add_weight (weight, sum, error))
    return NULL;
  if (sumi_tensor_is_finite (sum))
    return g_steal_pointer (&sum);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE,
               "%s: found NaN or infinity with the adapters in it, expected finite values", parameter);
  return NULL;
}
