/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Component "ddpm-train": some steps of AdamW on a model of pixels. */
#include "probe.h"

#include <math.h>

#include "nn/config.h"
#include "train/optimizer.h"

/* A model with a loss: inputs "sample", "timestep", "target", outputs "loss" and "grad.NAME" of every parameter. */
typedef struct
{
  Probe *p;
  ProbeModel model;
  ProbeGradients gradients;
  SumiPlan *plan;
} Trainee;

static void
trainee_clear (Trainee *t)
{
  probe_model_clear (&t->model);
  probe_gradients_clear (&t->gradients);
  g_clear_pointer (&t->plan, sumi_plan_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Trainee, trainee_clear)

static gboolean
trainee_compile (Trainee *t, const SumiShape *sample, GError **error)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiNode *x = sumi_input (g, "sample", SUMI_REAL, sample);
  SumiNode *time = sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (sample->d[0]));
  SumiNode *out = probe_model_denoiser (m, &t->model, x, time, NULL);
  SumiNode *loss = probe_mse (g, out, sumi_input (g, "target", SUMI_REAL, &out->shape));

  if (!probe_gradients_build (&t->gradients, t->p, m, "", loss, NULL, error))
    return FALSE;
  sumi_graph_output (g, "loss", loss);
  t->plan = probe_compile (t->p, m, t->model.weights, error);
  return t->plan != NULL;
}

typedef struct
{
  SumiAdamWConfig adamw;
  guint steps;
  gint64 full; /* gradients of at most so many values are reported whole */
  gboolean store_final;
  SumiTensor *images, *noise, *t; /* one row a step */
  SumiTensorMap *weights, *m, *v; /* F32 */
} Training;

static void
training_clear (Training *r)
{
  g_clear_pointer (&r->images, sumi_tensor_unref);
  g_clear_pointer (&r->noise, sumi_tensor_unref);
  g_clear_pointer (&r->t, sumi_tensor_unref);
  g_clear_pointer (&r->weights, sumi_tensor_map_unref);
  g_clear_pointer (&r->m, sumi_tensor_map_unref);
  g_clear_pointer (&r->v, sumi_tensor_map_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Training, training_clear)

static gboolean
read_betas (JsonObject *json, SumiAdamWConfig *c, GError **error)
{
  JsonNode *node = json_object_get_member (json, "betas");
  JsonArray *list = node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  if (node == NULL)
    return TRUE;
  if (list != NULL && json_array_get_length (list) == 2 && JSON_NODE_HOLDS_VALUE (json_array_get_element (list, 0))
      && JSON_NODE_HOLDS_VALUE (json_array_get_element (list, 1)))
    {
      c->beta1 = json_array_get_double_element (list, 0);
      c->beta2 = json_array_get_double_element (list, 1);
      if (c->beta1 >= 0 && c->beta1 < 1 && c->beta2 >= 0 && c->beta2 < 1)
        return TRUE;
    }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "betas: expected two numbers from 0 to below 1");
  return FALSE;
}

static gboolean
read_training (Probe *p, guint T, Training *r, GError **error)
{
  SumiAdamWConfig *c = &r->adamw;
  const SumiShape *images;

  *c = (SumiAdamWConfig){ 1e-3, 0.9, 0.999, 1e-8, 0.01 };
  if (!sumi_config_double (p->params, "lr", 0, 1, &c->lr, error)
      || !sumi_config_double (p->params, "eps", 1e-30, 1, &c->eps, error)
      || !sumi_config_double (p->params, "weight_decay", 0, 1, &c->weight_decay, error)
      || !read_betas (p->params, c, error) || !sumi_config_int (p->params, "full", 0, G_MAXINT64, &r->full, error)
      || !sumi_config_bool (p->params, "store_final", &r->store_final, error)
      || (r->images = probe_in (p, "images", 5, error)) == NULL || (r->noise = probe_in (p, "noise", 5, error)) == NULL
      || (r->t = probe_in_index (p, "t", 2, T - 1, error)) == NULL)
    return FALSE;
  images = sumi_tensor_get_shape (r->images);
  r->steps = (guint)MIN (images->d[0], G_MAXINT);
  return probe_check_shape ("noise", r->noise, images, error)
         && probe_check_shape ("t", r->t, &SUMI_SHAPE (images->d[0], images->d[1]), error)
         && sumi_config_uint (p->params, "steps", 1, r->steps, &r->steps, error);
}

