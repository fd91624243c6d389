/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/pickle-classes.h"

#include <string.h>

typedef enum
{
  STORAGE,      /* torch.FloatStorage: typed memory */
  DTYPE,        /* torch.float8_e4m3fn */
  TENSOR,       /* a view of a storage */
  TYPED_TENSOR, /* the same of an untyped storage, with a dtype */
  PARAMETER,    /* a tensor that was trained */
  DICTIONARY,
  MODULE, /* a dictionary of parameters that is a module of its own */
  INERT   /* seen in checkpoints, of no use: kept as something that nothing can be done with */
} Meaning;

struct _SumiPickleClass
{
  const char *module, *name;
  Meaning meaning;
  int dtype; /* SumiDType; -1: one that tensors here do not have */
};

static const SumiPickleClass classes[] = {
  { "torch", "FloatStorage", STORAGE, SUMI_F32 },
  { "torch", "DoubleStorage", STORAGE, SUMI_F64 },
  { "torch", "HalfStorage", STORAGE, SUMI_F16 },
  { "torch", "BFloat16Storage", STORAGE, SUMI_BF16 },
  { "torch", "LongStorage", STORAGE, SUMI_I64 },
  { "torch", "IntStorage", STORAGE, SUMI_I32 },
  { "torch", "ShortStorage", STORAGE, SUMI_I16 },
  { "torch", "CharStorage", STORAGE, SUMI_I8 },
  { "torch", "ByteStorage", STORAGE, SUMI_U8 },
  { "torch", "BoolStorage", STORAGE, SUMI_BOOL },
  { "torch", "ComplexFloatStorage", STORAGE, -1 },
  { "torch", "ComplexDoubleStorage", STORAGE, -1 },
  { "torch", "QInt8Storage", STORAGE, -1 },
  { "torch", "QUInt8Storage", STORAGE, -1 },
  { "torch", "QInt32Storage", STORAGE, -1 },
  { "torch", "UntypedStorage", STORAGE, SUMI_U8 },
  { "torch.storage", "UntypedStorage", STORAGE, SUMI_U8 },
  { "torch", "float32", DTYPE, SUMI_F32 },
  { "torch", "float64", DTYPE, SUMI_F64 },
  { "torch", "float16", DTYPE, SUMI_F16 },
  { "torch", "bfloat16", DTYPE, SUMI_BF16 },
  { "torch", "float8_e4m3fn", DTYPE, SUMI_F8_E4M3 },
  { "torch", "float8_e5m2", DTYPE, SUMI_F8_E5M2 },
  { "torch", "int64", DTYPE, SUMI_I64 },
  { "torch", "int32", DTYPE, SUMI_I32 },
  { "torch", "int16", DTYPE, SUMI_I16 },
  { "torch", "int8", DTYPE, SUMI_I8 },
  { "torch", "uint64", DTYPE, SUMI_U64 },
  { "torch", "uint32", DTYPE, SUMI_U32 },
  { "torch", "uint16", DTYPE, SUMI_U16 },
  { "torch", "uint8", DTYPE, SUMI_U8 },
  { "torch", "bool", DTYPE, SUMI_BOOL },
  { "torch._utils", "_rebuild_tensor_v2", TENSOR },
  { "torch._utils", "_rebuild_tensor_v3", TYPED_TENSOR },
  { "torch._utils", "_rebuild_parameter", PARAMETER },
  { "torch._utils", "_rebuild_parameter_with_state", PARAMETER },
  { "collections", "OrderedDict", DICTIONARY },
  { "torch.nn.modules.container", "ParameterDict", MODULE },
  { "__builtin__", "set", INERT },
  { "builtins", "set", INERT },
  { "numpy.core.multiarray", "scalar", INERT },
  { "numpy.core.multiarray", "_reconstruct", INERT },
  { "numpy._core.multiarray", "scalar", INERT },
  { "numpy._core.multiarray", "_reconstruct", INERT },
  { "numpy", "dtype", INERT },
  { "numpy", "ndarray", INERT },
  { "_codecs", "encode", INERT },
  { "torch", "Size", INERT },
  { "torch", "device", INERT },
  { "pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", INERT },
};

static gboolean
equals (const char *text, const char *data, gsize length)
{
  return strlen (text) == length && memcmp (text, data, length) == 0;
}

