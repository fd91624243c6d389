/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Adapters, embeddings and other auto-encoders in a pipeline: what they change, and that they leave no trace. */
#include "stable-model.h"

#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

#include "io/safetensors.h"
#include "nn/names.h"

#define WIDTH 32 /* of the tiny model's first level and of its text encoder */

static char *folder, *loras, *embeddings;

static SumiPipeline *
open_pipeline (gboolean warm)
{
  const SumiPipelineOptions options = { .keep_warm = warm, .loras = loras, .embeddings = embeddings };

  return stable_model_open ("sd15", &options);
}

static SumiPipeline *
warm (void)
{
  static SumiPipeline *p;

  if (p == NULL)
    p = open_pipeline (TRUE);
  return p;
}

static SumiRequest
request (const char *prompt)
{
  SumiRequest r;

  sumi_request_init (&r);
  r.prompt = prompt;
  r.width = r.height = 64;
  r.steps = 2;
  r.seed = 5;
  return r;
}

static SumiResult *
run (SumiPipeline *p, const SumiRequest *r)
{
  g_autoptr (GError) error = NULL;
  SumiResult *result = sumi_pipeline_run (p, r, NULL, NULL, NULL, &error);

  g_assert_no_error (error);
  return result;
}

static gboolean
same (const SumiResult *a, guint i, const SumiResult *b, guint j)
{
  gsize n = (gsize)sumi_tensor_get_numel (a->latents) / a->images->len * sizeof (float);

  return memcmp ((const char *)sumi_tensor_peek (a->latents) + i * n,
                 (const char *)sumi_tensor_peek (b->latents) + j * n, n)
         == 0;
}

static gboolean
has_note (const SumiResult *r, const char *part)
{
  for (guint i = 0; i < r->notes->len; i++)
    if (strstr (g_ptr_array_index (r->notes, i), part) != NULL)
      return TRUE;
  return FALSE;
}

/* ---- files ---- */

static SumiTensor *
random_tensor (const SumiShape *shape, guint64 seed, double scale)
{
  SumiTensor *t = sumi_tensor_new (SUMI_F32, shape, NULL);
  SumiRng rng;

  sumi_rng_seed (&rng, SUMI_RNG_TORCH, seed);
  sumi_rng_normal (&rng, sumi_tensor_poke_f32 (t), (gsize)sumi_tensor_get_numel (t));
  for (gint64 i = 0; i < sumi_tensor_get_numel (t); i++)
    sumi_tensor_poke_f32 (t)[i] *= (float)scale;
  return t;
}

static void
add_pair (SumiTensorMap *map, const char *module, guint64 seed)
{
  g_autofree char *down = g_strconcat (module, ".lora_down.weight", NULL);
  g_autofree char *up = g_strconcat (module, ".lora_up.weight", NULL);

  sumi_tensor_map_take (map, down, random_tensor (&SUMI_SHAPE (2, WIDTH), seed, 0.5));
  sumi_tensor_map_take (map, up, random_tensor (&SUMI_SHAPE (WIDTH, 2), seed + 1, 0.5));
}

#define UNET_MODULE "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
#define TEXT_MODULE "lora_te_text_model_encoder_layers_0_self_attn_q_proj"

static char *
write_map (SumiTensorMap *map, const char *dir, const char *name)
{
  g_autoptr (GError) error = NULL;
  char *path = g_build_filename (dir, name, NULL);

  sumi_safetensors_save (map, path, &error);
  g_assert_no_error (error);
  return path;
}

static char *
write_lora (const char *name, gboolean unet, gboolean text, guint64 seed)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();

  if (unet)
    add_pair (map, UNET_MODULE, seed);
  if (text)
    add_pair (map, TEXT_MODULE, seed + 2);
  return write_map (map, loras, name);
}

/* ---- tests ---- */

/* On, off, another one, two at once, off: the model without is the same every time, and what is drawn with adapters
 * does not depend on what was merged before. */
