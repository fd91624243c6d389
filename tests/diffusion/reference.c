/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Noise schedules and sampling loops against the reference cases, with the naive engine. */
#include "diffusion/model.h"
#include "diffusion/sampler.h"
#include "engine/engine.h"
#include "io/safetensors.h"

#include <math.h>

typedef struct
{
  SumiTensorMap *in, *out;
  JsonParser *parser;
  JsonObject *json, *params;
  double rel_l2;
} Case;

static const char *golden;

static char *
golden_path (const char *first, ...)
{
  va_list args;
  g_autoptr (GPtrArray) parts = g_ptr_array_new ();
  char *path;

  g_ptr_array_add (parts, (gpointer)golden);
  va_start (args, first);
  for (const char *part = first; part != NULL; part = va_arg (args, const char *))
    g_ptr_array_add (parts, (gpointer)part);
  va_end (args);
  g_ptr_array_add (parts, NULL);
  path = g_build_filenamev ((char **)parts->pdata);
  return path;
}

static SumiTensorMap *
open_tensors (char *path)
{
  g_autoptr (GError) error = NULL;
  SumiTensorMap *map = sumi_safetensors_open (path, &error);

  g_assert_no_error (error);
  g_free (path);
  return map;
}

static JsonParser *
open_json (char *path)
{
  g_autoptr (GError) error = NULL;
  JsonParser *parser = json_parser_new ();

  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  g_free (path);
  return parser;
}

static void
case_open (Case *c, const char *name)
{
  c->in = open_tensors (golden_path ("cases", name, "in.safetensors", NULL));
  c->out = open_tensors (golden_path ("cases", name, "out.safetensors", NULL));
  c->parser = open_json (golden_path ("cases", name, "case.json", NULL));
  c->json = json_node_get_object (json_parser_get_root (c->parser));
  c->params = json_object_get_object_member (c->json, "params");
  c->rel_l2 = json_object_get_double_member (json_object_get_object_member (c->json, "tolerance"), "rel_l2");
}

static void
case_close (Case *c)
{
  sumi_tensor_map_unref (c->in);
  sumi_tensor_map_unref (c->out);
  g_object_unref (c->parser);
}

static float *
values (const SumiTensorMap *map, const char *name, gsize *n)
{
  g_autoptr (GError) error = NULL;
  SumiTensor *t = sumi_tensor_map_lookup (map, name, &error);
  float *out;

  g_assert_no_error (error);
  *n = sumi_tensor_get_numel (t);
  out = g_new (float, *n);
  sumi_tensor_to_f32 (t, out);
  return out;
}

static void
check (const Case *c, const char *name, const float *got, gsize n_got)
{
  gsize n;
  g_autofree float *want = values (c->out, name, &n);
  double error = 0, norm = 0;

  g_assert_cmpuint (n, ==, n_got);
  for (gsize i = 0; i < n; i++)
    {
      error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
      norm += (double)want[i] * want[i];
    }
  g_test_message ("%s: rel. L2 %.2g (limit %.2g)", name, sqrt (error / norm), c->rel_l2);
  g_assert_cmpfloat (sqrt (error), <=, c->rel_l2 * sqrt (norm) + 1e-8 * sqrt (n));
}

static SumiSchedule *
case_schedule (const Case *c)
{
  g_autoptr (GError) error = NULL;
  SumiBetaKind kind = SUMI_BETAS_LINEAR;
  SumiSchedule *s;

  if (json_object_has_member (c->params, "schedule"))
    sumi_beta_kind_parse (json_object_get_string_member (c->params, "schedule"), &kind, &error);
  g_assert_no_error (error);
  s = sumi_schedule_new (kind, (guint)json_object_get_int_member (c->params, "T"), 1e-4, 0.02, &error);
  g_assert_no_error (error);
  return s;
}

static void
check_doubles (const Case *c, const char *name, const double *values, gsize n)
{
  g_autofree float *f = g_new (float, n);

  for (gsize i = 0; i < n; i++)
    f[i] = (float)values[i];
  check (c, name, f, n);
}

