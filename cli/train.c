/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sumi train ddpm: a denoising model from a folder of pictures. */
#include "cli.h"

#include <string.h>

#include "io/json.h"
#include "models/model-store.h"
#include "train/trainer.h"

/* What is given on the command line; NULL: not given. */
typedef struct
{
  char *data, *kind, *output, *config, *init, *resume, *engine, **prompts;
  char **values; /* of sumi_train_fields, in order */
} Arguments;

static void
arguments_clear (Arguments *a)
{
  guint n;

  sumi_train_fields (&n);
  for (guint i = 0; a->values != NULL && i < n; i++)
    g_free (a->values[i]);
  g_free (a->values);
  g_free (a->data);
  g_free (a->kind);
  g_free (a->output);
  g_free (a->config);
  g_free (a->init);
  g_free (a->resume);
  g_free (a->engine);
  g_strfreev (a->prompts);
}

static gboolean
parse_arguments (int *argc, char ***argv, Arguments *a, GError **error)
{
  const GOptionEntry fixed[] = {
    { "data", 'd', 0, G_OPTION_ARG_FILENAME, &a->data, "Folder of pictures with captions, or of idx files", "DIR" },
    { "kind", 0, 0, G_OPTION_ARG_STRING, &a->kind, "auto, folder or fashion-mnist", "KIND" },
    { "output", 'o', 0, G_OPTION_ARG_FILENAME, &a->output, "The model; its checkpoint and curves go beside it",
      "OUT.safetensors" },
    { "config", 'c', 0, G_OPTION_ARG_FILENAME, &a->config, "The model's configuration", "MODEL.json" },
    { "init", 0, 0, G_OPTION_ARG_FILENAME, &a->init, "Begin with the weights and words of a model", "M" },
    { "resume", 0, 0, G_OPTION_ARG_FILENAME, &a->resume, "Go on from a checkpoint, with its settings", "CKPT" },
    { "engine", 0, 0, G_OPTION_ARG_STRING, &a->engine, "ref or cpu", "NAME" },
    { "sample-prompt", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &a->prompts, "Prompt of the sample grids (again for more)",
      "TEXT" },
  };
  guint n;
  const SumiTrainField *fields = sumi_train_fields (&n);
  g_autofree GOptionEntry *entries = g_new0 (GOptionEntry, G_N_ELEMENTS (fixed) + n + 1);

  a->values = g_new0 (char *, n);
  memcpy (entries, fixed, sizeof fixed);
  for (guint i = 0; i < n; i++)
    entries[G_N_ELEMENTS (fixed) + i] = (GOptionEntry){
      .long_name = fields[i].name,
      .arg = G_OPTION_ARG_STRING,
      .arg_data = &a->values[i],
      .description = fields[i].help,
      .arg_description = fields[i].kind == SUMI_FIELD_SWITCH ? "WORD" : "N",
    };
  return sumi_cli_parse (argc, argv, "train ddpm", NULL, "Trains a denoising diffusion model on pictures.", entries,
                         error);
}

/* ---- from arguments to a setup ---- */

static void
replace (char **place, char **value)
{
  if (*value == NULL)
    return;
  g_free (*place);
  *place = g_steal_pointer (value);
}

static gboolean
begin (SumiTrainSetup *s, const Arguments *a, GError **error)
{
  SumiModelConfig config;

  if (a->init != NULL && !sumi_model_open (a->init, &s->init, &s->config, error))
    return FALSE;
  if (a->config != NULL)
    s->config = sumi_json_load (a->config, error);
  else if (a->init == NULL)
    s->config = sumi_train_config_default (s->data, s->kind, error);
  if (s->config == NULL || !sumi_train_config_prepare (s->config, &config, error))
    return FALSE;
  sumi_train_options_init (&s->options, &config);
  return TRUE;
}

