/* SPDX-License-Identifier: GPL-3.0-or-later */
/* walks.json: the toy problem run through diffusers' schedulers and k-diffusion's samplers themselves, for every
 * sampler with many numbers of steps, spacings and lists; text and image to image. */
#include "toy.h"

#include <math.h>
#include <string.h>

#define MAX_DRAWS 200

static JsonArray *
load (JsonParser *parser, const char *member)
{
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_SOURCE_ROOT"), "tests", "diffusion", "walks.json", NULL);
  g_autoptr (GError) error = NULL;

  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  return json_object_get_array_member (json_node_get_object (json_parser_get_root (parser)), member);
}

static const char *
text (JsonArray *row, guint i)
{
  return json_array_get_string_element (row, i);
}

static double
number (JsonArray *row, guint i)
{
  return json_array_get_double_element (row, i);
}

static const float *
noise (void)
{
  static float values[MAX_DRAWS * TOY_N];

  for (guint i = 0; i < G_N_ELEMENTS (values); i++)
    values[i] = (float)sin ((double)i * i);
  return values;
}

/* The walk of one row; its last TOY_N columns are the end. */
static void
check (JsonArray *row, const SumiSamplerOptions *o, double strength, double tolerance)
{
  static const float start[TOY_N] = { 1, -0.5f, 0.25f, 2 }, x_0[TOY_N] = { 0.1f, 0.9f, -0.4f, 0 };
  g_autoptr (SumiSampler) s = toy_sampler (text (row, 0), o);
  guint first = 0, columns = json_array_get_length (row);
  float x[TOY_N];

  if (strength < 1)
    {
      first = sumi_sampler_first_call (s, strength);
      sumi_sampler_add_noise (s, first, x_0, start, x);
    }
  else
    sumi_sampler_start (s, start, x);
  g_assert_cmpuint (toy_walk (s, o, first, x, noise ()), <, MAX_DRAWS);
  for (guint i = 0; i < TOY_N; i++)
    {
      double want = number (row, columns - TOY_N + i);

      if (!(fabs (x[i] - want) < tolerance * fmax (1, fabs (want))))
        {
          g_autoptr (JsonNode) node = json_node_init_array (json_node_alloc (), row);
          g_autofree char *line = json_to_string (node, FALSE);

          g_error ("%s: value %u is %.8g", line, i, x[i]);
        }
    }
}

/* name, steps, spacing, steps_offset, use_karras_sigmas, solver_order, prediction_type, eta, strength,
 * rescale_betas_zero_snr, set_alpha_to_one */
static void
test_diffusers (void)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonArray *rows = load (parser, "diffusers");

  g_assert_cmpuint (json_array_get_length (rows), >, 400);
  for (guint i = 0; i < json_array_get_length (rows); i++)
    {
      JsonArray *row = json_array_get_array_element (rows, i);
      g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
      gboolean has_eta = g_str_equal (text (row, 0), "ddim") || g_str_equal (text (row, 0), "tcd");
      SumiSamplerOptions o = { .schedule = schedule,
                               .steps = (guint)number (row, 1),
                               .steps_offset = (guint)number (row, 3),
                               .use_karras_sigmas = number (row, 4) != 0,
                               .order = (guint)number (row, 5),
                               .eta = has_eta ? number (row, 7) : -1,
                               .set_alpha_to_one = number (row, 10) != 0 };

      g_assert_true (sumi_spacing_parse (text (row, 2), &o.spacing, NULL));
      g_assert_true (sumi_prediction_parse (text (row, 6), &o.prediction, NULL));
      if (number (row, 9) != 0)
        sumi_schedule_rescale_zero_snr (schedule);
      /* float32 there; DEIS takes differences of nearly the same */
      check (row, &o, number (row, 8), g_str_equal (text (row, 0), "deis") ? 1e-4 : 1e-5);
    }
}

/* name, list, steps, eta */
static void
test_k_diffusion (void)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (SumiSchedule) schedule = toy_schedule (1000);
  JsonArray *rows = load (parser, "k_diffusion");

  g_assert_cmpuint (json_array_get_length (rows), >, 100);
  for (guint i = 0; i < json_array_get_length (rows); i++)
    for (guint p = 0; p <= SUMI_PREDICT_SAMPLE; p++)
      {
        JsonArray *row = json_array_get_array_element (rows, i);
        SumiSamplerOptions o = { .schedule = schedule,
                                 .prediction = (SumiPrediction)p,
                                 .sigmas = text (row, 1),
                                 .steps = (guint)number (row, 2),
                                 .eta = number (row, 3) };

        check (row, &o, 1, 5e-6);
      }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/samplers/walks/diffusers", test_diffusers);
  g_test_add_func ("/samplers/walks/k-diffusion", test_k_diffusion);
  return g_test_run ();
}
