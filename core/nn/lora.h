/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Adapters: small files that change the weights of a model (Hu et al. 2021, LoRA; Yeh et al. 2023, LyCORIS; Liu et al.
 * 2024, DoRA).  Every dialect is read into one form, a list of changes to named parameters:
 *   W' = W + strength scale ΔW        (scale = alpha / rank, 1 where no alpha is stored)
 * merged in f32 from the model's own (mapped) weights every time, so that taking an adapter off restores the model bit
 * for bit.  Where ΔW depends on W (DoRA, rotations, IA3, replacements) it is W' - W at strength 1. */
#pragma once

#include "nn/names.h"
#include "tensor/tensor-map.h"

G_BEGIN_DECLS

/* What may be adapted: the parameters of a model under Sumi's names (nn/names.h), and the spellings other programs have
 * for them. Built once per model. */
typedef struct _SumiLoraTargets SumiLoraTargets;
/* weights: canonical names -> tensors (only names and shapes are looked at). unet: for the ldm spellings.
 * family: as sumi_family_name, for messages and for refusing adapters of another family. Takes a reference. */
SumiLoraTargets *sumi_lora_targets_new (SumiTensorMap *weights, const SumiUnetConfig *unet, const char *family);
void sumi_lora_targets_free (SumiLoraTargets *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiLoraTargets, sumi_lora_targets_free)

typedef struct _SumiLora SumiLora; /* one file, matched to the targets of one model; reference-counted */

/* file: as io/weights.h gives it.  name: for messages.
 * unknown_model: for another family (says which and why), or no adapter at all, or none of its keys matched (lists
 * them); shape_mismatch, non_finite, missing_tensor (half of a pair). */
SumiLora *sumi_lora_new (const SumiLoraTargets *targets, SumiTensorMap *file, const char *name, GError **error);
SumiLora *sumi_lora_ref (SumiLora *l);
void sumi_lora_unref (SumiLora *l);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiLora, sumi_lora_unref)

/* What `sumi inspect` says without a model: dialect, family (from metadata, text-encoder widths, to_k's input; NULL
 * where it cannot be told), rank, how many changes, or the refusal. */
typedef struct
{
  const char *dialect; /* "kohya", "peft", "diffusers", "diffusers-legacy", "cloneofsimo", "lycoris", … Static */
  const char *family;  /* "sd15", "sd21", "sdxl" or NULL. Static */
  guint rank;          /* the largest; 0 where there is none */
  double alpha;        /* the largest; 0 where none is stored */
  guint n_modules;     /* modules with a change */
  gboolean text_encoder;
  guint n_tokens;     /* textual-inversion embeddings that came along */
  GPtrArray *unknown; /* char*: keys of no known dialect */
} SumiLoraInfo;
/* unknown_model when the file is no adapter, or has only keys that no program writes on purpose (they are listed). */
gboolean sumi_lora_inspect (const SumiTensorMap *file, SumiLoraInfo *info, GError **error);
void sumi_lora_info_clear (SumiLoraInfo *info);
/* What can be checked of the file alone, with the errors that sumi_lora_new would have: halves of pairs, ranks that do
 * not go together, values that are no numbers. */
gboolean sumi_lora_check (const SumiTensorMap *file, GError **error);

guint sumi_lora_get_n_changes (const SumiLora *l);             /* parameters it changes */
const char *sumi_lora_get_change (const SumiLora *l, guint i); /* canonical name of the parameter */
GPtrArray *sumi_lora_peek_unmatched (const SumiLora *l);       /* char*: keys that fit nothing in this model */
/* ΔW of one parameter at strength 1, F32 in the parameter's shape: for tests and tools. DoRA depends on W. Transfer
 * full. */
SumiTensor *sumi_lora_delta (const SumiLora *l, const char *parameter, GError **error);
/* Textual-inversion vectors that came in the same file ("bundle_emb.TOKEN.…", cloneofsimo's "<token>"): token ->
 * SumiTensorMap, each as a file that sumi_embedding_new (diffusion/embedding.h) reads; NULL where there are none.
 * Borrowed. */
GHashTable *sumi_lora_peek_embeddings (const SumiLora *l);

/* Several at once: each change is of the model's own weight, W' = W + sum of strength_i ΔW_i (W), so their order is of
 * no matter. */
typedef struct _SumiLoraStack SumiLoraStack;
SumiLoraStack *sumi_lora_stack_new (SumiTensorMap *weights); /* canonical names; takes a reference */
void sumi_lora_stack_free (SumiLoraStack *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiLoraStack, sumi_lora_stack_free)
void sumi_lora_stack_add (SumiLoraStack *s, SumiLora *l, double unet_strength, double text_strength);
void sumi_lora_stack_clear (SumiLoraStack *s);
gboolean sumi_lora_stack_changes (const SumiLoraStack *s, const char *parameter);
/* The parameter with all changes, F32; the model's own tensor (a reference) where nothing changes it.  non_finite where
 * the sum is too large. Transfer full. */
SumiTensor *sumi_lora_stack_merge (const SumiLoraStack *s, const char *parameter, GError **error);

G_END_DECLS
