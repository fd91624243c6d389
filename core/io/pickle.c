/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The stack machine. Instructions as in Python's pickletools, protocols 2 to 5. */
#include "io/pickle.h"

#include "io/pickle-classes.h"
#include "io/reader.h"

struct _SumiPickle
{
  SumiReader code;
  GPtrArray *stack;  /* of SumiPickleValue, not owned */
  GArray *marks;     /* of guint: heights of the stack */
  GHashTable *memo;  /* guint32 -> SumiPickleValue */
  GPtrArray *values; /* all of them, owned */
  SumiPickleValue *root;
};

static const char *const kind_names[] = { "None", "bool", "int",   "float",   "string", "bytes",       "tuple",
                                          "list", "dict", "class", "storage", "tensor", "other object" };

const char *
sumi_pickle_kind_name (SumiPickleKind kind)
{
  return kind_names[kind];
}

/* ---- values ---- */

static gboolean
has_items (const SumiPickleValue *v)
{
  return v->kind == SUMI_PICKLE_TUPLE || v->kind == SUMI_PICKLE_LIST || v->kind == SUMI_PICKLE_DICT;
}

static void
value_free (SumiPickleValue *v)
{
  if (has_items (v) && v->items != NULL)
    g_ptr_array_unref (v->items);
  if (v->kind == SUMI_PICKLE_TENSOR)
    g_free (v->tensor);
  g_free (v);
}

SumiPickleValue *
sumi_pickle_new_value (SumiPickle *p, SumiPickleKind kind, GError **error)
{
  SumiPickleValue *v;

  if (p->values->len == SUMI_PICKLE_MAX_VALUES)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE, "pickle: found more than %d values",
                   SUMI_PICKLE_MAX_VALUES);
      return NULL;
    }
  v = g_new0 (SumiPickleValue, 1);
  v->kind = kind;
  g_ptr_array_add (p->values, v);
  return v;
}

guint
sumi_pickle_get_n_items (const SumiPickleValue *v)
{
  return has_items (v) && v->items != NULL ? v->items->len : 0;
}

SumiPickleValue *
sumi_pickle_get_item (const SumiPickleValue *v, guint i)
{
  return g_ptr_array_index (v->items, i);
}

gboolean
sumi_pickle_is_string (const SumiPickleValue *v, const char *text)
{
  return v->kind == SUMI_PICKLE_STRING && v->text.length == strlen (text)
         && memcmp (v->text.data, text, v->text.length) == 0;
}

/* ---- the stack ---- */

static gboolean
fail (GError **error, SumiError code, const char *what)
{
  g_set_error (error, SUMI_ERROR, code, "pickle: found %s", what);
  return FALSE;
}

static gboolean
fail_truncated (GError **error)
{
  return fail (error, SUMI_ERROR_TRUNCATED, "its end within an instruction");
}

static gboolean
push (SumiPickle *p, SumiPickleValue *v)
{
  if (v != NULL)
    g_ptr_array_add (p->stack, v);
  return v != NULL;
}

static gboolean
push_new (SumiPickle *p, SumiPickleKind kind, GError **error)
{
  return push (p, sumi_pickle_new_value (p, kind, error));
}

/* Above the last mark. */
static guint
height (const SumiPickle *p)
{
  return p->stack->len - (p->marks->len > 0 ? g_array_index (p->marks, guint, p->marks->len - 1) : 0);
}

static gboolean
need (const SumiPickle *p, guint n, GError **error)
{
  return height (p) >= n || fail (error, SUMI_ERROR_BAD_HEADER, "an instruction without its operands");
}

static SumiPickleValue *
pop (SumiPickle *p, GError **error)
{
  return need (p, 1, error) ? g_ptr_array_steal_index (p->stack, p->stack->len - 1) : NULL;
}

static SumiPickleValue *
peek (SumiPickle *p, GError **error)
{
  return need (p, 1, error) ? g_ptr_array_index (p->stack, p->stack->len - 1) : NULL;
}

/* Moves the n topmost values behind the items of v. */
static void
take_items (SumiPickle *p, SumiPickleValue *v, guint n)
{
  guint first = p->stack->len - n;

  if (n == 0)
    return;
  if (v->items == NULL)
    v->items = g_ptr_array_sized_new (n);
  for (guint i = 0; i < n; i++)
    g_ptr_array_add (v->items, g_ptr_array_index (p->stack, first + i));
  g_ptr_array_set_size (p->stack, (int)first);
}

