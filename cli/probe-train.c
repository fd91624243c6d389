/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Components with gradients: "unet-backward" (one) and "ddpm-train" (some steps of AdamW). */
#include "probe.h"

#include <math.h>
#include <string.h>

#include "graph/autodiff.h"
#include "nn/config.h"
#include "train/optimizer.h"

/* A model with a loss: inputs "sample", "timestep", "target" (and what conditions the model), outputs "out", "loss" and
 * "grad.NAME" of every parameter. */
typedef struct
{
  Probe *p;
  ProbeModel model;
  SumiPlan *plan;
  GPtrArray *params; /* names, in the order of the case's param_order; else of declaration */
  GArray *shapes;    /* SumiShape */
} Trainee;

static void
trainee_clear (Trainee *t)
{
  probe_model_clear (&t->model);
  g_clear_pointer (&t->plan, sumi_plan_free);
  g_clear_pointer (&t->params, g_ptr_array_unref);
  g_clear_pointer (&t->shapes, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Trainee, trainee_clear)

static gboolean
add_param (Trainee *t, SumiModule *m, const char *name, GError **error)
{
  for (guint i = 0; name != NULL && i < m->params->len; i++)
    {
      const SumiNode *node = g_array_index (m->params, SumiModuleParam, i).node;

      if (strcmp (node->name, name) != 0)
        continue;
      g_ptr_array_add (t->params, g_strdup (name));
      g_array_append_val (t->shapes, node->shape);
      return TRUE;
    }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "param_order: found '%s', expected a parameter of the model",
               name != NULL ? name : "no text");
  return FALSE;
}

static gboolean
list_params (Trainee *t, SumiModule *m, GError **error)
{
  JsonNode *node = json_object_get_member (t->p->json, "param_order");
  guint n = m->params->len;

  t->params = g_ptr_array_new_with_free_func (g_free);
  t->shapes = g_array_new (FALSE, FALSE, sizeof (SumiShape));
  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    {
      for (guint i = 0; i < n; i++)
        add_param (t, m, g_array_index (m->params, SumiModuleParam, i).node->name, NULL);
      return TRUE;
    }
  if (!sumi_config_list_length (t->p->json, "param_order", 1, n, &n, error))
    return FALSE;
  for (guint i = 0; i < n; i++)
    {
      JsonNode *e = json_array_get_element (json_node_get_array (node), i);
      gboolean is_text = JSON_NODE_HOLDS_VALUE (e) && json_node_get_value_type (e) == G_TYPE_STRING;

      if (!add_param (t, m, is_text ? json_node_get_string (e) : NULL, error))
        return FALSE;
    }
  return TRUE;
}

/* Adds outputs of the gradients of the loss to the parameters and to the inputs named. */
static void
add_gradients (Trainee *t, SumiGraph *g, SumiNode *loss, const char *const *inputs)
{
  guint n = t->params->len + g_strv_length ((char **)inputs);
  g_autofree SumiNode **wrt = g_new (SumiNode *, n), **grads = g_new (SumiNode *, n);

  for (guint i = 0; i < n; i++)
    wrt[i] = sumi_graph_lookup (g, i < t->params->len ? g_ptr_array_index (t->params, i) : inputs[i - t->params->len]);
  sumi_graph_grad (g, loss, wrt, n, grads);
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *name = g_strconcat (i < t->params->len ? "grad." : "grad_", wrt[i]->name, NULL);

      sumi_graph_output (g, name, grads[i]);
    }
}

