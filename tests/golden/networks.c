/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The networks without reference data: which configurations are refused, and how fresh weights are distributed. */
#include "golden.h"

#include <math.h>
#include <string.h>

#include "nn/networks.h"

#define CONDITIONAL                                                                                                    \
  "\"_class_name\":\"UNet2DConditionModel\",\"in_channels\":4,\"out_channels\":4,\"block_out_channels\":[32,64],"      \
  "\"down_block_types\":[\"CrossAttnDownBlock2D\",\"DownBlock2D\"],"                                                   \
  "\"up_block_types\":[\"UpBlock2D\",\"CrossAttnUpBlock2D\"],\"cross_attention_dim\":16"
#define PIXELS                                                                                                         \
  "\"_class_name\":\"UNet2DModel\",\"in_channels\":3,\"out_channels\":3,\"block_out_channels\":[32,64],"               \
  "\"down_block_types\":[\"DownBlock2D\",\"AttnDownBlock2D\"],\"up_block_types\":[\"AttnUpBlock2D\",\"UpBlock2D\"]"

static gboolean
parse (const char *text, SumiUnetConfig *c, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autofree char *object = g_strdup_printf ("{%s}", text);

  g_assert_true (json_parser_load_from_data (parser, object, -1, NULL));
  return sumi_unet_config_parse (json_node_get_object (json_parser_get_root (parser)), c, error);
}

static void
test_config_values (void)
{
  SumiUnetConfig c;

  g_assert_true (parse (CONDITIONAL ",\"attention_head_dim\":4,\"transformer_layers_per_block\":[1,2]", &c, NULL));
  g_assert_cmpuint (c.heads[0], ==, 4); /* the number of heads, whatever it is called */
  g_assert_cmpuint (c.heads[1], ==, 4);
  g_assert_cmpuint (c.transformer_layers[1], ==, 2);
  g_assert_true (c.attention[0] && !c.attention[1]);
  g_assert_true (parse (PIXELS ",\"attention_head_dim\":16", &c, NULL));
  g_assert_cmpuint (c.heads[1], ==, 4); /* the width of a head */
  g_assert_cmpint (c.cross_attention_dim, ==, 0);
  g_assert_true (parse (PIXELS ",\"attention_head_dim\":null", &c, NULL));
  g_assert_cmpuint (c.heads[1], ==, 1);
  g_assert_true (parse (PIXELS, &c, NULL));
  g_assert_cmpuint (c.heads[1], ==, 8);
  g_assert_true (
      parse (CONDITIONAL ",\"class_embed_type\":\"projection\",\"projection_class_embeddings_input_dim\":7", &c, NULL));
  g_assert_cmpint (c.projection_class_embeddings_input_dim, ==, 7);
}

