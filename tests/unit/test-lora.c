/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Adapters: every spelling of a module finds it, what does not fit is told or refused, several are merged. */
#include "lora-fixture.h"

#include <math.h>

static SumiLora *
load_error (Fixture *f, GError **error)
{
  SumiLora *l = sumi_lora_new (f->targets, f->file, "test", error);

  g_assert_true ((l == NULL) == (*error != NULL));
  return l;
}

/* The file is refused with this code, and a message that has this in it. */
static void
refused (Fixture *f, SumiError code, const char *part)
{
  GError *error = NULL;

  g_assert_null (load_error (f, &error));
  g_assert_error (error, SUMI_ERROR, (int)code);
  if (strstr (error->message, part) == NULL)
    g_error ("'%s' says nothing of '%s'", error->message, part);
  g_clear_error (&error);
}

/* ---- spellings ---- */

static void
test_spellings (Fixture *f, gconstpointer data)
{
  static const struct
  {
    const char *module, *down, *up, *parameter;
  } cases[] = {
    { "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", ".lora_down.weight", ".lora_up.weight",
      LINEAR ".weight" },
    { "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q", ".lora_down.weight", ".lora_up.weight",
      LINEAR ".weight" },
    { "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_out_0", ".lora_down.weight", ".lora_up.weight",
      TO_OUT ".weight" },
    { "lora_unet_input_blocks_1_0_in_layers_2", ".lora_down.weight", ".lora_up.weight", CONV ".weight" },
    { "lycoris_down_blocks_0_attentions_0_proj_in", ".lora_down.weight", ".lora_up.weight", PROJ ".weight" },
    { LINEAR, ".lora_A.weight", ".lora_B.weight", LINEAR ".weight" },
    { LINEAR, ".lora_A.default.weight", ".lora_B.default.weight", LINEAR ".weight" },
    { "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", ".lora_A.weight", ".lora_B.weight",
      LINEAR ".weight" },
    { "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q", ".lora_A.weight", ".lora_B.weight",
      LINEAR ".weight" },
    { LINEAR, ".lora.down.weight", ".lora.up.weight", LINEAR ".weight" },
    { "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out", "_lora.down.weight",
      "_lora.up.weight", TO_OUT ".weight" },
    { "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q", "_lora.down.weight", "_lora.up.weight",
      LINEAR ".weight" },
    { "lora_te_text_model_encoder_layers_0_self_attn_q_proj", ".lora_down.weight", ".lora_up.weight", TEXT ".weight" },
    { "lora_te1_text_model_encoder_layers_0_self_attn_q_proj", ".lora_down.weight", ".lora_up.weight", TEXT ".weight" },
    { "text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj", ".lora_down.weight",
      ".lora_up.weight", TEXT ".weight" },
    { TEXT, ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight", TEXT ".weight" },
    { "unet:0", ":down", ":up", LINEAR ".weight" },
    { "text_encoder:2", ":down", ":up", TEXT ".weight" },
  };

  /* What a module walk looks for and stops without. */
  add_weight (f, "unet.down_blocks.0.attentions.0.transformer_blocks.0.norm1", ".weight", SUMI_SHAPE (8));
  add_weight (f, "text_encoder.text_model.encoder.layers.0.self_attn.k_proj", ".weight", SUMI_SHAPE (8, 8));
  add_weight (f, "text_encoder.text_model.encoder.layers.0.self_attn.v_proj", ".weight", SUMI_SHAPE (8, 8));
  fixture_new_targets (f, "sd15");
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      const SumiShape *s = sumi_tensor_get_shape (sumi_tensor_map_peek (f->weights, cases[i].parameter));
      SumiShape down = *s;
      g_autoptr (SumiLora) l = NULL;

      down.d[0] = 2;
      fixture_new_file (f);
      add (f, cases[i].module, cases[i].down, down);
      add (f, cases[i].module, cases[i].up, SUMI_SHAPE (s->d[0], 2));
      l = load (f);
      g_assert_cmpuint (sumi_lora_get_n_changes (l), ==, 1);
      g_assert_cmpstr (sumi_lora_get_change (l, 0), ==, cases[i].parameter);
    }
}

