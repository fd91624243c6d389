/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The networks at their true sizes: built, never run, and their parameters counted against the published numbers. */
#include "golden.h"

#include <string.h>

#include "nn/networks.h"

#define SD1                                                                                                            \
  "'_class_name':'UNet2DConditionModel','in_channels':4,'out_channels':4,'block_out_channels':[320,640,1280,1280],"    \
  "'down_block_types':['CrossAttnDownBlock2D','CrossAttnDownBlock2D','CrossAttnDownBlock2D','DownBlock2D'],"           \
  "'up_block_types':['UpBlock2D','CrossAttnUpBlock2D','CrossAttnUpBlock2D','CrossAttnUpBlock2D'],"
#define SDXL                                                                                                           \
  "'_class_name':'UNet2DConditionModel','in_channels':4,'out_channels':4,'block_out_channels':[320,640,1280],"         \
  "'down_block_types':['DownBlock2D','CrossAttnDownBlock2D','CrossAttnDownBlock2D'],"                                  \
  "'up_block_types':['CrossAttnUpBlock2D','CrossAttnUpBlock2D','UpBlock2D'],'attention_head_dim':[5,10,20],"           \
  "'cross_attention_dim':2048,'use_linear_projection':true,'transformer_layers_per_block':[1,2,10],"                   \
  "'addition_embed_type':'text_time','addition_time_embed_dim':256,'projection_class_embeddings_input_dim':2816"
#define REFINER                                                                                                        \
  "'_class_name':'UNet2DConditionModel','in_channels':4,'out_channels':4,'block_out_channels':[384,768,1536,1536],"    \
  "'down_block_types':['DownBlock2D','CrossAttnDownBlock2D','CrossAttnDownBlock2D','DownBlock2D'],"                    \
  "'up_block_types':['UpBlock2D','CrossAttnUpBlock2D','CrossAttnUpBlock2D','UpBlock2D'],"                              \
  "'attention_head_dim':[6,12,24,24],'cross_attention_dim':1280,'use_linear_projection':true,"                         \
  "'transformer_layers_per_block':4,'addition_embed_type':'text_time','addition_time_embed_dim':256,"                  \
  "'projection_class_embeddings_input_dim':2560"
#define VAE                                                                                                            \
  "'_class_name':'AutoencoderKL','in_channels':3,'out_channels':3,'block_out_channels':[128,256,512,512],"             \
  "'down_block_types':['DownEncoderBlock2D','DownEncoderBlock2D','DownEncoderBlock2D','DownEncoderBlock2D'],"          \
  "'up_block_types':['UpDecoderBlock2D','UpDecoderBlock2D','UpDecoderBlock2D','UpDecoderBlock2D'],"                    \
  "'layers_per_block':2,'latents_mean':null,'shift_factor':null"
#define TEXT(width, wide, heads, layers, more)                                                                         \
  "'vocab_size':49408,'hidden_size':" width ",'intermediate_size':" wide ",'num_attention_heads':" heads               \
  ",'num_hidden_layers':" layers "," more

/* The object of "'a':1" */
static JsonObject *
config (const char *text)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GString) object = g_string_new (NULL);
  GError *error = NULL;

  g_string_printf (object, "{%s}", text);
  g_string_replace (object, "'", "\"", 0);
  json_parser_load_from_data (parser, object->str, -1, &error);
  g_assert_no_error (error);
  return json_object_ref (json_node_get_object (json_parser_get_root (parser)));
}

static SumiNode *
real (SumiModule *m, const char *name, SumiShape shape)
{
  return sumi_input (m->graph, name, SUMI_REAL, &shape);
}

static void
build_unet (SumiModule *m, JsonObject *json)
{
  SumiUnetConfig c;
  SumiUnetConditioning in = { NULL };
  SumiNode *out;
  GError *error = NULL;

  sumi_unet_config_parse (json, &c, &error);
  g_assert_no_error (error);
  in.encoder_hidden_states = real (m, "states", SUMI_SHAPE (2, 77, c.cross_attention_dim));
  if (c.addition_time_embed_dim > 0)
    {
      gint64 k = c.addition_embed_dim == 2816 ? 6 : 5;

      in.text_embeds = real (m, "text_embeds", SUMI_SHAPE (2, 1280));
      in.time_ids = real (m, "time_ids", SUMI_SHAPE (2, k));
    }
  if (c.time_cond_proj_dim > 0)
    in.timestep_cond = real (m, "timestep_cond", SUMI_SHAPE (2, c.time_cond_proj_dim));
  out = sumi_unet (m, &c, real (m, "x", SUMI_SHAPE (2, c.in_channels, 64, 64)), real (m, "t", SUMI_SHAPE (2)), &in);
  g_assert_true (sumi_shape_equal (&out->shape, &SUMI_SHAPE (2, 4, 64, 64)));
}

