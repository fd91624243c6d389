/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TAEF2, the tiny auto-encoder of madebyollin/taesd (MIT): 3x8x8 pixels <-> 32 latent values.
 *
 * Names are the places in the reference's layer lists, hence the gaps: an activation or an up-sampling takes a number
 * and has no parameters. */
#include "nn/networks.h"

#define WIDTH 64

/* relu (conv.4 (relu (conv.2 (relu (conv.0 (x))))) + x); with pooling, x first gains
 * pool.3 (relu (norm (pool.0 (x)))). */
static SumiNode *
block (SumiModule *m, guint place, SumiNode *x, gboolean pool)
{
  SumiGraph *g = m->graph;
  SumiNode *h;

  sumi_module_push (m, "%u", place);
  if (pool)
    {
      h = sumi_nn_conv2d (m, "pool.0", x, 4 * WIDTH, 1, 1, 0, FALSE);
      h = sumi_act (g, sumi_nn_group_norm (m, "pool.1", h, 4, 1e-5, SUMI_ACT_NONE), SUMI_ACT_RELU);
      x = sumi_add (g, x, sumi_nn_conv2d (m, "pool.3", h, WIDTH, 1, 1, 0, FALSE));
    }
  h = sumi_act (g, sumi_nn_conv2d (m, "conv.0", x, WIDTH, 3, 1, 1, TRUE), SUMI_ACT_RELU);
  h = sumi_act (g, sumi_nn_conv2d (m, "conv.2", h, WIDTH, 3, 1, 1, TRUE), SUMI_ACT_RELU);
  h = sumi_nn_conv2d (m, "conv.4", h, WIDTH, 3, 1, 1, TRUE);
  h = sumi_act (g, sumi_add (g, h, x), SUMI_ACT_RELU);
  sumi_module_pop (m);
  return h;
}

static SumiNode *
blocks (SumiModule *m, guint first, guint n, SumiNode *x, gboolean pool)
{
  for (guint i = 0; i < n; i++)
    x = block (m, first + i, x, pool);
  return x;
}

SumiNode *
sumi_taef2_encoder (SumiModule *m, SumiNode *image)
{
  SumiNode *h;

  if (image->shape.rank != 4 || image->shape.d[1] != 3 || image->shape.d[2] % 8 != 0 || image->shape.d[3] % 8 != 0)
    {
      g_autofree char *shape = sumi_shape_to_string (&image->shape);

      sumi_graph_poison (m->graph, "TAEF2 encoder: got %s, want (N,3,H,W) with H and W multiples of 8", shape);
      return image;
    }
  sumi_module_push (m, "encoder");
  h = sumi_nn_conv2d (m, "0", image, WIDTH, 3, 1, 1, TRUE);
  h = block (m, 1, h, FALSE);
  h = blocks (m, 3, 3, sumi_nn_conv2d (m, "2", h, WIDTH, 3, 2, 1, FALSE), FALSE);
  h = blocks (m, 7, 3, sumi_nn_conv2d (m, "6", h, WIDTH, 3, 2, 1, FALSE), FALSE);
  h = blocks (m, 11, 3, sumi_nn_conv2d (m, "10", h, WIDTH, 3, 2, 1, FALSE), TRUE);
  h = sumi_nn_conv2d (m, "14", h, SUMI_TAEF2_CHANNELS, 3, 1, 1, TRUE);
  sumi_module_pop (m);
  return h;
}

/* Doubles the picture and convolves it without bias. */
static SumiNode *
up (SumiModule *m, const char *name, SumiNode *x)
{
  x = sumi_upsample (m->graph, x, 2 * x->shape.d[2], 2 * x->shape.d[3]);
  return sumi_nn_conv2d (m, name, x, WIDTH, 3, 1, 1, FALSE);
}

SumiNode *
sumi_taef2_decoder (SumiModule *m, SumiNode *latents)
{
  SumiGraph *g = m->graph;
  SumiNode *h;

  if (latents->shape.rank != 4 || latents->shape.d[1] != SUMI_TAEF2_CHANNELS)
    {
      g_autofree char *shape = sumi_shape_to_string (&latents->shape);

      sumi_graph_poison (g, "TAEF2 decoder: got %s, want (N,%d,h,w)", shape, SUMI_TAEF2_CHANNELS);
      return latents;
    }
  sumi_module_push (m, "decoder");
  h = sumi_act (g, sumi_affine (g, latents, 1.0 / 3, 0), SUMI_ACT_TANH); /* a soft clamp to (-3, 3) */
  h = sumi_nn_conv2d (m, "1", sumi_affine (g, h, 3, 0), WIDTH, 3, 1, 1, TRUE);
  h = blocks (m, 3, 3, sumi_act (g, h, SUMI_ACT_RELU), TRUE);
  h = blocks (m, 8, 3, up (m, "7", h), FALSE);
  h = blocks (m, 13, 3, up (m, "12", h), FALSE);
  h = block (m, 18, up (m, "17", h), FALSE);
  h = sumi_nn_conv2d (m, "19", h, 3, 3, 1, 1, TRUE);
  sumi_module_pop (m);
  return h;
}
