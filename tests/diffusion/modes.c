/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Everything that can be asked of a Stable Diffusion pipeline, with tiny random models. */
#include "stable-model.h"

#include <math.h>
#include <string.h>

#define SIDE 64

static SumiPipeline *
sd15 (void)
{
  static SumiPipeline *p;

  if (p == NULL)
    p = stable_model_open ("sd15", NULL);
  return p;
}

static SumiRequest
request (const char *prompt)
{
  SumiRequest r;

  sumi_request_init (&r);
  r.prompt = prompt;
  r.width = r.height = SIDE;
  r.steps = 4;
  r.seed = 11;
  return r;
}

static SumiResult *
run_on (SumiPipeline *p, const SumiRequest *r)
{
  g_autoptr (GError) error = NULL;
  SumiResult *result = sumi_pipeline_run (p, r, NULL, NULL, NULL, &error);

  g_assert_no_error (error);
  return result;
}

static SumiResult *
run (const SumiRequest *r)
{
  return run_on (sd15 (), r);
}

static void
assert_fails (SumiPipeline *p, const SumiRequest *r, int code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (sumi_pipeline_run (p, r, NULL, NULL, NULL, &error));
  g_assert_error (error, SUMI_ERROR, code);
}

static const guint8 *
pixels (const SumiResult *r, guint i)
{
  return sumi_tensor_peek (g_ptr_array_index (r->images, i));
}

static gsize
n_latents (const SumiResult *r)
{
  return (gsize)sumi_tensor_get_numel (r->latents) / r->images->len;
}

static const float *
latents (const SumiResult *r, guint i)
{
  return sumi_tensor_peek_f32 (r->latents) + i * n_latents (r);
}

/* Picture and latents of place i of one are those of place j of the other, to the bit. */
static gboolean
same (const SumiResult *a, guint i, const SumiResult *b, guint j)
{
  gsize size = sumi_tensor_get_size (g_ptr_array_index (a->images, i));

  g_assert_cmpuint (size, ==, sumi_tensor_get_size (g_ptr_array_index (b->images, j)));
  return memcmp (pixels (a, i), pixels (b, j), size) == 0
         && memcmp (latents (a, i), latents (b, j), n_latents (a) * sizeof (float)) == 0;
}

static gboolean
has_note (const SumiResult *r, const char *part)
{
  for (guint i = 0; i < r->notes->len; i++)
    if (strstr (g_ptr_array_index (r->notes, i), part) != NULL)
      return TRUE;
  return FALSE;
}

/* ---- what the model was asked ---- */

typedef struct
{
  guint calls, samples, of[4]; /* of[n]: calls of n samples */
} Asked;

static void
count (guint picture, guint call, guint samples, gpointer user)
{
  Asked *a = user;

  a->calls++;
  a->samples += samples;
  g_assert_cmpuint (samples, <, G_N_ELEMENTS (a->of));
  a->of[samples]++;
}

static SumiResult *
run_counted (SumiPipeline *p, SumiRequest r, Asked *asked)
{
  const SumiPipelineTap tap = { .asked = count, .user = asked };

  *asked = (Asked){ 0 };
  r.tap = &tap;
  return run_on (p, &r);
}

static void
test_draws_and_tells_tokens (void)
{
  SumiRequest r = request ("a red fox, (in the snow:1.2)");
  g_autoptr (SumiResult) a = NULL;
  g_autoptr (SumiResult) b = NULL;

  r.negative_prompt = "blue";
  a = run (&r);
  b = run (&r);
  g_assert_true (same (a, 0, b, 0));
  g_assert_cmpuint (a->notes->len, ==, 0);
  g_assert_cmpuint (a->n_tokens, ==, 7);
  g_assert_cmpuint (a->n_negative_tokens, ==, 1);
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (a->latents), &SUMI_SHAPE (1, 4, 8, 8)));
  g_assert_true (
      sumi_shape_equal (sumi_tensor_get_shape (g_ptr_array_index (a->images, 0)), &SUMI_SHAPE (SIDE, SIDE, 3)));
}

