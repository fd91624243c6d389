/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The table of settings and what reads it. */
#include "train/options.h"

#include <math.h>
#include <string.h>

#define AT(member) G_STRUCT_OFFSET (SumiTrainOptions, member)
#define COUNT(name, member, min, max, help)                                                                            \
  {                                                                                                                    \
    name, SUMI_FIELD_COUNT, AT (member), min, max, NULL, NULL, help                                                    \
  }
#define NUMBER(name, member, min, max, help)                                                                           \
  {                                                                                                                    \
    name, SUMI_FIELD_NUMBER, AT (member), min, max, NULL, NULL, help                                                   \
  }
#define SWITCH(name, member, off, on, help)                                                                            \
  {                                                                                                                    \
    name, SUMI_FIELD_SWITCH, AT (member), 0, 1, off, on, help                                                          \
  }
#define MANY 1e15

static const SumiTrainField fields[] = {
  COUNT ("steps", steps, 1, MANY, "Updates of the weights"),
  COUNT ("batch", batch, 1, 4096, "Samples of one run"),
  COUNT ("accumulate", accumulate, 1, 4096, "Runs whose gradients one update averages"),
  NUMBER ("lr", lr, 0, 10, "Learning rate"),
  NUMBER ("lr-end", lr_end, 0, 10, "Learning rate at the end of its cosine"),
  COUNT ("warmup", warmup, 0, MANY, "Steps until the learning rate is reached"),
  NUMBER ("beta1", beta1, 0, 0.999999, "AdamW's decay of the mean gradient"),
  NUMBER ("beta2", beta2, 0, 0.999999, "AdamW's decay of the mean squared gradient"),
  NUMBER ("weight-decay", weight_decay, 0, 10, "AdamW's weight decay (not on biases and norms)"),
  NUMBER ("grad-clip", grad_clip, 0, MANY, "Largest gradient norm, 0: any"),
  NUMBER ("ema", ema, 0, 0.999999, "Decay of the averaged weights that are saved, 0: none"),
  NUMBER ("min-snr", min_snr, 0, 1e6, "Gamma of min-SNR weighting, 0: none"),
  NUMBER ("caption-dropout", caption_dropout, 0, 1, "Share of samples without their caption"),
  NUMBER ("word-dropout", word_dropout, 0, 1, "Share of caption tokens made unknown"),
  SWITCH ("flip", flip, "no", "yes", "Mirror half of the samples"),
  COUNT ("seed", seed, 0, 18446744073709551615.0, "Seed of everything that is drawn"),
  COUNT ("threads", threads, 0, 4096, "Threads, 0: all cores"),
  SWITCH ("dtype", bf16, "f32", "bf16", "Numbers in the engine"),
  SWITCH ("save-dtype", save_f16, "f32", "f16", "Numbers in the model file"),
  COUNT ("save-every", save_every, 0, MANY, "Steps between checkpoints, 0: by time only"),
  NUMBER ("save-minutes", save_minutes, 0, 1e6, "Minutes between checkpoints, 0: by steps only"),
  COUNT ("sample-every", sample_every, 0, MANY, "Steps between sample grids, 0: none"),
};

const SumiTrainField *
sumi_train_fields (guint *n)
{
  *n = G_N_ELEMENTS (fields);
  return fields;
}

void
sumi_train_options_init (SumiTrainOptions *o, const SumiModelConfig *config)
{
  gboolean latent = config->family == SUMI_FAMILY_LATENT;

  *o = (SumiTrainOptions){
    .steps = 10000,
    .batch = 64,
    .accumulate = 1,
    .lr = latent ? 6e-4 : 1e-3,
    .warmup = 100,
    .beta1 = 0.9,
    .beta2 = 0.999,
    .weight_decay = 0.01,
    .grad_clip = 1,
    .ema = 0.999,
    .caption_dropout = 0.1,
    .word_dropout = 0.02,
    .save_f16 = latent,
    .save_every = 500,
    .save_minutes = 5,
  };
}

static gboolean
refuse (const SumiTrainField *f, const char *text, GError **error)
{
  if (f->kind == SUMI_FIELD_SWITCH)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "--%s: found '%s', expected %s or %s", f->name, text, f->off,
                 f->on);
  else
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "--%s: found '%s', expected a %snumber from %g to %g", f->name,
                 text, f->kind == SUMI_FIELD_COUNT ? "whole " : "", f->min, f->max);
  return FALSE;
}

gboolean
sumi_train_options_set (SumiTrainOptions *o, const SumiTrainField *f, const char *text, GError **error)
{
  void *place = G_STRUCT_MEMBER_P (o, f->offset);
  gboolean on = f->on != NULL && strcmp (text, f->on) == 0;
  guint64 count;
  double number;
  char *end;

  switch (f->kind)
    {
    case SUMI_FIELD_COUNT:
      if (!g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT64, &count, NULL) || (double)count < f->min
          || (double)count > f->max)
        return refuse (f, text, error);
      *(guint64 *)place = count;
      return TRUE;
    case SUMI_FIELD_NUMBER:
      number = g_ascii_strtod (text, &end);
      if (end == text || *end != '\0' || !(number >= f->min && number <= f->max)) /* also NaN */
        return refuse (f, text, error);
      *(double *)place = number;
      return TRUE;
    default:
      if (!on && strcmp (text, f->off) != 0)
        return refuse (f, text, error);
      *(gboolean *)place = on;
      return TRUE;
    }
}

char *
sumi_train_options_get (const SumiTrainOptions *o, const SumiTrainField *f)
{
  const void *place = (const char *)o + f->offset;
  char text[G_ASCII_DTOSTR_BUF_SIZE];

  switch (f->kind)
    {
    case SUMI_FIELD_COUNT:
      return g_strdup_printf ("%" G_GUINT64_FORMAT, *(const guint64 *)place);
    case SUMI_FIELD_NUMBER: /* 17 digits: read back it is the same number */
      return g_strdup (g_ascii_dtostr (text, sizeof text, *(const double *)place));
    default:
      return g_strdup (*(const gboolean *)place ? f->on : f->off);
    }
}

JsonObject *
sumi_train_options_to_json (const SumiTrainOptions *o)
{
  JsonObject *json = json_object_new ();

  for (guint i = 0; i < G_N_ELEMENTS (fields); i++)
    {
      g_autofree char *text = sumi_train_options_get (o, &fields[i]);
      json_object_set_string_member (json, fields[i].name, text);
    }
  return json;
}

gboolean
sumi_train_options_from_json (SumiTrainOptions *o, JsonObject *json, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (fields); i++)
    {
      JsonNode *node = json_object_get_member (json, fields[i].name);
      const char *text = node != NULL && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;

      if (text != NULL && !sumi_train_options_set (o, &fields[i], text, error))
        return FALSE;
    }
  return TRUE;
}

double
sumi_train_learning_rate (const SumiTrainOptions *o, guint64 step)
{
  double u;

  if (step < o->warmup)
    return o->lr * (double)(step + 1) / (double)o->warmup;
  if (step >= o->steps)
    return o->lr_end;
  u = (double)(step - o->warmup) / (double)(o->steps - o->warmup);
  return o->lr_end + (o->lr - o->lr_end) * 0.5 * (1 + cos (G_PI * u));
}
