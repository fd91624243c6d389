/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Spellings of one model that people have: older names, wrappers, other shapes of the same values, files in place of
 * files. Whatever is read is the same parameters. */
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

#include "io/safetensors.h"
#include "models/inspection.h"
#include "models/model-file.h"
#include "models/model-store.h"
#include "random-model.h"

static char *
scratch (const char *name)
{
  char *path = g_build_filename (g_get_user_cache_dir (), name, NULL); /* isolated */
  g_autofree char *parent = g_path_get_dirname (path);

  g_assert_cmpint (g_mkdir_with_parents (parent, 0777), ==, 0);
  return path;
}

static char *
make (const char *name, gboolean ldm, const char *file)
{
  const RandomModel m = { .name = name, .size = "tiny", .ldm = ldm, .dtype = SUMI_F16 };
  g_autoptr (GError) error = NULL;
  char *path = scratch (file);

  random_model_write (&m, path, &error);
  g_assert_no_error (error);
  return path;
}

/* The parameters a path is read to, which are all there. */
static SumiTensorMap *
read_all (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiInspection) i = sumi_inspection_new (path, NULL, &error);

  g_assert_no_error (error);
  g_assert_no_error (i->why);
  g_assert_no_error (i->report->wrong);
  g_assert_cmpuint (i->report->missing->len + i->report->unknown->len, ==, 0);
  return sumi_tensor_map_ref (i->weights);
}

static void
assert_same (const SumiTensorMap *a, const SumiTensorMap *b)
{
  g_assert_cmpuint (sumi_tensor_map_get_size (a), ==, sumi_tensor_map_get_size (b));
  for (guint i = 0; i < sumi_tensor_map_get_size (a); i++)
    {
      const SumiTensor *x = sumi_tensor_map_peek_nth (a, i),
                       *y = sumi_tensor_map_peek (b, sumi_tensor_map_get_name (a, i));

      g_assert_nonnull (y);
      g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (x), sumi_tensor_get_shape (y)));
      g_assert_cmpmem (sumi_tensor_peek (x), sumi_tensor_get_size (x), sumi_tensor_peek (y), sumi_tensor_get_size (y));
    }
}

/* ---- single files ---- */

typedef SumiTensor *(*ChangeFunc) (const char *name, SumiTensor *t, GString *new_name);

static SumiTensor *
wrap (const char *name, SumiTensor *t, GString *new_name)
{
  g_string_prepend (new_name, "state_dict.");
  return sumi_tensor_ref (t);
}

/* Text encoders of 2022 */
static SumiTensor *
flatten_text (const char *name, SumiTensor *t, GString *new_name)
{
  g_string_replace (new_name, "transformer.text_model.", "transformer.", 1);
  return sumi_tensor_ref (t);
}

static SumiTensor *
reshape (SumiTensor *t, guint rank)
{
  const gint64 *d = sumi_tensor_get_shape (t)->d;

  return rank == 2 ? sumi_tensor_reshape (t, &SUMI_SHAPE (d[0], d[1]), NULL)
                   : sumi_tensor_reshape (t, &SUMI_SHAPE (d[0], d[1], 1, 1), NULL);
}

/* Matrices where there were convolutions of one pixel, and the other way round. */
static SumiTensor *
swap_ranks (const char *name, SumiTensor *t, GString *new_name)
{
  const SumiShape *s = sumi_tensor_get_shape (t);
  gboolean pointwise = s->rank == 4 && s->d[2] == 1 && s->d[3] == 1;

  if (g_str_has_suffix (name, "proj_in.weight") || g_str_has_suffix (name, "proj_out.weight")
      || strstr (name, ".attn_1.q.weight") != NULL)
    return reshape (t, pointwise ? 2 : 4);
  return sumi_tensor_ref (t);
}

static SumiTensor *
add_moving_averages (const char *name, SumiTensor *t, GString *new_name)
{
  if (strcmp (name, "model_ema.decay") == 0)
    g_string_assign (new_name, "model_ema.diffusion_modelinput_blocks00weight");
  return sumi_tensor_ref (t);
}