/* Removes the last mark; n is how many values are above it. */
static gboolean
take_mark (SumiPickle *p, guint *n, GError **error)
{
  *n = height (p);
  if (p->marks->len == 0)
    return fail (error, SUMI_ERROR_BAD_HEADER, "an instruction without its mark");
  g_array_set_size (p->marks, p->marks->len - 1);
  return TRUE;
}

/* ---- instructions: numbers and texts ---- */

static gboolean
op_none (SumiPickle *p, guint code, GError **error)
{
  return push_new (p, SUMI_PICKLE_NONE, error);
}

static gboolean
push_integer (SumiPickle *p, SumiPickleKind kind, gint64 integer, GError **error)
{
  SumiPickleValue *v = sumi_pickle_new_value (p, kind, error);

  if (v != NULL)
    v->integer = integer;
  return push (p, v);
}

static gboolean
op_bool (SumiPickle *p, guint code, GError **error)
{
  return push_integer (p, SUMI_PICKLE_BOOL, code == 0x88, error);
}

/* BININT has a sign, BININT1 and BININT2 have none. */
static gboolean
op_int (SumiPickle *p, guint code, GError **error)
{
  guint64 value;

  if (!sumi_reader_take_uint (&p->code, code == 'J' ? 4 : code == 'M' ? 2 : 1, &value))
    return fail_truncated (error);
  return push_integer (p, SUMI_PICKLE_INT, code == 'J' ? (gint32)value : (gint64)value, error);
}

/* Two's complement of any length; what does not fit is of no use to a tensor. */
static gboolean
op_long (SumiPickle *p, guint code, GError **error)
{
  guint64 n, value = 0;
  const guint8 *bytes;

  if (!sumi_reader_take_uint (&p->code, 1, &n) || !sumi_reader_take (&p->code, n, &bytes))
    return fail_truncated (error);
  if (n > 8)
    return push_new (p, SUMI_PICKLE_OTHER, error);
  for (guint i = 0; i < n; i++)
    value |= (guint64)bytes[i] << 8 * i;
  if (n > 0 && n < 8 && bytes[n - 1] & 0x80)
    value |= G_MAXUINT64 << 8 * n;
  return push_integer (p, SUMI_PICKLE_INT, (gint64)value, error);
}

static gboolean
op_float (SumiPickle *p, guint code, GError **error)
{
  SumiPickleValue *v;
  guint64 bits;

  if (!sumi_reader_take_uint (&p->code, 8, &bits))
    return fail_truncated (error);
  v = sumi_pickle_new_value (p, SUMI_PICKLE_FLOAT, error);
  if (v == NULL)
    return FALSE;
  bits = GUINT64_SWAP_LE_BE (bits); /* the one big-endian number */
  memcpy (&v->real, &bits, sizeof bits);
  return push (p, v);
}

static gboolean
push_text (SumiPickle *p, SumiPickleKind kind, guint length_size, GError **error)
{
  SumiPickleValue *v;
  guint64 length;
  const guint8 *bytes;

  if (!sumi_reader_take_uint (&p->code, length_size, &length) || !sumi_reader_take (&p->code, length, &bytes))
    return fail_truncated (error);
  if (kind == SUMI_PICKLE_STRING && !g_utf8_validate_len ((const char *)bytes, length, NULL))
    return push_new (p, SUMI_PICKLE_OTHER, error); /* bytes that Python 2's protocol had to write as a string */
  v = sumi_pickle_new_value (p, kind, error);
  if (v == NULL)
    return FALSE;
  v->text.data = (const char *)bytes;
  v->text.length = length;
  return push (p, v);
}

static gboolean
op_string (SumiPickle *p, guint code, GError **error)
{
  return push_text (p, SUMI_PICKLE_STRING, code == 'X' ? 4 : 1, error);
}

static gboolean
op_bytes (SumiPickle *p, guint code, GError **error)
{
  return push_text (p, SUMI_PICKLE_BYTES, code == 'B' ? 4 : 1, error);
}

/* ---- instructions: containers ---- */

