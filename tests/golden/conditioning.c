/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stable Diffusion's networks without reference data: which configurations and inputs are refused, and what reaches the
 * U-Net beside the text. */
#include "golden.h"

#include <math.h>
#include <string.h>

#include "engine/engine.h"
#include "nn/networks.h"

static JsonObject *
object (const char *text)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GString) s = g_string_new (NULL);
  GError *error = NULL;

  g_string_printf (s, "{%s}", text);
  g_string_replace (s, "'", "\"", 0);
  json_parser_load_from_data (parser, s->str, -1, &error);
  g_assert_no_error (error);
  return json_object_ref (json_node_get_object (json_parser_get_root (parser)));
}

/* ---- configurations ---- */

#define VAE "'block_out_channels':[32,64],'layers_per_block':1,'norm_num_groups':8"
#define TEXT "'vocab_size':10,'hidden_size':8,'num_attention_heads':2,'num_hidden_layers':3"
#define UNET                                                                                                           \
  "'_class_name':'UNet2DConditionModel','in_channels':4,'out_channels':4,'block_out_channels':[16,32],"                \
  "'down_block_types':['DownBlock2D','CrossAttnDownBlock2D'],'up_block_types':['CrossAttnUpBlock2D','UpBlock2D'],"     \
  "'cross_attention_dim':8,'attention_head_dim':[2,4],'norm_num_groups':8,'layers_per_block':1,"                       \
  "'use_linear_projection':true"
#define SIZES "'addition_embed_type':'text_time','addition_time_embed_dim':4,'projection_class_embeddings_input_dim':34"

static void
test_vae_config (void)
{
  g_autoptr (JsonObject) json = object (VAE);
  g_autoptr (JsonObject) flux = object (VAE ",'latent_channels':16,'use_quant_conv':false,'use_post_quant_conv':false,"
                                            "'mid_block_add_attention':false,'scaling_factor':0.3611,"
                                            "'shift_factor':0.1159,'latents_mean':null");
  SumiVaeConfig c;
  GError *error = NULL;

  sumi_vae_config_parse (json, &c, &error);
  g_assert_no_error (error);
  g_assert_cmpint (c.latent_channels, ==, 4);
  g_assert_cmpfloat (c.scaling_factor, ==, 0.18215);
  g_assert_cmpfloat (c.shift_factor, ==, 0);
  g_assert_true (c.mid_attention && c.quant_conv && c.post_quant_conv);
  sumi_vae_config_parse (flux, &c, &error);
  g_assert_no_error (error);
  g_assert_cmpint (c.latent_channels, ==, 16);
  g_assert_cmpfloat (c.shift_factor, ==, 0.1159);
  g_assert_false (c.mid_attention || c.quant_conv || c.post_quant_conv);
}

static void
test_text_config (void)
{
  g_autoptr (JsonObject) plain = object (TEXT ",'projection_dim':8,'architectures':['CLIPTextModel']");
  g_autoptr (JsonObject) projected
      = object (TEXT ",'projection_dim':6,'architectures':[3,'CLIPTextModelWithProjection']");
  SumiTextConfig c;
  GError *error = NULL;

  sumi_text_config_parse (plain, &c, &error);
  g_assert_no_error (error);
  g_assert_cmpint (c.projection_dim, ==, 0);
  sumi_text_config_parse (projected, &c, &error);
  g_assert_no_error (error);
  g_assert_cmpint (c.projection_dim, ==, 6);
}

static gboolean
parse_vae (JsonObject *json, GError **error)
{
  SumiVaeConfig c;

  return sumi_vae_config_parse (json, &c, error);
}

static gboolean
parse_text (JsonObject *json, GError **error)
{
  SumiTextConfig c;

  return sumi_text_config_parse (json, &c, error);
}

