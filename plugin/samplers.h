/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The samplers and noise schedules a user may choose, with a word of advice each. */
#pragma once

#include <libgimp/gimp.h>

G_BEGIN_DECLS

/* Names are the core's (sumi_sampler_list, sumi_sigmas_list); a test keeps the lists equal. Transfer full. */
GimpChoice *sumi_sampler_choice_new (void);
GimpChoice *sumi_schedule_choice_new (void); /* and first "automatic" */

G_END_DECLS