static gboolean
op_empty (SumiPickle *p, guint code, GError **error)
{
  return push_new (p, code == '}' ? SUMI_PICKLE_DICT : code == ']' ? SUMI_PICKLE_LIST : SUMI_PICKLE_TUPLE, error);
}

static gboolean
op_mark (SumiPickle *p, guint code, GError **error)
{
  g_array_append_val (p->marks, p->stack->len);
  return TRUE;
}

/* TUPLE: all above the mark. TUPLE1 to 3: that many. */
static gboolean
op_tuple (SumiPickle *p, guint code, GError **error)
{
  guint n = code - 0x85 + 1;
  SumiPickleValue *v;

  if (!(code == 't' ? take_mark (p, &n, error) : need (p, n, error)))
    return FALSE;
  v = sumi_pickle_new_value (p, SUMI_PICKLE_TUPLE, error);
  if (v == NULL)
    return FALSE;
  take_items (p, v, n);
  return push (p, v);
}

/* APPEND, APPENDS, SETITEM, SETITEMS: into the list or dictionary below the items. */
static gboolean
op_add (SumiPickle *p, guint code, GError **error)
{
  SumiPickleKind kind = code == 'a' || code == 'e' ? SUMI_PICKLE_LIST : SUMI_PICKLE_DICT;
  guint n = code == 'a' ? 1 : 2;
  SumiPickleValue *into;

  if (((code == 'e' || code == 'u') && !take_mark (p, &n, error)) || !need (p, n + 1, error))
    return FALSE;
  if (kind == SUMI_PICKLE_DICT && n % 2 != 0)
    return fail (error, SUMI_ERROR_BAD_HEADER, "a key without a value");
  into = g_ptr_array_index (p->stack, p->stack->len - n - 1);
  if (into->kind != kind)
    return fail (error, SUMI_ERROR_BAD_HEADER, "items for something that is not a list or dictionary");
  take_items (p, into, n);
  return TRUE;
}

/* ---- instructions: the memo ---- */

static gboolean
memoize (SumiPickle *p, guint64 index, GError **error)
{
  SumiPickleValue *v = peek (p, error);

  if (v == NULL)
    return FALSE;
  if (g_hash_table_size (p->memo) >= SUMI_PICKLE_MAX_VALUES)
    return fail (error, SUMI_ERROR_TOO_LARGE, "too many values in its memo");
  g_hash_table_insert (p->memo, GUINT_TO_POINTER ((guint)index), v);
  return TRUE;
}

static gboolean
op_put (SumiPickle *p, guint code, GError **error)
{
  guint64 index;

  if (!sumi_reader_take_uint (&p->code, code == 'q' ? 1 : 4, &index))
    return fail_truncated (error);
  return memoize (p, index, error);
}

static gboolean
op_memoize (SumiPickle *p, guint code, GError **error)
{
  return memoize (p, g_hash_table_size (p->memo), error);
}

static gboolean
op_get (SumiPickle *p, guint code, GError **error)
{
  guint64 index;
  SumiPickleValue *v;

  if (!sumi_reader_take_uint (&p->code, code == 'h' ? 1 : 4, &index))
    return fail_truncated (error);
  v = g_hash_table_lookup (p->memo, GUINT_TO_POINTER ((guint)index));
  return push (p, v) || fail (error, SUMI_ERROR_BAD_HEADER, "a memo index that nothing was put at");
}

/* ---- instructions: names and calls ---- */

static gboolean
push_class (SumiPickle *p, const char *module, gsize n_module, const char *name, gsize n_name, GError **error)
{
  const SumiPickleClass *class = sumi_pickle_find_class (module, n_module, name, n_name, error);
  SumiPickleValue *v = class != NULL ? sumi_pickle_new_value (p, SUMI_PICKLE_CLASS, error) : NULL;

  if (v == NULL)
    return FALSE;
  v->class = class;
  return push (p, v);
}

/* Text up to the end of the line, which is passed. */
static gboolean
take_line (SumiReader *r, const char **line, gsize *length)
{
  const guint8 *end = memchr (r->p, '\n', sumi_reader_left (r));

  if (end == NULL)
    return FALSE;
  *line = (const char *)r->p;
  *length = (gsize)(end - r->p);
  r->p = end + 1;
  return TRUE;
}

