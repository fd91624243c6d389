/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Adapters as lists of keys and shapes, matched to a model of a few weights, and merged into it.  A line is
 *   KEY [DTYPE] [DIMENSION…]     a tensor of random values
 *   @KEY VALUE                   metadata */
#include "fuzz.h"

#include <string.h>

#include "base/rng.h"
#include "nn/lora.h"

#define MAX_VALUES 4096
#define ATTENTION "unet.down_blocks.0.attentions.0."
#define BLOCK ATTENTION "transformer_blocks.0."
#define TEXT "text_encoder.text_model.encoder.layers.0.self_attn."

const char *fuzz_outcome;

const char *const fuzz_tokens[]
    = { BLOCK "attn1.to_q",
        BLOCK "attn1.to_out.0",
        "unet.down_blocks.0.resnets.0.conv1",
        "unet.down_blocks.0.resnets.0.norm1",
        ATTENTION "proj_in",
        TEXT "q_proj",
        "lora_unet_input_blocks_1_0_in_layers_2",
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        "unet:0:down 2 12\n",
        "unet:0:up 8 2\n",
        "text_encoder:0:up 8 2\n",
        ".lora_down.weight 2 12\n",
        ".lora_up.weight 8 2\n",
        ".lora_mid.weight 2 2 3 3\n",
        ".alpha\n",
        ".dora_scale 8 1\n",
        ".dora_scale 1 12\n",
        ".lora_magnitude_vector 8\n",
        ".lora_A.default.weight F16 2 12\n",
        ".lora.up.weight 8 2\n",
        "_lora.down.weight 2 12\n",
        ".hada_w1_a 8 2\n",
        ".hada_w1_b 2 12\n",
        ".hada_w2_a 8 2\n",
        ".hada_w2_b 2 12\n",
        ".hada_t1 2 2 3 3\n",
        ".lokr_w1 2 3\n",
        ".lokr_w1_a 2 2\n",
        ".lokr_w1_b 2 3\n",
        ".lokr_w2 4 4\n",
        ".lokr_w2_a 4 2\n",
        ".lokr_w2_b 2 4\n",
        ".lokr_t2 2 2 3 3\n",
        ".a1.weight 12 2\n",
        ".a2.weight 2 12\n",
        ".b1.weight 8 2\n",
        ".b2.weight 2 12\n",
        ".bm.weight 2 2 3 3\n",
        ".oft_blocks 2 4 4\n",
        ".oft_blocks 2 4 2 2\n",
        ".oft_diag 2 4 4\n",
        ".oft_R.weight 3 6\n",
        ".oft_R.scaled_oft\n",
        ".rescale 8 1\n",
        ".weight 8\n",
        ".on_input BOOL\n",
        ".diff 8 12\n",
        ".diff_b 8\n",
        ".set_weight 8 12\n",
        ".w_norm 6\n",
        ".b_norm 6\n",
        "bundle_emb.a.clip_l 2 12\n",
        "@ss_base_model_version sd_v1\n",
        "@modelspec.architecture stable-diffusion-xl-v1-base/lora\n",
        "@lora_adapter_metadata {\"unet.lora_alpha\": 3, \"unet.alpha_pattern\": {\"to_q\": 1}}\n",
        "@unet [\"CrossAttention\", \"GEGLU\", \"ResnetBlock2D\"]\n",
        "@<a> <embed>\n<a> 12\n",
        " 0",
        " 1",
        " 4611686018427387904",
        " I32",
        " BF16",
        ".",
        "\n",
        NULL };

void
fuzz_repair (GByteArray *input)
{
}

/* ---- the file ---- */

static SumiTensor *
make_tensor (char **words, SumiRng *rng)
{
  SumiDType dtype = SUMI_F32;
  SumiShape shape = SUMI_SCALAR;
  g_autoptr (SumiTensor) values = NULL;
  gint64 numel;

  if (words[0] != NULL && sumi_dtype_from_name (words[0], &dtype))
    words++;
  for (; *words != NULL && shape.rank < SUMI_MAX_RANK; words++)
    if (!g_ascii_string_to_signed (*words, 10, 0, G_MAXINT64, &shape.d[shape.rank++], NULL))
      return NULL;
  if (!sumi_shape_checked_numel (&shape, &numel) || numel > MAX_VALUES)
    return NULL;
  values = sumi_tensor_new (SUMI_F32, &shape, NULL);
  if (values != NULL && numel > 0)
    sumi_rng_normal (rng, sumi_tensor_poke_f32 (values), (gsize)numel);
  return values != NULL ? sumi_tensor_cast (values, dtype, NULL) : NULL;
}

