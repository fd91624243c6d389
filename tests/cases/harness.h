/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Running graphs in tests: values for leaves, plans that must succeed, comparison of what two plans gave. */
#pragma once

#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct
{
  double rel, rms; /* passes: |found - expected| <= rel |expected| + rms sqrt (n), Euclidean norms */
} SumiTolerance;

/* NULL, and the test marked as skipped, when this build has no such engine. */
SumiEngine *sumi_test_open_or_skip (const char *engine);

/* Whether the engine computes in this dtype on this processor. */
gboolean sumi_test_has_dtype (SumiEngine *e, SumiDType dtype);

/* Always the same numbers for the same key and leaf.  The leaf's name says what they are like: "positive.…" within 0.5
 * and 2, "time.…" whole ones below 1000, "ids-ROWS.…" whole numbers below ROWS, all others normal.  Transfer full. */
SumiTensor *sumi_test_value (const char *key, const SumiNode *leaf);

/* These fail the test at once when something goes wrong. */
void sumi_test_set (SumiPlan *p, const char *name, const SumiTensor *value);
void sumi_test_run (SumiPlan *p);
SumiTensor *sumi_test_get (SumiPlan *p, const char *output);
/* Compiles, sets every leaf and runs. Transfer full. */
SumiPlan *sumi_test_run_graph (SumiEngine *e, SumiGraph *g, const char *key, const SumiCompileOptions *options);

/* Each output of the graph; marks the test as failed, with a message for each one. */
void sumi_test_compare (const SumiGraph *g, SumiPlan *expected, SumiPlan *found, SumiTolerance t);
void sumi_test_compare_bits (const SumiGraph *g, SumiPlan *expected, SumiPlan *found, const char *when);

G_END_DECLS
