/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Adapters that people made, matched to full-size models without their weights: the names and shapes are enough. */
#include "golden.h"

#include <math.h>
#include <string.h>

#include "io/json.h"
#include "io/safetensors.h"
#include "nn/lora.h"

typedef struct
{
  const char *family, *unet, *text, *text_2;
} Family;

static const Family sd15
    = { "sd15",
        "{\"in_channels\": 4, \"out_channels\": 4, \"block_out_channels\": [320, 640, 1280, 1280],"
        " \"layers_per_block\": 2, \"cross_attention_dim\": 768, \"attention_head_dim\": 8,"
        " \"down_block_types\": [\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\","
        " \"DownBlock2D\"], \"up_block_types\": [\"UpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\","
        " \"CrossAttnUpBlock2D\"]}",
        "{\"vocab_size\": 49408, \"hidden_size\": 768, \"intermediate_size\": 3072, \"num_hidden_layers\": 12,"
        " \"num_attention_heads\": 12, \"hidden_act\": \"quick_gelu\"}",
        NULL };

static const Family sdxl
    = { "sdxl",
        "{\"in_channels\": 4, \"out_channels\": 4, \"block_out_channels\": [320, 640, 1280], \"layers_per_block\": 2,"
        " \"cross_attention_dim\": 2048, \"attention_head_dim\": [5, 10, 20], \"use_linear_projection\": true,"
        " \"transformer_layers_per_block\": [1, 2, 10], \"addition_embed_type\": \"text_time\","
        " \"addition_time_embed_dim\": 256, \"projection_class_embeddings_input_dim\": 2816,"
        " \"down_block_types\": [\"DownBlock2D\", \"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\"],"
        " \"up_block_types\": [\"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\", \"UpBlock2D\"]}",
        "{\"vocab_size\": 49408, \"hidden_size\": 768, \"intermediate_size\": 3072, \"num_hidden_layers\": 12,"
        " \"num_attention_heads\": 12, \"hidden_act\": \"quick_gelu\"}",
        "{\"vocab_size\": 49408, \"hidden_size\": 1280, \"intermediate_size\": 5120, \"num_hidden_layers\": 32,"
        " \"num_attention_heads\": 20, \"hidden_act\": \"gelu\", \"projection_dim\": 1280}" };

/* A tensor of zeros, all in the same bytes. */
static SumiTensor *
zeros (const SumiShape *shape)
{
  static GBytes *all;
  gint64 n = sumi_shape_numel (shape);
  g_autoptr (GBytes) bytes = NULL;
  GError *error = NULL;
  SumiTensor *t;

  if (all == NULL || (gint64)g_bytes_get_size (all) < n)
    {
      g_clear_pointer (&all, g_bytes_unref);
      all = g_bytes_new_take (g_malloc0 ((gsize)n), (gsize)n);
    }
  bytes = g_bytes_new_from_bytes (all, 0, (gsize)n);
  t = sumi_tensor_new_bytes (SUMI_F8_E4M3, shape, bytes, &error);
  g_assert_no_error (error);
  return t;
}

static JsonObject *
parse (const char *text)
{
  GError *error = NULL;
  JsonObject *json = sumi_json_parse (text, strlen (text), "test", &error);

  g_assert_no_error (error);
  return json;
}

static void
take_params (SumiTensorMap *weights, SumiModule *m)
{
  GError *error = NULL;

  sumi_graph_check (m->graph, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < m->params->len; i++)
    {
      SumiNode *n = g_array_index (m->params, SumiModuleParam, i).node;

      sumi_tensor_map_take (weights, n->name, zeros (&n->shape));
    }
}

static void
add_unet (SumiTensorMap *weights, const char *config, SumiUnetConfig *unet)
{
  g_autoptr (JsonObject) json = parse (config);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiUnetConditioning c = { NULL };
  GError *error = NULL;

  sumi_unet_config_parse (json, unet, &error);
  g_assert_no_error (error);
  c.encoder_hidden_states = sumi_input (g, "states", SUMI_REAL, &SUMI_SHAPE (1, 77, unet->cross_attention_dim));
  if (unet->addition_time_embed_dim > 0)
    {
      c.text_embeds = sumi_input (g, "pooled", SUMI_REAL, &SUMI_SHAPE (1, 1280));
      c.time_ids = sumi_input (g, "time_ids", SUMI_REAL, &SUMI_SHAPE (1, 6));
    }
  sumi_module_push (m, "unet");
  sumi_unet (m, unet, sumi_input (g, "sample", SUMI_REAL, &SUMI_SHAPE (1, 4, 8, 8)),
             sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (1)), &c);
  take_params (weights, m);
}

