/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pictures to latents and back: whole and in tiles, with the tiny auto-encoder that Sumi ships and with small
 * AutoencoderKLs of random weights. */
#include "diffusion/autoencoder.h"

#include <math.h>
#include <string.h>

#include "diffusion/tiles.h"
#include "io/safetensors.h"

/* ---- auto-encoders ---- */

/* Widths 8, 16, 16 (and 16), 4 latent channels, scaled as Stable Diffusion's. */
static SumiAutoencoderConfig
kl_config (void)
{
  SumiAutoencoderConfig c = { .kind = SUMI_AUTOENCODER_KL, .latent_channels = 4 };

  c.vae = (SumiVaeConfig){ 3, 3, 4, 4, { 8, 16, 16, 16 }, 1, 4, TRUE, TRUE, TRUE, 0.18215, 0 };
  for (guint i = 0; i < 4; i++)
    {
      c.mean[i] = 0.1 * i;
      c.std[i] = 1 / 0.18215;
    }
  return c;
}

static SumiAutoencoderConfig
tiny_config (SumiAutoencoderKind kind, gint64 channels)
{
  SumiAutoencoderConfig c = { .kind = kind, .latent_channels = channels };

  for (gint64 i = 0; i < channels; i++)
    c.std[i] = 1;
  return c;
}

/* Random weights; the branches that begin at zero are given weights too. */
static SumiTensorMap *
random_weights (const SumiAutoencoderConfig *c)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiShape picture = SUMI_SHAPE (1, 3, 8, 8), latents = SUMI_SHAPE (1, c->latent_channels, 1, 1);
  SumiNode *in = sumi_input (g, "in", SUMI_REAL, &picture), *out = sumi_input (g, "out", SUMI_REAL, &latents);
  SumiTensorMap *map;
  SumiRng rng;
  GError *error = NULL;

  if (c->kind == SUMI_AUTOENCODER_KL)
    {
      sumi_vae_encoder (m, &c->vae, in);
      sumi_vae_decoder (m, &c->vae, out);
    }
  else
    {
      sumi_taesd_encoder (m, c->latent_channels, in);
      sumi_taesd_decoder (m, c->latent_channels, out);
    }
  sumi_graph_check (g, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < m->params->len; i++)
    {
      SumiModuleParam *p = &g_array_index (m->params, SumiModuleParam, i);

      if (p->init.kind == SUMI_INIT_ZEROS && p->node->shape.rank > 1)
        p->init = (SumiInit){ SUMI_INIT_NORMAL, 0.05 };
    }
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 5);
  map = sumi_module_init (m, &rng, &error);
  g_assert_no_error (error);
  return map;
}

static SumiTensorMap *
shipped_weights (void)
{
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_DATADIR"), "taef2", "taef2.safetensors", NULL);
  GError *error = NULL;
  SumiTensorMap *map = sumi_safetensors_open (path, &error);

  g_assert_no_error (error);
  return map;
}

static SumiAutoencoder *
open_with (const SumiAutoencoderConfig *c, SumiTensorMap *weights)
{
  g_autoptr (SumiEngine) engine = sumi_engine_open (NULL, NULL);
  GError *error = NULL;
  SumiAutoencoder *a = sumi_autoencoder_new (c, weights, "", engine, 0, &error);

  g_assert_no_error (error);
  return a;
}

static SumiAutoencoder *
open_kl (void)
{
  SumiAutoencoderConfig c = kl_config ();
  g_autoptr (SumiTensorMap) weights = random_weights (&c);

  return open_with (&c, weights);
}

static SumiAutoencoder *
open_shipped (void)
{
  SumiAutoencoderConfig c = tiny_config (SUMI_AUTOENCODER_TAEF2, SUMI_TAEF2_CHANNELS);
  g_autoptr (SumiTensorMap) weights = shipped_weights ();

  return open_with (&c, weights);
}

/* ---- pictures and latents ---- */

/* Slow waves of colour: nothing in it is sharp, so that a seam would be the sharpest thing. */
static SumiTensor *
smooth_picture (gint64 height, gint64 width)
{
  SumiTensor *t = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 3, height, width), NULL);
  float *x = sumi_tensor_poke_f32 (t);

  for (gint64 c = 0; c < 3; c++)
    for (gint64 i = 0; i < height; i++)
      for (gint64 j = 0; j < width; j++)
        *x++ = (float)(0.6 * sin (0.006 * i + 0.011 * j + c) + 0.3 * cos (0.009 * j - 0.004 * i * (c + 1)));
  return t;
}

