/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cpu engine's plan: buffers, and steps that read and write them.
 *
 * Lowering (lower*.c) turns each node into a value (a view of a buffer) and, where work is needed, into steps.
 * Then buffers get their place: parameters among the weights, which plans may share, inputs and constants in the store,
 * which lives as long as the plan, the others in the arena by lifetime.  All addresses are fixed before the first run.
 */
#pragma once

#include "engine/cpu/kernels/kernels.h"
#include "engine/cpu/room.h"
#include "engine/cpu/weights.h"
#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct _SumiCpuPlan SumiCpuPlan;
typedef struct _SumiCpuStep SumiCpuStep;
typedef gboolean (*SumiCpuRun) (SumiCpuPlan *p, const SumiCpuStep *s, GError **error);

#define SUMI_CPU_NO_BUFFER G_MAXUINT

typedef struct
{
  gsize size;            /* bytes */
  gsize offset;          /* in the store or the arena */
  guint first, last;     /* steps between which it is alive */
  gboolean stored;       /* of a leaf, a constant or a packed parameter: not in the arena */
  gboolean used;         /* some step reads or writes it */
  const char *parameter; /* of a parameter as it is: its name */
  SumiCpuForm *form;     /* of a parameter: where it lies */
  guint alias;           /* takes the memory of this buffer (in-place steps), or SUMI_CPU_NO_BUFFER */
} SumiCpuBuffer;

struct _SumiCpuStep
{
  SumiCpuRun run;
  const SumiNode *node; /* the node that this step works for */
  const SumiKernels *k; /* for the dtype of in[0], or of out where there is none */
  guint n_in;
  SumiValue in[SUMI_MAX_SRC];
  SumiValue out;
  SumiValue also; /* a second result, of steps that have one */
  gsize scratch;  /* bytes */
  guint in_place; /* bit i: out may take the memory of in[i] */
  SumiCpuProduct *product;
  GPtrArray *pieces; /* SumiCpuProduct: independent parts of one product, each run by one thread */
  gboolean is_copy;  /* moves or converts a value for another step */
  double seconds;    /* spent so far, when the plan is profiled */
};

/* The constant of a fill node, once in the store. */
typedef struct
{
  SumiValue value;
  float constant;
} SumiCpuConstant;

/* A copy that was made of a value, for other readers that want the same. */
typedef struct
{
  SumiValue from, to;
} SumiCpuCopy;

struct _SumiCpuPlan
{
  SumiPlan base;
  SumiCpuWeights *weights;       /* of base.packed */
  const SumiCpuDnnl *dnnl;       /* theirs */
  const SumiKernels *f32, *real; /* kernels for F32, and for the plan's storage type */
  SumiDType dtype;               /* of activations: F32 or BF16 */
  guint threads;
  gboolean poison, profile;

  SumiValue *values;        /* by node id */
  gboolean *wide;           /* by node id: stays F32 in a BF16 plan */
  gboolean *inner;          /* by node id: computed within the step of its only reader */
  gboolean *exact;          /* by node id: a product that is computed in F32 */
  gboolean *has_value;      /* by node id, for inputs */
  GArray *buffers;          /* SumiCpuBuffer */
  GArray *steps;            /* SumiCpuStep */
  GArray *constants;        /* SumiCpuConstant */
  GArray *copies;           /* SumiCpuCopy */
  GHashTable *forms;        /* interned name -> GPtrArray of the forms of this parameter that are read */
  GHashTable *outputs;      /* node -> SumiValue*, dense row-major, F32 */
  SumiCpuRoom store, arena; /* the arena ends with the scratch room */
  gboolean resident;        /* the arena has its pages */
  void *scratch;
  double set_seconds; /* spent in setting values */
};