static gboolean
trainee_compile (Trainee *t, const SumiShape *sample, const SumiTensor *states, GError **error)
{
  static const char *const to_inputs[] = { "sample", "encoder_hidden_states", NULL };
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  SumiNode *x = sumi_input (g, "sample", SUMI_REAL, sample);
  SumiNode *time = sumi_input (g, "timestep", SUMI_REAL, &SUMI_SHAPE (sample->d[0]));
  SumiNode *context = NULL, *out, *target, *difference, *loss;

  if (states != NULL)
    context = sumi_input (g, "encoder_hidden_states", SUMI_REAL, sumi_tensor_get_shape (states));
  out = probe_model_denoiser (m, &t->model, x, time, context, NULL);
  target = sumi_input (g, "target", SUMI_REAL, &out->shape);
  difference = sumi_sub (g, out, target);
  loss = sumi_mean (g, sumi_mul (g, difference, difference), 0xf, FALSE);
  if (!sumi_graph_check (g, error) || !list_params (t, m, error))
    return FALSE;
  sumi_graph_output (g, "out", out);
  sumi_graph_output (g, "loss", loss);
  add_gradients (t, g, loss, states != NULL ? to_inputs : to_inputs + 2);
  t->plan = probe_compile (t->p, m, t->model.weights, error);
  return t->plan != NULL;
}

/* ---- what is reported of the parameters ---- */

/* PREFIX_l2, PREFIX_sum, PREFIX_probe: one row for every parameter. */
typedef struct
{
  SumiTensor *l2, *sum, *probe;
} Summary;

static gboolean
summary_new (Trainee *t, const char *prefix, Summary *s, GError **error)
{
  g_autofree char *l2 = g_strconcat (prefix, "_l2", NULL), *sum = g_strconcat (prefix, "_sum", NULL);
  g_autofree char *probe = g_strconcat (prefix, "_probe", NULL);
  gint64 n = t->params->len;

  s->l2 = probe_out (t->p, l2, SUMI_F32, &SUMI_SHAPE (n), error);
  s->sum = s->l2 != NULL ? probe_out (t->p, sum, SUMI_F32, &SUMI_SHAPE (n), error) : NULL;
  s->probe = s->sum != NULL ? probe_out (t->p, probe, SUMI_F32, &SUMI_SHAPE (n, 8), error) : NULL;
  return s->probe != NULL;
}

static void
summary_set (const Summary *s, guint i, const SumiTensor *values)
{
  probe_summarize (sumi_tensor_peek_f32 (values), sumi_tensor_get_numel (values), sumi_tensor_poke_f32 (s->l2) + i,
                   sumi_tensor_poke_f32 (s->sum) + i, sumi_tensor_poke_f32 (s->probe) + 8 * i);
}

/* Reports the gradients of the last run; those of at most `limit` values, or listed in "full", as a whole. */
static gboolean
report_gradients (Trainee *t, gint64 limit, JsonArray *full, GError **error)
{
  g_autoptr (GHashTable) listed = g_hash_table_new (g_str_hash, g_str_equal);
  Summary s;

  for (guint i = 0; full != NULL && i < json_array_get_length (full); i++)
    {
      JsonNode *e = json_array_get_element (full, i);

      if (JSON_NODE_HOLDS_VALUE (e) && json_node_get_value_type (e) == G_TYPE_STRING)
        g_hash_table_add (listed, (gpointer)json_node_get_string (e));
    }
  if (!summary_new (t, "grad", &s, error))
    return FALSE;
  for (guint i = 0; i < t->params->len; i++)
    {
      const char *param = g_ptr_array_index (t->params, i);
      g_autofree char *name = g_strconcat ("grad.", param, NULL);
      g_autoptr (SumiTensor) grad = probe_read (t->plan, name, error);

      if (grad == NULL)
        return FALSE;
      summary_set (&s, i, grad);
      if (sumi_tensor_get_numel (grad) <= limit || g_hash_table_contains (listed, param))
        sumi_tensor_map_set (t->p->out, name, grad);
    }
  return TRUE;
}

/* ---- unet-backward ---- */

static gboolean
report_loss (Trainee *t, GError **error)
{
  g_autoptr (SumiTensor) loss = probe_read (t->plan, "loss", error);
  SumiTensor *out = loss != NULL ? probe_out (t->p, "loss", SUMI_F32, &SUMI_SHAPE (1), error) : NULL;

  if (out != NULL)
    *sumi_tensor_poke_f32 (out) = *sumi_tensor_peek_f32 (loss);
  return out != NULL;
}

