/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/protocol.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define MAGIC "SUMI"
#define RUN_FORMAT "(sssuuudsdtuus)"
#define RESULT_FORMAT "(uuuuutsas)"
#define MAX_STEPS 1000
#define MAX_BATCH 64

static const struct
{
  const char *name;
  const char *format;
  gboolean pixels;
} types[SUMI_N_FRAMES] = {
  [SUMI_FRAME_HELLO] = { "HELLO", "(sas)", FALSE },        [SUMI_FRAME_LOAD] = { "LOAD", "(su)", FALSE },
  [SUMI_FRAME_RUN] = { "RUN", RUN_FORMAT, FALSE },         [SUMI_FRAME_TRAIN] = { "TRAIN", "a{sv}", FALSE },
  [SUMI_FRAME_PROGRESS] = { "PROGRESS", "(suu)", FALSE },  [SUMI_FRAME_PREVIEW] = { "PREVIEW", "(uuu)", TRUE },
  [SUMI_FRAME_RESULT] = { "RESULT", RESULT_FORMAT, TRUE }, [SUMI_FRAME_ERROR] = { "ERROR", "(sis)", FALSE },
  [SUMI_FRAME_CANCEL] = { "CANCEL", "()", FALSE },         [SUMI_FRAME_BYE] = { "BYE", "()", FALSE },
};

static gboolean
is_type (guint type)
{
  return type >= SUMI_FRAME_HELLO && type < SUMI_N_FRAMES;
}