static gboolean
op_global (SumiPickle *p, guint code, GError **error)
{
  const char *module, *name;
  gsize n_module, n_name;

  if (!take_line (&p->code, &module, &n_module) || !take_line (&p->code, &name, &n_name))
    return fail_truncated (error);
  return push_class (p, module, n_module, name, n_name, error);
}

static gboolean
op_stack_global (SumiPickle *p, guint code, GError **error)
{
  SumiPickleValue *name = pop (p, error), *module = name != NULL ? pop (p, error) : NULL;

  if (module == NULL)
    return FALSE;
  if (name->kind != SUMI_PICKLE_STRING || module->kind != SUMI_PICKLE_STRING)
    return fail (error, SUMI_ERROR_BAD_HEADER, "a name that is no string");
  return push_class (p, module->text.data, module->text.length, name->text.data, name->text.length, error);
}

/* REDUCE and NEWOBJ: class, tuple of arguments */
static gboolean
op_call (SumiPickle *p, guint code, GError **error)
{
  SumiPickleValue *args = pop (p, error), *callee = args != NULL ? pop (p, error) : NULL;

  if (callee == NULL)
    return FALSE;
  if (callee->kind != SUMI_PICKLE_CLASS || args->kind != SUMI_PICKLE_TUPLE)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PICKLE, "pickle: found a call of a %s with a %s",
                   sumi_pickle_kind_name (callee->kind), sumi_pickle_kind_name (args->kind));
      return FALSE;
    }
  return push (p, sumi_pickle_call (p, callee->class, args, error));
}

static gboolean
op_build (SumiPickle *p, guint code, GError **error)
{
  SumiPickleValue *state = pop (p, error), *object = state != NULL ? peek (p, error) : NULL;

  return object != NULL && sumi_pickle_set_state (object, state, error);
}

static gboolean
op_persistent (SumiPickle *p, guint code, GError **error)
{
  SumiPickleValue *id = pop (p, error);

  return id != NULL && push (p, sumi_pickle_find_persistent (p, id, error));
}

/* ---- the machine ---- */

static gboolean
op_protocol (SumiPickle *p, guint code, GError **error)
{
  guint64 protocol;

  if (!sumi_reader_take_uint (&p->code, 1, &protocol))
    return fail_truncated (error);
  return protocol <= 5 || fail (error, SUMI_ERROR_BAD_HEADER, "an unknown protocol, expected 2 to 5");
}

/* Only a hint to read that many bytes at once. */
static gboolean
op_frame (SumiPickle *p, guint code, GError **error)
{
  guint64 size;

  return sumi_reader_take_uint (&p->code, 8, &size) || fail_truncated (error);
}

static gboolean
op_stop (SumiPickle *p, guint code, GError **error)
{
  p->root = pop (p, error);
  return p->root != NULL;
}

