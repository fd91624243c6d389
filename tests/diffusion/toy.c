/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "toy.h"

#include <math.h>

SumiSchedule *
toy_schedule (guint T)
{
  return sumi_schedule_new (SUMI_BETAS_SCALED_LINEAR, T, 0.00085 * 1000 / T, 0.012 * 1000 / T, NULL);
}

SumiSampler *
toy_sampler (const char *name, const SumiSamplerOptions *o)
{
  g_autoptr (GError) error = NULL;
  SumiSamplerOptions options = *o;
  SumiSampler *s;

  options.n_values = TOY_N;
  s = sumi_sampler_new (name, &options, &error);
  g_assert_no_error (error);
  return s;
}

void
toy_model (const SumiSamplerOptions *o, double sigma, const float *input, float *output)
{
  double a = isfinite (sigma) ? 1 / (1 + sigma * sigma) : 0;

  for (guint i = 0; i < TOY_N; i++)
    {
      double x = input[i], x0 = TOY_MU + sqrt (a) * TOY_S2 / (a * TOY_S2 + 1 - a) * (x - sqrt (a) * TOY_MU);
      double eps = (x - sqrt (a) * x0) / sqrt (1 - a);

      switch (o->prediction)
        {
        case SUMI_PREDICT_V:
          output[i] = (float)(sqrt (a) * eps - sqrt (1 - a) * x0);
          break;
        case SUMI_PREDICT_SAMPLE:
          output[i] = (float)x0;
          break;
        default:
          output[i] = (float)eps;
        }
    }
}

void
toy_call (SumiSampler *s, const SumiSamplerOptions *o, guint call, float *x, const float *noise)
{
  float input[TOY_N], output[TOY_N];

  sumi_sampler_model_input (s, call, x, input);
  toy_model (o, sumi_sampler_get_sigma (s, call), input, output);
  sumi_sampler_step (s, call, x, output, NULL, noise);
}

guint
toy_walk (SumiSampler *s, const SumiSamplerOptions *o, guint first, float *x, const float *noise)
{
  guint draws = 0;

  for (guint call = first; call < sumi_sampler_get_n_calls (s); call++)
    {
      gboolean noisy = sumi_sampler_needs_noise (s, call);

      toy_call (s, o, call, x, noise != NULL && noisy ? noise + draws * TOY_N : NULL);
      draws += noisy ? 1 : 0;
    }
  return draws;
}

double
toy_end (double sigma, double x)
{
  return TOY_MU + sqrt (TOY_S2 / (TOY_S2 + sigma * sigma)) * (x - TOY_MU);
}

JsonObject *
toy_table (const char *name, JsonParser *parser)
{
  const char *golden = g_getenv ("SUMI_GOLDEN");
  g_autofree char *path = NULL;
  g_autoptr (GError) error = NULL;

  if (golden == NULL)
    return NULL;
  path = g_build_filename (golden, "basics", name, NULL);
  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  return json_node_get_object (json_parser_get_root (parser));
}

static void
append_numbers (JsonArray *array, GArray *numbers)
{
  for (guint i = 0; i < json_array_get_length (array); i++)
    {
      JsonNode *element = json_array_get_element (array, i);

      if (JSON_NODE_HOLDS_ARRAY (element))
        append_numbers (json_node_get_array (element), numbers);
      else
        {
          float value = (float)json_node_get_double (element);

          g_array_append_val (numbers, value);
        }
    }
}

float *
toy_numbers (JsonObject *object, const char *member, guint *n)
{
  GArray *numbers = g_array_new (FALSE, FALSE, sizeof (float));

  append_numbers (json_object_get_array_member (object, member), numbers);
  *n = numbers->len;
  return (float *)(void *)g_array_free (numbers, FALSE);
}
