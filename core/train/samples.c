/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading every picture once, before training: afterwards a step costs no decoding. */
#include "train/samples.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "io/image.h"
#include "io/safetensors.h"

#define ENCODE_BATCH 8
#define TELL_EVERY 64 /* pictures */
#define MIN_STD 1e-3  /* a channel that never changes must not be divided away */

typedef struct
{
  SumiDataset *dataset;
  const SumiModelConfig *config;
  const SumiSampleOptions *options;
  SumiSamplesProgress progress;
  gpointer user;
  GCancellable *cancellable;
} Source;

static gint64
sample_numel (const SumiSamples *s)
{
  return s->channels * s->height * s->width;
}

static guint
variants (const SumiSamples *s)
{
  return s->latent && s->mirrored ? 2 : 1;
}

/* ---- pixels ---- */

/* The next picture from *i on that can be read, or NULL when there is none (or, with an error, when cancelled). */
static SumiTensor *
next_picture (const Source *source, guint *i, guint height, guint width, guint channels, GError **error)
{
  guint n = sumi_dataset_get_size (source->dataset);

  for (; *i < n; (*i)++)
    {
      g_autoptr (GError) wrong = NULL;
      SumiTensor *image;

      if (sumi_set_error_if_cancelled (source->cancellable, error))
        return NULL;
      image = sumi_dataset_load (source->dataset, *i, height, width, channels, &wrong);
      if (source->progress != NULL && ((*i + 1) % TELL_EVERY == 0 || *i + 1 == n))
        source->progress (*i + 1, n, source->user);
      if (image != NULL)
        return image;
      if (g_error_matches (wrong, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY)
          || g_error_matches (wrong, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG))
        {
          g_propagate_error (error, g_steal_pointer (&wrong));
          return NULL;
        }
      sumi_dataset_note (source->dataset, "%s; passed over", wrong->message);
    }
  return NULL;
}

static gboolean
read_pixels (SumiSamples *s, const Source *source, GError **error)
{
  gint64 each = sample_numel (s), n = sumi_dataset_get_size (source->dataset);
  g_autoptr (GError) wrong = NULL;
  SumiTensor *image;
  guint8 *out;

  s->values = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (n, s->height, s->width, s->channels), error);
  if (s->values == NULL)
    return FALSE;
  out = sumi_tensor_poke (s->values);
  for (guint i = 0; (image = next_picture (source, &i, s->height, s->width, s->channels, &wrong)) != NULL; i++)
    {
      memcpy (out + s->n * each, sumi_tensor_peek (image), each);
      s->pictures[s->n++] = i;
      sumi_tensor_unref (image);
    }
  if (wrong == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&wrong));
  return FALSE;
}

/* ---- latents ---- */

typedef struct
{
  SumiPlan *plan;
  SumiTensor *image;   /* F32 (B,3,8h,8w) */
  SumiTensor *latents; /* F32 (B,32,h,w) */
} Encoder;

static void
encoder_clear (Encoder *e)
{
  g_clear_pointer (&e->plan, sumi_plan_free);
  g_clear_pointer (&e->image, sumi_tensor_unref);
  g_clear_pointer (&e->latents, sumi_tensor_unref);
}

