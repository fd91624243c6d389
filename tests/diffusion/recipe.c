/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Recipes: what is written is read again, and so are those of other programs. */
#include "diffusion/recipe.h"

#include <math.h>
#include <string.h>

static SumiRecipe *
read_good (const char *text)
{
  g_autoptr (GError) error = NULL;
  SumiRecipe *r = sumi_recipe_read (text, &error);

  g_assert_no_error (error);
  return r;
}

static gboolean
is_told (const SumiRecipe *r, const char *part)
{
  for (guint i = 0; i < r->notes->len; i++)
    if (strstr (g_ptr_array_index (r->notes, i), part) != NULL)
      return TRUE;
  return FALSE;
}

/* As the web UI writes it. */
static void
test_a1111 (void)
{
  g_autoptr (SumiRecipe) r
      = read_good ("masterpiece, (fox:1.2)\nin the snow <lora:ink:0.8>\nNegative prompt: blurry,\nlow quality\n"
                   "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 4294967296, Size: "
                   "512x768, Model hash: 6ce0161689, Model: v1-5-pruned, VAE: mse, Denoising strength: 0.6, Clip skip: "
                   "2, Lora hashes: \"ink: 0123456789ab\", TI hashes: \"x: 1\", ENSD: 31337, Version: v1.9.4");

  g_assert_cmpstr (r->prompt, ==, "masterpiece, (fox:1.2)\nin the snow <lora:ink:0.8>");
  g_assert_cmpstr (r->negative_prompt, ==, "blurry,\nlow quality");
  g_assert_cmpstr (r->request.prompt, ==, r->prompt);
  g_assert_cmpuint (r->request.steps, ==, 20);
  g_assert_cmpstr (r->request.sampler, ==, "dpmpp_2m");
  g_assert_cmpstr (r->request.sigmas, ==, "karras");
  g_assert_cmpfloat (r->request.guidance_scale, ==, 7.5);
  g_assert_cmpuint (r->request.seed, ==, G_GUINT64_CONSTANT (4294967296));
  g_assert_cmpuint (r->request.width, ==, 512);
  g_assert_cmpuint (r->request.height, ==, 768);
  g_assert_cmpuint (r->request.clip_skip, ==, 2);
  g_assert_cmpfloat (r->request.strength, ==, 0.6);
  g_assert_true (r->from_image);
  g_assert_cmpint (r->request.rng, ==, SUMI_RNG_PHILOX);
  g_assert_cmpstr (r->model, ==, "v1-5-pruned");
  g_assert_cmpstr (r->vae, ==, "mse");
  g_assert_cmpuint (r->notes->len, ==, 1);
  g_assert_true (is_told (r, "ignored: ENSD"));
}

/* Before the schedule had a field of its own. */
static void
test_older (void)
{
  static const struct
  {
    const char *title, *sampler, *sigmas;
  } cases[] = { { "DPM++ 2M Karras", "dpmpp_2m", "karras" },
                { "Euler a", "euler_a", NULL },
                { "DPM++ SDE Karras", "dpmpp_sde", "karras" },
                { "DDIM", "ddim", NULL },
                { "PLMS", "pndm", NULL },
                /* and what "Automatic" is for a sampler there */
                { "DPM++ 2M, Schedule type: Automatic", "dpmpp_2m", "karras" },
                { "DPM++ 2M SDE, Schedule type: Automatic", "dpmpp_2m_sde", "exponential" },
                { "Euler a, Schedule type: Automatic", "euler_a", "normal" },
                { "DDIM, Schedule type: Automatic", "ddim", NULL } };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *text = g_strdup_printf ("a fox\nSteps: 9, Sampler: %s, CFG scale: 7", cases[i].title);
      g_autoptr (SumiRecipe) r = read_good (text);

      g_assert_cmpstr (r->request.sampler, ==, cases[i].sampler);
      g_assert_cmpstr (r->request.sigmas, ==, cases[i].sigmas);
      g_assert_cmpuint (r->notes->len, ==, 0);
    }
}

static void
test_wrong_values_are_told (void)
{
  g_autoptr (SumiRecipe) r
      = read_good ("x\nSteps: 0, Sampler: Magic, CFG scale: nan, Seed: -1, Size: 8x8, Eta: 7, Clip skip: x, RNG: dice, "
                   "Emphasis: loud, Prediction: future, Guidance rescale: 2, Schedule type: Stairs, Tile: 1");
  static const char *const told[]
      = { "Steps",    "Sampler",    "CFG scale",        "Seed",          "Size", "Eta", "Clip skip", "RNG",
          "Emphasis", "Prediction", "Guidance rescale", "Schedule type", "Tile" };
  SumiRequest untouched;

  sumi_request_init (&untouched);
  for (guint i = 0; i < G_N_ELEMENTS (told); i++)
    g_assert_true (is_told (r, told[i]));
  g_assert_cmpuint (r->notes->len, ==, G_N_ELEMENTS (told));
  g_assert_cmpuint (r->request.steps, ==, untouched.steps);
  g_assert_cmpfloat (r->request.guidance_scale, ==, untouched.guidance_scale);
  g_assert_cmpfloat (r->request.eta, ==, untouched.eta);
  g_assert_null (r->request.sampler);
}

