/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/canonical.h"

#include <string.h>

#include "nn/names.h"

typedef struct
{
  SumiTensorMap *to;
  GPtrArray *ignored;
  const SumiModelConfig *config;
  GError **error;
} Writer;

/* Takes the name over. */
static void
put (Writer *w, char *name, SumiTensor *t)
{
  sumi_tensor_map_set (w->to, name, t);
  g_free (name);
}

/* ---- shapes ---- */

/* A convolution of one pixel and a matrix are the same values: as many dimensions as wanted. */
static SumiTensor *
with_rank (SumiTensor *t, guint rank, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (t);

  if (rank == 2 && s->rank == 4 && s->d[2] == 1 && s->d[3] == 1)
    return sumi_tensor_reshape (t, &SUMI_SHAPE (s->d[0], s->d[1]), error);
  if (rank == 4 && s->rank == 2)
    return sumi_tensor_reshape (t, &SUMI_SHAPE (s->d[0], s->d[1], 1, 1), error);
  return sumi_tensor_ref (t);
}

/* How many dimensions a weight has that is stored in two ways; 0: any. name: in diffusers' spelling. */
static guint
wanted_rank (SumiComponentKind kind, const char *name, const SumiModelConfig *config)
{
  if (kind == SUMI_COMPONENT_UNET
      && (g_str_has_suffix (name, ".proj_in.weight") || g_str_has_suffix (name, ".proj_out.weight")))
    return config->unet.use_linear_projection ? 2 : 4;
  if (kind == SUMI_COMPONENT_VAE && strstr (name, ".attentions.0.to_") != NULL && g_str_has_suffix (name, ".weight"))
    return 2;
  return 0;
}

/* Takes the name over. */
static gboolean
put_ranked (Writer *w, SumiComponentKind kind, char *name, SumiTensor *t)
{
  const guint rank = wanted_rank (kind, name, w->config);
  g_autoptr (SumiTensor) fitting = rank != 0 ? with_rank (t, rank, w->error) : sumi_tensor_ref (t);

  if (fitting != NULL)
    put (w, g_strdup (name), fitting);
  g_free (name);
  return fitting != NULL;
}

/* (rows, columns) -> (columns, rows), whatever the values are; F32 where they are quantised in blocks. */
static SumiTensor *
transposed (SumiTensor *t, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (t);
  SumiDType dtype = sumi_tensor_get_dtype (t);
  g_autoptr (SumiTensor) plain = NULL;
  SumiTensor *out;
  gsize size;

  if (s->rank != 2)
    return sumi_tensor_ref (t); /* its shape will be refused by name */
  plain = sumi_dtype_is_quantised (dtype) ? sumi_tensor_cast (t, SUMI_F32, error) : sumi_tensor_ref (t);
  if (plain == NULL)
    return NULL;
  dtype = sumi_tensor_get_dtype (plain);
  size = sumi_dtype_size (dtype);
  out = sumi_tensor_new (dtype, &SUMI_SHAPE (s->d[1], s->d[0]), error);
  if (out == NULL)
    return NULL;
  for (gint64 i = 0; i < s->d[0]; i++)
    for (gint64 j = 0; j < s->d[1]; j++)
      memcpy ((char *)sumi_tensor_poke (out) + (gsize)(j * s->d[0] + i) * size,
              (const char *)sumi_tensor_peek (plain) + (gsize)(i * s->d[1] + j) * size, size);
  return out;
}

/* ---- original names ---- */

static gboolean
add_ldm_part (Writer *w, const SumiTensorMap *from, SumiComponentKind kind, guint n_levels, const char *prefix)
{
  for (guint i = 0; i < sumi_tensor_map_get_size (from); i++)
    {
      const char *ldm = sumi_tensor_map_get_name (from, i);
      SumiTensor *t = sumi_tensor_map_peek_nth (from, i);
      g_autofree char *name = kind == SUMI_COMPONENT_UNET ? sumi_names_unet_from_ldm (&w->config->unet, ldm)
                                                          : sumi_names_vae_from_ldm (n_levels, ldm);

      if (name == NULL)
        put (w, g_strconcat (prefix, ldm, NULL), t);
      else if (!put_ranked (w, kind, g_strconcat (sumi_component_name (kind), ".", name, NULL), t))
        return FALSE;
    }
  return TRUE;
}

