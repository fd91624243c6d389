/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Errors: one GError domain for the whole core.
 *
 * Every code has a stable *class name* (`sumi_error_class`), which the command line prints between brackets
 * and which scripts may rely on: `sumi: error [bad_offsets]: WHAT (found X, expected Y)`.
 * Messages say what was found and what was expected.  Cancellation is SUMI_ERROR_CANCELLED everywhere.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define SUMI_ERROR (sumi_error_quark ())

typedef enum
{
  SUMI_ERROR_USAGE,              /* "usage": wrong arguments; exit status 2 */
  SUMI_ERROR_OUT_OF_MEMORY,      /* "out_of_memory" */
  SUMI_ERROR_CANCELLED,          /* "cancelled"; exit status 130 */
  SUMI_ERROR_IO,                 /* "io": the system said no */
  SUMI_ERROR_ENGINE,             /* "engine": a compute engine cannot do what was asked */
  SUMI_ERROR_TRUNCATED,          /* "truncated": the file ends too early */
  SUMI_ERROR_BAD_HEADER,         /* "bad_header" */
  SUMI_ERROR_BAD_OFFSETS,        /* "bad_offsets" */
  SUMI_ERROR_BAD_SHAPE,          /* "bad_shape": not a shape, or too many elements */
  SUMI_ERROR_UNSUPPORTED_DTYPE,  /* "unsupported_dtype" */
  SUMI_ERROR_UNSUPPORTED_FORMAT, /* "unsupported_format" */
  SUMI_ERROR_NON_FINITE,         /* "non_finite": NaN or infinity in weights or in a loss */
  SUMI_ERROR_MISSING_TENSOR,     /* "missing_tensor" */
  SUMI_ERROR_SHAPE_MISMATCH,     /* "shape_mismatch": a tensor or node of another shape than needed */
  SUMI_ERROR_UNSAFE_PICKLE,      /* "unsafe_pickle" */
  SUMI_ERROR_UNSAFE_PATH,        /* "unsafe_path" */
  SUMI_ERROR_TOO_LARGE,          /* "too_large" */
  SUMI_ERROR_MISSING_FILE,       /* "missing_file" */
  SUMI_ERROR_UNKNOWN_MODEL,      /* "unknown_model" */
  SUMI_ERROR_BAD_CONFIG,         /* "bad_config" */
  SUMI_ERROR_PROTOCOL,           /* "protocol": a malformed frame between plug-in and worker */
  SUMI_N_ERRORS
} SumiError;

GQuark sumi_error_quark (void);

/* The class name of a SUMI_ERROR code; "io" for G_FILE_ERROR/G_IO_ERROR, "cancelled" for G_IO_ERROR_CANCELLED,
 * "engine" for anything else.  Static string. */
const char *sumi_error_class (const GError *error);

/* Sets an error of this code (printf-style) and returns FALSE, for checks that end in `ok || sumi_refuse (…)`. */
gboolean sumi_refuse (GError **error, SumiError code, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* Sets SUMI_ERROR_CANCELLED and returns TRUE when the cancellable (may be NULL) has been cancelled. */
typedef struct _GCancellable GCancellable;
gboolean sumi_set_error_if_cancelled (GCancellable *cancellable, GError **error);

G_END_DECLS
