/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whole runs of tiny models: the loss falls, an interrupted run goes on exactly, what fails
 * leaves a good state behind. */
#include "train/trainer.h"

#include "folder.h"
#include "io/safetensors.h"
#include "train/objective.h"
#include "train/samples.h"

static const char pixel_model[] = "{\"family\": \"simple-unet\", \"base_channels\": 4, \"time_emb_dim\": 8,"
                                  " \"groups\": 2, \"sample_size\": 8}";
static const char text_model[]
    = "{\"family\": \"sumi-latent\","
      " \"unet\": {\"_class_name\": \"UNet2DConditionModel\", \"in_channels\": 32, \"out_channels\": 32,"
      "  \"block_out_channels\": [8, 8], \"layers_per_block\": 1, \"norm_num_groups\": 4,"
      "  \"down_block_types\": [\"DownBlock2D\", \"CrossAttnDownBlock2D\"],"
      "  \"mid_block_type\": \"UNetMidBlock2DCrossAttn\","
      "  \"up_block_types\": [\"CrossAttnUpBlock2D\", \"UpBlock2D\"], \"attention_head_dim\": 2,"
      "  \"cross_attention_dim\": 8, \"class_embed_type\": \"projection\","
      "  \"projection_class_embeddings_input_dim\": 8},"
      " \"text_encoder\": {\"hidden_size\": 8, \"intermediate_size\": 16, \"num_hidden_layers\": 1,"
      "  \"num_attention_heads\": 2, \"max_position_embeddings\": 6},"
      " \"latents\": {\"channels\": 32, \"height\": 2, \"width\": 2},"
      " \"scheduler\": {\"beta_schedule\": \"squaredcos_cap_v2\", \"prediction_type\": \"v_prediction\"}}";

/* ---- runs ---- */

/* FOLDER has the pictures and FOLDER/out what is made of them: a loss curve is no training picture. */

typedef struct
{
  GCancellable *cancellable;
  guint64 cancel_at; /* 0: never */
  GString *notes;
} Watch;

static void
on_progress (const char *phase, guint64 step, guint64 n_steps, const SumiTrainRow *row, gpointer user)
{
  Watch *watch = user;

  if (row != NULL && step == watch->cancel_at)
    g_cancellable_cancel (watch->cancellable);
}

static void
on_note (const char *text, gpointer user)
{
  Watch *watch = user;

  g_string_append_printf (watch->notes, "%s\n", text);
}

static char *
make_folder (void)
{
  static const struct
  {
    const char *name, *caption;
    guint32 colour;
  } pictures[] = { { "a", "a red square", 0xd01010 },
                   { "b", "a green square", 0x10d010 },
                   { "c", "a blue square", 0x1010d0 },
                   { "d", "black", 0x000000 },
                   { "e", "white\nsnow", 0xffffff } };
  char *folder = folder_new ();
  g_autofree char *out = g_build_filename (folder, "out", NULL);

  g_assert_cmpint (g_mkdir (out, 0700), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (pictures); i++)
    {
      g_autofree char *png = g_strconcat (pictures[i].name, ".png", NULL);
      g_autofree char *txt = g_strconcat (pictures[i].name, ".txt", NULL);
      folder_write_picture (folder, png, 16, pictures[i].colour);
      folder_write (folder, txt, pictures[i].caption, -1);
    }
  return folder;
}

static SumiTrainSetup
make_setup (const char *folder, const char *name, const char *model, guint64 steps)
{
  g_autoptr (JsonNode) node = json_from_string (model, NULL);
  g_autoptr (GError) error = NULL;
  SumiModelConfig config;
  SumiTrainSetup s = { .config = json_object_ref (json_node_get_object (node)),
                       .data = g_strdup (folder),
                       .engine = g_strdup ("ref"),
                       .output = g_build_filename (folder, "out", name, NULL),
                       .merges = g_build_filename (g_getenv ("SUMI_DATADIR"), "clip", "merges.txt.gz", NULL),
                       .taef2 = g_build_filename (g_getenv ("SUMI_DATADIR"), "taef2", "taef2.safetensors", NULL) };

  sumi_train_config_prepare (s.config, &config, &error);
  g_assert_no_error (error);
  sumi_train_options_init (&s.options, &config);
  s.options.steps = steps;
  s.options.batch = 3; /* does not divide five pictures: epochs end within batches */
  s.options.warmup = 5;
  s.options.seed = 7;
  s.options.flip = TRUE;
  s.options.save_every = 0;
  s.options.threads = 1;
  s.options.save_f16 = FALSE;
  return s;
}

