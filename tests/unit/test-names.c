/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The two spellings of parameter names: one to one over all parameters of the networks there are. */
#include "nn/names.h"

/* Every parameter has a name in the other spelling, its own one, and comes back from there. */
static void
assert_bijective (SumiModule *m, const SumiUnetConfig *unet, guint vae_levels)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  g_assert_cmpuint (m->params->len, >, 100);
  for (guint i = 0; i < m->params->len; i++)
    {
      const char *name = g_array_index (m->params, SumiModuleParam, i).node->name;
      char *ldm = unet != NULL ? sumi_names_unet_to_ldm (unet, name) : sumi_names_vae_to_ldm (vae_levels, name);
      g_autofree char *back = NULL;

      if (ldm == NULL)
        g_test_message ("%s", name);
      g_assert_nonnull (ldm);
      back = unet != NULL ? sumi_names_unet_from_ldm (unet, ldm) : sumi_names_vae_from_ldm (vae_levels, ldm);
      g_assert_cmpstr (back, ==, name);
      g_assert_true (g_hash_table_add (seen, ldm));
    }
}

#define SD1                                                                                                            \
  {                                                                                                                    \
    .in_channels = 4, .out_channels = 4, .n_levels = 4, .block_out_channels = { 320, 640, 1280, 1280 },                \
    .layers_per_block = 2, .norm_num_groups = 32, .norm_eps = 1e-5, .attention = { TRUE, TRUE, TRUE, FALSE },          \
    .heads = { 8, 8, 8, 8 }, .cross_attention_dim = 768,                                                               \
    .transformer_layers                                                                                                \
        = { 1,                                                                                                         \
            1,                                                                                                         \
            1,                                                                                                         \
            1 }                                                                                                        \
  }
#define SDXL                                                                                                           \
  {                                                                                                                    \
    .in_channels = 4, .out_channels = 4, .n_levels = 3, .block_out_channels = { 320, 640, 1280 },                      \
    .layers_per_block = 2, .norm_num_groups = 32, .norm_eps = 1e-5, .attention = { FALSE, TRUE, TRUE },                \
    .heads = { 5, 10, 20 }, .cross_attention_dim = 2048, .transformer_layers = { 0, 2, 10 },                           \
    .use_linear_projection = TRUE, .addition_time_embed_dim = 256, .addition_embed_dim = 2816                          \
  }
#define REFINER                                                                                                        \
  {                                                                                                                    \
    .in_channels = 4, .out_channels = 4, .n_levels = 4, .block_out_channels = { 384, 768, 1536, 1536 },                \
    .layers_per_block = 2, .norm_num_groups = 32, .norm_eps = 1e-5, .attention = { FALSE, TRUE, TRUE, FALSE },         \
    .heads = { 6, 12, 24, 24 }, .cross_attention_dim = 1280, .transformer_layers = { 4, 4, 4, 4 },                     \
    .use_linear_projection = TRUE, .addition_time_embed_dim = 256, .addition_embed_dim = 2560                          \
  }
/* as no published model is: one layer, attention in the last level only, LCM and a class embedding */
#define ODD                                                                                                            \
  {                                                                                                                    \
    .in_channels = 9, .out_channels = 4, .n_levels = 3, .block_out_channels = { 8, 16, 16 }, .layers_per_block = 1,    \
    .norm_num_groups = 4, .norm_eps = 1e-5, .attention = { FALSE, FALSE, TRUE }, .heads = { 2, 2, 2 },                 \
    .cross_attention_dim = 8, .transformer_layers = { 1, 1, 2 }, .projection_class_embeddings_input_dim = 24,          \
    .time_cond_proj_dim = 16                                                                                           \
  }

static const SumiUnetConfig sd1 = SD1, sdxl = SDXL, refiner = REFINER, odd = ODD;