static void
add_text (SumiTensorMap *weights, const char *name, const char *config)
{
  g_autoptr (JsonObject) json = parse (config);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiTextConfig c;
  GError *error = NULL;

  sumi_text_config_parse (json, &c, &error);
  g_assert_no_error (error);
  sumi_module_push (m, "%s", name);
  sumi_text_encoder (m, &c, sumi_input (g, "ids", SUMI_INDEX, &SUMI_SHAPE (1, 77)), NULL);
  take_params (weights, m);
}

static SumiLoraTargets *
targets_of (const Family *f, SumiTensorMap **weights, SumiUnetConfig *unet)
{
  *weights = sumi_tensor_map_new ();
  add_unet (*weights, f->unet, unet);
  add_text (*weights, "text_encoder", f->text);
  if (f->text_2 != NULL)
    add_text (*weights, "text_encoder_2", f->text_2);
  return sumi_lora_targets_new (*weights, unet, f->family);
}

static SumiTensorMap *
open_file (const char *folder, const char *name)
{
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_GOLDEN"), folder, name, NULL);
  GError *error = NULL;
  SumiTensorMap *file = sumi_safetensors_open (path, &error);

  g_assert_no_error (error);
  return file;
}

/* ---- the files ---- */

static const struct
{
  const char *name, *dialect;
  guint n_changes;
  gboolean text;
} files[] = {
  { "sd15_peft_lora_mvclab.safetensors", "diffusers", 128, FALSE },
  { "derived_kohya_from_mvclab.safetensors", "kohya", 128, FALSE },
  { "derived_peft_from_mvclab.safetensors", "peft", 128, FALSE },
  { "sd15_pokemon_diffusers_lora.safetensors", "diffusers-legacy", 128, FALSE },
  { "cloneofsimo_analog_svd_rank4.safetensors", "cloneofsimo", 144 + 48, TRUE },
};

static void
test_load (void)
{
  g_autoptr (SumiTensorMap) weights = NULL;
  g_autoptr (SumiLoraTargets) targets = NULL;
  SumiUnetConfig unet;

  if (golden_root () == NULL)
    return;
  targets = targets_of (&sd15, &weights, &unet);
  for (guint i = 0; i < G_N_ELEMENTS (files); i++)
    {
      g_autoptr (SumiTensorMap) file = open_file ("real-files", files[i].name);
      GError *error = NULL;
      g_autoptr (SumiLora) l = sumi_lora_new (targets, file, files[i].name, &error);
      SumiLoraInfo info;

      g_assert_no_error (error);
      g_assert_cmpuint (sumi_lora_get_n_changes (l), ==, files[i].n_changes);
      g_assert_cmpuint (sumi_lora_peek_unmatched (l)->len, ==, 0);
      g_assert_true (sumi_lora_inspect (file, &info, &error));
      g_assert_cmpstr (info.dialect, ==, files[i].dialect);
      g_assert_cmpstr (info.family, ==, "sd15");
      g_assert_cmpuint (info.rank, ==, 4);
      g_assert_cmpuint (info.n_modules, ==, files[i].n_changes);
      g_assert_cmpint (info.text_encoder, ==, files[i].text);
      g_assert_cmpuint (info.unknown->len, ==, 0);
      sumi_lora_info_clear (&info);
    }
}

/* Keys that no program writes on purpose: refused, and listed. */
static void
test_broken (void)
{
  g_autoptr (SumiTensorMap) weights = NULL, file = NULL;
  g_autoptr (SumiLoraTargets) targets = NULL;
  g_autoptr (SumiLora) l = NULL;
  SumiUnetConfig unet;
  SumiLoraInfo info;
  GError *error = NULL;

  if (golden_root () == NULL)
    return;
  targets = targets_of (&sd15, &weights, &unet);
  file = open_file ("real-files", "lora_timohavdk_new.safetensors");
  l = sumi_lora_new (targets, file, "new", &error);
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL);
  g_assert_nonnull (strstr (error->message, "256 keys, such as lora_unet_unet_down_blocks_0_attentions_0_"));
  g_clear_error (&error);
  g_assert_false (sumi_lora_inspect (file, &info, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL);
  g_clear_error (&error);
}

