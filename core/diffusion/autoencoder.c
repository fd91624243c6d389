/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pictures <-> latents.  Both ways are the same work: cut the input into tiles (one, where it is small enough), run one
 * plan on each, blend the results.  All tiles of a picture have one size, hence one plan.
 *
 * A network that normalizes over the whole picture, or attends to it, would see another picture in each tile and give
 * each its own tone.  So patches from all over the picture, together as large as a tile, pass the network first, and
 * what norms and attention find there holds for every tile. */
#include "diffusion/autoencoder.h"

#include <math.h>
#include <string.h>

#include "diffusion/tiles.h"

/* The tile of Stable Diffusion's auto-encoder, which is 256 channels wide at the size of the picture: its own size at
 * 1024 x 1024 is done whole (2.2 GB).  A narrower one gets a tile that takes as much memory. */
#define DEFAULT_TILE 108
#define DEFAULT_WIDTH 256.0
#define MAX_DEFAULT_TILE 512
#define TAE_WIDTH 64
#define WHOLE_AREA 1.5 /* tiles: the area up to which a picture is done at once */
#define N_PATCHES 4    /* along each side that is cut */

/* AutoencoderKL's log-variance is held in this range (Rombach et al. 2022, DiagonalGaussianDistribution). */
#define MIN_LOGVAR (-30.0f)
#define MAX_LOGVAR 20.0f

typedef enum
{
  ENCODE,
  DECODE
} Way;

typedef struct
{
  Way way;
  SumiView view;
  gint64 n, height, width; /* pictures, and latents of each */
  gint64 view_places;
  SumiPlan *plan;
} Compiled;

struct _SumiAutoencoder
{
  SumiAutoencoderConfig config;
  SumiTensorMap *weights;
  char *prefix;
  SumiEngine *engine;
  SumiCompileOptions options;
  guint tile;
  gboolean has_encoder; /* its weights were looked at, and are good */
  GArray *compiled;     /* Compiled */
};

static void
compiled_clear (gpointer data)
{
  sumi_plan_free (((Compiled *)data)->plan);
}

/* ---- the networks ---- */

/* Values of a latent place in the encoder's result: with their log-variance from AutoencoderKL. */
static gint64
moments_of (const SumiAutoencoder *a)
{
  return a->config.latent_channels * (a->config.kind == SUMI_AUTOENCODER_KL ? 2 : 1);
}

/* AutoencoderKL takes and gives [-1,1], the tiny ones [0,1]. */
static SumiNode *
build_decoder (const SumiAutoencoderConfig *c, SumiModule *m, SumiNode *latents)
{
  switch (c->kind)
    {
    case SUMI_AUTOENCODER_TAESD:
      return sumi_affine (m->graph, sumi_taesd_decoder (m, c->latent_channels, latents), 2, -1);
    case SUMI_AUTOENCODER_TAEF2:
      return sumi_affine (m->graph, sumi_taef2_decoder (m, latents), 2, -1);
    default:
      return sumi_vae_decoder (m, &c->vae, latents);
    }
}

static SumiNode *
build_encoder (const SumiAutoencoderConfig *c, SumiModule *m, SumiNode *image)
{
  if (c->kind == SUMI_AUTOENCODER_KL)
    return sumi_vae_encoder (m, &c->vae, image);
  image = sumi_affine (m->graph, image, 0.5, 0.5);
  return c->kind == SUMI_AUTOENCODER_TAESD ? sumi_taesd_encoder (m, c->latent_channels, image)
                                           : sumi_taef2_encoder (m, image);
}

/* The graph: "in" to "out". */
static SumiModule *
build (const SumiAutoencoder *a, const Compiled *c)
{
  const gint64 scale = sumi_autoencoder_get_scale (a);
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  SumiModule *m = sumi_module_new (g);
  SumiShape picture = SUMI_SHAPE (c->n, 3, c->height * scale, c->width * scale);
  SumiShape latents = SUMI_SHAPE (c->n, a->config.latent_channels, c->height, c->width);
  SumiNode *x = sumi_input (g, "in", SUMI_REAL, c->way == ENCODE ? &picture : &latents);

  m->view = c->view;
  m->view_places = c->view_places;
  x = c->way == ENCODE ? build_encoder (&a->config, m, x) : build_decoder (&a->config, m, x);
  if (c->view != SUMI_VIEW_SAMPLE)
    sumi_graph_output (g, "out", x);
  return m;
}

