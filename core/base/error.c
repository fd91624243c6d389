/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/error.h"

#include <gio/gio.h>

G_DEFINE_QUARK (sumi - error - quark, sumi_error)

static const char *const class_names[SUMI_N_ERRORS] = {
  [SUMI_ERROR_USAGE] = "usage",
  [SUMI_ERROR_OUT_OF_MEMORY] = "out_of_memory",
  [SUMI_ERROR_CANCELLED] = "cancelled",
  [SUMI_ERROR_IO] = "io",
  [SUMI_ERROR_ENGINE] = "engine",
  [SUMI_ERROR_TRUNCATED] = "truncated",
  [SUMI_ERROR_BAD_HEADER] = "bad_header",
  [SUMI_ERROR_BAD_OFFSETS] = "bad_offsets",
  [SUMI_ERROR_BAD_SHAPE] = "bad_shape",
  [SUMI_ERROR_UNSUPPORTED_DTYPE] = "unsupported_dtype",
  [SUMI_ERROR_UNSUPPORTED_FORMAT] = "unsupported_format",
  [SUMI_ERROR_NON_FINITE] = "non_finite",
  [SUMI_ERROR_MISSING_TENSOR] = "missing_tensor",
  [SUMI_ERROR_SHAPE_MISMATCH] = "shape_mismatch",
  [SUMI_ERROR_UNSAFE_PICKLE] = "unsafe_pickle",
  [SUMI_ERROR_UNSAFE_PATH] = "unsafe_path",
  [SUMI_ERROR_TOO_LARGE] = "too_large",
  [SUMI_ERROR_MISSING_FILE] = "missing_file",
  [SUMI_ERROR_UNKNOWN_MODEL] = "unknown_model",
  [SUMI_ERROR_BAD_CONFIG] = "bad_config",
  [SUMI_ERROR_PROTOCOL] = "protocol",
};

const char *
sumi_error_class (const GError *error)
{
  if (error == NULL)
    return "engine";
  if (error->domain == SUMI_ERROR && error->code >= 0 && error->code < SUMI_N_ERRORS)
    return class_names[error->code];
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return "cancelled";
  if (error->domain == G_FILE_ERROR || error->domain == G_IO_ERROR)
    return "io";
  return "engine";
}

gboolean
sumi_refuse (GError **error, SumiError code, const char *format, ...)
{
  g_autofree char *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error_literal (error, SUMI_ERROR, (gint)code, message);
  return FALSE;
}

gboolean
sumi_set_error_if_cancelled (GCancellable *cancellable, GError **error)
{
  if (!g_cancellable_is_cancelled (cancellable))
    return FALSE;
  g_set_error_literal (error, SUMI_ERROR, SUMI_ERROR_CANCELLED, "cancelled");
  return TRUE;
}