/* Names come from the file: what would garble a terminal is shown as '?'. */
static char *
printable (const char *data, gsize length)
{
  char *text = g_strndup (data, MIN (length, 64));

  for (char *c = text; *c != '\0'; c++)
    if (!g_ascii_isprint (*c))
      *c = '?';
  return text;
}

const SumiPickleClass *
sumi_pickle_find_class (const char *module, gsize n_module, const char *name, gsize n_name, GError **error)
{
  g_autofree char *shown_module = NULL, *shown_name = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (classes); i++)
    if (equals (classes[i].module, module, n_module) && equals (classes[i].name, name, n_name))
      return &classes[i];
  shown_module = printable (module, n_module);
  shown_name = printable (name, n_name);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PICKLE,
               "pickle: found the name %s.%s, expected only those that tensors need; nothing was run", shown_module,
               shown_name);
  return NULL;
}

const char *
sumi_pickle_class_get_name (const SumiPickleClass *class)
{
  return class->name;
}

/* ---- arguments ---- */

static gboolean
refuse (const SumiPickleClass *class, GError **error)
{
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER,
               "pickle: found other arguments of %s.%s than torch.save writes", class->module, class->name);
  return FALSE;
}

static gboolean
get_class (const SumiPickleValue *v, Meaning meaning, const SumiPickleClass **class)
{
  if (v->kind != SUMI_PICKLE_CLASS || v->class->meaning != meaning)
    return FALSE;
  *class = v->class;
  return TRUE;
}

/* A dtype there is a SumiDType for. */
static gboolean
get_dtype (const SumiPickleClass *class, SumiDType *dtype, GError **error)
{
  if (class->dtype < 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "pickle: found a %s.%s", class->module,
                   class->name);
      return FALSE;
    }
  *dtype = (SumiDType) class->dtype;
  return TRUE;
}

/* A tuple of integers from 0. */
static gboolean
get_dimensions (const SumiPickleValue *v, SumiShape *shape)
{
  shape->rank = sumi_pickle_get_n_items (v);
  if (v->kind != SUMI_PICKLE_TUPLE || shape->rank > SUMI_MAX_RANK)
    return FALSE;
  for (guint i = 0; i < shape->rank; i++)
    {
      const SumiPickleValue *d = sumi_pickle_get_item (v, i);

      if (d->kind != SUMI_PICKLE_INT || d->integer < 0)
        return FALSE;
      shape->d[i] = d->integer;
    }
  return TRUE;
}

/* ---- calls ---- */

/* (storage, offset, size, stride, requires_grad, backward_hooks[, dtype][, metadata]) */
static SumiPickleValue *
make_tensor (SumiPickle *p, const SumiPickleClass *class, const SumiPickleValue *args, GError **error)
{
  guint n_fixed = class->meaning == TYPED_TENSOR ? 7 : 6, n = sumi_pickle_get_n_items (args);
  const SumiPickleValue *storage, *offset;
  const SumiPickleClass *dtype;
  g_autofree SumiPickleTensor *t = g_new0 (SumiPickleTensor, 1);
  SumiPickleValue *v;

  if (n < n_fixed || n > n_fixed + 1)
    {
      refuse (class, error);
      return NULL;
    }
  storage = sumi_pickle_get_item (args, 0);
  offset = sumi_pickle_get_item (args, 1);
  if (storage->kind != SUMI_PICKLE_STORAGE || offset->kind != SUMI_PICKLE_INT || offset->integer < 0
      || !get_dimensions (sumi_pickle_get_item (args, 2), &t->shape)
      || !get_dimensions (sumi_pickle_get_item (args, 3), &t->stride) || t->shape.rank != t->stride.rank
      || (n > n_fixed && sumi_pickle_get_n_items (sumi_pickle_get_item (args, n_fixed)) > 0)
      || (n_fixed == 7 && !get_class (sumi_pickle_get_item (args, 6), DTYPE, &dtype)))
    {
      refuse (class, error);
      return NULL;
    }
  t->storage = storage;
  t->offset = offset->integer;
  t->dtype = storage->storage.dtype;
  if (n_fixed == 7 && !get_dtype (dtype, &t->dtype, error))
    return NULL;
  v = sumi_pickle_new_value (p, SUMI_PICKLE_TENSOR, error);
  if (v != NULL)
    v->tensor = g_steal_pointer (&t);
  return v;
}