/* Choices and long prompts too: every picture of a batch has its own text, of its own length. */
static void
test_batch_changes_nothing (void)
{
  static const char *const ways[] = { "euler_a", "dpmpp_2m_sde", "lcm", "ddim", NULL };
  g_autofree char *words = g_strnfill (200, 'x');
  g_autofree char *prompt = NULL;

  for (gsize i = 1; i < strlen (words); i += 2)
    words[i] = ' ';
  prompt = g_strdup_printf ("a {fox|cat|%s}", words);
  for (guint i = 0; ways[i] != NULL; i++)
    {
      SumiRequest r = request (prompt), one = r;
      g_autoptr (SumiResult) all = NULL;

      r.sampler = one.sampler = ways[i];
      r.batch = 4;
      all = run (&r);
      for (guint k = 0; k < r.batch; k++)
        {
          g_autoptr (SumiResult) alone = NULL;

          one.seed = r.seed + k;
          alone = run (&one);
          g_assert_true (same (all, k, alone, 0));
          g_assert_cmpstr (g_ptr_array_index (all->parameters, k), ==, g_ptr_array_index (alone->parameters, 0));
        }
    }
}

/* Nothing kept between the stages changes nothing. */
static void
test_cold_is_warm (void)
{
  const SumiPipelineOptions options = { .keep_warm = FALSE };
  g_autoptr (SumiPipeline) cold = stable_model_open ("sd15", &options);
  g_autoptr (SumiTensor) image = stable_model_picture (SIDE, SIDE);
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) a = NULL;
  g_autoptr (SumiResult) b = NULL;
  g_autoptr (SumiResult) c = NULL;

  r.image = image;
  r.batch = 2;
  a = run (&r);
  b = run_on (cold, &r);
  c = run_on (cold, &r);
  for (guint i = 0; i < 2; i++)
    g_assert_true (same (a, i, b, i) && same (a, i, c, i));
}

static void
test_samplers (void)
{
  for (const char *const *s = sumi_sampler_list (); *s != NULL; s++)
    {
      SumiRequest r = request ("a fox");
      g_autoptr (SumiResult) automatic = NULL;
      g_autoptr (SumiResult) karras = NULL;

      r.sampler = *s;
      r.steps = 6;
      automatic = run (&r);
      r.sigmas = "karras";
      karras = run (&r);
      g_assert_cmpuint (automatic->images->len, ==, 1);
      g_assert_nonnull (strstr (g_ptr_array_index (karras->parameters, 0), "Schedule type: Karras"));
    }
  for (const char *const *s = sumi_sigmas_list (); *s != NULL; s++)
    {
      SumiRequest r = request ("a fox");
      g_autoptr (SumiResult) result = NULL;

      r.sampler = "dpmpp_2m";
      r.sigmas = *s;
      r.steps = 10;
      result = run (&r);
      g_assert_cmpuint (result->images->len, ==, 1);
    }
}

/* ---- guidance ---- */

static void
test_guidance_calls (void)
{
  SumiRequest r = request ("a fox");
  Asked asked;
  g_autoptr (SumiResult) guided = run_counted (sd15 (), r, &asked);
  g_autoptr (SumiResult) everywhere = NULL;
  g_autoptr (SumiResult) within = NULL;
  g_autoptr (SumiResult) nowhere = NULL;
  g_autoptr (SumiResult) plain = NULL;

  g_assert_cmpuint (asked.of[2], ==, asked.calls);
  r.guidance_scale = 1;
  plain = run_counted (sd15 (), r, &asked);
  g_assert_cmpuint (asked.of[1], ==, asked.calls);

  r.guidance_scale = SUMI_MODEL_OWN;
  r.guidance_high = 1e6;
  everywhere = run_counted (sd15 (), r, &asked);
  g_assert_cmpuint (asked.of[2], ==, asked.calls);
  g_assert_true (same (guided, 0, everywhere, 0));

  r.guidance_low = 0.3;
  r.guidance_high = 5;
  within = run_counted (sd15 (), r, &asked);
  g_assert_cmpuint (asked.of[1], >, 0);
  g_assert_cmpuint (asked.of[2], >, 0);
  g_assert_false (same (guided, 0, within, 0));

  r.guidance_low = 1e5;
  r.guidance_high = 1e6;
  nowhere = run_counted (sd15 (), r, &asked);
  g_assert_cmpuint (asked.of[1], ==, asked.calls);
  g_assert_true (same (plain, 0, nowhere, 0));
}

