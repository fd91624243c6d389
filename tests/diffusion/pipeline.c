/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The whole way from a request to pictures, with a tiny random model, on the best engine there is. */
#include "diffusion/model.h"
#include "diffusion/pipeline.h"
#include "io/safetensors.h"
#include "tiny-model.h"

#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

static char *merges, *taef2;

static SumiPipeline *
open_pipeline (SumiTensorMap *weights, JsonObject *config, GError **error)
{
  SumiPipelineOptions o = { .dtype = SUMI_F32, .merges = merges, .taef2 = taef2, .model = "tiny" };

  return sumi_pipeline_new (weights, config, &o, error);
}

/* One for all tests: plans stay warm. */
static SumiPipeline *
tiny (void)
{
  static SumiPipeline *p;

  if (p == NULL)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (SumiTensorMap) weights = tiny_model_new (merges);
      g_autoptr (JsonObject) config = tiny_model_config ();

      p = open_pipeline (weights, config, &error);
      g_assert_no_error (error);
    }
  return p;
}

static SumiRequest
request (const char *prompt)
{
  SumiRequest r;

  sumi_request_init (&r);
  r.prompt = prompt;
  r.steps = 3;
  r.seed = 5;
  return r;
}

static SumiResult *
run (const SumiRequest *r)
{
  g_autoptr (GError) error = NULL;
  SumiResult *result = sumi_pipeline_run (tiny (), r, NULL, NULL, NULL, &error);

  g_assert_no_error (error);
  return result;
}

static void
assert_fails (const SumiRequest *r, int code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (sumi_pipeline_run (tiny (), r, NULL, NULL, NULL, &error));
  g_assert_error (error, SUMI_ERROR, code);
}

/* Picture and latents of place i of one are those of place j of the other, to the bit. */
static gboolean
same (const SumiResult *a, guint i, const SumiResult *b, guint j)
{
  const SumiTensor *x = g_ptr_array_index (a->images, i), *y = g_ptr_array_index (b->images, j);
  gsize n = sumi_tensor_get_numel (a->latents) / a->images->len;

  g_assert_cmpuint (sumi_tensor_get_size (x), ==, sumi_tensor_get_size (y));
  return memcmp (sumi_tensor_peek (x), sumi_tensor_peek (y), sumi_tensor_get_size (x)) == 0
         && memcmp (sumi_tensor_peek_f32 (a->latents) + i * n, sumi_tensor_peek_f32 (b->latents) + j * n,
                    n * sizeof (float))
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

static void
test_draws (void)
{
  SumiRequest r = request ("a red apple");
  g_autoptr (SumiResult) a = run (&r);
  g_autoptr (SumiResult) b = run (&r);
  g_autoptr (SumiResult) c = NULL;

  g_assert_cmpuint (a->images->len, ==, 1);
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (g_ptr_array_index (a->images, 0)), &SUMI_SHAPE (16, 16, 3)));
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (a->latents), &SUMI_SHAPE (1, 32, 2, 2)));
  g_assert_cmpuint (a->notes->len, ==, 0);
  g_assert_true (same (a, 0, b, 0));
  r.seed = 6;
  c = run (&r);
  g_assert_false (same (a, 0, c, 0));
}

/* Every sampler, with noise of its own on the way. */
static void
test_batch_changes_nothing (void)
{
  static const struct
  {
    const char *sampler;
    double eta;
    SumiRngKind rng;
  } ways[] = { { "ddim", 0, SUMI_RNG_TORCH }, { "ddim", 0.7, SUMI_RNG_PHILOX }, { "ddpm", 0, SUMI_RNG_TORCH } };

  for (guint i = 0; i < G_N_ELEMENTS (ways); i++)
    {
      SumiRequest r = request ("a fox"), one;
      g_autoptr (SumiResult) three = NULL;

      r.sampler = ways[i].sampler;
      r.eta = ways[i].eta;
      r.rng = ways[i].rng;
      one = r;
      r.batch = 3;
      three = run (&r);
      g_assert_cmpuint (three->images->len, ==, 3);
      for (guint k = 0; k < 3; k++)
        {
          g_autoptr (SumiResult) alone = NULL;

          one.seed = r.seed + k;
          alone = run (&one);
          g_assert_true (same (three, k, alone, 0));
          g_assert_cmpstr (g_ptr_array_index (three->parameters, k), ==, g_ptr_array_index (alone->parameters, 0));
        }
    }
}

