/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sumi generate: from a prompt to PNG files. */
#include "cli.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "diffusion/pipeline.h"
#include "diffusion/sampler.h"
#include "engine/engine.h"
#include "io/image.h"
#include "io/safetensors.h"
#include "models/model-store.h"

#define MAX_THREADS 1024
#define NOT_GIVEN G_MININT

static struct
{
  char *model, *prompt, *negative, *sampler, *seed, *rng, *engine, *dtype;
  char *save_latents, *init_noise, *steps_out, *output;
  int width, height, steps, batch, threads;
  double guidance_scale, eta;
} o;

static const GOptionEntry entries[] = {
  { "model", 'm', 0, G_OPTION_ARG_FILENAME, &o.model, "A file, a folder or a name ('sumi models list'); starter", "M" },
  { "prompt", 'p', 0, G_OPTION_ARG_FILENAME, &o.prompt, "What to draw", "TEXT" },
  { "negative", 0, 0, G_OPTION_ARG_FILENAME, &o.negative, "What not to draw", "TEXT" },
  { "width", 0, 0, G_OPTION_ARG_INT, &o.width, "Pixels, 16 to 4096; the model's own size", "W" },
  { "height", 0, 0, G_OPTION_ARG_INT, &o.height, "Pixels, 16 to 4096; the model's own size", "H" },
  { "steps", 0, 0, G_OPTION_ARG_INT, &o.steps, "Steps of the sampler; 30", "N" },
  { "guidance-scale", 0, 0, G_OPTION_ARG_DOUBLE, &o.guidance_scale, "How strongly to follow the prompt; 4", "G" },
  { "sampler", 0, 0, G_OPTION_ARG_STRING, &o.sampler, "ddim or ddpm; ddim", "NAME" },
  { "eta", 0, 0, G_OPTION_ARG_DOUBLE, &o.eta, "Noise in ddim, 0 to 1; 0", "E" },
  { "seed", 's', 0, G_OPTION_ARG_STRING, &o.seed, "Number of the start noise; a random one, which is told", "S" },
  { "rng", 0, 0, G_OPTION_ARG_STRING, &o.rng, "torch or philox: whose random numbers; torch", "KIND" },
  { "batch", 0, 0, G_OPTION_ARG_INT, &o.batch, "How many pictures (seeds S, S+1…); 1", "N" },
  { "engine", 0, 0, G_OPTION_ARG_STRING, &o.engine, "ref or cpu; the best there is", "NAME" },
  { "dtype", 0, 0, G_OPTION_ARG_STRING, &o.dtype, "f32, bf16, or auto (bf16 where it is fast); f32", "TYPE" },
  { "threads", 0, 0, G_OPTION_ARG_INT, &o.threads, "Processor cores to use; all", "N" },
  { "save-latents", 0, 0, G_OPTION_ARG_FILENAME, &o.save_latents, "Also write what the sampler ended with", "FILE" },
  { "init-noise", 0, 0, G_OPTION_ARG_FILENAME, &o.init_noise, "Start from this tensor (safetensors)", "FILE" },
  { "steps-out", 0, 0, G_OPTION_ARG_FILENAME, &o.steps_out, "Write what each step expects to a folder", "DIR" },
  { "output", 'o', 0, G_OPTION_ARG_FILENAME, &o.output, "Where to write; more pictures become OUT-2.png…", "OUT.png" },
  { NULL }
};

