/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A step either happens wholly or not at all: whatever ends it (Ctrl-C, a gradient that is not finite, an engine that
 * fails) leaves the state as it was before, and that is what is saved. */
#include "train/trainer.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "io/image.h"
#include "io/safetensors.h"
#include "train/batch.h"
#include "train/history.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/preview.h"

#define ADAM_EPS 1e-8
#define SMOOTHING 0.01 /* of the loss that is shown */

struct _SumiTrainer
{
  SumiTrainSetup *setup;
  SumiTrainReport report;
  SumiModelConfig config;
  SumiEngine *engine;
  SumiDataset *dataset;
  SumiSamples *samples;
  SumiCaptions *captions;
  SumiObjective objective;
  SumiPlan *plan;
  SumiTrainState *state;
  SumiBatch batch;
  GPtrArray *gradients;  /* SumiTensor, by parameter */
  GPtrArray *more;       /* with accumulation: of the next run */
  GPtrArray *grad_names; /* char* */
  SumiTensor *loss;
  guint32 *order_before; /* of the samples, before the step */
  gint64 started;        /* monotonic microseconds */
  double seconds_before; /* of the runs this one goes on from */
  gint64 saved;          /* when last */
};

/* ---- preparation ---- */

static void note (const SumiTrainer *t, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
note (const SumiTrainer *t, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  if (t->report.note == NULL)
    return;
  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  t->report.note (text, t->report.user);
}

static void
cache_progress (guint n, guint n_all, gpointer user)
{
  const SumiTrainer *t = user;

  if (t->report.progress != NULL)
    t->report.progress ("cache", n, n_all, NULL, t->report.user);
}

/* The file of a model that training goes on with: a checkpoint, or a model to begin with; NULL for a new one. */
static SumiTensorMap *
earlier (const SumiTrainSetup *s)
{
  return s->checkpoint != NULL ? s->checkpoint : s->init;
}

/* A new model takes its statistics from the data; one that goes on keeps its own. */
static void
store_statistics (JsonObject *config, const SumiSamples *s)
{
  JsonObject *latents = json_object_get_object_member (config, "latents");
  JsonArray *mean = json_array_new (), *std = json_array_new ();

  for (guint i = 0; i < SUMI_TAEF2_CHANNELS; i++)
    {
      json_array_add_double_element (mean, s->mean[i]);
      json_array_add_double_element (std, s->std[i]);
    }
  json_object_set_array_member (latents, "mean", mean);
  json_object_set_array_member (latents, "std", std);
}

static gboolean
read_data (SumiTrainer *t, GCancellable *cancellable, GError **error)
{
  const SumiTrainSetup *setup = t->setup;
  g_autofree char *cache = sumi_train_setup_beside (setup, "latents.safetensors");
  SumiSampleOptions o = { cache, setup->taef2, t->engine, (guint)setup->options.threads, setup->options.flip };

  t->dataset = sumi_dataset_open (setup->data, setup->kind, error);
  if (t->dataset == NULL)
    return FALSE;
  t->samples = sumi_samples_new (t->dataset, &t->config, &o, cache_progress, t, cancellable, error);
  for (guint i = 0; i < t->dataset->notes->len; i++)
    note (t, "%s", (const char *)t->dataset->notes->pdata[i]);
  return t->samples != NULL;
}

static gboolean
read_captions (SumiTrainer *t, GError **error)
{
  g_autoptr (SumiTokenizer) tokenizer = sumi_tokenizer_open (t->setup->merges, error);
  SumiTensor *ids = earlier (t->setup) != NULL ? sumi_tensor_map_peek (earlier (t->setup), "token_ids") : NULL;

  if (tokenizer == NULL)
    return FALSE;
  t->captions = sumi_captions_new (t->dataset, t->samples->pictures, t->samples->n, tokenizer,
                                   (guint)t->config.text.max_position_embeddings, ids, error);
  if (t->captions == NULL)
    return FALSE;
  if (t->captions->n_cut > 0)
    note (t, "%u captions are longer than the model's %u places and were cut", t->captions->n_cut,
          t->captions->context);
  return TRUE;
}

static gboolean
complete_config (SumiTrainer *t, GError **error)
{
  JsonObject *config = t->setup->config;

  if (t->config.family != SUMI_FAMILY_LATENT)
    return TRUE;
  if (!read_captions (t, error))
    return FALSE;
  json_object_set_int_member (json_object_get_object_member (config, "text_encoder"), "vocab_size",
                              sumi_captions_get_vocabulary (t->captions));
  if (earlier (t->setup) == NULL)
    store_statistics (config, t->samples);
  if (!sumi_model_config_parse (config, &t->config, error))
    return FALSE;
  memcpy (t->samples->mean, t->config.mean, sizeof t->config.mean);
  memcpy (t->samples->std, t->config.std, sizeof t->config.std);
  return TRUE;
}

static gboolean
make_state (SumiTrainer *t, GError **error)
{
  const SumiTrainSetup *setup = t->setup;

  if (setup->checkpoint == NULL)
    t->state = sumi_train_state_new (t->objective.module, setup->init, &setup->options, t->samples->n, error);
  else
    t->state = sumi_train_state_load (setup->checkpoint, t->objective.module, t->samples->n, error);
  if (t->state == NULL)
    return FALSE;
  if (t->state->fingerprint != NULL && strcmp (t->state->fingerprint, t->dataset->fingerprint) != 0)
    note (t, "the data set is not the one of the checkpoint; going on with it as it is now");
  g_free (t->state->fingerprint);
  t->state->fingerprint = g_strdup (t->dataset->fingerprint);
  if (t->captions != NULL && t->state->token_ids == NULL)
    t->state->token_ids = sumi_tensor_ref (t->captions->token_ids);
  if (t->state->history->len > 0)
    t->seconds_before = g_array_index (t->state->history, SumiTrainRow, t->state->history->len - 1).seconds;
  t->order_before = g_new (guint32, t->state->n_order);
  return TRUE;
}

static GPtrArray *
make_gradients (const SumiTrainer *t, GError **error)
{
  g_autoptr (GPtrArray) list = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_tensor_unref);

  for (guint i = 0; i < sumi_tensor_map_get_size (t->state->params); i++)
    {
      const SumiShape *shape = sumi_tensor_get_shape (sumi_tensor_map_peek_nth (t->state->params, i));
      SumiTensor *gradient = sumi_tensor_new (SUMI_F32, shape, error);
      if (gradient == NULL)
        return NULL;
      g_ptr_array_add (list, gradient);
    }
  return g_steal_pointer (&list);
}