static void
check_change (const char *model, ChangeFunc change)
{
  g_autofree char *plain = make (model, TRUE, "plain.safetensors"), *changed = scratch ("changed.safetensors");
  g_autofree char *notes = scratch ("plain.json"), *text = NULL, *changed_notes = scratch ("changed.json");
  g_autoptr (SumiTensorMap) from = sumi_safetensors_open (plain, NULL), to = sumi_tensor_map_new ();
  g_autoptr (SumiTensorMap) want = read_all (plain), got = NULL;

  for (guint i = 0; i < sumi_tensor_map_get_size (from); i++)
    {
      const char *name = sumi_tensor_map_get_name (from, i);
      g_autoptr (GString) new_name = g_string_new (name);
      SumiTensor *t = change (name, sumi_tensor_map_peek_nth (from, i), new_name);

      g_assert_nonnull (t);
      sumi_tensor_map_take (to, new_name->str, t);
    }
  g_assert_true (sumi_safetensors_save (to, changed, NULL));
  g_assert_true (g_file_get_contents (notes, &text, NULL, NULL));
  g_assert_true (g_file_set_contents (changed_notes, text, -1, NULL));
  got = read_all (changed);
  assert_same (want, got);
}

static void
test_single_files (void)
{
  check_change ("sd15", wrap);
  check_change ("sdxl", wrap);
  check_change ("sd15", flatten_text);
  check_change ("sdxl", flatten_text);
  check_change ("sd15", add_moving_averages);
  check_change ("sd15", swap_ranks);
  check_change ("sd21", swap_ranks);
}

/* Tensors are slices of the mapped file: a hole in place of 2 GB costs nothing to read. */
static void
test_nothing_is_copied (void)
{
  const RandomModel m = { .name = "sd21", .size = "full", .ldm = TRUE, .dtype = SUMI_F32, .sparse = TRUE };
  g_autofree char *path = scratch ("large.safetensors"), *before = NULL, *after = NULL;
  g_autoptr (SumiTensorMap) weights = NULL;
  g_autoptr (JsonObject) config = NULL;
  g_autoptr (GError) error = NULL;
  GError *why = NULL;
  gint64 pages[2];

  g_assert_true (random_model_write (&m, path, &error));
  if (!g_file_get_contents ("/proc/self/statm", &before, NULL, NULL))
    {
      g_test_skip ("/proc is not there");
      return;
    }
  g_assert_true (sumi_model_read (path, &weights, &config, &why, &error));
  g_assert_no_error (error);
  g_assert_no_error (why);
  g_assert_true (g_file_get_contents ("/proc/self/statm", &after, NULL, NULL));
  pages[0] = g_ascii_strtoll (strchr (before, ' '), NULL, 10); /* resident */
  pages[1] = g_ascii_strtoll (strchr (after, ' '), NULL, 10);
  g_assert_cmpint ((pages[1] - pages[0]) * 4096, <, 64 << 20);
  g_unlink (path);
}

/* ---- folders ---- */

static void
move (const char *folder, const char *from, const char *to)
{
  g_autofree char *a = g_build_filename (folder, from, NULL), *b = g_build_filename (folder, to, NULL);

  g_assert_cmpint (g_rename (a, b), ==, 0);
}

/* Two shards and their index. */
static void
split (const char *folder, const char *part, const char *stem)
{
  g_autofree char *name = g_strconcat (stem, ".safetensors", NULL), *path = g_build_filename (folder, part, name, NULL);
  g_autofree char *index_name = g_strconcat (stem, ".safetensors.index.json", NULL);
  g_autofree char *index_path = g_build_filename (folder, part, index_name, NULL);
  g_autoptr (GString) index = g_string_new ("{\"metadata\":{\"total_size\":1},\"weight_map\":{");
  g_autoptr (SumiTensorMap) map = sumi_safetensors_open (path, NULL);

  for (guint shard = 1; shard <= 2; shard++)
    {
      g_autofree char *shard_name = g_strdup_printf ("%s-%05u-of-00002.safetensors", stem, shard);
      g_autofree char *shard_path = g_build_filename (folder, part, shard_name, NULL);
      g_autoptr (SumiTensorMap) half = sumi_tensor_map_new ();

      for (guint i = shard - 1; i < sumi_tensor_map_get_size (map); i += 2)
        {
          const char *tensor = sumi_tensor_map_get_name (map, i);

          sumi_tensor_map_set (half, tensor, sumi_tensor_map_peek_nth (map, i));
          g_string_append_printf (index, "%s\"%s\":\"%s\"", i > 0 ? "," : "", tensor, shard_name);
        }
      g_assert_true (sumi_safetensors_save (half, shard_path, NULL));
    }
  g_string_append (index, "}}");
  g_assert_true (g_file_set_contents (index_path, index->str, -1, NULL));
  g_assert_cmpint (g_unlink (path), ==, 0);
}

