/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sumi generate: from a prompt to PNG files. */
#include "cli.h"

#include <string.h>

#include "generate.h"
#include "io/image.h"
#include "io/safetensors.h"
#include "models/model-store.h"

/* ---- progress ---- */

typedef struct
{
  const GenerateOptions *options;
  GError *error; /* the first picture of a step that could not be written */
} Watch;

static void
write_step (Watch *w, guint step, guint n_steps, SumiTensor *picture)
{
  guint batch = w->options->request.batch, each = n_steps / batch, i = (step - 1) / each + 1, k = (step - 1) % each + 1;
  g_autofree char *name
      = batch == 1 ? g_strdup_printf ("step-%03u.png", k) : g_strdup_printf ("%u-step-%03u.png", i, k);
  g_autofree char *path = g_build_filename (w->options->steps_out, name, NULL);

  if (w->error == NULL)
    sumi_image_save_png (picture, path, NULL, &w->error);
}

static void
watch (SumiPhase phase, guint step, guint n_steps, SumiTensor *picture, gpointer user)
{
  sumi_cli_progress (sumi_phase_name (phase), step, n_steps, NULL);
  if (phase == SUMI_PHASE_SAMPLE && picture != NULL)
    write_step (user, step, n_steps, picture);
}

/* ---- results ---- */

/* OUT.png, OUT-2.png… */
static char *
output_path (const char *output, guint i)
{
  gsize stem = strlen (output) - strlen (".png");

  return i == 0 ? g_strdup (output) : g_strdup_printf ("%.*s-%u%s", (int)stem, output, i + 1, output + stem);
}

static gboolean
save_result (const GenerateOptions *options, const SumiResult *result, GError **error)
{
  for (guint i = 0; i < result->images->len; i++)
    {
      const char *text[] = { "parameters", g_ptr_array_index (result->parameters, i), NULL };
      g_autofree char *path = output_path (options->output, i);

      if (!sumi_image_save_png (g_ptr_array_index (result->images, i), path, text, error))
        return FALSE;
    }
  if (options->save_latents != NULL)
    {
      g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();

      sumi_tensor_map_set (map, "latents", result->latents);
      sumi_tensor_map_set_metadata (map, "parameters", g_ptr_array_index (result->parameters, 0));
      return sumi_safetensors_save (map, options->save_latents, error);
    }
  return TRUE;
}

static void
tell (const GPtrArray *notes)
{
  for (guint i = 0; i < notes->len; i++)
    sumi_cli_note (g_ptr_array_index (notes, i));
}

static void
tell_tokens (const SumiResult *result)
{
  g_autofree char *told = g_strdup_printf ("tokens: %u in the prompt, %u in the negative prompt (75 in a chunk)",
                                           result->n_tokens, result->n_negative_tokens);

  if (result->n_tokens + result->n_negative_tokens > 0)
    sumi_cli_note (told);
}

static gboolean
generate (const GenerateOptions *options, GError **error)
{
  g_autoptr (SumiPipeline) pipeline = sumi_model_open_pipeline (options->model, &options->pipeline, error);
  g_autoptr (SumiResult) result = NULL;
  Watch w = { options, NULL };

  if (pipeline == NULL)
    return FALSE;
  result = sumi_pipeline_run (pipeline, &options->request, watch, &w, sumi_cli_cancellable (), error);
  sumi_cli_progress_end ();
  if (result != NULL)
    {
      tell_tokens (result);
      tell (result->notes);
    }
  if (result == NULL || !save_result (options, result, error))
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
  g_auto (GenerateOptions) options = { 0 };

  sumi_cli_cancellable (); /* before the engine starts its threads */
  if (!generate_options_parse (&argc, &argv, &options, &error))
    return sumi_cli_fail (error);
  tell (options.notes);
  if (!options.seed_given)
    {
      g_autofree char *told = NULL;

      options.request.seed = g_random_int ();
      told = g_strdup_printf ("seed %" G_GUINT64_FORMAT, options.request.seed);
      sumi_cli_note (told);
    }
  return generate (&options, &error) ? 0 : sumi_cli_fail (error);
}
