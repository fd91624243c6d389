/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "text-to-image.h"

#include <glib/gi18n-lib.h>

#include "generation.h"
#include "recipe.h"
#include "result-layer.h"
#include "samplers.h"
#include "text-to-image-dialog.h"

#define MENU "<Image>/Filters/Diffusion"
#define MAX_SIDE 4096 /* what the pipeline draws */

/* ---- arguments ---- */

/* A text argument that a script leaves out comes as NULL. */
static void
fill_in (char **text)
{
  if (*text == NULL)
    *text = g_strdup ("");
}

void
sumi_text_to_image_args (GimpProcedureConfig *config, SumiRunArgs *args)
{
  int width, height, steps, seed;

  *args = (SumiRunArgs){ .batch = 1, .threads = (guint)MAX (gimp_get_num_processors (), 1) };
  g_object_get (config, "prompt", &args->prompt, "negative", &args->negative, "width", &width, "height", &height,
                "steps", &steps, "guidance-scale", &args->guidance_scale, "sampler", &args->sampler, "eta", &args->eta,
                "seed", &seed, "model", &args->model, "schedule", &args->schedule, NULL);
  fill_in (&args->prompt);
  fill_in (&args->negative);
  fill_in (&args->model);
  args->width = (guint)width;
  args->height = (guint)height;
  args->steps = (guint)steps;
  args->seed = seed >= 0 ? (guint64)seed : (guint64)g_random_int_range (0, G_MAXINT32);
}

/* ---- the picture's way into GIMP ---- */

static void
tell_notes (const SumiPicture *picture)
{
  g_autofree char *notes = g_strjoinv ("\n", picture->info.notes);
  if (notes[0] != '\0')
    g_message ("%s", notes);
}

/* *image: NULL for a new one. */
static GimpLayer *
apply (const SumiRunArgs *args, const SumiPicture *picture, GimpImage **image, GimpItem *above, GError **error)
{
  g_autofree char *name = sumi_recipe_layer_name (args->prompt, picture->info.seed);
  g_autofree char *recipe = sumi_recipe_json (SUMI_TEXT_TO_IMAGE, args, &picture->info);
  const SumiLayerSource source = { picture->pixels, (int)picture->info.width, (int)picture->info.height, name, recipe };
  GimpLayer *layer = NULL;

  if (*image == NULL)
    *image = sumi_result_image_new (&source, &layer, error);
  else if (gimp_image_is_valid (*image)) /* it may have been closed meanwhile */
    layer = sumi_result_layer_add (*image, above, &source, error);
  else
    g_set_error_literal (error, SUMI_ERROR, SUMI_ERROR_ENGINE, _ ("The image was closed before the picture was done."));
  return layer;
}

static GimpValueArray *
return_layer (GimpProcedure *procedure, GimpImage *image, GimpLayer *layer, int seed)
{
  GimpValueArray *values = gimp_procedure_new_return_values (procedure, GIMP_PDB_SUCCESS, NULL);
  GIMP_VALUES_SET_IMAGE (values, 1, image);
  GIMP_VALUES_SET_LAYER (values, 2, layer);
  GIMP_VALUES_SET_INT (values, 3, seed);
  return values;
}

static GimpValueArray *
return_error (GimpProcedure *procedure, GError *error)
{
  if (g_error_matches (error, SUMI_ERROR, SUMI_ERROR_CANCELLED))
    {
      g_error_free (error);
      return gimp_procedure_new_return_values (procedure, GIMP_PDB_CANCEL, NULL);
    }
  g_autofree char *text = sumi_explain (error);
  GError *explained = g_error_new_literal (error->domain, error->code, text);
  g_error_free (error);
  return gimp_procedure_new_return_values (procedure, GIMP_PDB_EXECUTION_ERROR, explained);
}

static GimpValueArray *
run (GimpProcedure *procedure, GimpRunMode mode, GimpImage *image, GimpDrawable **drawables,
     GimpProcedureConfig *config, gpointer data)
{
  g_auto (SumiRunArgs) args = { 0 };
  g_auto (SumiPicture) picture = { 0 };
  GError *error = NULL;
  gboolean ok;

  gegl_init (NULL, NULL);
  if (mode == GIMP_RUN_INTERACTIVE)
    ok = sumi_text_to_image_dialog (config, &args, &picture, &error);
  else
    {
      sumi_text_to_image_args (config, &args);
      ok = sumi_generate (&args, &picture, &error);
    }
  if (!ok)
    return return_error (procedure, error);

  gboolean made_image = image == NULL;
  GimpLayer *layer = apply (&args, &picture, &image, drawables != NULL ? GIMP_ITEM (drawables[0]) : NULL, &error);
  if (layer == NULL)
    return return_error (procedure, error);
  if (made_image && mode != GIMP_RUN_NONINTERACTIVE)
    gimp_display_new (image);
  gimp_displays_flush ();
  tell_notes (&picture);
  return return_layer (procedure, image, layer, (int)picture.info.seed);
}

