/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A model of a few random weights, and adapters for it made in memory. */
#pragma once

#include <string.h>

#include "base/rng.h"
#include "nn/lora.h"

#define LINEAR "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"     /* (8,12) */
#define TO_OUT "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0" /* (12,8) and a bias */
#define CONV "unet.down_blocks.0.resnets.0.conv1"                                    /* (8,6,3,3) and a bias */
#define PROJ "unet.down_blocks.0.attentions.0.proj_in"                               /* (8,6,1,1) */
#define NORM "unet.down_blocks.0.resnets.0.norm1"                                    /* (6) and a bias */
#define TEXT "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"             /* (8,8) and a bias */

typedef struct
{
  SumiRng rng;
  SumiTensorMap *weights, *file;
  SumiLoraTargets *targets;
} Fixture;

static inline SumiTensor *
random_tensor (Fixture *f, SumiShape shape)
{
  GError *error = NULL;
  SumiTensor *t = sumi_tensor_new (SUMI_F32, &shape, &error);

  g_assert_no_error (error);
  sumi_rng_normal (&f->rng, sumi_tensor_poke_f32 (t), (gsize)sumi_tensor_get_numel (t));
  return t;
}

/* Adds a random tensor to the adapter's file; its values. */
static inline const float *
add (Fixture *f, const char *module, const char *part, SumiShape shape)
{
  g_autofree char *key = g_strconcat (module, part, NULL);
  SumiTensor *t = random_tensor (f, shape);

  sumi_tensor_map_take (f->file, key, t);
  return sumi_tensor_peek_f32 (t);
}

static inline void
add_scalar (Fixture *f, const char *module, const char *part, float value)
{
  g_autofree char *key = g_strconcat (module, part, NULL);

  sumi_tensor_map_take (f->file, key, sumi_tensor_new_f32 (&SUMI_SCALAR, &value, NULL));
}

static inline void
add_weight (Fixture *f, const char *module, const char *part, SumiShape shape)
{
  g_autofree char *key = g_strconcat (module, part, NULL);

  sumi_tensor_map_take (f->weights, key, random_tensor (f, shape));
}

/* Spells the names of the weights there are now. */
static inline void
fixture_new_targets (Fixture *f, const char *family)
{
  const SumiUnetConfig unet
      = { .n_levels = 4, .layers_per_block = 2, .cross_attention_dim = 12, .attention = { TRUE, TRUE, TRUE, FALSE } };

  g_clear_pointer (&f->targets, sumi_lora_targets_free);
  f->targets = sumi_lora_targets_new (f->weights, &unet, family);
}

static inline void
fixture_init (Fixture *f, gconstpointer data)
{
  sumi_rng_seed (&f->rng, SUMI_RNG_TORCH, 7);
  f->weights = sumi_tensor_map_new ();
  add_weight (f, LINEAR, ".weight", SUMI_SHAPE (8, 12));
  add_weight (f, TO_OUT, ".weight", SUMI_SHAPE (12, 8));
  add_weight (f, TO_OUT, ".bias", SUMI_SHAPE (12));
  add_weight (f, CONV, ".weight", SUMI_SHAPE (8, 6, 3, 3));
  add_weight (f, CONV, ".bias", SUMI_SHAPE (8));
  add_weight (f, PROJ, ".weight", SUMI_SHAPE (8, 6, 1, 1));
  add_weight (f, NORM, ".weight", SUMI_SHAPE (6));
  add_weight (f, NORM, ".bias", SUMI_SHAPE (6));
  add_weight (f, TEXT, ".weight", SUMI_SHAPE (8, 8));
  add_weight (f, TEXT, ".bias", SUMI_SHAPE (8));
  fixture_new_targets (f, "sd15");
  f->file = sumi_tensor_map_new ();
}

static inline void
fixture_clear (Fixture *f, gconstpointer data)
{
  sumi_lora_targets_free (f->targets);
  sumi_tensor_map_unref (f->weights);
  sumi_tensor_map_unref (f->file);
}

static inline void
fixture_new_file (Fixture *f)
{
  sumi_tensor_map_unref (f->file);
  f->file = sumi_tensor_map_new ();
}

/* The file as an adapter; every key must have been of use. */
static inline SumiLora *
load (Fixture *f)
{
  GError *error = NULL;
  SumiLora *l = sumi_lora_new (f->targets, f->file, "test", &error);

  g_assert_no_error (error);
  g_assert_cmpuint (sumi_lora_peek_unmatched (l)->len, ==, 0);
  return l;
}

static inline const float *
weight (Fixture *f, const char *parameter)
{
  return sumi_tensor_peek_f32 (sumi_tensor_map_peek (f->weights, parameter));
}
