/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cpu engine's plan: buffers, and steps that read and write them.
 *
 * Lowering (lower*.c) turns each node into a value (a view of a buffer) and, where work is needed, into steps.
 * Then buffers get their place: those of leaves in the store, which lives as long as the plan, the others in the arena
 * by lifetime.  All addresses are fixed before the first run. */
#pragma once

#include <dnnl.h>

#include "engine/cpu/kernels/kernels.h"
#include "engine/cpu/value.h"
#include "engine/engine.h"

G_BEGIN_DECLS

typedef struct _SumiCpuPlan SumiCpuPlan;
typedef struct _SumiCpuStep SumiCpuStep;
typedef gboolean (*SumiCpuRun) (SumiCpuPlan *p, const SumiCpuStep *s, GError **error);

#define SUMI_CPU_MAX_ARGS 4
#define SUMI_CPU_NO_BUFFER G_MAXUINT

typedef struct
{
  gsize size;        /* bytes */
  gsize offset;      /* in the store or the arena */
  guint first, last; /* steps between which it is alive */
  gboolean stored;   /* of a leaf: in the store */
  gboolean used;     /* some step reads it */
  guint alias;       /* takes the memory of this buffer (in-place steps), or SUMI_CPU_NO_BUFFER */
} SumiCpuBuffer;

/* A oneDNN primitive with its arguments. */
typedef struct
{
  dnnl_primitive_t primitive;
  guint n_args;
  dnnl_exec_arg_t args[SUMI_CPU_MAX_ARGS + 1]; /* and the scratchpad */
  SumiValue values[SUMI_CPU_MAX_ARGS];
} SumiCpuProduct;

struct _SumiCpuStep
{
  SumiCpuRun run;
  const SumiNode *node; /* the node that this step works for */
  const SumiKernels *k; /* of the storage type in use */
  guint n_in;
  SumiValue in[SUMI_MAX_SRC];
  SumiValue out;
  gsize scratch; /* bytes */
  guint in_place; /* bit i: out may take the memory of in[i] */
  SumiCpuProduct *product;
};

/* A parameter in the form that a product wants: made when the parameter is set. */
typedef struct
{
  SumiValue source; /* a view of the parameter's row-major F32 */
  dnnl_memory_desc_t packed;
  dnnl_primitive_t reorder;
  dnnl_memory_t from, to;
  guint buffer;
} SumiCpuPack;

/* A copy that was made of a value, for other readers that want the same. */
typedef struct
{
  SumiValue from, to;
  SumiOrder order;
} SumiCpuCopy;

struct _SumiCpuPlan
{
  SumiPlan base;
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_attr_t attr; /* scratchpad by the user, f32 accumulation */
  const SumiKernels *f32, *real; /* kernels for F32, and for the plan's storage type */
  SumiDType dtype;               /* of activations: F32 or BF16 */
  guint threads;
  gboolean poison;

  SumiValue *values;    /* by node id */
  gboolean *wide;       /* by node id: stays F32 in a BF16 plan */
  GArray *buffers;      /* SumiCpuBuffer */
  GArray *steps;        /* SumiCpuStep */
  GArray *packs;        /* SumiCpuPack */
  GArray *copies;       /* SumiCpuCopy */
  GHashTable *outputs;  /* node -> SumiValue*, F32 row-major */
  guint8 *store, *arena, *scratch;
  gsize store_size, arena_size, scratch_size;
};

/* ---- building (build.c) ---- */
guint sumi_cpu_add_buffer (SumiCpuPlan *p, gsize size);
SumiValue sumi_cpu_new_value (SumiCpuPlan *p, SumiDType dtype, const SumiShape *shape, SumiOrder order);
/* A new value laid out as `like`, repeated axes staying repeated. */
SumiValue sumi_cpu_new_value_like (SumiCpuPlan *p, SumiDType dtype, const SumiShape *shape, const SumiValue *like);
/* Adds a step and extends the lives of what it reads and writes. The result is valid until the next call. */
SumiCpuStep *sumi_cpu_add_step (SumiCpuPlan *p, SumiCpuRun run, const SumiNode *node, const SumiValue *out,
                                const SumiValue *const *in, guint n_in);
/* The value as dtype, dense in that order: itself, or a copy (made once). */
SumiValue sumi_cpu_want (SumiCpuPlan *p, const SumiNode *node, const SumiValue *v, SumiDType dtype, SumiOrder order);
/* The value of source i of a node, in a form. */
SumiValue sumi_cpu_source (SumiCpuPlan *p, const SumiNode *n, guint i, SumiDType dtype, SumiOrder order);
const SumiKernels *sumi_cpu_kernels (const SumiCpuPlan *p, SumiDType dtype);

/* ---- lowering: each sets p->values[n->id] ---- */
gboolean sumi_cpu_lower (SumiCpuPlan *p, const SumiNode *n, GError **error);          /* lower.c */
gboolean sumi_cpu_lower_product (SumiCpuPlan *p, const SumiNode *n, GError **error);  /* lower-products.c */
gboolean sumi_cpu_lower_kernel (SumiCpuPlan *p, const SumiNode *n, GError **error);   /* lower-kernels.c */
void sumi_cpu_choose_dtypes (SumiCpuPlan *p, SumiNode *const *nodes, guint n);        /* lower.c */

/* ---- products (onednn.c) ---- */
gboolean sumi_cpu_dnnl_check (dnnl_status_t status, const char *what, GError **error);
void sumi_cpu_product_free (SumiCpuProduct *product);
/* Makes the addresses of the arguments known. */
void sumi_cpu_product_bind (SumiCpuPlan *p, SumiCpuProduct *product);
gboolean sumi_cpu_run_product (SumiCpuPlan *p, const SumiCpuStep *s, GError **error);
void sumi_cpu_pack_clear (SumiCpuPack *pack);
gboolean sumi_cpu_pack_run (SumiCpuPlan *p, const SumiCpuPack *pack, const float *parameter, GError **error);

/* ---- memory (memory.c) ---- */
gboolean sumi_cpu_place_buffers (SumiCpuPlan *p, GError **error); /* out_of_memory */
void sumi_cpu_free_memory (SumiCpuPlan *p);
void sumi_cpu_poison_dead (SumiCpuPlan *p, guint step);

/* The address of a value, once buffers have their place. */
static inline const SumiCpuBuffer *
sumi_cpu_buffer (const SumiCpuPlan *p, guint i)
{
  const SumiCpuBuffer *b = &g_array_index (p->buffers, SumiCpuBuffer, i);

  while (b->alias != SUMI_CPU_NO_BUFFER)
    b = &g_array_index (p->buffers, SumiCpuBuffer, b->alias);
  return b;
}

static inline void *
sumi_cpu_at (const SumiCpuPlan *p, const SumiValue *v)
{
  const SumiCpuBuffer *b = sumi_cpu_buffer (p, v->buffer);

  return (b->stored ? p->store : p->arena) + b->offset + v->offset;
}

G_END_DECLS