static void
test_unet (gconstpointer data)
{
  const SumiUnetConfig *c = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiUnetConditioning conditioning
      = { .encoder_hidden_states = sumi_input (g, "states", SUMI_REAL, &SUMI_SHAPE (1, 77, c->cross_attention_dim)) };
  gint64 classes = c->projection_class_embeddings_input_dim, n_ids = c == &refiner ? 5 : 6;

  if (classes > 0)
    conditioning.class_labels = sumi_input (g, "labels", SUMI_REAL, &SUMI_SHAPE (1, classes));
  if (c->time_cond_proj_dim > 0)
    conditioning.timestep_cond = sumi_input (g, "cond", SUMI_REAL, &SUMI_SHAPE (1, c->time_cond_proj_dim));
  if (c->addition_time_embed_dim > 0)
    {
      gint64 width = c->addition_embed_dim - n_ids * c->addition_time_embed_dim;

      conditioning.time_ids = sumi_input (g, "ids", SUMI_REAL, &SUMI_SHAPE (1, n_ids));
      conditioning.text_embeds = sumi_input (g, "text", SUMI_REAL, &SUMI_SHAPE (1, width));
    }
  sumi_unet (m, c, sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (1, c->in_channels, 16, 16)),
             sumi_input (g, "t", SUMI_REAL, &SUMI_SHAPE (1)), &conditioning);
  sumi_graph_check (g, &error);
  g_assert_no_error (error);
  assert_bijective (m, c, 0);
}

static void
test_vae (void)
{
  for (guint levels = 1; levels <= 4; levels++)
    {
      const SumiVaeConfig c = { .in_channels = 3,
                                .out_channels = 3,
                                .latent_channels = 4,
                                .n_levels = levels,
                                .block_out_channels = { 16, 32, 64, 64 },
                                .layers_per_block = 2,
                                .norm_num_groups = 8,
                                .mid_attention = TRUE,
                                .quant_conv = TRUE,
                                .post_quant_conv = TRUE,
                                .scaling_factor = 1 };
      g_autoptr (GError) error = NULL;
      g_autoptr (SumiGraph) g = sumi_graph_new ();
      g_autoptr (SumiModule) m = sumi_module_new (g);

      sumi_vae_encoder (m, &c, sumi_input (g, "image", SUMI_REAL, &SUMI_SHAPE (1, 3, 16, 16)));
      sumi_vae_decoder (m, &c, sumi_input (g, "latents", SUMI_REAL, &SUMI_SHAPE (1, 4, 2, 2)));
      sumi_graph_check (g, &error);
      g_assert_no_error (error);
      if (levels > 1) /* one level has few parameters */
        assert_bijective (m, NULL, levels);
    }
}

