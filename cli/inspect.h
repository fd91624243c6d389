/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of `sumi inspect` share. */
#pragma once

#include <json-glib/json-glib.h>

#include "models/inspect-adapter.h"

G_BEGIN_DECLS

/* One line of bounded length, whatever a file holds. Free with g_free. */
char *inspect_shown (const char *text);
/* The count and the first of them; nothing where there are none. */
void inspect_print_names (const char *title, const GPtrArray *names);
void inspect_add_names (JsonBuilder *b, const char *member, const GPtrArray *names);

/* ---- adapters and embeddings (inspect-adapter.c) ---- */
void inspect_print_adapter (const SumiAdapterReport *r);
void inspect_add_adapter (JsonBuilder *b, const SumiAdapterReport *r);

G_END_DECLS