/* uncond + w (cond - uncond): 1 is the prompt alone, 0 the negative prompt alone; between, both matter. */
static void
test_guidance (void)
{
  SumiRequest r = request ("a fox"), other = request ("a red apple");
  g_autoptr (SumiResult) cond = NULL;
  g_autoptr (SumiResult) cond_other_negative = NULL;
  g_autoptr (SumiResult) uncond = NULL;
  g_autoptr (SumiResult) guided = NULL;
  g_autoptr (SumiResult) guided_other_negative = NULL;

  r.negative_prompt = "a red apple";
  r.guidance_scale = 1;
  cond = run (&r);
  g_assert_true (has_note (cond, "negative prompt was ignored"));
  g_assert_null (strstr (g_ptr_array_index (cond->parameters, 0), "Negative"));
  r.negative_prompt = "white";
  cond_other_negative = run (&r);
  g_assert_true (same (cond, 0, cond_other_negative, 0));

  r.negative_prompt = "a red apple";
  r.guidance_scale = 0;
  uncond = run (&r);
  g_assert_true (has_note (uncond, "the prompt was ignored"));
  other.guidance_scale = 1;
  g_clear_pointer (&cond_other_negative, sumi_result_free);
  cond_other_negative = run (&other);
  g_assert_true (same (uncond, 0, cond_other_negative, 0));
  g_assert_false (same (uncond, 0, cond, 0));

  r.guidance_scale = 5;
  guided = run (&r);
  g_assert_false (has_note (guided, "negative"));
  g_assert_nonnull (strstr (g_ptr_array_index (guided->parameters, 0), "\nNegative prompt: a red apple\n"));
  r.negative_prompt = "white";
  guided_other_negative = run (&r);
  g_assert_false (same (guided, 0, guided_other_negative, 0));
}

static void
test_notes (void)
{
  SumiRequest r = request ("a “red” griffin, griffin — on café 🦊…"), plain = request ("a red qqq");
  g_autoptr (SumiResult) result = run (&r);
  g_autoptr (SumiResult) cut = NULL;
  g_autoptr (SumiResult) other_words = NULL;

  g_assert_true (has_note (result, "not learned: griffin, café, 🦊"));
  r.prompt = "a red apple on a red fox on a red apple on white";
  cut = run (&r);
  g_assert_true (has_note (cut, "prompt: the last 5 tokens were cut, 8 fit"));
  g_assert_false (has_note (cut, "not learned"));

  r = plain;
  r.eta = 0.5;
  r.sampler = "ddpm";
  other_words = run (&r);
  g_assert_true (has_note (other_words, "eta was ignored"));
  g_assert_true (has_note (other_words, "not learned: qqq"));
}

/* A word the model has not learned counts as one unknown word, whichever it is. */
static void
test_unknown_words_draw (void)
{
  SumiRequest r = request ("xylophone");
  g_autoptr (SumiResult) a = run (&r);
  g_autoptr (SumiResult) b = NULL;
  SumiRequest empty = request (NULL);
  g_autoptr (SumiResult) nothing = run (&empty);

  r.prompt = "";
  b = run (&r);
  g_assert_cmpuint (a->images->len, ==, 1);
  g_assert_true (same (b, 0, nothing, 0));
}

static void
test_sizes (void)
{
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) odd = NULL;
  g_autoptr (SumiResult) wide = NULL;

  r.width = 48;
  r.height = 16;
  wide = run (&r);
  g_assert_cmpuint (wide->notes->len, ==, 0);
  g_assert_true (
      sumi_shape_equal (sumi_tensor_get_shape (g_ptr_array_index (wide->images, 0)), &SUMI_SHAPE (16, 48, 3)));
  r.width = 33; /* latents of 5, but the network halves once: 6 */
  r.height = 17;
  odd = run (&r);
  g_assert_true (has_note (odd, "drawn at 48x32 and cut to 33x17"));
  g_assert_true (
      sumi_shape_equal (sumi_tensor_get_shape (g_ptr_array_index (odd->images, 0)), &SUMI_SHAPE (17, 33, 3)));
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (odd->latents), &SUMI_SHAPE (1, 32, 4, 6)));
}

