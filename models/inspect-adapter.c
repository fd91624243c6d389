/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/inspect-adapter.h"

#include "diffusion/model.h"

static gboolean
read_lora (SumiAdapterReport *r, const SumiTensorMap *weights, GError **error)
{
  return sumi_lora_inspect (weights, &r->lora, error) && sumi_lora_check (weights, error);
}

static gboolean
read_embedding (SumiAdapterReport *r, const SumiTensorMap *weights, const char *name, GError **error)
{
  r->embedding = sumi_embedding_new (weights, name, error);
  return r->embedding != NULL;
}

SumiAdapterReport *
sumi_adapter_report_new (const SumiTensorMap *weights, const char *name, const char *load_as, GError **error)
{
  g_autoptr (SumiAdapterReport) r = g_new0 (SumiAdapterReport, 1);
  gboolean ok;

  if (g_strcmp0 (load_as, "lora") == 0)
    ok = read_lora (r, weights, error);
  else if (g_strcmp0 (load_as, "textual-inversion") == 0)
    ok = read_embedding (r, weights, name, error);
  else
    ok = sumi_lora_inspect (weights, &r->lora, NULL) || read_embedding (r, weights, name, error);
  return ok ? g_steal_pointer (&r) : NULL;
}

void
sumi_adapter_report_free (SumiAdapterReport *r)
{
  if (r == NULL)
    return;
  sumi_lora_info_clear (&r->lora);
  sumi_embedding_free (r->embedding);
  g_free (r);
}

gboolean
sumi_adapter_report_is_kind (const char *load_as)
{
  return g_strcmp0 (load_as, "lora") == 0 || g_strcmp0 (load_as, "textual-inversion") == 0;
}

/* Embeddings are as wide as the text encoder: CLIP L 768, OpenCLIP H 1024, bigG 1280. */
const char *
sumi_adapter_report_family (const SumiAdapterReport *r)
{
  const SumiEmbedding *e = r->embedding;
  gint64 width;

  if (e == NULL)
    return r->lora.family;
  if (e->vectors_2 != NULL)
    return sumi_family_name (e->vectors != NULL ? SUMI_FAMILY_SDXL : SUMI_FAMILY_SDXL_REFINER);
  width = sumi_tensor_get_shape (e->vectors)->d[1];
  return width == 768 ? sumi_family_name (SUMI_FAMILY_SD1) : width == 1024 ? sumi_family_name (SUMI_FAMILY_SD2) : NULL;
}
