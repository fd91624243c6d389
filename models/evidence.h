/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a configuration tells people about itself. */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* One more line of "evidence". */
void sumi_evidence_add (JsonObject *config, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* "ignored": the names of tensors that nothing is drawn from; none: no such member. names: char*. */
void sumi_evidence_set_ignored (JsonObject *config, const GPtrArray *names);

G_END_DECLS
