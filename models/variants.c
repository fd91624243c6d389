/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/variants.h"

#include <math.h>
#include <string.h>

#include "models/evidence.h"
#include "models/shapes.h"

/* ---- words of a name ---- */

/* The words and numbers of a file's name in lower case, with '|' around each: "|some|model|xl|lightning|4|step|". */
static char *
words_of (const char *name)
{
  GString *s = g_string_new ("|");

  for (const char *c = name; *c != '\0'; c++)
    {
      gboolean starts = c > name
                        && ((g_ascii_isupper (*c) && g_ascii_islower (c[-1]))
                            || (g_ascii_isalnum (c[-1]) && g_ascii_isdigit (*c) != g_ascii_isdigit (c[-1])));

      if ((starts || !g_ascii_isalnum (*c)) && s->str[s->len - 1] != '|')
        g_string_append_c (s, '|');
      if (g_ascii_isalnum (*c))
        g_string_append_c (s, g_ascii_tolower (*c));
    }
  if (s->str[s->len - 1] != '|')
    g_string_append_c (s, '|');
  return g_string_free (s, FALSE);
}

static gboolean
has_word (const char *words, const char *word)
{
  g_autofree char *whole = g_strdup_printf ("|%s|", word);

  return strstr (words, whole) != NULL;
}

/* The number before "step" or "steps"; 0: none. */
static guint
steps_of (const char *words)
{
  for (const char *at = strstr (words, "|step"); at != NULL; at = strstr (at + 1, "|step"))
    {
      const char *digit = at;
      guint64 n;

      while (digit > words && g_ascii_isdigit (digit[-1]))
        digit--;
      n = g_ascii_strtoull (digit, NULL, 10);
      if (n >= 1 && n <= 64)
        return (guint)n;
    }
  return 0;
}

/* ---- prediction ---- */

