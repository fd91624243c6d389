/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Components "generate", "img2img", "inpaint": the whole way from the case's prompt to pictures, with the case's own
 * draws where it has any. The text states are held against the case's. */
#include "probe.h"

#include <math.h>
#include <string.h>

#include "diffusion/sampler.h"
#include "models/model-store.h"
#include "nn/config.h"

#define TEXT_REL_L2 1e-4

typedef struct
{
  Probe *p;
  SumiPipeline *pipeline;
  SumiRequest request;
  SumiPipelineTap tap;
  SumiTensor *image, *mask;
  char *sampler;
  GArray *n_draws;            /* guint, of each picture */
  gboolean has_draws;         /* the case brings its own */
  GArray *timesteps, *sigmas; /* float */
  GPtrArray *steps;           /* GArray of float: of each picture, its states one behind the other */
} Run;

static void
run_clear (Run *r)
{
  g_clear_pointer (&r->pipeline, sumi_pipeline_free);
  g_clear_pointer (&r->image, sumi_tensor_unref);
  g_clear_pointer (&r->mask, sumi_tensor_unref);
  g_clear_pointer (&r->n_draws, g_array_unref);
  g_clear_pointer (&r->timesteps, g_array_unref);
  g_clear_pointer (&r->sigmas, g_array_unref);
  g_clear_pointer (&r->steps, g_ptr_array_unref);
  g_free (r->sampler);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Run, run_clear)

/* ---- what the pipeline is watched and fed with ---- */

/* draw.NNN.KIND of all pictures, (N,…) */
static gboolean
take_draw (guint picture, const char *kind, float *out, gsize n, gpointer user, GError **error)
{
  Run *r = user;
  guint *count = &g_array_index (r->n_draws, guint, picture);
  g_autofree char *name = g_strdup_printf ("draw.%03u.%s", (*count)++, kind);
  g_autoptr (SumiTensor) all = NULL;
  gint64 pictures = r->n_draws->len;

  if (!r->has_draws)
    return TRUE;
  all = probe_in (r->p, name, 0, error);
  if (all == NULL)
    return FALSE;
  if (sumi_tensor_get_numel (all) != pictures * (gint64)n)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
                   "%s: found %" G_GINT64_FORMAT " values, expected %" G_GINT64_FORMAT, name,
                   sumi_tensor_get_numel (all), pictures * (gint64)n);
      return FALSE;
    }
  memcpy (out, sumi_tensor_peek_f32 (all) + picture * n, n * sizeof *out);
  return TRUE;
}

static gboolean
check_states (Run *r, const char *name, const SumiTensor *states, GError **error)
{
  g_autoptr (SumiTensor) want = NULL;
  double difference = 0, norm = 0;

  if (!probe_in_optional (r->p, name, 0, &want, error))
    return FALSE;
  if (want == NULL || states == NULL)
    return TRUE;
  if (!probe_check_shape (name, states, sumi_tensor_get_shape (want), error))
    return FALSE;
  for (gint64 i = 0; i < sumi_tensor_get_numel (want); i++)
    {
      double a = sumi_tensor_peek_f32 (states)[i], b = sumi_tensor_peek_f32 (want)[i];

      difference += (a - b) * (a - b);
      norm += b * b;
    }
  if (sqrt (difference) <= TEXT_REL_L2 * sqrt (norm))
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE,
               "%s: found text states off by %g of their size, expected at most %g", name, sqrt (difference / norm),
               TEXT_REL_L2);
  return FALSE;
}

static gboolean
check_text (guint picture, const char *which, const SumiTensor *states, const SumiTensor *pooled, gpointer user,
            GError **error)
{
  gboolean cond = strcmp (which, "prompt") == 0;

  return check_states (user, cond ? "cond" : "uncond", states, error)
         && check_states (user, cond ? "cond_pooled" : "uncond_pooled", pooled, error);
}

static void
note_walk (guint picture, const SumiSampler *sampler, gpointer user)
{
  Run *r = user;
  guint n = sumi_sampler_get_n_calls (sampler);

  if (picture > 0)
    return;
  for (guint call = 0; call <= n; call++)
    {
      float t = call < n ? (float)sumi_sampler_get_timestep (sampler, call) : 0;
      float sigma = (float)sumi_sampler_get_sigma (sampler, call);

      if (call < n)
        g_array_append_val (r->timesteps, t);
      g_array_append_val (r->sigmas, sigma);
    }
}

static gboolean
note_step (guint picture, guint call, const float *x, gsize n, gpointer user, GError **error)
{
  Run *r = user;

  g_array_append_vals (g_ptr_array_index (r->steps, picture), x, (guint)n);
  return TRUE;
}

/* ---- the case ---- */