/* Every refusal names its field. */
static void
test_config_refusals (void)
{
  static const struct
  {
    const char *text, *field;
  } rows[] = {
    { "\"in_channels\":4", "out_channels" },
    { PIXELS ",\"_class_name\":\"UNet3D\"", "_class_name" },
    { PIXELS ",\"in_channels\":0", "in_channels" },
    { PIXELS ",\"in_channels\":3.5", "in_channels" },
    { PIXELS ",\"norm_num_groups\":5", "norm_num_groups" },
    { PIXELS ",\"norm_eps\":0", "norm_eps" },
    { PIXELS ",\"act_fn\":\"relu\"", "act_fn" },
    { PIXELS ",\"attention_head_dim\":7", "attention_head_dim" },
    { PIXELS ",\"block_out_channels\":[32,64,64]", "down_block_types" },
    { PIXELS ",\"block_out_channels\":[]", "block_out_channels" },
    { PIXELS ",\"block_out_channels\":[31,62],\"norm_num_groups\":31", "block_out_channels" },
    { PIXELS ",\"down_block_types\":[\"DownBlock2D\",7]", "down_block_types" },
    { PIXELS ",\"down_block_types\":[\"SkipDownBlock2D\",\"DownBlock2D\"]", "down_block_types" },
    { PIXELS ",\"up_block_types\":[\"UpBlock2D\",\"AttnUpBlock2D\"]", "up_block_types" },
    { PIXELS ",\"class_embed_type\":\"timestep\"", "class_embed_type" },
    { PIXELS ",\"dropout\":0.1", "dropout" },
    { PIXELS ",\"layers_per_block\":[1,2]", "layers_per_block" },
    { PIXELS ",\"downsample_padding\":2", "downsample_padding" },
    { PIXELS ",\"mid_block_type\":null,\"add_attention\":false", "add_attention" },
    { PIXELS ",\"resnet_time_scale_shift\":\"scale_shift\"", "resnet_time_scale_shift" },
    { PIXELS ",\"addition_embed_type\":\"text_time\"", "addition_embed_type" },
    { PIXELS ",\"time_cond_proj_dim\":4", "time_cond_proj_dim" },
    { CONDITIONAL ",\"addition_embed_type\":\"text\"", "addition_embed_type" },
    { CONDITIONAL ",\"addition_embed_type\":\"text_time\"", "projection_class_embeddings_input_dim" },
    { CONDITIONAL ",\"addition_embed_type\":\"text_time\",\"projection_class_embeddings_input_dim\":64",
      "addition_time_embed_dim" },
    { CONDITIONAL ",\"addition_embed_type\":\"text_time\",\"projection_class_embeddings_input_dim\":64,"
                  "\"addition_time_embed_dim\":7",
      "addition_time_embed_dim" },
    { CONDITIONAL ",\"transformer_layers_per_block\":[0,1]", "transformer_layers_per_block" },
    { CONDITIONAL ",\"transformer_layers_per_block\":[1,0]", "transformer_layers_per_block" },
    { CONDITIONAL ",\"time_cond_proj_dim\":0", "time_cond_proj_dim" },
    { CONDITIONAL ",\"class_embed_type\":\"projection\"", "projection_class_embeddings_input_dim" },
    { CONDITIONAL ",\"transformer_layers_per_block\":[1,[2]]", "transformer_layers_per_block" },
    { CONDITIONAL ",\"cross_attention_dim\":[16,16]", "cross_attention_dim" },
    { CONDITIONAL ",\"attention_head_dim\":[4]", "attention_head_dim" },
    { CONDITIONAL ",\"mid_block_type\":\"UNetMidBlock2D\"", "mid_block_type" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      SumiUnetConfig c;
      GError *error = NULL;

      g_assert_false (parse (rows[i].text, &c, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
      g_assert_true (g_str_has_prefix (error->message, rows[i].field));
      g_clear_error (&error);
    }
}

/* ---- shapes ---- */

static void
assert_poisoned (SumiNode *(*build) (SumiModule *), const char *what)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  GError *error = NULL;

  build (m);
  g_assert_false (sumi_graph_check (g, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_assert_nonnull (strstr (error->message, what));
  g_clear_error (&error);
}

static SumiNode *
real (SumiModule *m, const char *name, SumiShape shape)
{
  return sumi_input (m->graph, name, SUMI_REAL, &shape);
}

static SumiNode *
unet_without_text (SumiModule *m)
{
  SumiUnetConfig c;

  parse (CONDITIONAL, &c, NULL);
  return sumi_unet (m, &c, real (m, "x", SUMI_SHAPE (1, 4, 8, 8)), real (m, "t", SUMI_SHAPE (1)), NULL);
}

static SumiNode *
unet_with_text (SumiModule *m)
{
  SumiUnetConfig c;

  parse (PIXELS, &c, NULL);
  return sumi_unet (m, &c, real (m, "x", SUMI_SHAPE (1, 3, 8, 8)), real (m, "t", SUMI_SHAPE (1)),
                    &(SumiUnetConditioning){ .encoder_hidden_states = real (m, "s", SUMI_SHAPE (1, 5, 16)) });
}

static SumiNode *
unet_of_other_batch (SumiModule *m)
{
  SumiUnetConfig c;

  parse (CONDITIONAL, &c, NULL);
  return sumi_unet (m, &c, real (m, "x", SUMI_SHAPE (2, 4, 8, 8)), real (m, "t", SUMI_SHAPE (2)),
                    &(SumiUnetConditioning){ .encoder_hidden_states = real (m, "s", SUMI_SHAPE (1, 5, 16)) });
}

static SumiNode *
unet_without_class (SumiModule *m)
{
  SumiUnetConfig c;

  parse (CONDITIONAL ",\"class_embed_type\":\"projection\",\"projection_class_embeddings_input_dim\":7", &c, NULL);
  return sumi_unet (m, &c, real (m, "x", SUMI_SHAPE (1, 4, 8, 8)), real (m, "t", SUMI_SHAPE (1)),
                    &(SumiUnetConditioning){ .encoder_hidden_states = real (m, "s", SUMI_SHAPE (1, 5, 16)) });
}

static SumiNode *
simple_unet_odd (SumiModule *m)
{
  SumiSimpleUnetConfig c = { 3, 3, 8, 8, 4 };

  return sumi_simple_unet (m, &c, real (m, "x", SUMI_SHAPE (1, 3, 8, 12)), real (m, "t", SUMI_SHAPE (1)));
}

static SumiNode *
taef2_odd (SumiModule *m)
{
  return sumi_taef2_encoder (m, real (m, "x", SUMI_SHAPE (1, 3, 8, 12)));
}

static SumiNode *
taef2_few_channels (SumiModule *m)
{
  return sumi_taef2_decoder (m, real (m, "x", SUMI_SHAPE (1, 4, 8, 8)));
}

static void
test_shapes (void)
{
  assert_poisoned (unet_without_text, "encoder_hidden_states");
  assert_poisoned (unet_with_text, "encoder_hidden_states");
  assert_poisoned (unet_of_other_batch, "encoder_hidden_states");
  assert_poisoned (unet_without_class, "class_labels");
  assert_poisoned (simple_unet_odd, "multiples of 8");
  assert_poisoned (taef2_odd, "multiples of 8");
  assert_poisoned (taef2_few_channels, "(N,32,h,w)");
}

/* ---- fresh weights ---- */

typedef struct
{
  double mean, std, min, max;
} Moments;

static Moments
moments (const SumiTensorMap *map, const char *name)
{
  SumiTensor *t = sumi_tensor_map_peek (map, name);
  gint64 n;
  const float *x;
  double sum = 0, squares = 0;
  Moments r = { .min = INFINITY, .max = -INFINITY };

  g_assert_nonnull (t);
  n = sumi_tensor_get_numel (t);
  x = sumi_tensor_peek_f32 (t);
  for (gint64 i = 0; i < n; i++)
    {
      sum += x[i];
      squares += (double)x[i] * x[i];
      r.min = MIN (r.min, x[i]);
      r.max = MAX (r.max, x[i]);
    }
  r.mean = sum / n;
  r.std = sqrt (squares / n - r.mean * r.mean);
  return r;
}

/* torch: U(-b, b) with b = 1 / sqrt (fan_in), hence std = b / sqrt (3). */
static void
assert_uniform (const SumiTensorMap *map, const char *name, double fan_in)
{
  Moments r = moments (map, name);
  double bound = 1 / sqrt (fan_in);

  g_assert_cmpfloat (r.max, <=, bound);
  g_assert_cmpfloat (r.min, >=, -bound);
  g_assert_cmpfloat (r.max, >, 0.97 * bound);
  g_assert_cmpfloat (r.min, <, -0.97 * bound);
  g_assert_cmpfloat (fabs (r.mean), <, 0.03 * bound);
  g_assert_cmpfloat_with_epsilon (r.std, bound / sqrt (3), 0.03 * bound);
}

static void
assert_constant (const SumiTensorMap *map, const char *name, double value)
{
  Moments r = moments (map, name);

  g_assert_cmpfloat (r.min, ==, value);
  g_assert_cmpfloat (r.max, ==, value);
}

static void
assert_normal (const SumiTensorMap *map, const char *name, double std)
{
  Moments r = moments (map, name);

  g_assert_cmpfloat (fabs (r.mean), <, 0.05 * std);
  g_assert_cmpfloat_with_epsilon (r.std, std, 0.05 * std);
  g_assert_cmpfloat (r.max, >, 2.5 * std);
}

static SumiTensorMap *
fresh (SumiModule *m)
{
  SumiRng rng;
  GError *error = NULL;
  SumiTensorMap *map;

  g_assert_true (sumi_graph_check (m->graph, NULL));
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 3);
  map = sumi_module_init (m, &rng, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_tensor_map_get_size (map), ==, m->params->len);
  return map;
}

static void
test_init_simple_unet (void)
{
  SumiSimpleUnetConfig c = { 3, 3, 32, 64, 8 };
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiTensorMap) map = NULL;

  sumi_simple_unet (m, &c, real (m, "x", SUMI_SHAPE (1, 3, 8, 8)), real (m, "t", SUMI_SHAPE (1)));
  map = fresh (m);
  assert_uniform (map, "down1.conv2.weight", 32 * 9);
  assert_uniform (map, "down3.conv1.weight", 64 * 9);
  assert_uniform (map, "time_mlp.1.weight", 64);
  assert_uniform (map, "up1.weight", 128 * 4); /* transposed: (in,out,k,k), torch counts the second axis */
  assert_constant (map, "down1.norm1.weight", 1);
  assert_constant (map, "down1.norm1.bias", 0);
}

static void
test_init_unet (void)
{
  SumiUnetConfig c;
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiTensorMap) map = NULL;

  parse (CONDITIONAL, &c, NULL);
  sumi_unet (m, &c, real (m, "x", SUMI_SHAPE (1, 4, 8, 8)), real (m, "t", SUMI_SHAPE (1)),
             &(SumiUnetConditioning){ .encoder_hidden_states = real (m, "s", SUMI_SHAPE (1, 5, 16)) });
  map = fresh (m);
  assert_uniform (map, "down_blocks.1.resnets.1.conv1.weight", 64 * 9);
  assert_uniform (map, "time_embedding.linear_2.weight", 128);
  assert_uniform (map, "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight", 64);
  assert_constant (map, "conv_out.weight", 0); /* the last layers of residual branches, and of all */
  assert_constant (map, "conv_out.bias", 0);
  assert_constant (map, "down_blocks.0.resnets.0.conv2.weight", 0);
  assert_constant (map, "mid_block.attentions.0.proj_out.weight", 0);
}

static void
test_init_text_encoder (void)
{
  SumiTextConfig c = { 2000, 64, 256, 77, 2, 4, SUMI_ACT_QUICK_GELU, 1e-5 };
  SumiShape ids = SUMI_SHAPE (1, 77);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiTensorMap) map = NULL;

  sumi_text_encoder (m, &c, sumi_input (g, "ids", SUMI_INDEX, &ids), NULL);
  map = fresh (m);
  assert_normal (map, "text_model.embeddings.token_embedding.weight", 0.02);
  assert_normal (map, "text_model.encoder.layers.0.self_attn.q_proj.weight", 1 / sqrt (64 * 2 * 2));
  assert_normal (map, "text_model.encoder.layers.1.self_attn.out_proj.weight", 1 / sqrt (64));
  assert_normal (map, "text_model.encoder.layers.1.mlp.fc1.weight", 1 / sqrt (2 * 64));
  assert_normal (map, "text_model.encoder.layers.1.mlp.fc2.weight", 1 / sqrt (64 * 2 * 2));
  assert_constant (map, "text_model.encoder.layers.1.mlp.fc2.bias", 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/networks/config-values", test_config_values);
  g_test_add_func ("/networks/config-refusals", test_config_refusals);
  g_test_add_func ("/networks/shapes", test_shapes);
  g_test_add_func ("/networks/init-simple-unet", test_init_simple_unet);
  g_test_add_func ("/networks/init-unet", test_init_unet);
  g_test_add_func ("/networks/init-text-encoder", test_init_text_encoder);
  return g_test_run ();
}
