/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `sumi probe` on cases that are wrong: each is refused with its class and status, and nothing is written. The root is
 * made here: a simple U-Net of random weights, and one case after the other. */
#include "golden.h"

#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

#include "io/safetensors.h"
#include "nn/networks.h"

static char *root; /* a folder of our own */

static char *
path_of (const char *a, const char *b, const char *c)
{
  return g_build_filename (root, a, b, c, NULL);
}

static void
write_text (const char *path, const char *text)
{
  GError *error = NULL;

  g_file_set_contents (path, text, -1, &error);
  g_assert_no_error (error);
}

/* models/m.safetensors and m.json */
static void
make_model (void)
{
  SumiSimpleUnetConfig c = { 3, 3, 8, 8, 4 };
  SumiShape shape = SUMI_SHAPE (1, 3, 8, 8), one = SUMI_SHAPE (1);
  SumiRng rng;
  GError *error = NULL;
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiTensorMap) weights = NULL;
  g_autofree char *folder = path_of ("models", NULL, NULL), *json = path_of ("models", "m.json", NULL);
  g_autofree char *path = path_of ("models", "m.safetensors", NULL);

  sumi_simple_unet (m, &c, sumi_input (g, "x", SUMI_REAL, &shape), sumi_input (g, "t", SUMI_REAL, &one));
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 1);
  weights = sumi_module_init (m, &rng, &error);
  g_assert_no_error (error);
  g_mkdir_with_parents (folder, 0700);
  sumi_safetensors_save (weights, path, &error);
  g_assert_no_error (error);
  write_text (json, "{\"family\":\"simple-unet\",\"in_channels\":3,\"out_channels\":3,\"base_channels\":8,"
                    "\"time_emb_dim\":8,\"groups\":4}");
}

#define PART_CONFIG                                                                                                    \
  "{\"_class_name\":\"UNet2DConditionModel\",\"in_channels\":3,\"out_channels\":3,\"block_out_channels\":[8],"         \
  "\"down_block_types\":[\"DownBlock2D\"],\"up_block_types\":[\"UpBlock2D\"],\"cross_attention_dim\":16,"              \
  "\"attention_head_dim\":2,\"norm_num_groups\":4,\"layers_per_block\":1}"

/* models/part: a folder with a conditional U-Net and nothing else */
static void
make_part (void)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiTensorMap) weights = NULL;
  g_autofree char *folder = g_build_filename (root, "models", "part", "unet", NULL);
  g_autofree char *json = g_build_filename (folder, "config.json", NULL);
  g_autofree char *path = g_build_filename (folder, "diffusion_pytorch_model.safetensors", NULL);
  SumiShape sample = SUMI_SHAPE (1, 3, 8, 8), one = SUMI_SHAPE (1), states = SUMI_SHAPE (1, 4, 16);
  SumiUnetConfig c;
  SumiRng rng;
  GError *error = NULL;

  g_assert_true (json_parser_load_from_data (parser, PART_CONFIG, -1, NULL));
  sumi_unet_config_parse (json_node_get_object (json_parser_get_root (parser)), &c, &error);
  g_assert_no_error (error);
  sumi_unet (m, &c, sumi_input (g, "x", SUMI_REAL, &sample), sumi_input (g, "t", SUMI_REAL, &one),
             &(SumiUnetConditioning){ .encoder_hidden_states = sumi_input (g, "s", SUMI_REAL, &states) });
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 2);
  weights = sumi_module_init (m, &rng, &error);
  g_assert_no_error (error);
  g_mkdir_with_parents (folder, 0700);
  sumi_safetensors_save (weights, path, &error);
  g_assert_no_error (error);
  write_text (json, PART_CONFIG);
}

