/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the adapters share: how a key becomes the role of a module's part, how a module's parts become
 * changes of parameters, and what a change adds. */
#pragma once

#include <json-glib/json-glib.h>

#include "nn/lora.h"

G_BEGIN_DECLS

/* ---- keys (lora-keys.c) ---- */

/* What a tensor is to its module. Shapes for a weight (O,I,k,l), flat: (O,Ikl). */
typedef enum
{
  SUMI_LORA_DOWN, /* (r,I,k,l); (r,I) with MID */
  SUMI_LORA_UP,   /* (O,r) */
  SUMI_LORA_MID,  /* (r,r,k,l) */
  SUMI_LORA_ALPHA,
  SUMI_LORA_DORA_SCALE, /* (O,1…) or (1,I,1…) */
  SUMI_LORA_MAGNITUDE,  /* (O): DoRA as PEFT stores it */
  SUMI_LORA_HADA_W1_A,  /* (O,r); (r,O) with T1 */
  SUMI_LORA_HADA_W1_B,  /* (r,Ikl); (r,I) with T1 */
  SUMI_LORA_HADA_W2_A,
  SUMI_LORA_HADA_W2_B,
  SUMI_LORA_HADA_T1, /* (r,r,k,l) */
  SUMI_LORA_HADA_T2,
  SUMI_LORA_LOKR_W1, /* (o,i) with O = o p, I = i j */
  SUMI_LORA_LOKR_W1_A,
  SUMI_LORA_LOKR_W1_B,
  SUMI_LORA_LOKR_W2, /* (p,j,k,l) */
  SUMI_LORA_LOKR_W2_A,
  SUMI_LORA_LOKR_W2_B,
  SUMI_LORA_LOKR_T2,
  SUMI_LORA_GLORA_A1,
  SUMI_LORA_GLORA_A2,
  SUMI_LORA_GLORA_B1,
  SUMI_LORA_GLORA_B2,
  SUMI_LORA_GLORA_BM,
  SUMI_LORA_OFT_BLOCKS, /* (n,b,b) with O = n b; (m,n,b,b) for BOFT */
  SUMI_LORA_OFT_DIAG,   /* (n,b,b): the rotations themselves */
  SUMI_LORA_RESCALE,    /* (O,1…) */
  SUMI_LORA_OFT_R,      /* (n or 1, b (b - 1) / 2) with Ikl = n b: rotates the input */
  SUMI_LORA_OFT_SCALED, /* a mark: OFT_R was trained multiplied by 2 sqrt (b - 1) */
  SUMI_LORA_IA3,        /* (O) or (I) */
  SUMI_LORA_ON_INPUT,   /* IA3: which */
  SUMI_LORA_DIFF,       /* as the weight */
  SUMI_LORA_SET_WEIGHT,
  SUMI_LORA_W_NORM,
  SUMI_LORA_DIFF_B, /* as the bias */
  SUMI_LORA_B_NORM,
  SUMI_LORA_N_ROLES
} SumiLoraRole;

typedef enum
{
  SUMI_LORA_NO_DIALECT, /* keys that several have (alpha) */
  SUMI_LORA_FULL,
  SUMI_LORA_KOHYA,
  SUMI_LORA_PEFT,
  SUMI_LORA_DIFFUSERS,
  SUMI_LORA_DIFFUSERS_LEGACY,
  SUMI_LORA_CLONEOFSIMO,
  SUMI_LORA_LYCORIS
} SumiLoraDialect;

const char *sumi_lora_dialect_name (SumiLoraDialect d);

/* Splits a key into its module, as it is spelled (free with g_free), and the role; NULL: no dialect writes such a key.
 * "unet:12:up" gives the module "unet:12". */
char *sumi_lora_key_split (const char *key, SumiLoraRole *role, SumiLoraDialect *dialect);
/* How a missing part is named in messages. */
const char *sumi_lora_role_name (SumiLoraRole role);
/* TRUE for a module that is spelled as some dialect spells the modules of a U-Net or a CLIP text encoder; *text: of
 * the latter. */
gboolean sumi_lora_module_is_plausible (const char *module, gboolean *text);
/* For embeddings that came along: the token (free with g_free) and what the vectors are named in a file of their own;
 * NULL where the key is none. */
char *sumi_lora_key_embedding (const SumiTensorMap *file, const char *key, char **name);

/* "12 keys, such as a, b, c": for messages. Free with g_free. */
char *sumi_lora_examples (const GPtrArray *keys);

/* ---- parts (lora-content.c) ---- */

typedef struct
{
  SumiTensor *t[SUMI_LORA_N_ROLES]; /* borrowed from the file, or NULL */
  const char *key[SUMI_LORA_N_ROLES];
} SumiLoraParts;

/* The parts of a file's modules, by the modules' spelling, in the file's order. */
typedef struct
{
  GPtrArray *modules; /* char* */
  GHashTable *parts;  /* module -> SumiLoraParts* */
  GHashTable *tokens; /* embeddings: token -> SumiTensorMap* */
  GPtrArray *unknown; /* char*: keys of no dialect */
  SumiLoraDialect dialect;
} SumiLoraContent;

