/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the plug-in and the worker say to each other: frames on a socket pair.
 *
 * A frame is a header of 16 bytes, little-endian, and a payload:
 *   "SUMI"  guint16 version  guint16 type  guint32 job  guint32 length
 * then `length` bytes: a GVariant (little-endian, normal form) of the type's format.  PREVIEW and RESULT also carry a
 * file descriptor (SCM_RIGHTS): pixels in a sealed memfd (base/pixels.h).
 *
 *   frame     format        plug-in -> worker                       worker -> plug-in
 *   HELLO     (sas)         program version, []                     program version, names of the models in the store
 *   LOAD      (su)          model, threads: make it ready           -
 *   RUN       see SumiRunArgs  draw pictures                        -
 *   TRAIN     a{sv}         reserved: answered with ERROR usage     -
 *   PROGRESS  (suu)         -                                       phase, step, steps
 *   PREVIEW   (uuu)         -                                       width, height, channels + pixels
 *   RESULT    (uuuuutsas)   -                                       see SumiResultInfo + pixels
 *   ERROR     (sis)         -                                       domain, code, message: the job has ended
 *   CANCEL    ()            stop the job                            -
 *   BYE       ()            end                                     -
 *
 * Phases are "load", "text", "sample" and "decode".
 * A job ends with its last RESULT (RUN), with PROGRESS load 1/1 (LOAD), or with ERROR (cancelled after CANCEL).
 * Job 0 is the connection itself.  Everything that breaks these rules is SUMI_ERROR_PROTOCOL. */
#pragma once

#include "base/error.h"

G_BEGIN_DECLS

#define SUMI_PROTOCOL_VERSION 2
#define SUMI_FRAME_HEADER_SIZE 16
#define SUMI_FRAME_MAX_PAYLOAD (256 * 1024)
#define SUMI_FRAME_MAX_SIDE 16384 /* pixels */

typedef enum
{
  SUMI_FRAME_HELLO = 1,
  SUMI_FRAME_LOAD,
  SUMI_FRAME_RUN,
  SUMI_FRAME_TRAIN,
  SUMI_FRAME_PROGRESS,
  SUMI_FRAME_PREVIEW,
  SUMI_FRAME_RESULT,
  SUMI_FRAME_ERROR,
  SUMI_FRAME_CANCEL,
  SUMI_FRAME_BYE,
  SUMI_N_FRAMES
} SumiFrameType;

typedef struct
{
  SumiFrameType type;
  guint32 job;
  GVariant *payload; /* of the type's format, normal form, native byte order */
  int fd;            /* pixels, or -1; sumi_frame_clear closes it */
} SumiFrame;

#define SUMI_FRAME_INIT ((SumiFrame) { .fd = -1 })

void sumi_frame_clear (SumiFrame *f);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SumiFrame, sumi_frame_clear)

const char *sumi_frame_type_name (SumiFrameType type); /* "HELLO"…; "?" for anything else */
const char *sumi_frame_format (SumiFrameType type);    /* the GVariant type string; NULL for no frame type */
gboolean    sumi_frame_has_pixels (SumiFrameType type);

/* Header and payload as bytes.  Takes a floating payload.  A payload of another type or above the limit: protocol. */
GBytes *sumi_frame_encode (SumiFrameType type, guint32 job, GVariant *payload, GError **error);

/* The frame at the start of `size` bytes.  TRUE with *consumed == 0: it is not complete yet (frame untouched).
 * The header is judged as soon as it is there, so no peer can make us wait for, or keep, more than a frame. */
gboolean sumi_frame_decode (const void *data, gsize size, SumiFrame *frame, gsize *consumed, GError **error);

/* ---- payloads ---- */

/* RUN: the CLI's options of the same names. */
typedef struct
{
  char *model;  /* a file or a name in the store */
  char *prompt; /* UTF-8, "" for none; the same for the next */
  char *negative;
  guint width, height; /* pixels, at most SUMI_FRAME_MAX_SIDE; 0: the model's own */
  guint steps;         /* 1..1000 */
  double guidance_scale; /* finite */
  char *sampler;
  double eta; /* 0..1 */
  guint64 seed;
  guint batch;   /* 1..64 pictures, drawn with seed, seed + 1… */
  guint threads; /* 0: all */
  char *schedule; /* which noise levels are visited; "automatic" or "": those of the sampler and the model */
} SumiRunArgs;

void      sumi_run_args_clear (SumiRunArgs *a);
GVariant *sumi_run_args_to_variant (const SumiRunArgs *a); /* floating */
/* `a` holds nothing before; values out of range: protocol, `a` cleared. */
gboolean  sumi_run_args_from_variant (GVariant *v, SumiRunArgs *a, GError **error);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SumiRunArgs, sumi_run_args_clear)

/* RESULT: picture `index` of `count`, drawn with `seed`; parameters in the A1111 form; notes for the user. */
typedef struct
{
  guint index, count;
  guint width, height, channels; /* 1..SUMI_FRAME_MAX_SIDE; channels 3 */
  guint64 seed;
  char *parameters;
  char **notes;
} SumiResultInfo;

void      sumi_result_info_clear (SumiResultInfo *r);
GVariant *sumi_result_info_to_variant (const SumiResultInfo *r); /* floating */
gboolean  sumi_result_info_from_variant (GVariant *v, SumiResultInfo *r, GError **error);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SumiResultInfo, sumi_result_info_clear)

/* ERROR: any GError travels as SUMI_ERROR of its class, and comes out as such; an unknown code is SUMI_ERROR_ENGINE. */
GVariant *sumi_error_to_variant (const GError *error);
GError   *sumi_error_from_variant (GVariant *v);

G_END_DECLS