static gboolean protocol_error (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

static gboolean
protocol_error (GError **error, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autofree char *message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error_literal (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL, message);
  return FALSE;
}

const char *
sumi_frame_type_name (SumiFrameType type)
{
  return is_type (type) ? types[type].name : "?";
}

const char *
sumi_frame_format (SumiFrameType type)
{
  return is_type (type) ? types[type].format : NULL;
}

gboolean
sumi_frame_has_pixels (SumiFrameType type)
{
  return is_type (type) && types[type].pixels;
}

void
sumi_frame_clear (SumiFrame *f)
{
  g_clear_pointer (&f->payload, g_variant_unref);
  if (f->fd >= 0)
    close (f->fd);
  *f = SUMI_FRAME_INIT;
}

/* ---- header ---- */

static void
put_u16 (guint8 *p, guint16 v)
{
  v = GUINT16_TO_LE (v);
  memcpy (p, &v, sizeof v);
}

static void
put_u32 (guint8 *p, guint32 v)
{
  v = GUINT32_TO_LE (v);
  memcpy (p, &v, sizeof v);
}

static guint16
get_u16 (const guint8 *p)
{
  guint16 v;
  memcpy (&v, p, sizeof v);
  return GUINT16_FROM_LE (v);
}

static guint32
get_u32 (const guint8 *p)
{
  guint32 v;
  memcpy (&v, p, sizeof v);
  return GUINT32_FROM_LE (v);
}

/* The wire is little-endian, whatever this machine is. */
static GVariant *
swap_if_big_endian (GVariant *v)
{
  if (G_BYTE_ORDER == G_LITTLE_ENDIAN)
    return g_variant_ref (v);
  return g_variant_byteswap (v);
}

GBytes *
sumi_frame_encode (SumiFrameType type, guint32 job, GVariant *payload, GError **error)
{
  g_autoptr (GVariant) taken = g_variant_ref_sink (payload);
  if (!is_type (type) || !g_variant_is_of_type (taken, G_VARIANT_TYPE (types[type].format)))
    {
      protocol_error (error, "frame %s: found a payload of type %s, expected %s", sumi_frame_type_name (type),
                      g_variant_get_type_string (taken), is_type (type) ? types[type].format : "a frame type");
      return NULL;
    }
  g_autoptr (GVariant) wire = swap_if_big_endian (taken);
  gsize length = g_variant_get_size (wire);
  if (length > SUMI_FRAME_MAX_PAYLOAD)
    {
      protocol_error (error, "frame %s: found %" G_GSIZE_FORMAT " bytes, expected at most %d", types[type].name, length,
                      SUMI_FRAME_MAX_PAYLOAD);
      return NULL;
    }

  guint8 *data = g_malloc0 (SUMI_FRAME_HEADER_SIZE + length);
  memcpy (data, MAGIC, 4);
  put_u16 (data + 4, SUMI_PROTOCOL_VERSION);
  put_u16 (data + 6, type);
  put_u32 (data + 8, job);
  put_u32 (data + 12, (guint32)length);
  g_variant_store (wire, data + SUMI_FRAME_HEADER_SIZE);
  return g_bytes_new_take (data, SUMI_FRAME_HEADER_SIZE + length);
}

static gboolean
check_header (const guint8 *data, gsize size, GError **error)
{
  if (memcmp (data, MAGIC, MIN (size, 4)) != 0)
    return protocol_error (error, "frame: found other bytes than the magic, expected \"%s\"", MAGIC);
  if (size < SUMI_FRAME_HEADER_SIZE)
    return TRUE;
  if (get_u16 (data + 4) != SUMI_PROTOCOL_VERSION)
    return protocol_error (error,
                           "frame: found protocol version %u, expected %d (plug-in and worker are not of one "
                           "installation)",
                           get_u16 (data + 4), SUMI_PROTOCOL_VERSION);
  if (!is_type (get_u16 (data + 6)))
    return protocol_error (error, "frame: found type %u, expected 1 to %d", get_u16 (data + 6), SUMI_N_FRAMES - 1);
  if (get_u32 (data + 12) > SUMI_FRAME_MAX_PAYLOAD)
    return protocol_error (error, "frame %s: found %u bytes, expected at most %d", types[get_u16 (data + 6)].name,
                           get_u32 (data + 12), SUMI_FRAME_MAX_PAYLOAD);
  return TRUE;
}

static GVariant *
decode_payload (SumiFrameType type, const guint8 *data, gsize length, GError **error)
{
  const GVariantType *format = G_VARIANT_TYPE (types[type].format);
  g_autoptr (GBytes) bytes = g_bytes_new (data, length);
  g_autoptr (GVariant) wire = g_variant_ref_sink (g_variant_new_from_bytes (format, bytes, FALSE));

  /* A payload of a fixed-size format with another size reads as zeros: it has to be caught here. */
  if (g_variant_get_size (wire) != length || !g_variant_is_normal_form (wire))
    {
      protocol_error (error, "frame %s: found %" G_GSIZE_FORMAT " bytes that are no normal form, expected %s",
                      types[type].name, length, types[type].format);
      return NULL;
    }
  return swap_if_big_endian (wire);
}

gboolean
sumi_frame_decode (const void *bytes, gsize size, SumiFrame *frame, gsize *consumed, GError **error)
{
  const guint8 *data = bytes;

  *consumed = 0;
  if (size == 0)
    return TRUE;
  if (!check_header (data, size, error))
    return FALSE;
  if (size < SUMI_FRAME_HEADER_SIZE || size - SUMI_FRAME_HEADER_SIZE < get_u32 (data + 12))
    return TRUE;

  SumiFrameType type = get_u16 (data + 6);
  gsize length = get_u32 (data + 12);
  GVariant *payload = decode_payload (type, data + SUMI_FRAME_HEADER_SIZE, length, error);
  if (payload == NULL)
    return FALSE;
  *frame = (SumiFrame){ .type = type, .job = get_u32 (data + 8), .payload = payload, .fd = -1 };
  *consumed = SUMI_FRAME_HEADER_SIZE + length;
  return TRUE;
}

/* ---- RUN ---- */

void
sumi_run_args_clear (SumiRunArgs *a)
{
  g_free (a->model);
  g_free (a->prompt);
  g_free (a->negative);
  g_free (a->sampler);
  g_free (a->schedule);
  *a = (SumiRunArgs){ 0 };
}

static const char *
text_or_empty (const char *s)
{
  return s != NULL ? s : "";
}

GVariant *
sumi_run_args_to_variant (const SumiRunArgs *a)
{
  return g_variant_new (RUN_FORMAT, text_or_empty (a->model), text_or_empty (a->prompt), text_or_empty (a->negative),
                        a->width, a->height, a->steps, a->guidance_scale, text_or_empty (a->sampler), a->eta, a->seed,
                        a->batch, a->threads, text_or_empty (a->schedule));
}

static gboolean
check_run_args (const SumiRunArgs *a, GError **error)
{
  if (a->width > SUMI_FRAME_MAX_SIDE || a->height > SUMI_FRAME_MAX_SIDE)
    return protocol_error (error, "RUN: found a size of %u x %u, expected at most %d a side", a->width, a->height,
                           SUMI_FRAME_MAX_SIDE);
  if (a->steps < 1 || a->steps > MAX_STEPS)
    return protocol_error (error, "RUN: found %u steps, expected 1 to %d", a->steps, MAX_STEPS);
  if (!isfinite (a->guidance_scale))
    return protocol_error (error, "RUN: found no finite guidance scale, expected a number");
  if (!(a->eta >= 0.0 && a->eta <= 1.0))
    return protocol_error (error, "RUN: found an eta outside, expected 0 to 1");
  if (a->batch < 1 || a->batch > MAX_BATCH)
    return protocol_error (error, "RUN: found a batch of %u, expected 1 to %d", a->batch, MAX_BATCH);
  return TRUE;
}

gboolean
sumi_run_args_from_variant (GVariant *v, SumiRunArgs *a, GError **error)
{
  g_variant_get (v, RUN_FORMAT, &a->model, &a->prompt, &a->negative, &a->width, &a->height, &a->steps,
                 &a->guidance_scale, &a->sampler, &a->eta, &a->seed, &a->batch, &a->threads, &a->schedule);
  if (check_run_args (a, error))
    return TRUE;
  sumi_run_args_clear (a);
  return FALSE;
}

/* ---- RESULT ---- */

void
sumi_result_info_clear (SumiResultInfo *r)
{
  g_free (r->parameters);
  g_strfreev (r->notes);
  *r = (SumiResultInfo){ 0 };
}

GVariant *
sumi_result_info_to_variant (const SumiResultInfo *r)
{
  static const char *const none[] = { NULL };
  const char *const *notes = r->notes != NULL ? (const char *const *)r->notes : none;
  return g_variant_new ("(uuuuuts^as)", r->index, r->count, r->width, r->height, r->channels, r->seed,
                        text_or_empty (r->parameters), notes);
}

gboolean
sumi_result_info_from_variant (GVariant *v, SumiResultInfo *r, GError **error)
{
  g_variant_get (v, "(uuuuuts^as)", &r->index, &r->count, &r->width, &r->height, &r->channels, &r->seed, &r->parameters,
                 &r->notes);
  if (r->index < r->count && r->count <= MAX_BATCH && r->channels == 3 && r->width >= 1 && r->height >= 1
      && r->width <= SUMI_FRAME_MAX_SIDE && r->height <= SUMI_FRAME_MAX_SIDE)
    return TRUE;
  protocol_error (error,
                  "RESULT: found picture %u of %u with %u x %u x %u values, expected 3 channels and at most %d a side",
                  r->index, r->count, r->width, r->height, r->channels, SUMI_FRAME_MAX_SIDE);
  sumi_result_info_clear (r);
  return FALSE;
}

/* ---- ERROR ---- */

static int
code_of_class (const char *class)
{
  for (int code = 0; code < SUMI_N_ERRORS; code++)
    {
      GError e = { .domain = SUMI_ERROR, .code = code };
      if (strcmp (sumi_error_class (&e), class) == 0)
        return code;
    }
  return SUMI_ERROR_ENGINE;
}

GVariant *
sumi_error_to_variant (const GError *error)
{
  g_autofree char *message = g_utf8_make_valid (error->message, -1); /* may hold a file's name */
  return g_variant_new ("(sis)", g_quark_to_string (SUMI_ERROR), code_of_class (sumi_error_class (error)), message);
}

GError *
sumi_error_from_variant (GVariant *v)
{
  const char *domain, *message;
  gint32 code;

  g_variant_get (v, "(&si&s)", &domain, &code, &message);
  if (strcmp (domain, g_quark_to_string (SUMI_ERROR)) != 0 || code < 0 || code >= SUMI_N_ERRORS)
    code = SUMI_ERROR_ENGINE;
  return g_error_new_literal (SUMI_ERROR, code, message);
}