static void
test_refusals (void)
{
  g_autofree char *large = g_strnfill (SUMI_RECIPE_MAX_SIZE + 1, 'x');
  const char *const wrong[] = { "", "a fox", "a fox\nSteps: 3", "Steps: 3, Seed: 1, Size: 64x64", "\xff", large };

  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (sumi_recipe_read (wrong[i], &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
    }
}

static void
assert_same_request (const SumiRequest *a, const SumiRequest *b)
{
  g_assert_cmpuint (a->steps, ==, b->steps);
  g_assert_cmpstr (a->sampler, ==, b->sampler);
  g_assert_cmpstr (a->sigmas, ==, b->sigmas);
  g_assert_cmpint (a->use_karras_sigmas, ==, b->use_karras_sigmas);
  g_assert_cmpstr (a->prediction, ==, b->prediction);
  g_assert_cmpfloat (a->eta, ==, b->eta);
  g_assert_cmpuint (a->seed, ==, b->seed);
  g_assert_cmpint (a->rng, ==, b->rng);
  g_assert_cmpfloat (a->guidance_scale, ==, b->guidance_scale);
  g_assert_cmpfloat (a->guidance_rescale, ==, b->guidance_rescale);
  g_assert_cmpfloat (a->guidance_low, ==, b->guidance_low);
  g_assert_cmpfloat (a->guidance_high, ==, b->guidance_high);
  g_assert_cmpint (a->cfg_pp, ==, b->cfg_pp);
  g_assert_cmpint (a->emphasis, ==, b->emphasis);
  g_assert_cmpuint (a->clip_skip, ==, b->clip_skip);
  g_assert_cmpuint (a->tile, ==, b->tile);
  g_assert_cmpuint (a->width, ==, b->width);
  g_assert_cmpuint (a->height, ==, b->height);
  g_assert_cmpfloat (a->strength, ==, b->strength);
}

static void
assert_comes_back (const SumiRequest *r)
{
  const SumiRecipeModel model = {
    .model = "na, \"me\": x\\y", .takes_prompt = TRUE, .version = "sumi 1", .lora_hashes = "a: 1, b: 2", .bf16 = TRUE
  };
  g_autofree char *text = sumi_recipe_write (r, 0, &model);
  g_autoptr (SumiRecipe) back = read_good (text);

  g_assert_cmpuint (back->notes->len, ==, 0);
  g_assert_cmpstr (back->prompt, ==, r->prompt);
  g_assert_cmpstr (back->negative_prompt, ==, r->negative_prompt);
  g_assert_cmpstr (back->model, ==, model.model);
  g_assert_true (back->bf16);
  assert_same_request (&back->request, r);
}

/* Numbers come back to the last bit. */
static void
test_round_trip (void)
{
  SumiRequest r;

  sumi_request_init (&r);
  r.prompt = "a fox, Steps: 3\n  and {more|less} # not said";
  r.negative_prompt = "blue: yes";
  r.steps = 27;
  r.sampler = "euler";
  r.seed = G_MAXUINT64;
  r.width = 640;
  r.height = 72;
  r.guidance_scale = 7.1;
  assert_comes_back (&r);

  r.sampler = "dpmpp_3m_sde";
  r.sigmas = "align_your_steps";
  r.eta = 1.0 / 3;
  r.guidance_scale = nextafter (5, 6);
  r.guidance_rescale = 0.7;
  r.guidance_low = 0.28;
  r.guidance_high = 5.42;
  r.rng = SUMI_RNG_PHILOX;
  r.emphasis = SUMI_EMPHASIS_NO_NORM;
  r.clip_skip = 2;
  r.prediction = "v_prediction";
  r.cfg_pp = TRUE;
  r.tile = 64;
  assert_comes_back (&r);

  r.sigmas = NULL;
  r.use_karras_sigmas = TRUE;
  r.emphasis = SUMI_EMPHASIS_NONE;
  r.sampler = "ddim";
  assert_comes_back (&r);
}

static void
test_every_sampler_comes_back (void)
{
  SumiRequest r;

  sumi_request_init (&r);
  r.prompt = "x";
  r.steps = 5;
  r.width = r.height = 64;
  r.guidance_scale = 2;
  r.negative_prompt = "y";
  for (const char *const *s = sumi_sampler_list (); *s != NULL; s++)
    {
      r.sampler = *s;
      r.sigmas = NULL;
      assert_comes_back (&r);
      for (const char *const *k = sumi_sigmas_list (); *k != NULL; k++)
        {
          r.sigmas = *k;
          assert_comes_back (&r);
        }
    }
}

/* Adapters given as files are named in the prompt, as others expect them. */
static void
test_adapters (void)
{
  const SumiRequestLora loras[] = { { "/somewhere/ink.v2.safetensors", 0.8, 0.8 }, { "b.pt", 1, -0.25 } };
  const SumiRecipeModel model = { .takes_prompt = TRUE };
  g_autofree char *text = NULL;
  SumiRequest r;

  sumi_request_init (&r);
  r.prompt = "a fox";
  r.steps = 1;
  r.sampler = "ddim";
  r.loras = loras;
  r.n_loras = 2;
  text = sumi_recipe_write (&r, 0, &model);
  g_assert_true (g_str_has_prefix (text, "a fox <lora:ink.v2:0.8> <lora:b:-0.25:1>\nSteps: 1, Sampler: DDIM"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/recipe/a1111", test_a1111);
  g_test_add_func ("/recipe/older", test_older);
  g_test_add_func ("/recipe/wrong-values", test_wrong_values_are_told);
  g_test_add_func ("/recipe/refusals", test_refusals);
  g_test_add_func ("/recipe/round-trip", test_round_trip);
  g_test_add_func ("/recipe/every-sampler", test_every_sampler_comes_back);
  g_test_add_func ("/recipe/adapters", test_adapters);
  return g_test_run ();
}