/* Every refusal names its field. */
static void
test_config_refusals (void)
{
  static const struct
  {
    gboolean (*parse) (JsonObject *json, GError **error);
    const char *text, *field;
  } rows[] = {
    { parse_vae, "'layers_per_block':1", "block_out_channels" },
    { parse_vae, "'block_out_channels':[32,64],'norm_num_groups':8", "layers_per_block" },
    { parse_vae, VAE ",'_class_name':'AutoencoderTiny'", "_class_name" },
    { parse_vae, VAE ",'act_fn':'relu'", "act_fn" },
    { parse_vae, VAE ",'latents_mean':[0,0,0,0]", "latents_mean" },
    { parse_vae, VAE ",'latents_std':[1,1,1,1]", "latents_std" },
    { parse_vae, VAE ",'in_channels':4", "in_channels" },
    { parse_vae, VAE ",'out_channels':1", "out_channels" },
    { parse_vae, VAE ",'latent_channels':33", "latent_channels" },
    { parse_vae, VAE ",'down_block_types':['DownEncoderBlock2D']", "down_block_types" },
    { parse_vae, VAE ",'up_block_types':['UpDecoderBlock2D','AttnUpDecoderBlock2D']", "up_block_types" },
    { parse_vae, VAE ",'norm_num_groups':5", "norm_num_groups" },
    { parse_vae, VAE ",'scaling_factor':0", "scaling_factor" },
    { parse_vae, VAE ",'use_quant_conv':1", "use_quant_conv" },
    { parse_text, TEXT ",'architectures':['CLIPTextModelWithProjection']", "projection_dim" },
    { parse_text, TEXT ",'hidden_act':'relu'", "hidden_act" },
    { parse_text, TEXT ",'num_attention_heads':3", "num_attention_heads" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (JsonObject) json = object (rows[i].text);
      GError *error = NULL;

      g_assert_false (rows[i].parse (json, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
      g_test_message ("%s", error->message);
      g_assert_true (g_str_has_prefix (error->message, rows[i].field));
      g_clear_error (&error);
    }
}

/* ---- inputs of other shapes ---- */

static SumiNode *
real (SumiModule *m, const char *name, SumiShape shape)
{
  return sumi_input (m->graph, name, SUMI_REAL, &shape);
}

static SumiNode *
unet (SumiModule *m, const char *text, SumiUnetConditioning in)
{
  g_autoptr (JsonObject) json = object (text);
  SumiUnetConfig c;
  GError *error = NULL;

  sumi_unet_config_parse (json, &c, &error);
  g_assert_no_error (error);
  in.encoder_hidden_states = real (m, "states", SUMI_SHAPE (2, 5, 8));
  return sumi_unet (m, &c, real (m, "x", SUMI_SHAPE (2, 4, 8, 8)), real (m, "t", SUMI_SHAPE (2)), &in);
}

static void
unet_sizes (SumiModule *m)
{
  unet (m, UNET "," SIZES,
        (SumiUnetConditioning){ .text_embeds = real (m, "pooled", SUMI_SHAPE (2, 10)),
                                .time_ids = real (m, "ids", SUMI_SHAPE (2, 6)) });
}

/* The refiner has five numbers: the widths only have to make up the whole. */
static void
unet_five_sizes (SumiModule *m)
{
  unet (m, UNET "," SIZES,
        (SumiUnetConditioning){ .text_embeds = real (m, "pooled", SUMI_SHAPE (2, 14)),
                                .time_ids = real (m, "ids", SUMI_SHAPE (2, 5)) });
}

static void
unet_no_sizes (SumiModule *m)
{
  unet (m, UNET "," SIZES, (SumiUnetConditioning){ .text_embeds = real (m, "pooled", SUMI_SHAPE (2, 10)) });
}

static void
unet_no_pooled (SumiModule *m)
{
  unet (m, UNET "," SIZES, (SumiUnetConditioning){ .time_ids = real (m, "ids", SUMI_SHAPE (2, 6)) });
}

static void
unet_wide_pooled (SumiModule *m)
{
  unet (m, UNET "," SIZES,
        (SumiUnetConditioning){ .text_embeds = real (m, "pooled", SUMI_SHAPE (2, 11)),
                                .time_ids = real (m, "ids", SUMI_SHAPE (2, 6)) });
}

static void
unet_many_sizes (SumiModule *m)
{
  unet (m, UNET "," SIZES,
        (SumiUnetConditioning){ .text_embeds = real (m, "pooled", SUMI_SHAPE (2, 2)),
                                .time_ids = real (m, "ids", SUMI_SHAPE (2, 90)) });
}

static void
unet_deaf_to_pooled (SumiModule *m)
{
  unet (m, UNET, (SumiUnetConditioning){ .text_embeds = real (m, "pooled", SUMI_SHAPE (2, 10)) });
}

static void
unet_deaf_to_scale (SumiModule *m)
{
  unet (m, UNET, (SumiUnetConditioning){ .timestep_cond = real (m, "w", SUMI_SHAPE (2, 3)) });
}

static void
unet_wide_scale (SumiModule *m)
{
  unet (m, UNET ",'time_cond_proj_dim':4", (SumiUnetConditioning){ .timestep_cond = real (m, "w", SUMI_SHAPE (2, 3)) });
}

static void
text (SumiModule *m, SumiShape tokens, SumiTextOutputs outputs)
{
  g_autoptr (JsonObject) json = object (TEXT ",'max_position_embeddings':7");
  SumiTextConfig c;
  SumiNode *pooled;

  g_assert_true (sumi_text_config_parse (json, &c, NULL));
  sumi_text_encoder_from_tokens (m, &c, real (m, "tokens", tokens), &outputs, &pooled);
}

static void
text_all_skipped (SumiModule *m)
{
  text (m, SUMI_SHAPE (2, 7, 8), (SumiTextOutputs){ 3, TRUE, NULL });
}

static void
text_long (SumiModule *m)
{
  text (m, SUMI_SHAPE (2, 8, 8), (SumiTextOutputs){ 0, TRUE, NULL });
}

static void
text_narrow (SumiModule *m)
{
  text (m, SUMI_SHAPE (2, 7, 6), (SumiTextOutputs){ 0, TRUE, NULL });
}

static void
text_one_end (SumiModule *m)
{
  text (m, SUMI_SHAPE (2, 7, 8),
        (SumiTextOutputs){ 0, TRUE, sumi_input (m->graph, "end", SUMI_INDEX, &SUMI_SHAPE (1)) });
}

static void
vae (SumiModule *m, SumiShape shape, SumiNode *(*half) (SumiModule *m, const SumiVaeConfig *c, SumiNode *x))
{
  g_autoptr (JsonObject) json = object (VAE);
  SumiVaeConfig c;

  g_assert_true (sumi_vae_config_parse (json, &c, NULL));
  half (m, &c, real (m, "x", shape));
}

static void
vae_odd (SumiModule *m)
{
  vae (m, SUMI_SHAPE (1, 3, 8, 7), sumi_vae_encoder);
}

static void
vae_grey (SumiModule *m)
{
  vae (m, SUMI_SHAPE (1, 1, 8, 8), sumi_vae_encoder);
}

static void
vae_moments (SumiModule *m)
{
  vae (m, SUMI_SHAPE (1, 8, 8, 8), sumi_vae_decoder);
}

static void
test_shapes (void)
{
  static const struct
  {
    void (*build) (SumiModule *m);
    const char *what; /* NULL: it is built */
  } rows[] = {
    { unet_sizes, NULL },
    { unet_five_sizes, NULL },
    { unet_no_sizes, "time_ids" },
    { unet_no_pooled, "text_embeds" },
    { unet_wide_pooled, "text_embeds: got (2,11), want (2,10)" },
    { unet_many_sizes, "text_embeds" },
    { unet_deaf_to_pooled, "text_embeds" },
    { unet_deaf_to_scale, "timestep_cond" },
    { unet_wide_scale, "timestep_cond" },
    { text_all_skipped, "clip skip" },
    { text_long, "(2,8,8)" },
    { text_narrow, "(2,7,6)" },
    { text_one_end, "end marks" },
    { vae_odd, "multiples of 2" },
    { vae_grey, "(1,1,8,8)" },
    { vae_moments, "(1,8,8,8)" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autoptr (SumiGraph) g = sumi_graph_new ();
      g_autoptr (SumiModule) m = sumi_module_new (g);
      GError *error = NULL;

      rows[i].build (m);
      sumi_graph_check (g, &error);
      if (rows[i].what == NULL)
        {
          g_assert_no_error (error);
          continue;
        }
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
      g_test_message ("%s", error->message);
      g_assert_nonnull (strstr (error->message, rows[i].what));
      g_clear_error (&error);
    }
}

/* ---- the embedded guidance scale ---- */

/* A fresh U-Net's output layer is zero; this one's is not. */
static void
fill (SumiPlan *plan, SumiModule *m)
{
  SumiRng rng;

  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 3);
  for (guint i = 0; i < m->params->len; i++)
    {
      const SumiNode *node = g_array_index (m->params, SumiModuleParam, i).node;
      SumiTensor *t;

      if (strstr (node->name, "cond_proj") != NULL)
        continue;
      t = sumi_tensor_new (SUMI_F32, &node->shape, NULL);
      sumi_rng_normal (&rng, sumi_tensor_poke_f32 (t), (gsize)sumi_tensor_get_numel (t));
      for (gint64 k = 0; k < sumi_tensor_get_numel (t); k++)
        sumi_tensor_poke_f32 (t)[k] *= 0.2f;
      g_assert_true (sumi_plan_set (plan, node->name, t, NULL));
      sumi_tensor_unref (t);
    }
}

static void
set_value (SumiPlan *plan, const char *name, SumiShape shape, float value)
{
  SumiTensor *t = sumi_tensor_new (SUMI_F32, &shape, NULL);

  for (gint64 i = 0; i < sumi_tensor_get_numel (t); i++)
    sumi_tensor_poke_f32 (t)[i] = value;
  g_assert_true (sumi_plan_set (plan, name, t, NULL));
  sumi_tensor_unref (t);
}

/* cond < 0: without one. The projection is all 0.5. */
static SumiTensor *
run_with_scale (float cond)
{
  g_autoptr (SumiEngine) engine = sumi_engine_open ("ref", NULL);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiPlan) plan = NULL;
  SumiUnetConditioning in = { .timestep_cond = cond >= 0 ? real (m, "w", SUMI_SHAPE (2, 4)) : NULL };
  const SumiNode *projection;
  GError *error = NULL;

  sumi_graph_output (g, "out", unet (m, UNET ",'time_cond_proj_dim':4", in));
  plan = sumi_engine_compile (engine, g, NULL, &error);
  g_assert_no_error (error);
  projection = sumi_graph_lookup (g, "time_embedding.cond_proj.weight");
  g_assert_cmpint (projection != NULL, ==, cond >= 0);
  fill (plan, m);
  set_value (plan, "x", SUMI_SHAPE (2, 4, 8, 8), 0.3f);
  set_value (plan, "t", SUMI_SHAPE (2), 7);
  set_value (plan, "states", SUMI_SHAPE (2, 5, 8), 0.1f);
  if (projection != NULL)
    {
      g_assert_true (sumi_shape_equal (&projection->shape, &SUMI_SHAPE (16, 4)));
      set_value (plan, "time_embedding.cond_proj.weight", projection->shape, 0.5f);
      set_value (plan, "w", SUMI_SHAPE (2, 4), cond);
    }
  sumi_plan_run (plan, NULL, &error);
  g_assert_no_error (error);
  return sumi_plan_get (plan, "out", NULL);
}

/* Projected without a bias, so that zeros are as good as none; anything else is heard. */
static void
test_timestep_cond (void)
{
  g_autoptr (SumiTensor) none = run_with_scale (-1);
  g_autoptr (SumiTensor) zero = run_with_scale (0);
  g_autoptr (SumiTensor) one = run_with_scale (1);

  g_assert_cmpmem (sumi_tensor_peek (zero), sumi_tensor_get_size (zero), sumi_tensor_peek (none),
                   sumi_tensor_get_size (none));
  g_assert_cmpint (memcmp (sumi_tensor_peek (one), sumi_tensor_peek (none), sumi_tensor_get_size (none)), !=, 0);
  g_assert_true (sumi_tensor_is_finite (one));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/conditioning/vae-config", test_vae_config);
  g_test_add_func ("/conditioning/text-config", test_text_config);
  g_test_add_func ("/conditioning/config-refusals", test_config_refusals);
  g_test_add_func ("/conditioning/shapes", test_shapes);
  g_test_add_func ("/conditioning/timestep-cond", test_timestep_cond);
  return g_test_run ();
}