static gboolean
set_params (SumiTrainer *t, GError **error)
{
  for (guint i = 0; i < sumi_tensor_map_get_size (t->state->params); i++)
    if (!sumi_plan_set (t->plan, sumi_tensor_map_get_name (t->state->params, i),
                        sumi_tensor_map_peek_nth (t->state->params, i), error))
      return FALSE;
  return TRUE;
}

static gboolean
compile (SumiTrainer *t, GError **error)
{
  const SumiTrainOptions *o = &t->setup->options;
  SumiCompileOptions compile = { o->bf16 ? SUMI_BF16 : SUMI_F32, (guint)o->threads, FALSE };

  t->plan = sumi_engine_compile (t->engine, t->objective.graph, &compile, error);
  if (t->plan == NULL || (t->loss = sumi_tensor_new (SUMI_F32, &SUMI_SCALAR, error)) == NULL
      || (t->gradients = make_gradients (t, error)) == NULL
      || (o->accumulate > 1 && (t->more = make_gradients (t, error)) == NULL))
    return FALSE;
  t->grad_names = g_ptr_array_new_with_free_func (g_free);
  for (guint i = 0; i < t->gradients->len; i++)
    g_ptr_array_add (t->grad_names, sumi_objective_gradient_name (sumi_tensor_map_get_name (t->state->params, i)));
  return sumi_batch_init (&t->batch, &t->config, o, t->samples, t->captions, error) && set_params (t, error);
}

