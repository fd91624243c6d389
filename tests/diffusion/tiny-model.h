/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A sumi-latent model of 16x16 pixels with random weights, small enough for the naive engine. It draws nothing that
 * looks like anything, but does everything that a real one does. */
#pragma once

#include <json-glib/json-glib.h>

#include "tensor/tensor-map.h"

/* With metadata "sumi.config". It knows the words of "a red apple fox on white".  Ends the test on failure. */
SumiTensorMap *tiny_model_new (const char *merges);
JsonObject *tiny_model_config (void);