static SumiTensor *
noise (const SumiShape *shape, guint64 seed)
{
  SumiTensor *t = sumi_tensor_new (SUMI_F32, shape, NULL);
  SumiRng rng;

  sumi_rng_seed (&rng, SUMI_RNG_TORCH, seed);
  sumi_rng_normal (&rng, sumi_tensor_poke_f32 (t), (gsize)sumi_tensor_get_numel (t));
  return t;
}

static SumiTensor *
decode (SumiAutoencoder *a, const SumiTensor *latents)
{
  GError *error = NULL;
  SumiTensor *t = sumi_autoencoder_decode (a, latents, NULL, &error);

  g_assert_no_error (error);
  return t;
}

static SumiTensor *
encode (SumiAutoencoder *a, const SumiTensor *image, const float *eps)
{
  GError *error = NULL;
  SumiTensor *t = sumi_autoencoder_encode (a, image, eps, NULL, &error);

  g_assert_no_error (error);
  return t;
}

static double
relative_l2 (const SumiTensor *got, const SumiTensor *want)
{
  const float *a = sumi_tensor_peek_f32 (got), *b = sumi_tensor_peek_f32 (want);
  double difference = 0, norm = 0;

  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (got), sumi_tensor_get_shape (want)));
  for (gint64 i = 0; i < sumi_tensor_get_numel (want); i++)
    {
      difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
      norm += (double)b[i] * b[i];
    }
  return sqrt (difference / norm);
}

/* ---- the tiles of an axis ---- */

static void
test_axis (void)
{
  for (gint64 tile = 1; tile < 20; tile++)
    for (gint64 size = 1; size < 90; size++)
      {
        const gint64 overlap = tile / 4;
        g_auto (SumiTiles) t = { 0 };
        double sum[180] = { 0 };

        sumi_tiles_init (&t, size, tile, overlap, 2);
        g_assert_cmpint (t.tile, ==, MIN (tile, size));
        g_assert_cmpint (t.starts[0], ==, 0);
        g_assert_cmpint (t.starts[t.n - 1], ==, size - t.tile);
        for (guint i = 0; i < t.n; i++)
          {
            if (i > 0)
              g_assert_cmpint (t.starts[i - 1] + t.tile - t.starts[i], >=, overlap);
            for (gint64 x = 0; x < 2 * t.tile; x++)
              {
                g_assert_cmpfloat (t.weights[i * 2 * t.tile + x], >, 0);
                sum[2 * t.starts[i] + x] += t.weights[i * 2 * t.tile + x];
              }
          }
        for (gint64 x = 0; x < 2 * size; x++)
          g_assert_cmpfloat_with_epsilon (sum[x], 1, 1e-6);
      }
}

/* A tile's influence ends at its edge without a step: neighbours of one place differ little in weight. */
static void
test_ramps (void)
{
  g_auto (SumiTiles) t = { 0 };
  const gint64 length = 96 * 8;

  sumi_tiles_init (&t, 256, 96, 24, 8);
  g_assert_cmpuint (t.n, ==, 4);
  for (guint i = 0; i < t.n; i++)
    {
      const float *w = t.weights + i * length;

      if (i > 0)
        g_assert_cmpfloat (w[0], <, 1.0 / 190);
      if (i + 1 < t.n)
        g_assert_cmpfloat (w[length - 1], <, 1.0 / 190);
      for (gint64 x = 1; x < length; x++)
        g_assert_cmpfloat (fabs (w[x] - w[x - 1]), <, 1.0 / 95);
    }
}

/* ---- whole pictures ---- */

/* Sides, scale and shift, a batch of different pictures, and a plan that is kept. */
static void
test_decode (void)
{
  g_autoptr (SumiAutoencoder) a = open_kl ();
  g_autoptr (SumiTensor) both = noise (&SUMI_SHAPE (2, 4, 3, 5), 1);
  g_autoptr (SumiTensor) picture = decode (a, both);
  g_autoptr (SumiTensor) again = NULL;

  g_assert_cmpuint (sumi_autoencoder_get_scale (a), ==, 8);
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (picture), &SUMI_SHAPE (2, 3, 24, 40)));
  for (gint64 i = 0; i < 2; i++)
    {
      g_autoptr (SumiTensor) one = sumi_tensor_slice0 (both, i, 1, NULL);
      g_autoptr (SumiTensor) alone = decode (a, one);
      g_autoptr (SumiTensor) here = sumi_tensor_slice0 (picture, i, 1, NULL);

      g_assert_cmpmem (sumi_tensor_peek (alone), sumi_tensor_get_size (alone), sumi_tensor_peek (here),
                       sumi_tensor_get_size (here));
    }
  sumi_autoencoder_trim (a);
  again = decode (a, both);
  g_assert_cmpfloat (relative_l2 (again, picture), ==, 0);
}