static void
test_schedule (gconstpointer name)
{
  Case c;
  g_autoptr (SumiSchedule) s = NULL;
  g_autofree float *x_start = NULL, *noise = NULL, *t = NULL, *x_t = NULL;
  gsize n, n_t;

  case_open (&c, name);
  s = case_schedule (&c);
  check_doubles (&c, "betas", s->betas, s->T);
  check_doubles (&c, "alphas_cumprod", s->alphas_cumprod, s->T);
  check_doubles (&c, "posterior_variance", s->posterior_variance, s->T);
  x_start = values (c.in, "x_start", &n);
  noise = values (c.in, "noise", &n);
  t = values (c.in, "t", &n_t);
  x_t = g_new (float, n);
  for (gsize i = 0; i < n_t; i++)
    {
      gsize at = i * (n / n_t);

      sumi_schedule_q_sample (s, (guint)t[i], x_start + at, noise + at, x_t + at, n / n_t);
    }
  check (&c, "q_sample", x_t, n);
  case_close (&c);
}

/* ---- sampling ---- */

/* The model's weights and its configuration, as a model store would put it together. */
static SumiTensorMap *
open_model (const char *model, const char *family, SumiModelConfig *config)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonParser) parser = NULL;
  g_autoptr (JsonObject) json = json_object_new ();
  g_autofree char *file = g_strconcat (model, ".safetensors", NULL), *side = g_strconcat (model, ".json", NULL);

  if (g_str_equal (family, "simple-unet"))
    {
      parser = open_json (golden_path ("models", side, NULL));
      sumi_model_config_parse (json_node_get_object (json_parser_get_root (parser)), config, &error);
      g_assert_no_error (error);
      return open_tensors (golden_path ("models", file, NULL));
    }
  parser = open_json (golden_path ("models", model, "unet", "config.json", NULL));
  json_object_set_string_member (json, "family", family);
  json_object_set_member (json, "unet", json_node_copy (json_parser_get_root (parser)));
  sumi_model_config_parse (json, config, &error);
  g_assert_no_error (error);
  return open_tensors (golden_path ("models", model, "unet", "diffusion_pytorch_model.safetensors", NULL));
}

static SumiPlan *
compile (const SumiModelConfig *config, const SumiTensorMap *weights, const SumiShape *shape)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiEngine) engine = sumi_engine_open ("ref", &error);
  SumiNode *sample = sumi_input (g, "sample", SUMI_REAL, shape);
  SumiNode *t = sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (shape->d[0]));
  SumiPlan *plan;

  sumi_graph_output (g, "output", sumi_model_denoiser (m, config, sample, t, NULL));
  plan = sumi_engine_compile (engine, g, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < m->params->len; i++)
    {
      const char *name = g_array_index (m->params, SumiModuleParam, i).node->name;

      sumi_plan_set (plan, name, sumi_tensor_map_lookup (weights, name, &error), &error);
      g_assert_no_error (error);
    }
  return plan;
}

static SumiTensor *
predict (SumiPlan *plan, const SumiShape *shape, const float *x, guint t)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiTensor) sample = sumi_tensor_new_f32 (shape, x, &error);
  g_autoptr (SumiTensor) timestep = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (shape->d[0]), &error);

  for (gint64 i = 0; i < shape->d[0]; i++)
    sumi_tensor_poke_f32 (timestep)[i] = t;
  if (!sumi_plan_set (plan, "sample", sample, &error) || !sumi_plan_set (plan, "timestep", timestep, &error)
      || !sumi_plan_run (plan, NULL, &error))
    g_assert_no_error (error);
  return sumi_plan_get (plan, "output", &error);
}

/* The noise of a call for all pictures: a slice of "noise", or "draw.NNN.step". */
static float *
call_noise (const Case *c, guint index, gsize n)
{
  g_autofree char *name = g_strdup_printf ("draw.%03u.step", index);
  g_autofree float *all = NULL;
  gsize n_all;

  if (sumi_tensor_map_peek (c->in, name) != NULL)
    return values (c->in, name, &n_all);
  all = values (c->in, "noise", &n_all);
  g_assert_cmpuint ((index + 1) * n, <=, n_all);
  return g_memdup2 (all + index * n, n * sizeof *all);
}