/* The weights as F32 of their own, and as many zeros twice. */
static gboolean
prepare_weights (Trainee *t, Training *r, GError **error)
{
  r->weights = sumi_tensor_map_new ();
  r->m = sumi_tensor_map_new ();
  r->v = sumi_tensor_map_new ();
  for (guint i = 0; i < t->gradients.params->len; i++)
    {
      const char *name = g_ptr_array_index (t->gradients.params, i);
      const SumiShape *shape = &g_array_index (t->gradients.shapes, SumiShape, i);
      SumiTensor *w = sumi_tensor_cast (sumi_tensor_map_peek (t->model.weights, name), SUMI_F32, error);
      SumiTensor *m = w != NULL ? sumi_tensor_new (SUMI_F32, shape, error) : NULL;
      SumiTensor *v = m != NULL ? sumi_tensor_new (SUMI_F32, shape, error) : NULL;

      if (w != NULL)
        sumi_tensor_map_take (r->weights, name, w);
      if (m != NULL)
        sumi_tensor_map_take (r->m, name, m);
      if (v == NULL)
        return FALSE;
      sumi_tensor_map_take (r->v, name, v);
    }
  return TRUE;
}

/* Row `step` of (S,N,…) as (N,…). */
static SumiTensor *
row_of (SumiTensor *t, guint step, GError **error)
{
  g_autoptr (SumiTensor) row = sumi_tensor_slice0 (t, step, 1, error);
  SumiShape shape = *sumi_tensor_get_shape (t);

  if (row == NULL)
    return NULL;
  shape.rank--;
  for (guint i = 0; i < shape.rank; i++)
    shape.d[i] = shape.d[i + 1];
  return sumi_tensor_reshape (row, &shape, error);
}

/* Sets "sample" to x_t of this step's pictures, "timestep" and "target"; the first x_t is reported. */
static gboolean
set_batch (Trainee *t, const Training *r, const SumiSchedule *s, guint step, GError **error)
{
  g_autoptr (SumiTensor) images = row_of (r->images, step, error);
  g_autoptr (SumiTensor) noise = images != NULL ? row_of (r->noise, step, error) : NULL;
  g_autoptr (SumiTensor) index = noise != NULL ? row_of (r->t, step, error) : NULL;
  g_autoptr (SumiTensor) time = index != NULL ? sumi_tensor_cast (index, SUMI_F32, error) : NULL;
  g_autoptr (SumiTensor) x_t = time != NULL ? sumi_tensor_new (SUMI_F32, sumi_tensor_get_shape (images), error) : NULL;
  gint64 rows, n;

  if (x_t == NULL)
    return FALSE;
  rows = sumi_tensor_get_numel (index);
  n = sumi_tensor_get_numel (images) / rows;
  for (gint64 i = 0; i < rows; i++)
    sumi_schedule_q_sample (s, (guint)((const gint64 *)sumi_tensor_peek (index))[i],
                            sumi_tensor_peek_f32 (images) + i * n, sumi_tensor_peek_f32 (noise) + i * n,
                            sumi_tensor_poke_f32 (x_t) + i * n, (gsize)n);
  if (step == 0)
    sumi_tensor_map_set (t->p->out, "x_t", x_t);
  return sumi_plan_set (t->plan, "sample", x_t, error) && sumi_plan_set (t->plan, "timestep", time, error)
         && sumi_plan_set (t->plan, "target", noise, error);
}

