/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cloneofsimo's dialect has no names, but numbers: the modules of some classes in the order in which torch walks them.
 */
#include "nn/lora-private.h"

typedef struct
{
  const SumiLoraTargets *targets;
  gboolean attention, geglu, resnet; /* the classes asked for */
  GPtrArray *found;
} Walk;

static gboolean add (Walk *w, const char *format, ...) G_GNUC_PRINTF (2, 3);

static gboolean
add (Walk *w, const char *format, ...)
{
  g_autofree char *name = NULL;
  va_list args;
  const SumiLoraModule *m;

  va_start (args, format);
  name = g_strdup_vprintf (format, args);
  va_end (args);
  m = sumi_lora_targets_peek (w->targets, name);
  if (m != NULL)
    g_ptr_array_add (w->found, (gpointer)m);
  return m != NULL;
}

static gboolean
exists (const Walk *w, const char *block, const char *list, guint i, const char *part)
{
  g_autofree char *name = g_strdup_printf ("%s.%s.%u.%s", block, list, i, part);

  return sumi_lora_targets_peek (w->targets, name) != NULL;
}

static void
walk_attention (Walk *w, const char *transformer, const char *name)
{
  static const char *const parts[] = { "to_q", "to_k", "to_v", "to_out.0" };

  for (guint i = 0; w->attention && i < G_N_ELEMENTS (parts); i++)
    add (w, "%s.%s.%s", transformer, name, parts[i]);
}

/* Attentions come before resnets, and in a transformer block attn1, ff, attn2: the order in which diffusers' classes
 * made them. */
static void
walk_block (Walk *w, const char *block)
{
  for (guint i = 0; exists (w, block, "attentions", i, "proj_in"); i++)
    for (guint k = 0;; k++)
      {
        g_autofree char *path = g_strdup_printf ("%s.attentions.%u.transformer_blocks.%u", block, i, k);
        g_autofree char *norm = g_strconcat (path, ".norm1", NULL);

        if (sumi_lora_targets_peek (w->targets, norm) == NULL)
          break;
        walk_attention (w, path, "attn1");
        if (w->geglu)
          add (w, "%s.ff.net.0.proj", path);
        walk_attention (w, path, "attn2");
      }
  for (guint i = 0; w->resnet && exists (w, block, "resnets", i, "conv1"); i++)
    {
      static const char *const parts[] = { "conv1", "time_emb_proj", "conv2", "conv_shortcut" };

      for (guint p = 0; p < G_N_ELEMENTS (parts); p++)
        add (w, "%s.resnets.%u.%s", block, i, parts[p]);
    }
}

/* The middle block is made, and so walked, after the others. */
static void
walk_unet (Walk *w)
{
  static const char *const lists[] = { "unet.down_blocks", "unet.up_blocks" };

  for (guint l = 0; l < G_N_ELEMENTS (lists); l++)
    for (guint b = 0; b < SUMI_MAX_LEVELS; b++)
      {
        g_autofree char *block = g_strdup_printf ("%s.%u", lists[l], b);

        walk_block (w, block);
      }
  walk_block (w, "unet.mid_block");
}

static void
walk_text (Walk *w)
{
  static const char *const parts[] = { "k_proj", "v_proj", "q_proj", "out_proj" };
  gboolean more = w->attention;

  for (guint k = 0; more; k++)
    for (guint p = 0; p < G_N_ELEMENTS (parts); p++)
      more = add (w, "text_encoder.text_model.encoder.layers.%u.self_attn.%s", k, parts[p]);
}

/* The classes that the file says it walked, or what the program walks unless told otherwise. */
static void
read_classes (Walk *w, const SumiTensorMap *file, const char *component)
{
  g_autoptr (JsonNode) json = sumi_lora_metadata_json (file, component);
  JsonArray *list = json != NULL && JSON_NODE_HOLDS_ARRAY (json) ? json_node_get_array (json) : NULL;

  w->attention = w->geglu = list == NULL;
  for (guint i = 0; list != NULL && i < json_array_get_length (list); i++)
    {
      JsonNode *node = json_array_get_element (list, i);
      const char *name = JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;

      if (g_strcmp0 (name, "CrossAttention") == 0 || g_strcmp0 (name, "Attention") == 0
          || g_strcmp0 (name, "CLIPAttention") == 0)
        w->attention = TRUE;
      else if (g_strcmp0 (name, "GEGLU") == 0)
        w->geglu = TRUE;
      else if (g_strcmp0 (name, "ResnetBlock2D") == 0)
        w->resnet = TRUE;
    }
}

GPtrArray *
sumi_lora_targets_walk (const SumiLoraTargets *t, const char *component, const SumiTensorMap *file)
{
  Walk w = { .targets = t, .found = g_ptr_array_new () };

  read_classes (&w, file, component);
  if (g_str_equal (component, "unet"))
    walk_unet (&w);
  else
    walk_text (&w);
  return w.found;
}
