/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whole networks with their gradients on the cpu engine. */
#include "graph/autodiff.h"
#include "nn/networks.h"
#include "plans.h"

/* The simple U-Net with the loss it is trained on and every parameter's gradient. */
static SumiGraph *
simple_unet (gint64 batch, gint64 size)
{
  SumiGraph *g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  const SumiSimpleUnetConfig config = { 3, 3, 16, 32, 8 };
  SumiNode *x = sumi_input (g, "sample", SUMI_REAL, &SUMI_SHAPE (batch, 3, size, size));
  SumiNode *t = sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (batch));
  SumiNode *noise = sumi_input (g, "noise", SUMI_REAL, &SUMI_SHAPE (batch, 3, size, size));
  SumiNode *y = sumi_simple_unet (m, &config, x, t);
  SumiNode *d = sumi_sub (g, y, noise), *loss = sumi_mean (g, sumi_mul (g, d, d), 0xf, FALSE);
  g_autofree SumiNode **wrt = g_new (SumiNode *, m->params->len), **grads = g_new (SumiNode *, m->params->len);

  for (guint i = 0; i < m->params->len; i++)
    wrt[i] = g_array_index (m->params, SumiModuleParam, i).node;
  sumi_graph_output (g, "y", y);
  sumi_graph_output (g, "loss", loss);
  sumi_graph_grad (g, loss, wrt, m->params->len, grads);
  for (guint i = 0; i < m->params->len; i++)
    {
      g_autofree char *name = g_strdup_printf ("grad.%s", wrt[i]->name);

      sumi_graph_output (g, name, grads[i]);
    }
  return g;
}

static void
test_simple_unet (void)
{
  g_autoptr (SumiGraph) g = simple_unet (2, 16);

  plans_check (g, 2e-5);
}

/* Eight bits of mantissa, and weights as large as the activations: far from F32, but near enough to tell a
 * mistake. */
static void
test_simple_unet_bf16 (void)
{
  g_autoptr (SumiGraph) g = simple_unet (2, 16);
  g_autoptr (SumiPlan) f32 = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_F32 });
  g_autoptr (SumiPlan) bf16 = NULL;
  g_autoptr (SumiPlan) poisoned = NULL;

  if (!plans_have_bf16 ())
    {
      g_test_skip ("not on this processor");
      return;
    }
  bf16 = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_BF16 });
  poisoned = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_BF16, .poison = TRUE });
  plans_set_all (f32, g, 1);
  plans_set_all (bf16, g, 1);
  plans_set_all (poisoned, g, 1);
  plans_run (f32);
  plans_run (bf16);
  plans_run (poisoned);
  plans_assert_close (bf16, f32, g, 0.25);
  plans_assert_equal (poisoned, bf16, g);
}

/* A conditional U-Net that is large enough for products in BF16. */
static SumiGraph *
conditional_unet (gint64 batch)
{
  SumiGraph *g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  const SumiUnetConfig config = {
    .in_channels = 4,
    .out_channels = 4,
    .n_levels = 2,
    .block_out_channels = { 128, 256 },
    .layers_per_block = 1,
    .norm_num_groups = 32,
    .norm_eps = 1e-5,
    .flip_sin_to_cos = TRUE,
    .downsample_padding = 1,
    .attention = { TRUE, TRUE },
    .heads = { 4, 4 },
    .cross_attention_dim = 96,
    .transformer_layers = { 1, 1 },
  };
  SumiNode *x = sumi_input (g, "sample", SUMI_REAL, &SUMI_SHAPE (batch, 4, 32, 32));
  SumiNode *t = sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (batch));
  const SumiUnetConditioning text
      = { .encoder_hidden_states = sumi_input (g, "states", SUMI_REAL, &SUMI_SHAPE (batch, 77, 96)) };

  sumi_graph_output (g, "y", sumi_unet (m, &config, x, t, &text));
  return g;
}

/* Weights that keep the size of what passes through, as those of a trained network do. */
static void
set_calm (SumiPlan *p, SumiGraph *g)
{
  for (guint i = 0; i < sumi_graph_get_size (g); i++)
    {
      const SumiNode *n = sumi_graph_peek (g, i);
      gboolean norm = n->name != NULL && strstr (n->name, "norm") != NULL && g_str_has_suffix (n->name, "weight");
      g_autoptr (SumiTensor) t = NULL;

      if (n->name == NULL)
        continue;
      t = plans_tensor (n, i);
      for (gint64 k = 0; n->op == SUMI_OP_PARAM && k < sumi_tensor_get_numel (t); k++)
        {
          double fan_in = (double)(sumi_tensor_get_numel (t) / n->shape.d[0]);
          float *x = &sumi_tensor_poke_f32 (t)[k];

          *x = norm ? 1 + *x / 4 : *x * (float)sqrt (3 / fan_in);
        }
      g_assert_true (sumi_plan_set (p, n->name, t, NULL));
    }
}

/* Within 2e-2 of F32; threads and dead memory make no difference. */
static void
test_conditional_unet_bf16 (void)
{
  g_autoptr (SumiGraph) g = conditional_unet (2);
  g_autoptr (SumiPlan) f32 = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_F32 });
  g_autoptr (SumiPlan) bf16 = NULL;
  g_autoptr (SumiPlan) poisoned = NULL;

  if (!plans_have_bf16 ())
    {
      g_test_skip ("not on this processor");
      return;
    }
  bf16 = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_BF16, .threads = 1 });
  poisoned = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = SUMI_BF16, .threads = 3, .poison = TRUE });
  set_calm (f32, g);
  set_calm (bf16, g);
  set_calm (poisoned, g);
  plans_run (f32);
  plans_run (bf16);
  plans_run (poisoned);
  plans_assert_close (bf16, f32, g, 2e-2);
  plans_assert_equal (poisoned, bf16, g);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/simple-unet", test_simple_unet);
  g_test_add_func ("/cpu/simple-unet-bf16", test_simple_unet_bf16);
  g_test_add_func ("/cpu/conditional-unet-bf16", test_conditional_unet_bf16);
  return g_test_run ();
}