/* OpenCLIP's names outside of the layers, and in a layer. */
static const char *const open_clip_ends[][2] = {
  { "positional_embedding", "text_model.embeddings.position_embedding.weight" },
  { "token_embedding.weight", "text_model.embeddings.token_embedding.weight" },
  { "ln_final.weight", "text_model.final_layer_norm.weight" },
  { "ln_final.bias", "text_model.final_layer_norm.bias" },
};
static const char *const open_clip_layer[][2] = {
  { "ln_1.", "layer_norm1." },
  { "ln_2.", "layer_norm2." },
  { "mlp.c_fc.", "mlp.fc1." },
  { "mlp.c_proj.", "mlp.fc2." },
  { "attn.out_proj.", "self_attn.out_proj." },
};

/* Query, key and value lie in one matrix, one below the other. */
static gboolean
split_projection (Writer *w, const char *prefix, const char *rest, SumiTensor *t)
{
  static const char *const names[] = { "q_proj", "k_proj", "v_proj" };
  const gint64 rows = sumi_tensor_get_shape (t)->d[0] / 3;

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr (SumiTensor) part = sumi_tensor_slice0 (t, i * rows, rows, w->error);

      if (part == NULL)
        return FALSE;
      put (w, g_strdup_printf ("%sself_attn.%s.%s", prefix, names[i], rest), part);
    }
  return TRUE;
}

/* FALSE: an error. *known: whether the name is one of a layer's. */
static gboolean
put_open_clip_layer (Writer *w, const char *component, guint layer, const char *rest, SumiTensor *t, gboolean *known)
{
  g_autofree char *prefix = g_strdup_printf ("%s.text_model.encoder.layers.%u.", component, layer);
  const guint rank = sumi_tensor_get_shape (t)->rank;

  *known = TRUE;
  if (g_str_has_prefix (rest, "attn.in_proj_") && rank > 0 && sumi_tensor_get_shape (t)->d[0] % 3 == 0)
    return split_projection (w, prefix, rest + strlen ("attn.in_proj_"), t);
  for (guint i = 0; i < G_N_ELEMENTS (open_clip_layer); i++)
    if (g_str_has_prefix (rest, open_clip_layer[i][0]))
      {
        put (w, g_strconcat (prefix, open_clip_layer[i][1], rest + strlen (open_clip_layer[i][0]), NULL), t);
        return TRUE;
      }
  *known = FALSE;
  return TRUE;
}

/* The number behind "PREFIX", and what follows its dot; FALSE: another name. */
static gboolean
parse_layer (const char *name, const char *prefix, guint *layer, const char **rest)
{
  char *end;
  guint64 n;

  if (!g_str_has_prefix (name, prefix) || !g_ascii_isdigit (name[strlen (prefix)]))
    return FALSE;
  n = g_ascii_strtoull (name + strlen (prefix), &end, 10);
  if (*end != '.' || n > 4096)
    return FALSE;
  *layer = (guint)n;
  *rest = end + 1;
  return TRUE;
}

static gboolean
put_open_clip (Writer *w, SumiComponentKind kind, const SumiTextConfig *text, const char *ldm, const char *whole,
               SumiTensor *t)
{
  const char *component = sumi_component_name (kind), *rest;
  gboolean known = FALSE;
  guint layer;

  for (guint i = 0; i < G_N_ELEMENTS (open_clip_ends); i++)
    if (strcmp (ldm, open_clip_ends[i][0]) == 0)
      {
        put (w, g_strconcat (component, ".", open_clip_ends[i][1], NULL), t);
        return TRUE;
      }
  if (strcmp (ldm, "text_projection") == 0 && text->projection_dim > 0)
    {
      g_autoptr (SumiTensor) weight = transposed (t, w->error);

      if (weight != NULL)
        put (w, g_strconcat (component, ".text_projection.weight", NULL), weight);
      return weight != NULL;
    }
  if (strcmp (ldm, "text_projection") == 0
      || (parse_layer (ldm, "transformer.resblocks.", &layer, &rest) && layer >= text->num_hidden_layers))
    {
      g_ptr_array_add (w->ignored, g_strdup (whole));
      return TRUE;
    }
  if (parse_layer (ldm, "transformer.resblocks.", &layer, &rest)
      && !put_open_clip_layer (w, component, layer, rest, t, &known))
    return FALSE;
  if (!known)
    put (w, g_strdup (whole), t);
  return TRUE;
}

/* transformers' names: a projection that is not used, and layers behind the last one. */
static gboolean
clip_is_unused (const SumiTextConfig *text, const char *name)
{
  const char *rest;
  guint layer;

  if (g_str_has_prefix (name, "text_projection"))
    return text->projection_dim == 0;
  return parse_layer (name, "text_model.encoder.layers.", &layer, &rest) && layer >= text->num_hidden_layers;
}

