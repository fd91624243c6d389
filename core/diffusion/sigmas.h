/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lists of noise levels as k-diffusion and A1111 make them, and sigma between the training timesteps. */
#pragma once

#include "diffusion/schedule.h"

G_BEGIN_DECLS

/* Names, NULL-terminated: karras exponential polyexponential normal sgm_uniform simple ddim_uniform beta kl_optimal
 * align_your_steps gits; titles ("SGM Uniform"); others' spellings, NULL when unknown. Static. */
const char *const *sumi_sigmas_list (void);
const char *sumi_sigmas_title (const char *name);
const char *sumi_sigmas_from_title (const char *title);

/* sigma of every training timestep, ascending: T values.  A last one that would be infinite (zero-terminal SNR) comes
 * from `terminal_alpha` instead. Free with g_free. */
double *sumi_sigmas_of_schedule (const SumiSchedule *s, double terminal_alpha);
/* Between training timesteps: linear in log sigma, as k-diffusion. Outside: the nearest end. */
double sumi_sigmas_to_timestep (const double *table, guint T, double sigma);
double sumi_sigmas_from_timestep (const double *table, guint T, double timestep);

/* The x below which a beta distribution (a, b > 0) has the part p, 0 to 1. */
double sumi_sigmas_beta_quantile (double p, double a, double b);

/* n sigmas from max down to min, evenly in the 7th root (Karras et al. 2022, eq. 5). */
void sumi_sigmas_karras (double max, double min, guint n, double *out);

/* n sigmas of the named list, strictly descending, all positive: out has n places.  usage for another name, or an n the
 * list cannot have. */
gboolean sumi_sigmas_fill (const char *name, const double *table, guint T, gboolean sdxl, guint n, double *out,
                           GError **error);

G_END_DECLS
