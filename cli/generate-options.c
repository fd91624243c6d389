/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line of `sumi generate`: what is given there goes before what a recipe (--like) says, and that before
 * what the model is made for. */
#include "generate.h"

#include <float.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "cli.h"
#include "diffusion/recipe.h"
#include "diffusion/sampler.h"
#include "engine/engine.h"
#include "io/image.h"
#include "io/png-text.h"
#include "io/safetensors.h"
#include "models/model-store.h"

#define MAX_THREADS 1024
#define NOT_GIVEN G_MININT
#define NOT_GIVEN_NUMBER (-DBL_MAX)
#define KARRAS_OF_DIFFUSERS "diffusers-karras"
#define LATENT 8 /* pixels a side of a latent value */

/* As GOption fills it in. */
static struct
{
  char *model, *prompt, *negative, *sampler, *schedule, *seed, *rng, *engine, *dtype, *emphasis, *prediction;
  char *init, *mask, *vae, *like, *interval;
  char **loras, **embeddings;
  char *save_latents, *init_noise, *steps_out, *output;
  int width, height, steps, batch, threads, clip_skip, tile;
  double guidance_scale, guidance_rescale, image_guidance_scale, eta, strength;
  gboolean cfg_pp, no_composite;
} o;

static const GOptionEntry entries[] = {
  { "model", 'm', 0, G_OPTION_ARG_FILENAME, &o.model, "A file, a folder or a name ('sumi models list'); starter", "M" },
  { "prompt", 'p', 0, G_OPTION_ARG_FILENAME, &o.prompt, "What to draw", "TEXT" },
  { "negative", 0, 0, G_OPTION_ARG_FILENAME, &o.negative, "What not to draw", "TEXT" },
  { "width", 0, 0, G_OPTION_ARG_INT, &o.width, "Pixels, 16 to 4096; the model's own size", "W" },
  { "height", 0, 0, G_OPTION_ARG_INT, &o.height, "Pixels, 16 to 4096; the model's own size", "H" },
  { "steps", 0, 0, G_OPTION_ARG_INT, &o.steps, "Steps of the sampler; what the model is made for", "N" },
  { "guidance-scale", 0, 0, G_OPTION_ARG_DOUBLE, &o.guidance_scale, "How strongly to follow the prompt", "G" },
  { "sampler", 0, 0, G_OPTION_ARG_STRING, &o.sampler, "ddim, euler_a, dpmpp_2m…; the model's own", "NAME" },
  { "schedule", 0, 0, G_OPTION_ARG_STRING, &o.schedule, "Noise levels: karras, beta…; automatic", "NAME" },
  { "eta", 0, 0, G_OPTION_ARG_DOUBLE, &o.eta, "Noise on the way, 0 to 1; as the sampler is defined", "E" },
  { "seed", 's', 0, G_OPTION_ARG_STRING, &o.seed, "Number of the start noise; a random one, which is told", "S" },
  { "rng", 0, 0, G_OPTION_ARG_STRING, &o.rng, "torch or philox: whose random numbers; torch", "KIND" },
  { "batch", 0, 0, G_OPTION_ARG_INT, &o.batch, "How many pictures (seeds S, S+1…); 1", "N" },
  { "init", 0, 0, G_OPTION_ARG_FILENAME, &o.init, "Begin with this picture", "IMG" },
  { "strength", 0, 0, G_OPTION_ARG_DOUBLE, &o.strength, "How much of it may change, 0 to 1; 0.75, with --mask 1", "F" },
  { "mask", 0, 0, G_OPTION_ARG_FILENAME, &o.mask, "White: draw here; black: leave; grey: in between", "IMG" },
  { "no-composite", 0, 0, G_OPTION_ARG_NONE, &o.no_composite, "Do not put back the picture outside the mask", NULL },
  { "lora", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o.loras, "An adapter, how strongly, and on the text (repeatable)",
    "FILE[:W[:T]]" },
  { "embedding", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o.embeddings, "A textual-inversion embedding (repeatable)",
    "FILE" },
  { "vae", 0, 0, G_OPTION_ARG_FILENAME, &o.vae, "Another auto-encoder", "FILE" },
  { "clip-skip", 0, 0, G_OPTION_ARG_INT, &o.clip_skip, "1: the text encoder's last layer, 2: the one before…", "N" },
  { "emphasis", 0, 0, G_OPTION_ARG_STRING, &o.emphasis, "original, no-norm, or none (the prompt is plain text)",
    "KIND" },
  { "guidance-rescale", 0, 0, G_OPTION_ARG_DOUBLE, &o.guidance_rescale, "Against burnt colours, 0 to 1; 0", "F" },
  { "guidance-interval", 0, 0, G_OPTION_ARG_STRING, &o.interval, "Guide only between these noise levels (sigma)",
    "LO,HI" },
  { "cfg-pp", 0, 0, G_OPTION_ARG_NONE, &o.cfg_pp, "CFG++", NULL },
  { "image-guidance-scale", 0, 0, G_OPTION_ARG_DOUBLE, &o.image_guidance_scale,
    "How close to stay to --init (instruct-pix2pix); 1.5", "G" },
  { "prediction", 0, 0, G_OPTION_ARG_STRING, &o.prediction, "epsilon, v_prediction or sample; the model's own",
    "KIND" },
  { "tile", 0, 0, G_OPTION_ARG_INT, &o.tile, "Side of the auto-encoder's tiles in pixels; by memory", "N" },
  { "like", 0, 0, G_OPTION_ARG_FILENAME, &o.like, "Draw as the recipe in this PNG says", "FILE.png" },
  { "engine", 0, 0, G_OPTION_ARG_STRING, &o.engine, "ref or cpu; the best there is", "NAME" },
  { "dtype", 0, 0, G_OPTION_ARG_STRING, &o.dtype, "f32, bf16, or auto (bf16 where it is fast); f32", "TYPE" },
  { "threads", 0, 0, G_OPTION_ARG_INT, &o.threads, "Processor cores to use; all", "N" },
  { "save-latents", 0, 0, G_OPTION_ARG_FILENAME, &o.save_latents, "Also write what the sampler ended with", "FILE" },
  { "init-noise", 0, 0, G_OPTION_ARG_FILENAME, &o.init_noise, "Start from this tensor (safetensors)", "FILE" },
  { "steps-out", 0, 0, G_OPTION_ARG_FILENAME, &o.steps_out, "Write what each step expects to a folder", "DIR" },
  { "output", 'o', 0, G_OPTION_ARG_FILENAME, &o.output, "Where to write; more pictures become OUT-2.png…", "OUT.png" },
  { NULL }
};

