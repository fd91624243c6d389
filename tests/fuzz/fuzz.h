/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A fuzz target is the function libFuzzer calls, plus what helps to get past its first check.  tests/fuzz/driver.c runs
 * it over a corpus and over mutations of it, always the same ones, as an ordinary test; with clang, the target alone
 * and -fsanitize=fuzzer search for more. */
#pragma once

#include <glib.h>

/* Never crashes, whatever the bytes; 0. */
int LLVMFuzzerTestOneInput (const guint8 *data, gsize size);

/* What the driver puts into inputs; NULL-terminated. */
extern const char *const fuzz_tokens[];
/* Repairs what a mutation nearly always breaks (a length, a checksum). */
void fuzz_repair (GByteArray *input);
/* What became of the last input ("ok", or an error's class): the driver wants to see several. */
extern const char *fuzz_outcome;
