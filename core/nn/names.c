/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stable Diffusion's parameter names, between the original code ("ldm", Rombach et al. 2022) and diffusers.
 *
 * The original U-Net is three flat lists.  Of input_blocks, number 0 is the first convolution, then every level has
 * layers_per_block blocks and, but for the last one, a down-sampling; of output_blocks, every level has
 * layers_per_block + 1, the last of which ends in the up-sampling.  Inside a block, 0 is the residual block (or the
 * down-sampling), 1 the transformer where the level has one, and the up-sampling follows. */
#include "nn/names.h"

#include <string.h>

/* ---- reading a name from left to right ---- */

/* Passes `words` (one or more, joined by dots) and the dot behind them. */
static gboolean
pass (const char **name, const char *words)
{
  gsize length = strlen (words);

  if (strncmp (*name, words, length) != 0 || ((*name)[length] != '.' && (*name)[length] != '\0'))
    return FALSE;
  *name += length + ((*name)[length] == '.');
  return TRUE;
}

/* Passes a number below `end`, and the dot behind it. */
static gboolean
pass_number (const char **name, guint end, guint *number)
{
  const char *s = *name;
  guint value = 0;

  if (!g_ascii_isdigit (*s) || (s[0] == '0' && g_ascii_isdigit (s[1])))
    return FALSE;
  while (g_ascii_isdigit (*s))
    {
      value = value * 10 + (guint)(*s++ - '0');
      if (value >= end)
        return FALSE;
    }
  if (*s != '.' && *s != '\0')
    return FALSE;
  *name = s + (*s == '.');
  *number = value;
  return TRUE;
}

/* Two spellings of a part of a name. */
typedef struct
{
  const char *diffusers, *ldm;
} Spelling;

/* Passes one of the spellings and gives the other; NULL when none fits. */
static const char *
translate (const char **name, const Spelling *table, guint n, gboolean to_ldm)
{
  for (guint i = 0; i < n; i++)
    if (pass (name, to_ldm ? table[i].diffusers : table[i].ldm))
      return to_ldm ? table[i].ldm : table[i].diffusers;
  return NULL;
}

/* "a.b.c", leaving out an empty rest. */
static char *
join (const char *head, const char *middle, const char *rest)
{
  return g_strconcat (head, head[0] != '\0' ? "." : "", middle, rest[0] != '\0' ? "." : "", rest, NULL);
}

/* ---- the U-Net ---- */

static const Spelling unet_ends[] = {
  { "time_embedding.linear_1", "time_embed.0" },
  { "time_embedding.linear_2", "time_embed.2" },
  { "time_embedding.cond_proj", "time_embedding.cond_proj" }, /* there is none in the original code */
  { "conv_in", "input_blocks.0.0" },
  { "conv_norm_out", "out.0" },
  { "conv_out", "out.2" },
};

/* label_emb is what is added to the time embedding, whatever it is made of. */
static const Spelling class_embedding[]
    = { { "class_embedding.linear_1", "label_emb.0.0" }, { "class_embedding.linear_2", "label_emb.0.2" } };
static const Spelling add_embedding[]
    = { { "add_embedding.linear_1", "label_emb.0.0" }, { "add_embedding.linear_2", "label_emb.0.2" } };

static const Spelling resnet_parts[] = {
  { "norm1", "in_layers.0" },  { "conv1", "in_layers.2" },  { "time_emb_proj", "emb_layers.1" },
  { "norm2", "out_layers.0" }, { "conv2", "out_layers.3" }, { "conv_shortcut", "skip_connection" },
};

static const Spelling middle_parts[]
    = { { "resnets.0", "middle_block.0" }, { "attentions.0", "middle_block.1" }, { "resnets.1", "middle_block.2" } };

static char *
unet_end (const SumiUnetConfig *c, const char *name, gboolean to_ldm)
{
  const char *other = translate (&name, unet_ends, G_N_ELEMENTS (unet_ends), to_ldm);

  if (other == NULL && c->projection_class_embeddings_input_dim > 0)
    other = translate (&name, class_embedding, G_N_ELEMENTS (class_embedding), to_ldm);
  if (other == NULL && c->addition_time_embed_dim > 0)
    other = translate (&name, add_embedding, G_N_ELEMENTS (add_embedding), to_ldm);
  return other != NULL ? join ("", other, name) : NULL;
}

/* The rest of a residual block's name, or of a transformer's, whose parts have the same names. */
static char *
block_rest (const char *head, const char *rest, gboolean is_resnet, gboolean to_ldm)
{
  const char *part;

  if (!is_resnet)
    return rest[0] != '\0' ? join (head, rest, "") : g_strdup (head);
  part = translate (&rest, resnet_parts, G_N_ELEMENTS (resnet_parts), to_ldm);
  return part != NULL ? join (head, part, rest) : NULL;
}