static void
reset (void)
{
  memset (&o, 0, sizeof o);
  o.width = o.height = o.steps = o.batch = o.clip_skip = o.tile = NOT_GIVEN;
  o.guidance_scale = o.guidance_rescale = o.image_guidance_scale = o.eta = o.strength = NOT_GIVEN_NUMBER;
}

/* ---- values: what is not given leaves the request as it is ---- */

static gboolean
take_int (const char *option, int value, int min, int max, guint *out, GError **error)
{
  if (value == NOT_GIVEN)
    return TRUE;
  if (value < min || value > max)
    return sumi_refuse (error, SUMI_ERROR_USAGE, "%s: found %d, expected %d to %d", option, value, min, max);
  *out = (guint)value;
  return TRUE;
}

static gboolean
take_number (const char *option, double value, double min, double max, double *out, GError **error)
{
  if (value == NOT_GIVEN_NUMBER)
    return TRUE;
  if (!(value >= min && value <= max)) /* also NaN */
    return sumi_refuse (error, SUMI_ERROR_USAGE, "%s: found %g, expected %g to %g", option, value, min, max);
  *out = value;
  return TRUE;
}

static gboolean
take_text (const char *option, const char *text, const char **out, GError **error)
{
  if (text == NULL)
    return TRUE;
  if (!g_utf8_validate (text, -1, NULL))
    return sumi_refuse (error, SUMI_ERROR_USAGE, "%s: found text that is not UTF-8, expected UTF-8", option);
  *out = text;
  return TRUE;
}