/* Good inputs for every component, all zeros but for the descending timesteps. */
static SumiTensorMap *
good_inputs (void)
{
  static const struct
  {
    const char *name;
    SumiDType dtype;
    SumiShape shape;
  } rows[] = {
    { "sample", SUMI_F32, { 4, { 2, 3, 8, 8 } } },    { "timestep", SUMI_I64, { 1, { 2 } } },
    { "target", SUMI_F32, { 4, { 2, 3, 8, 8 } } },    { "x_T", SUMI_F32, { 4, { 2, 3, 8, 8 } } },
    { "noise", SUMI_F32, { 5, { 3, 2, 3, 8, 8 } } },  { "t", SUMI_I64, { 2, { 3, 2 } } },
    { "images", SUMI_F32, { 5, { 3, 2, 3, 8, 8 } } }, { "prompt.00", SUMI_U8, { 1, { 0 } } },
    { "image", SUMI_F32, { 4, { 1, 3, 8, 8 } } },     { "latent", SUMI_F32, { 4, { 1, 4, 1, 1 } } },
    { "eps", SUMI_F32, { 4, { 1, 4, 1, 1 } } },
  };
  SumiTensorMap *map = sumi_tensor_map_new ();

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    sumi_tensor_map_take (map, rows[i].name, sumi_tensor_new (rows[i].dtype, &rows[i].shape, NULL));
  sumi_tensor_map_take (map, "timesteps", sumi_tensor_new_i64 (&SUMI_SHAPE (3), (gint64[]){ 9, 4, 0 }, NULL));
  return map;
}

typedef struct
{
  const char *name;
  const char *json;  /* of the case; NULL: no file */
  const char *class; /* NULL: it runs */
  int status;
  const char *replaced; /* an input that is otherwise, or gone with rank 9 */
  SumiDType dtype;
  SumiShape shape;
} Row;