/* All of them are for SD 1.5, which shows in their metadata or in what their modules read. */
static void
test_other_family (void)
{
  g_autoptr (SumiTensorMap) weights = NULL;
  g_autoptr (SumiLoraTargets) targets = NULL;
  SumiUnetConfig unet;

  if (golden_root () == NULL)
    return;
  targets = targets_of (&sdxl, &weights, &unet);
  for (guint i = 0; i < G_N_ELEMENTS (files); i++)
    {
      g_autoptr (SumiTensorMap) file = open_file ("real-files", files[i].name);
      g_autoptr (GError) error = NULL;

      g_assert_null (sumi_lora_new (targets, file, files[i].name, &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL);
      g_assert_nonnull (strstr (error->message, "found an adapter for sd15 ("));
      g_assert_nonnull (strstr (error->message, "expected one for sdxl"));
    }
}

/* ---- the same adapter in several dialects ---- */

static double
difference (const SumiTensor *a, const SumiTensor *b)
{
  const float *x = sumi_tensor_peek_f32 (a), *y = sumi_tensor_peek_f32 (b);
  double squares = 0, wrong = 0;

  for (gint64 i = 0; i < sumi_tensor_get_numel (a); i++)
    {
      squares += (double)x[i] * x[i];
      wrong += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    }
  g_assert_cmpfloat (squares, >, 0);
  return sqrt (wrong / squares);
}

/* The largest relative difference over all changes. */
static double
compare (const SumiLoraTargets *targets, SumiTensorMap *one, SumiTensorMap *other, guint n_other)
{
  GError *error = NULL;
  g_autoptr (SumiLora) a = sumi_lora_new (targets, one, "one", &error);
  g_autoptr (SumiLora) b = sumi_lora_new (targets, other, "other", &error);
  double largest = 0;

  g_assert_no_error (error);
  g_assert_cmpuint (sumi_lora_get_n_changes (b), ==, n_other);
  for (guint i = 0; i < n_other; i++)
    {
      const char *parameter = sumi_lora_get_change (b, i);
      g_autoptr (SumiTensor) x = sumi_lora_delta (a, parameter, &error);
      g_autoptr (SumiTensor) y = sumi_lora_delta (b, parameter, &error);

      g_assert_no_error (error);
      largest = MAX (largest, difference (x, y));
    }
  return largest;
}

/* The kohya twin holds the factors as F16: 11 bits each. */
static void
test_same_change (void)
{
  g_autoptr (SumiTensorMap) weights = NULL, diffusers = NULL, peft = NULL, kohya = NULL;
  g_autoptr (SumiLoraTargets) targets = NULL;
  SumiUnetConfig unet;

  if (golden_root () == NULL)
    return;
  targets = targets_of (&sd15, &weights, &unet);
  diffusers = open_file ("real-files", "sd15_peft_lora_mvclab.safetensors");
  peft = open_file ("real-files", "derived_peft_from_mvclab.safetensors");
  kohya = open_file ("real-files", "derived_kohya_from_mvclab.safetensors");
  g_assert_cmpfloat (compare (targets, diffusers, peft, 128), ==, 0);
  g_assert_cmpfloat (compare (targets, diffusers, kohya, 128), <, 1e-3);
}

/* The reference's twins, which differ in alpha too; the first dialect of diffusers has the attention only. */
static void
test_tiny_twins (void)
{
  static const struct
  {
    const char *name;
    guint n;
  } twins[] = { { "diffusers.safetensors", 146 }, { "peft.safetensors", 146 }, { "legacy.safetensors", 128 } };
  g_autoptr (SumiTensorMap) weights = sumi_tensor_map_new (), unet_file = NULL, text_file = NULL, kohya = NULL;
  g_autoptr (SumiLoraTargets) targets = NULL;
  const SumiUnetConfig unet
      = { .n_levels = 4, .layers_per_block = 2, .cross_attention_dim = 32, .attention = { TRUE, TRUE, TRUE, FALSE } };

  if (golden_root () == NULL)
    return;
  unet_file = open_file ("models/tiny-sd15/unet", "diffusion_pytorch_model.safetensors");
  text_file = open_file ("models/tiny-sd15/text_encoder", "model.safetensors");
  for (guint i = 0; i < sumi_tensor_map_get_size (unet_file); i++)
    {
      g_autofree char *name = g_strconcat ("unet.", sumi_tensor_map_get_name (unet_file, i), NULL);
      sumi_tensor_map_set (weights, name, sumi_tensor_map_peek_nth (unet_file, i));
    }
  for (guint i = 0; i < sumi_tensor_map_get_size (text_file); i++)
    {
      g_autofree char *name = g_strconcat ("text_encoder.", sumi_tensor_map_get_name (text_file, i), NULL);
      sumi_tensor_map_set (weights, name, sumi_tensor_map_peek_nth (text_file, i));
    }
  targets = sumi_lora_targets_new (weights, &unet, "sd15");
  kohya = open_file ("models/lora", "kohya.safetensors");
  for (guint i = 0; i < G_N_ELEMENTS (twins); i++)
    {
      g_autoptr (SumiTensorMap) twin = open_file ("models/lora", twins[i].name);

      g_assert_cmpfloat (compare (targets, kohya, twin, twins[i].n), <, 1e-6);
    }
}

/* ---- every name ---- */

static void
add_factors (SumiTensorMap *file, const char *module, const SumiShape *s)
{
  g_autofree char *down = g_strconcat (module, ".lora_down.weight", NULL);
  g_autofree char *up = g_strconcat (module, ".lora_up.weight", NULL);
  SumiShape first = *s;

  first.d[0] = 1;
  sumi_tensor_map_take (file, down, zeros (&first));
  sumi_tensor_map_take (file, up, zeros (&SUMI_SHAPE (s->d[0], 1)));
}

/* kohya's name of a weight, from the diffusers or the original one */
static char *
kohya_name (const SumiUnetConfig *unet, const char *name, gboolean original)
{
  static const char *const components[][2]
      = { { "text_encoder.", "lora_te1_" }, { "text_encoder_2.", "lora_te2_" }, { "unet.", "lora_unet_" } };
  g_autofree char *path = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (components); i++)
    {
      const char *rest = name + strlen (components[i][0]);

      if (!g_str_has_prefix (name, components[i][0]))
        continue;
      path = i == 2 && original ? sumi_names_unet_to_ldm (unet, rest) : g_strdup (rest);
      g_assert_nonnull (path);
      path[strlen (path) - strlen (".weight")] = '\0';
      return g_strconcat (components[i][1], g_strdelimit (path, ".", '_'), NULL);
    }
  return NULL;
}