static void
build_vae (SumiModule *m, JsonObject *json)
{
  SumiVaeConfig c;
  SumiNode *out;
  GError *error = NULL;

  sumi_vae_config_parse (json, &c, &error);
  g_assert_no_error (error);
  out = sumi_vae_encoder (m, &c, real (m, "image", SUMI_SHAPE (1, 3, 512, 768)));
  g_assert_true (sumi_shape_equal (&out->shape, &SUMI_SHAPE (1, 8, 64, 96)));
  out = sumi_vae_decoder (m, &c, real (m, "latents", SUMI_SHAPE (1, 4, 64, 96)));
  g_assert_true (sumi_shape_equal (&out->shape, &SUMI_SHAPE (1, 3, 512, 768)));
}

/* With the table of the tokens beside it, which the caller holds. */
static void
build_text (SumiModule *m, JsonObject *json)
{
  SumiTextConfig c;
  SumiNode *state, *pooled, *table;
  GError *error = NULL;

  sumi_text_config_parse (json, &c, &error);
  g_assert_no_error (error);
  table = sumi_module_param (m, "text_model.embeddings.token_embedding.weight",
                             &SUMI_SHAPE (c.vocab_size, c.hidden_size), (SumiInit){ SUMI_INIT_ZEROS, 0 });
  state = sumi_text_encoder_from_tokens (
      m, &c, sumi_embedding (m->graph, table, sumi_input (m->graph, "ids", SUMI_INDEX, &SUMI_SHAPE (2, 77))),
      &(SumiTextOutputs){ 1, FALSE, sumi_input (m->graph, "end", SUMI_INDEX, &SUMI_SHAPE (2)) }, &pooled);
  g_assert_true (sumi_shape_equal (&state->shape, &SUMI_SHAPE (2, 77, c.hidden_size)));
  g_assert_true (
      sumi_shape_equal (&pooled->shape, &SUMI_SHAPE (2, c.projection_dim > 0 ? c.projection_dim : c.hidden_size)));
}

/* The counts are those of the checkpoints: what sum (p.numel () for p in model.parameters ()) says of diffusers' and
 * transformers' models made from these configurations (the refiner's alone is only our own sum). */
static const struct
{
  const char *name;
  void (*build) (SumiModule *m, JsonObject *json);
  const char *config;
  gint64 n_parameters;
} networks[] = {
  { "unet-sd15", build_unet, SD1 "'attention_head_dim':8,'cross_attention_dim':768", 859520964 },
  { "unet-inpaint", build_unet, SD1 "'attention_head_dim':8,'cross_attention_dim':768,'in_channels':9", 859535364 },
  { "unet-lcm", build_unet, SD1 "'attention_head_dim':8,'cross_attention_dim':768,'time_cond_proj_dim':256",
    859602884 },
  { "unet-sd21", build_unet,
    SD1 "'attention_head_dim':[5,10,20,20],'cross_attention_dim':1024,'use_linear_projection':true", 865910724 },
  { "unet-sdxl", build_unet, SDXL, 2567463684 },
  { "vae", build_vae, VAE, 83653863 },
  { "clip-l", build_text, TEXT ("768", "3072", "12", "12", "'hidden_act':'quick_gelu'"), 123060480 },
  { "openclip-h", build_text, TEXT ("1024", "4096", "16", "23", "'hidden_act':'gelu'"), 340387840 },
  { "openclip-bigg", build_text,
    TEXT ("1280", "5120", "20", "32",
          "'hidden_act':'gelu','projection_dim':1280,'architectures':['CLIPTextModelWithProjection']"),
    694659840 },
  { "unet-refiner", build_unet, REFINER, 2259526660 },
};

static void
test_count (gconstpointer data)
{
  guint which = GPOINTER_TO_UINT (data);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (JsonObject) json = config (networks[which].config);
  gint64 n = 0;
  GError *error = NULL;

  networks[which].build (m, json);
  sumi_graph_check (g, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < m->params->len; i++)
    n += sumi_shape_numel (&g_array_index (m->params, SumiModuleParam, i).node->shape);
  g_assert_cmpint (n, ==, networks[which].n_parameters);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (networks); i++)
    {
      g_autofree char *name = g_strconcat ("/full-size/", networks[i].name, NULL);

      g_test_add_data_func (name, GUINT_TO_POINTER (i), test_count);
    }
  return g_test_run ();
}
