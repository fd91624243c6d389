/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A problem that is solved exactly: four numbers of data ~ N (mu, s2), whose best denoiser is known in closed form. */
#pragma once

#include "diffusion/sampler.h"

#include <json-glib/json-glib.h>

#define TOY_MU 0.3
#define TOY_S2 0.25
#define TOY_N 4

/* Stable Diffusion's; T other than 1000 has the same ends in finer steps. */
SumiSchedule *toy_schedule (guint T);
SumiSampler *toy_sampler (const char *name, const SumiSamplerOptions *o); /* must succeed */
/* What a perfect model says to what sumi_sampler_model_input gives it, at this sigma. */
void toy_model (const SumiSamplerOptions *o, double sigma, const float *input, float *output);
/* One call with a perfect model. */
void toy_call (SumiSampler *s, const SumiSamplerOptions *o, guint call, float *x, const float *noise);
/* All calls from `first` on; noise: TOY_N values for every draw, in order; NULL: zeros.  Returns the number of draws.
 */
guint toy_walk (SumiSampler *s, const SumiSamplerOptions *o, guint first, float *x, const float *noise);
/* The probability flow of Gaussian data keeps the quantile: where x at this sigma (k-diffusion's view) ends. */
double toy_end (double sigma, double x);

/* A table of the reference data; NULL without SUMI_GOLDEN. Borrowed from the parser. */
JsonObject *toy_table (const char *name, JsonParser *parser);
/* Numbers, also of nested arrays, one after the other. Free with g_free. */
float *toy_numbers (JsonObject *object, const char *member, guint *n);