/* An adapter of every matrix of the model finds every one of them: no two names fall together. */
static void
test_every_name (gconstpointer data)
{
  const Family *family = data;
  g_autoptr (SumiTensorMap) weights = NULL;
  SumiUnetConfig unet;
  g_autoptr (SumiLoraTargets) targets = targets_of (family, &weights, &unet);

  for (int original = 0; original < 2; original++)
    {
      g_autoptr (SumiTensorMap) file = sumi_tensor_map_new ();
      g_autoptr (SumiLora) l = NULL;
      GError *error = NULL;
      guint n = 0;

      for (guint i = 0; i < sumi_tensor_map_get_size (weights); i++)
        {
          const char *name = sumi_tensor_map_get_name (weights, i);
          const SumiShape *s = sumi_tensor_get_shape (sumi_tensor_map_peek_nth (weights, i));
          g_autofree char *module = s->rank >= 2 ? kohya_name (&unet, name, original) : NULL;

          if (module == NULL)
            continue;
          add_factors (file, module, s);
          n++;
        }
      l = sumi_lora_new (targets, file, "all", &error);
      g_assert_no_error (error);
      g_assert_cmpuint (n, >, 300);
      g_assert_cmpuint (sumi_lora_get_n_changes (l), ==, n);
      g_assert_cmpuint (sumi_lora_peek_unmatched (l)->len, ==, 0);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/lora/real/load", test_load);
  g_test_add_func ("/lora/real/broken", test_broken);
  g_test_add_func ("/lora/real/other-family", test_other_family);
  g_test_add_func ("/lora/real/same-change", test_same_change);
  g_test_add_func ("/lora/tiny-twins", test_tiny_twins);
  g_test_add_data_func ("/lora/every-name/sd15", &sd15, test_every_name);
  g_test_add_data_func ("/lora/every-name/sdxl", &sdxl, test_every_name);
  return g_test_run ();
}
