/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names and shapes of a checkpoint: which family they are taken for, and what parameters they become.
 * A line is NAME and its dimensions; one that begins with a brace is what lies beside the file. */
#include "fuzz.h"

#include <string.h>

#include "diffusion/model.h"
#include "io/json.h"
#include "models/canonical.h"
#include "models/detect.h"

#define MAX_VALUES (1 << 20)

const char *fuzz_outcome;

const char *const fuzz_tokens[] = { "model.diffusion_model.",
                                    "input_blocks.",
                                    "output_blocks.",
                                    "middle_block.1.",
                                    "transformer_blocks.0.",
                                    "first_stage_model.",
                                    "cond_stage_model.transformer.",
                                    "cond_stage_model.model.",
                                    "conditioner.embedders.1.model.",
                                    "transformer.resblocks.",
                                    "attn.in_proj_weight",
                                    "text_projection",
                                    "label_emb.0.0.weight",
                                    ".weight",
                                    " 0",
                                    " 1 1",
                                    "\n",
                                    NULL };

void
fuzz_repair (GByteArray *input)
{
}

/* Zeros of that shape; NULL when it is none, or too large. */
static SumiTensor *
zeros (GBytes *memory, char **numbers)
{
  SumiShape shape = SUMI_SCALAR;
  g_autoptr (GBytes) bytes = NULL;

  for (; *numbers != NULL; numbers++)
    {
      guint64 n;

      if (shape.rank == SUMI_MAX_RANK || !g_ascii_string_to_unsigned (*numbers, 10, 0, MAX_VALUES, &n, NULL))
        return NULL;
      shape.d[shape.rank++] = (gint64)n;
      if (sumi_shape_numel (&shape) > MAX_VALUES)
        return NULL;
    }
  bytes = g_bytes_new_from_bytes (memory, 0, (gsize)sumi_shape_numel (&shape) * 2);
  return sumi_tensor_new_bytes (SUMI_F16, &shape, bytes, NULL);
}

static SumiTensorMap *
read_lines (char **lines, JsonObject **known)
{
  static guint16 values[MAX_VALUES];
  g_autoptr (GBytes) memory = g_bytes_new_static (values, sizeof values);
  SumiTensorMap *map = sumi_tensor_map_new ();

  for (; *lines != NULL; lines++)
    {
      g_auto (GStrv) words = g_strsplit (*lines, " ", -1);
      SumiTensor *t;

      if (**lines == '{' && *known == NULL)
        *known = sumi_json_parse (*lines, strlen (*lines), "known", NULL);
      else if (words[0] != NULL && (t = zeros (memory, words + 1)) != NULL)
        sumi_tensor_map_take (map, words[0], t);
    }
  return map;
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  g_autoptr (JsonObject) known = NULL, config = NULL;
  g_autoptr (SumiTensorMap) map = read_lines (lines, &known), weights = NULL;
  g_autoptr (SumiComponents) parts = sumi_components_new (map);
  g_autoptr (GError) error = NULL;
  SumiModelConfig parsed;

  config = sumi_model_detect (map, parts, "a-4step-turbo_v_pred", known, &error);
  if (config != NULL && sumi_model_config_parse (config, &parsed, &error))
    weights = sumi_canonical_from_components (parts, map, &parsed, &error);
  g_assert_true ((weights == NULL) == (error != NULL));
  fuzz_outcome = error == NULL ? "ok" : sumi_error_class (error);
  return 0;
}