static void
test_refusals (void)
{
  SumiRequest good = request ("a fox"), r;

#define REFUSE(field, value)                                                                                           \
  r = good;                                                                                                            \
  r.field = value;                                                                                                     \
  assert_fails (&r, SUMI_ERROR_USAGE)
  REFUSE (width, 15);
  REFUSE (width, 4097);
  REFUSE (height, 8);
  REFUSE (height, G_MAXUINT);
  REFUSE (steps, 101); /* trained with 100 */
  REFUSE (batch, 0);
  REFUSE (batch, 65);
  REFUSE (sampler, "magic");
  REFUSE (sigmas, "stairs");
  REFUSE (prediction, "everything");
  REFUSE (strength, 1.5);
  REFUSE (strength, NAN);
  REFUSE (guidance_rescale, -0.1);
  REFUSE (guidance_low, -1);
  REFUSE (guidance_high, 0);
  REFUSE (guidance_high, NAN);
  REFUSE (vae, "vae.safetensors"); /* for Stable Diffusion only */
  REFUSE (clip_skip, 13);
  REFUSE (eta, -0.1);
  REFUSE (eta, NAN);
  REFUSE (guidance_scale, -0.5);
  REFUSE (guidance_scale, INFINITY);
  REFUSE (guidance_scale, NAN);
  REFUSE (prompt, "caf\xe9");
  REFUSE (negative_prompt, "\xff");
#undef REFUSE
}

static void
test_init_noise (void)
{
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) drawn = run (&r);
  g_autoptr (SumiResult) given = NULL;
  g_autoptr (SumiTensor) noise = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 32, 2, 2), NULL);
  g_autoptr (SumiTensor) wrong = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 32, 2, 3), NULL);
  SumiRng rng;

  sumi_rng_seed (&rng, SUMI_RNG_TORCH, r.seed);
  sumi_rng_normal (&rng, sumi_tensor_poke_f32 (noise), sumi_tensor_get_numel (noise));
  r.init_noise = noise;
  given = run (&r);
  g_assert_true (same (given, 0, drawn, 0));
  r.batch = 2;
  assert_fails (&r, SUMI_ERROR_SHAPE_MISMATCH);
  r.batch = 1;
  r.init_noise = wrong;
  assert_fails (&r, SUMI_ERROR_SHAPE_MISMATCH);
  sumi_tensor_poke_f32 (noise)[7] = NAN;
  r.init_noise = noise;
  assert_fails (&r, SUMI_ERROR_NON_FINITE);
}

typedef struct
{
  GCancellable *cancel;
  guint steps[4], pictures, last, total;
} Heard;

static void
hear (SumiPhase phase, guint step, guint n_steps, SumiTensor *picture, gpointer user)
{
  Heard *h = user;

  h->steps[phase]++;
  if (phase != SUMI_PHASE_SAMPLE)
    return;
  h->last = step;
  h->total = n_steps;
  h->pictures += picture != NULL;
  if (step == 4 && h->cancel != NULL)
    g_cancellable_cancel (h->cancel);
}

static void
test_progress (void)
{
  SumiRequest r = request ("a fox");
  Heard h = { 0 };
  g_autoptr (SumiResult) result = NULL;

  r.batch = 2;
  r.preview_every = 2;
  result = sumi_pipeline_run (tiny (), &r, hear, &h, NULL, NULL);
  g_assert_nonnull (result);
  g_assert_cmpuint (h.steps[SUMI_PHASE_SAMPLE], ==, 6);
  g_assert_cmpuint (h.last, ==, 6);
  g_assert_cmpuint (h.total, ==, 6);
  g_assert_cmpuint (h.pictures, ==, 2);
  g_assert_cmpuint (h.steps[SUMI_PHASE_LOAD], >, 0);
  g_assert_cmpuint (h.steps[SUMI_PHASE_TEXT], >, 0);
  g_assert_cmpuint (h.steps[SUMI_PHASE_DECODE], >, 0);
}

