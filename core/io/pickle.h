/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A restricted unpickler: it builds values of its own and runs nothing.
 *
 * Python's pickle is a program for a stack machine that may call anything by name.  This machine knows the instructions
 * and the few names that torch.save needs for tensors in dictionaries and lists; any other is unsafe_pickle, told by
 * its name, before anything is built from it.  Calls are not made either: what the known ones mean is written in
 * pickle-classes.c. */
#pragma once

#include "tensor/tensor.h"

G_BEGIN_DECLS

/* Bounds on what a pickle can make us use. A full training checkpoint of Stable Diffusion stays far below. */
#define SUMI_PICKLE_MAX_SIZE (16 << 20)
#define SUMI_PICKLE_MAX_VALUES (1 << 19)
#define SUMI_PICKLE_MAX_STEPS (1 << 22)

typedef enum
{
  SUMI_PICKLE_NONE,
  SUMI_PICKLE_BOOL, /* integer */
  SUMI_PICKLE_INT,  /* integer */
  SUMI_PICKLE_FLOAT,
  SUMI_PICKLE_STRING, /* UTF-8 without zeros */
  SUMI_PICKLE_BYTES,
  SUMI_PICKLE_TUPLE,
  SUMI_PICKLE_LIST,
  SUMI_PICKLE_DICT,
  SUMI_PICKLE_CLASS,
  SUMI_PICKLE_STORAGE,
  SUMI_PICKLE_TENSOR,
  SUMI_PICKLE_OTHER /* something known to be of no use, such as a numpy scalar or a string with zeros */
} SumiPickleKind;

typedef struct _SumiPickle SumiPickle;
typedef struct _SumiPickleValue SumiPickleValue;
typedef struct _SumiPickleClass SumiPickleClass; /* pickle-classes.h */

/* Strides and offset in elements, checked for nothing yet but their number. */
typedef struct
{
  const SumiPickleValue *storage;
  SumiDType dtype;
  gint64 offset;
  SumiShape shape, stride;
} SumiPickleTensor;

struct _SumiPickleValue
{
  SumiPickleKind kind;
  gboolean is_module; /* a DICT made as torch's ParameterDict */
  union
  {
    gint64 integer;
    double real;
    struct
    {
      const char *data; /* within the pickle, not ended by zero */
      gsize length;
    } text;           /* STRING, BYTES */
    GPtrArray *items; /* TUPLE, LIST; DICT: key, value, key, value…; NULL when empty */
    const SumiPickleClass *class;
    struct
    {
      const SumiPickleValue *key; /* STRING: the entry "data/KEY" of the archive */
      SumiDType dtype;
      gint64 numel;
    } storage;
    SumiPickleTensor *tensor;
  };
};

/* `data` must outlive the result. unsafe_pickle, truncated, bad_header, too_large, unsupported_dtype. */
SumiPickle            *sumi_pickle_load (const guint8 *data, gsize size, GError **error);
void                   sumi_pickle_free (SumiPickle *p);
const SumiPickleValue *sumi_pickle_get_root (const SumiPickle *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiPickle, sumi_pickle_free)

/* For pickle-classes.c: a new value, freed with the pickle; NULL when there are too many. */
SumiPickleValue       *sumi_pickle_new_value (SumiPickle *p, SumiPickleKind kind, GError **error);
guint                  sumi_pickle_get_n_items (const SumiPickleValue *v);
SumiPickleValue       *sumi_pickle_get_item (const SumiPickleValue *v, guint i);
gboolean               sumi_pickle_is_string (const SumiPickleValue *v, const char *text);
const char            *sumi_pickle_kind_name (SumiPickleKind kind);

G_END_DECLS
