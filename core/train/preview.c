/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The sheets go the way of every picture: the exported weights through the pipeline that users draw with. */
#include "train/preview.h"

#include <math.h>

#include "diffusion/pipeline.h"
#include "io/image.h"

#define N_PIXEL_PICTURES 16
#define N_CAPTIONS 12

char **
sumi_train_preview_prompts (const SumiTrainSetup *setup, const SumiDataset *d)
{
  GPtrArray *list;
  guint n = sumi_dataset_get_size (d), count = MIN (n, N_CAPTIONS);

  if (setup->prompts != NULL && *setup->prompts != NULL)
    return g_strdupv (setup->prompts);
  list = g_ptr_array_new ();
  for (guint i = 0; i < count; i++)
    {
      const char *caption = *sumi_dataset_peek_captions (d, (guint)((guint64)i * n / count));
      g_ptr_array_add (list, g_strdup (caption != NULL ? caption : ""));
    }
  g_ptr_array_add (list, NULL);
  return (char **)g_ptr_array_free (list, FALSE);
}

static SumiPipeline *
open_pipeline (const SumiTrainState *state, const SumiTrainSetup *setup, const char *config, GError **error)
{
  const SumiTrainOptions *o = &setup->options;
  const SumiPipelineOptions options = { .engine = setup->engine,
                                        .dtype = SUMI_F32,
                                        .threads = (guint)o->threads,
                                        .merges = setup->merges,
                                        .taef2 = setup->taef2,
                                        .keep_warm = TRUE };
  g_autoptr (SumiTensorMap) model = sumi_train_state_export (state, o->save_f16, config, error);

  return model != NULL ? sumi_pipeline_new (model, setup->config, &options, error) : NULL;
}

static gboolean
draw_into (GPtrArray *images, SumiPipeline *pipeline, const SumiRequest *request, GCancellable *cancellable,
           GError **error)
{
  g_autoptr (SumiResult) result = sumi_pipeline_run (pipeline, request, NULL, NULL, cancellable, error);

  if (result == NULL)
    return FALSE;
  for (guint i = 0; i < result->images->len; i++)
    g_ptr_array_add (images, sumi_tensor_ref (result->images->pdata[i]));
  return TRUE;
}

SumiTensor *
sumi_train_preview_draw (const SumiTrainState *state, const SumiTrainSetup *setup, const char *config, char **prompts,
                         GCancellable *cancellable, GError **error)
{
  g_autoptr (SumiPipeline) pipeline = open_pipeline (state, setup, config, error);
  g_autoptr (GPtrArray) images = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_tensor_unref);
  SumiRequest request;

  if (pipeline == NULL)
    return NULL;
  sumi_request_init (&request);
  request.seed = setup->options.seed;
  if (!sumi_pipeline_takes_prompt (pipeline))
    {
      request.batch = N_PIXEL_PICTURES;
      request.guidance_scale = 1;
      if (!draw_into (images, pipeline, &request, cancellable, error))
        return NULL;
    }
  else
    for (; *prompts != NULL; prompts++, request.seed++)
      {
        request.prompt = *prompts;
        if (!draw_into (images, pipeline, &request, cancellable, error))
          return NULL;
      }
  return sumi_image_grid ((SumiTensor *const *)images->pdata, images->len, (guint)ceil (sqrt (images->len)), error);
}