/* The scheduler as the reference built it stands in for the model's own. */
static gboolean
open_pipeline (Run *r, GError **error)
{
  Probe *p = r->p;
  g_autofree char *folder = probe_model_path (p, "", error);
  g_autofree char *file = folder != NULL ? g_strconcat (folder, ".safetensors", NULL) : NULL;
  g_autofree char *merges = g_build_filename (sumi_data_dir (), "clip", "merges.txt.gz", NULL);
  g_autoptr (SumiTensorMap) weights = NULL;
  g_autoptr (JsonObject) config = NULL;
  const SumiPipelineOptions options = { .engine = sumi_engine_get_name (p->engine),
                                        .dtype = p->options.dtype,
                                        .threads = p->options.threads,
                                        .merges = merges };

  if (folder == NULL)
    return FALSE;
  if (!sumi_model_open (!p->single_file && g_file_test (folder, G_FILE_TEST_IS_DIR) ? folder : file, &weights, &config,
                        error))
    return FALSE;
  if (json_object_has_member (p->json, "scheduler_config"))
    json_object_set_member (config, "scheduler", json_node_copy (json_object_get_member (p->json, "scheduler_config")));
  r->pipeline = sumi_pipeline_new (weights, config, &options, error);
  return r->pipeline != NULL;
}