static void
test_guidance_kinds (void)
{
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) plain = NULL;
  g_autoptr (SumiResult) rescaled = NULL;
  g_autoptr (SumiResult) other = NULL;
  g_autoptr (SumiResult) small = NULL;

  r.sampler = "euler";
  plain = run (&r);
  r.guidance_rescale = 0.7;
  rescaled = run (&r);
  g_assert_false (same (plain, 0, rescaled, 0));
  g_assert_nonnull (strstr (g_ptr_array_index (rescaled->parameters, 0), "Guidance rescale: 0.7"));
  r.guidance_rescale = 0;
  r.cfg_pp = TRUE;
  other = run (&r);
  g_assert_false (same (plain, 0, other, 0));
  g_assert_true (has_note (other, "guidance scale 7.5 counts as 0.6"));
  r.guidance_scale = 0.6;
  small = run (&r);
  g_assert_true (same (other, 0, small, 0));
  r.sampler = "lms";
  assert_fails (sd15 (), &r, SUMI_ERROR_USAGE);
}

/* ---- from a picture ---- */

static void
test_strength (void)
{
  static const struct
  {
    double strength;
    guint calls;
  } cases[] = { { 1, 10 }, { 0.75, 7 }, { 0.6, 6 }, { 0.59, 5 }, { 0.1, 1 }, { 0.09, 0 }, { 0, 0 } };
  g_autoptr (SumiTensor) image = stable_model_picture (SIDE, SIDE);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      SumiRequest r = request ("a fox");
      g_autoptr (SumiResult) result = NULL;
      Asked asked;

      r.image = image;
      r.sampler = "ddim";
      r.steps = 10;
      r.strength = cases[i].strength;
      result = run_counted (sd15 (), r, &asked);
      g_assert_cmpuint (asked.calls, ==, cases[i].calls);
      g_assert_cmpint (has_note (result, "leaves no step of 10"), ==, cases[i].calls == 0);
    }
}

/* The latents of the picture itself: nothing is drawn. */
static SumiResult *
as_it_is (SumiTensor *image, guint64 seed)
{
  SumiRequest r = request ("a fox");

  r.image = image;
  r.strength = 0;
  r.seed = seed;
  return run (&r);
}

static SumiTensor *
new_mask (guint8 left, guint8 right)
{
  SumiTensor *mask = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (SIDE, SIDE), NULL);

  for (guint i = 0; i < SIDE * SIDE; i++)
    ((guint8 *)sumi_tensor_poke (mask))[i] = i % SIDE < SIDE / 2 ? left : right;
  return mask;
}