/* Of SDXL's two, and of the refiner's only one. */
static void
test_second_text_encoder (Fixture *f, gconstpointer data)
{
  static const char first[] = "lora_te1_text_model_encoder_layers_0_self_attn_q_proj";
  static const char second[] = "lora_te2_text_model_encoder_layers_0_self_attn_q_proj";

  for (guint only = 0; only < 2; only++)
    {
      g_autoptr (SumiLora) l = NULL;

      fixture_new_file (f);
      if (only)
        sumi_tensor_map_remove (f->weights, TEXT ".weight"), sumi_tensor_map_remove (f->weights, TEXT ".bias");
      add_weight (f, "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj", ".weight", SUMI_SHAPE (8, 8));
      fixture_new_targets (f, "sdxl");
      add (f, only ? first : second, ".lora_down.weight", SUMI_SHAPE (2, 8));
      add (f, only ? first : second, ".lora_up.weight", SUMI_SHAPE (8, 2));
      l = load (f);
      g_assert_cmpstr (sumi_lora_get_change (l, 0), ==,
                       "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.weight");
    }
}

/* ---- scales from metadata ---- */

static double
scale_with (Fixture *f, const char *metadata)
{
  g_autoptr (SumiLora) l = NULL;
  g_autoptr (SumiTensor) delta = NULL;
  const float *down, *up;

  fixture_new_file (f);
  down = add (f, LINEAR, ".lora_A.weight", SUMI_SHAPE (4, 12));
  up = add (f, LINEAR, ".lora_B.weight", SUMI_SHAPE (8, 4));
  sumi_tensor_map_set_metadata (f->file, "lora_adapter_metadata", metadata);
  l = load (f);
  delta = sumi_lora_delta (l, LINEAR ".weight", NULL);
  return sumi_tensor_peek_f32 (delta)[0]
         / ((double)up[0] * down[0] + (double)up[1] * down[12] + (double)up[2] * down[24] + (double)up[3] * down[36]);
}