static void
test_leave_no_trace (void)
{
  g_autofree char *a = write_lora ("a.safetensors", TRUE, TRUE, 1), *b = write_lora ("b.safetensors", TRUE, FALSE, 9);
  const SumiRequestLora both[] = { { a, 1, 1 }, { b, 0.5, 0.5 } };
  SumiRequest plain = request ("a fox"), with_a = plain, with_both = plain;
  g_autoptr (SumiPipeline) fresh = open_pipeline (FALSE);
  g_autoptr (SumiResult) none = run (warm (), &plain);
  g_autoptr (SumiResult) one = NULL;
  g_autoptr (SumiResult) two = NULL;
  g_autoptr (SumiResult) again = NULL;
  g_autoptr (SumiResult) cold = NULL;

  with_a.loras = with_both.loras = both;
  with_a.n_loras = 1;
  with_both.n_loras = 2;
  one = run (warm (), &with_a);
  g_assert_false (same (none, 0, one, 0));
  two = run (warm (), &with_both);
  g_assert_false (same (one, 0, two, 0));
  again = run (warm (), &plain);
  g_assert_true (same (none, 0, again, 0));
  g_clear_pointer (&again, sumi_result_free);
  again = run (warm (), &with_a);
  g_assert_true (same (one, 0, again, 0));
  cold = run (fresh, &with_both);
  g_assert_true (same (two, 0, cold, 0));
}

/* Each strength reaches its own network. */
static void
test_strengths (void)
{
  g_autofree char *path = write_lora ("parts.safetensors", TRUE, TRUE, 20);
  g_autofree char *text = write_lora ("text.safetensors", FALSE, TRUE, 20);
  g_autofree char *unet = write_lora ("unet.safetensors", TRUE, FALSE, 20);
  SumiRequestLora lora = { path, 0, 1 };
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) a = NULL;
  g_autoptr (SumiResult) b = NULL;
  g_autoptr (SumiResult) c = NULL;
  g_autoptr (SumiResult) d = NULL;

  r.loras = &lora;
  r.n_loras = 1;
  a = run (warm (), &r);
  lora = (SumiRequestLora){ text, 1, 1 };
  b = run (warm (), &r);
  g_assert_true (same (a, 0, b, 0));
  lora = (SumiRequestLora){ path, 0.7, 0 };
  c = run (warm (), &r);
  lora = (SumiRequestLora){ unet, 0.7, 1 };
  d = run (warm (), &r);
  g_assert_true (same (c, 0, d, 0));
  g_assert_false (same (a, 0, c, 0));
}

static void
test_in_the_prompt (void)
{
  g_autofree char *path = write_lora ("ink.safetensors", TRUE, TRUE, 30);
  const SumiRequestLora lora = { path, 0.8, 0.8 };
  SumiRequest said = request ("a fox <lora:ink:0.8>"), given = request ("a fox"), plain = given;
  SumiRequest typo = request ("a fox <lora:inc:1>"), wrong = request ("a fox <lora:../ink:1>");
  SumiRequest negative = request ("a fox");
  g_autoptr (SumiResult) a = run (warm (), &said);
  g_autoptr (SumiResult) b = NULL;
  g_autoptr (SumiResult) none = run (warm (), &plain);
  g_autoptr (SumiResult) c = run (warm (), &typo);
  g_autoptr (SumiResult) d = run (warm (), &wrong);
  g_autoptr (SumiResult) e = NULL;

  g_assert_nonnull (strstr (g_ptr_array_index (a->parameters, 0), ", Lora hashes: \"ink: "));
  g_assert_null (strstr (g_ptr_array_index (none->parameters, 0), "Lora"));
  given.loras = &lora;
  given.n_loras = 1;
  b = run (warm (), &given);
  g_assert_true (same (a, 0, b, 0));
  g_assert_cmpstr (g_ptr_array_index (a->parameters, 0), ==, g_ptr_array_index (b->parameters, 0));
  g_assert_true (has_note (c, "adapter inc was ignored: no such file was found"));
  g_assert_true (same (c, 0, none, 0));
  g_assert_true (has_note (d, "was ignored"));
  negative.negative_prompt = "blue <lora:ink:1>";
  e = run (warm (), &negative);
  g_assert_true (has_note (e, "adapters in the negative prompt were ignored"));
}