/* unsupported_format: two keys for one part. */
gboolean sumi_lora_content_init (SumiLoraContent *c, const SumiTensorMap *file, GError **error);
void sumi_lora_content_clear (SumiLoraContent *c);

/* Family by metadata, else by widths: a static name of sumi_family_name, or NULL. *why: how it was found out, for
 * messages, or NULL; it may say something of a family that has no name here. Free with g_free. */
const char *sumi_lora_content_family (const SumiLoraContent *c, const SumiTensorMap *file, char **why);

/* ---- metadata (lora-metadata.c) ---- */

/* A string of the metadata as JSON; NULL where there is none or it cannot be read. */
JsonNode *sumi_lora_metadata_json (const SumiTensorMap *file, const char *key);
/* PEFT's "lora_adapter_metadata": what the product is multiplied with in this module ("unet.down_blocks…"), by
 * lora_alpha, alpha_pattern and use_rslora; 1 where nothing is said. json may be NULL. */
double sumi_lora_metadata_scale (JsonNode *json, const char *module, guint rank);

/* ---- targets (lora-targets.c) ---- */

typedef struct
{
  char *name; /* canonical, without ".weight" */
  gboolean has_weight, has_bias;
  SumiShape weight, bias;
} SumiLoraModule;

const char *sumi_lora_targets_get_family (const SumiLoraTargets *t);
SumiTensorMap *sumi_lora_targets_peek_weights (const SumiLoraTargets *t);
/* By a spelling of any dialect, and by Sumi's own name; NULL where the model has no such module. */
const SumiLoraModule *sumi_lora_targets_find (const SumiLoraTargets *t, const char *spelling);
const SumiLoraModule *sumi_lora_targets_peek (const SumiLoraTargets *t, const char *name);
/* SumiLoraModule*, borrowed: what "unet:0", "unet:1"… ("text_encoder:0"…) mean in this file (lora-walk.c). */
GPtrArray *sumi_lora_targets_walk (const SumiLoraTargets *t, const char *component, const SumiTensorMap *file);

/* ---- changes (lora-change.c, lora-forms.c, lora-rotations.c) ---- */

typedef enum
{
  SUMI_LORA_FORM_LORA,
  SUMI_LORA_FORM_LOHA,
  SUMI_LORA_FORM_LOKR,
  SUMI_LORA_FORM_GLORA,
  SUMI_LORA_FORM_OFT,
  SUMI_LORA_FORM_BOFT,
  SUMI_LORA_FORM_OFT_INPUT,
  SUMI_LORA_FORM_IA3,
  SUMI_LORA_FORM_DIFF,
  SUMI_LORA_FORM_SET
} SumiLoraForm;

/* One parameter's change: checked, so that computing it can fail for want of memory only. */
typedef struct
{
  char *parameter;
  SumiShape shape;
  gint64 rows, columns, kernel; /* O, I k l, k l; a vector is (n,1,1) */
  SumiLoraForm form;
  SumiTensor *t[SUMI_LORA_N_ROLES]; /* references */
  guint rank;                       /* 0: none */
  double scale;                     /* alpha / rank, or OFT's constraint */
  gboolean dora, dora_by_row, on_input, text;
} SumiLoraChange;

void sumi_lora_change_free (SumiLoraChange *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiLoraChange, sumi_lora_change_free)

/* Appends the changes (SumiLoraChange*) that these parts make in this module; keys (char*) of parts that the module has
 * no place for, or the form no use, go to `unmatched`. */
gboolean sumi_lora_change_append (GPtrArray *changes, GPtrArray *unmatched, const SumiLoraParts *parts,
                                  const SumiLoraModule *module, JsonNode *peft, GError **error);
/* b of the b (b - 1) / 2 values above a diagonal; 0 where there is none, or too large a one. */
gint64 sumi_lora_triangle_side (gint64 n);
/* TRUE where ΔW depends on W. */
gboolean sumi_lora_change_needs_weight (const SumiLoraChange *c);
/* sum += strength ΔW; w: the parameter, where it is needed. */
gboolean sumi_lora_change_add (const SumiLoraChange *c, double strength, const float *w, float *sum, GError **error);
/* The rotations (OFT, BOFT, OFT_INPUT): delta, zeroed before, becomes ΔW. */
gboolean sumi_lora_rotation_delta (const SumiLoraChange *c, const float *w, float *delta, GError **error);

/* ---- matrices (lora-matrix.c) ---- */

/* n floats, not initialised; out_of_memory. Free with g_free. */
float *sumi_lora_floats (gint64 n, GError **error);
float *sumi_lora_load (const SumiTensor *t, GError **error);
/* (m,n) -> (n,m) */
void sumi_lora_transpose (gint64 m, gint64 n, const float *a, float *out);
/* c (m,n) += scale a (m,k) b (k,n): each sum in one order, whatever the number of threads. */
void sumi_lora_product (gint64 m, gint64 n, gint64 k, double scale, const float *a, const float *b, float *c);

G_END_DECLS
