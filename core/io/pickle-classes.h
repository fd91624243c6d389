/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The names a pickle may use, and what calling them means. */
#pragma once

#include "io/pickle.h"

G_BEGIN_DECLS

/* NULL and unsafe_pickle for a name that is not on the list. */
const SumiPickleClass *sumi_pickle_find_class (const char *module, gsize n_module, const char *name, gsize n_name,
                                               GError **error);
const char            *sumi_pickle_class_get_name (const SumiPickleClass *class);

/* What a call of the class with a tuple of arguments gives; unsafe_pickle, bad_header, unsupported_dtype. */
SumiPickleValue *sumi_pickle_call (SumiPickle *p, const SumiPickleClass *class, const SumiPickleValue *args,
                                   GError **error);
/* Sets the state of an object that a call made. */
gboolean         sumi_pickle_set_state (SumiPickleValue *object, const SumiPickleValue *state, GError **error);
/* ("storage", class, key, location, numel) */
SumiPickleValue *sumi_pickle_find_persistent (SumiPickle *p, const SumiPickleValue *id, GError **error);

G_END_DECLS