/* latents = (mean - shift) / std, and a sample is mean + exp (logvar / 2) noise. */
static void
test_encode (void)
{
  SumiAutoencoderConfig c = kl_config ();
  g_autoptr (SumiTensorMap) weights = random_weights (&c);
  g_autoptr (SumiAutoencoder) scaled = open_with (&c, weights);
  g_autoptr (SumiAutoencoder) plain = NULL;
  g_autoptr (SumiTensor) picture = smooth_picture (24, 40);
  g_autoptr (SumiTensor) eps = noise (&SUMI_SHAPE (1, 4, 3, 5), 2);
  g_autoptr (SumiTensor) twice = noise (&SUMI_SHAPE (1, 4, 3, 5), 2);
  g_autoptr (SumiTensor) latents = encode (scaled, picture, NULL);
  g_autoptr (SumiTensor) mean = NULL, once = NULL, further = NULL;

  for (guint i = 0; i < 4; i++)
    {
      c.mean[i] = 0;
      c.std[i] = 1;
    }
  plain = open_with (&c, weights);
  mean = encode (plain, picture, NULL);
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (mean), &SUMI_SHAPE (1, 4, 3, 5)));
  for (gint64 i = 0; i < 60; i++)
    g_assert_cmpfloat_with_epsilon (sumi_tensor_peek_f32 (latents)[i],
                                    0.18215 * (sumi_tensor_peek_f32 (mean)[i] - 0.1 * (i / 15)), 1e-6);
  for (gint64 i = 0; i < 60; i++)
    sumi_tensor_poke_f32 (twice)[i] *= 2;
  once = encode (plain, picture, sumi_tensor_peek_f32 (eps));
  further = encode (plain, picture, sumi_tensor_peek_f32 (twice));
  for (gint64 i = 0; i < 60; i++)
    {
      float m = sumi_tensor_peek_f32 (mean)[i], x = sumi_tensor_peek_f32 (once)[i], e = sumi_tensor_peek_f32 (eps)[i];

      g_assert_cmpfloat ((x - m) / e, >, 0); /* the standard deviation */
      g_assert_cmpfloat_with_epsilon (sumi_tensor_peek_f32 (further)[i] - m, 2 * (x - m), 1e-5);
    }
}

/* The tiny ones speak [-1,1] too: there and back is nearly the same picture. */
static void
test_there_and_back (void)
{
  g_autoptr (SumiAutoencoder) a = open_shipped ();
  g_autoptr (SumiTensor) picture = smooth_picture (128, 192);
  g_autoptr (SumiTensor) latents = encode (a, picture, NULL);
  g_autoptr (SumiTensor) back = decode (a, latents);

  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (latents), &SUMI_SHAPE (1, 32, 16, 24)));
  g_test_message ("there and back: relative L2 %.3g", relative_l2 (back, picture));
  g_assert_cmpfloat (relative_l2 (back, picture), <, 0.1);
}

static void
test_taesd (void)
{
  const gint64 channels[] = { 4, 16 };

  for (guint i = 0; i < 2; i++)
    {
      SumiAutoencoderConfig c = tiny_config (SUMI_AUTOENCODER_TAESD, channels[i]);
      g_autoptr (SumiTensorMap) weights = random_weights (&c);
      g_autoptr (SumiAutoencoder) a = open_with (&c, weights);
      g_autoptr (SumiTensor) picture = smooth_picture (16, 24);
      g_autoptr (SumiTensor) latents = encode (a, picture, NULL);
      g_autoptr (SumiTensor) back = decode (a, latents);

      g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (latents), &SUMI_SHAPE (1, channels[i], 2, 3)));
      g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (back), &SUMI_SHAPE (1, 3, 16, 24)));
    }
}

/* ---- the view of a picture ---- */

