/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `sumi bench` measures: this machine's peaks, and cases against them. */
#pragma once

#include "engine/engine.h"

G_BEGIN_DECLS

/* Of all threads together; 0 where the machine has no such instructions. */
typedef struct
{
  double f32, bf16; /* multiply-adds x 2 from registers alone, per second */
  double bandwidth; /* bytes read and written per second by a copy of what no cache holds */
} SumiBenchPeaks;

SumiBenchPeaks sumi_bench_peaks (guint threads); /* bench-peaks.c; takes about three seconds */

typedef struct
{
  const char *name;
  const char *what;
  SumiDType dtype;
  SumiGraph *(*build) (void);
  guint pictures; /* of one run, for cases that are told in pictures per second; they take a training step */
  gboolean large; /* takes gigabytes: measured when it is named */
} SumiBenchCase;

/* bench-cases.c */
const SumiBenchCase *sumi_bench_cases (guint *n);
/* Seconds of each of some runs (at least three, and about two seconds' worth), after one that is not counted. */
GArray *sumi_bench_case_run (const SumiBenchCase *c, guint threads, GCancellable *cancellable, guint64 *flops,
                             GError **error);

G_END_DECLS
