/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames as bytes, frames on a socket, pixels in shared memory: round trips, and everything a broken peer may send. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <gio/gio.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/pixels.h"

static GVariant *
sample_payload (SumiFrameType type)
{
  switch (type)
    {
    case SUMI_FRAME_HELLO:
      return g_variant_new_parsed ("('0.1', ['starter', 'märchen'])");
    case SUMI_FRAME_LOAD:
      return g_variant_new ("(su)", "starter", 2);
    case SUMI_FRAME_RUN:
      return g_variant_new ("(sssuuudsdtuus)", "m", "a fox", "", 64, 48, 20, 7.5, "ddim", 0.0, G_GUINT64_CONSTANT (1),
                            1, 0, "");
    case SUMI_FRAME_TRAIN:
      return g_variant_new_parsed ("@a{sv} {}");
    case SUMI_FRAME_PROGRESS:
      return g_variant_new ("(suu)", "sample", 3, 20);
    case SUMI_FRAME_PREVIEW:
      return g_variant_new ("(uuu)", 4, 2, 3);
    case SUMI_FRAME_RESULT:
      return g_variant_new_parsed ("(uint32 0, uint32 1, uint32 4, uint32 2, uint32 3, uint64 9, 'p', ['note'])");
    case SUMI_FRAME_ERROR:
      return g_variant_new ("(sis)", "sumi-error-quark", SUMI_ERROR_IO, "no");
    default:
      return g_variant_new ("()");
    }
}

static GBytes *
encoded (SumiFrameType type, guint32 job)
{
  GError *error = NULL;
  GBytes *bytes = sumi_frame_encode (type, job, sample_payload (type), &error);
  g_assert_no_error (error);
  return bytes;
}

static void
test_round_trip (void)
{
  for (SumiFrameType type = SUMI_FRAME_HELLO; type < SUMI_N_FRAMES; type++)
    {
      g_autoptr (GBytes) bytes = encoded (type, 77);
      gsize size, consumed;
      const guint8 *data = g_bytes_get_data (bytes, &size);
      g_autoptr (GVariant) want = g_variant_ref_sink (sample_payload (type));
      g_autoptr (GError) error = NULL;

      for (gsize part = 0; part < size; part++)
        {
          SumiFrame none = SUMI_FRAME_INIT;
          g_assert_true (sumi_frame_decode (data, part, &none, &consumed, &error));
          g_assert_cmpuint (consumed, ==, 0);
        }
      g_auto (SumiFrame) frame = SUMI_FRAME_INIT;
      g_assert_true (sumi_frame_decode (data, size, &frame, &consumed, &error));
      g_assert_no_error (error);
      g_assert_cmpuint (consumed, ==, size);
      g_assert_cmpint (frame.type, ==, type);
      g_assert_cmpuint (frame.job, ==, 77);
      g_assert_true (g_variant_equal (frame.payload, want));
    }
}