static gboolean
add_ldm_text (Writer *w, const SumiComponents *c, SumiComponentKind kind, const SumiTextConfig *text)
{
  const SumiTensorMap *from = c->tensors[kind];

  for (guint i = 0; i < sumi_tensor_map_get_size (from); i++)
    {
      const char *ldm = sumi_tensor_map_get_name (from, i);
      SumiTensor *t = sumi_tensor_map_peek_nth (from, i);
      g_autofree char *whole = g_strconcat (c->prefix[kind], ldm, NULL);

      if (c->open_clip[kind] && !put_open_clip (w, kind, text, ldm, whole, t))
        return FALSE;
      if (!c->open_clip[kind] && clip_is_unused (text, ldm))
        g_ptr_array_add (w->ignored, g_strdup (whole));
      else if (!c->open_clip[kind])
        put (w, g_strconcat (sumi_component_name (kind), ".", ldm, NULL), t);
    }
  return TRUE;
}

static void
copy_metadata (const SumiTensorMap *from, SumiTensorMap *to)
{
  GHashTableIter iter;
  gpointer key, value;

  g_hash_table_iter_init (&iter, sumi_tensor_map_peek_metadata (from));
  while (g_hash_table_iter_next (&iter, &key, &value))
    sumi_tensor_map_set_metadata (to, key, value);
}

SumiTensorMap *
sumi_canonical_from_components (SumiComponents *c, const SumiTensorMap *file, const SumiModelConfig *config,
                                GError **error)
{
  g_autoptr (SumiTensorMap) to = sumi_tensor_map_new ();
  Writer w = { to, c->ignored, config, error };

  copy_metadata (file, to);
  if (!add_ldm_part (&w, c->tensors[SUMI_COMPONENT_UNET], SUMI_COMPONENT_UNET, 0, "model.diffusion_model.")
      || !add_ldm_part (&w, c->tensors[SUMI_COMPONENT_VAE], SUMI_COMPONENT_VAE, config->vae.n_levels,
                        "first_stage_model.")
      || !add_ldm_text (&w, c, SUMI_COMPONENT_TEXT, &config->text)
      || !add_ldm_text (&w, c, SUMI_COMPONENT_TEXT_2, &config->text_2))
    return NULL;
  for (guint i = 0; i < sumi_tensor_map_get_size (c->unknown); i++)
    sumi_tensor_map_set (to, sumi_tensor_map_get_name (c->unknown, i), sumi_tensor_map_peek_nth (c->unknown, i));
  return g_steal_pointer (&to);
}

/* ---- diffusers' names ---- */

/* The auto-encoder's attention before diffusers 0.15. */
static const char *const old_attention[][2] = { { ".attentions.0.query.", ".attentions.0.to_q." },
                                                { ".attentions.0.key.", ".attentions.0.to_k." },
                                                { ".attentions.0.value.", ".attentions.0.to_v." },
                                                { ".attentions.0.proj_attn.", ".attentions.0.to_out.0." } };

static char *
new_vae_name (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (old_attention); i++)
    {
      const char *at = strstr (name, old_attention[i][0]);

      if (at != NULL)
        return g_strdup_printf ("%.*s%s%s", (int)(at - name), name, old_attention[i][1],
                                at + strlen (old_attention[i][0]));
    }
  return g_strdup (name);
}

static gboolean
is_unused (SumiComponentKind kind, const char *name, const SumiModelConfig *config)
{
  if (sumi_component_is_ignored (name))
    return TRUE;
  if (kind == SUMI_COMPONENT_TEXT)
    return clip_is_unused (&config->text, name);
  return kind == SUMI_COMPONENT_TEXT_2 && clip_is_unused (&config->text_2, name);
}

gboolean
sumi_canonical_add_part (SumiTensorMap *to, const SumiTensorMap *from, SumiComponentKind kind,
                         const SumiModelConfig *config, GPtrArray *ignored, GError **error)
{
  Writer w = { to, ignored, config, error };

  for (guint i = 0; i < sumi_tensor_map_get_size (from); i++)
    {
      const char *name = sumi_tensor_map_get_name (from, i);
      SumiTensor *t = sumi_tensor_map_peek_nth (from, i);
      g_autofree char *inner = kind == SUMI_COMPONENT_VAE ? new_vae_name (name) : g_strdup (name);
      char *whole = g_strconcat (sumi_component_name (kind), ".", inner, NULL);

      if (is_unused (kind, name, config))
        g_ptr_array_add (ignored, whole);
      else if (!put_ranked (&w, kind, whole, t))
        return FALSE;
    }
  return TRUE;
}