static gboolean
override_options (SumiTrainSetup *s, const Arguments *a, GError **error)
{
  guint n;
  const SumiTrainField *fields = sumi_train_fields (&n);

  for (guint i = 0; i < n; i++)
    if (a->values[i] != NULL && !sumi_train_options_set (&s->options, &fields[i], a->values[i], error))
      return FALSE;
  return TRUE;
}

static gboolean
make_setup (SumiTrainSetup *s, Arguments *a, GError **error)
{
  if ((a->resume != NULL) + (a->config != NULL) + (a->init != NULL) > 1)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE,
                   "found more than one of --config, --init and --resume, expected one: each brings a configuration");
      return FALSE;
    }
  if (a->kind != NULL && !sumi_dataset_kind_parse (a->kind, &s->kind, error))
    return FALSE;
  if (a->resume != NULL && !sumi_train_setup_resume (s, a->resume, error))
    return FALSE;
  replace (&s->data, &a->data);
  replace (&s->output, &a->output);
  replace (&s->engine, &a->engine);
  if (a->prompts != NULL)
    {
      g_strfreev (s->prompts);
      s->prompts = g_steal_pointer (&a->prompts);
    }
  s->merges = g_build_filename (sumi_data_dir (), "clip", "merges.txt.gz", NULL);
  s->taef2 = g_build_filename (sumi_data_dir (), "taef2", "taef2.safetensors", NULL);
  return sumi_train_setup_check (s, error) && (a->resume != NULL || begin (s, a, error))
         && override_options (s, a, error);
}

/* ---- the run ---- */

typedef struct
{
  gint64 begun;
  guint64 first;
} Clock;

static void
show_progress (const char *phase, guint64 step, guint64 n_steps, const SumiTrainRow *row, gpointer user)
{
  Clock *clock = user;
  double seconds;

  if (row == NULL)
    {
      sumi_cli_progress (phase, step, n_steps, NULL);
      return;
    }
  if (clock->begun == 0)
    {
      clock->begun = g_get_monotonic_time ();
      clock->first = step;
    }
  seconds = (double)(g_get_monotonic_time () - clock->begun) / 1e6;
  sumi_cli_progress (phase, step, n_steps, "loss", (double)row->loss, "smooth_loss", (double)row->smooth_loss, "lr",
                     (double)row->lr, "grad_norm", (double)row->grad_norm, "samples_per_second",
                     seconds > 0 ? (double)(step - clock->first) * row->samples / seconds : 0.0, NULL);
}

static void
show_note (const char *text, gpointer user)
{
  (void)user;
  sumi_cli_note (text);
}

static gboolean
train (SumiTrainSetup *setup, GError **error)
{
  Clock clock = { 0 };
  SumiTrainReport report = { show_progress, show_note, &clock };
  g_autoptr (SumiTrainer) trainer = sumi_trainer_new (setup, &report, sumi_cli_cancellable (), error);

  return trainer != NULL && sumi_trainer_run (trainer, sumi_cli_cancellable (), error);
}

static int
train_ddpm (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  SumiTrainSetup setup = { 0 };
  Arguments arguments = { 0 };
  gboolean ok;

  sumi_cli_cancellable (); /* before any thread */
  ok = parse_arguments (&argc, &argv, &arguments, &error) && make_setup (&setup, &arguments, &error)
       && train (&setup, &error);
  sumi_cli_progress_end ();
  sumi_train_setup_clear (&setup);
  arguments_clear (&arguments);
  return ok ? 0 : sumi_cli_fail (error);
}

int
sumi_cli_train (int argc, char **argv)
{
  if (argc >= 2 && strcmp (argv[1], "ddpm") == 0)
    return train_ddpm (argc - 1, argv + 1);
  return sumi_cli_usage ("train: found %s%s%s, expected the mode ddpm (see 'sumi train ddpm --help')",
                         argc >= 2 ? "'" : "", argc >= 2 ? argv[1] : "no mode", argc >= 2 ? "'" : "");
}