/* By hand, from checkpoints people have. */
static void
test_known (void)
{
  static const struct
  {
    const SumiUnetConfig *c; /* NULL: an auto-encoder of four levels */
    const char *diffusers, *ldm;
  } rows[] = {
    { &sd1, "conv_in.weight", "input_blocks.0.0.weight" },
    { &sd1, "time_embedding.linear_2.bias", "time_embed.2.bias" },
    { &sd1, "down_blocks.1.attentions.0.proj_in.weight", "input_blocks.4.1.proj_in.weight" },
    { &sd1, "down_blocks.2.downsamplers.0.conv.bias", "input_blocks.9.0.op.bias" },
    { &sd1, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
      "middle_block.1.transformer_blocks.0.attn2.to_k.weight" },
    { &sd1, "up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight" },
    { &sd1, "up_blocks.1.upsamplers.0.conv.weight", "output_blocks.5.2.conv.weight" },
    { &sd1, "up_blocks.3.resnets.2.conv_shortcut.weight", "output_blocks.11.0.skip_connection.weight" },
    { &sd1, "conv_norm_out.weight", "out.0.weight" },
    { &sdxl, "down_blocks.2.attentions.1.transformer_blocks.9.ff.net.0.proj.weight",
      "input_blocks.8.1.transformer_blocks.9.ff.net.0.proj.weight" },
    { &sdxl, "up_blocks.1.upsamplers.0.conv.weight", "output_blocks.5.2.conv.weight" },
    { &sdxl, "add_embedding.linear_2.weight", "label_emb.0.2.weight" },
    { &sdxl, "down_blocks.2.attentions.1", "input_blocks.8.1" }, /* a module */
    { &odd, "class_embedding.linear_1.weight", "label_emb.0.0.weight" },
    { &odd, "time_embedding.cond_proj.weight", "time_embedding.cond_proj.weight" },
    { NULL, "decoder.up_blocks.0.resnets.1.conv1.weight", "decoder.up.3.block.1.conv1.weight" },
    { NULL, "decoder.up_blocks.2.upsamplers.0.conv.bias", "decoder.up.1.upsample.conv.bias" },
    { NULL, "encoder.down_blocks.1.resnets.0.conv_shortcut.weight", "encoder.down.1.block.0.nin_shortcut.weight" },
    { NULL, "encoder.mid_block.attentions.0.to_out.0.weight", "encoder.mid.attn_1.proj_out.weight" },
    { NULL, "decoder.conv_norm_out.bias", "decoder.norm_out.bias" },
    { NULL, "post_quant_conv.weight", "post_quant_conv.weight" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      const SumiUnetConfig *c = rows[i].c;
      g_autofree char *to
          = c != NULL ? sumi_names_unet_to_ldm (c, rows[i].diffusers) : sumi_names_vae_to_ldm (4, rows[i].diffusers);
      g_autofree char *from
          = c != NULL ? sumi_names_unet_from_ldm (c, rows[i].ldm) : sumi_names_vae_from_ldm (4, rows[i].ldm);

      g_assert_cmpstr (to, ==, rows[i].ldm);
      g_assert_cmpstr (from, ==, rows[i].diffusers);
    }
}

/* Names of other networks, of blocks there are not, and of nothing. */
static void
test_foreign (void)
{
  static const char *const diffusers[] = { "",
                                           "x",
                                           "conv_in2.weight",
                                           "down_blocks",
                                           "down_blocks.",
                                           "down_blocks.4.resnets.0.norm1.weight",
                                           "down_blocks.0.resnets.2.norm1.weight",
                                           "down_blocks.00.resnets.0.norm1.weight",
                                           "down_blocks.-1.resnets.0.norm1.weight",
                                           "down_blocks.99999999999999999999.resnets.0.norm1.weight",
                                           "down_blocks.3.attentions.0.proj_in.weight",
                                           "down_blocks.3.downsamplers.0.conv.weight",
                                           "down_blocks.0.resnets.0.norm3.weight",
                                           "up_blocks.0.attentions.0.proj_in.weight",
                                           "up_blocks.3.upsamplers.0.conv.weight",
                                           "up_blocks.0.resnets.3.norm1.weight",
                                           "mid_block.resnets.2.norm1.weight",
                                           "add_embedding.linear_1.weight",
                                           "text_model.embeddings.token_embedding.weight" };
  static const char *const ldm[] = { "",
                                     "x",
                                     "input_blocks.12.0.in_layers.0.weight",
                                     "input_blocks.0.1.weight",
                                     "input_blocks.10.1.proj_in.weight",
                                     "input_blocks.3.0.in_layers.0.weight",
                                     "input_blocks.3.1.op.weight",
                                     "output_blocks.0.1.proj_in.weight",
                                     "output_blocks.2.2.conv.weight",
                                     "output_blocks.11.2.conv.weight",
                                     "output_blocks.12.0.in_layers.0.weight",
                                     "middle_block.3.in_layers.0.weight",
                                     "label_emb.0.0.weight",
                                     "out.1.weight" };

  for (guint i = 0; i < G_N_ELEMENTS (diffusers); i++)
    {
      g_assert_cmpstr (sumi_names_unet_to_ldm (&sd1, diffusers[i]), ==, NULL);
      g_assert_cmpstr (sumi_names_vae_to_ldm (4, diffusers[i]), ==, NULL);
    }
  for (guint i = 0; i < G_N_ELEMENTS (ldm); i++)
    {
      g_assert_cmpstr (sumi_names_unet_from_ldm (&sd1, ldm[i]), ==, NULL);
      g_assert_cmpstr (sumi_names_vae_from_ldm (4, ldm[i]), ==, NULL);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/names/unet/sd1", &sd1, test_unet);
  g_test_add_data_func ("/names/unet/sdxl", &sdxl, test_unet);
  g_test_add_data_func ("/names/unet/refiner", &refiner, test_unet);
  g_test_add_data_func ("/names/unet/odd", &odd, test_unet);
  g_test_add_func ("/names/vae", test_vae);
  g_test_add_func ("/names/known", test_known);
  g_test_add_func ("/names/foreign", test_foreign);
  return g_test_run ();
}