/* The auto-encoder's attention as diffusers named it until 0.14. */
static void
age_vae (const char *folder)
{
  static const char *const names[][2]
      = { { "to_q", "query" }, { "to_k", "key" }, { "to_v", "value" }, { "to_out.0", "proj_attn" } };
  g_autofree char *path = g_build_filename (folder, "vae", "diffusion_pytorch_model.safetensors", NULL);
  g_autoptr (SumiTensorMap) map = sumi_safetensors_open (path, NULL), old = sumi_tensor_map_new ();

  for (guint i = 0; i < sumi_tensor_map_get_size (map); i++)
    {
      g_autoptr (GString) name = g_string_new (sumi_tensor_map_get_name (map, i));

      for (guint k = 0; k < G_N_ELEMENTS (names); k++)
        g_string_replace (name, names[k][0], names[k][1], 1);
      sumi_tensor_map_set (old, name->str, sumi_tensor_map_peek_nth (map, i));
    }
  g_assert_true (sumi_safetensors_save (old, path, NULL));
}

/* The text encoder's configuration inside that of a whole CLIP. */
static void
nest_text_config (const char *folder)
{
  g_autofree char *path = g_build_filename (folder, "text_encoder", "config.json", NULL), *text = NULL, *nested = NULL;

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  nested = g_strdup_printf ("{\"architectures\":[\"CLIPModel\"],\"text_config\":%s}", text);
  g_assert_true (g_file_set_contents (path, nested, -1, NULL));
}

static void
test_folders (void)
{
  g_autofree char *plain = make ("sdxl", FALSE, "plain"), *folder = make ("sdxl", FALSE, "other");
  g_autoptr (SumiTensorMap) want = read_all (plain), got = NULL;

  move (folder, "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors");
  move (folder, "text_encoder_2/model.safetensors", "text_encoder_2/model.fp16.safetensors");
  split (folder, "text_encoder", "model");
  age_vae (folder);
  nest_text_config (folder);
  got = read_all (folder);
  assert_same (want, got);
}

/* A folder's name may say that it was distilled; what its scheduler says stays. */
static void
test_distilled_folder (void)
{
  g_autofree char *folder = make ("sdxl", FALSE, "some-lightning-2step");
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiInspection) i = sumi_inspection_new (folder, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (i->config.defaults.steps, ==, 2);
  g_assert_cmpfloat (i->config.defaults.guidance_scale, ==, 1);
  g_assert_cmpstr (i->config.defaults.sampler, ==, "euler");
  g_assert_cmpint (i->config.spacing, ==, SUMI_SPACING_LEADING);
}

