/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "random-model-private.h"

#include <glib/gstdio.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/half.h"
#include "diffusion/model.h"
#include "nn/names.h"

/* ---- values ---- */

#define CHUNK 65536

/* Values of one parameter, from left to right. */
typedef struct
{
  guint64 state;
  float low, high;
} Stream;

static guint64
next_word (guint64 *state) /* splitmix64 (Steele et al. 2014) */
{
  guint64 z = (*state += 0x9e3779b97f4a7c15u);

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static void
stream_init (Stream *s, const char *name, const SumiShape *shape, gboolean v_prediction)
{
  double fan_in = 1, spread;

  s->state = 14695981039346656037u; /* FNV-1a */
  for (const char *c = name; *c != '\0'; c++)
    s->state = (s->state ^ (guchar)*c) * 1099511628211u;
  for (guint i = 1; i < shape->rank; i++)
    fan_in *= (double)shape->d[i];
  spread = sqrt (3 / fan_in); /* uniform values of variance 1 / fan_in */
  if (strstr (name, "embedding.weight") != NULL)
    spread = 0.03;
  else if (shape->rank == 1)
    spread = 0.02;
  /* by this one are SD 2's v-predicting models told from the others */
  if (v_prediction && strcmp (name, "unet.up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias") == 0)
    spread = 0.3;
  s->low = (float)-spread;
  s->high = (float)spread;
  if (shape->rank == 1 && g_str_has_suffix (name, "weight"))
    s->low = s->high = 1; /* a norm */
}

static void
stream_fill (Stream *s, float *values, gsize n)
{
  for (gsize i = 0; i < n; i++)
    values[i] = s->low + (s->high - s->low) * (float)(next_word (&s->state) >> 40) * 0x1p-24f;
}

/* ---- what a file holds ---- */

#define MAX_PARTS 3

typedef struct
{
  char *name;
  SumiShape shape;
  char *parts[MAX_PARTS]; /* diffusers names, one after the other */
  SumiShape part_shape;
  guint n_parts;
  gboolean transposed;
} Entry;

static Entry *
entry_new (char *name, const SumiShape *shape)
{
  Entry *e = g_new0 (Entry, 1);

  e->name = name;
  e->shape = e->part_shape = *shape;
  return e;
}

static void
entry_free (Entry *e)
{
  g_free (e->name);
  for (guint i = 0; i < e->n_parts; i++)
    g_free (e->parts[i]);
  g_free (e);
}

static void
entry_add_part (Entry *e, const char *name)
{
  e->parts[e->n_parts++] = g_strdup (name);
}

static gboolean
write_all (FILE *file, const void *data, gsize size, GError **error)
{
  if (fwrite (data, 1, size, file) == size)
    return TRUE;
  g_set_error_literal (error, SUMI_ERROR, SUMI_ERROR_IO, "found no room to write");
  return FALSE;
}

static gboolean
write_values (FILE *file, const float *values, gsize n, SumiDType dtype, GError **error)
{
  guint16 half[CHUNK];

  if (dtype == SUMI_F32)
    return write_all (file, values, n * 4, error);
  for (gsize i = 0; i < n; i += CHUNK)
    {
      gsize m = MIN (CHUNK, n - i);

      sumi_f16_from_f32_array (half, values + i, m);
      if (!write_all (file, half, m * 2, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
write_transposed (FILE *file, Stream *stream, const SumiShape *part, SumiDType dtype, GError **error)
{
  const gint64 rows = part->d[0], columns = part->d[1];
  g_autofree float *values = g_new (float, rows *columns), *out = g_new (float, rows *columns);

  stream_fill (stream, values, (gsize)(rows * columns));
  for (gint64 i = 0; i < rows * columns; i++)
    out[i] = values[i % rows * columns + i / rows];
  return write_values (file, out, (gsize)(rows * columns), dtype, error);
}

static gboolean
write_entry (FILE *file, const Entry *e, SumiDType dtype, gboolean v_prediction, GError **error)
{
  float values[CHUNK];

  for (guint p = 0; p < e->n_parts; p++)
    {
      gsize n = (gsize)sumi_shape_numel (&e->part_shape);
      Stream stream;

      stream_init (&stream, e->parts[p], &e->part_shape, v_prediction);
      if (e->transposed)
        return write_transposed (file, &stream, &e->part_shape, dtype, error);
      for (gsize i = 0; i < n; i += CHUNK)
        {
          gsize m = MIN (CHUNK, n - i);

          stream_fill (&stream, values, m);
          if (!write_values (file, values, m, dtype, error))
            return FALSE;
        }
    }
  return TRUE;
}

/* entries: Entry* */
static gboolean
write_or_skip (FILE *file, const Entry *e, const RandomModel *m, gboolean v_prediction, GError **error)
{
  gint64 n = sumi_shape_numel (&e->shape);

  if (!m->sparse || n < CHUNK)
    return write_entry (file, e, m->dtype, v_prediction, error);
  return fseeko (file, n * (off_t)sumi_dtype_size (m->dtype) - 1, SEEK_CUR) == 0 && write_all (file, "", 1, error);
}

static gboolean
write_file (const char *path, const GPtrArray *entries, const RandomModel *m, gboolean v_prediction, GError **error)
{
  const SumiDType dtype = m->dtype;
  g_autoptr (GString) header = g_string_new ("{\"__metadata__\":{\"format\":\"pt\"}");
  guint64 offset = 0, length;
  gboolean ok;
  FILE *file;

  for (guint i = 0; i < entries->len; i++)
    {
      const Entry *e = g_ptr_array_index (entries, i);
      guint64 size = (guint64)sumi_shape_numel (&e->shape) * sumi_dtype_size (dtype);

      g_string_append_printf (header, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", e->name, sumi_dtype_name (dtype));
      for (guint d = 0; d < e->shape.rank; d++)
        g_string_append_printf (header, "%s%" G_GINT64_FORMAT, d > 0 ? "," : "", e->shape.d[d]);
      g_string_append_printf (header, "],\"data_offsets\":[%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT "]}", offset,
                              offset + size);
      offset += size;
    }
  g_string_append_c (header, '}');
  while (header->len % 8 != 0)
    g_string_append_c (header, ' ');
  length = GUINT64_TO_LE (header->len);

  file = g_fopen (path, "wb");
  if (file == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "%s: found no way to write", path);
      return FALSE;
    }
  ok = write_all (file, &length, 8, error) && write_all (file, header->str, header->len, error);
  for (guint i = 0; ok && i < entries->len; i++)
    ok = write_or_skip (file, g_ptr_array_index (entries, i), m, v_prediction, error);
  return fclose (file) == 0 && ok;
}

/* ---- one file, original names ---- */

typedef struct
{
  const RandomModel *model;
  const RandomSpec *spec;
  SumiModelConfig config;
  GPtrArray *entries;
  const SumiModule *module; /* of all parameters */
} Writer;

/* Where a text encoder stands in a single file, and whether its names are OpenCLIP's. */
static const char *
text_place (const RandomSpec *s, guint which, gboolean *open_clip)
{
  const gboolean xl = strcmp (s->family, "sdxl") == 0, refiner = strcmp (s->family, "sdxl-refiner") == 0;

  *open_clip = which == 1 || strcmp (s->family, "sd21") == 0;
  if (which == 1)
    return refiner ? "conditioner.embedders.0.model." : "conditioner.embedders.1.model.";
  if (xl)
    return "conditioner.embedders.0.transformer.";
  return *open_clip ? "cond_stage_model.model." : "cond_stage_model.transformer.";
}

/* OpenCLIP's names of what is not in a layer. */
static const char *
open_clip_end (const char *name)
{
  static const char *const ends[][2] = {
    { "text_model.embeddings.position_embedding.weight", "positional_embedding" },
    { "text_model.embeddings.token_embedding.weight", "token_embedding.weight" },
    { "text_model.final_layer_norm.weight", "ln_final.weight" },
    { "text_model.final_layer_norm.bias", "ln_final.bias" },
    { "text_projection.weight", "text_projection" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (ends); i++)
    if (strcmp (name, ends[i][0]) == 0)
      return ends[i][1];
  return NULL;
}

static void
add_open_clip_layer (Writer *w, const char *place, const char *from, guint layer, gint64 width)
{
  static const struct
  {
    const char *ldm, *parts[MAX_PARTS];
    gint64 rows, columns; /* of the width; columns 0: a vector */
  } tensors[] = {
    { "ln_1.weight", { "layer_norm1.weight" }, 1, 0 },
    { "ln_1.bias", { "layer_norm1.bias" }, 1, 0 },
    { "attn.in_proj_weight",
      { "self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight" },
      1,
      1 },
    { "attn.in_proj_bias", { "self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias" }, 1, 0 },
    { "attn.out_proj.weight", { "self_attn.out_proj.weight" }, 1, 1 },
    { "attn.out_proj.bias", { "self_attn.out_proj.bias" }, 1, 0 },
    { "ln_2.weight", { "layer_norm2.weight" }, 1, 0 },
    { "ln_2.bias", { "layer_norm2.bias" }, 1, 0 },
    { "mlp.c_fc.weight", { "mlp.fc1.weight" }, 4, 1 },
    { "mlp.c_fc.bias", { "mlp.fc1.bias" }, 4, 0 },
    { "mlp.c_proj.weight", { "mlp.fc2.weight" }, 1, 4 },
    { "mlp.c_proj.bias", { "mlp.fc2.bias" }, 1, 0 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (tensors); i++)
    {
      const gint64 rows = tensors[i].rows * width, columns = tensors[i].columns * width;
      SumiShape part = columns > 0 ? SUMI_SHAPE (rows, columns) : SUMI_SHAPE (rows);
      Entry *e = entry_new (g_strdup_printf ("%stransformer.resblocks.%u.%s", place, layer, tensors[i].ldm), &part);

      for (guint p = 0; p < MAX_PARTS && tensors[i].parts[p] != NULL; p++)
        {
          g_autofree char *name
              = g_strdup_printf ("%stext_model.encoder.layers.%u.%s", from, layer, tensors[i].parts[p]);
          entry_add_part (e, name);
        }
      e->shape.d[0] *= e->n_parts;
      g_ptr_array_add (w->entries, e);
    }
}

static void
add_simple (Writer *w, char *name, const SumiShape *shape, const char *part)
{
  Entry *e = entry_new (name, shape);

  entry_add_part (e, part);
  g_ptr_array_add (w->entries, e);
}

/* name: without the component. */
static void
add_text (Writer *w, guint which, const char *name, const SumiNode *node)
{
  const char *from = which == 0 ? "text_encoder." : "text_encoder_2.", *end;
  gboolean open_clip;
  const char *place = text_place (w->spec, which, &open_clip);

  if (!open_clip)
    add_simple (w, g_strconcat (place, name, NULL), &node->shape, node->name);
  else if ((end = open_clip_end (name)) != NULL)
    {
      add_simple (w, g_strconcat (place, end, NULL), &node->shape, node->name);
      ((Entry *)g_ptr_array_index (w->entries, w->entries->len - 1))->transposed = strcmp (end, "text_projection") == 0;
    }
  else if (g_str_has_suffix (name, ".layer_norm1.weight")) /* once a layer */
    add_open_clip_layer (w, place, from, (guint)g_ascii_strtoull (strstr (name, "layers.") + 7, NULL, 10),
                         node->shape.d[0]);
}

static void
add_ldm (Writer *w, const SumiNode *node)
{
  const char *name = strchr (node->name, '.') + 1;
  g_autofree char *ldm = NULL;
  SumiShape shape = node->shape;

  if (g_str_has_prefix (node->name, "unet."))
    {
      ldm = sumi_names_unet_to_ldm (&w->config.unet, name);
      add_simple (w, g_strconcat ("model.diffusion_model.", ldm, NULL), &shape, node->name);
    }
  else if (g_str_has_prefix (node->name, "vae."))
    {
      ldm = sumi_names_vae_to_ldm (w->config.vae.n_levels, name);
      if (strstr (ldm, ".attn_1.") != NULL && shape.rank == 2)
        shape = SUMI_SHAPE (shape.d[0], shape.d[1], 1, 1);
      add_simple (w, g_strconcat ("first_stage_model.", ldm, NULL), &shape, node->name);
    }
  else
    add_text (w, g_str_has_prefix (node->name, "text_encoder_2.") ? 1 : 0, name, node);
}

/* SD 2's files have a last layer that nothing uses. */
static void
add_unused (Writer *w)
{
  gboolean open_clip;
  const char *place = text_place (w->spec, 0, &open_clip);
  const SumiTextConfig *t = &w->config.text;

  if (w->config.family == SUMI_FAMILY_SD2)
    {
      add_open_clip_layer (w, place, "text_encoder.", t->num_hidden_layers, t->hidden_size);
      add_simple (w, g_strconcat (place, "text_projection", NULL), &SUMI_SHAPE (t->hidden_size, t->hidden_size),
                  "unused");
      add_simple (w, g_strconcat (place, "logit_scale", NULL), &SUMI_SCALAR, "unused");
    }
  if (sumi_model_is_stable_diffusion (&w->config) && w->config.text_2.hidden_size == 0)
    {
      add_simple (w, g_strdup ("alphas_cumprod"), &SUMI_SHAPE (1000), "unused");
      add_simple (w, g_strdup ("model_ema.decay"), &SUMI_SCALAR, "unused");
    }
}

static gboolean
write_ldm (Writer *w, const char *path, GError **error)
{
  g_autofree char *json = NULL, *sidecar = NULL;

  for (guint i = 0; i < w->module->params->len; i++)
    add_ldm (w, g_array_index (w->module->params, SumiModuleParam, i).node);
  add_unused (w);
  if (!write_file (path, w->entries, w->model, w->config.prediction == SUMI_PREDICT_V, error))
    return FALSE;
  if (strcmp (w->spec->size, "tiny") != 0)
    return TRUE;
  json = random_spec_sidecar (w->spec);
  sidecar = g_strdup_printf ("%.*s.json", (int)(strlen (path) - strlen (".safetensors")), path);
  return g_file_set_contents (sidecar, json, -1, error);
}

/* ---- a folder ---- */

static gboolean
write_text_file (const char *folder, const char *part, const char *name, const char *text, GError **error)
{
  g_autofree char *dir = g_build_filename (folder, part, NULL), *path = g_build_filename (dir, name, NULL);

  g_mkdir_with_parents (dir, 0777);
  return g_file_set_contents (path, text, -1, error);
}

static gboolean
write_component (Writer *w, const char *folder, const char *part, const char *config, GError **error)
{
  const gboolean text = g_str_has_prefix (part, "text_encoder");
  g_autofree char *prefix = g_strconcat (part, ".", NULL);
  g_autofree char *path
      = g_build_filename (folder, part, text ? "model.safetensors" : "diffusion_pytorch_model.safetensors", NULL);

  if (!write_text_file (folder, part, "config.json", config, error))
    return FALSE;
  g_ptr_array_set_size (w->entries, 0);
  for (guint i = 0; i < w->module->params->len; i++)
    {
      const SumiNode *node = g_array_index (w->module->params, SumiModuleParam, i).node;

      if (g_str_has_prefix (node->name, prefix))
        add_simple (w, g_strdup (node->name + strlen (prefix)), &node->shape, node->name);
    }
  return write_file (path, w->entries, w->model, w->config.prediction == SUMI_PREDICT_V, error);
}

static const char *
pipeline_class (const RandomSpec *s)
{
  static const char *const classes[][2] = { { "inpaint", "StableDiffusionInpaintPipeline" },
                                            { "pix2pix", "StableDiffusionInstructPix2PixPipeline" },
                                            { "lcm", "LatentConsistencyModelPipeline" },
                                            { "sdxl", "StableDiffusionXLPipeline" },
                                            { "sdxl-refiner", "StableDiffusionXLImg2ImgPipeline" } };

  for (guint i = 0; i < G_N_ELEMENTS (classes); i++)
    if (strcmp (s->name, classes[i][0]) == 0)
      return classes[i][1];
  return "StableDiffusionPipeline";
}

static gboolean
write_folder (Writer *w, const char *path, GError **error)
{
  const RandomSpec *s = w->spec;
  g_autofree char *unet = random_spec_unet (s), *vae = random_spec_vae (s);
  g_autoptr (GString) index = g_string_new (NULL);

  g_string_printf (index,
                   "{\"_class_name\":\"%s\",\"scheduler\":[\"diffusers\",\"EulerDiscreteScheduler\"],"
                   "\"unet\":[\"diffusers\",\"UNet2DConditionModel\"],\"vae\":[\"diffusers\",\"AutoencoderKL\"]",
                   pipeline_class (s));
  for (guint i = 0; i < 2; i++)
    if (s->text[i].width > 0)
      {
        g_autofree char *config = random_spec_text (&s->text[i]);
        const char *part = i == 0 ? "text_encoder" : "text_encoder_2";

        g_string_append_printf (index, ",\"%s\":[\"transformers\",\"CLIPTextModel%s\"]", part,
                                s->text[i].projection > 0 ? "WithProjection" : "");
        if (!write_component (w, path, part, config, error))
          return FALSE;
      }
  g_string_append_c (index, '}');
  return write_text_file (path, "", "model_index.json", index->str, error)
         && write_text_file (path, "scheduler", "scheduler_config.json", s->scheduler, error)
         && write_component (w, path, "unet", unet, error) && write_component (w, path, "vae", vae, error);
}

/* ---- */

JsonObject *
random_model_config (const char *name, const char *size, GError **error)
{
  const RandomSpec *s = random_spec_find (name, size, error);

  return s != NULL ? random_spec_config (s) : NULL;
}

gboolean
random_model_write (const RandomModel *m, const char *path, GError **error)
{
  g_autoptr (SumiGraph) graph = sumi_graph_new ();
  g_autoptr (SumiModule) module = sumi_module_new (graph);
  g_autoptr (GPtrArray) entries = g_ptr_array_new_with_free_func ((GDestroyNotify)entry_free);
  g_autoptr (JsonObject) json = NULL;
  Writer w = { .model = m, .entries = entries, .module = module };

  if ((w.spec = random_spec_find (m->name, m->size, error)) == NULL)
    return FALSE;
  json = random_spec_config (w.spec);
  if (!sumi_model_config_parse (json, &w.config, error))
    return FALSE;
  sumi_model_declare (module, &w.config);
  if (!sumi_graph_check (graph, error))
    return FALSE;
  return m->ldm ? write_ldm (&w, path, error) : write_folder (&w, path, error);
}
