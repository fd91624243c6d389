/* SPDX-License-Identifier: GPL-3.0-or-later */
/* oneDNN: its objects, descriptors of values, and primitives with their arguments. */
#pragma once

#include <dnnl.h>

#include "base/error.h"
#include "engine/cpu/value.h"

G_BEGIN_DECLS

typedef struct
{
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_attr_t attr; /* scratchpad by the user, deterministic */
} SumiCpuDnnl;

#define SUMI_CPU_MAX_ARGS 4

/* A primitive with its arguments. */
typedef struct
{
  dnnl_primitive_t primitive;
  char *implementation; /* what oneDNN calls it */
  gsize scratch;        /* bytes; the scratchpad is the last argument */
  gsize lead;           /* bytes before its source, where that is made for it (strips.c) */
  guint n_args;
  dnnl_exec_arg_t args[SUMI_CPU_MAX_ARGS + 1];
  SumiValue values[SUMI_CPU_MAX_ARGS];
} SumiCpuProduct;

gboolean sumi_cpu_dnnl_open (SumiCpuDnnl *d, GError **error);
void sumi_cpu_dnnl_close (SumiCpuDnnl *d);
/* FALSE with an error when the status is not success. */
gboolean sumi_cpu_dnnl_check (dnnl_status_t status, const char *what, GError **error);
dnnl_data_type_t sumi_cpu_dnnl_dtype (SumiDType dtype);
/* Describes a value where it lies. */
dnnl_memory_desc_t sumi_cpu_value_desc (const SumiValue *v);
dnnl_memory_desc_t sumi_cpu_shape_desc (const SumiShape *shape, SumiDType dtype, dnnl_format_tag_t tag);
/* What oneDNN calls the implementation; lives as long as pd. */
const char *sumi_cpu_implementation (const_dnnl_primitive_desc_t pd);

/* A primitive with arguments `ids`: DNNL_ARG_SRC…  NULL with an error. Consumes pd. */
SumiCpuProduct *sumi_cpu_product_new (const SumiCpuDnnl *d, dnnl_primitive_desc_t pd, const int *ids,
                                      const SumiValue *const *values, guint n, GError **error);
SumiCpuProduct *sumi_cpu_reorder_new (const SumiCpuDnnl *d, const SumiValue *from, const_dnnl_memory_desc_t from_desc,
                                      const SumiValue *to, const_dnnl_memory_desc_t to_desc, GError **error);
void sumi_cpu_product_free (SumiCpuProduct *product);
/* Makes the address of an argument known. */
gboolean sumi_cpu_product_point (SumiCpuProduct *product, guint arg, void *at, GError **error);
gboolean sumi_cpu_product_execute (const SumiCpuDnnl *d, const SumiCpuProduct *product, const char *what,
                                   GError **error);

G_END_DECLS
