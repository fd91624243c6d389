/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "diffusion/embedding.h"

#define MAX_VECTORS 75 /* what a chunk of the prompt has room for */
#define MAX_WIDTH 16384

/* ---- which tensors of the file ---- */

typedef struct
{
  const char *token; /* NULL: the file does not say */
  SumiTensor *first, *second;
} Found;

/* The web UI's: {"string_to_param": {"*": vectors}, …}; in old files the inner dictionary is a ParameterDict, an object
 * that holds it.  "*" stands for any word.  Tensors beside it are what was known about the training. */
static gboolean
find_string_to_param (const SumiTensorMap *file, const char *name, Found *found, GError **error)
{
  guint n = 0;

  for (guint i = 0; i < sumi_tensor_map_get_size (file); i++)
    if (g_str_has_prefix (sumi_tensor_map_get_name (file, i), "string_to_param."))
      {
        found->first = sumi_tensor_map_peek_nth (file, i);
        n++;
      }
  return n <= 1
         || sumi_refuse (error, SUMI_ERROR_UNKNOWN_MODEL, "%s: found %u words in string_to_param, expected one", name,
                         n);
}

/* The two encoders' vectors under any pair of names in use. */
static gboolean
find_pair (const SumiTensorMap *file, Found *found)
{
  static const char *const pairs[][2] = { { "clip_l", "clip_g" }, { "text_encoders_0", "text_encoders_1" } };

  for (guint i = 0; i < G_N_ELEMENTS (pairs) && found->first == NULL && found->second == NULL; i++)
    {
      found->first = sumi_tensor_map_peek (file, pairs[i][0]);
      found->second = sumi_tensor_map_peek (file, pairs[i][1]);
    }
  return found->first != NULL || found->second != NULL;
}

static gboolean
find (const SumiTensorMap *file, const char *name, Found *found, GError **error)
{
  guint size = sumi_tensor_map_get_size (file);

  *found = (Found){ NULL };
  if (!find_string_to_param (file, name, found, error))
    return FALSE;
  if (found->first != NULL || find_pair (file, found)
      || (found->first = sumi_tensor_map_peek (file, "emb_params")) != NULL)
    return TRUE;
  if (size != 1)
    return sumi_refuse (
        error, SUMI_ERROR_UNKNOWN_MODEL,
        "%s: found %u tensors, expected a textual inversion (string_to_param, emb_params, clip_l and clip_g, "
        "or one tensor named as its word)",
        name, size);
  found->first = sumi_tensor_map_peek_nth (file, 0);
  found->token = sumi_tensor_map_get_name (file, 0);
  return TRUE;
}

/* ---- their values ---- */

/* (D) or (n,D) of any float type as F32 (n,D). */
static SumiTensor *
read_vectors (const SumiTensor *t, const char *name, GError **error)
{
  const SumiShape *shape = sumi_tensor_get_shape (t);
  gint64 n = shape->rank == 2 ? shape->d[0] : 1, width = shape->rank > 0 ? shape->d[shape->rank - 1] : 0;
  g_autofree char *found = sumi_shape_to_string (shape);
  g_autoptr (SumiTensor) vectors = NULL;

  if (shape->rank < 1 || shape->rank > 2 || n < 1 || width < 1 || width > MAX_WIDTH)
    sumi_refuse (error, SUMI_ERROR_BAD_SHAPE, "%s: found shape %s, expected (vectors,width)", name, found);
  else if (n > MAX_VECTORS)
    sumi_refuse (error, SUMI_ERROR_TOO_LARGE, "%s: found %" G_GINT64_FORMAT " vectors, expected at most %d", name, n,
                 MAX_VECTORS);
  else if (!sumi_dtype_is_float (sumi_tensor_get_dtype (t)))
    sumi_refuse (error, SUMI_ERROR_UNSUPPORTED_DTYPE, "%s: found %s, expected floating-point vectors", name,
                 sumi_dtype_name (sumi_tensor_get_dtype (t)));
  else if ((vectors = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (n, width), error)) != NULL)
    {
      sumi_tensor_to_f32 (t, sumi_tensor_poke_f32 (vectors));
      if (sumi_tensor_is_finite (vectors))
        return g_steal_pointer (&vectors);
      sumi_refuse (error, SUMI_ERROR_NON_FINITE, "%s: found NaN or infinity, expected finite vectors", name);
    }
  return NULL;
}

static gboolean
check_counts (SumiEmbedding *e, const char *name, GError **error)
{
  guint n[2] = { 0 };
  const SumiTensor *both[] = { e->vectors, e->vectors_2 };

  for (guint i = 0; i < 2; i++)
    if (both[i] != NULL)
      n[i] = (guint)sumi_tensor_get_shape (both[i])->d[0];
  if (n[0] != 0 && n[1] != 0 && n[0] != n[1])
    return sumi_refuse (error, SUMI_ERROR_BAD_SHAPE,
                        "%s: found %u and %u vectors, expected as many for both text encoders", name, n[0], n[1]);
  e->n_vectors = MAX (n[0], n[1]);
  return TRUE;
}

SumiEmbedding *
sumi_embedding_new (const SumiTensorMap *file, const char *name, GError **error)
{
  g_autoptr (SumiEmbedding) e = g_new0 (SumiEmbedding, 1);
  Found found;

  if (!find (file, name, &found, error)
      || (found.first != NULL && (e->vectors = read_vectors (found.first, name, error)) == NULL)
      || (found.second != NULL && (e->vectors_2 = read_vectors (found.second, name, error)) == NULL)
      || !check_counts (e, name, error))
    return NULL;
  e->token = g_strdup (found.token != NULL && *found.token != '\0' ? found.token : name);
  return g_steal_pointer (&e);
}

void
sumi_embedding_free (SumiEmbedding *e)
{
  if (e == NULL)
    return;
  g_free (e->token);
  g_clear_pointer (&e->vectors, sumi_tensor_unref);
  g_clear_pointer (&e->vectors_2, sumi_tensor_unref);
  g_free (e);
}