/* ---- building (build.c) ---- */
guint sumi_cpu_add_buffer (SumiCpuPlan *p, gsize size);
/* A buffer that keeps its contents between runs. */
guint sumi_cpu_add_stored (SumiCpuPlan *p, gsize size);
SumiValue sumi_cpu_new_value (SumiCpuPlan *p, SumiDType dtype, const SumiShape *shape, SumiOrder order);
/* A new value laid out as `like`, repeated axes staying repeated. */
SumiValue sumi_cpu_new_value_like (SumiCpuPlan *p, SumiDType dtype, const SumiShape *shape, const SumiValue *like);
/* Adds a step and extends the lives of what it reads and writes. The result is valid until the next call. */
SumiCpuStep *sumi_cpu_add_step (SumiCpuPlan *p, SumiCpuRun run, const SumiNode *node, const SumiValue *out,
                                const SumiValue *const *in, guint n_in);
/* The buffer is read or written by this step. */
void sumi_cpu_extend_life (SumiCpuPlan *p, guint buffer, guint step);
/* Copies a value to a place of the same dtype and shape. */
void sumi_cpu_add_copy (SumiCpuPlan *p, const SumiNode *node, const SumiValue *to, const SumiValue *from);
/* The value as dtype, dense in that order: itself, or a copy (made once). */
SumiValue sumi_cpu_want (SumiCpuPlan *p, const SumiNode *node, const SumiValue *v, SumiDType dtype, SumiOrder order);
/* The same with the strides of `like`. */
SumiValue sumi_cpu_want_like (SumiCpuPlan *p, const SumiNode *node, const SumiValue *v, SumiDType dtype,
                              const SumiValue *like);
/* The value of source i of a node, in a form. */
SumiValue sumi_cpu_source (SumiCpuPlan *p, const SumiNode *n, guint i, SumiDType dtype, SumiOrder order);
SumiDType sumi_cpu_dtype_of (const SumiCpuPlan *p, const SumiNode *n);   /* in which a REAL node is stored */
SumiDType sumi_cpu_arithmetic (const SumiCpuPlan *p, const SumiNode *n); /* in which a product multiplies */

/* ---- lowering: each sets p->values[n->id] ---- */
gboolean sumi_cpu_lower (SumiCpuPlan *p, const SumiNode *n, GError **error);         /* lower.c */
gboolean sumi_cpu_lower_product (SumiCpuPlan *p, const SumiNode *n, GError **error); /* lower-products.c */
void sumi_cpu_lower_kernel (SumiCpuPlan *p, const SumiNode *n);                      /* lower-kernels.c */
void sumi_cpu_choose_dtypes (SumiCpuPlan *p, SumiNode *const *nodes, guint n);       /* dtypes.c */

/* ---- products (products.c) ---- */
/* Adds the step of a product: the last of its values is written. Takes product. */
void sumi_cpu_add_product (SumiCpuPlan *p, const SumiNode *node, SumiCpuProduct *product);
/* The value in the memory format that a primitive wants: itself, a pack of a parameter, or a reordered copy. */
gboolean sumi_cpu_want_desc (SumiCpuPlan *p, const SumiNode *node, const SumiValue *v, const_dnnl_memory_desc_t desc,
                             SumiValue *out, GError **error);
/* Describes a primitive with its second source in this format; NULL with an error. */
typedef dnnl_primitive_desc_t (*SumiCpuDescribe) (SumiCpuPlan *p, gconstpointer what, const_dnnl_memory_desc_t weights,
                                                  GError **error);
/* Describes a primitive that reads weights in whatever format it likes best, or in one that is already there when
 * the same implementation takes it. */
dnnl_primitive_desc_t sumi_cpu_describe_weighted (SumiCpuPlan *p, const SumiValue *weights, SumiDType dtype,
                                                  SumiCpuDescribe describe, gconstpointer what, GError **error);
/* Reorders a value that a primitive wrote in a format of its own; FALSE with an error. */
gboolean sumi_cpu_add_reorder (SumiCpuPlan *p, const SumiNode *node, const SumiValue *from,
                               const_dnnl_memory_desc_t from_desc, const SumiValue *to,
                               const_dnnl_memory_desc_t to_desc, GError **error);
/* Makes the addresses of the arguments known. */
gboolean sumi_cpu_bind_product (SumiCpuPlan *p, SumiCpuProduct *product, GError **error);

