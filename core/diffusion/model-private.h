/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parts of sumi_model_config_parse. */
#pragma once

#include "diffusion/model.h"

G_BEGIN_DECLS

#define SUMI_MAX_SAMPLE_SIDE 4096

/* A field that is an object. With `required` FALSE, absent gives TRUE and NULL. Borrowed. */
gboolean sumi_model_object_field (JsonObject *json, const char *name, gboolean required, JsonObject **object,
                                  GError **error);
/* "unet": into c->unet, and c->out_channels. */
gboolean sumi_model_parse_unet (JsonObject *json, SumiModelConfig *c, JsonObject **unet, GError **error);

/* What holds without any scheduler configuration; needs c->family. */
void sumi_model_scheduler_defaults (SumiModelConfig *c);
/* By the class of a diffusers scheduler configuration: unknown_model for EDM, flow matching and the like. */
gboolean sumi_model_check_process (JsonObject *json, GError **error);
/* A diffusers scheduler configuration of a class that passed. */
gboolean sumi_model_parse_scheduler (JsonObject *json, SumiModelConfig *c, GError **error);
/* The families of Stable Diffusion. */
gboolean sumi_model_parse_stable_diffusion (JsonObject *json, SumiModelConfig *c, GError **error);
/* "defaults"; after the scheduler, whose class names a sampler. */
gboolean sumi_model_parse_defaults (JsonObject *json, SumiModelConfig *c, GError **error);

G_END_DECLS