static gboolean usage (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

static gboolean
usage (GError **error, const char *format, ...)
{
  g_autofree char *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error_literal (error, SUMI_ERROR, SUMI_ERROR_USAGE, message);
  return FALSE;
}

static gboolean
check_int (const char *option, int value, int min, int max, GError **error)
{
  return (value >= min && value <= max) || usage (error, "%s: found %d, expected %d to %d", option, value, min, max);
}

static gboolean
check_double (const char *option, double value, double min, double max, GError **error)
{
  return (value >= min && value <= max) || usage (error, "%s: found %g, expected %g to %g", option, value, min, max);
}

static gboolean
check_text (const char *option, const char *text, GError **error)
{
  return text == NULL || g_utf8_validate (text, -1, NULL)
         || usage (error, "%s: found text that is not UTF-8, expected UTF-8", option);
}

/* ---- from options to a request ---- */

static void
set_defaults (void)
{
  SumiRequest r;

  sumi_request_init (&r);
  o.steps = (int)r.steps;
  o.guidance_scale = r.guidance_scale;
  o.eta = r.eta;
  o.batch = (int)r.batch;
  o.width = o.height = NOT_GIVEN;
}

static gboolean
parse_rng (SumiRngKind *kind, GError **error)
{
  if (o.rng == NULL || strcmp (o.rng, "torch") == 0)
    *kind = SUMI_RNG_TORCH;
  else if (strcmp (o.rng, "philox") == 0)
    *kind = SUMI_RNG_PHILOX;
  else
    return usage (error, "--rng: found '%s', expected torch or philox", o.rng);
  return TRUE;
}

static gboolean
parse_request (SumiRequest *r, GError **error)
{
  sumi_request_init (r);
  if ((o.width != NOT_GIVEN && !check_int ("--width", o.width, SUMI_MIN_SIDE, SUMI_MAX_SIDE, error))
      || (o.height != NOT_GIVEN && !check_int ("--height", o.height, SUMI_MIN_SIDE, SUMI_MAX_SIDE, error))
      || !check_int ("--steps", o.steps, 1, SUMI_MAX_STEPS, error)
      || !check_int ("--batch", o.batch, 1, SUMI_MAX_BATCH, error)
      || !check_double ("--guidance-scale", o.guidance_scale, 0, SUMI_MAX_GUIDANCE, error)
      || !check_double ("--eta", o.eta, 0, 1, error) || !check_text ("--prompt", o.prompt, error)
      || !check_text ("--negative", o.negative, error) || !parse_rng (&r->rng, error)
      || (o.seed != NULL && !sumi_cli_parse_u64 ("--seed", o.seed, &r->seed, error)))
    return FALSE;
  if (o.sampler != NULL && !g_strv_contains (sumi_sampler_list (), o.sampler))
    {
      g_autofree char *all = g_strjoinv (" or ", (char **)sumi_sampler_list ());
      return usage (error, "--sampler: found '%s', expected %s", o.sampler, all);
    }
  r->prompt = o.prompt;
  r->negative_prompt = o.negative;
  r->width = o.width == NOT_GIVEN ? 0 : (guint)o.width;
  r->height = o.height == NOT_GIVEN ? 0 : (guint)o.height;
  r->steps = (guint)o.steps;
  r->batch = (guint)o.batch;
  r->guidance_scale = o.guidance_scale;
  r->eta = o.eta;
  r->sampler = o.sampler != NULL ? o.sampler : r->sampler;
  r->preview_every = o.steps_out != NULL ? 1 : 0;
  return TRUE;
}

/* bf16 pays where the processor multiplies it. */
static gboolean
parse_dtype (const SumiEngine *engine, SumiDType *dtype, GError **error)
{
  gboolean fast = (sumi_cpu_features () & (SUMI_CPU_AMX_BF16 | SUMI_CPU_AVX512_BF16)) != 0
                  && strcmp (sumi_engine_get_name (engine), "cpu") == 0;

  if (o.dtype == NULL || strcmp (o.dtype, "f32") == 0)
    *dtype = SUMI_F32;
  else if (strcmp (o.dtype, "bf16") == 0)
    *dtype = SUMI_BF16;
  else if (strcmp (o.dtype, "auto") == 0)
    *dtype = fast ? SUMI_BF16 : SUMI_F32;
  else
    return usage (error, "--dtype: found '%s', expected f32, bf16 or auto", o.dtype);
  return TRUE;
}

static gboolean
parse_pipeline_options (SumiPipelineOptions *options, GError **error)
{
  g_autoptr (SumiEngine) engine = NULL;

  if (!check_int ("--threads", o.threads, 0, MAX_THREADS, error))
    return FALSE;
  engine = sumi_engine_open (o.engine, error);
  if (engine == NULL || !parse_dtype (engine, &options->dtype, error))
    return FALSE;
  options->engine = o.engine;
  options->threads = (guint)o.threads;
  return TRUE;
}

/* Before minutes are spent: will there be a place for the result? */
static gboolean
check_folder_of (const char *path, GError **error)
{
  g_autofree char *folder = g_path_get_dirname (path);

  if (g_file_test (folder, G_FILE_TEST_IS_DIR) && g_access (folder, W_OK) == 0)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "%s: found no folder to write to, expected one", folder);
  return FALSE;
}

static gboolean
check_outputs (GError **error)
{
  g_autofree char *lower = NULL;

  if (o.output == NULL)
    return usage (error, "--output: found nothing, expected a file name ending in .png");
  lower = g_ascii_strdown (o.output, -1);
  if (!g_str_has_suffix (lower, ".png"))
    return usage (error, "--output: found '%s', expected a file name ending in .png", o.output);
  if (!check_folder_of (o.output, error) || (o.save_latents != NULL && !check_folder_of (o.save_latents, error)))
    return FALSE;
  if (o.steps_out != NULL && g_mkdir_with_parents (o.steps_out, 0777) != 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "%s: found no such folder and could not make one", o.steps_out);
      return FALSE;
    }
  return TRUE;
}