static void
test_cancel (void)
{
  SumiRequest r = request ("a fox");
  g_autoptr (GCancellable) cancel = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiResult) after = NULL;
  Heard h = { .cancel = cancel };

  r.steps = 20;
  g_assert_null (sumi_pipeline_run (tiny (), &r, hear, &h, cancel, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_CANCELLED);
  g_assert_cmpuint (h.last, ==, 4);
  /* and the pipeline is as good as before */
  r.steps = 3;
  after = run (&r);
  g_assert_cmpuint (after->images->len, ==, 1);
}

static void
test_recipe (void)
{
  SumiRequest r = request ("a red apple");
  g_autoptr (SumiResult) result = NULL;

  r.negative_prompt = "white";
  r.guidance_scale = 3.5;
  r.eta = 0.25;
  r.seed = G_MAXUINT64;
  r.batch = 2;
  result = run (&r);
  g_assert_cmpstr (g_ptr_array_index (result->parameters, 0), ==,
                   "a red apple\nNegative prompt: white\nSteps: 3, Sampler: DDIM, CFG scale: 3.5, "
                   "Seed: 18446744073709551615, Size: 16x16, Model: tiny, Eta DDIM: 0.25, RNG: CPU");
  /* seeds wrap around */
  g_assert_nonnull (strstr (g_ptr_array_index (result->parameters, 1), "Seed: 0, "));
}

static void
assert_does_not_open (SumiTensorMap *weights, JsonObject *config, int code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (open_pipeline (weights, config, &error));
  g_assert_error (error, SUMI_ERROR, code);
}

static void
test_broken_models (void)
{
  static const char weight[] = "unet.conv_in.weight";
  g_autoptr (SumiTensorMap) weights = tiny_model_new (merges);
  g_autoptr (JsonObject) config = tiny_model_config ();
  g_autoptr (SumiTensor) good = sumi_tensor_ref (sumi_tensor_map_peek (weights, weight));
  g_autoptr (SumiTensor) ids = sumi_tensor_ref (sumi_tensor_map_peek (weights, "token_ids"));
  g_autoptr (SumiTensor) bad = sumi_tensor_cast (good, SUMI_F32, NULL);
  g_autoptr (SumiTensor) unsorted = sumi_tensor_cast (ids, SUMI_I64, NULL);

  sumi_tensor_map_remove (weights, weight);
  assert_does_not_open (weights, config, SUMI_ERROR_MISSING_TENSOR);
  sumi_tensor_poke_f32 (bad)[3] = INFINITY;
  sumi_tensor_map_set (weights, weight, bad);
  assert_does_not_open (weights, config, SUMI_ERROR_NON_FINITE);
  sumi_tensor_map_set (weights, weight, ids);
  assert_does_not_open (weights, config, SUMI_ERROR_SHAPE_MISMATCH);
  sumi_tensor_map_set (weights, weight, good);

  ((gint64 *)sumi_tensor_poke (unsorted))[2] = 1;
  sumi_tensor_map_set (weights, "token_ids", unsorted);
  assert_does_not_open (weights, config, SUMI_ERROR_BAD_CONFIG);
  sumi_tensor_map_set (weights, "token_ids", good);
  assert_does_not_open (weights, config, SUMI_ERROR_SHAPE_MISMATCH);
  sumi_tensor_map_set (weights, "token_ids", ids);

  json_object_set_string_member (config, "family", "dall-e");
  assert_does_not_open (weights, config, SUMI_ERROR_UNKNOWN_MODEL);
  json_object_set_string_member (config, "family", "sumi-latent");
  json_object_set_int_member (json_object_get_object_member (config, "unet"), "cross_attention_dim", 24);
  assert_does_not_open (weights, config, SUMI_ERROR_BAD_CONFIG);
}

/* Weights that blow up give an error, not a black picture. */
static void
test_non_finite_result (void)
{
  g_autoptr (SumiTensorMap) weights = tiny_model_new (merges);
  g_autoptr (JsonObject) config = tiny_model_config ();
  g_autoptr (SumiTensor) huge = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (32), NULL);
  g_autoptr (SumiPipeline) p = NULL;
  g_autoptr (GError) error = NULL;
  SumiRequest r = request ("a fox");

  for (guint i = 0; i < 32; i++)
    sumi_tensor_poke_f32 (huge)[i] = 3e38f;
  sumi_tensor_map_set (weights, "unet.conv_out.bias", huge);
  p = open_pipeline (weights, config, &error);
  g_assert_no_error (error);
  g_assert_null (sumi_pipeline_run (p, &r, NULL, NULL, NULL, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE);
}