/* Runs AutoencoderKL's decoder, built for this view, on latents; a sample's outputs are put into, a tile's inputs taken
 * from `view`. */
static SumiTensor *
run_view (SumiView kind, SumiTensorMap *weights, const SumiTensor *latents, gint64 places, SumiTensorMap *view)
{
  SumiAutoencoderConfig c = kl_config ();
  g_autoptr (SumiEngine) engine = sumi_engine_open (NULL, NULL);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;
  GError *error = NULL;

  m->view = kind;
  m->view_places = places;
  sumi_graph_output (g, "out",
                     sumi_vae_decoder (m, &c.vae, sumi_input (g, "in", SUMI_REAL, sumi_tensor_get_shape (latents))));
  plan = sumi_engine_compile (engine, g, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < m->params->len; i++)
    {
      const char *name = g_array_index (m->params, SumiModuleParam, i).node->name;

      g_assert_true (sumi_plan_set (plan, name, sumi_tensor_map_peek (weights, name), NULL));
    }
  for (guint i = 0; kind == SUMI_VIEW_TILE && i < sumi_tensor_map_get_size (view); i++)
    g_assert_true (sumi_plan_set (plan, sumi_tensor_map_get_name (view, i), sumi_tensor_map_peek_nth (view, i), NULL));
  g_assert_true (sumi_plan_set (plan, "in", latents, NULL));
  sumi_plan_run (plan, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; kind == SUMI_VIEW_SAMPLE && i < sumi_graph_get_n_outputs (g); i++)
    {
      SumiNode *node;
      const char *name = sumi_graph_get_output (g, i, &node);

      if (g_str_has_prefix (name, "view/"))
        sumi_tensor_map_take (view, name, sumi_plan_get (plan, name, NULL));
    }
  return sumi_plan_get (plan, "out", NULL);
}

/* A sample that is the whole picture tells a tile that is the whole picture what makes it draw the whole picture. */
static void
test_view (void)
{
  SumiAutoencoderConfig c = kl_config ();
  g_autoptr (SumiTensorMap) weights = random_weights (&c);
  g_autoptr (SumiTensorMap) view = sumi_tensor_map_new ();
  g_autoptr (SumiTensor) latents = noise (&SUMI_SHAPE (1, 4, 5, 7), 8);
  g_autoptr (SumiTensor) whole = run_view (SUMI_VIEW_WHOLE, weights, latents, 0, NULL);
  g_autoptr (SumiTensor) sample = run_view (SUMI_VIEW_SAMPLE, weights, latents, 0, view);
  g_autoptr (SumiTensor) tile = run_view (SUMI_VIEW_TILE, weights, latents, 35, view);

  g_test_message ("sample: relative L2 %.3g; tile: %.3g", relative_l2 (sample, whole), relative_l2 (tile, whole));
  g_assert_cmpuint (sumi_tensor_map_get_size (view), >, 10);
  g_assert_cmpfloat (relative_l2 (sample, whole), <, 1e-5);
  g_assert_cmpfloat (relative_l2 (tile, whole), <, 1e-5);
}

/* ---- tiles ---- */

/* The largest step between neighbours, of the difference between two pictures: along each row and down each column. */
static double
largest_step (const SumiTensor *a, const SumiTensor *b)
{
  const SumiShape *s = sumi_tensor_get_shape (a);
  const float *x = sumi_tensor_peek_f32 (a), *y = b != NULL ? sumi_tensor_peek_f32 (b) : NULL;
  double largest = 0;

  for (gint64 i = 0; i < s->d[1] * s->d[2]; i++)
    for (gint64 j = 0; j < s->d[3]; j++)
      {
        const gint64 at = i * s->d[3] + j, left = at - 1, above = at - s->d[3];
        double here = x[at] - (y != NULL ? y[at] : 0);

        if (j > 0)
          largest = MAX (largest, fabs (here - (x[left] - (y != NULL ? y[left] : 0))));
        if (i % s->d[2] > 0)
          largest = MAX (largest, fabs (here - (x[above] - (y != NULL ? y[above] : 0))));
      }
  return largest;
}

/* A smooth picture drawn in tiles is nearly the one drawn whole, and what differs has no step anywhere: at a seam it
 * would change within one pixel. */