static SumiTensorMap *
read_file (const guint8 *data, gsize size)
{
  g_autofree char *text = g_utf8_make_valid ((const char *)data, (gssize)size);
  g_auto (GStrv) lines = g_strsplit (text, "\n", 64);
  SumiTensorMap *file = sumi_tensor_map_new ();
  SumiRng rng;

  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 1);
  for (guint i = 0; lines[i] != NULL; i++)
    {
      g_auto (GStrv) words = g_strsplit (lines[i], " ", lines[i][0] == '@' ? 2 : 12);
      SumiTensor *t;

      if (words[0] == NULL || words[0][0] == '\0')
        continue;
      if (words[0][0] == '@')
        sumi_tensor_map_set_metadata (file, words[0] + 1, words[1] != NULL ? words[1] : "");
      else if ((t = make_tensor (words + 1, &rng)) != NULL)
        sumi_tensor_map_take (file, words[0], t);
    }
  return file;
}

/* ---- the model ---- */

static SumiTensorMap *
the_weights (void)
{
  static const struct
  {
    const char *name;
    SumiShape shape;
  } params[] = {
    { BLOCK "attn1.to_q.weight", { 2, { 8, 12 } } },
    { BLOCK "attn1.to_out.0.weight", { 2, { 12, 8 } } },
    { BLOCK "attn1.to_out.0.bias", { 1, { 12 } } },
    { BLOCK "norm1.weight", { 1, { 8 } } },
    { ATTENTION "proj_in.weight", { 4, { 8, 6, 1, 1 } } },
    { "unet.down_blocks.0.resnets.0.conv1.weight", { 4, { 8, 6, 3, 3 } } },
    { "unet.down_blocks.0.resnets.0.conv1.bias", { 1, { 8 } } },
    { "unet.down_blocks.0.resnets.0.norm1.weight", { 1, { 6 } } },
    { "unet.down_blocks.0.resnets.0.norm1.bias", { 1, { 6 } } },
    { "unet.down_blocks.1.resnets.0.conv1.weight", { 4, { 8, 0, 3, 3 } } },
    { TEXT "k_proj.weight", { 2, { 8, 8 } } },
    { TEXT "q_proj.weight", { 2, { 8, 8 } } },
    { TEXT "q_proj.bias", { 1, { 8 } } },
  };
  static SumiTensorMap *weights;
  SumiRng rng;

  if (weights != NULL)
    return weights;
  weights = sumi_tensor_map_new ();
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 2);
  for (guint i = 0; i < G_N_ELEMENTS (params); i++)
    {
      SumiTensor *t = sumi_tensor_new (SUMI_F32, &params[i].shape, NULL);

      sumi_rng_normal (&rng, sumi_tensor_poke_f32 (t), (gsize)sumi_tensor_get_numel (t));
      sumi_tensor_map_take (weights, params[i].name, t);
    }
  return weights;
}

static SumiLoraTargets *
the_targets (void)
{
  static SumiLoraTargets *targets;
  const SumiUnetConfig unet
      = { .n_levels = 4, .layers_per_block = 2, .cross_attention_dim = 12, .attention = { TRUE, TRUE, TRUE, FALSE } };

  if (targets == NULL)
    targets = sumi_lora_targets_new (the_weights (), &unet, "sd15");
  return targets;
}

/* ---- the promises ---- */

static void
check_file (const SumiTensorMap *file)
{
  g_autoptr (GError) error = NULL, wrong = NULL;
  SumiLoraInfo info;

  if (sumi_lora_inspect (file, &info, &error))
    {
      g_assert_cmpuint (info.n_modules, >, 0);
      g_assert_nonnull (info.dialect);
    }
  else
    g_assert_nonnull (error);
  sumi_lora_info_clear (&info);
  g_assert_true (sumi_lora_check (file, &wrong) == (wrong == NULL));
}

/* Every change has its parameter's shape, and a stack with strength 0 is the model. */
static void
check_changes (SumiLora *l)
{
  g_autoptr (SumiLoraStack) on = sumi_lora_stack_new (the_weights ()), off = sumi_lora_stack_new (the_weights ());

  sumi_lora_stack_add (on, l, 0.5, -1);
  sumi_lora_stack_add (on, l, 1, 1);
  sumi_lora_stack_add (off, l, 0, 0);
  for (guint i = 0; i < sumi_lora_get_n_changes (l); i++)
    {
      const char *name = sumi_lora_get_change (l, i);
      SumiTensor *w = sumi_tensor_map_peek (the_weights (), name);
      g_autoptr (GError) error = NULL;
      g_autoptr (SumiTensor) delta = sumi_lora_delta (l, name, NULL), merged = sumi_lora_stack_merge (on, name, &error);
      g_autoptr (SumiTensor) same = sumi_lora_stack_merge (off, name, NULL);

      g_assert_nonnull (w);
      g_assert_true ((merged != NULL) != g_error_matches (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE));
      g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (delta), sumi_tensor_get_shape (w)));
      g_assert_true (same == w);
    }
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (SumiTensorMap) file = read_file (data, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiLora) l = sumi_lora_new (the_targets (), file, "fuzz", &error);

  g_assert_true ((l == NULL) == (error != NULL));
  check_file (file);
  if (l != NULL)
    check_changes (l);
  fuzz_outcome = l != NULL ? "ok" : sumi_error_class (error);
  return 0;
}