static gboolean
update_weights (Trainee *t, Training *r, guint step, GError **error)
{
  for (guint i = 0; i < t->gradients.params->len; i++)
    {
      const char *name = g_ptr_array_index (t->gradients.params, i);
      g_autofree char *output = g_strconcat ("grad.", name, NULL);
      g_autoptr (SumiTensor) grad = probe_read (t->plan, output, error);
      SumiTensor *w = sumi_tensor_map_peek (r->weights, name);

      if (grad == NULL)
        return FALSE;
      sumi_adamw_step (&r->adamw, step + 1, 1, sumi_tensor_poke_f32 (w), sumi_tensor_peek_f32 (grad),
                       sumi_tensor_poke_f32 (sumi_tensor_map_peek (r->m, name)),
                       sumi_tensor_poke_f32 (sumi_tensor_map_peek (r->v, name)), (gsize)sumi_tensor_get_numel (w));
      if (!sumi_plan_set (t->plan, name, w, error))
        return FALSE;
    }
  return TRUE;
}

/* How far a parameter went. */
static gboolean
distance (const SumiTensor *before, const SumiTensor *after, float *l2, GError **error)
{
  g_autoptr (SumiTensor) b = sumi_tensor_cast (before, SUMI_F32, error);
  double sum = 0;

  if (b == NULL)
    return FALSE;
  for (gint64 i = 0; i < sumi_tensor_get_numel (b); i++)
    {
      double d = (double)sumi_tensor_peek_f32 (after)[i] - sumi_tensor_peek_f32 (b)[i];

      sum += d * d;
    }
  *l2 = (float)sqrt (sum);
  return TRUE;
}

static gboolean
report_weights (Trainee *t, const Training *r, GError **error)
{
  SumiTensor *delta = probe_out (t->p, "delta_l2", SUMI_F32, &SUMI_SHAPE (t->gradients.params->len), error);
  ProbeSummary s;

  if (delta == NULL || !probe_summary_new (&t->gradients, "final", &s, error))
    return FALSE;
  for (guint i = 0; i < t->gradients.params->len; i++)
    {
      const char *name = g_ptr_array_index (t->gradients.params, i);
      g_autofree char *output = g_strconcat ("final.", name, NULL);
      SumiTensor *w = sumi_tensor_map_peek (r->weights, name);

      probe_summary_set (&s, i, w);
      if (r->store_final)
        sumi_tensor_map_set (t->p->out, output, w);
      if (!distance (sumi_tensor_map_peek (t->model.weights, name), w, sumi_tensor_poke_f32 (delta) + i, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
probe_ddpm_train (Probe *p, GError **error)
{
  g_auto (Trainee) t = { .p = p };
  g_auto (Training) r = { .full = 64 };
  g_autoptr (SumiSchedule) s = probe_params_schedule (p, error);
  const SumiShape *d;
  SumiTensor *losses;

  if (s == NULL || !read_training (p, s->T, &r, error) || !probe_model_open_pixels (p, &t.model, error))
    return FALSE;
  d = sumi_tensor_get_shape (r.images);
  if (!trainee_compile (&t, &SUMI_SHAPE (d->d[1], d->d[2], d->d[3], d->d[4]), error) || !prepare_weights (&t, &r, error)
      || (losses = probe_out (p, "loss", SUMI_F32, &SUMI_SHAPE (r.steps), error)) == NULL)
    return FALSE;
  for (guint step = 0; step < r.steps; step++)
    {
      g_autoptr (SumiTensor) loss = NULL;

      if (!set_batch (&t, &r, s, step, error) || !sumi_plan_run (t.plan, NULL, error)
          || (loss = probe_read (t.plan, "loss", error)) == NULL
          || (step == 0 && !probe_gradients_report (&t.gradients, t.plan, r.full, error))
          || !update_weights (&t, &r, step, error))
        return FALSE;
      sumi_tensor_poke_f32 (losses)[step] = *sumi_tensor_peek_f32 (loss);
    }
  return report_weights (&t, &r, error);
}