/* ---- convolutions (lower-products.c, weight-gradients.c) ---- */
/* The descriptors of a convolution (pictures channels last, weights in any format) and its geometry. */
typedef struct
{
  dnnl_memory_desc_t x, w, b, y;
  dnnl_dims_t stride, dilation, pad_before, pad_after;
} SumiCpuConvolution;

/* b: NULL for none; y may be of another dtype than x and w */
void sumi_cpu_convolution_init (SumiCpuConvolution *c, SumiDType dtype, const SumiNode *n, const SumiShape *x,
                                const SumiShape *w, const SumiShape *b, const SumiShape *y, SumiDType y_dtype);
void sumi_cpu_convolution_clear (SumiCpuConvolution *c);
gboolean sumi_cpu_convolution_forward (SumiCpuPlan *p, const SumiCpuConvolution *c, dnnl_prop_kind_t kind,
                                       dnnl_primitive_desc_t *pd, GError **error);
gboolean sumi_cpu_lower_matmul (SumiCpuPlan *p, const SumiNode *n, GError **error); /* lower-matmul.c */
gboolean sumi_cpu_lower_linear (SumiCpuPlan *p, const SumiNode *n, GError **error);
/* Source i, a dense row-major copy when it repeats along an axis. */
SumiValue sumi_cpu_weights_of (SumiCpuPlan *p, const SumiNode *n, guint i);
/* Adds the step that runs independent products (SumiCpuProduct, one thread each), which write parts of out. Takes them.
 */
void sumi_cpu_add_pieces (SumiCpuPlan *p, const SumiNode *node, GPtrArray *products, const SumiValue *out,
                          const SumiValue *const *in, guint n_in);
/* Pictures [n0, n0 + n) and their rows [y0, y0 + rows) of a dense channels-last value; dense when n is 1 or the rows
 * are all. */
SumiValue sumi_cpu_picture_part (const SumiValue *v, gint64 n0, gint64 n, gint64 y0, gint64 rows);
gboolean sumi_cpu_lower_weight_gradient (SumiCpuPlan *p, const SumiNode *n, GError **error); /* conv2d_bwd_weights */

dnnl_primitive_desc_t sumi_cpu_describe_conv2d (SumiCpuPlan *p, gconstpointer convolution,
                                                const_dnnl_memory_desc_t weights, GError **error);
/* Finds values that never need to be whole (strips.c). */
void sumi_cpu_mark_inner (SumiCpuPlan *p, SumiNode *const *nodes, guint n);
gboolean sumi_cpu_lower_strips (SumiCpuPlan *p, const SumiNode *n, GError **error); /* a conv2d of an inner upsample */

void sumi_cpu_print_profile (const SumiCpuPlan *p); /* profile.c */

/* ---- memory (memory.c) ---- */
gboolean sumi_cpu_place_buffers (SumiCpuPlan *p, GError **error); /* out_of_memory */
void sumi_cpu_poison_arena (SumiCpuPlan *p);
void sumi_cpu_poison_dead (SumiCpuPlan *p, guint step); /* what no step after this one reads */
gsize sumi_cpu_parameter_bytes (const SumiCpuPlan *p);

static inline SumiCpuBuffer *
sumi_cpu_buffer (const SumiCpuPlan *p, guint i)
{
  SumiCpuBuffer *b = &g_array_index (p->buffers, SumiCpuBuffer, i);

  while (b->alias != SUMI_CPU_NO_BUFFER)
    b = &g_array_index (p->buffers, SumiCpuBuffer, b->alias);
  return b;
}

/* The address of a value, once buffers have their place. */
static inline void *
sumi_cpu_at (const SumiCpuPlan *p, const SumiValue *v)
{
  const SumiCpuBuffer *b = sumi_cpu_buffer (p, v->buffer);

  if (b->form != NULL)
    return b->form->data + v->offset;
  return (b->stored ? p->store.at : p->arena.at) + b->offset + v->offset;
}

G_END_DECLS