static const Row rows[] = {
  { "no-case", NULL, "missing_file", 1 },
  { "no-json", "{", "bad_config", 1 },
  { "no-object", "[]", "bad_config", 1 },
  { "not-utf8", "{\"component\":\"\xff\"}", "bad_config", 1 },
  { "no-component", "{}", "usage", 2 },
  { "unknown-component", "{\"component\":\"warp\"}", "usage", 2 },
  { "component-number", "{\"component\":7}", "bad_config", 1 },
  { "params-list", "{\"component\":\"schedule\",\"params\":[]}", "bad_config", 1 },

  { "unet", "{\"component\":\"unet\",\"model\":\"m\"}", NULL, 0 },
  { "unet-outside", "{\"component\":\"unet\",\"model\":\"../m\"}", "unsafe_path", 1 },
  { "unet-absolute", "{\"component\":\"unet\",\"model\":\"/etc\"}", "unsafe_path", 1 },
  { "unet-no-model", "{\"component\":\"unet\"}", "unsafe_path", 1 },
  { "unet-missing", "{\"component\":\"unet\",\"model\":\"n\"}", "missing_file", 1 },
  { "unet-odd",
    "{\"component\":\"unet\",\"model\":\"m\"}",
    "shape_mismatch",
    1,
    "sample",
    SUMI_F32,
    { 4, { 2, 3, 9, 8 } } },
  { "unet-empty",
    "{\"component\":\"unet\",\"model\":\"m\"}",
    "shape_mismatch",
    1,
    "sample",
    SUMI_F32,
    { 4, { 0, 3, 8, 8 } } },
  { "unet-flat", "{\"component\":\"unet\",\"model\":\"m\"}", "shape_mismatch", 1, "sample", SUMI_F32, { 1, { 8 } } },
  { "unet-integers",
    "{\"component\":\"unet\",\"model\":\"m\"}",
    "unsupported_dtype",
    1,
    "sample",
    SUMI_I64,
    { 4, { 2, 3, 8, 8 } } },
  { "unet-one-time",
    "{\"component\":\"unet\",\"model\":\"m\"}",
    "shape_mismatch",
    1,
    "timestep",
    SUMI_I64,
    { 1, { 1 } } },
  { "unet-no-places",
    "{\"component\":\"unet\",\"model\":\"m\"}",
    "shape_mismatch",
    1,
    "encoder_hidden_states",
    SUMI_F32,
    { 3, { 2, 0, 16 } } },
  { "unet-no-time",
    "{\"component\":\"unet\",\"model\":\"m\"}",
    "missing_tensor",
    1,
    "timestep",
    SUMI_I64,
    { 9, { 0 } } },

  { "part",
    "{\"component\":\"unet\",\"model\":\"part\"}",
    NULL,
    0,
    "encoder_hidden_states",
    SUMI_F32,
    { 3, { 2, 4, 16 } } },
  { "part-deaf", "{\"component\":\"unet\",\"model\":\"part\"}", "shape_mismatch", 1 },
  { "part-no-vae", "{\"component\":\"vae-decoder\",\"model\":\"part\"}", "missing_tensor", 1 },

  { "schedule-zero", "{\"component\":\"schedule\",\"params\":{\"T\":0}}", "bad_config", 1 },
  { "schedule-large", "{\"component\":\"schedule\",\"params\":{\"T\":1000000000}}", "bad_config", 1 },
  { "schedule-beta", "{\"component\":\"schedule\",\"params\":{\"beta_start\":2}}", "bad_config", 1 },
  { "schedule-name", "{\"component\":\"schedule\",\"params\":{\"schedule\":\"steep\"}}", "bad_config", 1 },
  { "schedule-t", "{\"component\":\"schedule\"}", "shape_mismatch", 1 }, /* t is (3,2) here */

  { "p-sample", "{\"component\":\"p-sample-loop\",\"model\":\"m\",\"params\":{\"T\":3}}", NULL, 0 },
  { "p-sample-long", "{\"component\":\"p-sample-loop\",\"model\":\"m\",\"params\":{\"T\":100}}", "shape_mismatch", 1 },
  { "p-sample-other-noise",
    "{\"component\":\"p-sample-loop\",\"model\":\"m\",\"params\":{\"T\":3}}",
    "shape_mismatch",
    1,
    "noise",
    SUMI_F32,
    { 5, { 3, 1, 3, 8, 8 } } },

  { "ddim", "{\"component\":\"ddim-sample\",\"model\":\"m\",\"params\":{\"T\":10}}", NULL, 0 },
  { "ddim-eta", "{\"component\":\"ddim-sample\",\"model\":\"m\",\"params\":{\"eta\":2}}", "bad_config", 1 },
  { "ddim-above", "{\"component\":\"ddim-sample\",\"model\":\"m\",\"params\":{\"T\":5}}", "bad_config", 1 },
  { "ddim-equal",
    "{\"component\":\"ddim-sample\",\"model\":\"m\",\"params\":{\"T\":10}}",
    "usage",
    2,
    "timesteps",
    SUMI_I64,
    { 1, { 3 } } },
  { "ddim-one",
    "{\"component\":\"ddim-sample\",\"model\":\"m\",\"params\":{\"T\":10}}",
    "usage",
    2,
    "timesteps",
    SUMI_I64,
    { 1, { 1 } } },
  { "ddpm-steps", "{\"component\":\"ddpm-sample\",\"model\":\"m\",\"params\":{\"steps\":5000}}", "bad_config", 1 },
  { "ddpm-no-draws", "{\"component\":\"ddpm-sample\",\"model\":\"m\",\"params\":{\"steps\":4}}", "missing_tensor", 1 },
  { "ddpm-learned", "{\"component\":\"ddpm-sample\",\"model\":\"m\",\"params\":{\"variance_type\":\"learned_range\"}}",
    "bad_config", 1 },

  { "train", "{\"component\":\"ddpm-train\",\"model\":\"m\",\"params\":{\"steps\":2}}", NULL, 0 },
  { "train-long", "{\"component\":\"ddpm-train\",\"model\":\"m\",\"params\":{\"steps\":4}}", "bad_config", 1 },
  { "train-betas", "{\"component\":\"ddpm-train\",\"model\":\"m\",\"params\":{\"betas\":[1,2]}}", "bad_config", 1 },
  { "train-order", "{\"component\":\"ddpm-train\",\"model\":\"m\",\"param_order\":[\"out.wait\"]}", "bad_config", 1 },
  { "train-order-numbers", "{\"component\":\"ddpm-train\",\"model\":\"m\",\"param_order\":[1]}", "bad_config", 1 },
  { "train-t",
    "{\"component\":\"ddpm-train\",\"model\":\"m\",\"params\":{\"T\":10}}",
    "shape_mismatch",
    1,
    "t",
    SUMI_I64,
    { 2, { 3, 1 } } },
  { "backward", "{\"component\":\"unet-backward\",\"model\":\"m\"}", NULL, 0 },

  { "tokenizer", "{\"component\":\"tokenizer\"}", NULL, 0 },
  { "tokenizer-zeros", "{\"component\":\"tokenizer\"}", "unsupported_dtype", 1, "prompt.00", SUMI_U8, { 1, { 5 } } },
  { "tokenizer-none", "{\"component\":\"tokenizer\"}", "missing_tensor", 1, "prompt.00", SUMI_U8, { 9, { 0 } } },
  { "randn", "{\"component\":\"randn\",\"params\":{\"n\":5}}", NULL, 0 },
  { "randn-none", "{\"component\":\"randn\",\"params\":{\"n\":0}}", "bad_config", 1 },
  { "text-encoder-missing", "{\"component\":\"text-encoder\",\"model\":\"m\"}", "missing_tensor", 1 },
  { "vae-decoder-missing", "{\"component\":\"vae-decoder\",\"model\":\"m\"}", "missing_tensor", 1 },
  { "vae-encoder-missing", "{\"component\":\"vae-encoder\",\"model\":\"m\"}", "missing_tensor", 1 },
  { "vae-train-missing", "{\"component\":\"vae-train\",\"model\":\"m\"}", "missing_tensor", 1 },
  { "taef2-missing", "{\"component\":\"taef2-encode\",\"model\":\"m\"}", "missing_file", 1 },
  { "taef2-flat",
    "{\"component\":\"taef2-encode\",\"model\":\"m\"}",
    "shape_mismatch",
    1,
    "image",
    SUMI_F32,
    { 3, { 3, 8, 8 } } },
};