static void
test_peft_metadata (Fixture *f, gconstpointer data)
{
  static const struct
  {
    const char *json;
    double scale;
  } cases[] = {
    { "{}", 1 },
    { "no JSON", 1 },
    { "[[[[]]]]", 1 },
    { "{\"unet.r\": 4, \"unet.lora_alpha\": 8}", 2 },
    { "{\"r\": 4, \"lora_alpha\": 2}", 0.5 },
    { "{\"text_encoder.lora_alpha\": 8}", 1 },
    { "{\"unet.lora_alpha\": 8, \"unet.use_rslora\": true}", 4 },
    { "{\"unet.lora_alpha\": 8, \"unet.alpha_pattern\": {\"attn1.to_q\": 1}}", 0.25 },
    { "{\"unet.lora_alpha\": 8, \"unet.alpha_pattern\": {\"attn1.to_k\": 1, \"ttn1.to_q\": 1}}", 2 },
    { "{\"unet.lora_alpha\": \"8\"}", 1 },
    { "{\"unet.alpha_pattern\": 3}", 1 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    g_assert_cmpfloat_with_epsilon (scale_with (f, cases[i].json), cases[i].scale, 1e-4);
}

/* ---- refusals ---- */

static void
pair (Fixture *f, const char *module, SumiShape down, SumiShape up)
{
  fixture_new_file (f);
  add (f, module, ".lora_down.weight", down);
  add (f, module, ".lora_up.weight", up);
}

static void
test_shapes (Fixture *f, gconstpointer data)
{
  pair (f, LINEAR, SUMI_SHAPE (2, 11), SUMI_SHAPE (8, 2));
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "attn1.to_q.lora_down.weight: found (2,11), expected (2,12)");
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 3));
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "lora_up.weight: found (8,3), expected (8,2)");
  pair (f, CONV, SUMI_SHAPE (2, 18, 3, 1), SUMI_SHAPE (8, 2, 1, 1)); /* as many values, another order */
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "conv1.lora_down");
  pair (f, LINEAR, SUMI_SHAPE (24), SUMI_SHAPE (8, 2));
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "two dimensions");
  pair (f, LINEAR, SUMI_SHAPE (0, 12), SUMI_SHAPE (8, 0));
  refused (f, SUMI_ERROR_BAD_SHAPE, "rank 0");
  pair (f, LINEAR, SUMI_SHAPE (4097, 12), SUMI_SHAPE (8, 4097));
  refused (f, SUMI_ERROR_TOO_LARGE, "rank 4097");
  pair (f, NORM, SUMI_SHAPE (1, 1), SUMI_SHAPE (6, 1));
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "norm1");
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add (f, LINEAR, ".alpha", SUMI_SHAPE (2));
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "alpha");
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add (f, LINEAR, ".dora_scale", SUMI_SHAPE (12, 1));
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "dora_scale: found (12,1), expected (8,1) or (1,12)");
  fixture_new_file (f);
  add (f, LINEAR, ".lokr_w1", SUMI_SHAPE (3, 3));
  add (f, LINEAR, ".lokr_w2", SUMI_SHAPE (3, 4));
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "divisor of 8");
  fixture_new_file (f);
  add (f, LINEAR, ".oft_blocks", SUMI_SHAPE (2, 3, 3));
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "oft_blocks");
  fixture_new_file (f);
  add (f, LINEAR, ".oft_blocks", SUMI_SHAPE (30, 4, 2, 2)); /* 2^29 rows apart */
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "oft_blocks");
  fixture_new_file (f);
  add (f, LINEAR, ".diff", SUMI_SHAPE (12, 8));
  refused (f, SUMI_ERROR_SHAPE_MISMATCH, "diff");
}

static void
test_missing (Fixture *f, gconstpointer data)
{
  add (f, LINEAR, ".lora_down.weight", SUMI_SHAPE (2, 12));
  refused (f, SUMI_ERROR_MISSING_TENSOR, "without 'lora_up'");
  fixture_new_file (f);
  add (f, CONV, ".lora_mid.weight", SUMI_SHAPE (2, 2, 3, 3));
  refused (f, SUMI_ERROR_MISSING_TENSOR, "lora_mid");
  fixture_new_file (f);
  add (f, LINEAR, ".hada_w1_a", SUMI_SHAPE (8, 2));
  refused (f, SUMI_ERROR_MISSING_TENSOR, "hada_w1_b");
  fixture_new_file (f);
  add (f, LINEAR, ".lokr_w2", SUMI_SHAPE (4, 4));
  refused (f, SUMI_ERROR_MISSING_TENSOR, "lokr_w1");
  fixture_new_file (f);
  add (f, LINEAR, ".a1.weight", SUMI_SHAPE (12, 2));
  refused (f, SUMI_ERROR_MISSING_TENSOR, "'a2'");
  fixture_new_file (f);
  add_scalar (f, LINEAR, ".on_input", 1);
  refused (f, SUMI_ERROR_MISSING_TENSOR, "on_input");
}

static void
test_values (Fixture *f, gconstpointer data)
{
  SumiTensor *t;

  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  sumi_tensor_poke_f32 (sumi_tensor_map_peek (f->file, LINEAR ".lora_up.weight"))[3] = NAN;
  refused (f, SUMI_ERROR_NON_FINITE, "to_q.lora_up.weight");
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add_scalar (f, LINEAR, ".alpha", INFINITY);
  refused (f, SUMI_ERROR_NON_FINITE, "alpha");
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  t = sumi_tensor_new (SUMI_I32, &SUMI_SHAPE (8, 2), NULL);
  sumi_tensor_map_take (f->file, LINEAR ".lora_up.weight", t);
  refused (f, SUMI_ERROR_UNSUPPORTED_DTYPE, "I32");
}