/* The tensor "noise", or the only one there is. */
static SumiTensor *
open_init_noise (GError **error)
{
  g_autoptr (SumiTensorMap) map = sumi_safetensors_open (o.init_noise, error);
  SumiTensor *t;

  if (map == NULL)
    return NULL;
  t = sumi_tensor_map_get_size (map) == 1 ? sumi_tensor_map_peek_nth (map, 0)
                                          : sumi_tensor_map_lookup (map, "noise", error);
  return t != NULL ? sumi_tensor_ref (t) : NULL;
}

/* ---- progress ---- */

typedef struct
{
  guint steps, batch;
  GError *error; /* the first picture of a step that could not be written */
} Watch;

static void
write_step (Watch *w, guint step, SumiTensor *picture)
{
  guint i = (step - 1) / w->steps + 1, k = (step - 1) % w->steps + 1;
  g_autofree char *name
      = w->batch == 1 ? g_strdup_printf ("step-%03u.png", k) : g_strdup_printf ("%u-step-%03u.png", i, k);
  g_autofree char *path = g_build_filename (o.steps_out, name, NULL);

  if (w->error == NULL)
    sumi_image_save_png (picture, path, NULL, &w->error);
}

static void
watch (SumiPhase phase, guint step, guint n_steps, SumiTensor *picture, gpointer user)
{
  sumi_cli_progress (sumi_phase_name (phase), step, n_steps, NULL);
  if (phase == SUMI_PHASE_SAMPLE && picture != NULL)
    write_step (user, step, picture);
}

/* ---- results ---- */

/* OUT.png, OUT-2.png… */
static char *
output_path (guint i)
{
  gsize stem = strlen (o.output) - strlen (".png");

  return i == 0 ? g_strdup (o.output) : g_strdup_printf ("%.*s-%u%s", (int)stem, o.output, i + 1, o.output + stem);
}

static gboolean
save_result (const SumiResult *result, GError **error)
{
  for (guint i = 0; i < result->images->len; i++)
    {
      const char *text[] = { "parameters", g_ptr_array_index (result->parameters, i), NULL };
      g_autofree char *path = output_path (i);

      if (!sumi_image_save_png (g_ptr_array_index (result->images, i), path, text, error))
        return FALSE;
    }
  if (o.save_latents != NULL)
    {
      g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();

      sumi_tensor_map_set (map, "latents", result->latents);
      sumi_tensor_map_set_metadata (map, "parameters", g_ptr_array_index (result->parameters, 0));
      return sumi_safetensors_save (map, o.save_latents, error);
    }
  return TRUE;
}

static gboolean
generate (const SumiPipelineOptions *options, SumiRequest *r, GError **error)
{
  g_autoptr (SumiTensor) noise = NULL;
  g_autoptr (SumiPipeline) pipeline = NULL;
  g_autoptr (SumiResult) result = NULL;
  Watch w = { r->steps, r->batch, NULL };

  if (o.init_noise != NULL && (noise = open_init_noise (error)) == NULL)
    return FALSE;
  r->init_noise = noise;
  pipeline = sumi_model_open_pipeline (o.model != NULL ? o.model : "starter", options, error);
  if (pipeline == NULL)
    return FALSE;
  result = sumi_pipeline_run (pipeline, r, watch, &w, sumi_cli_cancellable (), error);
  sumi_cli_progress_end ();
  if (result == NULL)
    {
      g_clear_error (&w.error);
      return FALSE;
    }
  for (guint i = 0; i < result->notes->len; i++)
    sumi_cli_note (g_ptr_array_index (result->notes, i));
  if (!save_result (result, error))
    {
      g_clear_error (&w.error);
      return FALSE;
    }
  if (w.error != NULL)
    {
      g_propagate_error (error, w.error);
      return FALSE;
    }
  return TRUE;
}

int
sumi_cli_generate (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  SumiPipelineOptions options = { 0 };
  SumiRequest r;

  sumi_cli_cancellable (); /* before the engine starts its threads */
  set_defaults ();
  if (!sumi_cli_parse (&argc, &argv, "generate", NULL, "Draws pictures from a prompt, as PNG files with their recipe.",
                       entries, &error)
      || !parse_request (&r, &error) || !parse_pipeline_options (&options, &error) || !check_outputs (&error))
    return sumi_cli_fail (error);
  if (o.seed == NULL)
    {
      g_autofree char *told = NULL;

      r.seed = g_random_int ();
      told = g_strdup_printf ("seed %" G_GUINT64_FORMAT, r.seed);
      sumi_cli_note (told);
    }
  return generate (&options, &r, &error) ? 0 : sumi_cli_fail (error);
}
