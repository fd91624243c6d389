/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The tiny auto-encoders of madebyollin/taesd (MIT): 3x8x8 pixels <-> 4 or 16 latent values (TAESD and its kin), or 32
 * (TAEF2, whose lowest level also pools over groups of channels).
 *
 * Names are the places in the reference's layer lists, hence the gaps: an activation or an up-sampling takes a number
 * and has no parameters. */
#include "nn/networks.h"

#include <string.h>

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

static SumiNode *
encoder (SumiModule *m, const char *what, gint64 channels, gboolean pool, SumiNode *image)
{
  SumiNode *h;

  if (image->shape.rank != 4 || image->shape.d[1] != 3 || image->shape.d[2] % 8 != 0 || image->shape.d[3] % 8 != 0)
    {
      g_autofree char *shape = sumi_shape_to_string (&image->shape);

      sumi_graph_poison (m->graph, "%s encoder: got %s, want (N,3,H,W) with H and W multiples of 8", what, shape);
      return image;
    }
  sumi_module_push (m, "encoder");
  h = sumi_nn_conv2d (m, "0", image, WIDTH, 3, 1, 1, TRUE);
  h = block (m, 1, h, FALSE);
  h = blocks (m, 3, 3, sumi_nn_conv2d (m, "2", h, WIDTH, 3, 2, 1, FALSE), FALSE);
  h = blocks (m, 7, 3, sumi_nn_conv2d (m, "6", h, WIDTH, 3, 2, 1, FALSE), FALSE);
  h = blocks (m, 11, 3, sumi_nn_conv2d (m, "10", h, WIDTH, 3, 2, 1, FALSE), pool);
  h = sumi_nn_conv2d (m, "14", h, channels, 3, 1, 1, TRUE);
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

static SumiNode *
decoder (SumiModule *m, const char *what, gint64 channels, gboolean pool, SumiNode *latents)
{
  SumiGraph *g = m->graph;
  SumiNode *h;

  if (latents->shape.rank != 4 || latents->shape.d[1] != channels)
    {
      g_autofree char *shape = sumi_shape_to_string (&latents->shape);

      sumi_graph_poison (g, "%s decoder: got %s, want (N,%" G_GINT64_FORMAT ",h,w)", what, shape, channels);
      return latents;
    }
  sumi_module_push (m, "decoder");
  h = sumi_act (g, sumi_affine (g, latents, 1.0 / 3, 0), SUMI_ACT_TANH); /* a soft clamp to (-3, 3) */
  h = sumi_nn_conv2d (m, "1", sumi_affine (g, h, 3, 0), WIDTH, 3, 1, 1, TRUE);
  h = blocks (m, 3, 3, sumi_act (g, h, SUMI_ACT_RELU), pool);
  h = blocks (m, 8, 3, up (m, "7", h), FALSE);
  h = blocks (m, 13, 3, up (m, "12", h), FALSE);
  h = block (m, 18, up (m, "17", h), FALSE);
  h = sumi_nn_conv2d (m, "19", h, 3, 3, 1, 1, TRUE);
  sumi_module_pop (m);
  return h;
}

SumiNode *
sumi_taesd_encoder (SumiModule *m, gint64 latent_channels, SumiNode *image)
{
  return encoder (m, "TAESD", latent_channels, FALSE, image);
}

SumiNode *
sumi_taesd_decoder (SumiModule *m, gint64 latent_channels, SumiNode *latents)
{
  return decoder (m, "TAESD", latent_channels, FALSE, latents);
}

SumiNode *
sumi_taef2_encoder (SumiModule *m, SumiNode *image)
{
  return encoder (m, "TAEF2", SUMI_TAEF2_CHANNELS, TRUE, image);
}

SumiNode *
sumi_taef2_decoder (SumiModule *m, SumiNode *latents)
{
  return decoder (m, "TAEF2", SUMI_TAEF2_CHANNELS, TRUE, latents);
}

/* ---- the names the weights come in ---- */

/* Whether a tensor is a convolution of 3x3 between so many channels; -1: any. */
static gboolean
is_conv (SumiTensorMap *file, const char *name, gint64 out, gint64 in)
{
  const SumiTensor *t = sumi_tensor_map_peek (file, name);
  const SumiShape *s = t != NULL ? sumi_tensor_get_shape (t) : NULL;

  return s != NULL && s->rank == 4 && (out < 0 || s->d[0] == out) && (in < 0 || s->d[1] == in) && s->d[2] == 3
         && s->d[3] == 3;
}

/* "N.…" with `prefix` taken off and `shift` added to the number; NULL when it is not of that form. */
static char *
renumber (const char *name, const char *prefix, guint shift)
{
  char *end;
  guint64 place;

  if (!g_str_has_prefix (name, prefix) || !g_ascii_isdigit (name[strlen (prefix)]))
    return NULL;
  place = g_ascii_strtoull (name + strlen (prefix), &end, 10);
  return place < 100 && *end == '.' ? g_strdup_printf ("%u%s", (guint)place + shift, end) : NULL;
}

/* Where the halves of a file begin, and how diffusers, which has no layer for the clamp, counts in the decoder. */
typedef struct
{
  const char *half, *prefix;
  guint shift;
} Spelling;

static SumiTensorMap *
respell (SumiTensorMap *file, const Spelling *spellings, guint n)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();

  for (guint i = 0; i < sumi_tensor_map_get_size (file); i++)
    for (guint k = 0; k < n; k++)
      {
        g_autofree char *rest = renumber (sumi_tensor_map_get_name (file, i), spellings[k].prefix, spellings[k].shift);
        g_autofree char *name = rest != NULL ? g_strconcat (spellings[k].half, ".", rest, NULL) : NULL;

        if (name == NULL)
          continue;
        sumi_tensor_map_set (map, name, sumi_tensor_map_peek_nth (file, i));
        break;
      }
  return g_steal_pointer (&map);
}