/* A model of pixels, of one channel, without text. */
static void
test_pixels (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) node = json_from_string ("{\"family\":\"simple-unet\",\"in_channels\":1,\"out_channels\":1,"
                                                "\"base_channels\":8,\"time_emb_dim\":16,\"groups\":4,"
                                                "\"sample_size\":[8,16]}",
                                                &error);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiTensorMap) weights = NULL;
  g_autoptr (SumiPipeline) p = NULL;
  g_autoptr (SumiResult) result = NULL;
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) again = NULL;
  g_autoptr (SumiTensor) picture = NULL;
  SumiSimpleUnetConfig c = { 1, 1, 8, 16, 4 };
  SumiRng rng;
  const guint8 *pixels;

  g_assert_no_error (error);
  sumi_simple_unet (m, &c, sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (1, 1, 8, 8)),
                    sumi_input (g, "t", SUMI_REAL, &SUMI_SHAPE (1)));
  sumi_rng_seed (&rng, SUMI_RNG_TORCH, 2);
  weights = sumi_module_init (m, &rng, &error);
  p = open_pipeline (weights, json_node_get_object (node), &error);
  g_assert_no_error (error);
  g_assert_false (sumi_pipeline_takes_prompt (p));
  result = sumi_pipeline_run (p, &r, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (has_note (result, "takes no prompt"));
  g_assert_null (strstr (g_ptr_array_index (result->parameters, 0), "fox"));
  g_assert_null (strstr (g_ptr_array_index (result->parameters, 0), "CFG"));
  g_assert_true (
      sumi_shape_equal (sumi_tensor_get_shape (g_ptr_array_index (result->images, 0)), &SUMI_SHAPE (8, 16, 3)));
  pixels = sumi_tensor_peek (g_ptr_array_index (result->images, 0));
  picture = sumi_tensor_ref (g_ptr_array_index (result->images, 0));
  r.image = picture;
  r.strength = 0;
  again = sumi_pipeline_run (p, &r, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (sumi_tensor_peek (g_ptr_array_index (again->images, 0)), 8 * 16 * 3, pixels, 8 * 16 * 3);
  for (guint i = 0; i < 8 * 16; i++)
    {
      double x = sumi_tensor_peek_f32 (result->latents)[i], want = rint (255 * CLAMP ((x + 1) / 2, 0, 1));

      for (guint k = 0; k < 3; k++)
        g_assert_cmpfloat_with_epsilon (pixels[3 * i + k], want, 1);
    }
}

/* Sumi's own families begin with a picture too: through the tiny auto-encoder here, with its pixels below. */
static void
test_from_picture (void)
{
  g_autoptr (SumiTensor) image = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (16, 16, 3), NULL);
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) from_noise = run (&r);
  g_autoptr (SumiResult) drawn = NULL;
  g_autoptr (SumiResult) kept = NULL;
  const guint8 *was, *is;
  double off = 0;

  for (guint i = 0; i < 16 * 16 * 3; i++)
    ((guint8 *)sumi_tensor_poke (image))[i] = (guint8)(40 + 10 * (i / 3 % 16) + i % 3);
  r.image = image;
  r.strength = 0.67; /* two of three steps */
  drawn = run (&r);
  g_assert_false (same (from_noise, 0, drawn, 0));
  g_assert_nonnull (strstr (g_ptr_array_index (drawn->parameters, 0), "Denoising strength: 0.67"));
  r.strength = 0;
  kept = run (&r);
  g_assert_true (has_note (kept, "leaves no step of 3"));
  was = sumi_tensor_peek (image);
  is = sumi_tensor_peek (g_ptr_array_index (kept->images, 0));
  for (guint i = 0; i < 16 * 16 * 3; i++)
    off += fabs ((double)was[i] - is[i]) / (16 * 16 * 3);
  g_assert_cmpfloat (off, <, 12); /* levels: the auto-encoder is good, not perfect */
}