static void
make_case (const Row *row)
{
  g_autofree char *folder = path_of ("cases", row->name, NULL), *json = path_of ("cases", row->name, "case.json");
  g_autofree char *in = path_of ("cases", row->name, "in.safetensors");
  g_autoptr (SumiTensorMap) inputs = good_inputs ();

  if (row->json == NULL)
    return;
  g_mkdir_with_parents (folder, 0700);
  write_text (json, row->json);
  if (row->replaced != NULL && row->shape.rank == 9)
    sumi_tensor_map_remove (inputs, row->replaced);
  else if (row->replaced != NULL)
    sumi_tensor_map_take (inputs, row->replaced, sumi_tensor_new (row->dtype, &row->shape, NULL));
  g_assert_true (sumi_safetensors_save (inputs, in, NULL));
}

/* Runs sumi probe with these arguments after --root; its exit status and what it printed. */
static int
probe (char **text, const char *const *more)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autoptr (GSubprocess) process = NULL;
  GError *error = NULL;

  g_ptr_array_add (argv, (gpointer)g_getenv ("SUMI"));
  g_ptr_array_add (argv, "probe");
  g_ptr_array_add (argv, "--root");
  g_ptr_array_add (argv, root);
  for (; *more != NULL; more++)
    g_ptr_array_add (argv, (gpointer)*more);
  g_ptr_array_add (argv, NULL);
  process = g_subprocess_newv ((const char *const *)argv->pdata,
                               G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE, &error);
  g_assert_no_error (error);
  g_subprocess_communicate_utf8 (process, NULL, NULL, text, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (g_subprocess_get_if_exited (process));
  return g_subprocess_get_exit_status (process);
}

static void
test_row (gconstpointer data)
{
  const Row *row = data;
  g_autofree char *output = path_of (row->name, NULL, NULL), *text = NULL;
  g_autofree char *tag = row->class != NULL ? g_strdup_printf ("sumi: error [%s", row->class) : NULL;
  int status;

  make_case (row);
  status = probe (&text, (const char *[]){ "--case", row->name, "--output", output, NULL });
  g_test_message ("%s", text);
  g_assert_cmpint (status, ==, row->status);
  if (tag != NULL)
    g_assert_nonnull (strstr (text, tag));
  g_assert_cmpint (g_file_test (output, G_FILE_TEST_EXISTS), ==, row->class == NULL);
  g_unlink (output);
}

