/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A model's configuration: JSON, then the families' fields, then the networks made of them. */
#include "fuzz.h"

#include "diffusion/model.h"
#include "io/json.h"
#include "models/model-report.h"

const char *fuzz_outcome;

const char *const fuzz_tokens[] = { "\"family\":\"ddpm\",",
                                    "\"sumi-latent\"",
                                    "null",
                                    "true",
                                    "1e308",
                                    "-1",
                                    "0",
                                    "9223372036854775807",
                                    "16384",
                                    "4096",
                                    "[",
                                    "]",
                                    "{",
                                    "}",
                                    ",",
                                    "\"",
                                    "\xff",
                                    NULL };

void
fuzz_repair (GByteArray *input)
{
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) json = sumi_json_parse ((const char *)data, size, "config", &error);
  g_autoptr (SumiTensorMap) none = sumi_tensor_map_new ();
  g_autoptr (SumiModelReport) report = NULL;
  SumiModelConfig config;

  if (json != NULL && sumi_model_config_parse (json, &config, &error))
    report = sumi_model_report_new (none, &config, &error);
  g_assert_true ((report == NULL) == (error != NULL));
  fuzz_outcome = error == NULL ? "ok" : sumi_error_class (error);
  return 0;
}
