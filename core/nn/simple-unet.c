/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The simple U-Net of diffusion courses: three levels of one residual block, max-pool down, transposed convolution up.
 *
 * A block is conv1, norm1, + time_mlp (SiLU (t)), SiLU, conv2, norm2, SiLU, + x (residual_conv where the width
 * changes); t = SiLU (time_mlp.1 (sines and cosines, frequency shift 1)). */
#include "nn/networks.h"
#include "nn/config.h"

#define NORM_EPS 1e-5

gboolean
sumi_simple_unet_config_parse (JsonObject *json, SumiSimpleUnetConfig *c, GError **error)
{
  *c = (SumiSimpleUnetConfig){ 3, 3, 32, 128, 8 };
  if (!sumi_config_int (json, "in_channels", 1, 1024, &c->in_channels, error)
      || !sumi_config_int (json, "out_channels", 1, 1024, &c->out_channels, error)
      || !sumi_config_int (json, "base_channels", 1, SUMI_MAX_CHANNELS / 4, &c->base_channels, error)
      || !sumi_config_int (json, "time_emb_dim", 4, SUMI_MAX_CHANNELS, &c->time_emb_dim, error)
      || !sumi_config_uint (json, "groups", 1, SUMI_MAX_CHANNELS, &c->groups, error))
    return FALSE;
  if (c->base_channels % c->groups != 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "groups: found %u, expected a divisor of base_channels %" G_GINT64_FORMAT, c->groups,
                   c->base_channels);
      return FALSE;
    }
  if (c->time_emb_dim % 2 != 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "time_emb_dim: found %" G_GINT64_FORMAT ", expected an even number", c->time_emb_dim);
      return FALSE;
    }
  return TRUE;
}

static SumiNode *
block (SumiModule *m, const char *name, SumiNode *x, SumiNode *t, gint64 out, guint groups)
{
  SumiGraph *g = m->graph;
  SumiNode *h, *time;

  sumi_module_push (m, "%s", name);
  h = sumi_nn_conv2d (m, "conv1", x, out, 3, 1, 1, TRUE);
  h = sumi_nn_group_norm (m, "norm1", h, groups, NORM_EPS, SUMI_ACT_NONE);
  time = sumi_nn_linear (m, "time_mlp", t, out, TRUE);
  h = sumi_add (g, h, sumi_reshape (g, time, &SUMI_SHAPE (x->shape.d[0], out, 1, 1)));
  h = sumi_act (g, h, SUMI_ACT_SILU);
  h = sumi_nn_conv2d (m, "conv2", h, out, 3, 1, 1, TRUE);
  h = sumi_nn_group_norm (m, "norm2", h, groups, NORM_EPS, SUMI_ACT_SILU);
  if (x->shape.d[1] != out)
    x = sumi_nn_conv2d (m, "residual_conv", x, out, 1, 1, 0, TRUE);
  h = sumi_add (g, h, x);
  sumi_module_pop (m);
  return h;
}

/* up-convolution, skip connection, block */
static SumiNode *
up (SumiModule *m, guint level, SumiNode *x, SumiNode *skip, SumiNode *t, gint64 out, guint groups)
{
  g_autofree char *conv = g_strdup_printf ("up%u", level);
  g_autofree char *name = g_strdup_printf ("up_block%u", level);

  x = sumi_nn_conv_transpose2d (m, conv, x, x->shape.d[1], 2, 2);
  x = sumi_concat (m->graph, 1, (SumiNode *[]){ x, skip }, 2);
  return block (m, name, x, t, out, groups);
}

SumiNode *
sumi_simple_unet (SumiModule *m, const SumiSimpleUnetConfig *c, SumiNode *sample, SumiNode *timestep)
{
  SumiGraph *g = m->graph;
  const gint64 w = c->base_channels;
  SumiNode *t, *x1, *x2, *x3, *h;

  if (sample->shape.rank != 4 || sample->shape.d[1] != c->in_channels || sample->shape.d[2] % 8 != 0
      || sample->shape.d[3] % 8 != 0)
    {
      g_autofree char *shape = sumi_shape_to_string (&sample->shape);

      sumi_graph_poison (g, "simple U-Net: got %s, want (N,%" G_GINT64_FORMAT ",H,W) with H and W multiples of 8",
                         shape, c->in_channels);
      return sample;
    }
  if (timestep->shape.rank != 1 || timestep->shape.d[0] != sample->shape.d[0])
    {
      g_autofree char *shape = sumi_shape_to_string (&timestep->shape);

      sumi_graph_poison (g, "timestep: got %s, want one for each of %" G_GINT64_FORMAT " samples", shape,
                         sample->shape.d[0]);
      return sample;
    }
  t = sumi_timestep_embedding (g, timestep, c->time_emb_dim, FALSE, 1, 10000);
  t = sumi_act (g, sumi_nn_linear (m, "time_mlp.1", t, c->time_emb_dim, TRUE), SUMI_ACT_SILU);
  t = sumi_act (g, t, SUMI_ACT_SILU); /* every block begins with it: once is enough */
  x1 = block (m, "down1", sample, t, w, c->groups);
  x2 = block (m, "down2", sumi_max_pool2d (g, x1, 2, 2), t, 2 * w, c->groups);
  x3 = block (m, "down3", sumi_max_pool2d (g, x2, 2, 2), t, 4 * w, c->groups);
  h = block (m, "bottleneck", sumi_max_pool2d (g, x3, 2, 2), t, 4 * w, c->groups);
  h = up (m, 1, h, x3, t, 2 * w, c->groups);
  h = up (m, 2, h, x2, t, w, c->groups);
  h = up (m, 3, h, x1, t, w, c->groups);
  return sumi_nn_conv2d (m, "out", h, c->out_channels, 1, 1, 0, TRUE);
}