static void
check_seams (SumiAutoencoder *a, const SumiTensor *latents, double limit, double step_limit)
{
  g_autoptr (SumiTensor) whole = NULL, tiled = NULL;
  double difference, step, own;

  sumi_autoencoder_set_tile (a, 0);
  whole = decode (a, latents);
  sumi_autoencoder_set_tile (a, 24);
  tiled = decode (a, latents);
  difference = relative_l2 (tiled, whole);
  step = largest_step (tiled, whole);
  own = largest_step (whole, NULL);
  g_test_message ("tiled against whole: relative L2 %.3g; largest step of the difference %.3g, of the picture %.3g",
                  difference, step, own);
  g_assert_cmpfloat (difference, >, 0); /* it was in tiles */
  g_assert_cmpfloat (difference, <, limit);
  g_assert_cmpfloat (step, <, step_limit * own);
}

static void
test_seams_shipped (void)
{
  g_autoptr (SumiAutoencoder) a = open_shipped ();
  g_autoptr (SumiTensor) picture = smooth_picture (448, 512);
  g_autoptr (SumiTensor) latents = NULL;

  sumi_autoencoder_set_tile (a, 0);
  latents = encode (a, picture, NULL);
  check_seams (a, latents, 0.05, 0.1);
}

/* Random weights draw noise: nothing is smooth, but what differs must be small and without a step all the same. */
static void
test_seams_kl (void)
{
  g_autoptr (SumiAutoencoder) a = open_kl ();
  g_autoptr (SumiTensor) latents = noise (&SUMI_SHAPE (1, 4, 56, 64), 6);

  check_seams (a, latents, 0.2, 0.2);
}

static void
test_encode_tiles (void)
{
  SumiAutoencoder *each[] = { open_shipped (), open_kl () };

  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (SumiAutoencoder) a = each[i];
      g_autoptr (SumiTensor) picture = smooth_picture (448, 512);
      g_autoptr (SumiTensor) whole = NULL, tiled = NULL;

      sumi_autoencoder_set_tile (a, 0);
      whole = encode (a, picture, NULL);
      sumi_autoencoder_set_tile (a, 24);
      tiled = encode (a, picture, NULL);
      g_test_message ("encoded in tiles against whole: relative L2 %.3g", relative_l2 (tiled, whole));
      g_assert_cmpfloat (relative_l2 (tiled, whole), >, 0);
      g_assert_cmpfloat (relative_l2 (tiled, whole), <, 0.2);
    }
}

/* Up to 1.5 tiles of area a picture is done whole; beyond, the memory of a run is that of a tile. */
static void
test_memory (void)
{
  const struct
  {
    gint64 height, width;
  } sizes[] = { { 48, 48 }, { 128, 128 } };
  gsize arena[2], parameters;

  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (SumiAutoencoder) a = open_kl ();
      g_autoptr (SumiTensor) latents = noise (&SUMI_SHAPE (1, 4, sizes[i].height, sizes[i].width), 3);
      g_autoptr (SumiTensor) picture = NULL;

      sumi_autoencoder_set_tile (a, 48);
      picture = decode (a, latents);
      sumi_autoencoder_get_memory (a, &arena[i], &parameters);
      g_test_message ("%d x %d pixels: %.1f MB", (int)sizes[i].height * 8, (int)sizes[i].width * 8, arena[i] / 1e6);
    }
  g_assert_cmpuint (arena[0], >, 1000000);
  g_assert_cmpuint (arena[1], <, arena[0] + arena[0] / 4);
}

static void
test_whole_up_to (void)
{
  g_autoptr (SumiAutoencoder) a = open_kl ();
  g_autoptr (SumiTensor) latents = noise (&SUMI_SHAPE (1, 4, 8, 12), 4);
  g_autoptr (SumiTensor) more = noise (&SUMI_SHAPE (1, 4, 8, 13), 4);
  g_autoptr (SumiTensor) whole = NULL, tiled = NULL, more_whole = NULL, more_tiled = NULL;

  sumi_autoencoder_set_tile (a, 0);
  whole = decode (a, latents);
  more_whole = decode (a, more);
  sumi_autoencoder_set_tile (a, 8);
  tiled = decode (a, latents);
  more_tiled = decode (a, more);
  g_assert_cmpfloat (relative_l2 (tiled, whole), ==, 0);
  g_assert_cmpfloat (relative_l2 (more_tiled, more_whole), >, 0);
}

/* ---- what is refused ---- */