static char *
unet_middle (const char *name, gboolean to_ldm)
{
  const char *other;

  if (to_ldm && !pass (&name, "mid_block"))
    return NULL;
  for (guint i = 0; i < G_N_ELEMENTS (middle_parts); i++)
    if ((other = translate (&name, &middle_parts[i], 1, to_ldm)) != NULL)
      {
        g_autofree char *head = to_ldm ? g_strdup (other) : g_strconcat ("mid_block.", other, NULL);

        return block_rest (head, name, i != 1, to_ldm);
      }
  return NULL;
}

static char *
down_to_ldm (const SumiUnetConfig *c, const char *name)
{
  const guint layers = c->layers_per_block;
  guint level, layer;

  if (!pass_number (&name, c->n_levels, &level))
    return NULL;
  if (level + 1 < c->n_levels && pass (&name, "downsamplers.0.conv"))
    {
      g_autofree char *head = g_strdup_printf ("input_blocks.%u.0.op", (level + 1) * (layers + 1));

      return block_rest (head, name, FALSE, TRUE);
    }
  gboolean is_resnet = pass (&name, "resnets");
  if ((!is_resnet && !(c->attention[level] && pass (&name, "attentions"))) || !pass_number (&name, layers, &layer))
    return NULL;
  g_autofree char *head = g_strdup_printf ("input_blocks.%u.%d", 1 + level * (layers + 1) + layer, is_resnet ? 0 : 1);
  return block_rest (head, name, is_resnet, TRUE);
}

static char *
down_from_ldm (const SumiUnetConfig *c, const char *name)
{
  const guint each = c->layers_per_block + 1;
  guint block, part, level, layer;

  /* the last level has no down-sampling */
  if (!pass_number (&name, c->n_levels * each, &block) || block == 0 || !pass_number (&name, 2, &part))
    return NULL;
  level = (block - 1) / each;
  layer = (block - 1) % each;
  if (layer == c->layers_per_block)
    {
      g_autofree char *head = g_strdup_printf ("down_blocks.%u.downsamplers.0.conv", level);

      return part == 0 && pass (&name, "op") ? block_rest (head, name, FALSE, FALSE) : NULL;
    }
  if (part == 1 && !c->attention[level])
    return NULL;
  g_autofree char *head = g_strdup_printf ("down_blocks.%u.%s.%u", level, part == 0 ? "resnets" : "attentions", layer);
  return block_rest (head, name, part == 0, FALSE);
}

static char *
up_to_ldm (const SumiUnetConfig *c, const char *name)
{
  const guint each = c->layers_per_block + 1;
  gboolean attention, is_resnet;
  guint block, layer;

  if (!pass_number (&name, c->n_levels, &block))
    return NULL;
  attention = c->attention[c->n_levels - 1 - block];
  if (block + 1 < c->n_levels && pass (&name, "upsamplers.0"))
    {
      g_autofree char *head = g_strdup_printf ("output_blocks.%u.%d", block * each + each - 1, attention ? 2 : 1);

      return g_str_has_prefix (name, "conv") ? block_rest (head, name, FALSE, TRUE) : NULL;
    }
  is_resnet = pass (&name, "resnets");
  if ((!is_resnet && !(attention && pass (&name, "attentions"))) || !pass_number (&name, each, &layer))
    return NULL;
  g_autofree char *head = g_strdup_printf ("output_blocks.%u.%d", block * each + layer, is_resnet ? 0 : 1);
  return block_rest (head, name, is_resnet, TRUE);
}

static char *
up_from_ldm (const SumiUnetConfig *c, const char *name)
{
  const guint each = c->layers_per_block + 1;
  gboolean attention;
  guint number, part, block, layer;

  if (!pass_number (&name, c->n_levels * each, &number) || !pass_number (&name, 3, &part))
    return NULL;
  block = number / each;
  layer = number % each;
  attention = c->attention[c->n_levels - 1 - block];
  if (part == (attention ? 2 : 1))
    {
      g_autofree char *head = g_strdup_printf ("up_blocks.%u.upsamplers.0", block);
      gboolean fits = layer + 1 == each && block + 1 < c->n_levels && g_str_has_prefix (name, "conv");

      return fits ? block_rest (head, name, FALSE, FALSE) : NULL;
    }
  if (part > 1)
    return NULL;
  g_autofree char *head = g_strdup_printf ("up_blocks.%u.%s.%u", block, part == 0 ? "resnets" : "attentions", layer);
  return block_rest (head, name, part == 0, FALSE);
}

char *
sumi_names_unet_to_ldm (const SumiUnetConfig *c, const char *name)
{
  if (pass (&name, "down_blocks"))
    return down_to_ldm (c, name);
  if (pass (&name, "up_blocks"))
    return up_to_ldm (c, name);
  if (g_str_has_prefix (name, "mid_block."))
    return unet_middle (name, TRUE);
  return unet_end (c, name, TRUE);
}

