/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What plans share: oneDNN, and the values of parameters in the forms that steps read. */
#pragma once

#include "engine/cpu/room.h"
#include "engine/cpu/onednn.h"

G_BEGIN_DECLS

/* A parameter as some step wants it. */
typedef struct
{
  const char *parameter;   /* its name: the key in `forms` */
  SumiValue from;          /* the view of the parameter (dense, row-major, F32) that it is made from */
  dnnl_memory_desc_t desc; /* NULL: the parameter as it is */
  SumiCpuProduct *reorder; /* NULL: the same */
  gsize size;              /* bytes */
  guint8 *data;            /* NULL until it has a place */
  gboolean has_value;
} SumiCpuForm;

typedef struct
{
  SumiCpuDnnl dnnl;
  gboolean open;
  GHashTable *forms;   /* own copy of the name -> GPtrArray of SumiCpuForm */
  GArray *rooms;       /* SumiCpuRoom: the memory of forms */
  SumiCpuRoom staging; /* a value before it is packed, then scratch */
} SumiCpuWeights;

SumiCpuWeights *sumi_cpu_weights_new (void);
void sumi_cpu_weights_free (SumiCpuWeights *w);
gboolean sumi_cpu_weights_open (SumiCpuWeights *w, GError **error);

/* The formats (const_dnnl_memory_desc_t) of this dtype in which this view of a parameter is kept so far. */
GPtrArray *sumi_cpu_weights_formats (SumiCpuWeights *w, const char *name, const SumiValue *from, SumiDType dtype);
/* The form of this parameter, known or new; NULL with an error. desc NULL: as it is. */
SumiCpuForm *sumi_cpu_weights_want (SumiCpuWeights *w, const char *name, const SumiValue *from,
                                    const_dnnl_memory_desc_t desc, GError **error);
/* Gives new forms their place; FALSE with out_of_memory. */
gboolean sumi_cpu_weights_place (SumiCpuWeights *w, GError **error);
/* Drops new forms: of a plan that was not to be. */
void sumi_cpu_weights_drop_new (SumiCpuWeights *w);
/* Makes all forms of a parameter. */
gboolean sumi_cpu_weights_set (SumiCpuWeights *w, const char *name, const SumiTensor *value, GError **error);
/* Gives back the room that setting values took. */
void sumi_cpu_weights_end_setting (SumiCpuWeights *w);

G_END_DECLS