static gboolean
unknown_name (const char *option, const char *name, const char *const *list, GError **error)
{
  g_autofree char *all = g_strjoinv (", ", (char **)list);

  return sumi_refuse (error, SUMI_ERROR_USAGE, "%s: found '%s', expected one of %s", option, name, all);
}

/* Sumi's name or another program's ("DPM++ 2M Karras", which names the noise levels too). */
static gboolean
take_sampler (SumiRequest *r, GError **error)
{
  if (o.sampler != NULL)
    {
      r->sampler = sumi_sampler_from_title (o.sampler);
      if (r->sampler == NULL)
        return unknown_name ("--sampler", o.sampler, sumi_sampler_list (), error);
      r->use_karras_sigmas = FALSE;
      r->sigmas = sumi_sampler_sigmas_from_title (o.sampler);
    }
  if (o.schedule == NULL)
    return TRUE;
  r->use_karras_sigmas = strcmp (o.schedule, KARRAS_OF_DIFFUSERS) == 0;
  if (r->use_karras_sigmas || g_ascii_strcasecmp (o.schedule, "automatic") == 0)
    r->sigmas = "automatic";
  else if ((r->sigmas = sumi_sigmas_from_title (o.schedule)) == NULL)
    return unknown_name ("--schedule", o.schedule, sumi_sigmas_list (), error);
  return TRUE;
}

static gboolean
take_kinds (SumiRequest *r, GError **error)
{
  SumiPrediction prediction;

  if (o.rng != NULL && strcmp (o.rng, "torch") == 0)
    r->rng = SUMI_RNG_TORCH;
  else if (o.rng != NULL && strcmp (o.rng, "philox") == 0)
    r->rng = SUMI_RNG_PHILOX;
  else if (o.rng != NULL)
    return sumi_refuse (error, SUMI_ERROR_USAGE, "--rng: found '%s', expected torch or philox", o.rng);
  if (o.prediction != NULL)
    {
      if (!sumi_prediction_parse (o.prediction, &prediction, NULL))
        return sumi_refuse (error, SUMI_ERROR_USAGE,
                            "--prediction: found '%s', expected epsilon, v_prediction or sample", o.prediction);
      r->prediction = sumi_prediction_name (prediction);
    }
  return o.emphasis == NULL || sumi_emphasis_parse (o.emphasis, &r->emphasis, error);
}

static gboolean
take_interval (SumiRequest *r, GError **error)
{
  g_auto (GStrv) parts = o.interval != NULL ? g_strsplit (o.interval, ",", 3) : NULL;
  double ends[2];

  if (o.interval == NULL)
    return TRUE;
  for (guint i = 0; i < 2; i++)
    {
      char *end = "?";

      ends[i] = g_strv_length (parts) == 2 ? g_ascii_strtod (parts[i], &end) : -1;
      if (*end != '\0' || end == parts[i] || !(ends[i] >= 0))
        return sumi_refuse (error, SUMI_ERROR_USAGE,
                            "--guidance-interval: found '%s', expected two noise levels such as 0.28,5.42", o.interval);
    }
  if (ends[0] >= ends[1])
    return sumi_refuse (error, SUMI_ERROR_USAGE,
                        "--guidance-interval: found '%s', expected the lower noise level first", o.interval);
  r->guidance_low = ends[0];
  r->guidance_high = ends[1];
  return TRUE;
}

static gboolean
take_numbers (SumiRequest *r, GError **error)
{
  guint tile = 0;

  if (!take_int ("--width", o.width, SUMI_MIN_SIDE, SUMI_MAX_SIDE, &r->width, error)
      || !take_int ("--height", o.height, SUMI_MIN_SIDE, SUMI_MAX_SIDE, &r->height, error)
      || !take_int ("--steps", o.steps, 1, SUMI_MAX_STEPS, &r->steps, error)
      || !take_int ("--batch", o.batch, 1, SUMI_MAX_BATCH, &r->batch, error)
      || !take_int ("--clip-skip", o.clip_skip, 1, SUMI_MAX_CLIP_SKIP, &r->clip_skip, error)
      || !take_int ("--tile", o.tile, 16 * LATENT, SUMI_MAX_SIDE, &tile, error)
      || !take_number ("--guidance-scale", o.guidance_scale, 0, SUMI_MAX_GUIDANCE, &r->guidance_scale, error)
      || !take_number ("--guidance-rescale", o.guidance_rescale, 0, 1, &r->guidance_rescale, error)
      || !take_number ("--image-guidance-scale", o.image_guidance_scale, 0, SUMI_MAX_GUIDANCE, &r->image_guidance_scale,
                       error)
      || !take_number ("--strength", o.strength, 0, 1, &r->strength, error)
      || !take_number ("--eta", o.eta, 0, 1, &r->eta, error))
    return FALSE;
  if (tile > 0)
    r->tile = tile / LATENT;
  return TRUE;
}

