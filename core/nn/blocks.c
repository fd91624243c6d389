/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Residual, attention and transformer blocks.
 *
 * The last layer of every residual branch starts at zero, so that an untrained network is near the identity
 * (Ho et al. 2020, "zero init"; Dhariwal & Nichol 2021). */
#include "nn/blocks.h"

#include "nn/view.h"

#define ZERO_INIT ((SumiInit){ SUMI_INIT_ZEROS, 0 })

SumiNode *
sumi_nn_timestep_mlp (SumiModule *m, SumiNode *embedding, gint64 features)
{
  SumiNode *h = sumi_nn_linear (m, "linear_1", embedding, features, TRUE);

  return sumi_nn_linear (m, "linear_2", sumi_act (m->graph, h, SUMI_ACT_SILU), features, TRUE);
}

SumiNode *
sumi_nn_resnet (SumiModule *m, SumiNode *x, SumiNode *temb, gint64 out_channels, guint groups, double eps)
{
  SumiGraph *g = m->graph;
  SumiNode *shortcut = x, *h;

  /* first, so that the norm is the last to read x and may take its memory */
  if (x->shape.d[1] != out_channels)
    shortcut = sumi_nn_conv2d (m, "conv_shortcut", x, out_channels, 1, 1, 0, TRUE);
  h = sumi_nn_group_norm (m, "norm1", x, groups, eps, SUMI_ACT_SILU);
  h = sumi_nn_conv2d (m, "conv1", h, out_channels, 3, 1, 1, TRUE);
  if (temb != NULL)
    {
      SumiNode *t = sumi_nn_linear (m, "time_emb_proj", sumi_act (g, temb, SUMI_ACT_SILU), out_channels, TRUE);

      h = sumi_add (g, h, sumi_reshape (g, t, &SUMI_SHAPE (x->shape.d[0], out_channels, 1, 1)));
    }
  h = sumi_nn_group_norm (m, "norm2", h, groups, eps, SUMI_ACT_SILU);
  h = sumi_nn_conv2d_init (m, "conv2", h, out_channels, 3, 1, 1, TRUE, ZERO_INIT);
  return sumi_add (g, shortcut, h);
}

SumiNode *
sumi_nn_downsample (SumiModule *m, SumiNode *x, guint pad)
{
  gint64 width = x->shape.d[1];

  sumi_module_push (m, "downsamplers.0");
  if (pad > 0)
    x = sumi_nn_conv2d (m, "conv", x, width, 3, 2, pad, TRUE);
  else
    x = sumi_nn_conv2d_padded (m, "conv", x, width, 3, 2, 0, 0, 1, 1);
  sumi_module_pop (m);
  return x;
}

SumiNode *
sumi_nn_upsample (SumiModule *m, SumiNode *x, gint64 height, gint64 width)
{
  sumi_module_push (m, "upsamplers.0");
  x = sumi_upsample (m->graph, x, height, width);
  x = sumi_nn_conv2d (m, "conv", x, x->shape.d[1], 3, 1, 1, TRUE);
  sumi_module_pop (m);
  return x;
}

SumiNode *
sumi_nn_to_tokens (SumiGraph *g, SumiNode *x)
{
  const gint64 *d = x->shape.d;
  SumiNode *h = sumi_permute (g, x, (const guint8[]){ 0, 2, 3, 1 });

  return sumi_reshape (g, h, &SUMI_SHAPE (d[0], d[2] * d[3], d[1]));
}

SumiNode *
sumi_nn_from_tokens (SumiGraph *g, SumiNode *x, gint64 height, gint64 width)
{
  SumiNode *h = sumi_reshape (g, x, &SUMI_SHAPE (x->shape.d[0], height, width, x->shape.d[2]));

  return sumi_permute (g, h, (const guint8[]){ 0, 3, 1, 2 });
}

/* to_q, to_k, to_v, to_out.0; keys and values from `context`. */
static SumiNode *
attention (SumiModule *m, SumiNode *x, SumiNode *context, guint heads, gboolean qkv_bias, gboolean zero_out)
{
  gint64 c = x->shape.d[2];
  SumiNode *q = sumi_nn_linear (m, "to_q", x, c, qkv_bias);
  SumiNode *k = sumi_nn_linear (m, "to_k", context, c, qkv_bias);
  SumiNode *v = sumi_nn_linear (m, "to_v", context, c, qkv_bias);
  SumiNode *h = sumi_sdpa (m->graph, q, k, v, heads, FALSE, 0);

  if (zero_out)
    return sumi_nn_linear_init (m, "to_out.0", h, c, TRUE, ZERO_INIT);
  return sumi_nn_linear (m, "to_out.0", h, c, TRUE);
}

