/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The U-Nets of diffusers: UNet2DModel (Ho et al. 2020) and UNet2DConditionModel (Rombach et al. 2022).
 *
 * Going down, every block's result is kept; going up, each is concatenated to what comes from below.  A level has
 * layers_per_block residual blocks on the way down and one more on the way up. */
#include "nn/blocks.h"
#include "nn/networks.h"

typedef struct
{
  SumiModule *m;
  const SumiUnetConfig *c;
  SumiNode *temb;    /* (N, 4 x first width) */
  SumiNode *context; /* (N,S,cross_attention_dim) or NULL */
  GPtrArray *skips;  /* SumiNode*, borrowed */
} Unet;

/* resnets.I */
static SumiNode *
resnet (Unet *u, guint i, SumiNode *x, gint64 out_channels)
{
  sumi_module_push (u->m, "resnets.%u", i);
  x = sumi_nn_resnet (u->m, x, u->temb, out_channels, u->c->norm_num_groups, u->c->norm_eps);
  sumi_module_pop (u->m);
  return x;
}

/* attentions.I: to the text where there is one, else of the pixels to each other */
static SumiNode *
attend (Unet *u, guint i, guint level, SumiNode *x)
{
  const SumiUnetConfig *c = u->c;

  sumi_module_push (u->m, "attentions.%u", i);
  if (u->context != NULL)
    {
      SumiTransformerConfig t
          = { c->heads[level], c->transformer_layers[level], c->norm_num_groups, c->use_linear_projection };

      x = sumi_nn_transformer (u->m, x, u->context, &t);
    }
  else
    x = sumi_nn_pixel_attention (u->m, x, c->heads[level], c->norm_num_groups, c->norm_eps);
  sumi_module_pop (u->m);
  return x;
}

static SumiNode *
down_block (Unet *u, guint level, SumiNode *x)
{
  const SumiUnetConfig *c = u->c;

  sumi_module_push (u->m, "down_blocks.%u", level);
  for (guint i = 0; i < c->layers_per_block; i++)
    {
      x = resnet (u, i, x, c->block_out_channels[level]);
      if (c->attention[level])
        x = attend (u, i, level, x);
      g_ptr_array_add (u->skips, x);
    }
  if (level + 1 < c->n_levels)
    {
      x = sumi_nn_downsample (u->m, x, c->downsample_padding);
      g_ptr_array_add (u->skips, x);
    }
  sumi_module_pop (u->m);
  return x;
}

static SumiNode *
mid_block (Unet *u, SumiNode *x)
{
  guint last = u->c->n_levels - 1;
  gint64 width = u->c->block_out_channels[last];

  sumi_module_push (u->m, "mid_block");
  x = resnet (u, 0, x, width);
  x = attend (u, 0, last, x);
  x = resnet (u, 1, x, width);
  sumi_module_pop (u->m);
  return x;
}

/* up_blocks.0 is the lowest level. */
static SumiNode *
up_block (Unet *u, guint level, SumiNode *x)
{
  const SumiUnetConfig *c = u->c;

  sumi_module_push (u->m, "up_blocks.%u", c->n_levels - 1 - level);
  for (guint i = 0; i <= c->layers_per_block; i++)
    {
      SumiNode *skip = g_ptr_array_steal_index (u->skips, u->skips->len - 1);

      x = resnet (u, i, sumi_concat (u->m->graph, 1, (SumiNode *[]){ x, skip }, 2), c->block_out_channels[level]);
      if (c->attention[level])
        x = attend (u, i, level, x);
    }
  if (level > 0)
    {
      /* To the size of the picture that is concatenated next: an odd size was rounded up on the way down. */
      const SumiNode *next = g_ptr_array_index (u->skips, u->skips->len - 1);

      x = sumi_nn_upsample (u->m, x, next->shape.d[2], next->shape.d[3]);
    }
  sumi_module_pop (u->m);
  return x;
}

/* NAME.linear_1, SiLU, NAME.linear_2 of x, added to the time embedding. */
static SumiNode *
add_embedding (SumiModule *m, const char *name, SumiNode *emb, SumiNode *x)
{
  sumi_module_push (m, "%s", name);
  x = sumi_nn_timestep_mlp (m, x, emb->shape.d[1]);
  sumi_module_pop (m);
  return sumi_add (m->graph, emb, x);
}

/* text_embeds and the sinusoids of the sizes, side by side (Podell et al. 2023, 2.2). */
static SumiNode *
text_time (SumiGraph *g, const SumiUnetConfig *c, const SumiUnetConditioning *in)
{
  gint64 n = in->time_ids->shape.d[0], k = in->time_ids->shape.d[1], width = c->addition_time_embed_dim;
  SumiNode *times = sumi_reshape (g, in->time_ids, &SUMI_SHAPE (n * k));

  times = sumi_timestep_embedding (g, times, (guint)width, c->flip_sin_to_cos, c->freq_shift, 10000);
  times = sumi_reshape (g, times, &SUMI_SHAPE (n, k * width));
  return sumi_concat (g, 1, (SumiNode *[]){ in->text_embeds, times }, 2);
}