static SumiResult *
run_on (const char *engine, SumiDType dtype, guint threads, const SumiRequest *r)
{
  SumiPipelineOptions o = { .engine = engine, .dtype = dtype, .threads = threads, .merges = merges, .taef2 = taef2 };
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensorMap) weights = tiny_model_new (merges);
  g_autoptr (JsonObject) config = tiny_model_config ();
  g_autoptr (SumiPipeline) p = sumi_pipeline_new (weights, config, &o, &error);
  SumiResult *result;

  g_assert_no_error (error);
  result = sumi_pipeline_run (p, r, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  return result;
}

/* Relative L2 of the latents. */
static double
distance (const SumiResult *a, const SumiResult *b)
{
  const float *x = sumi_tensor_peek_f32 (a->latents), *y = sumi_tensor_peek_f32 (b->latents);
  double error = 0, norm = 0;

  for (gint64 i = 0; i < sumi_tensor_get_numel (a->latents); i++)
    {
      error += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
      norm += (double)x[i] * x[i];
    }
  return sqrt (error / norm);
}

static void
test_engines (void)
{
  SumiRequest r = request ("a red apple");
  g_autoptr (SumiResult) ref = NULL;
  g_autoptr (SumiResult) one = NULL;
  g_autoptr (SumiResult) three = NULL;
  g_autoptr (SumiResult) half = NULL;

  r.width = 32;
  ref = run_on ("ref", SUMI_F32, 0, &r);
  one = run_on ("cpu", SUMI_F32, 1, &r);
  three = run_on ("cpu", SUMI_F32, 3, &r);
  half = run_on ("cpu", SUMI_BF16, 0, &r);
  g_assert_cmpfloat (distance (ref, one), <, 1e-4);
  g_assert_true (same (one, 0, three, 0));
  g_assert_cmpfloat (distance (ref, half), >, 0);
  g_assert_cmpfloat (distance (ref, half), <, 0.05);
}

/* The file holds everything: saved and read back, it draws the same. */
static void
test_file (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *dir = g_dir_make_tmp ("sumi-XXXXXX", &error), *path = g_build_filename (dir, "m.safetensors", NULL);
  g_autoptr (SumiTensorMap) weights = tiny_model_new (merges);
  g_autoptr (SumiTensorMap) read = NULL;
  g_autoptr (JsonNode) node = NULL;
  g_autoptr (SumiPipeline) p = NULL;
  g_autoptr (SumiResult) result = NULL;
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) want = run (&r);

  sumi_safetensors_save (weights, path, &error);
  g_assert_no_error (error);
  read = sumi_safetensors_open (path, &error);
  g_assert_no_error (error);
  node = json_from_string (sumi_tensor_map_get_metadata (read, "sumi.config"), &error);
  g_assert_no_error (error);
  p = open_pipeline (read, json_node_get_object (node), &error);
  g_assert_no_error (error);
  result = sumi_pipeline_run (p, &r, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (same (result, 0, want, 0));
  g_remove (path);
  g_rmdir (dir);
}

int
main (int argc, char **argv)
{
  const char *data = g_getenv ("SUMI_DATADIR");

  g_test_init (&argc, &argv, NULL);
  merges = g_build_filename (data, "clip", "merges.txt.gz", NULL);
  taef2 = g_build_filename (data, "taef2", "taef2.safetensors", NULL);
  g_test_add_func ("/pipeline/draws", test_draws);
  g_test_add_func ("/pipeline/batch", test_batch_changes_nothing);
  g_test_add_func ("/pipeline/guidance", test_guidance);
  g_test_add_func ("/pipeline/notes", test_notes);
  g_test_add_func ("/pipeline/unknown-words", test_unknown_words_draw);
  g_test_add_func ("/pipeline/sizes", test_sizes);
  g_test_add_func ("/pipeline/refusals", test_refusals);
  g_test_add_func ("/pipeline/init-noise", test_init_noise);
  g_test_add_func ("/pipeline/progress", test_progress);
  g_test_add_func ("/pipeline/cancel", test_cancel);
  g_test_add_func ("/pipeline/recipe", test_recipe);
  g_test_add_func ("/pipeline/broken-models", test_broken_models);
  g_test_add_func ("/pipeline/non-finite", test_non_finite_result);
  g_test_add_func ("/pipeline/pixels", test_pixels);
  g_test_add_func ("/pipeline/from-picture", test_from_picture);
  g_test_add_func ("/pipeline/engines", test_engines);
  g_test_add_func ("/pipeline/file", test_file);
  return g_test_run ();
}