static void
introduce (const SumiTrainer *t)
{
  const SumiTrainOptions *o = &t->setup->options;
  gint64 all = 0, text = 0;
  gsize arena, parameters;

  for (guint i = 0; i < sumi_tensor_map_get_size (t->state->params); i++)
    {
      gint64 n = sumi_tensor_get_numel (sumi_tensor_map_peek_nth (t->state->params, i));
      all += n;
      if (g_str_has_prefix (sumi_tensor_map_get_name (t->state->params, i), "text_encoder."))
        text += n;
    }
  sumi_plan_get_memory (t->plan, &arena, &parameters);
  note (t, "%u pictures, samples of %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT "x%" G_GINT64_FORMAT "%s", t->samples->n,
        t->config.channels, t->config.height, t->config.width, t->samples->latent ? " (latents)" : "");
  if (t->captions != NULL)
    note (t, "vocabulary of %" G_GINT64_FORMAT " tokens, %.2f M parameters in the text encoder",
          sumi_captions_get_vocabulary (t->captions), (double)text / 1e6);
  note (t, "%s: %.2f M parameters in the denoiser", sumi_family_name (t->config.family), (double)(all - text) / 1e6);
  note (t, "engine %s, %s: %.2f GFLOP a sample, %.0f MiB for a batch of %" G_GUINT64_FORMAT,
        sumi_engine_get_name (t->engine), o->bf16 ? "bf16" : "f32", (double)t->objective.flops / 1e9 / (double)o->batch,
        (double)(arena + parameters) / 1048576, o->batch);
}

SumiTrainer *
sumi_trainer_new (SumiTrainSetup *setup, const SumiTrainReport *report, GCancellable *cancellable, GError **error)
{
  g_autoptr (SumiTrainer) t = g_new0 (SumiTrainer, 1);

  t->setup = setup;
  t->report = *report;
  if (setup->options.threads > 0)
    omp_set_num_threads ((int)setup->options.threads);
  t->engine = sumi_engine_open (setup->engine, error);
  if (t->engine == NULL || !sumi_train_config_prepare (setup->config, &t->config, error)
      || !read_data (t, cancellable, error) || !complete_config (t, error)
      || !sumi_objective_build (&t->objective, &t->config, (guint)setup->options.batch, error) || !make_state (t, error)
      || !compile (t, error))
    return NULL;
  introduce (t);
  return g_steal_pointer (&t);
}

void
sumi_trainer_free (SumiTrainer *t)
{
  if (t == NULL)
    return;
  sumi_batch_clear (&t->batch);
  g_clear_pointer (&t->plan, sumi_plan_free);
  sumi_objective_clear (&t->objective);
  g_clear_pointer (&t->engine, sumi_engine_unref);
  g_clear_pointer (&t->state, sumi_train_state_free);
  g_clear_pointer (&t->captions, sumi_captions_free);
  g_clear_pointer (&t->samples, sumi_samples_free);
  g_clear_pointer (&t->dataset, sumi_dataset_free);
  g_clear_pointer (&t->gradients, g_ptr_array_unref);
  g_clear_pointer (&t->more, g_ptr_array_unref);
  g_clear_pointer (&t->grad_names, g_ptr_array_unref);
  g_clear_pointer (&t->loss, sumi_tensor_unref);
  g_free (t->order_before);
  g_free (t);
}

const SumiTrainState *
sumi_trainer_peek_state (const SumiTrainer *t)
{
  return t->state;
}

/* ---- saving ---- */

static char *
config_text (const SumiTrainSetup *setup)
{
  g_autoptr (JsonNode) node = json_node_new (JSON_NODE_OBJECT);

  json_node_set_object (node, setup->config);
  return json_to_string (node, FALSE);
}

static gboolean
save_history (const SumiTrainer *t, GError **error)
{
  g_autofree char *csv = sumi_train_setup_beside (t->setup, "loss.csv");
  g_autofree char *png = sumi_train_setup_beside (t->setup, "loss.png");
  g_autoptr (SumiTensor) plot = NULL;

  if (!sumi_train_history_save_csv (t->state->history, csv, error))
    return FALSE;
  plot = sumi_train_history_plot (t->state->history, error);
  return plot != NULL && sumi_image_save_png (plot, png, NULL, error);
}

static gboolean
save (SumiTrainer *t, GError **error)
{
  g_autofree char *path = sumi_train_setup_beside (t->setup, "ckpt.safetensors");
  g_autofree char *config = config_text (t->setup);
  g_autofree char *run = sumi_train_setup_to_text (t->setup);
  g_autoptr (SumiTensorMap) model = NULL;

  if (!sumi_train_state_save (t->state, path, config, run, error))
    return FALSE;
  t->saved = g_get_monotonic_time ();
  model = sumi_train_state_export (t->state, t->setup->options.save_f16, config, error);
  return model != NULL && sumi_safetensors_save (model, t->setup->output, error) && save_history (t, error);
}