/* Chosen by the seed: pictures of a batch with different adapters are drawn as each alone. */
static void
test_batch (void)
{
  g_autofree char *path = write_lora ("choice.safetensors", TRUE, TRUE, 40);
  SumiRequest r = request ("a fox {<lora:choice:1>|}"), one = r;
  g_autoptr (SumiResult) all = NULL;
  guint different = 0;

  r.batch = 6;
  all = run (warm (), &r);
  for (guint i = 0; i < r.batch; i++)
    {
      SumiRequest plain = request ("a fox");
      g_autoptr (SumiResult) alone = NULL;
      g_autoptr (SumiResult) without = NULL;

      one.seed = plain.seed = r.seed + i;
      alone = run (warm (), &one);
      without = run (warm (), &plain);
      g_assert_true (same (all, i, alone, 0));
      different += !same (alone, 0, without, 0);
    }
  g_assert_cmpuint (different, >, 0);
  g_assert_cmpuint (different, <, r.batch);
}

static void
assert_fails (const SumiRequest *r, int code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (sumi_pipeline_run (warm (), r, NULL, NULL, NULL, &error));
  g_assert_error (error, SUMI_ERROR, code);
}

static void
test_unmatched_and_wrong (void)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  g_autofree char *path = NULL, *missing = g_build_filename (folder, "none.safetensors", NULL);
  SumiRequestLora lora = { NULL, 1, 1 };
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) result = NULL;
  g_autoptr (SumiResult) after = NULL;

  add_pair (map, UNET_MODULE, 50);
  add_pair (map, "lora_unet_down_blocks_7_attentions_0_transformer_blocks_0_attn1_to_q", 50);
  path = write_map (map, loras, "extra.safetensors");
  r.loras = &lora;
  r.n_loras = 1;
  lora.path = path;
  result = run (warm (), &r);
  g_assert_true (has_note (result, "adapter extra: 2 keys fit nothing in this model and were ignored"));
  lora.path = missing;
  assert_fails (&r, SUMI_ERROR_MISSING_FILE);
  lora.path = path;
  lora.unet_strength = NAN;
  assert_fails (&r, SUMI_ERROR_USAGE);
  lora.unet_strength = 1;
  after = run (warm (), &r);
  g_assert_true (same (result, 0, after, 0));
}

/* A file that changes is read again. */
static void
test_changed_file (void)
{
  g_autofree char *path = write_lora ("new.safetensors", TRUE, FALSE, 60), *again = NULL;
  const SumiRequestLora lora = { path, 1, 1 };
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) a = NULL;
  g_autoptr (SumiResult) b = NULL;

  r.loras = &lora;
  r.n_loras = 1;
  a = run (warm (), &r);
  again = write_lora ("new.safetensors", TRUE, TRUE, 70);
  b = run (warm (), &r);
  g_assert_false (same (a, 0, b, 0));
}

static void
test_embeddings (void)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  g_autoptr (SumiTensorMap) wide = sumi_tensor_map_new ();
  g_autofree char *path = NULL, *said_path = NULL, *wide_path = NULL;
  SumiRequest r = request ("a zwx fox"), unsaid = request ("a fox"), other = request ("a qqr fox");
  g_autoptr (SumiResult) before = run (warm (), &r);
  g_autoptr (SumiResult) a = NULL;
  g_autoptr (SumiResult) b = NULL;
  g_autoptr (SumiResult) c = NULL;
  g_autoptr (SumiResult) d = NULL;
  const char *paths[2] = { NULL };

  sumi_tensor_map_take (map, "emb_params", random_tensor (&SUMI_SHAPE (3, WIDTH), 3, 1));
  path = write_map (map, folder, "zwx.safetensors");
  paths[0] = path;
  r.embeddings = paths;
  a = run (warm (), &r);
  g_assert_false (same (before, 0, a, 0));
  said_path = write_map (map, embeddings, "ZWX.safetensors");
  r.embeddings = NULL;
  b = run (warm (), &r);
  g_assert_true (same (a, 0, b, 0));
  g_assert_true (has_note (b, "embedding ZWX is used"));
  c = run (warm (), &unsaid);
  g_assert_false (has_note (c, "embedding"));
  g_remove (said_path);

  sumi_tensor_map_take (wide, "emb_params", random_tensor (&SUMI_SHAPE (1, 2 * WIDTH), 3, 1));
  wide_path = write_map (wide, embeddings, "qqr.safetensors");
  d = run (warm (), &other);
  g_assert_true (has_note (d, "embedding qqr was ignored"));
  paths[0] = wide_path;
  other.embeddings = paths;
  assert_fails (&other, SUMI_ERROR_SHAPE_MISMATCH);
  g_remove (wide_path);
}