/* ---- files ---- */

static const char *
own_text (GenerateOptions *options, char *text)
{
  g_ptr_array_add (options->owned_text, text);
  return text;
}

static SumiTensor *
own_tensor (GenerateOptions *options, SumiTensor *t)
{
  if (t != NULL)
    g_ptr_array_add (options->owned_tensors, t);
  return t;
}

static gboolean
read_loras (GenerateOptions *options, GError **error)
{
  for (guint i = 0; o.loras != NULL && o.loras[i] != NULL; i++)
    {
      SumiRequestLora lora;
      char *path;

      if (!generate_parse_lora (o.loras[i], &path, &lora.unet_strength, &lora.text_strength, error))
        return FALSE;
      lora.path = own_text (options, path);
      g_array_append_val (options->loras, lora);
    }
  return TRUE;
}

static gboolean
read_adapters (GenerateOptions *options, GError **error)
{
  SumiRequest *r = &options->request;

  r->loras = (const SumiRequestLora *)(void *)options->loras->data;
  r->n_loras = options->loras->len;
  for (guint i = 0; o.embeddings != NULL && o.embeddings[i] != NULL; i++)
    {
      char *path = generate_find_file ("--embedding", "embeddings", o.embeddings[i], error);

      if (path == NULL)
        return FALSE;
      g_free (o.embeddings[i]);
      o.embeddings[i] = path;
    }
  r->embeddings = (const char *const *)o.embeddings;
  if (o.vae != NULL)
    {
      char *path = generate_find_file ("--vae", "vae", o.vae, error);

      if (path == NULL)
        return FALSE;
      r->vae = own_text (options, path);
    }
  return TRUE;
}

/* How light each pixel is, as large as the picture: U8 (H,W,1). */
static SumiTensor *
read_mask (const SumiTensor *image, GError **error)
{
  const SumiShape *want = sumi_tensor_get_shape (image), *s;
  g_autoptr (SumiTensor) colours = sumi_image_load (o.mask, 0x000000, error);
  g_autoptr (SumiTensor) plane = NULL;
  const guint8 *in;

  if (colours == NULL)
    return NULL;
  s = sumi_tensor_get_shape (colours);
  plane = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (s->d[0], s->d[1], 1), error);
  in = sumi_tensor_peek (colours);
  for (gint64 i = 0; plane != NULL && i < s->d[0] * s->d[1]; i++) /* luma of ITU-R BT.601 */
    ((guint8 *)sumi_tensor_poke (plane))[i]
        = (guint8)((299 * in[3 * i] + 587 * in[3 * i + 1] + 114 * in[3 * i + 2] + 500) / 1000);
  if (plane == NULL || (s->d[0] == want->d[0] && s->d[1] == want->d[1]))
    return g_steal_pointer (&plane);
  return sumi_image_resize (plane, (guint)want->d[0], (guint)want->d[1], error);
}

static gboolean
read_pictures (GenerateOptions *options, GError **error)
{
  SumiRequest *r = &options->request;

  if (o.mask != NULL && o.init == NULL)
    return sumi_refuse (error, SUMI_ERROR_USAGE, "--mask: found no picture that it belongs to, expected --init");
  if (o.init == NULL)
    return TRUE;
  r->image = own_tensor (options, sumi_image_load (o.init, 0xffffff, error));
  if (r->image == NULL)
    return FALSE;
  if (o.mask == NULL)
    return TRUE;
  if (o.strength == NOT_GIVEN_NUMBER && o.like == NULL)
    r->strength = 1;
  r->mask = own_tensor (options, read_mask (r->image, error));
  return r->mask != NULL;
}