static gboolean
is_time_to_save (const SumiTrainer *t)
{
  const SumiTrainOptions *o = &t->setup->options;
  double minutes = (double)(g_get_monotonic_time () - t->saved) / 6e7;

  return (o->save_every > 0 && t->state->step % o->save_every == 0)
         || (o->save_minutes > 0 && minutes >= o->save_minutes);
}

/* A sheet that cannot be drawn is no reason to end a run of hours; being cancelled is. */
static gboolean
save_preview (SumiTrainer *t, GCancellable *cancellable, GError **error)
{
  g_autofree char *ending = g_strdup_printf ("samples-%06" G_GUINT64_FORMAT ".png", t->state->step);
  g_autofree char *path = sumi_train_setup_beside (t->setup, ending);
  g_autofree char *config = config_text (t->setup);
  g_auto (GStrv) prompts = sumi_train_preview_prompts (t->setup, t->dataset);
  g_autoptr (GError) wrong = NULL;
  g_autoptr (SumiTensor) sheet = sumi_train_preview_draw (t->state, t->setup, config, prompts, cancellable, &wrong);

  if (sheet != NULL && sumi_image_save_png (sheet, path, NULL, &wrong))
    return TRUE;
  if (!g_error_matches (wrong, SUMI_ERROR, SUMI_ERROR_CANCELLED))
    {
      note (t, "no samples of step %" G_GUINT64_FORMAT ": %s", t->state->step, wrong->message);
      return TRUE;
    }
  g_propagate_error (error, g_steal_pointer (&wrong));
  return FALSE;
}

/* ---- a step ---- */

/* One run of the graph; adds its loss to *loss and its gradients into t->gradients. */
static gboolean
run_batch (SumiTrainer *t, guint64 run, double *loss, GCancellable *cancellable, GError **error)
{
  GPtrArray *into = run == 0 ? t->gradients : t->more;

  sumi_batch_draw (&t->batch, t->state);
  if (!sumi_batch_set (&t->batch, t->plan, error) || !sumi_plan_run (t->plan, cancellable, error)
      || !sumi_plan_read (t->plan, "loss", t->loss, error))
    return FALSE;
  *loss += sumi_tensor_peek_f32 (t->loss)[0];
  for (guint i = 0; i < into->len; i++)
    {
      if (!sumi_plan_read (t->plan, t->grad_names->pdata[i], into->pdata[i], error))
        return FALSE;
      if (run > 0)
        {
          float *sum = sumi_tensor_poke_f32 (t->gradients->pdata[i]);
          const float *more = sumi_tensor_peek_f32 (into->pdata[i]);
          for (gint64 j = 0; j < sumi_tensor_get_numel (into->pdata[i]); j++)
            sum[j] += more[j];
        }
    }
  return TRUE;
}

static double
gradient_norm (const SumiTrainer *t)
{
  double sum = 0;

  for (guint i = 0; i < t->gradients->len; i++)
    sum += sumi_sum_of_squares (sumi_tensor_peek_f32 (t->gradients->pdata[i]),
                                sumi_tensor_get_numel (t->gradients->pdata[i]));
  return sqrt (sum);
}

/* The norm of the mean gradient, clipped, is what the weights move along. */
static void
update (SumiTrainer *t, double lr, double grad_scale)
{
  const SumiTrainOptions *o = &t->setup->options;
  SumiTrainState *s = t->state;
  double k = (double)s->step, decay = MIN (o->ema, (1 + k) / (10 + k));

  for (guint i = 0; i < t->gradients->len; i++)
    {
      SumiTensor *p = sumi_tensor_map_peek_nth (s->params, i);
      gsize n = sumi_tensor_get_numel (p);
      SumiAdamWConfig adam = { lr, o->beta1, o->beta2, ADAM_EPS, 0 };

      if (sumi_tensor_get_shape (p)->rank >= 2)
        adam.weight_decay = o->weight_decay;
      sumi_adamw_step (&adam, s->step + 1, grad_scale, sumi_tensor_poke_f32 (p),
                       sumi_tensor_peek_f32 (t->gradients->pdata[i]),
                       sumi_tensor_poke_f32 (sumi_tensor_map_peek_nth (s->m, i)),
                       sumi_tensor_poke_f32 (sumi_tensor_map_peek_nth (s->v, i)), n);
      if (s->ema != NULL)
        sumi_ema_step (decay, sumi_tensor_poke_f32 (sumi_tensor_map_peek_nth (s->ema, i)), sumi_tensor_peek_f32 (p), n);
    }
}