static void
test_mask (void)
{
  static const char *const samplers[] = { "ddim", "euler_a", "dpmpp_2m", "heun", "pndm" };
  g_autoptr (SumiTensor) image = stable_model_picture (SIDE, SIDE);
  g_autoptr (SumiTensor) mask = new_mask (0, 255);
  g_autoptr (SumiResult) was = as_it_is (image, 11);

  for (guint s = 0; s < G_N_ELEMENTS (samplers); s++)
    {
      SumiRequest r = request ("a fox");
      g_autoptr (SumiResult) result = NULL;
      g_autoptr (SumiResult) whole = NULL;
      gsize differ = 0;

      r.sampler = samplers[s];
      r.image = image;
      r.mask = mask;
      r.strength = 1;
      result = run (&r);
      for (gsize i = 0; i < n_latents (result); i++)
        if (i % 8 < 4)
          g_assert_cmpfloat (latents (result, 0)[i], ==, latents (was, 0)[i]);
        else
          differ += latents (result, 0)[i] != latents (was, 0)[i];
      g_assert_cmpuint (differ, >, 100);
      for (guint i = 0; i < SIDE * SIDE; i++)
        if (i % SIDE < SIDE / 2)
          g_assert_cmpmem (pixels (result, 0) + 3 * i, 3, (const guint8 *)sumi_tensor_peek (image) + 3 * i, 3);
      r.composite = FALSE;
      whole = run (&r);
      g_assert_false (same (result, 0, whole, 0));
      g_assert_cmpmem (latents (result, 0), n_latents (result) * 4, latents (whole, 0), n_latents (whole) * 4);
    }
}

static void
test_mask_ends (void)
{
  g_autoptr (SumiTensor) image = stable_model_picture (SIDE, SIDE);
  g_autoptr (SumiTensor) black = new_mask (0, 0);
  g_autoptr (SumiTensor) white = new_mask (255, 255);
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) nothing = NULL;
  g_autoptr (SumiResult) all = NULL;
  g_autoptr (SumiResult) unmasked = NULL;

  r.image = image;
  r.mask = black;
  r.sampler = "ddim";
  r.strength = 0.75;
  nothing = run (&r);
  g_assert_cmpmem (pixels (nothing, 0), SIDE * SIDE * 3, sumi_tensor_peek (image), SIDE * SIDE * 3);
  r.mask = white;
  all = run (&r);
  r.mask = NULL;
  unmasked = run (&r);
  g_assert_true (same (all, 0, unmasked, 0));
}

/* How many values of the half that may change in part are the picture's own, after the last call. */
typedef struct
{
  const float *was;
  guint kept;
} Halves;

static gboolean
compare_halves (guint picture, guint call, const float *x, gsize n, gpointer user, GError **error)
{
  Halves *h = user;

  for (gsize i = 0; call == 9 && i < n; i++)
    {
      g_assert_true (i % 8 < 4 || x[i] == h->was[i]);
      h->kept += i % 8 < 4 && x[i] == h->was[i];
    }
  return TRUE;
}

static void
test_grey_mask (void)
{
  g_autoptr (SumiTensor) image = stable_model_picture (SIDE, SIDE);
  g_autoptr (SumiTensor) mask = new_mask (128, 0);
  g_autoptr (SumiTensor) full = new_mask (255, 0);
  g_autoptr (SumiResult) was = as_it_is (image, 11);
  Halves h = { .was = latents (was, 0) };
  const SumiPipelineTap tap = { .step = compare_halves, .user = &h };
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) half = NULL;
  g_autoptr (SumiResult) whole = NULL;
  double moved = 0, moved_fully = 0;

  r.image = image;
  r.mask = mask;
  r.sampler = "ddim";
  r.steps = 10;
  r.strength = 1;
  r.guidance_scale = 1;
  r.tap = &tap;
  half = run (&r);
  g_assert_cmpuint (h.kept, <, 16);
  r.mask = full;
  r.tap = NULL;
  whole = run (&r);
  for (gsize i = 0; i < n_latents (half); i++)
    {
      moved += fabs (latents (half, 0)[i] - latents (was, 0)[i]);
      moved_fully += fabs (latents (whole, 0)[i] - latents (was, 0)[i]);
    }
  g_assert_cmpfloat (moved, >, 0);
  g_assert_cmpfloat (moved, <, moved_fully);
}