static void
assert_probe (int status, const char *class, const char *const *arguments)
{
  g_autofree char *text = NULL;

  g_assert_cmpint (probe (&text, arguments), ==, status);
  g_assert_nonnull (strstr (text, class));
}

static void
test_arguments (void)
{
  g_autofree char *output = path_of ("o", NULL, NULL), *nowhere = path_of ("no", "where", "o");

  make_case (&(Row){ "args", "{\"component\":\"randn\"}" });
#define PROBE(...) ((const char *[]){ __VA_ARGS__, NULL })
  assert_probe (2, "[usage]", PROBE ("--case", "args"));
  assert_probe (2, "[usage]", PROBE ("--output", output));
  assert_probe (2, "[usage]", PROBE ("--case", "../cases/args", "--output", output));
  assert_probe (2, "[usage]", PROBE ("--case", "args", "--output", output, "--dtype", "f16"));
  assert_probe (2, "[usage]", PROBE ("--case", "args", "--output", output, "--engine", "steam"));
  assert_probe (2, "[usage]", PROBE ("--case", "args", "--output", output, "more"));
  assert_probe (1, "[io]", PROBE ("--case", "args", "--output", nowhere));
  assert_probe (1, "[missing_file]", PROBE ("--case", "args", "--output", output, "--check"));
#undef PROBE
}

/* A reference that agrees, one that does not, one of another shape, one with a tensor more, a broken one. */
static void
test_check (void)
{
  g_autofree char *output = path_of ("o", NULL, NULL), *reference = path_of ("cases", "check", "out.safetensors");
  const char *arguments[] = { "--case", "check", "--output", output, "--check", NULL };
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  SumiTensor *values = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (20), NULL);
  SumiRng rng;

  make_case (&(Row){ "check", "{\"component\":\"randn\",\"params\":{\"n\":20,\"seed\":7},"
                              "\"tolerance\":{\"rel_l2\":1e-3,\"max_abs\":0.5}}" });
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 7);
  sumi_rng_normal (&rng, sumi_tensor_poke_f32 (values), 20);
  sumi_tensor_map_take (map, "randn", values);
  g_assert_true (sumi_safetensors_save (map, reference, NULL));
  assert_probe (0, "ok: 1 tensors compared", arguments);

  sumi_tensor_poke_f32 (values)[3] += 0.1f;
  g_assert_true (sumi_safetensors_save (map, reference, NULL));
  assert_probe (1, "FAIL randn: rel_l2", arguments);

  sumi_tensor_poke_f32 (values)[3] = NAN;
  g_assert_true (sumi_safetensors_save (map, reference, NULL));
  assert_probe (1, "not finite", arguments);

  sumi_tensor_map_take (map, "randn", sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (4, 5), NULL));
  g_assert_true (sumi_safetensors_save (map, reference, NULL));
  assert_probe (1, "FAIL randn: found (20), expected (4,5)", arguments);

  sumi_tensor_map_take (map, "more", sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1), NULL));
  g_assert_true (sumi_safetensors_save (map, reference, NULL));
  assert_probe (1, "FAIL more: found nothing", arguments);

  write_text (reference, "short");
  assert_probe (1, "[truncated]", arguments);
}

static void
remove_all (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);

  for (const char *name; dir != NULL && (name = g_dir_read_name (dir)) != NULL;)
    {
      g_autofree char *child = g_build_filename (path, name, NULL);

      remove_all (child);
    }
  g_remove (path);
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  root = g_dir_make_tmp ("sumi-probe-XXXXXX", NULL);
  make_model ();
  make_part ();
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_autofree char *name = g_strconcat ("/probe/", rows[i].name, NULL);

      g_test_add_data_func (name, &rows[i], test_row);
    }
  g_test_add_func ("/probe-options/arguments", test_arguments);
  g_test_add_func ("/probe-options/check", test_check);
  status = g_test_run ();
  remove_all (root);
  g_free (root);
  return status;
}
