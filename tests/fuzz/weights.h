/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What every reader of weights promises of its result. */
#pragma once

#include "tensor/tensor-map.h"

/* Checks the map, or the error in its place, reads all values, and says "ok" or the class of the error. */
const char *fuzz_check_weights (SumiTensorMap *map, const GError *error);