SumiTensorMap *
sumi_taesd_weights (SumiTensorMap *file, gint64 *latent_channels, GError **error)
{
  static const Spelling with_halves[] = {
    { "encoder", "encoder.", 0 },        { "decoder", "decoder.", 0 },       { "encoder", "encoder.layers.", 0 },
    { "decoder", "decoder.layers.", 1 }, { "encoder", "taesd_encoder.", 0 }, { "decoder", "taesd_decoder.", 0 },
  };
  static const Spelling encoder_alone = { "encoder", "", 0 }, decoder_alone = { "decoder", "", 0 };
  g_autoptr (SumiTensorMap) map = NULL;
  const SumiTensor *first, *last;

  if (is_conv (file, "0.weight", WIDTH, 3))
    map = respell (file, &encoder_alone, 1);
  else if (is_conv (file, "1.weight", WIDTH, -1))
    map = respell (file, &decoder_alone, 1);
  else
    map = respell (file, with_halves, G_N_ELEMENTS (with_halves));
  if (!is_conv (map, "decoder.1.weight", WIDTH, -1) && !is_conv (map, "encoder.14.weight", -1, WIDTH))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
                   "TAESD: found neither decoder.1.weight nor encoder.14.weight, expected a tiny auto-encoder");
      return NULL;
    }
  first = sumi_tensor_map_peek (map, "decoder.1.weight");
  last = sumi_tensor_map_peek (map, "encoder.14.weight");
  *latent_channels = first != NULL ? sumi_tensor_get_shape (first)->d[1] : sumi_tensor_get_shape (last)->d[0];
  if (*latent_channels != 4 && *latent_channels != 16)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL,
                   "TAESD: found %" G_GINT64_FORMAT " latent channels, expected 4 or 16", *latent_channels);
      return NULL;
    }
  return g_steal_pointer (&map);
}