/* Builds one half at its smallest and looks at its weights. */
static gboolean
check_half (const SumiAutoencoder *a, Way way, GError **error)
{
  SumiModule *m = build (a, &(Compiled){ way, SUMI_VIEW_WHOLE, 1, 1, 1, 0, NULL });
  gboolean ok = sumi_graph_check (m->graph, error) && sumi_module_check (m, a->weights, a->prefix, error);

  sumi_module_free (m);
  return ok;
}

static gboolean
set_weights (SumiAutoencoder *a, const SumiModule *m, SumiPlan *plan, GError **error)
{
  for (guint i = 0; i < m->params->len; i++)
    {
      const char *name = g_array_index (m->params, SumiModuleParam, i).node->name;
      g_autofree char *full = g_strconcat (a->prefix, name, NULL);

      if (!sumi_plan_has_value (plan, name)
          && !sumi_plan_set (plan, name, sumi_tensor_map_peek (a->weights, full), error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
is_same (const Compiled *a, const Compiled *b)
{
  return a->way == b->way && a->view == b->view && a->n == b->n && a->height == b->height && a->width == b->width
         && a->view_places == b->view_places;
}

/* The plan of what is wanted (all but the plan itself), kept; borrowed. */
static SumiPlan *
peek_plan (SumiAutoencoder *a, const Compiled *wanted, GError **error)
{
  g_autoptr (SumiModule) m = NULL;
  g_autoptr (SumiPlan) plan = NULL;
  Compiled compiled = *wanted;

  for (guint i = 0; i < a->compiled->len; i++)
    if (is_same (&g_array_index (a->compiled, Compiled, i), wanted))
      return g_array_index (a->compiled, Compiled, i).plan;
  if (wanted->way == ENCODE && !a->has_encoder)
    a->has_encoder = check_half (a, ENCODE, error);
  if (wanted->way == ENCODE && !a->has_encoder)
    return NULL;
  m = build (a, wanted);
  if (a->options.packed == NULL)
    a->options.packed = sumi_packed_weights_new (a->engine);
  if (!sumi_graph_check (m->graph, error)
      || (plan = sumi_engine_compile (a->engine, m->graph, &a->options, error)) == NULL
      || !set_weights (a, m, plan, error))
    return NULL;
  compiled.plan = g_steal_pointer (&plan);
  g_array_append_val (a->compiled, compiled);
  return compiled.plan;
}

/* ---- tiles ---- */

/* One picture on its way: `in` has in_unit x in_unit values for each latent place and channel, `out` has out_unit². */
typedef struct
{
  Way way;
  const float *in;
  float *out;
  gint64 in_channels, out_channels;
  guint in_unit, out_unit;
  SumiTiles rows, columns; /* in latents */
  gint64 patch_rows, patch_columns, patch_height, patch_width;
  gboolean sampled; /* norms and attention take from the patches what they know of the picture */
  SumiTensor *tile_in, *tile_out, *patches;
} Job;

static void
job_clear (Job *job)
{
  sumi_tiles_clear (&job->rows);
  sumi_tiles_clear (&job->columns);
  g_clear_pointer (&job->tile_in, sumi_tensor_unref);
  g_clear_pointer (&job->tile_out, sumi_tensor_unref);
  g_clear_pointer (&job->patches, sumi_tensor_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Job, job_clear)

/* What an axis gives to the sample: patches that are together as long as a tile. */
static void
init_patches (const SumiTiles *axis, gint64 *n, gint64 *length)
{
  *n = axis->n > 1 ? MIN (N_PATCHES, axis->tile) : 1;
  *length = axis->tile / *n;
}

/* Tiles of an input `in` for the result `out`, both (N,C,…), N left to the caller. */
static gboolean
job_init (Job *job, const SumiAutoencoder *a, const SumiShape *in, const SumiShape *out, GError **error)
{
  const guint scale = sumi_autoencoder_get_scale (a);
  const gint64 h = (job->way == ENCODE ? out : in)->d[2], w = (job->way == ENCODE ? out : in)->d[3];
  const gboolean whole = a->tile == 0 || (double)h * w <= WHOLE_AREA * a->tile * a->tile;
  const gint64 u = job->in_unit = job->way == ENCODE ? scale : 1;
  const gint64 v = job->out_unit = job->way == ENCODE ? 1 : scale;
  SumiShape tile, patch;

  job->in_channels = in->d[1];
  job->out_channels = out->d[1];
  sumi_tiles_init (&job->rows, h, whole ? h : a->tile, a->tile / 4, job->out_unit);
  sumi_tiles_init (&job->columns, w, whole ? w : a->tile, a->tile / 4, job->out_unit);
  init_patches (&job->rows, &job->patch_rows, &job->patch_height);
  init_patches (&job->columns, &job->patch_columns, &job->patch_width);
  job->sampled = a->config.kind != SUMI_AUTOENCODER_TAESD && (job->rows.n > 1 || job->columns.n > 1);
  tile = SUMI_SHAPE (1, job->in_channels, job->rows.tile * u, job->columns.tile * u);
  patch = SUMI_SHAPE (job->patch_rows * job->patch_columns, job->in_channels, job->patch_height * u,
                      job->patch_width * u);
  if ((job->tile_in = sumi_tensor_new (SUMI_F32, &tile, error)) == NULL
      || (job->sampled && (job->patches = sumi_tensor_new (SUMI_F32, &patch, error)) == NULL))
    return FALSE;
  tile = SUMI_SHAPE (1, job->out_channels, job->rows.tile * v, job->columns.tile * v);
  job->tile_out = sumi_tensor_new (SUMI_F32, &tile, error);
  return job->tile_out != NULL;
}

/* The part of the input at these latents, densely. */
static void
copy_part (const Job *job, gint64 top, gint64 left, gint64 height, gint64 width, float *to)
{
  const gint64 u = job->in_unit, stride = job->columns.size * u;

  for (gint64 c = 0; c < job->in_channels; c++)
    for (gint64 y = 0; y < height * u; y++, to += width * u)
      memcpy (to, job->in + (c * job->rows.size * u + top * u + y) * stride + left * u,
              (gsize)(width * u) * sizeof (float));
}

static void
blend_tile (const Job *job, guint row, guint column)
{
  const gint64 u = job->out_unit, height = job->rows.tile * u, width = job->columns.tile * u;
  const gint64 stride = job->columns.size * u, top = job->rows.starts[row] * u, left = job->columns.starts[column] * u;
  const float *from = sumi_tensor_peek_f32 (job->tile_out);
  const float *down = job->rows.weights + row * height, *across = job->columns.weights + column * width;

  for (gint64 c = 0; c < job->out_channels; c++)
    for (gint64 y = 0; y < height; y++, from += width)
      {
        float *to = job->out + (c * job->rows.size * u + top + y) * stride + left;

        for (gint64 x = 0; x < width; x++)
          to[x] += down[y] * across[x] * from[x];
      }
}

/* Where patch i of n begins: in the middle of the i-th part of the axis. */
static gint64
patch_start (gint64 size, gint64 i, gint64 n, gint64 length)
{
  return CLAMP ((2 * i + 1) * size / (2 * n) - length / 2, 0, size - length);
}

static void
copy_patches (const Job *job)
{
  float *to = sumi_tensor_poke_f32 (job->patches);
  const gint64 step = sumi_tensor_get_numel (job->patches) / (job->patch_rows * job->patch_columns);

  for (gint64 i = 0; i < job->patch_rows; i++)
    for (gint64 j = 0; j < job->patch_columns; j++, to += step)
      copy_part (job, patch_start (job->rows.size, i, job->patch_rows, job->patch_height),
                 patch_start (job->columns.size, j, job->patch_columns, job->patch_width), job->patch_height,
                 job->patch_width, to);
}

/* Lets a sample of the picture pass the network, and gives what norms and attention saw to the plan of the tiles. */
static gboolean
look_at_picture (SumiAutoencoder *a, Job *job, SumiPlan *tiles, GCancellable *cancellable, GError **error)
{
  SumiPlan *plan = peek_plan (a,
                              &(Compiled){ job->way, SUMI_VIEW_SAMPLE, job->patch_rows * job->patch_columns,
                                           job->patch_height, job->patch_width, 0, NULL },
                              error);

  if (plan == NULL)
    return FALSE;
  copy_patches (job);
  if (!sumi_plan_set (plan, "in", job->patches, error) || !sumi_plan_run (plan, cancellable, error))
    return FALSE;
  for (guint i = 0; i < sumi_graph_get_n_outputs (plan->graph); i++)
    {
      SumiNode *node;
      const char *name = sumi_graph_get_output (plan->graph, i, &node);
      g_autoptr (SumiTensor) value = sumi_plan_get (plan, name, error);

      if (value == NULL || !sumi_plan_set (tiles, name, value, error))
        return FALSE;
    }
  sumi_plan_trim (plan);
  return TRUE;
}

/* One picture. */
static gboolean
job_run (Job *job, SumiPlan *plan, GCancellable *cancellable, GError **error)
{
  for (guint row = 0; row < job->rows.n; row++)
    for (guint column = 0; column < job->columns.n; column++)
      {
        copy_part (job, job->rows.starts[row], job->columns.starts[column], job->rows.tile, job->columns.tile,
                   sumi_tensor_poke_f32 (job->tile_in));
        if (!sumi_plan_set (plan, "in", job->tile_in, error) || !sumi_plan_run (plan, cancellable, error)
            || !sumi_plan_read (plan, "out", job->tile_out, error))
          return FALSE;
        blend_tile (job, row, column);
      }
  return TRUE;
}

/* One way for a batch; `out` is zero before. */
static gboolean
convert (SumiAutoencoder *a, Way way, const SumiTensor *in, SumiTensor *out, GCancellable *cancellable, GError **error)
{
  const gint64 n = sumi_tensor_get_shape (in)->d[0];
  g_auto (Job) job = { .way = way };
  Compiled wanted = { way, SUMI_VIEW_WHOLE, 1, 0, 0, 0, NULL };
  SumiPlan *plan;
  gboolean ok = TRUE;

  if (!job_init (&job, a, sumi_tensor_get_shape (in), sumi_tensor_get_shape (out), error))
    return FALSE;
  wanted.height = job.rows.tile;
  wanted.width = job.columns.tile;
  if (job.sampled)
    {
      wanted.view = SUMI_VIEW_TILE;
      wanted.view_places = job.patch_rows * job.patch_columns * job.patch_height * job.patch_width;
    }
  plan = peek_plan (a, &wanted, error);
  for (gint64 i = 0; ok && plan != NULL && i < n; i++)
    {
      job.in = sumi_tensor_peek_f32 (in) + i * sumi_tensor_get_numel (in) / n;
      job.out = sumi_tensor_poke_f32 (out) + i * sumi_tensor_get_numel (out) / n;
      ok = (!job.sampled || look_at_picture (a, &job, plan, cancellable, error))
           && job_run (&job, plan, cancellable, error);
      sumi_plan_trim (plan);
    }
  return plan != NULL && ok;
}

/* ---- what the denoiser calls latents ---- */

/* Every value of channel c becomes scale[c] x + shift[c]. */
static void
scale_channels (float *x, const SumiShape *shape, const double *scale, const double *shift)
{
  const gint64 n = shape->d[2] * shape->d[3];

  for (gint64 i = 0; i < shape->d[0] * shape->d[1]; i++, x += n)
    for (gint64 k = 0; k < n; k++)
      x[k] = (float)(scale[i % shape->d[1]] * x[k] + shift[i % shape->d[1]]);
}

/* latents = raw std⁻¹ - mean std⁻¹ */
static void
normalize (const SumiAutoencoderConfig *c, SumiTensor *raw)
{
  double scale[SUMI_MAX_LATENT_CHANNELS], shift[SUMI_MAX_LATENT_CHANNELS];

  for (gint64 i = 0; i < c->latent_channels; i++)
    {
      scale[i] = 1 / c->std[i];
      shift[i] = -c->mean[i] / c->std[i];
    }
  scale_channels (sumi_tensor_poke_f32 (raw), sumi_tensor_get_shape (raw), scale, shift);
}

/* The first half of the moments' channels, or a sample: mean + exp (logvar / 2) noise. */
static void
sample_posterior (const SumiTensor *moments, const float *noise, SumiTensor *out)
{
  const SumiShape *s = sumi_tensor_get_shape (out);
  const gint64 n = s->d[1] * s->d[2] * s->d[3];

  for (gint64 i = 0; i < s->d[0]; i++)
    {
      const float *mean = sumi_tensor_peek_f32 (moments) + 2 * i * n, *logvar = mean + n;
      float *to = sumi_tensor_poke_f32 (out) + i * n;

      for (gint64 k = 0; k < n; k++)
        to[k] = mean[k] + (noise != NULL ? expf (CLAMP (logvar[k], MIN_LOGVAR, MAX_LOGVAR) / 2) * noise[i * n + k] : 0);
    }
}

/* ---- the interface ---- */

static gboolean
check_config (const SumiAutoencoderConfig *c, GError **error)
{
  gint64 want = c->kind == SUMI_AUTOENCODER_KL      ? c->vae.latent_channels
                : c->kind == SUMI_AUTOENCODER_TAEF2 ? SUMI_TAEF2_CHANNELS
                                                    : c->latent_channels;

  if (c->latent_channels != want || want < 1 || want > SUMI_MAX_LATENT_CHANNELS)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                   "auto-encoder: found %" G_GINT64_FORMAT " latent channels, expected %" G_GINT64_FORMAT,
                   c->latent_channels, want);
      return FALSE;
    }
  for (gint64 i = 0; i < want; i++)
    if (!isfinite (c->mean[i]) || !isfinite (c->std[i]) || c->std[i] <= 0)
      {
        g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                     "auto-encoder: found mean %g and std %g of channel %d, expected numbers, and std above 0",
                     c->mean[i], c->std[i], (int)i);
        return FALSE;
      }
  return TRUE;
}

static guint
default_tile (const SumiAutoencoderConfig *c)
{
  gint64 width = TAE_WIDTH;

  if (c->kind == SUMI_AUTOENCODER_KL)
    width = MAX (c->vae.block_out_channels[0], c->vae.block_out_channels[MIN (c->vae.n_levels, 2) - 1]);
  return (guint)CLAMP (DEFAULT_TILE * sqrt (DEFAULT_WIDTH / width), 16, MAX_DEFAULT_TILE);
}

SumiAutoencoder *
sumi_autoencoder_new (const SumiAutoencoderConfig *config, SumiTensorMap *weights, const char *prefix,
                      SumiEngine *engine, guint threads, GError **error)
{
  g_autoptr (SumiAutoencoder) a = NULL;

  if (!check_config (config, error))
    return NULL;
  a = g_new0 (SumiAutoencoder, 1);
  a->config = *config;
  a->weights = sumi_tensor_map_ref (weights);
  a->prefix = g_strdup (prefix);
  a->engine = sumi_engine_ref (engine);
  a->options = (SumiCompileOptions){ .dtype = SUMI_F32, .threads = threads };
  a->tile = default_tile (config);
  a->compiled = g_array_new (FALSE, FALSE, sizeof (Compiled));
  g_array_set_clear_func (a->compiled, compiled_clear);
  return check_half (a, DECODE, error) ? g_steal_pointer (&a) : NULL;
}

void
sumi_autoencoder_free (SumiAutoencoder *a)
{
  if (a == NULL)
    return;
  sumi_autoencoder_trim (a);
  g_array_unref (a->compiled);
  sumi_tensor_map_unref (a->weights);
  sumi_engine_unref (a->engine);
  g_free (a->prefix);
  g_free (a);
}

guint
sumi_autoencoder_get_scale (const SumiAutoencoder *a)
{
  return a->config.kind == SUMI_AUTOENCODER_KL ? 1u << (a->config.vae.n_levels - 1) : 8;
}

guint
sumi_autoencoder_get_tile (const SumiAutoencoder *a)
{
  return a->tile;
}

void
sumi_autoencoder_set_tile (SumiAutoencoder *a, guint tile)
{
  a->tile = tile;
}

void
sumi_autoencoder_trim (SumiAutoencoder *a)
{
  g_array_set_size (a->compiled, 0);
  g_clear_pointer (&a->options.packed, sumi_packed_weights_unref);
}

void
sumi_autoencoder_get_memory (const SumiAutoencoder *a, gsize *arena, gsize *parameters)
{
  *arena = *parameters = 0;
  for (guint i = 0; i < a->compiled->len; i++)
    {
      gsize n, p;

      sumi_plan_get_memory (g_array_index (a->compiled, Compiled, i).plan, &n, &p);
      *arena = MAX (*arena, n);
      *parameters = MAX (*parameters, p);
    }
}

/* F32 (N,channels,H,W), the sides multiples of `multiple`, none empty. */
static gboolean
check_input (const char *what, const SumiTensor *t, gint64 channels, gint64 multiple, GError **error)
{
  const SumiShape *s = sumi_tensor_get_shape (t);
  g_autofree char *found = NULL;

  if (sumi_tensor_get_dtype (t) == SUMI_F32 && s->rank == 4 && s->d[1] == channels && sumi_tensor_get_numel (t) > 0
      && s->d[2] % multiple == 0 && s->d[3] % multiple == 0)
    return TRUE;
  found = sumi_shape_to_string (s);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH,
               "%s: found %s %s, expected F32 (N,%" G_GINT64_FORMAT ",h,w), the sides multiples of %d", what,
               sumi_dtype_name (sumi_tensor_get_dtype (t)), found, channels, (int)multiple);
  return FALSE;
}

static gboolean
check_finite (const char *what, const SumiTensor *t, GError **error)
{
  if (sumi_tensor_is_finite (t))
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE, "%s: found NaN or infinity, expected numbers", what);
  return FALSE;
}