static void
test_doubles (Fixture *f, gconstpointer data)
{
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add (f, LINEAR, ".diff", SUMI_SHAPE (8, 12));
  refused (f, SUMI_ERROR_UNSUPPORTED_FORMAT, "one kind of change");
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add (f, LINEAR, ".lora.down.weight", SUMI_SHAPE (2, 12)); /* the same module, another dialect's word */
  refused (f, SUMI_ERROR_UNSUPPORTED_FORMAT, "several adapters");
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add (f, "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q", ".lora_down.weight", SUMI_SHAPE (2, 12));
  add (f, "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q", ".lora_up.weight", SUMI_SHAPE (8, 2));
  refused (f, SUMI_ERROR_UNSUPPORTED_FORMAT, "two changes");
}

static void
test_families (Fixture *f, gconstpointer data)
{
  static const char attn2[] = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k";

  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  sumi_tensor_map_set_metadata (f->file, "ss_base_model_version", "sdxl_base_v1-0");
  refused (f, SUMI_ERROR_UNKNOWN_MODEL,
           "found an adapter for sdxl (ss_base_model_version is 'sdxl_base_v1-0'), "
           "expected one for sd15");
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  sumi_tensor_map_set_metadata (f->file, "modelspec.architecture", "stable-diffusion-v2-768-v/lora");
  refused (f, SUMI_ERROR_UNKNOWN_MODEL, "sd21");
  pair (f, attn2, SUMI_SHAPE (2, 2048), SUMI_SHAPE (640, 2));
  refused (f, SUMI_ERROR_UNKNOWN_MODEL,
           "sdxl (lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k "
           "reads 2048 values)");
  pair (f, "lora_te_text_model_encoder_layers_0_self_attn_q_proj", SUMI_SHAPE (2, 1024), SUMI_SHAPE (1024, 2));
  refused (f, SUMI_ERROR_UNKNOWN_MODEL, "sd21");
  pair (f, "lora_unet_double_blocks_0_img_attn_proj", SUMI_SHAPE (2, 8), SUMI_SHAPE (8, 2));
  refused (f, SUMI_ERROR_UNKNOWN_MODEL, "diffusion transformer");
}

static void
test_no_adapter (Fixture *f, gconstpointer data)
{
  refused (f, SUMI_ERROR_UNKNOWN_MODEL, "found 0 keys");
  add (f, CONV, ".weight", SUMI_SHAPE (8, 6, 3, 3)); /* a model */
  refused (f, SUMI_ERROR_UNKNOWN_MODEL, "1 key, such as unet.down_blocks.0.resnets.0.conv1.weight");
  fixture_new_file (f);
  add (f, "lora_unet_unet_down_blocks_0_attentions_0_proj_in_lora_down", ".weight", SUMI_SHAPE (2, 6));
  refused (f, SUMI_ERROR_UNKNOWN_MODEL, "expected the keys of an adapter");
  pair (f, "lora_unet_down_blocks_7_proj_in", SUMI_SHAPE (2, 6), SUMI_SHAPE (8, 2));
  refused (f, SUMI_ERROR_UNKNOWN_MODEL, "no key that fits this model (2 keys, such as lora_unet_down_blocks_7_proj_in");
}