/* (tensor, requires_grad, backward_hooks[, state]): the tensor */
static SumiPickleValue *
make_parameter (const SumiPickleClass *class, const SumiPickleValue *args, GError **error)
{
  if (sumi_pickle_get_n_items (args) >= 3 && sumi_pickle_get_item (args, 0)->kind == SUMI_PICKLE_TENSOR)
    return sumi_pickle_get_item (args, 0);
  refuse (class, error);
  return NULL;
}

static SumiPickleValue *
make_dictionary (SumiPickle *p, const SumiPickleClass *class, const SumiPickleValue *args, GError **error)
{
  SumiPickleValue *v;

  if (sumi_pickle_get_n_items (args) > 0)
    {
      refuse (class, error);
      return NULL;
    }
  v = sumi_pickle_new_value (p, SUMI_PICKLE_DICT, error);
  if (v != NULL)
    v->is_module = class->meaning == MODULE;
  return v;
}

SumiPickleValue *
sumi_pickle_call (SumiPickle *p, const SumiPickleClass *class, const SumiPickleValue *args, GError **error)
{
  switch (class->meaning)
    {
    case TENSOR:
    case TYPED_TENSOR:
      return make_tensor (p, class, args, error);
    case PARAMETER:
      return make_parameter (class, args, error);
    case DICTIONARY:
    case MODULE:
      return make_dictionary (p, class, args, error);
    case INERT:
      return sumi_pickle_new_value (p, SUMI_PICKLE_OTHER, error);
    case STORAGE:
    case DTYPE:
      break;
    }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PICKLE,
               "pickle: found a call of %s.%s, which torch.save never makes", class->module, class->name);
  return NULL;
}

/* An ordered dictionary's attributes ("_metadata") are of no use, a module keeps its parameters in one of them. */
gboolean
sumi_pickle_set_state (SumiPickleValue *object, const SumiPickleValue *state, GError **error)
{
  if (object->kind == SUMI_PICKLE_OTHER || (object->kind == SUMI_PICKLE_DICT && !object->is_module))
    return TRUE;
  if (object->kind != SUMI_PICKLE_DICT || state->kind != SUMI_PICKLE_DICT || object->items != NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PICKLE, "pickle: found the instruction BUILD on a %s",
                   sumi_pickle_kind_name (object->kind));
      return FALSE;
    }
  for (guint i = 0; i + 1 < sumi_pickle_get_n_items (state); i += 2)
    {
      const SumiPickleValue *parameters = sumi_pickle_get_item (state, i + 1);

      if (sumi_pickle_is_string (sumi_pickle_get_item (state, i), "_parameters") && parameters->kind == SUMI_PICKLE_DICT
          && parameters->items != NULL && parameters->items != object->items)
        {
          g_clear_pointer (&object->items, g_ptr_array_unref);
          object->items = g_ptr_array_ref (parameters->items);
        }
    }
  return TRUE;
}

SumiPickleValue *
sumi_pickle_find_persistent (SumiPickle *p, const SumiPickleValue *id, GError **error)
{
  const SumiPickleClass *class;
  const SumiPickleValue *key, *numel;
  SumiDType dtype;
  SumiPickleValue *v;

  if (id->kind != SUMI_PICKLE_TUPLE || sumi_pickle_get_n_items (id) < 5
      || !sumi_pickle_is_string (sumi_pickle_get_item (id, 0), "storage")
      || !get_class (sumi_pickle_get_item (id, 1), STORAGE, &class))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER,
                   "pickle: found an unknown persistent id, expected a storage");
      return NULL;
    }
  key = sumi_pickle_get_item (id, 2);
  numel = sumi_pickle_get_item (id, 4);
  if (key->kind != SUMI_PICKLE_STRING || numel->kind != SUMI_PICKLE_INT || numel->integer < 0)
    {
      refuse (class, error);
      return NULL;
    }
  if (!get_dtype (class, &dtype, error))
    return NULL;
  v = sumi_pickle_new_value (p, SUMI_PICKLE_STORAGE, error);
  if (v == NULL)
    return NULL;
  v->storage.key = key;
  v->storage.dtype = dtype;
  v->storage.numel = numel->integer;
  return v;
}