static gboolean
run (SumiTrainSetup *s, guint64 cancel_at, GString *notes, GError **error)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Watch watch = { cancellable, cancel_at, notes };
  SumiTrainReport report = { on_progress, notes != NULL ? on_note : NULL, &watch };
  g_autoptr (SumiTrainer) t = sumi_trainer_new (s, &report, cancellable, error);

  return t != NULL && sumi_trainer_run (t, cancellable, error);
}

static SumiTensorMap *
open_beside (const char *folder, const char *name)
{
  g_autofree char *path = g_build_filename (folder, "out", name, NULL);
  g_autoptr (GError) error = NULL;
  SumiTensorMap *map = sumi_safetensors_open (path, &error);

  g_assert_no_error (error);
  return map;
}

/* Bit for bit, but for the times in the history. */
static void
assert_equal_maps (SumiTensorMap *a, SumiTensorMap *b)
{
  g_assert_cmpuint (sumi_tensor_map_get_size (a), ==, sumi_tensor_map_get_size (b));
  for (guint i = 0; i < sumi_tensor_map_get_size (a); i++)
    {
      const char *name = sumi_tensor_map_get_name (a, i);
      SumiTensor *x = sumi_tensor_map_peek_nth (a, i), *y = sumi_tensor_map_peek (b, name);

      g_assert_nonnull (y);
      if (strcmp (name, "history") == 0)
        continue;
      if (memcmp (sumi_tensor_peek (x), sumi_tensor_peek (y), sumi_tensor_get_size (x)) != 0)
        g_error ("%s differs", name);
    }
}

static void
assert_equal_files (const char *folder, const char *a, const char *b)
{
  g_autoptr (SumiTensorMap) x = open_beside (folder, a);
  g_autoptr (SumiTensorMap) y = open_beside (folder, b);

  assert_equal_maps (x, y);
  g_assert_cmpstr (sumi_tensor_map_get_metadata (x, "sumi.config"), ==,
                   sumi_tensor_map_get_metadata (y, "sumi.config"));
  g_assert_cmpstr (sumi_tensor_map_get_metadata (x, "sumi.training"), ==,
                   sumi_tensor_map_get_metadata (y, "sumi.training"));
}

/* ---- tests ---- */

/* The same model with its loss: the mean of the last updates is well below that of the first. */
static void
test_loss_falls (void)
{
  char *folder = make_folder ();
  SumiTrainSetup s = make_setup (folder, "m.safetensors", pixel_model, 150);
  g_autoptr (GError) error = NULL;
  SumiTrainReport report = { 0 };
  const GArray *h;
  double first = 0, last = 0;

  s.options.batch = 8;
  s.options.lr = 0.005;
  g_autoptr (SumiTrainer) t = sumi_trainer_new (&s, &report, NULL, &error);
  g_assert_no_error (error);
  sumi_trainer_run (t, NULL, &error);
  g_assert_no_error (error);
  h = sumi_trainer_peek_state (t)->history;
  g_assert_cmpuint (h->len, ==, 150);
  for (guint i = 0; i < 20; i++)
    {
      first += g_array_index (h, SumiTrainRow, i).loss / 20;
      last += g_array_index (h, SumiTrainRow, 130 + i).loss / 20;
    }
  g_test_message ("loss %g -> %g", first, last);
  g_assert_cmpfloat (last, <, 0.6 * first);
  g_assert_cmpuint (sumi_trainer_peek_state (t)->samples, ==, 150 * 8);
  g_clear_pointer (&t, sumi_trainer_free);
  sumi_train_setup_clear (&s);
  folder_remove (folder);
}

