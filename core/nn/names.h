/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The names of Stable Diffusion's parameters in their two spellings.
 *
 * Inside Sumi a model has one set of names: those of the diffusers folders, with the folder in front
 * ("unet.down_blocks.0.resnets.0.norm1.weight", "vae.…", "text_encoder.…", "text_encoder_2.…").  Checkpoints in one
 * file
 * ("ldm" naming) use the names of the original code: "model.diffusion_model.input_blocks.1.0.in_layers.0.weight",
 * "first_stage_model.…", "cond_stage_model.…", "conditioner.embedders.N.…". */
#pragma once

#include "nn/networks.h"

G_BEGIN_DECLS

/* The U-Net's part of a name, without any prefix: "down_blocks.1.attentions.0.proj_in.weight" <->
 * "input_blocks.4.1.proj_in.weight".  Free with g_free; NULL where the name is none of this U-Net's. */
char *sumi_names_unet_to_ldm (const SumiUnetConfig *c, const char *name);
char *sumi_names_unet_from_ldm (const SumiUnetConfig *c, const char *ldm);
/* The same for an auto-encoder with n_levels levels: "decoder.up_blocks.0.resnets.1.conv1.weight" <->
 * "decoder.up.3.block.1.conv1.weight". */
char *sumi_names_vae_to_ldm (guint n_levels, const char *name);
char *sumi_names_vae_from_ldm (guint n_levels, const char *ldm);

G_END_DECLS