SumiNode *
sumi_nn_pixel_attention (SumiModule *m, SumiNode *x, guint heads, guint groups, double eps)
{
  SumiGraph *g = m->graph;
  SumiNode *h = sumi_nn_to_tokens (g, sumi_nn_group_norm (m, "group_norm", x, groups, eps, SUMI_ACT_NONE));
  SumiShape tokens = h->shape;
  SumiNode *context = h;

  if (m->view == SUMI_VIEW_SAMPLE)
    context = h = sumi_reshape (g, h, &SUMI_SHAPE (1, tokens.d[0] * tokens.d[1], tokens.d[2]));
  if (m->view != SUMI_VIEW_WHOLE)
    context = sumi_view_share (m, "context", context, &SUMI_SHAPE (1, m->view_places, tokens.d[2]));
  h = sumi_reshape (g, attention (m, h, context, heads, TRUE, TRUE), &tokens);
  return sumi_add (g, x, sumi_nn_from_tokens (g, h, x->shape.d[2], x->shape.d[3]));
}

/* GEGLU (Shazeer 2020): proj gives value and gate, value * gelu (gate); then the way back. */
static SumiNode *
feed_forward (SumiModule *m, SumiNode *x)
{
  SumiGraph *g = m->graph;
  gint64 c = x->shape.d[2];
  SumiNode *h = sumi_nn_linear (m, "net.0.proj", x, 8 * c, TRUE);
  SumiNode *gate = sumi_act (g, sumi_slice (g, h, 2, 4 * c, 4 * c), SUMI_ACT_GELU);

  h = sumi_mul (g, sumi_slice (g, h, 2, 0, 4 * c), gate);
  return sumi_nn_linear (m, "net.2", h, c, TRUE);
}

static SumiNode *
transformer_block (SumiModule *m, SumiNode *x, SumiNode *context, guint heads)
{
  SumiGraph *g = m->graph;
  SumiNode *h;

  h = sumi_nn_layer_norm (m, "norm1", x, 1e-5);
  sumi_module_push (m, "attn1");
  x = sumi_add (g, x, attention (m, h, h, heads, FALSE, FALSE));
  sumi_module_pop (m);

  h = sumi_nn_layer_norm (m, "norm2", x, 1e-5);
  sumi_module_push (m, "attn2");
  x = sumi_add (g, x, attention (m, h, context, heads, FALSE, FALSE));
  sumi_module_pop (m);

  h = sumi_nn_layer_norm (m, "norm3", x, 1e-5);
  sumi_module_push (m, "ff");
  x = sumi_add (g, x, feed_forward (m, h));
  sumi_module_pop (m);
  return x;
}

SumiNode *
sumi_nn_transformer (SumiModule *m, SumiNode *x, SumiNode *context, const SumiTransformerConfig *c)
{
  SumiGraph *g = m->graph;
  gint64 width = x->shape.d[1];
  SumiNode *h = sumi_nn_group_norm (m, "norm", x, c->groups, 1e-6, SUMI_ACT_NONE);

  if (c->linear_projection)
    h = sumi_nn_linear (m, "proj_in", sumi_nn_to_tokens (g, h), width, TRUE);
  else
    h = sumi_nn_to_tokens (g, sumi_nn_conv2d (m, "proj_in", h, width, 1, 1, 0, TRUE));
  for (guint i = 0; i < c->layers; i++)
    {
      sumi_module_push (m, "transformer_blocks.%u", i);
      h = transformer_block (m, h, context, c->heads);
      sumi_module_pop (m);
    }
  if (c->linear_projection)
    h = sumi_nn_linear_init (m, "proj_out", h, width, TRUE, ZERO_INIT);
  h = sumi_nn_from_tokens (g, h, x->shape.d[2], x->shape.d[3]);
  if (!c->linear_projection)
    h = sumi_nn_conv2d_init (m, "proj_out", h, width, 1, 1, 0, TRUE, ZERO_INIT);
  return sumi_add (g, x, h);
}
