/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Recipes out of anybody's PNG. */
#include "fuzz.h"

#include <math.h>
#include <string.h>

#include "diffusion/recipe.h"

const char *fuzz_outcome;

const char *const fuzz_tokens[] = { "\nNegative prompt: ",
                                    "\nSteps: ",
                                    "Steps: 20, Sampler: Euler a, ",
                                    ", Sampler: DPM++ 2M Karras",
                                    ", Schedule type: Beta",
                                    ", CFG scale: ",
                                    ", Seed: ",
                                    ", Size: 64x64",
                                    ", Eta: 0.5",
                                    ", Tile: 512",
                                    ", RNG: NV",
                                    ", Guidance to sigma: 1",
                                    ", Guidance from sigma: inf",
                                    ", Model: \"",
                                    "\\\"",
                                    "\"",
                                    "\\",
                                    ",",
                                    ":",
                                    "nan",
                                    "1e999",
                                    "-1",
                                    "99999999999999999999",
                                    "\n",
                                    "\xff",
                                    "é",
                                    NULL };

/* Ends at the first NUL, and with a line of settings. */
void
fuzz_repair (GByteArray *input)
{
  static const char settings[] = "\nSteps: 20, Sampler: Euler, ";
  g_autofree char *valid = g_utf8_make_valid ((const char *)input->data, input->len);

  g_byte_array_set_size (input, 0);
  g_byte_array_append (input, (const guint8 *)settings, strlen (settings));
  g_byte_array_append (input, (const guint8 *)valid, (guint)strlen (valid));
}

static void
assert_text (const char *s)
{
  g_assert_true (s == NULL || g_utf8_validate (s, -1, NULL));
}

/* Whatever is kept is in range. */
static void
check (const SumiRecipe *r)
{
  const SumiRequest *q = &r->request;

  assert_text (r->prompt);
  assert_text (r->negative_prompt);
  assert_text (r->model);
  assert_text (r->vae);
  g_assert_true (q->steps <= SUMI_MAX_STEPS && q->width <= SUMI_MAX_SIDE && q->height <= SUMI_MAX_SIDE);
  g_assert_true (q->guidance_scale == SUMI_MODEL_OWN || (q->guidance_scale >= 0 && q->guidance_scale <= 100));
  g_assert_true (q->eta == SUMI_MODEL_OWN || (q->eta >= 0 && q->eta <= 1));
  g_assert_true (q->strength >= 0 && q->strength <= 1 && q->guidance_rescale >= 0 && q->guidance_rescale <= 1);
  g_assert_true (q->guidance_low >= 0 && q->guidance_low < q->guidance_high);
  g_assert_true (q->sampler == NULL || g_strv_contains (sumi_sampler_list (), q->sampler));
  g_assert_true (q->sigmas == NULL || g_strv_contains (sumi_sigmas_list (), q->sigmas));
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiRecipe) r = sumi_recipe_read (text, &error);

  g_assert_true ((r == NULL) == (error != NULL));
  fuzz_outcome = r == NULL ? sumi_error_class (error) : r->notes->len > 0 ? "told" : "ok";
  if (r != NULL)
    check (r);
  return 0;
}