/* Twenty steps at once; cancelled after seven and gone on with: the same files. */
static void
check_resume (const char *model, const char *engine, guint64 accumulate)
{
  char *folder = make_folder ();
  SumiTrainSetup whole = make_setup (folder, "whole.safetensors", model, 20);
  SumiTrainSetup part = make_setup (folder, "part.safetensors", model, 20), rest = { 0 };
  g_autofree char *checkpoint = g_build_filename (folder, "out", "part.ckpt.safetensors", NULL);
  g_autoptr (GError) error = NULL;

  whole.options.accumulate = part.options.accumulate = accumulate;
  g_free (whole.engine);
  g_free (part.engine);
  whole.engine = g_strdup (engine);
  part.engine = g_strdup (engine);
  run (&whole, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_false (run (&part, 7, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_CANCELLED);
  g_clear_error (&error);

  sumi_train_setup_resume (&rest, checkpoint, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (rest.output, ==, part.output);
  g_assert_cmpuint (rest.options.steps, ==, 20);
  rest.merges = g_strdup (part.merges);
  rest.taef2 = g_strdup (part.taef2);
  run (&rest, 0, NULL, &error);
  g_assert_no_error (error);
  assert_equal_files (folder, "whole.safetensors", "part.safetensors");
  assert_equal_files (folder, "whole.ckpt.safetensors", "part.ckpt.safetensors");
  sumi_train_setup_clear (&whole);
  sumi_train_setup_clear (&part);
  sumi_train_setup_clear (&rest);
  folder_remove (folder);
}

static void
test_resume_pixels (void)
{
  check_resume (pixel_model, "ref", 2);
}

static void
test_resume_text (void)
{
  check_resume (text_model, "cpu", 1);
}

/* On the fast engine, in both number formats: one thread or two, the same model. */
static void
test_threads (void)
{
  for (guint bf16 = 0; bf16 < 2; bf16++)
    {
      char *folder = make_folder ();
      g_autoptr (GError) error = NULL;

      for (guint threads = 1; threads <= 2; threads++)
        {
          SumiTrainSetup s = make_setup (folder, threads == 1 ? "1.safetensors" : "2.safetensors", text_model, 3);

          g_free (s.engine);
          s.engine = g_strdup ("cpu");
          s.options.bf16 = bf16;
          s.options.threads = threads;
          run (&s, 0, NULL, &error);
          g_assert_no_error (error);
          sumi_train_setup_clear (&s);
        }
      assert_equal_files (folder, "1.safetensors", "2.safetensors");
      folder_remove (folder);
    }
}

/* What a text model's file holds. */
static void
test_text_model_file (void)
{
  char *folder = make_folder ();
  SumiTrainSetup s = make_setup (folder, "m.safetensors", text_model, 2);
  g_autoptr (GString) notes = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  g_autofree char *sheet_path = g_build_filename (folder, "out", "m.samples-000002.png", NULL);
  g_autoptr (SumiTensor) sheet = NULL;
  g_autoptr (SumiTensorMap) model = NULL;
  g_autoptr (JsonNode) node = NULL;
  SumiModelConfig config;

  g_free (s.engine);
  s.engine = g_strdup ("cpu");
  s.options.save_f16 = TRUE;
  s.options.sample_every = 2;
  run (&s, 0, notes, &error);
  g_assert_no_error (error);
  g_assert_null (strstr (notes->str, "no samples"));
  sheet = sumi_image_load (sheet_path, 0, &error);
  g_assert_no_error (error);
  g_assert_cmpint (sumi_tensor_get_shape (sheet)->d[0], >=, 2 * 16); /* five captions in rows of three */
  g_assert_nonnull (strstr (notes->str, "5 pictures"));
  model = open_beside (folder, "m.safetensors");
  node = json_from_string (sumi_tensor_map_get_metadata (model, "sumi.config"), &error);
  g_assert_no_error (error);
  sumi_model_config_parse (json_node_get_object (node), &config, &error);
  g_assert_no_error (error);
  g_assert_cmpint (config.text.vocab_size, ==, sumi_tensor_get_numel (sumi_tensor_map_peek (model, "token_ids")));
  g_assert_cmpint (config.text.vocab_size, ==, 3 + 8); /* a red green blue square black white snow */
  g_assert_cmpfloat (config.std[0], >, 0);
  g_assert_cmpfloat (config.std[0], !=, 1);
  g_assert_nonnull (strstr (sumi_tensor_map_get_metadata (model, "sumi.training"), "\"samples\": 6"));
  g_assert_cmpint (sumi_tensor_get_dtype (sumi_tensor_map_peek (model, "unet.conv_in.weight")), ==, SUMI_F16);
  sumi_train_setup_clear (&s);
  folder_remove (folder);
}

/* Over all samples every channel has mean 0 and deviation 1 (or is constant); the cache gives the same values, and one
 * of other pictures is not taken. */
static void
test_latents (void)
{
  char *folder = make_folder ();
  g_autofree char *cache = g_build_filename (folder, "out", "x.latents.safetensors", NULL);
  SumiTrainSetup s = make_setup (folder, "x.safetensors", text_model, 1);
  g_autoptr (SumiEngine) engine = sumi_engine_open ("cpu", NULL);
  SumiSampleOptions o = { cache, s.taef2, engine, 1, TRUE };
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiDataset) d = sumi_dataset_open (folder, SUMI_DATASET_FOLDER, &error);
  g_autoptr (SumiSamples) fresh = NULL;
  g_autoptr (SumiSamples) cached = NULL;
  g_autoptr (SumiSamples) other = NULL;
  SumiModelConfig config;
  float x[128], y[128];
  double sum[32] = { 0 }, squares[32] = { 0 };

  sumi_train_config_prepare (s.config, &config, &error);
  g_assert_no_error (error);
  fresh = sumi_samples_new (d, &config, &o, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  o.engine = NULL; /* nothing to encode */
  cached = sumi_samples_new (d, &config, &o, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < 10; i++)
    {
      sumi_samples_get (fresh, i % 5, i >= 5, x);
      sumi_samples_get (cached, i % 5, i >= 5, y);
      g_assert_cmpmem (x, sizeof x, y, sizeof y);
      for (guint j = 0; j < 128; j++)
        {
          sum[j / 4] += x[j] / 40;
          squares[j / 4] += x[j] * x[j] / 40;
        }
    }
  for (guint c = 0; c < 32; c++)
    {
      g_assert_cmpfloat_with_epsilon (sum[c], 0, 1e-5);
      g_assert_cmpfloat_with_epsilon (squares[c], 1, 1e-4);
    }

  folder_write_picture (folder, "f.png", 16, 0x808080);
  sumi_dataset_free (d);
  d = sumi_dataset_open (folder, SUMI_DATASET_FOLDER, &error);
  o.engine = engine;
  other = sumi_samples_new (d, &config, &o, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (other->n, ==, 6);
  g_assert_cmpuint (d->notes->len, ==, 1);
  sumi_train_setup_clear (&s);
  folder_remove (folder);
}

/* A weight so large that the loss overflows: the step is undone and the state before it saved. */
static void
test_non_finite (void)
{
  char *folder = make_folder ();
  SumiTrainSetup s = make_setup (folder, "m.safetensors", pixel_model, 50), again = { 0 };
  g_autofree char *checkpoint = g_build_filename (folder, "out", "m.ckpt.safetensors", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) before = NULL;
  g_autoptr (SumiTensorMap) after = NULL;
  SumiTensor *bias;

  g_assert_false (run (&s, 4, NULL, &error));
  g_clear_error (&error);
  before = open_beside (folder, "m.ckpt.safetensors");
  bias = sumi_tensor_cast (sumi_tensor_map_peek (before, "param.out.bias"), SUMI_F32, NULL);
  sumi_tensor_poke_f32 (bias)[0] = 3e38f;
  sumi_tensor_map_take (before, "param.out.bias", bias);
  sumi_safetensors_save (before, checkpoint, &error);
  g_assert_no_error (error);

  sumi_train_setup_resume (&again, checkpoint, &error);
  g_assert_no_error (error);
  g_assert_false (run (&again, 0, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE);
  g_assert_nonnull (strstr (error->message, "step 5"));
  after = open_beside (folder, "m.ckpt.safetensors");
  assert_equal_maps (before, after);
  sumi_train_setup_clear (&s);
  sumi_train_setup_clear (&again);
  folder_remove (folder);
}

/* Checkpoints with a part missing, of another shape, or not finite are refused by name. */
static void
test_bad_checkpoints (void)
{
  static const struct
  {
    const char *name;
    gboolean replace;
    SumiError code;
  } cases[] = {
    { "rng", FALSE, SUMI_ERROR_MISSING_TENSOR },           { "order", FALSE, SUMI_ERROR_MISSING_TENSOR },
    { "v.out.weight", FALSE, SUMI_ERROR_MISSING_TENSOR },  { "rng", TRUE, SUMI_ERROR_SHAPE_MISMATCH },
    { "counters", TRUE, SUMI_ERROR_SHAPE_MISMATCH },       { "history", TRUE, SUMI_ERROR_SHAPE_MISMATCH },
    { "param.out.bias", TRUE, SUMI_ERROR_SHAPE_MISMATCH },
  };
  char *folder = make_folder ();
  SumiTrainSetup s = make_setup (folder, "m.safetensors", pixel_model, 2);
  g_autofree char *path = g_build_filename (folder, "out", "bad.ckpt.safetensors", NULL);
  g_autoptr (GError) error = NULL;

  run (&s, 0, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (SumiTensorMap) map = open_beside (folder, "m.ckpt.safetensors");
      SumiTrainSetup bad = { 0 };

      sumi_tensor_map_remove (map, cases[i].name);
      if (cases[i].replace)
        sumi_tensor_map_take (map, cases[i].name, sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 5), NULL));
      sumi_safetensors_save (map, path, &error);
      g_assert_no_error (error);
      sumi_train_setup_resume (&bad, path, &error);
      g_assert_no_error (error);
      bad.options.steps = 3;
      g_assert_false (run (&bad, 0, NULL, &error));
      g_assert_error (error, SUMI_ERROR, (int)cases[i].code);
      g_assert_nonnull (strstr (error->message, cases[i].name));
      g_clear_error (&error);
      sumi_train_setup_clear (&bad);
    }
  sumi_train_setup_clear (&s);
  folder_remove (folder);
}

/* The default for captioned folders is the configuration that made the starter. */
static void
test_default_config (void)
{
  char *folder = make_folder ();
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_SOURCE_ROOT"), "scripts", "starter", "starter.json", NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (JsonNode) node = json_node_new (JSON_NODE_OBJECT);
  g_autoptr (GError) error = NULL;
  SumiModelConfig config;
  SumiObjective objective;
  gint64 parameters = 0;

  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  json_node_take_object (node, sumi_train_config_default (folder, SUMI_DATASET_AUTO, &error));
  g_assert_no_error (error);
  g_assert_true (json_node_equal (node, json_parser_get_root (parser)));
  sumi_train_config_prepare (json_node_get_object (node), &config, &error);
  g_assert_no_error (error);
  config.text.vocab_size = 3000;
  sumi_objective_build (&objective, &config, 1, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < objective.module->params->len; i++)
    parameters += sumi_shape_numel (&g_array_index (objective.module->params, SumiModuleParam, i).node->shape);
  g_test_message ("%" G_GINT64_FORMAT " parameters, %.2f GFLOP a sample", parameters, (double)objective.flops / 1e9);
  g_assert_cmpint (parameters, <, 20000000); /* 40 MB in f16 */
  sumi_objective_clear (&objective);
  folder_remove (folder);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/train/loss-falls", test_loss_falls);
  g_test_add_func ("/train/resume-pixels", test_resume_pixels);
  g_test_add_func ("/train/resume-text", test_resume_text);
  g_test_add_func ("/train/threads", test_threads);
  g_test_add_func ("/train/text-model-file", test_text_model_file);
  g_test_add_func ("/train/latents", test_latents);
  g_test_add_func ("/train/non-finite", test_non_finite);
  g_test_add_func ("/train/bad-checkpoints", test_bad_checkpoints);
  g_test_add_func ("/train/default-config", test_default_config);
  return g_test_run ();
}