SumiTensor *
sumi_autoencoder_decode (SumiAutoencoder *a, const SumiTensor *latents, GCancellable *cancellable, GError **error)
{
  const gint64 scale = sumi_autoencoder_get_scale (a);
  const SumiShape *s = sumi_tensor_get_shape (latents);
  g_autoptr (SumiTensor) raw = NULL;
  g_autoptr (SumiTensor) picture = NULL;

  if (!check_input ("latents", latents, a->config.latent_channels, 1, error)
      || (raw = sumi_tensor_cast (latents, SUMI_F32, error)) == NULL
      || (picture = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (s->d[0], 3, s->d[2] * scale, s->d[3] * scale), error))
             == NULL)
    return NULL;
  scale_channels (sumi_tensor_poke_f32 (raw), s, a->config.std, a->config.mean);
  if (!convert (a, DECODE, raw, picture, cancellable, error) || !check_finite ("picture", picture, error))
    return NULL;
  return g_steal_pointer (&picture);
}

SumiTensor *
sumi_autoencoder_encode (SumiAutoencoder *a, const SumiTensor *image, const float *noise, GCancellable *cancellable,
                         GError **error)
{
  const gint64 scale = sumi_autoencoder_get_scale (a);
  const SumiShape *s = sumi_tensor_get_shape (image);
  g_autoptr (SumiTensor) moments = NULL;
  g_autoptr (SumiTensor) latents = NULL;

  if (!check_input ("image", image, 3, scale, error)
      || (moments
          = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (s->d[0], moments_of (a), s->d[2] / scale, s->d[3] / scale), error))
             == NULL
      || !convert (a, ENCODE, image, moments, cancellable, error) || !check_finite ("latents", moments, error))
    return NULL;
  if (a->config.kind != SUMI_AUTOENCODER_KL)
    latents = g_steal_pointer (&moments);
  else
    {
      latents = sumi_tensor_new (
          SUMI_F32, &SUMI_SHAPE (s->d[0], a->config.latent_channels, s->d[2] / scale, s->d[3] / scale), error);
      if (latents == NULL)
        return NULL;
      sample_posterior (moments, noise, latents);
    }
  normalize (&a->config, latents);
  return g_steal_pointer (&latents);
}
