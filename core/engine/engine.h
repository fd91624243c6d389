/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An engine compiles a graph into a plan; a plan runs many times.
 *
 * "ref": a page per op, f32 or f64, one thread: the oracle.
 * "cpu": oneDNN + OpenMP kernels; f32, or bf16 storage of activations and weights with f32 accumulation, norms,
 *        softmax and parameter gradients.
 * Plans are used from one thread at a time, and so are plans that share packed weights.  The result does not depend
 * on the number of threads.
 */
#pragma once

#include <gio/gio.h>

#include "graph/graph.h"

G_BEGIN_DECLS

typedef struct _SumiEngine        SumiEngine;
typedef struct _SumiPlan          SumiPlan;
typedef struct _SumiPackedWeights SumiPackedWeights;

typedef struct
{
  SumiDType dtype;   /* SUMI_F32; SUMI_F64 (ref only); SUMI_BF16 (cpu only) */
  guint     threads; /* 0: all usable cores */
  gboolean  poison;  /* debug: fill dead memory with NaN */
  SumiPackedWeights *packed; /* where the plan keeps its parameters; NULL: of its own */
} SumiCompileOptions;

/* "ref", "cpu", or NULL for the best one.  Another name is a usage error. */
SumiEngine *sumi_engine_open (const char *name, GError **error);
SumiEngine *sumi_engine_ref (SumiEngine *e);
void        sumi_engine_unref (SumiEngine *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiEngine, sumi_engine_unref)
const char *sumi_engine_get_name (const SumiEngine *e);

/* The values of parameters, by name, in the forms in which plans of one engine read them.  Plans that are compiled with
 * the same one share them: a parameter that is set through one plan is set for all, and a form that several plans can
 * read is kept once (for another size or batch of a network that is nearly always so).  Values and forms stay as long
 * as the packed weights do, which every plan keeps a reference on.
 * Names mean one parameter: a plan that has another shape for a known name is not compiled (shape_mismatch). */
SumiPackedWeights *sumi_packed_weights_new (SumiEngine *e);
SumiPackedWeights *sumi_packed_weights_ref (SumiPackedWeights *w);
void               sumi_packed_weights_unref (SumiPackedWeights *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiPackedWeights, sumi_packed_weights_unref)

/* Compiles the nodes that the graph's outputs need; keeps a reference on the graph. Options NULL: f32, all cores. */
SumiPlan *sumi_engine_compile (SumiEngine *e, SumiGraph *g, const SumiCompileOptions *options, GError **error);
void      sumi_plan_free (SumiPlan *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiPlan, sumi_plan_free)

/* Gives an input or a parameter its value (any float dtype for REAL, any integer dtype for INDEX; exactly its shape).
 * The plan converts, packs and copies: the tensor may change or go afterwards, and the pages of a mapped parameter are
 * given back (sumi_tensor_forget_pages).  The value stays for later runs.
 * A name that the plan does not use is ignored (TRUE); an unknown one is missing_tensor. */
gboolean sumi_plan_set (SumiPlan *p, const char *name, const SumiTensor *value, GError **error);
/* Whether sumi_plan_run needs no further sumi_plan_set of this name: it is set (a parameter: through any plan that
 * shares the packed weights, since the last plan with a new form of it was compiled), unused or unknown. */
gboolean sumi_plan_has_value (const SumiPlan *p, const char *name);
/* Runs; fails when a leaf has no value, on cancellation (checked between nodes), or as the engine says;
 * out_of_memory before it begins when the machine has not enough left for the values between. */
gboolean sumi_plan_run (SumiPlan *p, GCancellable *cancellable, GError **error);
/* A copy of an output of the last run, which must have succeeded: F32 (F64 when compiled so), logical row-major.
 * Transfer full. */
SumiTensor *sumi_plan_get (SumiPlan *p, const char *output, GError **error);
/* As get, into an existing F32 tensor of that shape (no allocation: training loops). */
gboolean sumi_plan_read (SumiPlan *p, const char *output, SumiTensor *into, GError **error);
/* Gives the memory of values and scratch back until the next run: outputs are gone, parameters and inputs stay. */
void sumi_plan_trim (SumiPlan *p);
/* Bytes of the arena + scratch, and of the parameters that it reads (shared ones count in every plan). */
void sumi_plan_get_memory (const SumiPlan *p, gsize *arena, gsize *parameters);

/* ---- for engines ---- */
typedef struct
{
  const char *name;
  SumiPlan *(*compile) (SumiEngine *e, SumiGraph *g, const SumiCompileOptions *o, GError **error);
  void (*plan_free) (SumiPlan *p); /* what compile made, not what engine.c filled in; graph and engine still live */
  gboolean (*set) (SumiPlan *p, const SumiNode *leaf, const SumiTensor *value, GError **error);
  gboolean (*has_value) (const SumiPlan *p, const SumiNode *leaf);
  gboolean (*run) (SumiPlan *p, GCancellable *cancellable, GError **error);
  gboolean (*read) (SumiPlan *p, const SumiNode *output, SumiTensor *into, GError **error);
  void (*trim) (SumiPlan *p);
  void (*memory) (const SumiPlan *p, gsize *arena, gsize *parameters);
  gpointer (*store_new) (void); /* what SumiPackedWeights holds */
  void (*store_free) (gpointer store);
} SumiEngineClass;

struct _SumiEngine
{
  const SumiEngineClass *klass;
  grefcount              refs;
};

struct _SumiPackedWeights
{
  SumiEngine *engine;
  grefcount   refs;
  GHashTable *shapes; /* name -> SumiShape*: of the parameters of all plans */
  gpointer    store;  /* the engine's */
};

/* An engine's plan begins with this, zeroed. engine.c fills it after compile and checks names, shapes and
 * "all leaves set". compile finds options->packed never NULL. */
struct _SumiPlan
{
  SumiEngine *engine;
  SumiGraph  *graph;
  SumiPackedWeights *packed;
  GHashTable *leaves;  /* interned name -> SumiNode*; the leaves the outputs need */
  SumiDType   dtype;
  guint       n_outputs; /* the graph may get more of them later */
  gboolean    has_run;   /* the last run succeeded */
};

extern const SumiEngineClass sumi_engine_ref_class;
extern const SumiEngineClass sumi_engine_cpu_class;

/* The nodes the outputs need, in order. Shared by the engines. Free with g_free. */
SumiNode **sumi_graph_schedule (const SumiGraph *g, guint *n);

G_END_DECLS