static void
test_unmatched (Fixture *f, gconstpointer data)
{
  GError *error = NULL;
  g_autoptr (SumiLora) l = NULL;

  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add (f, LINEAR, ".diff_b", SUMI_SHAPE (8)); /* this layer has no bias */
  add (f, LINEAR, ".scalar", SUMI_SHAPE (1));
  add (f, LINEAR, ".lora_B.bias", SUMI_SHAPE (8));
  add (f, "lora_unet_nowhere", ".lora_up.weight", SUMI_SHAPE (8, 2));
  l = load_error (f, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (sumi_lora_get_n_changes (l), ==, 1);
  g_assert_cmpuint (sumi_lora_peek_unmatched (l)->len, ==, 4);
}

/* ---- embeddings that come along ---- */

static void
test_embeddings (Fixture *f, gconstpointer data)
{
  g_autoptr (SumiLora) l = NULL;
  GHashTable *tokens;

  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add (f, "<cat>", "", SUMI_SHAPE (12));
  sumi_tensor_map_set_metadata (f->file, "<cat>", "<embed>");
  add (f, "bundle_emb.my.token", ".string_to_param.*", SUMI_SHAPE (2, 12));
  add (f, "bundle_emb.two", ".clip_l", SUMI_SHAPE (2, 12));
  add (f, "bundle_emb.two", ".clip_g", SUMI_SHAPE (2, 16));
  add (f, "bundle_emb.one", ".clip_l", SUMI_SHAPE (2, 12));
  l = load (f);
  tokens = sumi_lora_peek_embeddings (l);
  g_assert_cmpuint (g_hash_table_size (tokens), ==, 4);
  g_assert_nonnull (sumi_tensor_map_peek (g_hash_table_lookup (tokens, "<cat>"), "<cat>"));
  g_assert_nonnull (sumi_tensor_map_peek (g_hash_table_lookup (tokens, "my.token"), "string_to_param.*"));
  g_assert_nonnull (sumi_tensor_map_peek (g_hash_table_lookup (tokens, "two"), "clip_l"));
  g_assert_nonnull (sumi_tensor_map_peek (g_hash_table_lookup (tokens, "two"), "clip_g"));
  g_assert_nonnull (sumi_tensor_map_peek (g_hash_table_lookup (tokens, "one"), "emb_params"));
}

/* ---- stacks ---- */

static SumiLora *
named (Fixture *f, const char *name)
{
  GError *error = NULL;
  SumiLora *l = sumi_lora_new (f->targets, f->file, name, &error);

  g_assert_no_error (error);
  return l;
}

static gboolean
same_bytes (const SumiTensor *a, const SumiTensor *b)
{
  return sumi_tensor_get_dtype (a) == sumi_tensor_get_dtype (b) && sumi_tensor_get_size (a) == sumi_tensor_get_size (b)
         && memcmp (sumi_tensor_peek (a), sumi_tensor_peek (b), sumi_tensor_get_size (a)) == 0;
}

/* Three adapters of one weight: a product, a DoRA, a rotation. */
static void
make_three (Fixture *f, SumiLora *l[3])
{
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  l[0] = named (f, "product");
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add (f, LINEAR, ".dora_scale", SUMI_SHAPE (8, 1));
  l[1] = named (f, "dora");
  fixture_new_file (f);
  add (f, LINEAR, ".oft_blocks", SUMI_SHAPE (2, 4, 4));
  l[2] = named (f, "rotation");
}

static void
test_stack_sum (Fixture *f, gconstpointer data)
{
  static const double strengths[] = { 0.5, -0.25, 0.75 };
  const float *w = weight (f, LINEAR ".weight");
  g_autoptr (SumiLoraStack) stack = sumi_lora_stack_new (f->weights);
  g_autoptr (SumiTensor) merged = NULL, untouched = NULL;
  SumiLora *l[3];
  double want[8 * 12];

  make_three (f, l);
  for (int i = 0; i < 8 * 12; i++)
    want[i] = w[i];
  for (int k = 0; k < 3; k++)
    {
      g_autoptr (SumiTensor) delta = sumi_lora_delta (l[k], LINEAR ".weight", NULL);

      for (int i = 0; i < 8 * 12; i++)
        want[i] += strengths[k] * sumi_tensor_peek_f32 (delta)[i];
      sumi_lora_stack_add (stack, l[k], strengths[k], 0);
    }
  g_assert_true (sumi_lora_stack_changes (stack, LINEAR ".weight"));
  merged = sumi_lora_stack_merge (stack, LINEAR ".weight", NULL);
  for (int i = 0; i < 8 * 12; i++)
    g_assert_cmpfloat_with_epsilon (sumi_tensor_peek_f32 (merged)[i], want[i], 1e-5);
  /* What nothing changes is the model's own tensor. */
  g_assert_false (sumi_lora_stack_changes (stack, CONV ".weight"));
  untouched = sumi_lora_stack_merge (stack, CONV ".weight", NULL);
  g_assert_true (untouched == sumi_tensor_map_peek (f->weights, CONV ".weight"));
  for (int k = 0; k < 3; k++)
    sumi_lora_unref (l[k]);
}

/* The same bits in every order. */
static void
test_stack_order (Fixture *f, gconstpointer data)
{
  static const int orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
  g_autoptr (SumiTensor) first = NULL;
  SumiLora *l[3];

  make_three (f, l);
  for (int o = 0; o < 6; o++)
    {
      g_autoptr (SumiLoraStack) stack = sumi_lora_stack_new (f->weights);
      g_autoptr (SumiTensor) merged = NULL;

      for (int k = 0; k < 3; k++)
        sumi_lora_stack_add (stack, l[orders[o][k]], 0.3 + orders[o][k], 0);
      merged = sumi_lora_stack_merge (stack, LINEAR ".weight", NULL);
      if (first == NULL)
        first = sumi_tensor_ref (merged);
      g_assert_true (same_bytes (merged, first));
    }
  for (int k = 0; k < 3; k++)
    sumi_lora_unref (l[k]);
}

/* Strength 0 and a cleared stack leave the model as it is; the text encoder has its own strength. */
static void
test_stack_off (Fixture *f, gconstpointer data)
{
  g_autoptr (SumiLoraStack) stack = sumi_lora_stack_new (f->weights);
  g_autoptr (SumiTensor) off = NULL, text = NULL, cleared = NULL, before = NULL;
  g_autoptr (SumiLora) l = NULL;

  before = sumi_tensor_cast (sumi_tensor_map_peek (f->weights, LINEAR ".weight"), SUMI_F32, NULL);
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add (f, TEXT, ".lora_down.weight", SUMI_SHAPE (2, 8));
  add (f, TEXT, ".lora_up.weight", SUMI_SHAPE (8, 2));
  l = named (f, "both");
  sumi_lora_stack_add (stack, l, 0, 1);
  g_assert_false (sumi_lora_stack_changes (stack, LINEAR ".weight"));
  g_assert_true (sumi_lora_stack_changes (stack, TEXT ".weight"));
  off = sumi_lora_stack_merge (stack, LINEAR ".weight", NULL);
  text = sumi_lora_stack_merge (stack, TEXT ".weight", NULL);
  g_assert_true (same_bytes (off, before));
  g_assert_false (same_bytes (text, sumi_tensor_map_peek (f->weights, TEXT ".weight")));
  sumi_lora_stack_clear (stack);
  cleared = sumi_lora_stack_merge (stack, TEXT ".weight", NULL);
  g_assert_true (cleared == sumi_tensor_map_peek (f->weights, TEXT ".weight"));
}

/* Half-precision weights are merged in f32. */
static void
test_stack_half (Fixture *f, gconstpointer data)
{
  g_autoptr (SumiLora) l = NULL;
  g_autoptr (SumiTensor) half = NULL, delta = NULL, merged = NULL;
  g_autoptr (SumiLoraStack) stack = NULL;
  float w[8 * 12];

  half = sumi_tensor_cast (sumi_tensor_map_peek (f->weights, LINEAR ".weight"), SUMI_F16, NULL);
  sumi_tensor_map_set (f->weights, LINEAR ".weight", half);
  sumi_tensor_to_f32 (half, w);
  fixture_new_targets (f, "sd15");
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  l = named (f, "half");
  stack = sumi_lora_stack_new (f->weights);
  sumi_lora_stack_add (stack, l, 1, 1);
  merged = sumi_lora_stack_merge (stack, LINEAR ".weight", NULL);
  delta = sumi_lora_delta (l, LINEAR ".weight", NULL);
  g_assert_cmpint (sumi_tensor_get_dtype (merged), ==, SUMI_F32);
  for (int i = 0; i < 8 * 12; i++)
    g_assert_cmpfloat (sumi_tensor_peek_f32 (merged)[i], ==, w[i] + sumi_tensor_peek_f32 (delta)[i]);
}

/* Finite values whose product is not. */
static void
test_stack_overflow (Fixture *f, gconstpointer data)
{
  g_autoptr (SumiLoraStack) stack = sumi_lora_stack_new (f->weights);
  g_autoptr (SumiLora) l = NULL;
  GError *error = NULL;

  pair (f, LINEAR, SUMI_SHAPE (1, 12), SUMI_SHAPE (8, 1));
  sumi_tensor_poke_f32 (sumi_tensor_map_peek (f->file, LINEAR ".lora_up.weight"))[0] = 1e30F;
  sumi_tensor_poke_f32 (sumi_tensor_map_peek (f->file, LINEAR ".lora_down.weight"))[0] = 1e30F;
  l = named (f, "large");
  sumi_lora_stack_add (stack, l, 1, 1);
  g_assert_null (sumi_lora_stack_merge (stack, LINEAR ".weight", &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE);
  g_clear_error (&error);
}

/* A product of the size of a layer, against sums in f64: tiles, their edges, and every thread. */
static void
test_large (Fixture *f, gconstpointer data)
{
  enum
  {
    O = 161,
    I = 533,
    R = 17
  };
  g_autoptr (SumiLora) l = NULL;
  g_autoptr (SumiTensor) delta = NULL;
  const float *down, *up;

  add_weight (f, LINEAR, ".weight", SUMI_SHAPE (O, I));
  fixture_new_targets (f, "sd15");
  down = add (f, LINEAR, ".lora_down.weight", SUMI_SHAPE (R, I));
  up = add (f, LINEAR, ".lora_up.weight", SUMI_SHAPE (O, R));
  l = load (f);
  delta = sumi_lora_delta (l, LINEAR ".weight", NULL);
  for (int o = 0; o < O; o++)
    for (int i = 0; i < I; i++)
      {
        double sum = 0;

        for (int r = 0; r < R; r++)
          sum += (double)up[o * R + r] * down[r * I + i];
        g_assert_cmpfloat_with_epsilon (sumi_tensor_peek_f32 (delta)[o * I + i], sum, 2e-5);
      }
}

/* ---- what a file says of itself ---- */

static void
test_inspect (Fixture *f, gconstpointer data)
{
  SumiLoraInfo info;
  GError *error = NULL;

  g_assert_false (sumi_lora_inspect (f->file, &info, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL);
  g_clear_error (&error);

  pair (f, "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", SUMI_SHAPE (6, 768),
        SUMI_SHAPE (320, 6));
  add (f, "lora_te_text_model_encoder_layers_0_mlp_fc1", ".hada_w1_b", SUMI_SHAPE (9, 768));
  add_scalar (f, "lora_te_text_model_encoder_layers_0_mlp_fc1", ".alpha", 3);
  add (f, "something", ".else", SUMI_SHAPE (1));
  g_assert_true (sumi_lora_inspect (f->file, &info, &error));
  g_assert_cmpstr (info.dialect, ==, "lycoris");
  g_assert_cmpstr (info.family, ==, "sd15");
  g_assert_cmpuint (info.rank, ==, 9);
  g_assert_cmpfloat (info.alpha, ==, 3);
  g_assert_cmpuint (info.n_modules, ==, 2);
  g_assert_true (info.text_encoder);
  g_assert_cmpuint (info.unknown->len, ==, 1);
  sumi_lora_info_clear (&info);
}

/* Without a model, what the file alone shows is found. */
static void
test_check (Fixture *f, gconstpointer data)
{
  GError *error = NULL;

  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  add (f, CONV, ".hada_t1", SUMI_SHAPE (2, 2, 3, 3));
  add (f, CONV, ".hada_w1_a", SUMI_SHAPE (2, 8));
  add (f, CONV, ".hada_w1_b", SUMI_SHAPE (2, 6));
  add (f, CONV, ".hada_t2", SUMI_SHAPE (2, 2, 3, 3));
  add (f, CONV, ".hada_w2_a", SUMI_SHAPE (2, 8));
  add (f, CONV, ".hada_w2_b", SUMI_SHAPE (2, 6));
  add (f, "lora_unet_a", ".lokr_w1", SUMI_SHAPE (2, 3));
  add (f, "lora_unet_a", ".lokr_w2_a", SUMI_SHAPE (4, 2));
  add (f, "lora_unet_a", ".lokr_w2_b", SUMI_SHAPE (2, 18));
  add (f, "lora_unet_b", ".oft_blocks", SUMI_SHAPE (2, 4, 2, 2));
  add (f, "lora_unet_c", ".oft_R.weight", SUMI_SHAPE (3, 6));
  add (f, "lora_unet_d", ".a1.weight", SUMI_SHAPE (2, 12));
  add (f, "lora_unet_d", ".a2.weight", SUMI_SHAPE (12, 2));
  add (f, "lora_unet_d", ".b1.weight", SUMI_SHAPE (2, 12));
  add (f, "lora_unet_d", ".b2.weight", SUMI_SHAPE (20, 2));
  add (f, "lora_unet_e", ".weight", SUMI_SHAPE (1, 12, 1, 1));
  add_scalar (f, "lora_unet_e", ".on_input", 1);
  add (f, NORM, ".w_norm", SUMI_SHAPE (6));
  add (f, NORM, ".b_norm", SUMI_SHAPE (6));
  g_assert_true (sumi_lora_check (f->file, &error));
  g_assert_no_error (error);

  add (f, "lora_unet_f", ".lora_up.weight", SUMI_SHAPE (8, 2));
  g_assert_false (sumi_lora_check (f->file, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
  g_clear_error (&error);
  add (f, "lora_unet_f", ".lora_down.weight", SUMI_SHAPE (3, 12));
  g_assert_false (sumi_lora_check (f->file, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_clear_error (&error);
  pair (f, LINEAR, SUMI_SHAPE (2, 12), SUMI_SHAPE (8, 2));
  sumi_tensor_poke_f32 (sumi_tensor_map_peek (f->file, LINEAR ".lora_up.weight"))[0] = INFINITY;
  g_assert_false (sumi_lora_check (f->file, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE);
  g_clear_error (&error);
}

int
main (int argc, char **argv)
{
  static const struct
  {
    const char *path;
    void (*test) (Fixture *, gconstpointer);
  } tests[] = {
    { "/lora/spellings", test_spellings },
    { "/lora/second-text-encoder", test_second_text_encoder },
    { "/lora/peft-metadata", test_peft_metadata },
    { "/lora/refused/shapes", test_shapes },
    { "/lora/refused/missing", test_missing },
    { "/lora/refused/values", test_values },
    { "/lora/refused/doubles", test_doubles },
    { "/lora/refused/families", test_families },
    { "/lora/refused/no-adapter", test_no_adapter },
    { "/lora/unmatched", test_unmatched },
    { "/lora/embeddings", test_embeddings },
    { "/lora/stack/sum", test_stack_sum },
    { "/lora/stack/order", test_stack_order },
    { "/lora/stack/off", test_stack_off },
    { "/lora/stack/half", test_stack_half },
    { "/lora/stack/overflow", test_stack_overflow },
    { "/lora/large", test_large },
    { "/lora/inspect", test_inspect },
    { "/lora/check", test_check },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, fixture_init, tests[i].test, fixture_clear);
  return g_test_run ();
}