/* The tensor "noise", or the only one there is. */
static gboolean
read_init_noise (GenerateOptions *options, GError **error)
{
  g_autoptr (SumiTensorMap) map = NULL;
  SumiTensor *t;

  if (o.init_noise == NULL)
    return TRUE;
  map = sumi_safetensors_open (o.init_noise, error);
  if (map == NULL)
    return FALSE;
  t = sumi_tensor_map_get_size (map) == 1 ? sumi_tensor_map_peek_nth (map, 0)
                                          : sumi_tensor_map_lookup (map, "noise", error);
  if (t != NULL)
    options->request.init_noise = own_tensor (options, sumi_tensor_ref (t));
  return t != NULL;
}

/* ---- a recipe ---- */

static gboolean
check_like (const SumiRecipe *recipe, GError **error)
{
  if (recipe->from_image && o.init == NULL)
    return sumi_refuse (error, SUMI_ERROR_USAGE,
                        "--like: found a picture that was drawn from another one, expected that with --init");
  if (recipe->masked && o.mask == NULL)
    return sumi_refuse (error, SUMI_ERROR_USAGE,
                        "--like: found a picture that was drawn within a mask, expected that with --mask");
  if (recipe->model == NULL && o.model == NULL)
    return sumi_refuse (error, SUMI_ERROR_USAGE, "--like: found no name of a model in the recipe, expected --model");
  return TRUE;
}

/* The recipe in the PNG becomes what the other options change. */
static gboolean
read_like (GenerateOptions *options, SumiDType *dtype, GError **error)
{
  g_autofree char *text = sumi_png_read_text (o.like, "parameters", error);
  g_autoptr (SumiRecipe) recipe = NULL;

  if (text == NULL)
    return error != NULL && *error != NULL
               ? FALSE
               : sumi_refuse (error, SUMI_ERROR_USAGE, "--like: found no recipe in %s, expected 'parameters'", o.like);
  recipe = sumi_recipe_read (text, error);
  if (recipe == NULL || !check_like (recipe, error))
    {
      g_prefix_error (error, "%s: ", o.like);
      return FALSE;
    }
  options->request = recipe->request;
  options->seed_given = TRUE;
  options->request.prompt = own_text (options, generate_strip_loras (recipe->prompt, options->loras));
  options->request.negative_prompt = own_text (options, g_steal_pointer (&recipe->negative_prompt));
  if (options->model == NULL)
    options->model = g_steal_pointer (&recipe->model);
  if (recipe->vae != NULL && o.vae == NULL)
    g_ptr_array_add (options->notes,
                     g_strdup_printf ("the recipe's auto-encoder %s is not used unless --vae names it", recipe->vae));
  g_ptr_array_extend_and_steal (options->notes, g_steal_pointer (&recipe->notes));
  recipe->notes = g_ptr_array_new ();
  *dtype = recipe->bf16 ? SUMI_BF16 : SUMI_F32;
  return TRUE;
}

/* ---- the pipeline's options ---- */

/* bf16 pays where the processor multiplies it. */
static gboolean
take_dtype (const SumiEngine *engine, SumiDType *dtype, GError **error)
{
  gboolean fast = (sumi_cpu_features () & (SUMI_CPU_AMX_BF16 | SUMI_CPU_AVX512_BF16)) != 0
                  && strcmp (sumi_engine_get_name (engine), "cpu") == 0;

  if (o.dtype == NULL)
    return TRUE;
  if (strcmp (o.dtype, "f32") == 0)
    *dtype = SUMI_F32;
  else if (strcmp (o.dtype, "bf16") == 0)
    *dtype = SUMI_BF16;
  else if (strcmp (o.dtype, "auto") == 0)
    *dtype = fast ? SUMI_BF16 : SUMI_F32;
  else
    return sumi_refuse (error, SUMI_ERROR_USAGE, "--dtype: found '%s', expected f32, bf16 or auto", o.dtype);
  return TRUE;
}