static gboolean
set_weights (SumiPlan *plan, const SumiModule *module, const SumiTensorMap *weights, GError **error)
{
  if (!sumi_module_check (module, weights, "", error))
    return FALSE;
  for (guint i = 0; i < module->params->len; i++)
    {
      const char *name = g_array_index (module->params, SumiModuleParam, i).node->name;
      if (!sumi_plan_set (plan, name, sumi_tensor_map_peek (weights, name), error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
encoder_open (Encoder *e, const SumiSamples *s, const SumiSampleOptions *o, GError **error)
{
  SumiShape shape = SUMI_SHAPE (ENCODE_BATCH, 3, 8 * s->height, 8 * s->width);
  SumiShape latent = SUMI_SHAPE (ENCODE_BATCH, s->channels, s->height, s->width);
  SumiCompileOptions compile = { SUMI_F32, o->threads, FALSE };
  g_autoptr (SumiTensorMap) weights = sumi_safetensors_open (o->taef2, error);
  g_autoptr (SumiGraph) graph = sumi_graph_new ();
  g_autoptr (SumiModule) module = sumi_module_new (graph);

  if (weights == NULL)
    return FALSE;
  sumi_graph_output (graph, "latents", sumi_taef2_encoder (module, sumi_input (graph, "image", SUMI_REAL, &shape)));
  e->plan = sumi_engine_compile (o->engine, graph, &compile, error);
  if (e->plan == NULL || !set_weights (e->plan, module, weights, error))
    return FALSE;
  e->image = sumi_tensor_new (SUMI_F32, &shape, error);
  if (e->image == NULL)
    return FALSE;
  e->latents = sumi_tensor_new (SUMI_F32, &latent, error);
  return e->latents != NULL;
}

/* U8 (H,W,3) -> F32 (3,H,W) in [0,1], perhaps mirrored. */
static void
to_chw (const SumiTensor *image, gboolean mirror, float *out)
{
  const SumiShape *shape = sumi_tensor_get_shape (image);
  gint64 height = shape->d[0], width = shape->d[1];
  const guint8 *in = sumi_tensor_peek (image);

  for (gint64 y = 0; y < height; y++)
    for (gint64 x = 0; x < width; x++)
      for (gint64 c = 0; c < 3; c++)
        out[(c * height + y) * width + x] = in[(y * width + (mirror ? width - 1 - x : x)) * 3 + c] / 255.0f;
}

/* Encodes `n` pictures (the places after them hold old ones, which do no harm) to F16 at `first`. */
static gboolean
encode (Encoder *e, SumiSamples *s, SumiTensor *const *images, guint n, gboolean mirror, gint64 first,
        GCancellable *cancellable, GError **error)
{
  gint64 each = sample_numel (s), pixels = each / s->channels * 64 * 3;

  for (guint i = 0; i < n; i++)
    to_chw (images[i], mirror, sumi_tensor_poke_f32 (e->image) + i * pixels);
  if (!sumi_plan_set (e->plan, "image", e->image, error) || !sumi_plan_run (e->plan, cancellable, error)
      || !sumi_plan_read (e->plan, "latents", e->latents, error))
    return FALSE;
  sumi_f16_from_f32_array ((guint16 *)sumi_tensor_poke (s->values) + first * each, sumi_tensor_peek_f32 (e->latents),
                           n * each);
  return TRUE;
}

static gboolean
encode_batch (Encoder *e, SumiSamples *s, GPtrArray *batch, gint64 n_all, GCancellable *cancellable, GError **error)
{
  SumiTensor *const *images = (SumiTensor *const *)batch->pdata;
  gint64 first = s->n - batch->len;

  if (batch->len == 0)
    return TRUE;
  if (!encode (e, s, images, batch->len, FALSE, first, cancellable, error)
      || (variants (s) == 2 && !encode (e, s, images, batch->len, TRUE, n_all + first, cancellable, error)))
    return FALSE;
  g_ptr_array_set_size (batch, 0);
  return TRUE;
}

/* When pictures were passed over, the mirrored half moves down behind the others. */
static gboolean
close_gap (SumiSamples *s, gint64 n_all, GError **error)
{
  gsize each = sample_numel (s) * sizeof (guint16);
  char *values = sumi_tensor_poke (s->values);
  SumiTensor *shorter;

  if (s->n == n_all)
    return TRUE;
  if (variants (s) == 2)
    memmove (values + s->n * each, values + n_all * each, s->n * each);
  shorter = sumi_tensor_slice0 (s->values, 0, (gint64)variants (s) * s->n, error);
  if (shorter == NULL)
    return FALSE;
  sumi_tensor_unref (s->values);
  s->values = shorter;
  return TRUE;
}

static gboolean
encode_latents (SumiSamples *s, const Source *source, Encoder *e, GError **error)
{
  gint64 n_all = sumi_dataset_get_size (source->dataset);
  g_autoptr (GPtrArray) batch = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_tensor_unref);
  g_autoptr (GError) wrong = NULL;
  SumiTensor *image;

  s->values = sumi_tensor_new (SUMI_F16, &SUMI_SHAPE (variants (s) * n_all, s->channels, s->height, s->width), error);
  if (s->values == NULL || !encoder_open (e, s, source->options, error))
    return FALSE;
  for (guint i = 0; (image = next_picture (source, &i, 8 * s->height, 8 * s->width, 3, &wrong)) != NULL; i++)
    {
      g_ptr_array_add (batch, image);
      s->pictures[s->n++] = i;
      if (batch->len == ENCODE_BATCH && !encode_batch (e, s, batch, n_all, source->cancellable, error))
        return FALSE;
    }
  if (wrong == NULL)
    return encode_batch (e, s, batch, n_all, source->cancellable, error) && close_gap (s, n_all, error);
  g_propagate_error (error, g_steal_pointer (&wrong));
  return FALSE;
}

/* ---- the cache ---- */

static char *
cache_key (const SumiSamples *s, const SumiDataset *d)
{
  return g_strdup_printf ("1 taef2 %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT " %u %s", s->height, s->width, variants (s),
                          d->fingerprint);
}

static gboolean
take_cache (SumiSamples *s, const SumiTensorMap *map, guint n_all)
{
  SumiTensor *pictures = sumi_tensor_map_peek (map, "pictures"), *latents = sumi_tensor_map_peek (map, "latents");
  gint64 n = pictures != NULL ? sumi_tensor_get_numel (pictures) : 0;
  SumiShape want = SUMI_SHAPE (variants (s) * n, s->channels, s->height, s->width);

  if (n < 1 || n > n_all || sumi_tensor_get_dtype (pictures) != SUMI_U32 || latents == NULL
      || sumi_tensor_get_dtype (latents) != SUMI_F16 || !sumi_shape_equal (sumi_tensor_get_shape (latents), &want)
      || !sumi_tensor_is_finite (latents))
    return FALSE;
  memcpy (s->pictures, sumi_tensor_peek (pictures), n * sizeof *s->pictures);
  for (gint64 i = 0; i < n; i++)
    if (s->pictures[i] >= n_all || (i > 0 && s->pictures[i] <= s->pictures[i - 1]))
      return FALSE;
  s->n = n;
  s->values = sumi_tensor_ref (latents);
  return TRUE;
}

/* FALSE: there is none, or of something else. */
static gboolean
read_cache (SumiSamples *s, const Source *source)
{
  const char *path = source->options->cache;
  g_autofree char *key = cache_key (s, source->dataset);
  g_autoptr (SumiTensorMap) map = NULL;

  if (path == NULL || !g_file_test (path, G_FILE_TEST_EXISTS))
    return FALSE;
  map = sumi_safetensors_open (path, NULL);
  if (map != NULL && g_strcmp0 (sumi_tensor_map_get_metadata (map, "sumi.latents"), key) == 0
      && take_cache (s, map, sumi_dataset_get_size (source->dataset)))
    return TRUE;
  sumi_dataset_note (source->dataset, "%s: found latents of something else; made anew", path);
  return FALSE;
}

static gboolean
write_cache (const SumiSamples *s, const Source *source, GError **error)
{
  g_autofree char *key = cache_key (s, source->dataset);
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();
  SumiTensor *pictures;

  if (source->options->cache == NULL)
    return TRUE;
  pictures = sumi_tensor_new (SUMI_U32, &SUMI_SHAPE (s->n), error);
  if (pictures == NULL)
    return FALSE;
  memcpy (sumi_tensor_poke (pictures), s->pictures, s->n * sizeof *s->pictures);
  sumi_tensor_map_take (map, "pictures", pictures);
  sumi_tensor_map_set (map, "latents", s->values);
  sumi_tensor_map_set_metadata (map, "sumi.latents", key);
  return sumi_safetensors_save (map, source->options->cache, error);
}

/* ---- statistics ---- */

static void
measure (SumiSamples *s)
{
  gsize plane = s->height * s->width, n = (gsize)variants (s) * s->n;
  g_autofree float *x = g_new (float, plane);
  const guint16 *values = sumi_tensor_peek (s->values);

  for (gint64 c = 0; c < s->channels; c++)
    {
      double sum = 0, squares = 0, count = (double)n * plane;

      for (gsize i = 0; i < n; i++)
        {
          sumi_f16_to_f32_array (x, values + (i * s->channels + c) * plane, plane);
          for (gsize j = 0; j < plane; j++)
            {
              sum += x[j];
              squares += (double)x[j] * x[j];
            }
        }
      s->mean[c] = sum / count;
      s->std[c] = MAX (MIN_STD, sqrt (MAX (0, squares / count - s->mean[c] * s->mean[c])));
    }
}

static gboolean
read_latents (SumiSamples *s, const Source *source, GError **error)
{
  Encoder encoder = { 0 };
  gboolean ok = read_cache (s, source);

  if (!ok)
    {
      ok = encode_latents (s, source, &encoder, error) && (s->n == 0 || write_cache (s, source, error));
      encoder_clear (&encoder);
    }
  if (ok && s->n > 0)
    measure (s);
  return ok;
}

SumiSamples *
sumi_samples_new (SumiDataset *d, const SumiModelConfig *config, const SumiSampleOptions *options,
                  SumiSamplesProgress progress, gpointer user, GCancellable *cancellable, GError **error)
{
  const Source source = { d, config, options, progress, user, cancellable };
  g_autoptr (SumiSamples) s = g_new0 (SumiSamples, 1);

  s->latent = config->family == SUMI_FAMILY_LATENT;
  s->channels = config->channels;
  s->height = config->height;
  s->width = config->width;
  s->mirrored = options->flip;
  s->pictures = g_new (guint32, sumi_dataset_get_size (d));
  if (!(s->latent ? read_latents (s, &source, error) : read_pixels (s, &source, error)))
    return NULL;
  if (s->n > 0)
    return g_steal_pointer (&s);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE, "data set: found no picture that can be read; %s",
               d->notes->len > 0 ? (char *)d->notes->pdata[0] : "");
  return NULL;
}

void
sumi_samples_free (SumiSamples *s)
{
  if (s == NULL)
    return;
  g_free (s->pictures);
  g_clear_pointer (&s->values, sumi_tensor_unref);
  g_free (s);
}

void
sumi_samples_get (const SumiSamples *s, guint i, gboolean mirrored, float *out)
{
  gsize each = sample_numel (s), plane = s->height * s->width;
  const guint8 *pixels = sumi_tensor_peek (s->values);

  if (s->latent)
    {
      sumi_f16_to_f32_array (out, (const guint16 *)pixels + (i + (gsize)mirrored * s->n) * each, each);
      for (gsize j = 0; j < each; j++)
        out[j] = (float)((out[j] - s->mean[j / plane]) / s->std[j / plane]);
      return;
    }
  pixels += i * each;
  for (gint64 c = 0; c < s->channels; c++)
    for (gint64 y = 0; y < s->height; y++)
      for (gint64 x = 0; x < s->width; x++)
        *out++ = pixels[(y * s->width + (mirrored ? s->width - 1 - x : x)) * s->channels + c] / 127.5f - 1;
}
