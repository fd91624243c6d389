/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One run from arguments to a picture, waited for without a window. */
#pragma once

#include "base/protocol.h"

G_BEGIN_DECLS

typedef struct
{
  SumiResultInfo info;
  GBytes *pixels; /* NULL: there is no picture */
} SumiPicture;

void sumi_picture_clear (SumiPicture *p);
void sumi_picture_set (SumiPicture *p, const SumiResultInfo *info, GBytes *pixels);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SumiPicture, sumi_picture_clear)

/* What a phase is called, and how far the whole is: 0..1, or -1 where nobody can say. */
const char *sumi_phase_text (const char *phase);
double sumi_phase_fraction (const char *phase, guint step, guint n_steps);

/* Shows GIMP's progress meanwhile.  `picture` holds nothing before. */
gboolean sumi_generate (const SumiRunArgs *args, SumiPicture *picture, GError **error);

/* The error as a sentence for a user, with what can be done about it. */
char *sumi_explain (const GError *error);

G_END_DECLS