static gboolean
take_pipeline_options (SumiPipelineOptions *options, GError **error)
{
  g_autoptr (SumiEngine) engine = NULL;

  if (o.threads < 0 || o.threads > MAX_THREADS)
    return sumi_refuse (error, SUMI_ERROR_USAGE, "--threads: found %d, expected 0 to %d", o.threads, MAX_THREADS);
  engine = sumi_engine_open (o.engine, error);
  if (engine == NULL || !take_dtype (engine, &options->dtype, error))
    return FALSE;
  options->engine = o.engine;
  options->threads = (guint)o.threads;
  options->version = "sumi " SUMI_VERSION;
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
    return sumi_refuse (error, SUMI_ERROR_USAGE, "--output: found nothing, expected a file name ending in .png");
  lower = g_ascii_strdown (o.output, -1);
  if (!g_str_has_suffix (lower, ".png"))
    return sumi_refuse (error, SUMI_ERROR_USAGE, "--output: found '%s', expected a file name ending in .png", o.output);
  if (!check_folder_of (o.output, error) || (o.save_latents != NULL && !check_folder_of (o.save_latents, error)))
    return FALSE;
  if (o.steps_out != NULL && g_mkdir_with_parents (o.steps_out, 0777) != 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "%s: found no such folder and could not make one", o.steps_out);
      return FALSE;
    }
  return TRUE;
}

/* ---- the whole ---- */

static gboolean
read_request (GenerateOptions *options, GError **error)
{
  SumiRequest *r = &options->request;

  if (!take_text ("--prompt", o.prompt, &r->prompt, error)
      || !take_text ("--negative", o.negative, &r->negative_prompt, error) || !take_numbers (r, error)
      || !take_sampler (r, error) || !take_kinds (r, error) || !take_interval (r, error)
      || (o.seed != NULL && !sumi_cli_parse_u64 ("--seed", o.seed, &r->seed, error)))
    return FALSE;
  options->seed_given |= o.seed != NULL;
  r->cfg_pp |= o.cfg_pp;
  r->composite = !o.no_composite;
  r->preview_every = o.steps_out != NULL ? 1 : 0;
  return TRUE;
}

gboolean
generate_options_parse (int *argc, char ***argv, GenerateOptions *options, GError **error)
{
  *options = (GenerateOptions){ .pipeline = { .dtype = SUMI_F32 } };
  options->notes = g_ptr_array_new_with_free_func (g_free);
  options->owned_text = g_ptr_array_new_with_free_func (g_free);
  options->owned_tensors = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_tensor_unref);
  options->loras = g_array_new (FALSE, FALSE, sizeof (SumiRequestLora));
  reset ();
  sumi_request_init (&options->request);
  if (!sumi_cli_parse (argc, argv, "generate", NULL, "Draws pictures from a prompt, as PNG files with their recipe.",
                       entries, error))
    return FALSE;
  options->model = g_strdup (o.model);
  /* what is wrong with the other options is told before files are read */
  if (!read_request (options, error) || !take_pipeline_options (&options->pipeline, error) || !check_outputs (error)
      || !read_loras (options, error))
    return FALSE;
  if (o.like != NULL
      && (!read_like (options, &options->pipeline.dtype, error) || !read_request (options, error)
          || !take_pipeline_options (&options->pipeline, error)))
    return FALSE;
  if (!read_adapters (options, error) || !read_pictures (options, error) || !read_init_noise (options, error))
    return FALSE;
  if (options->model == NULL)
    options->model = g_strdup ("starter");
  options->output = o.output;
  options->save_latents = o.save_latents;
  options->steps_out = o.steps_out;
  return TRUE;
}

void
generate_options_clear (GenerateOptions *options)
{
  g_clear_pointer (&options->model, g_free);
  g_clear_pointer (&options->notes, g_ptr_array_unref);
  g_clear_pointer (&options->owned_text, g_ptr_array_unref);
  g_clear_pointer (&options->owned_tensors, g_ptr_array_unref);
  g_clear_pointer (&options->loras, g_array_unref);
}