static void
assert_not_opened (const SumiAutoencoderConfig *c, SumiTensorMap *weights, int code, const char *what)
{
  g_autoptr (SumiEngine) engine = sumi_engine_open ("ref", NULL);
  GError *error = NULL;

  g_assert_null (sumi_autoencoder_new (c, weights, "", engine, 1, &error));
  g_assert_error (error, SUMI_ERROR, code);
  g_assert_nonnull (strstr (error->message, what));
  g_clear_error (&error);
}

static void
test_refusals (void)
{
  SumiAutoencoderConfig c = kl_config (), other = c;
  g_autoptr (SumiTensorMap) weights = random_weights (&c);
  SumiTensor *bias = sumi_tensor_map_peek (weights, "decoder.conv_out.bias");

  other.latent_channels = 5;
  assert_not_opened (&other, weights, SUMI_ERROR_BAD_CONFIG, "latent channels");
  other = c;
  other.std[2] = 0;
  assert_not_opened (&other, weights, SUMI_ERROR_BAD_CONFIG, "std 0 of channel 2");
  other = c;
  other.mean[1] = NAN;
  assert_not_opened (&other, weights, SUMI_ERROR_BAD_CONFIG, "channel 1");
  other = tiny_config (SUMI_AUTOENCODER_TAEF2, 4);
  assert_not_opened (&other, weights, SUMI_ERROR_BAD_CONFIG, "expected 32");
  other = tiny_config (SUMI_AUTOENCODER_TAESD, 4);
  assert_not_opened (&other, weights, SUMI_ERROR_MISSING_TENSOR, "decoder.1.weight");
  sumi_tensor_poke_f32 (bias)[0] = INFINITY;
  assert_not_opened (&c, weights, SUMI_ERROR_NON_FINITE, "decoder.conv_out.bias");
}