static guint *
case_timesteps (const Case *c, const SumiSchedule *s, guint *n)
{
  const SumiTensorMap *where = sumi_tensor_map_peek (c->in, "timesteps") != NULL ? c->in : c->out;
  g_autofree float *t = NULL;
  gsize length = s->T;
  guint *steps;

  if (sumi_tensor_map_peek (where, "timesteps") != NULL)
    t = values (where, "timesteps", &length);
  steps = g_new (guint, length);
  for (gsize i = 0; i < length; i++)
    steps[i] = t != NULL ? (guint)t[i] : s->T - 1 - (guint)i;
  *n = (guint)length;
  return steps;
}

static void
test_sampling (gconstpointer name)
{
  Case c;
  SumiModelConfig config;
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiSchedule) s = NULL;
  g_autoptr (SumiSampler) sampler = NULL;
  g_autoptr (SumiTensorMap) weights = NULL;
  g_autoptr (SumiPlan) plan = NULL;
  g_autofree guint *timesteps = NULL;
  g_autofree float *x = NULL, *steps = NULL;
  SumiSamplerOptions o = { 0 };
  const char *component, *family;
  SumiShape shape;
  guint calls;
  gsize n, one;
  gboolean backwards;

  case_open (&c, name);
  component = json_object_get_string_member (c.json, "component");
  family = json_object_get_string_member (c.json, "family");
  weights = open_model (json_object_get_string_member (c.json, "model"), family, &config);
  s = case_schedule (&c);
  x = values (c.in, "x_T", &n);
  shape = *sumi_tensor_get_shape (sumi_tensor_map_peek (c.in, "x_T"));
  one = n / shape.d[0];
  timesteps = case_timesteps (&c, s, &o.steps);
  o.schedule = s;
  o.timesteps = timesteps;
  o.final_alpha_cumprod = g_str_equal (component, "ddim-sample") ? 0 : 1;
  o.eta = json_object_get_double_member_with_default (c.params, "eta", 0);
  o.clip_sample = g_str_equal (family, "ddpm");
  o.variance = config.variance;
  o.n_values = one;
  backwards = g_str_equal (component, "p-sample-loop"); /* its noise is listed by timestep */
  sampler = sumi_sampler_new (g_str_equal (component, "ddim-sample") ? "ddim" : "ddpm", &o, &error);
  g_assert_no_error (error);
  plan = compile (&config, weights, &shape);
  calls = sumi_sampler_get_n_calls (sampler);
  steps = g_new (float, n *calls);
  for (guint call = 0; call < calls; call++)
    {
      g_autoptr (SumiTensor) output = predict (plan, &shape, x, timesteps[call]);
      g_autofree float *noise = NULL;
      gboolean last_ddim = g_str_equal (component, "ddim-sample") && call == calls - 1;

      if (sumi_sampler_needs_noise (sampler, call) && !last_ddim)
        noise = call_noise (&c, backwards ? timesteps[call] : call, n);
      for (gint64 i = 0; i < shape.d[0]; i++)
        sumi_sampler_step (sampler, call, x + i * one,
                           sumi_tensor_peek_f32 (output) + i * (sumi_tensor_get_numel (output) / shape.d[0]), NULL,
                           noise != NULL ? noise + i * one : NULL);
      memcpy (steps + call * n, x, n * sizeof *x);
    }
  check (&c, "steps", steps, n * calls);
  check (&c, "image", x, n);
  case_close (&c);
}

int
main (int argc, char **argv)
{
  static const char *const schedules[] = { "schedule-linear", "schedule-cosine", "schedule-quadratic" };
  static const char *const loops[] = { "ddim-sample-eta0", "ddim-sample-eta0.5",    "ddim-sample-T1000",
                                       "p-sample-loop",    "ddpm-sample-ddpm-unet", "ddpm-sample-ddpm-unet-lv" };

  g_test_init (&argc, &argv, NULL);
  golden = g_getenv ("SUMI_GOLDEN");
  if (golden == NULL)
    {
      g_print ("1..0 # SKIP SUMI_GOLDEN is not set\n");
      return 0;
    }
  for (guint i = 0; i < G_N_ELEMENTS (schedules); i++)
    {
      g_autofree char *path = g_strconcat ("/reference/", schedules[i], NULL);
      g_test_add_data_func (path, schedules[i], test_schedule);
    }
  for (guint i = 0; i < G_N_ELEMENTS (loops); i++)
    {
      g_autofree char *path = g_strconcat ("/reference/", loops[i], NULL);
      g_test_add_data_func (path, loops[i], test_sampling);
    }
  return g_test_run ();
}