/* Settings that would change the result and are not followed here must be as the reference leaves them. */
static gboolean
check_scheduler (JsonObject *json, GError **error)
{
  static const struct
  {
    const char *name, *value;
  } plain[] = {
    { "use_exponential_sigmas", "false" },
    { "use_beta_sigmas", "false" },
    { "use_lu_lambdas", "false" },
    { "use_flow_sigmas", "false" },
    { "use_dynamic_shifting", "false" },
    { "final_sigmas_type", "\"zero\"" },
    { "timestep_type", "\"discrete\"" },
    { "interpolation_type", "\"linear\"" },
    { "lower_order_final", "true" },
    { "euler_at_final", "false" },
    { "skip_prk_steps", "true" },
    { "sigma_min", "null" },
    { "sigma_max", "null" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (plain); i++)
    if (!sumi_config_must_be (json, plain[i].name, plain[i].value, error))
      return FALSE;
  return TRUE;
}

/* What of the scheduler's settings is no part of the model. */
static gboolean
read_scheduler (Run *r, GError **error)
{
  JsonNode *node = json_object_get_member (r->p->json, "scheduler_config");
  JsonObject *json = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;

  r->request.follow_diffusers = TRUE;
  if (json == NULL)
    return TRUE;
  return sumi_config_bool (json, "use_karras_sigmas", &r->request.use_karras_sigmas, error)
         && sumi_config_uint (json, "solver_order", 0, 3, &r->request.order, error) && check_scheduler (json, error);
}

static gboolean
read_params (Run *r, GError **error)
{
  JsonObject *params = r->p->params;
  SumiRequest *q = &r->request;
  const char *sampler = NULL;
  gint64 seed = 0;

  if (!sumi_config_string (params, "prompt", &q->prompt, error)
      || !sumi_config_string (params, "negative_prompt", &q->negative_prompt, error)
      || !sumi_config_string (params, "sampler", &sampler, error)
      || !sumi_config_uint (params, "steps", 1, SUMI_MAX_STEPS, &q->steps, error)
      || !sumi_config_uint (params, "width", 1, SUMI_MAX_SIDE, &q->width, error)
      || !sumi_config_uint (params, "height", 1, SUMI_MAX_SIDE, &q->height, error)
      || !sumi_config_uint (params, "batch", 1, SUMI_MAX_BATCH, &q->batch, error)
      || !sumi_config_uint (params, "clip_skip", 0, SUMI_MAX_CLIP_SKIP, &q->clip_skip, error)
      || !sumi_config_double (params, "cfg", 0, SUMI_MAX_GUIDANCE, &q->guidance_scale, error)
      || !sumi_config_double (params, "guidance_rescale", 0, 1, &q->guidance_rescale, error)
      || !sumi_config_double (params, "image_guidance_scale", 0, SUMI_MAX_GUIDANCE, &q->image_guidance_scale, error)
      || !sumi_config_double (params, "strength", 0, 1, &q->strength, error)
      || !sumi_config_double (params, "eta", 0, 1, &q->eta, error)
      || !sumi_config_int (params, "seed", 0, G_MAXINT64, &seed, error))
    return FALSE;
  q->seed = (guint64)seed;
  r->sampler = g_strdup (sampler != NULL ? sampler : "ddim");
  if (g_str_has_suffix (r->sampler, "_karras")) /* said by the scheduler's settings too */
    r->sampler[strlen (r->sampler) - strlen ("_karras")] = '\0';
  q->sampler = r->sampler;
  return read_scheduler (r, error);
}

static gboolean
read_pictures (Run *r, GError **error)
{
  if (!probe_in_optional (r->p, "image", 4, &r->image, error) || !probe_in_optional (r->p, "mask", 4, &r->mask, error))
    return FALSE;
  r->request.image = r->image;
  r->request.mask = r->mask;
  return TRUE;
}

/* As many as the first draw is for. */
static void
count_pictures (Run *r)
{
  for (guint i = 0; i < sumi_tensor_map_get_size (r->p->in); i++)
    {
      const SumiShape *s = sumi_tensor_get_shape (sumi_tensor_map_peek_nth (r->p->in, i));

      if (!g_str_has_prefix (sumi_tensor_map_get_name (r->p->in, i), "draw."))
        continue;
      r->has_draws = TRUE;
      if (s->rank == 4)
        r->request.batch = (guint)CLAMP (s->d[0], 1, SUMI_MAX_BATCH);
    }
}

static void
prepare (Run *r)
{
  guint batch;

  count_pictures (r);
  batch = r->request.batch;
  r->n_draws = g_array_new (FALSE, TRUE, sizeof (guint));
  g_array_set_size (r->n_draws, batch);
  r->timesteps = g_array_new (FALSE, FALSE, sizeof (float));
  r->sigmas = g_array_new (FALSE, FALSE, sizeof (float));
  r->steps = g_ptr_array_new_with_free_func ((GDestroyNotify)g_array_unref);
  for (guint i = 0; i < batch; i++)
    g_ptr_array_add (r->steps, g_array_new (FALSE, FALSE, sizeof (float)));
  r->tap = (SumiPipelineTap){ .draw = take_draw, .text = check_text, .walk = note_walk, .step = note_step, .user = r };
  r->request.tap = &r->tap;
}

/* ---- results ---- */

static gboolean
put_list (Run *r, const char *name, const GArray *values, GError **error)
{
  SumiTensor *t = probe_out (r->p, name, SUMI_F32, &SUMI_SHAPE (values->len), error);

  if (t != NULL && values->len > 0)
    memcpy (sumi_tensor_poke_f32 (t), values->data, values->len * sizeof (float));
  return t != NULL;
}

/* (calls,N,C,h,w) */
static gboolean
put_steps (Run *r, const SumiTensor *latents, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (latents);
  gsize n = (gsize)(s->d[1] * s->d[2] * s->d[3]), pictures = r->steps->len;
  guint calls = (guint)(((GArray *)g_ptr_array_index (r->steps, 0))->len / n);
  SumiTensor *t;

  if (calls == 0)
    return TRUE;
  t = probe_out (r->p, "steps", SUMI_F32, &SUMI_SHAPE (calls, s->d[0], s->d[1], s->d[2], s->d[3]), error);
  for (guint call = 0; t != NULL && call < calls; call++)
    for (guint i = 0; i < pictures; i++)
      {
        const float *states = (const float *)(void *)((GArray *)g_ptr_array_index (r->steps, i))->data;

        memcpy (sumi_tensor_poke_f32 (t) + (call * pictures + i) * n, states + call * n, n * sizeof (float));
      }
  return t != NULL;
}

static gboolean
put_pictures (Run *r, const SumiResult *result, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (g_ptr_array_index (result->images, 0));
  gsize size = (gsize)(s->d[0] * s->d[1] * 3);
  g_autoptr (SumiTensor) all = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (result->images->len, s->d[0], s->d[1], 3), error);

  if (all == NULL)
    return FALSE;
  for (guint i = 0; i < result->images->len; i++)
    memcpy ((guint8 *)sumi_tensor_poke (all) + i * size, sumi_tensor_peek (g_ptr_array_index (result->images, i)),
            size);
  sumi_tensor_map_set (r->p->out, "image_u8", all);
  sumi_tensor_map_set (r->p->out, "image_raw", result->decoded);
  sumi_tensor_map_set (r->p->out, "latents", result->latents);
  return put_steps (r, result->latents, error) && put_list (r, "timesteps", r->timesteps, error)
         && put_list (r, "sigmas", r->sigmas, error);
}

gboolean
probe_generate (Probe *p, GError **error)
{
  g_auto (Run) r = { .p = p };
  g_autoptr (SumiResult) result = NULL;

  sumi_request_init (&r.request);
  r.request.emphasis = SUMI_EMPHASIS_NONE; /* prompts are plain text there */
  r.request.one_chunk = TRUE;
  r.request.composite = FALSE;
  r.request.keep_decoded = TRUE;
  if (!read_params (&r, error) || !read_pictures (&r, error) || !open_pipeline (&r, error))
    return FALSE;
  prepare (&r);
  result = sumi_pipeline_run (r.pipeline, &r.request, NULL, NULL, NULL, error);
  return result != NULL && put_pictures (&r, result, error);
}