static void
append_row (SumiTrainer *t, double loss, double lr, double norm)
{
  const SumiTrainOptions *o = &t->setup->options;
  GArray *h = t->state->history;
  double seconds = t->seconds_before + (double)(g_get_monotonic_time () - t->started) / 1e6;
  SumiTrainRow row = {
    (float)loss, (float)loss, (float)lr, (float)norm, (float)(o->batch * o->accumulate), (float)seconds,
  };

  if (h->len > 0)
    {
      float last = g_array_index (h, SumiTrainRow, h->len - 1).smooth_loss;
      row.smooth_loss = last + ((float)loss - last) * (float)MAX (SMOOTHING, 1.0 / (h->len + 1));
    }
  g_array_append_val (h, row);
}

static gboolean
forward_backward (SumiTrainer *t, double *loss, double *norm, GCancellable *cancellable, GError **error)
{
  guint64 runs = t->setup->options.accumulate;

  *loss = 0;
  for (guint64 run = 0; run < runs; run++)
    if (!run_batch (t, run, loss, cancellable, error))
      return FALSE;
  *loss /= (double)runs;
  *norm = gradient_norm (t) / (double)runs;
  if (isfinite (*loss) && isfinite (*norm))
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE,
               "step %" G_GUINT64_FORMAT ": found loss %g and gradient norm %g, expected finite numbers; the state"
               " before this step is saved: go on from it with a lower --lr",
               t->state->step + 1, *loss, *norm);
  return FALSE;
}

static gboolean
step (SumiTrainer *t, GCancellable *cancellable, GError **error)
{
  const SumiTrainOptions *o = &t->setup->options;
  SumiTrainState *s = t->state;
  SumiTrainCursor before = s->cursor;
  double loss, norm, lr = sumi_train_learning_rate (o, s->step), scale = 1.0 / (double)o->accumulate;

  memcpy (t->order_before, s->order, s->n_order * sizeof *s->order);
  if (!forward_backward (t, &loss, &norm, cancellable, error))
    {
      s->cursor = before;
      memcpy (s->order, t->order_before, s->n_order * sizeof *s->order);
      return FALSE;
    }
  if (o->grad_clip > 0 && norm > o->grad_clip)
    scale *= o->grad_clip / norm;
  update (t, lr, scale);
  append_row (t, loss, lr, norm);
  s->step++;
  s->samples += o->batch * o->accumulate;
  return set_params (t, error);
}

/* Saves what there is; the error that ended the run stays the one that is told. */
static void
save_at_failure (SumiTrainer *t)
{
  g_autoptr (GError) error = NULL;

  if (!save (t, &error))
    note (t, "the state could not be saved: %s", error->message);
}

/* Whatever is due after a step. */
static gboolean
after_step (SumiTrainer *t, GCancellable *cancellable, GError **error)
{
  const SumiTrainOptions *o = &t->setup->options;

  if (t->report.progress != NULL)
    t->report.progress ("train", t->state->step, o->steps,
                        &g_array_index (t->state->history, SumiTrainRow, t->state->history->len - 1), t->report.user);
  if (t->state->step < o->steps && is_time_to_save (t) && !save (t, error))
    return FALSE;
  return o->sample_every == 0 || t->state->step % o->sample_every != 0 || save_preview (t, cancellable, error);
}

gboolean
sumi_trainer_run (SumiTrainer *t, GCancellable *cancellable, GError **error)
{
  t->started = t->saved = g_get_monotonic_time ();
  while (t->state->step < t->setup->options.steps)
    if (!step (t, cancellable, error) || !after_step (t, cancellable, error))
      {
        save_at_failure (t);
        return FALSE;
      }
  return save (t, error);
}