static void
test_picture_sizes (void)
{
  static const struct
  {
    guint width, height;
    gint64 w, h;
    gboolean cut;
  } cases[] = { { 72, 40, 9, 5, FALSE }, { 70, 37, 9, 5, TRUE }, { 16, 16, 2, 2, FALSE }, { 17, 24, 3, 3, TRUE } };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (SumiTensor) image = stable_model_picture (cases[i].height, cases[i].width);
      g_autoptr (SumiTensor) mask = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (cases[i].height, cases[i].width), NULL);
      SumiRequest r = request ("a fox");
      g_autoptr (SumiResult) result = NULL;
      g_autoptr (SumiResult) kept = NULL;

      r.width = cases[i].width;
      r.height = cases[i].height;
      result = run (&r);
      g_assert_true (
          sumi_shape_equal (sumi_tensor_get_shape (result->latents), &SUMI_SHAPE (1, 4, cases[i].h, cases[i].w)));
      g_assert_cmpint (has_note (result, "and cut to"), ==, cases[i].cut);
      r.width = r.height = 0; /* the picture's */
      r.image = image;
      r.mask = mask; /* all black */
      kept = run (&r);
      g_assert_cmpmem (pixels (kept, 0), sumi_tensor_get_size (image), sumi_tensor_peek (image),
                       sumi_tensor_get_size (image));
    }
}

/* Another size than the picture's: scaled and cut. */
static void
test_scaled_picture (void)
{
  g_autoptr (SumiTensor) image = stable_model_picture (100, 160);
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) result = NULL;

  r.image = image;
  result = run (&r);
  g_assert_true (has_note (result, "the picture of 160x100 pixels was scaled and cut to 64x64"));
}

static void
test_picture_refusals (void)
{
  g_autoptr (SumiTensor) image = stable_model_picture (SIDE, SIDE);
  g_autoptr (SumiTensor) grey = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (SIDE, SIDE, 1), NULL);
  g_autoptr (SumiTensor) small = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (8, 8), NULL);
  g_autoptr (SumiTensor) large = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (1, 1, SIDE, SIDE), NULL);
  SumiRequest r = request ("a fox");

  r.image = grey;
  assert_fails (sd15 (), &r, SUMI_ERROR_SHAPE_MISMATCH);
  r.image = NULL;
  r.mask = small;
  assert_fails (sd15 (), &r, SUMI_ERROR_USAGE);
  r.image = image;
  assert_fails (sd15 (), &r, SUMI_ERROR_SHAPE_MISMATCH);
  sumi_tensor_poke_f32 (large)[5] = 1.5f;
  r.mask = large;
  assert_fails (sd15 (), &r, SUMI_ERROR_USAGE);
  sumi_tensor_poke_f32 (large)[5] = NAN;
  assert_fails (sd15 (), &r, SUMI_ERROR_USAGE);
}

/* ---- families ---- */

static void
test_inpainting_model (void)
{
  g_autoptr (SumiPipeline) p = stable_model_open ("inpaint", NULL);
  g_autoptr (SumiTensor) image = stable_model_picture (SIDE, SIDE);
  g_autoptr (SumiTensor) mask = new_mask (0, 255);
  g_autoptr (SumiTensor) other = new_mask (255, 0);
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) text_alone = run_on (p, &r);
  g_autoptr (SumiResult) a = NULL;
  g_autoptr (SumiResult) b = NULL;
  g_autoptr (SumiResult) half = NULL;

  r.image = image;
  r.mask = mask;
  r.strength = 1;
  a = run_on (p, &r);
  r.mask = other;
  b = run_on (p, &r);
  g_assert_false (same (a, 0, b, 0));
  g_assert_false (same (a, 0, text_alone, 0));
  for (guint i = 0; i < SIDE * SIDE; i++)
    if (i % SIDE < SIDE / 2)
      g_assert_cmpmem (pixels (a, 0) + 3 * i, 3, (const guint8 *)sumi_tensor_peek (image) + 3 * i, 3);
  r.strength = 0.5;
  half = run_on (p, &r);
  g_assert_false (same (b, 0, half, 0));
}

