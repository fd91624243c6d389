/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cases of `sumi bench`: products at the sizes of Stable Diffusion's U-Net, a training step of the simple U-Net,
 * and Stable Diffusion 1.5's networks at 512x512. */
#include "bench.h"

#include "graph/autodiff.h"
#include "nn/networks.h"
#include "train/optimizer.h"

#define ENOUGH 2.0 /* seconds */
#define RUNS 3     /* at least */

/* ---- graphs ---- */

static SumiGraph *
build_matmul (void)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *a = sumi_input (g, "a", SUMI_REAL, &SUMI_SHAPE (4096, 4096));

  sumi_graph_output (g, "y", sumi_matmul (g, a, sumi_param (g, "b", &SUMI_SHAPE (4096, 4096)), FALSE, FALSE));
  return g;
}

/* The picture is made channels last by a step of its own: the first layer of a network sees to that. */
static SumiGraph *
build_conv (gint64 channels, gint64 size)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (2, size, size, channels));
  SumiNode *w = sumi_param (g, "w", &SUMI_SHAPE (channels, channels, 3, 3));
  SumiNode *b = sumi_param (g, "b", &SUMI_SHAPE (channels));

  x = sumi_permute (g, x, (const guint8[]){ 0, 3, 1, 2 });
  sumi_graph_output (g, "y", sumi_conv2d (g, x, w, b, 1, 1));
  return g;
}

static SumiGraph *
build_conv_320 (void)
{
  return build_conv (320, 64);
}

static SumiGraph *
build_conv_640 (void)
{
  return build_conv (640, 32);
}

static SumiGraph *
build_conv_1280 (void)
{
  return build_conv (1280, 16);
}

static SumiGraph *
build_conv_1280_8 (void)
{
  return build_conv (1280, 8);
}

static SumiGraph *
build_linear (void)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (2, 4096, 320));

  sumi_graph_output (
      g, "y",
      sumi_linear (g, x, sumi_param (g, "w", &SUMI_SHAPE (2560, 320)), sumi_param (g, "b", &SUMI_SHAPE (2560))));
  return g;
}

static SumiGraph *
build_attention (void)
{
  SumiGraph *g = sumi_graph_new ();
  const SumiShape shape = SUMI_SHAPE (1, 4096, 320);

  sumi_graph_output (g, "y",
                     sumi_sdpa (g, sumi_input (g, "q", SUMI_REAL, &shape), sumi_input (g, "k", SUMI_REAL, &shape),
                                sumi_input (g, "v", SUMI_REAL, &shape), 8, FALSE, 0));
  return g;
}

static SumiGraph *
build_group_norm (void)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (2, 64, 64, 320));

  x = sumi_permute (g, x, (const guint8[]){ 0, 3, 1, 2 });
  sumi_graph_output (g, "y",
                     sumi_group_norm (g, x, sumi_param (g, "w", &SUMI_SHAPE (320)),
                                      sumi_param (g, "b", &SUMI_SHAPE (320)), 32, 1e-5, SUMI_ACT_SILU));
  return g;
}

#define UNET_BATCH 128

/* The loss and the gradient of every parameter, under the parameter's name. */
static SumiGraph *
build_simple_unet (void)
{
  SumiGraph *g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  const SumiSimpleUnetConfig config = { 3, 3, 64, 256, 8 };
  const SumiShape shape = SUMI_SHAPE (UNET_BATCH, 3, 32, 32);
  SumiNode *x = sumi_input (g, "sample", SUMI_REAL, &shape), *noise = sumi_input (g, "noise", SUMI_REAL, &shape);
  SumiNode *d = sumi_sub (
      g, sumi_simple_unet (m, &config, x, sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (UNET_BATCH))), noise);
  SumiNode *loss = sumi_mean (g, sumi_mul (g, d, d), 0xf, FALSE);
  guint n = m->params->len;
  g_autofree SumiNode **wrt = g_new (SumiNode *, n);
  g_autofree SumiNode **grads = g_new (SumiNode *, n);

  for (guint i = 0; i < n; i++)
    wrt[i] = g_array_index (m->params, SumiModuleParam, i).node;
  sumi_graph_output (g, "loss", loss);
  sumi_graph_grad (g, loss, wrt, n, grads);
  for (guint i = 0; i < n; i++)
    sumi_graph_output (g, wrt[i]->name, grads[i]);
  return g;
}