static void
assert_refused (const guint8 *data, gsize size, const char *what)
{
  g_auto (SumiFrame) frame = SUMI_FRAME_INIT;
  g_autoptr (GError) error = NULL;
  gsize consumed;
  g_assert_false (sumi_frame_decode (data, size, &frame, &consumed, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL);
  g_assert_nonnull (strstr (error->message, what));
}

/* One change of a good frame, refused for the reason given. */
static void
refuse_change (SumiFrameType type, gsize at, guint8 value, const char *what)
{
  g_autoptr (GBytes) good = encoded (type, 1);
  gsize size;
  g_autofree guint8 *data = NULL;
  const guint8 *from = g_bytes_get_data (good, &size);
  data = g_memdup2 (from, size);
  g_assert_cmpuint (data[at], !=, value);
  data[at] = value;
  assert_refused (data, size, what);
}

static void
test_hostile_bytes (void)
{
  refuse_change (SUMI_FRAME_RUN, 0, 'X', "magic");
  refuse_change (SUMI_FRAME_RUN, 4, 9, "version");
  refuse_change (SUMI_FRAME_RUN, 6, 0, "type 0");
  refuse_change (SUMI_FRAME_RUN, 6, SUMI_N_FRAMES, "type");
  refuse_change (SUMI_FRAME_RUN, 7, 0xff, "type");
  refuse_change (SUMI_FRAME_RUN, 15, 0xff, "at most");                /* a length of 4 GB */
  refuse_change (SUMI_FRAME_RUN, 6, SUMI_FRAME_PROGRESS, "PROGRESS"); /* another type's payload */
  refuse_change (SUMI_FRAME_LOAD, 6, SUMI_FRAME_CANCEL, "CANCEL");
  refuse_change (SUMI_FRAME_LOAD, 6, SUMI_FRAME_PREVIEW, "PREVIEW");            /* fixed size, other size */
  refuse_change (SUMI_FRAME_LOAD, SUMI_FRAME_HEADER_SIZE, 0xff, "normal form"); /* not UTF-8 */
  refuse_change (SUMI_FRAME_CANCEL, SUMI_FRAME_HEADER_SIZE, 1, "normal form");
  assert_refused ((const guint8 *)"GET / HTTP/1.1\r\n", 16, "magic");
  assert_refused ((const guint8 *)"S\0", 2, "magic"); /* seen before the header is whole */
}

/* Every single changed byte is refused or gives a frame of its format; nothing crashes. */
static void
test_every_byte (void)
{
  for (SumiFrameType type = SUMI_FRAME_HELLO; type < SUMI_N_FRAMES; type++)
    {
      g_autoptr (GBytes) good = encoded (type, 1);
      gsize size;
      const guint8 *from = g_bytes_get_data (good, &size);
      for (gsize at = 0; at < size; at++)
        for (guint bit = 0; bit < 8; bit++)
          {
            g_autofree guint8 *data = g_memdup2 (from, size);
            g_auto (SumiFrame) frame = SUMI_FRAME_INIT;
            g_autoptr (GError) error = NULL;
            gsize consumed = 0;
            data[at] ^= (guint8)(1 << bit);
            if (!sumi_frame_decode (data, size, &frame, &consumed, &error))
              g_assert_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL);
            else if (consumed > 0)
              g_assert_true (g_variant_is_of_type (frame.payload, G_VARIANT_TYPE (sumi_frame_format (frame.type))));
          }
    }
}

static void
test_encode_refuses (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *long_text = g_strnfill (SUMI_FRAME_MAX_PAYLOAD, 'x');

  g_assert_null (sumi_frame_encode (SUMI_FRAME_LOAD, 1, g_variant_new ("(s)", "x"), &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL);
  g_clear_error (&error);
  g_assert_null (sumi_frame_encode (SUMI_FRAME_LOAD, 1, g_variant_new ("(su)", long_text, 1), &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL);
}

static void
test_run_args (void)
{
  const SumiRunArgs good
      = { (char *)"starter", (char *)"ein „Fuchs“", (char *)"", 64, 0, 20, 7.5, (char *)"ddim", 0.5, G_MAXUINT64, 2, 1,
          (char *)"karras" };
  g_auto (SumiRunArgs) back = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) v = g_variant_ref_sink (sumi_run_args_to_variant (&good));

  g_assert_true (sumi_run_args_from_variant (v, &back, &error));
  g_assert_cmpstr (back.prompt, ==, good.prompt);
  g_assert_cmpuint (back.seed, ==, G_MAXUINT64);
  g_assert_cmpfloat (back.eta, ==, 0.5);
  g_assert_cmpstr (back.schedule, ==, "karras");

  SumiRunArgs bad[7];
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    bad[i] = good;
  bad[0].steps = 0;
  bad[1].width = G_MAXUINT32;
  bad[2].guidance_scale = NAN;
  bad[3].eta = -1.0;
  bad[4].batch = 0;
  bad[5].steps = 1001;
  bad[6].eta = NAN;
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      SumiRunArgs args = { 0 };
      g_autoptr (GError) refusal = NULL;
      g_autoptr (GVariant) wire = g_variant_ref_sink (sumi_run_args_to_variant (&bad[i]));
      g_assert_false (sumi_run_args_from_variant (wire, &args, &refusal));
      g_assert_error (refusal, SUMI_ERROR, SUMI_ERROR_PROTOCOL);
      g_assert_null (args.model);
    }
}