/* ---- registration ---- */

static void
add_arguments (GimpProcedure *p)
{
  gimp_procedure_add_string_argument (p, "prompt", _ ("_Prompt"), _ ("What the picture shows"), "", G_PARAM_READWRITE);
  gimp_procedure_add_string_argument (p, "negative", _ ("_Negative prompt"), _ ("What the picture does not show"), "",
                                      G_PARAM_READWRITE);
  gimp_procedure_add_int_argument (p, "width", _ ("_Width"), _ ("In pixels; 0: the model's own"), 0, MAX_SIDE, 0,
                                   G_PARAM_READWRITE);
  gimp_procedure_add_int_argument (p, "height", _ ("_Height"), _ ("In pixels; 0: the model's own"), 0, MAX_SIDE, 0,
                                   G_PARAM_READWRITE);
  gimp_procedure_add_int_argument (p, "steps", _ ("_Steps"), _ ("More steps take longer and are more exact"), 1, 1000,
                                   30, G_PARAM_READWRITE);
  gimp_procedure_add_double_argument (p, "guidance-scale", _ ("G_uidance scale"),
                                      _ ("How closely the picture follows the prompt; 1: no guidance"), 0.0, 100.0, 4.0,
                                      G_PARAM_READWRITE);
  gimp_procedure_add_choice_argument (p, "sampler", _ ("Samp_ler"), _ ("How the noise is taken away"),
                                      sumi_sampler_choice_new (), "ddim", G_PARAM_READWRITE);
  gimp_procedure_add_double_argument (p, "eta", _ ("_Eta"), _ ("DDIM: fresh noise in each step; 0: none, 1: as DDPM"),
                                      0.0, 1.0, 0.0, G_PARAM_READWRITE);
  gimp_procedure_add_int_argument (p, "seed", _ ("See_d"), _ ("The same seed gives the same picture; -1: a random one"),
                                   -1, G_MAXINT32, -1, G_PARAM_READWRITE);
  gimp_procedure_add_string_argument (p, "model", _ ("M_odel"), _ ("A model's name, or its file"), "starter",
                                      G_PARAM_READWRITE);
  gimp_procedure_add_choice_argument (p, "schedule", _ ("S_chedule"), _ ("How much noise each step begins with"),
                                      sumi_schedule_choice_new (), "automatic", G_PARAM_READWRITE);
}

static void
add_return_values (GimpProcedure *p)
{
  gimp_procedure_add_image_return_value (p, "image", _ ("Image"), _ ("The image that has the new layer"), FALSE,
                                         G_PARAM_READWRITE);
  gimp_procedure_add_layer_return_value (p, "layer", _ ("Layer"), _ ("The new layer"), FALSE, G_PARAM_READWRITE);
  gimp_procedure_add_int_return_value (p, "seed", _ ("Seed"), _ ("The seed the picture was drawn with"), 0, G_MAXINT32,
                                       0, G_PARAM_READWRITE);
}

GimpProcedure *
sumi_text_to_image_create (GimpPlugIn *plug_in)
{
  GimpProcedure *p = gimp_image_procedure_new (plug_in, SUMI_TEXT_TO_IMAGE, GIMP_PDB_PROC_TYPE_PLUGIN, run, NULL, NULL);

  gimp_procedure_set_menu_label (p, _ ("_Text to Image..."));
  gimp_procedure_add_menu_path (p, MENU);
  gimp_procedure_set_image_types (p, "*");
  gimp_procedure_set_sensitivity_mask (p, GIMP_PROCEDURE_SENSITIVE_ALWAYS);
  gimp_procedure_set_documentation (
      p, _ ("Draw a picture from a description"),
      _ ("Draws a picture with a diffusion model on this computer and adds it as a layer. "
         "Without an image a new one is made."),
      SUMI_TEXT_TO_IMAGE);
  gimp_procedure_set_attribution (p, "Sumi", "Sumi, GPL-3.0-or-later", "2026");
  add_arguments (p);
  add_return_values (p);
  return p;
}