static void
test_pix2pix (void)
{
  g_autoptr (SumiPipeline) p = stable_model_open ("pix2pix", NULL);
  g_autoptr (SumiTensor) image = stable_model_picture (SIDE, SIDE);
  SumiRequest r = request ("make it a fox");
  g_autoptr (SumiResult) a = NULL;
  g_autoptr (SumiResult) b = NULL;
  g_autoptr (SumiResult) c = NULL;
  Asked asked;

  assert_fails (p, &r, SUMI_ERROR_USAGE);
  r.image = image;
  a = run_counted (p, r, &asked);
  g_assert_cmpuint (asked.of[3], ==, asked.calls);
  g_assert_nonnull (strstr (g_ptr_array_index (a->parameters, 0), "Image CFG scale: 1.5"));
  r.image_guidance_scale = 1;
  b = run_counted (p, r, &asked);
  g_assert_cmpuint (asked.of[2], ==, asked.calls);
  g_assert_false (same (a, 0, b, 0));
  r.guidance_scale = 1;
  c = run_counted (p, r, &asked);
  g_assert_cmpuint (asked.of[1], ==, asked.calls);
}

/* Distilled under guidance: asked once, told of the scale. */
static void
test_consistency_model (void)
{
  g_autoptr (SumiPipeline) p = stable_model_open ("lcm", NULL);
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) a = NULL;
  g_autoptr (SumiResult) b = NULL;
  Asked asked;

  r.steps = 0;
  r.negative_prompt = "blue";
  a = run_counted (p, r, &asked);
  g_assert_cmpuint (asked.of[1], ==, asked.calls);
  g_assert_cmpuint (asked.calls, ==, 4);
  g_assert_true (has_note (a, "negative prompt was ignored"));
  r.guidance_scale = 2;
  b = run_on (p, &r);
  g_assert_false (same (a, 0, b, 0));
}

static void
test_families (void)
{
  static const char *const names[] = { "sd21", "sd21-base", "sdxl", "sdxl-refiner" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr (SumiPipeline) p = stable_model_open (names[i], NULL);
      SumiRequest r = request ("a fox");
      g_autoptr (SumiResult) a = run_on (p, &r);
      g_autoptr (SumiResult) b = NULL;

      r.prompt = "a cat";
      b = run_on (p, &r);
      g_assert_false (same (a, 0, b, 0));
    }
}

/* The first timestep is pure noise there: nothing is divided by its zero. */
static void
test_zero_terminal_snr (void)
{
  static const char *const samplers[] = { "ddim", "ddpm", "euler", "dpmpp_2m", "unipc", "euler_a" };
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiPipeline) p = NULL;
  g_autoptr (JsonNode) node = NULL;
  g_autoptr (SumiPipeline) plain = stable_model_open ("sd21", NULL);
  SumiRequest r = request ("a fox");

  node = json_from_string ("{\"_class_name\":\"DDIMScheduler\",\"beta_schedule\":\"scaled_linear\",\"beta_start\":"
                           "0.00085,\"beta_end\":0.012,\"prediction_type\":\"v_prediction\",\"timestep_spacing\":"
                           "\"trailing\",\"rescale_betas_zero_snr\":true,\"clip_sample\":false}",
                           &error);
  g_assert_no_error (error);
  p = stable_model_open_scheduler ("sd21", json_node_get_object (node));
  for (guint i = 0; i < G_N_ELEMENTS (samplers); i++)
    {
      g_autoptr (SumiResult) a = NULL;
      g_autoptr (SumiResult) b = NULL;

      r.sampler = samplers[i];
      a = run_on (p, &r);
      b = run_on (plain, &r);
      g_assert_false (same (a, 0, b, 0));
    }
}

/* ---- */

static void
cancel_soon (SumiPhase phase, guint step, guint n_steps, SumiTensor *picture, gpointer user)
{
  if (phase == SUMI_PHASE_SAMPLE && step == 2)
    g_cancellable_cancel (user);
  else if (phase == SUMI_PHASE_SAMPLE)
    g_assert_cmpuint (step, <, 2);
}