static void
test_result_info (void)
{
  SumiResultInfo good = { 0, 1, 4, 2, 3, 5, (char *)"p", NULL }, bad = good;
  g_auto (SumiResultInfo) back = { 0 };
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) v = g_variant_ref_sink (sumi_result_info_to_variant (&good));

  g_assert_true (sumi_result_info_from_variant (v, &back, &error));
  g_assert_cmpuint (back.width, ==, 4);
  g_assert_cmpuint (g_strv_length (back.notes), ==, 0);
  bad.height = 0;
  g_autoptr (GVariant) w = g_variant_ref_sink (sumi_result_info_to_variant (&bad));
  SumiResultInfo none = { 0 };
  g_assert_false (sumi_result_info_from_variant (w, &none, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL);
}

static void
test_errors_travel (void)
{
  g_autoptr (GError) io = g_error_new (G_IO_ERROR, G_IO_ERROR_NO_SPACE, "disk \xff full");
  g_autoptr (GVariant) v = g_variant_ref_sink (sumi_error_to_variant (io));
  g_autoptr (GError) back = sumi_error_from_variant (v);
  g_assert_error (back, SUMI_ERROR, SUMI_ERROR_IO);
  g_assert_true (g_utf8_validate (back->message, -1, NULL));

  g_autoptr (GVariant) strange = g_variant_ref_sink (g_variant_new ("(sis)", "g-io-error-quark", 14, "x"));
  g_autoptr (GError) unknown = sumi_error_from_variant (strange);
  g_assert_error (unknown, SUMI_ERROR, SUMI_ERROR_ENGINE);
}

/* ---- the socket ---- */

typedef struct
{
  SumiChannel *here;
  int there; /* raw */
} Link;

static Link
make_link (void)
{
  int fds[2];
  g_autoptr (GError) error = NULL;
  g_assert_true (sumi_channel_pair (fds, &error));
  return (Link){ sumi_channel_new (fds[0]), fds[1] };
}

static void
push (int fd, const void *data, gsize size)
{
  g_assert_cmpint (send (fd, data, size, MSG_NOSIGNAL), ==, (gssize)size);
}

static void
push_frame (int fd, SumiFrameType type)
{
  g_autoptr (GBytes) bytes = encoded (type, 5);
  push (fd, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
}

static void
assert_status (SumiChannel *c, SumiChannelStatus want, int type)
{
  g_auto (SumiFrame) frame = SUMI_FRAME_INIT;
  g_autoptr (GError) error = NULL;
  g_assert_cmpint (sumi_channel_read (c, &frame, &error), ==, want);
  if (want == SUMI_CHANNEL_FRAME)
    g_assert_cmpint (frame.type, ==, type);
  if (want == SUMI_CHANNEL_ERROR)
    g_assert_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL);
}