static void
test_folders_refused (void)
{
  g_autofree char *folder = make ("sd15", FALSE, "refused"),
                  *index = g_build_filename (folder, "model_index.json", NULL);
  g_autofree char *weights = g_build_filename (folder, "vae", "diffusion_pytorch_model.safetensors", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiInspection) i = NULL;

  g_assert_cmpint (g_unlink (weights), ==, 0);
  g_assert_null (sumi_inspection_new (folder, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE);
  g_clear_error (&error);

  g_assert_true (g_file_set_contents (
      index, "{\"_class_name\":\"StableDiffusionPipeline\",\"text_encoder\":[null,null]}", -1, NULL));
  g_assert_null (sumi_inspection_new (folder, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
  g_clear_error (&error);

  g_assert_true (g_file_set_contents (index, "{\"_class_name\":\"FluxPipeline\"}", -1, NULL));
  i = sumi_inspection_new (folder, NULL, &error);
  g_assert_no_error (error);
  g_assert_error (i->why, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL);
  g_assert_nonnull (strstr (i->why->message, "FluxPipeline"));
}

/* ---- what is wrong is told ---- */

/* Reads the tiny model with one tensor of it replaced. */
static GError *
load_with (const char *name, SumiTensor *t)
{
  g_autofree char *path = make ("sd15", TRUE, "wrong.safetensors");
  g_autoptr (SumiTensorMap) map = sumi_safetensors_open (path, NULL);
  GError *error = NULL;

  g_assert_nonnull (sumi_tensor_map_peek (map, name));
  if (t != NULL)
    sumi_tensor_map_take (map, name, t);
  else
    sumi_tensor_map_remove (map, name);
  g_assert_true (sumi_safetensors_save (map, path, NULL));
  g_assert_null (sumi_inspection_new (path, "model", &error));
  g_test_message ("%s", error->message);
  return error;
}

static void
test_wrong_weights (void)
{
#define BIAS "model.diffusion_model.input_blocks.1.0.in_layers.0.bias"
  SumiTensor *nan = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (32), NULL);
  g_autoptr (GError) missing = load_with (BIAS, NULL);
  g_autoptr (GError) shape = load_with (BIAS, sumi_tensor_new (SUMI_F16, &SUMI_SHAPE (33), NULL));
  g_autoptr (GError) finite = NULL;

  sumi_tensor_poke_f32 (nan)[7] = NAN;
  finite = load_with (BIAS, nan);
  g_assert_error (missing, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
  g_assert_error (shape, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  g_assert_error (finite, SUMI_ERROR, SUMI_ERROR_NON_FINITE);
  g_assert_nonnull (strstr (missing->message, "unet.down_blocks.0.resnets.0.norm1.bias"));
}

/* A checkpoint without its auto-encoder opens; one is given with the request. */
static void
test_no_vae (void)
{
  g_autofree char *path = make ("sd15", TRUE, "no-vae.safetensors");
  g_autoptr (SumiTensorMap) map = sumi_safetensors_open (path, NULL);
  const SumiPipelineOptions options = { .dtype = SUMI_F32 };
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiPipeline) pipeline = NULL;

  for (guint i = sumi_tensor_map_get_size (map); i-- > 0;)
    {
      g_autofree char *name = g_strdup (sumi_tensor_map_get_name (map, i));

      if (g_str_has_prefix (name, "first_stage_model."))
        sumi_tensor_map_remove (map, name);
    }
  g_assert_true (sumi_safetensors_save (map, path, NULL));
  pipeline = sumi_model_open_pipeline (path, &options, &error);
  g_assert_no_error (error);
  g_assert_null (sumi_inspection_new (path, "model", &error)); /* it is not whole, though */
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR);
}

/* Other programs write a NAME.json beside a model too. */
static void
test_foreign_notes (void)
{
  g_autofree char *path = make ("sd15", TRUE, "foreign.safetensors"), *notes = scratch ("foreign.json");
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiInspection) i = NULL;

  g_assert_true (g_file_set_contents (notes, "{\"description\":\"a fox\",\"sd version\":\"SD1\"}", -1, NULL));
  i = sumi_inspection_new (path, NULL, &error);
  g_assert_no_error (error);
  g_assert_error (i->why, SUMI_ERROR, SUMI_ERROR_UNKNOWN_MODEL); /* text states 32 wide are no published model's */
  g_assert_nonnull (strstr (i->why->message, "32"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, G_TEST_OPTION_ISOLATE_DIRS, NULL);
  g_test_add_func ("/namings/single-files", test_single_files);
  g_test_add_func ("/namings/nothing-is-copied", test_nothing_is_copied);
  g_test_add_func ("/namings/folders", test_folders);
  g_test_add_func ("/namings/distilled-folder", test_distilled_folder);
  g_test_add_func ("/namings/folders-refused", test_folders_refused);
  g_test_add_func ("/namings/wrong-weights", test_wrong_weights);
  g_test_add_func ("/namings/no-vae", test_no_vae);
  g_test_add_func ("/namings/foreign-notes", test_foreign_notes);
  return g_test_run ();
}