gboolean
probe_unet_backward (Probe *p, GError **error)
{
  g_auto (Trainee) t = { .p = p };
  gint64 limit = 1024;
  JsonNode *full = json_object_get_member (p->params, "full");
  g_autoptr (SumiTensor) sample = probe_in (p, "sample", 4, error);
  g_autoptr (SumiTensor) timestep = sample != NULL ? probe_in_number (p, "timestep", 1, error) : NULL;
  g_autoptr (SumiTensor) target = timestep != NULL ? probe_in (p, "target", 4, error) : NULL;
  g_autoptr (SumiTensor) states = NULL;

  if (target == NULL || !probe_in_optional (p, "encoder_hidden_states", 3, &states, error)
      || !sumi_config_int (p->params, "limit", 0, G_MAXINT64, &limit, error) || !probe_model_open (p, &t.model, error)
      || !trainee_compile (&t, sumi_tensor_get_shape (sample), states, error)
      || !sumi_plan_set (t.plan, "sample", sample, error) || !sumi_plan_set (t.plan, "timestep", timestep, error)
      || !sumi_plan_set (t.plan, "target", target, error)
      || (states != NULL && !sumi_plan_set (t.plan, "encoder_hidden_states", states, error))
      || !sumi_plan_run (t.plan, NULL, error) || !probe_store (p, t.plan, "out", error) || !report_loss (&t, error))
    return FALSE;
  if (states != NULL
      && (!probe_store (p, t.plan, "grad_sample", error)
          || !probe_store (p, t.plan, "grad_encoder_hidden_states", error)))
    return FALSE;
  return report_gradients (&t, limit, full != NULL && JSON_NODE_HOLDS_ARRAY (full) ? json_node_get_array (full) : NULL,
                           error);
}

/* ---- ddpm-train ---- */

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
  for (guint i = 0; i < t->params->len; i++)
    {
      const char *name = g_ptr_array_index (t->params, i);
      const SumiShape *shape = &g_array_index (t->shapes, SumiShape, i);
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
  for (guint i = 0; i < t->params->len; i++)
    {
      const char *name = g_ptr_array_index (t->params, i);
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
  SumiTensor *delta = probe_out (t->p, "delta_l2", SUMI_F32, &SUMI_SHAPE (t->params->len), error);
  Summary s;

  if (delta == NULL || !summary_new (t, "final", &s, error))
    return FALSE;
  for (guint i = 0; i < t->params->len; i++)
    {
      const char *name = g_ptr_array_index (t->params, i);
      g_autofree char *output = g_strconcat ("final.", name, NULL);
      SumiTensor *w = sumi_tensor_map_peek (r->weights, name);

      summary_set (&s, i, w);
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

  if (s == NULL || !read_training (p, s->T, &r, error) || !probe_model_open (p, &t.model, error))
    return FALSE;
  d = sumi_tensor_get_shape (r.images);
  if (!trainee_compile (&t, &SUMI_SHAPE (d->d[1], d->d[2], d->d[3], d->d[4]), NULL, error)
      || !prepare_weights (&t, &r, error)
      || (losses = probe_out (p, "loss", SUMI_F32, &SUMI_SHAPE (r.steps), error)) == NULL)
    return FALSE;
  for (guint step = 0; step < r.steps; step++)
    {
      g_autoptr (SumiTensor) loss = NULL;

      if (!set_batch (&t, &r, s, step, error) || !sumi_plan_run (t.plan, NULL, error)
          || (loss = probe_read (t.plan, "loss", error)) == NULL
          || (step == 0 && !report_gradients (&t, r.full, NULL, error)) || !update_weights (&t, &r, step, error))
        return FALSE;
      sumi_tensor_poke_f32 (losses)[step] = *sumi_tensor_peek_f32 (loss);
    }
  return report_weights (&t, &r, error);
}