/* A decoder alone decodes; what the encoder lacks is told when it is asked. */
static void
test_no_encoder (void)
{
  SumiAutoencoderConfig c = kl_config ();
  g_autoptr (SumiTensorMap) weights = random_weights (&c);
  g_autoptr (SumiAutoencoder) a = NULL;
  g_autoptr (SumiTensor) picture = smooth_picture (16, 16);
  g_autoptr (SumiTensor) latents = noise (&SUMI_SHAPE (1, 4, 2, 2), 1);
  g_autoptr (SumiTensor) decoded = NULL;
  GError *error = NULL;

  g_assert_true (sumi_tensor_map_remove (weights, "encoder.conv_in.weight"));
  a = open_with (&c, weights);
  decoded = decode (a, latents);
  g_assert_null (sumi_autoencoder_encode (a, picture, NULL, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
  g_clear_error (&error);
}

static void
test_inputs (void)
{
  g_autoptr (SumiAutoencoder) a = open_kl ();
  g_autoptr (SumiTensor) odd = smooth_picture (16, 20);
  g_autoptr (SumiTensor) five = noise (&SUMI_SHAPE (1, 5, 2, 2), 1);
  g_autoptr (SumiTensor) empty = noise (&SUMI_SHAPE (1, 4, 0, 2), 1);
  g_autoptr (SumiTensor) infinite = noise (&SUMI_SHAPE (1, 4, 2, 2), 1);
  g_autoptr (GCancellable) cancelled = g_cancellable_new ();
  GError *error = NULL;

  g_assert_null (sumi_autoencoder_encode (a, odd, NULL, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_clear_error (&error);
  g_assert_null (sumi_autoencoder_decode (a, five, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_clear_error (&error);
  g_assert_null (sumi_autoencoder_decode (a, empty, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_clear_error (&error);
  sumi_tensor_poke_f32 (infinite)[0] = INFINITY;
  g_assert_null (sumi_autoencoder_decode (a, infinite, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE);
  g_clear_error (&error);
  g_cancellable_cancel (cancelled);
  sumi_tensor_poke_f32 (infinite)[0] = 0;
  g_assert_null (sumi_autoencoder_decode (a, infinite, cancelled, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_CANCELLED);
  g_clear_error (&error);
}

/* ---- the linear preview ---- */

/* Correlation of one channel with what the small network of the reference draws, averaged to the same size. */
static double
correlation (const SumiTensor *preview, const SumiTensor *rgb, guint channel)
{
  const gint64 h = sumi_tensor_get_shape (preview)->d[0], w = sumi_tensor_get_shape (preview)->d[1];
  const guint8 *p = sumi_tensor_peek (preview);
  const float *big = sumi_tensor_peek_f32 (rgb) + channel * 4 * h * w;
  double n = h * w, sx = 0, sy = 0, xx = 0, yy = 0, xy = 0;

  for (gint64 i = 0; i < h; i++)
    for (gint64 j = 0; j < w; j++)
      {
        const float *q = big + 2 * i * 2 * w + 2 * j;
        double x = p[3 * (i * w + j) + channel], y = (q[0] + q[1] + q[2 * w] + q[2 * w + 1]) / 4;

        sx += x;
        sy += y;
        xx += x * x;
        yy += y * y;
        xy += x * y;
      }
  return (n * xy - sx * sy) / sqrt ((n * xx - sx * sx) * (n * yy - sy * sy));
}

/* The reference's latents are independent noise, the worst there is: what the network learned of neighbours counts
 * there, and no linear map of one place sees it. */
static void
test_preview_reference (void)
{
  const struct
  {
    const char *family, *file;
  } rows[] = { { "sd15", "vaeapprox_sd1.safetensors" },
               { "sd21", "vaeapprox_sd1.safetensors" },
               { "sdxl", "vaeapprox_sdxl.safetensors" },
               { "sdxl-refiner", "vaeapprox_sdxl.safetensors" } };
  const char *root = g_getenv ("SUMI_GOLDEN");

  if (root == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return;
    }
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autofree char *path = g_build_filename (root, "basics", rows[i].file, NULL);
      g_autoptr (SumiTensorMap) map = sumi_safetensors_open (path, NULL);
      g_autoptr (SumiTensor) latent = sumi_tensor_cast (sumi_tensor_map_peek (map, "latent"), SUMI_F32, NULL);
      g_autoptr (SumiTensor) rgb = sumi_tensor_cast (sumi_tensor_map_peek (map, "rgb"), SUMI_F32, NULL);
      GError *error = NULL;
      g_autoptr (SumiTensor) preview = sumi_latent_preview (rows[i].family, latent, &error);

      g_assert_no_error (error);
      g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (preview), &SUMI_SHAPE (8, 8, 3)));
      for (guint c = 0; c < 3; c++)
        {
          g_test_message ("%s, channel %u: correlation %.3f", rows[i].family, c, correlation (preview, rgb, c));
          g_assert_cmpfloat (correlation (preview, rgb, c), >, 0.75);
        }
    }
}

static void
test_preview (void)
{
  g_autoptr (SumiTensor) latents = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 4, 1, 2), NULL);
  g_autoptr (SumiTensor) other = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 32, 1, 2), NULL);
  g_autoptr (SumiTensor) picture = NULL;
  GError *error = NULL;

  sumi_tensor_poke_f32 (latents)[0] = 100;
  sumi_tensor_poke_f32 (latents)[1] = NAN;
  picture = sumi_latent_preview ("sd15", latents, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (sumi_tensor_peek (picture), 6, ((guint8[]){ 255, 255, 255, 0, 0, 0 }), 6);
  g_assert_null (sumi_latent_preview ("sumi-latent", latents, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT);
  g_clear_error (&error);
  g_assert_null (sumi_latent_preview ("sd15", other, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT);
  g_clear_error (&error);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/autoencoder/axis", test_axis);
  g_test_add_func ("/autoencoder/ramps", test_ramps);
  g_test_add_func ("/autoencoder/decode", test_decode);
  g_test_add_func ("/autoencoder/encode", test_encode);
  g_test_add_func ("/autoencoder/there-and-back", test_there_and_back);
  g_test_add_func ("/autoencoder/taesd", test_taesd);
  g_test_add_func ("/autoencoder/view", test_view);
  g_test_add_func ("/autoencoder/seams/taef2", test_seams_shipped);
  g_test_add_func ("/autoencoder/seams/kl", test_seams_kl);
  g_test_add_func ("/autoencoder/encode-tiles", test_encode_tiles);
  g_test_add_func ("/autoencoder/memory", test_memory);
  g_test_add_func ("/autoencoder/whole-up-to", test_whole_up_to);
  g_test_add_func ("/autoencoder/refusals", test_refusals);
  g_test_add_func ("/autoencoder/no-encoder", test_no_encoder);
  g_test_add_func ("/autoencoder/inputs", test_inputs);
  g_test_add_func ("/autoencoder/preview", test_preview);
  g_test_add_func ("/autoencoder/preview-reference", test_preview_reference);
  return g_test_run ();
}