static JsonObject *
scheduler_of (JsonObject *config)
{
  JsonNode *node = json_object_get_member (config, "scheduler");

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

/* Published v-predicting models of SD 2 (768 pixels) have a wide last self-attention norm: a standard deviation above
 * 0.09 where the others stay below (ComfyUI, model_base detection of SD 2). 0: there is no such tensor. */
static double
bias_deviation (const SumiTensorMap *unet)
{
  SumiTensor *t = sumi_tensor_map_peek (unet, "output_blocks.11.1.transformer_blocks.0.norm1.bias");
  const gsize n = t != NULL ? (gsize)sumi_tensor_get_numel (t) : 0;
  g_autofree float *values = n > 0 && n <= 65536 ? g_new (float, n) : NULL;
  double sum = 0, squares = 0;

  if (values == NULL)
    return 0;
  sumi_tensor_to_f32 (t, values);
  for (gsize i = 0; i < n; i++)
    sum += values[i];
  for (gsize i = 0; i < n; i++)
    squares += (values[i] - sum / n) * (values[i] - sum / n);
  return sqrt (squares / n);
}

static gboolean
says_v (const char *text)
{
  return g_ascii_strcasecmp (text, "v") == 0 || g_ascii_strcasecmp (text, "v_prediction") == 0
         || g_ascii_strcasecmp (text, "v-prediction") == 0;
}

/* The prediction and how it is known. */
static const char *
find_prediction (JsonObject *config, const SumiTensorMap *file, const SumiTensorMap *unet, const char *words,
                 char **evidence)
{
  const char *text = sumi_tensor_map_get_metadata (file, "modelspec.prediction_type");
  const char *family = json_object_get_string_member_with_default (config, "family", "");
  double deviation;

  if (sumi_tensor_map_peek (file, "v_pred") != NULL)
    {
      *evidence = g_strdup ("v_prediction: the file has a marker tensor 'v_pred'");
      return "v_prediction";
    }
  if (text != NULL)
    {
      *evidence = g_strdup_printf ("%s: metadata modelspec.prediction_type is '%.20s'",
                                   says_v (text) ? "v_prediction" : "epsilon", text);
      return says_v (text) ? "v_prediction" : "epsilon";
    }
  if (unet != NULL && strcmp (family, "sd21") == 0
      && sumi_shapes_dimension (unet, "input_blocks.0.0.weight", 1) == 4 /* inpainting models of SD 2 predict epsilon */
      && (deviation = bias_deviation (unet)) > 0)
    {
      *evidence = g_strdup_printf ("%s: the bias of the last self-attention's norm has a standard deviation of %.3f "
                                   "(above 0.09 in models that predict v)",
                                   deviation > 0.09 ? "v_prediction" : "epsilon", deviation);
      return deviation > 0.09 ? "v_prediction" : "epsilon";
    }
  if (has_word (words, "vpred") || has_word (words, "v|pred") || has_word (words, "v|prediction")
      || has_word (words, "vprediction"))
    {
      *evidence = g_strdup ("v_prediction: the file's name says so");
      return "v_prediction";
    }
  *evidence = g_strdup ("epsilon: nothing says otherwise");
  return "epsilon";
}

void
sumi_variants_prediction (JsonObject *config, const SumiTensorMap *file, const SumiTensorMap *unet, const char *name)
{
  JsonObject *scheduler = scheduler_of (config);
  g_autofree char *words = words_of (name), *evidence = NULL;

  if (scheduler == NULL || json_object_has_member (scheduler, "prediction_type"))
    return;
  json_object_set_string_member (scheduler, "prediction_type", find_prediction (config, file, unet, words, &evidence));
  sumi_evidence_add (config, "%s", evidence);
  if (sumi_tensor_map_peek (file, "ztsnr") == NULL)
    return;
  json_object_set_boolean_member (scheduler, "rescale_betas_zero_snr", TRUE);
  json_object_set_string_member (scheduler, "timestep_spacing", "trailing");
  sumi_evidence_add (config, "zero terminal SNR: the file has a marker tensor 'ztsnr'");
}

/* ---- distilled models ---- */

/* Weights do not show it (a distilled network has the shapes of its teacher), names mostly do.
 * Sauer et al. 2023 (Turbo), Lin et al. 2024 (Lightning), Ren et al. 2024 (Hyper-SD), Luo et al. 2023 (LCM), Yin et
 * al. 2024 (DMD2); samplers and spacings as their authors use them. */
static const struct
{
  const char *word;
  gboolean anywhere; /* also inside of a word */
  const char *sampler, *spacing;
  guint steps;
} distilled[] = {
  { "turbo", TRUE, "euler_a", "trailing", 4 },
  { "lightning", TRUE, "euler", "trailing", 4 },
  { "hyper", FALSE, "ddim", "trailing", 8 },
  { "hypersd", TRUE, "ddim", "trailing", 8 },
  { "lcm", FALSE, "lcm", NULL, 4 },
  { "dmd", FALSE, "lcm", NULL, 4 },
};

/* Stability AI's own Turbo models draw at 512 pixels; what others make of them draws at the family's size. */
static gboolean
is_stability_turbo (const char *words)
{
  return strstr (words, "|sd|turbo|") != NULL || strstr (words, "|sdturbo|") != NULL
         || strstr (words, "|sdxl|turbo|") != NULL || strstr (words, "|sd|xl|turbo|") != NULL;
}

void
sumi_variants_distilled (JsonObject *config, const char *name, gboolean own_scheduler)
{
  g_autofree char *words = words_of (name);
  JsonObject *scheduler = scheduler_of (config), *defaults;

  if (json_object_has_member (config, "defaults"))
    return;
  for (guint i = 0; i < G_N_ELEMENTS (distilled); i++)
    if (distilled[i].anywhere ? strstr (words, distilled[i].word) != NULL : has_word (words, distilled[i].word))
      {
        guint steps = steps_of (words);

        if (steps == 0)
          steps = distilled[i].steps;
        defaults = json_object_new ();
        json_object_set_int_member (defaults, "steps", steps);
        json_object_set_double_member (defaults, "guidance_scale", 1);
        if (!own_scheduler)
          json_object_set_string_member (defaults, "sampler", distilled[i].sampler);
        if (is_stability_turbo (words))
          json_object_set_int_member (defaults, "sample_size", 512);
        json_object_set_object_member (config, "defaults", defaults);
        if (!own_scheduler && scheduler != NULL && distilled[i].spacing != NULL)
          json_object_set_string_member (scheduler, "timestep_spacing", distilled[i].spacing);
        sumi_evidence_add (config, "distilled to few steps: '%s' in its name (%u steps, no guidance)",
                           distilled[i].word, steps);
        return;
      }
}