/* A guided step: with and without the prompt at once. */
static SumiGraph *
build_sd15_unet (void)
{
  const SumiUnetConfig config = {
    .in_channels = 4,
    .out_channels = 4,
    .n_levels = 4,
    .block_out_channels = { 320, 640, 1280, 1280 },
    .layers_per_block = 2,
    .norm_num_groups = 32,
    .norm_eps = 1e-5,
    .flip_sin_to_cos = TRUE,
    .downsample_padding = 1,
    .attention = { TRUE, TRUE, TRUE, FALSE },
    .heads = { 8, 8, 8, 8 },
    .cross_attention_dim = 768,
    .transformer_layers = { 1, 1, 1, 1 },
  };
  SumiGraph *g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiNode *x = sumi_input (g, "sample", SUMI_REAL, &SUMI_SHAPE (2, 4, 64, 64));
  SumiNode *t = sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (2));
  const SumiUnetConditioning text
      = { .encoder_hidden_states = sumi_input (g, "states", SUMI_REAL, &SUMI_SHAPE (2, 77, 768)) };

  sumi_graph_output (g, "y", sumi_unet (m, &config, x, t, &text));
  return g;
}

static SumiGraph *
build_sd15_decoder (void)
{
  const SumiVaeConfig config = {
    .in_channels = 3,
    .out_channels = 3,
    .latent_channels = 4,
    .n_levels = 4,
    .block_out_channels = { 128, 256, 512, 512 },
    .layers_per_block = 2,
    .norm_num_groups = 32,
    .mid_attention = TRUE,
    .quant_conv = TRUE,
    .post_quant_conv = TRUE,
  };
  SumiGraph *g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiNode *x = sumi_input (g, "latents", SUMI_REAL, &SUMI_SHAPE (1, 4, 64, 64));

  sumi_graph_output (g, "y", sumi_vae_decoder (m, &config, x));
  return g;
}

static const SumiBenchCase cases[] = {
  { "matmul", "matrix product 4096 x 4096 x 4096", SUMI_F32, build_matmul },
  { "conv-320", "3x3 convolution, 2 pictures 64x64, 320 channels", SUMI_F32, build_conv_320 },
  { "conv-640", "3x3 convolution, 2 pictures 32x32, 640 channels", SUMI_F32, build_conv_640 },
  { "conv-1280", "3x3 convolution, 2 pictures 16x16, 1280 channels", SUMI_F32, build_conv_1280 },
  { "conv-1280-8", "3x3 convolution, 2 pictures 8x8, 1280 channels", SUMI_F32, build_conv_1280_8 },
  { "linear", "linear layer, 8192 tokens, 320 to 2560", SUMI_F32, build_linear },
  { "attention", "attention, 4096 tokens, 8 heads of 40", SUMI_F32, build_attention },
  { "group-norm", "group norm with SiLU, 2 pictures 64x64, 320 channels", SUMI_F32, build_group_norm },
  { "simple-unet", "training step of the simple U-Net, base 64, 32x32", SUMI_F32, build_simple_unet, UNET_BATCH },
  { "matmul-bf16", "matrix product 4096 x 4096 x 4096", SUMI_BF16, build_matmul },
  { "conv-320-bf16", "3x3 convolution, 2 pictures 64x64, 320 channels", SUMI_BF16, build_conv_320 },
  { "conv-640-bf16", "3x3 convolution, 2 pictures 32x32, 640 channels", SUMI_BF16, build_conv_640 },
  { "linear-bf16", "linear layer, 8192 tokens, 320 to 2560", SUMI_BF16, build_linear },
  { "attention-bf16", "attention, 4096 tokens, 8 heads of 40", SUMI_BF16, build_attention },
  { "simple-unet-bf16", "training step of the simple U-Net, base 64, 32x32", SUMI_BF16, build_simple_unet, UNET_BATCH },
  { "sd15-unet", "guided step of SD 1.5 at 512x512", SUMI_F32, build_sd15_unet, .large = TRUE },
  { "sd15-unet-bf16", "guided step of SD 1.5 at 512x512", SUMI_BF16, build_sd15_unet, .large = TRUE },
  { "sd15-decoder", "decoder of SD 1.5 to 512x512", SUMI_F32, build_sd15_decoder, .large = TRUE },
  { "sd15-decoder-bf16", "decoder of SD 1.5 to 512x512", SUMI_BF16, build_sd15_decoder, .large = TRUE },
};

const SumiBenchCase *
sumi_bench_cases (guint *n)
{
  *n = G_N_ELEMENTS (cases);
  return cases;
}

/* ---- runs ---- */

/* A parameter that is trained: its value, gradient and the optimizer's moments. */
typedef struct
{
  const char *name;
  SumiTensor *value, *gradient, *m, *v;
} Trained;

static void
trained_clear (gpointer data)
{
  Trained *t = data;

  g_clear_pointer (&t->value, sumi_tensor_unref);
  g_clear_pointer (&t->gradient, sumi_tensor_unref);
  g_clear_pointer (&t->m, sumi_tensor_unref);
  g_clear_pointer (&t->v, sumi_tensor_unref);
}