/* Every instruction there is; those without a function are refused by their name. */
static const struct
{
  const char *name;
  gboolean (*run) (SumiPickle *p, guint code, GError **error);
} instructions[256] = {
  ['('] = { "MARK", op_mark },
  ['.'] = { "STOP", op_stop },
  ['0'] = { "POP" },
  ['1'] = { "POP_MARK" },
  ['2'] = { "DUP" },
  ['F'] = { "FLOAT" },
  ['I'] = { "INT" },
  ['J'] = { "BININT", op_int },
  ['K'] = { "BININT1", op_int },
  ['L'] = { "LONG" },
  ['M'] = { "BININT2", op_int },
  ['N'] = { "NONE", op_none },
  ['P'] = { "PERSID" },
  ['Q'] = { "BINPERSID", op_persistent },
  ['R'] = { "REDUCE", op_call },
  ['S'] = { "STRING" },
  ['T'] = { "BINSTRING" },
  ['U'] = { "SHORT_BINSTRING" },
  ['V'] = { "UNICODE" },
  ['X'] = { "BINUNICODE", op_string },
  ['a'] = { "APPEND", op_add },
  ['b'] = { "BUILD", op_build },
  ['c'] = { "GLOBAL", op_global },
  ['d'] = { "DICT" },
  ['}'] = { "EMPTY_DICT", op_empty },
  ['e'] = { "APPENDS", op_add },
  ['g'] = { "GET" },
  ['h'] = { "BINGET", op_get },
  ['i'] = { "INST" },
  ['j'] = { "LONG_BINGET", op_get },
  ['l'] = { "LIST" },
  [']'] = { "EMPTY_LIST", op_empty },
  ['o'] = { "OBJ" },
  ['p'] = { "PUT" },
  ['q'] = { "BINPUT", op_put },
  ['r'] = { "LONG_BINPUT", op_put },
  ['s'] = { "SETITEM", op_add },
  ['t'] = { "TUPLE", op_tuple },
  [')'] = { "EMPTY_TUPLE", op_empty },
  ['u'] = { "SETITEMS", op_add },
  ['G'] = { "BINFLOAT", op_float },
  ['B'] = { "BINBYTES", op_bytes },
  ['C'] = { "SHORT_BINBYTES", op_bytes },
  [0x80] = { "PROTO", op_protocol },
  [0x81] = { "NEWOBJ", op_call },
  [0x82] = { "EXT1" },
  [0x83] = { "EXT2" },
  [0x84] = { "EXT4" },
  [0x85] = { "TUPLE1", op_tuple },
  [0x86] = { "TUPLE2", op_tuple },
  [0x87] = { "TUPLE3", op_tuple },
  [0x88] = { "NEWTRUE", op_bool },
  [0x89] = { "NEWFALSE", op_bool },
  [0x8a] = { "LONG1", op_long },
  [0x8b] = { "LONG4" },
  [0x8c] = { "SHORT_BINUNICODE", op_string },
  [0x8d] = { "BINUNICODE8" },
  [0x8e] = { "BINBYTES8" },
  [0x8f] = { "EMPTY_SET" },
  [0x90] = { "ADDITEMS" },
  [0x91] = { "FROZENSET" },
  [0x92] = { "NEWOBJ_EX" },
  [0x93] = { "STACK_GLOBAL", op_stack_global },
  [0x94] = { "MEMOIZE", op_memoize },
  [0x95] = { "FRAME", op_frame },
  [0x96] = { "BYTEARRAY8" },
  [0x97] = { "NEXT_BUFFER" },
  [0x98] = { "READONLY_BUFFER" },
};

static gboolean
step (SumiPickle *p, GError **error)
{
  guint64 code;

  if (!sumi_reader_take_uint (&p->code, 1, &code))
    return fail (error, SUMI_ERROR_TRUNCATED, "its end, expected the instruction STOP");
  if (instructions[code].run != NULL)
    return instructions[code].run (p, (guint)code, error);
  if (instructions[code].name != NULL)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSAFE_PICKLE,
                 "pickle: found the instruction %s, expected only those that tensors need; nothing was run",
                 instructions[code].name);
  else
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_HEADER, "pickle: found the byte 0x%02x, expected an instruction",
                 (guint)code);
  return FALSE;
}

SumiPickle *
sumi_pickle_load (const guint8 *data, gsize size, GError **error)
{
  g_autoptr (SumiPickle) p = g_new0 (SumiPickle, 1);

  p->code = (SumiReader){ data, data + size };
  p->stack = g_ptr_array_new ();
  p->marks = g_array_new (FALSE, FALSE, sizeof (guint));
  p->memo = g_hash_table_new (NULL, NULL);
  p->values = g_ptr_array_new_with_free_func ((GDestroyNotify)value_free);
  if (size > SUMI_PICKLE_MAX_SIZE)
    {
      fail (error, SUMI_ERROR_TOO_LARGE, "more than 16 MiB");
      return NULL;
    }
  for (guint n = 0; p->root == NULL; n++)
    {
      if (n == SUMI_PICKLE_MAX_STEPS)
        {
          fail (error, SUMI_ERROR_TOO_LARGE, "more than 2^22 instructions");
          return NULL;
        }
      if (!step (p, error))
        return NULL;
    }
  return g_steal_pointer (&p);
}

void
sumi_pickle_free (SumiPickle *p)
{
  if (p == NULL)
    return;
  g_ptr_array_unref (p->stack);
  g_array_unref (p->marks);
  g_hash_table_unref (p->memo);
  g_ptr_array_unref (p->values);
  g_free (p);
}

const SumiPickleValue *
sumi_pickle_get_root (const SumiPickle *p)
{
  return p->root;
}