static void
test_cancel (void)
{
  g_autoptr (GCancellable) cancel = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) before = run (&r);
  g_autoptr (SumiResult) after = NULL;

  r.steps = 50;
  g_assert_null (sumi_pipeline_run (sd15 (), &r, cancel_soon, cancel, cancel, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_CANCELLED);
  r.steps = 4;
  after = run (&r);
  g_assert_true (same (before, 0, after, 0));
}

static void
cancel_load (SumiPhase phase, guint step, guint n_steps, SumiTensor *picture, gpointer user)
{
  if (phase == SUMI_PHASE_LOAD)
    g_cancellable_cancel (user);
}

/* Weights that were packed in part are packed on. */
static void
test_cancel_while_loading (void)
{
  g_autoptr (GCancellable) cancel = g_cancellable_new ();
  g_autoptr (SumiPipeline) p = stable_model_open ("sd15", NULL);
  g_autoptr (GError) error = NULL;
  SumiRequest r = request ("a fox");
  g_autoptr (SumiResult) want = run (&r);
  g_autoptr (SumiResult) got = NULL;

  g_assert_null (sumi_pipeline_run (p, &r, cancel_load, cancel, cancel, &error));
  g_assert_error (error, SUMI_ERROR, (int)SUMI_ERROR_CANCELLED);
  got = run_on (p, &r);
  g_assert_true (same (want, 0, got, 0));
}

typedef struct
{
  guint pictures;
  SumiTensor *last;
} Seen;

static void
see (SumiPhase phase, guint step, guint n_steps, SumiTensor *picture, gpointer user)
{
  Seen *s = user;

  if (phase != SUMI_PHASE_SAMPLE || picture == NULL)
    return;
  s->pictures++;
  g_clear_pointer (&s->last, sumi_tensor_unref);
  s->last = sumi_tensor_ref (picture);
}

static void
test_previews (void)
{
  for (guint i = 0; i < 2; i++)
    {
      SumiRequest r = request ("a fox");
      Seen seen = { 0 };
      g_autoptr (GError) error = NULL;
      g_autoptr (SumiResult) result = NULL;

      r.preview = i == 0 ? SUMI_PREVIEW_ROUGH : SUMI_PREVIEW_FULL;
      r.preview_every = 2;
      r.sampler = "ddim";
      r.width = 70;
      result = sumi_pipeline_run (sd15 (), &r, see, &seen, NULL, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (seen.pictures, ==, 2);
      g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (seen.last), &SUMI_SHAPE (SIDE, 70, 3)));
      sumi_tensor_unref (seen.last);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/modes/draws", test_draws_and_tells_tokens);
  g_test_add_func ("/modes/batch", test_batch_changes_nothing);
  g_test_add_func ("/modes/cold", test_cold_is_warm);
  g_test_add_func ("/modes/samplers", test_samplers);
  g_test_add_func ("/modes/guidance-calls", test_guidance_calls);
  g_test_add_func ("/modes/guidance-kinds", test_guidance_kinds);
  g_test_add_func ("/modes/strength", test_strength);
  g_test_add_func ("/modes/mask", test_mask);
  g_test_add_func ("/modes/mask-ends", test_mask_ends);
  g_test_add_func ("/modes/grey-mask", test_grey_mask);
  g_test_add_func ("/modes/sizes", test_picture_sizes);
  g_test_add_func ("/modes/scaled-picture", test_scaled_picture);
  g_test_add_func ("/modes/picture-refusals", test_picture_refusals);
  g_test_add_func ("/modes/inpainting-model", test_inpainting_model);
  g_test_add_func ("/modes/pix2pix", test_pix2pix);
  g_test_add_func ("/modes/consistency-model", test_consistency_model);
  g_test_add_func ("/modes/families", test_families);
  g_test_add_func ("/modes/zero-terminal-snr", test_zero_terminal_snr);
  g_test_add_func ("/modes/cancel", test_cancel);
  g_test_add_func ("/modes/cancel-while-loading", test_cancel_while_loading);
  g_test_add_func ("/modes/previews", test_previews);
  return g_test_run ();
}