/* In [-0.1, 0.1): a linear congruential generator (Knuth's MMIX), for a billion values are soon wanted. */
static SumiTensor *
random_tensor (const SumiShape *shape, guint64 *state, GError **error)
{
  SumiTensor *t = sumi_tensor_new (SUMI_F32, shape, error);
  float *x = t != NULL ? sumi_tensor_poke_f32 (t) : NULL;

  for (gint64 i = 0; t != NULL && i < sumi_tensor_get_numel (t); i++)
    {
      *state = *state * 6364136223846793005u + 1442695040888963407u;
      x[i] = (float)(*state >> 40) * 0x1p-24f * 0.2f - 0.1f;
    }
  return t;
}

/* Gives every leaf a value; a parameter whose gradient is an output goes into `trained`. */
static gboolean
set_leaves (SumiPlan *p, SumiGraph *g, GArray *trained, GError **error)
{
  guint64 random = 1;

  for (guint i = 0; i < sumi_graph_get_size (g); i++)
    {
      const SumiNode *n = sumi_graph_peek (g, i);
      g_autoptr (SumiTensor) value = n->name != NULL ? random_tensor (&n->shape, &random, error) : NULL;

      if (n->name == NULL)
        continue;
      if (value == NULL || !sumi_plan_set (p, n->name, value, error))
        return FALSE;
      if (n->op == SUMI_OP_PARAM && trained != NULL)
        {
          Trained t = { n->name, sumi_tensor_ref (value) };

          t.gradient = sumi_tensor_new (SUMI_F32, &n->shape, error);
          t.m = t.gradient != NULL ? sumi_tensor_new (SUMI_F32, &n->shape, error) : NULL;
          t.v = t.m != NULL ? sumi_tensor_new (SUMI_F32, &n->shape, error) : NULL;
          g_array_append_val (trained, t);
          if (t.v == NULL)
            return FALSE;
        }
    }
  return TRUE;
}

/* As the training loop does: parameters in, gradients out, AdamW. */
static gboolean
train (SumiPlan *p, GArray *trained, guint64 step, GCancellable *cancellable, GError **error)
{
  const SumiAdamWConfig config = { 1e-4, 0.9, 0.999, 1e-8, 0.01 };

  for (guint i = 0; i < trained->len; i++)
    {
      const Trained *t = &g_array_index (trained, Trained, i);

      if (!sumi_plan_set (p, t->name, t->value, error))
        return FALSE;
    }
  if (!sumi_plan_run (p, cancellable, error))
    return FALSE;
  for (guint i = 0; i < trained->len; i++)
    {
      const Trained *t = &g_array_index (trained, Trained, i);

      if (!sumi_plan_read (p, t->name, t->gradient, error))
        return FALSE;
      sumi_adamw_step (&config, step, 1, sumi_tensor_poke_f32 (t->value), sumi_tensor_peek_f32 (t->gradient),
                       sumi_tensor_poke_f32 (t->m), sumi_tensor_poke_f32 (t->v),
                       (gsize)sumi_tensor_get_numel (t->value));
    }
  return TRUE;
}

GArray *
sumi_bench_case_run (const SumiBenchCase *c, guint threads, GCancellable *cancellable, guint64 *flops, GError **error)
{
  g_autoptr (SumiEngine) e = sumi_engine_open ("cpu", error);
  g_autoptr (SumiGraph) g = c->build ();
  const SumiCompileOptions options = { .dtype = c->dtype, .threads = threads };
  g_autoptr (SumiPlan) p = e != NULL ? sumi_engine_compile (e, g, &options, error) : NULL;
  g_autoptr (GArray) trained = g_array_new (FALSE, FALSE, sizeof (Trained));
  g_autoptr (GArray) times = g_array_new (FALSE, FALSE, sizeof (double));
  double total = 0;

  g_array_set_clear_func (trained, trained_clear);
  if (p == NULL || !set_leaves (p, g, c->pictures > 0 ? trained : NULL, error))
    return NULL;
  *flops = sumi_graph_flops (g);
  for (guint i = 0; i <= RUNS || total < ENOUGH; i++)
    {
      gint64 start = g_get_monotonic_time ();
      double seconds;

      if (c->pictures > 0 ? !train (p, trained, i + 1, cancellable, error) : !sumi_plan_run (p, cancellable, error))
        return NULL;
      seconds = (double)(g_get_monotonic_time () - start) * 1e-6;
      if (i > 0)
        {
          g_array_append_val (times, seconds);
          total += seconds;
        }
    }
  return g_steal_pointer (&times);
}