char *
sumi_names_unet_from_ldm (const SumiUnetConfig *c, const char *ldm)
{
  char *end = unet_end (c, ldm, FALSE); /* input_blocks.0.0 is one */

  if (end != NULL)
    return end;
  if (pass (&ldm, "input_blocks"))
    return down_from_ldm (c, ldm);
  if (pass (&ldm, "output_blocks"))
    return up_from_ldm (c, ldm);
  return unet_middle (ldm, FALSE);
}

/* ---- the auto-encoder ---- */

#define MAX_VAE_LAYERS 64

/* These have the same name in both, and between "encoder" or "decoder" and their parts. */
static const Spelling vae_ends[]
    = { { "conv_in", "conv_in" }, { "conv_norm_out", "norm_out" }, { "conv_out", "conv_out" } };

static const Spelling vae_resnet_parts[] = {
  { "norm1", "norm1" },
  { "conv1", "conv1" },
  { "norm2", "norm2" },
  { "conv2", "conv2" },
  { "conv_shortcut", "nin_shortcut" },
};

static const Spelling vae_middle_parts[] = { { "mid_block.resnets.0", "mid.block_1" },
                                             { "mid_block.attentions.0", "mid.attn_1" },
                                             { "mid_block.resnets.1", "mid.block_2" } };

static const Spelling vae_attention_parts[] = {
  { "group_norm", "norm" }, { "to_q", "q" }, { "to_k", "k" }, { "to_v", "v" }, { "to_out.0", "proj_out" },
};

static char *
vae_parts (const char *head, const char *rest, const Spelling *table, guint n, gboolean to_ldm)
{
  const char *part = translate (&rest, table, n, to_ldm);

  return part != NULL ? join (head, part, rest) : NULL;
}

static char *
vae_middle (const char *half, const char *name, gboolean to_ldm)
{
  for (guint i = 0; i < G_N_ELEMENTS (vae_middle_parts); i++)
    {
      const char *other = translate (&name, &vae_middle_parts[i], 1, to_ldm);
      g_autofree char *head = other != NULL ? join (half, other, "") : NULL;

      if (other != NULL && i == 1)
        return vae_parts (head, name, vae_attention_parts, G_N_ELEMENTS (vae_attention_parts), to_ldm);
      if (other != NULL)
        return vae_parts (head, name, vae_resnet_parts, G_N_ELEMENTS (vae_resnet_parts), to_ldm);
    }
  return NULL;
}

/* A level of the encoder, or of the decoder, which diffusers counts from the other end. */
static char *
vae_level (const char *half, guint n_levels, const char *name, gboolean to_ldm)
{
  const gboolean decoder = strcmp (half, "decoder") == 0;
  const Spelling levels = decoder ? (Spelling){ "up_blocks", "up" } : (Spelling){ "down_blocks", "down" };
  const Spelling sampler = decoder ? (Spelling){ "upsamplers.0.conv", "upsample.conv" }
                                   : (Spelling){ "downsamplers.0.conv", "downsample.conv" };
  const Spelling resnets = { "resnets", "block" };
  const char *other = translate (&name, &levels, 1, to_ldm);
  guint level, layer;

  if (other == NULL || !pass_number (&name, n_levels, &level))
    return NULL;
  if (decoder)
    level = n_levels - 1 - level;
  g_autofree char *head = g_strdup_printf ("%s.%s.%u", half, other, level);
  if ((other = translate (&name, &sampler, 1, to_ldm)) != NULL)
    return join (head, other, name);
  if ((other = translate (&name, &resnets, 1, to_ldm)) == NULL || !pass_number (&name, MAX_VAE_LAYERS, &layer))
    return NULL;
  g_autofree char *block = g_strdup_printf ("%s.%s.%u", head, other, layer);
  return vae_parts (block, name, vae_resnet_parts, G_N_ELEMENTS (vae_resnet_parts), to_ldm);
}

static char *
vae_name (guint n_levels, const char *name, gboolean to_ldm)
{
  static const char *const halves[] = { "encoder", "decoder" };

  if (g_str_has_prefix (name, "quant_conv.") || g_str_has_prefix (name, "post_quant_conv."))
    return g_strdup (name);
  for (guint i = 0; i < G_N_ELEMENTS (halves); i++)
    if (pass (&name, halves[i]))
      {
        char *found = vae_parts (halves[i], name, vae_ends, G_N_ELEMENTS (vae_ends), to_ldm);

        if (found == NULL)
          found = vae_middle (halves[i], name, to_ldm);
        return found != NULL ? found : vae_level (halves[i], n_levels, name, to_ldm);
      }
  return NULL;
}

char *
sumi_names_vae_to_ldm (guint n_levels, const char *name)
{
  return vae_name (n_levels, name, TRUE);
}

char *
sumi_names_vae_from_ldm (guint n_levels, const char *ldm)
{
  return vae_name (n_levels, ldm, FALSE);
}