static SumiNode *
time_embedding (SumiModule *m, const SumiUnetConfig *c, SumiNode *timestep, const SumiUnetConditioning *in)
{
  SumiGraph *g = m->graph;
  gint64 width = c->block_out_channels[0];
  SumiNode *emb = sumi_timestep_embedding (g, timestep, (guint)width, c->flip_sin_to_cos, c->freq_shift, 10000);

  sumi_module_push (m, "time_embedding");
  if (in->timestep_cond != NULL)
    emb = sumi_add (g, emb, sumi_nn_linear (m, "cond_proj", in->timestep_cond, width, FALSE));
  emb = sumi_nn_timestep_mlp (m, emb, 4 * width);
  sumi_module_pop (m);
  if (in->class_labels != NULL)
    emb = add_embedding (m, "class_embedding", emb, in->class_labels);
  if (in->text_embeds != NULL)
    emb = add_embedding (m, "add_embedding", emb, text_time (g, c, in));
  return emb;
}

/* Whether a node has this shape; -1 is any size. NULL fits when nothing is wanted (rank 0). Poisons the graph if not.
 */
static gboolean
fits (SumiGraph *g, const char *what, const SumiNode *node, const SumiShape *want)
{
  g_autofree char *got = node != NULL ? sumi_shape_to_string (&node->shape) : g_strdup ("none");
  g_autofree char *wanted = want->rank > 0 ? sumi_shape_to_string (want) : g_strdup ("none");
  gboolean ok = node == NULL ? want->rank == 0 : want->rank > 0 && node->shape.rank == want->rank;

  for (guint i = 0; ok && i < want->rank; i++)
    ok = want->d[i] < 0 || node->shape.d[i] == want->d[i];
  if (!ok)
    sumi_graph_poison (g, "%s: got %s, want %s (-1: any)", what, got, wanted);
  return ok;
}

/* The widths of text_embeds and of the sinusoids of the sizes make up what add_embedding takes. */
static gboolean
check_addition (SumiGraph *g, const SumiUnetConfig *c, gint64 n, const SumiUnetConditioning *in)
{
  gint64 times = -1;

  if (c->addition_time_embed_dim == 0)
    return fits (g, "text_embeds", in->text_embeds, &SUMI_SCALAR) && fits (g, "time_ids", in->time_ids, &SUMI_SCALAR);
  if (!fits (g, "time_ids", in->time_ids, &SUMI_SHAPE (n, -1)))
    return FALSE;
  times = in->time_ids->shape.d[1] * c->addition_time_embed_dim;
  return fits (g, "text_embeds", in->text_embeds, &SUMI_SHAPE (n, MAX (c->addition_embed_dim - times, 0)));
}

static gboolean
check_inputs (SumiGraph *g, const SumiUnetConfig *c, const SumiNode *sample, const SumiNode *timestep,
              const SumiUnetConditioning *in)
{
  gint64 n = sample->shape.rank > 0 ? sample->shape.d[0] : -1;
  gint64 classes = c->projection_class_embeddings_input_dim;
  SumiShape want_states = c->cross_attention_dim > 0 ? SUMI_SHAPE (n, -1, c->cross_attention_dim) : SUMI_SCALAR;
  SumiShape want_labels = classes > 0 ? SUMI_SHAPE (n, classes) : SUMI_SCALAR;
  SumiShape want_cond = c->time_cond_proj_dim > 0 ? SUMI_SHAPE (n, c->time_cond_proj_dim) : SUMI_SCALAR;

  return fits (g, "sample", sample, &SUMI_SHAPE (-1, c->in_channels, -1, -1))
         && fits (g, "timestep", timestep, &SUMI_SHAPE (n))
         && fits (g, "encoder_hidden_states", in->encoder_hidden_states, &want_states)
         && fits (g, "class_labels", in->class_labels, &want_labels) && check_addition (g, c, n, in)
         && (in->timestep_cond == NULL || fits (g, "timestep_cond", in->timestep_cond, &want_cond));
}

SumiNode *
sumi_unet (SumiModule *m, const SumiUnetConfig *c, SumiNode *sample, SumiNode *timestep,
           const SumiUnetConditioning *conditioning)
{
  g_autoptr (GPtrArray) skips = g_ptr_array_new ();
  SumiUnetConditioning in = conditioning != NULL ? *conditioning : (SumiUnetConditioning){ NULL };
  Unet u = { m, c, NULL, in.encoder_hidden_states, skips };
  SumiNode *h;

  if (!check_inputs (m->graph, c, sample, timestep, &in))
    return sample;
  u.temb = time_embedding (m, c, timestep, &in);
  h = sumi_nn_conv2d (m, "conv_in", sample, c->block_out_channels[0], 3, 1, 1, TRUE);
  g_ptr_array_add (skips, h);
  for (guint level = 0; level < c->n_levels; level++)
    h = down_block (&u, level, h);
  h = mid_block (&u, h);
  for (guint level = c->n_levels; level-- > 0;)
    h = up_block (&u, level, h);
  h = sumi_nn_group_norm (m, "conv_norm_out", h, c->norm_num_groups, c->norm_eps, SUMI_ACT_SILU);
  return sumi_nn_conv2d_init (m, "conv_out", h, c->out_channels, 3, 1, 1, TRUE, (SumiInit){ SUMI_INIT_ZEROS, 0 });
}