static void
test_channel (void)
{
  Link l = make_link ();
  g_autoptr (SumiChannel) here = l.here;
  g_autoptr (GBytes) load = encoded (SUMI_FRAME_LOAD, 5);
  const char *data = g_bytes_get_data (load, NULL);

  assert_status (here, SUMI_CHANNEL_AGAIN, 0);
  for (gsize i = 0; i < g_bytes_get_size (load); i++) /* a byte at a time */
    {
      push (l.there, data + i, 1);
      assert_status (here, i + 1 < g_bytes_get_size (load) ? SUMI_CHANNEL_AGAIN : SUMI_CHANNEL_FRAME, SUMI_FRAME_LOAD);
    }
  push_frame (l.there, SUMI_FRAME_RUN); /* two at once, and the end behind them */
  push_frame (l.there, SUMI_FRAME_CANCEL);
  close (l.there);
  assert_status (here, SUMI_CHANNEL_FRAME, SUMI_FRAME_RUN);
  assert_status (here, SUMI_CHANNEL_FRAME, SUMI_FRAME_CANCEL);
  assert_status (here, SUMI_CHANNEL_EOF, 0);

  g_autoptr (GError) error = NULL;
  g_assert_false (sumi_channel_send (here, SUMI_FRAME_BYE, 0, g_variant_new ("()"), -1, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_IO); /* and no SIGPIPE */
}

static void
test_channel_truncated (void)
{
  Link l = make_link ();
  g_autoptr (SumiChannel) here = l.here;
  push (l.there, "SUMI\1\0", 6);
  assert_status (here, SUMI_CHANNEL_AGAIN, 0);
  close (l.there);
  assert_status (here, SUMI_CHANNEL_ERROR, 0);
}

static void
test_channel_no_pixels (void)
{
  Link l = make_link ();
  g_autoptr (SumiChannel) here = l.here;
  push_frame (l.there, SUMI_FRAME_PREVIEW);
  assert_status (here, SUMI_CHANNEL_ERROR, 0);
  close (l.there);
}

static void
test_channel_pixels (void)
{
  Link l = make_link ();
  g_autoptr (SumiChannel) here = l.here, there = sumi_channel_new (l.there);
  const guint8 pixels[24] = { 1, 2, 3 };
  g_autoptr (GError) error = NULL;
  int fd = sumi_pixels_share (pixels, sizeof pixels, &error);

  g_assert_no_error (error);
  g_assert_false (sumi_channel_send (there, SUMI_FRAME_CANCEL, 1, g_variant_new ("()"), fd, NULL));
  g_assert_true (sumi_channel_send (there, SUMI_FRAME_PROGRESS, 1, sample_payload (SUMI_FRAME_PROGRESS), -1, &error));
  g_assert_true (sumi_channel_send (there, SUMI_FRAME_PREVIEW, 1, sample_payload (SUMI_FRAME_PREVIEW), fd, &error));
  close (fd);
  assert_status (here, SUMI_CHANNEL_FRAME, SUMI_FRAME_PROGRESS);

  g_auto (SumiFrame) frame = SUMI_FRAME_INIT;
  g_assert_cmpint (sumi_channel_read (here, &frame, &error), ==, SUMI_CHANNEL_FRAME);
  g_autoptr (GBytes) back = sumi_pixels_map (frame.fd, 4, 2, 3, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (back, NULL), g_bytes_get_size (back), pixels, sizeof pixels);
}

/* ---- shared memory ---- */

static void
refuse_pixels (int fd, guint width, guint height)
{
  g_autoptr (GError) error = NULL;
  g_assert_null (sumi_pixels_map (fd, width, height, 3, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL);
}

static void
test_hostile_pixels (void)
{
  const guint8 pixels[24] = { 0 };
  int sealed = sumi_pixels_share (pixels, sizeof pixels, NULL), pipes[2];
  int open_memory = memfd_create ("unsealed", MFD_ALLOW_SEALING);

  g_assert_cmpint (sealed, >=, 0);
  g_assert_cmpint (ftruncate (sealed, 1), !=, 0);
  refuse_pixels (sealed, 4, 3); /* too small for the size */
  refuse_pixels (sealed, 4, 1); /* too large */
  refuse_pixels (sealed, 0, 0);
  refuse_pixels (sealed, G_MAXUINT32, G_MAXUINT32);
  g_assert_cmpint (ftruncate (open_memory, 24), ==, 0);
  refuse_pixels (open_memory, 4, 2); /* could be shortened while we read it */
  g_assert_cmpint (pipe (pipes), ==, 0);
  refuse_pixels (pipes[0], 4, 2);
  refuse_pixels (-1, 4, 2);
  close (sealed);
  close (open_memory);
  close (pipes[0]);
  close (pipes[1]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/protocol/frames/round-trip", test_round_trip);
  g_test_add_func ("/protocol/frames/hostile", test_hostile_bytes);
  g_test_add_func ("/protocol/frames/every-byte", test_every_byte);
  g_test_add_func ("/protocol/frames/encode-refuses", test_encode_refuses);
  g_test_add_func ("/protocol/frames/run-args", test_run_args);
  g_test_add_func ("/protocol/frames/result-info", test_result_info);
  g_test_add_func ("/protocol/frames/errors", test_errors_travel);
  g_test_add_func ("/protocol/channel/pieces-and-end", test_channel);
  g_test_add_func ("/protocol/channel/truncated", test_channel_truncated);
  g_test_add_func ("/protocol/channel/no-pixels", test_channel_no_pixels);
  g_test_add_func ("/protocol/channel/pixels", test_channel_pixels);
  g_test_add_func ("/protocol/pixels/hostile", test_hostile_pixels);
  return g_test_run ();
}