/* The model's own auto-encoder in the original spelling is the same one. */
static void
test_other_autoencoder (void)
{
  g_autoptr (SumiTensorMap) weights = stable_model_weights ("sd15");
  g_autoptr (SumiTensorMap) vae = sumi_tensor_map_new ();
  g_autofree char *path = NULL, *lora = write_lora ("no-vae.safetensors", TRUE, FALSE, 1);
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) own = run (warm (), &r);
  g_autoptr (SumiResult) other = NULL;
  g_autoptr (SumiResult) again = NULL;

  for (guint i = 0; i < sumi_tensor_map_get_size (weights); i++)
    {
      const char *name = sumi_tensor_map_get_name (weights, i);
      g_autofree char *ldm = g_str_has_prefix (name, "vae.") ? sumi_names_vae_to_ldm (4, name + 4) : NULL;
      g_autofree char *full = ldm != NULL ? g_strconcat ("first_stage_model.", ldm, NULL) : NULL;

      if (full != NULL)
        sumi_tensor_map_set (vae, full, sumi_tensor_map_peek_nth (weights, i));
    }
  path = write_map (vae, folder, "vae.safetensors");
  r.vae = path;
  other = run (warm (), &r);
  g_assert_cmpmem (sumi_tensor_peek (g_ptr_array_index (own->images, 0)), 64 * 64 * 3,
                   sumi_tensor_peek (g_ptr_array_index (other->images, 0)), 64 * 64 * 3);
  g_assert_nonnull (strstr (g_ptr_array_index (other->parameters, 0), ", VAE: vae"));
  r.vae = lora;
  assert_fails (&r, SUMI_ERROR_MISSING_TENSOR);
  r.vae = NULL;
  again = run (warm (), &r);
  g_assert_cmpmem (sumi_tensor_peek (g_ptr_array_index (own->images, 0)), 64 * 64 * 3,
                   sumi_tensor_peek (g_ptr_array_index (again->images, 0)), 64 * 64 * 3);
}

static void
remove_folder (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *file = g_build_filename (path, name, NULL);

      g_remove (file);
    }
  g_rmdir (path);
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  folder = g_dir_make_tmp ("sumi-adapters-XXXXXX", NULL);
  loras = g_build_filename (folder, "loras", NULL);
  embeddings = g_build_filename (folder, "embeddings", NULL);
  g_mkdir (loras, 0700);
  g_mkdir (embeddings, 0700);
  g_test_add_func ("/adapters/leave-no-trace", test_leave_no_trace);
  g_test_add_func ("/adapters/strengths", test_strengths);
  g_test_add_func ("/adapters/in-the-prompt", test_in_the_prompt);
  g_test_add_func ("/adapters/batch", test_batch);
  g_test_add_func ("/adapters/unmatched", test_unmatched_and_wrong);
  g_test_add_func ("/adapters/changed-file", test_changed_file);
  g_test_add_func ("/adapters/embeddings", test_embeddings);
  g_test_add_func ("/adapters/autoencoder", test_other_autoencoder);
  status = g_test_run ();
  remove_folder (loras);
  remove_folder (embeddings);
  remove_folder (folder);
  return status;
}
