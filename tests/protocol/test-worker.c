/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A worker process over a socket pair: what it answers, how it ends.  SUMI_TEST_WORKER is the stand-in worker. */
#include <gio/gio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "base/pixels.h"
#include "peer.h"

static Peer
start (const char *idle)
{
  const char *const command[] = { g_getenv ("SUMI_TEST_WORKER"), NULL };
  return peer_start (command, idle);
}

static void
run (Peer *p, guint32 job, const char *model)
{
  const SumiRunArgs args = { (char *)model, (char *)"a fox", (char *)"", 8, 4, 5, 1.0, (char *)"ddim", 0.0, 11, 2, 0 };
  peer_tell (p, SUMI_FRAME_RUN, job, sumi_run_args_to_variant (&args));
}

static void
test_jobs (void)
{
  Peer p = start ("0");

  peer_tell (&p, SUMI_FRAME_HELLO, 0, g_variant_new_parsed ("('test', @as [])"));
  g_auto (SumiFrame) hello = peer_wait_for (&p, SUMI_FRAME_HELLO);
  g_autofree char *text = g_variant_print (hello.payload, FALSE);
  g_assert_nonnull (strstr (text, "starter"));

  peer_tell (&p, SUMI_FRAME_LOAD, 1, g_variant_new ("(su)", "starter", 0));
  g_auto (SumiFrame) loaded = peer_wait_for (&p, SUMI_FRAME_PROGRESS);
  g_assert_cmpuint (loaded.job, ==, 1);

  run (&p, 2, "starter");
  for (guint i = 0; i < 2; i++)
    {
      g_auto (SumiFrame) frame = peer_wait_for (&p, SUMI_FRAME_RESULT);
      g_auto (SumiResultInfo) info = { 0 };
      g_autoptr (GError) error = NULL;
      g_assert_true (sumi_result_info_from_variant (frame.payload, &info, &error));
      g_assert_cmpuint (info.index, ==, i);
      g_assert_cmpuint (info.seed, ==, 11 + i);
      g_autoptr (GBytes) pixels = sumi_pixels_map (frame.fd, 8, 4, 3, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (((const guint8 *)g_bytes_get_data (pixels, NULL))[0], ==, 200);
    }
  run (&p, 3, "nonsense"); /* a failed job leaves the worker alive */
  peer_assert_error_frame (&p, 3, SUMI_ERROR_UNKNOWN_MODEL);
  peer_tell (&p, SUMI_FRAME_TRAIN, 4, g_variant_new_parsed ("@a{sv} {}"));
  peer_assert_error_frame (&p, 4, SUMI_ERROR_USAGE);
  peer_tell (&p, SUMI_FRAME_BYE, 0, g_variant_new ("()"));
  g_assert_cmpint (peer_wait_for_end (&p), ==, 0);
  sumi_channel_free (p.channel);
}

static void
test_cancel (void)
{
  Peer p = start ("0");

  run (&p, 1, "slow");
  g_auto (SumiFrame) progress = peer_wait_for (&p, SUMI_FRAME_PROGRESS);
  run (&p, 2, "slow");                                         /* waits behind the first */
  peer_tell (&p, SUMI_FRAME_CANCEL, 99, g_variant_new ("()")); /* no such job: nothing happens */
  peer_tell (&p, SUMI_FRAME_CANCEL, 2, g_variant_new ("()"));
  peer_tell (&p, SUMI_FRAME_CANCEL, 1, g_variant_new ("()"));
  peer_assert_error_frame (&p, 1, SUMI_ERROR_CANCELLED);
  peer_assert_error_frame (&p, 2, SUMI_ERROR_CANCELLED);
  run (&p, 3, "starter"); /* and it still works */
  g_auto (SumiFrame) result = peer_wait_for (&p, SUMI_FRAME_RESULT);
  g_assert_cmpuint (result.job, ==, 3);
  sumi_channel_free (p.channel);
  g_assert_cmpint (peer_wait_for_end (&p), ==, 0);
}

static void
test_end_of_file (void)
{
  Peer p = start ("0");
  run (&p, 1, "slow");
  g_auto (SumiFrame) progress = peer_wait_for (&p, SUMI_FRAME_PROGRESS);
  sumi_channel_free (p.channel); /* in the middle of a job */
  g_assert_cmpint (peer_wait_for_end (&p), ==, 0);
}

static void
test_idle (void)
{
  Peer p = start ("1");
  g_auto (SumiFrame) bye = peer_wait_for (&p, SUMI_FRAME_BYE);
  g_assert_cmpint (peer_wait_for_end (&p), ==, 0);
  sumi_channel_free (p.channel);
}

static void
test_killed (void)
{
  Peer p = start ("0");
  SumiFrame frame;
  g_autoptr (GError) error = NULL;
  SumiChannelStatus status;

  run (&p, 1, "crash");
  while ((status = peer_next (&p, &frame, &error)) == SUMI_CHANNEL_FRAME)
    sumi_frame_clear (&frame);
  g_assert_cmpint (status, ==, SUMI_CHANNEL_EOF);
  g_assert_cmpint (peer_wait_for_end (&p), ==, -SIGKILL);
  sumi_channel_free (p.channel);
}

static void
send_hostile (const void *data, gsize size)
{
  Peer p = start ("0");
  g_assert_cmpint (send (sumi_channel_get_fd (p.channel), data, size, MSG_NOSIGNAL), ==, (gssize)size);
  peer_assert_error_frame (&p, 0, SUMI_ERROR_PROTOCOL);
  g_assert_cmpint (peer_wait_for_end (&p), ==, 1);
  sumi_channel_free (p.channel);
}

static void
send_wrong (SumiFrameType type, guint32 job, GVariant *payload)
{
  g_autoptr (GBytes) bytes = sumi_frame_encode (type, job, payload, NULL);
  send_hostile (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
}

static void
test_hostile (void)
{
  SumiRunArgs none = { 0 };
  send_hostile ("GET / HTTP/1.1\r\n\r\n", 18);
  send_hostile ("SUMI\1\0\1\0\0\0\0\0\xff\xff\xff\xff", 16);
  send_wrong (SUMI_FRAME_PROGRESS, 1, g_variant_new ("(suu)", "sample", 1, 2));
  send_wrong (SUMI_FRAME_RUN, 1, sumi_run_args_to_variant (&none));
  send_wrong (SUMI_FRAME_LOAD, 0, g_variant_new ("(su)", "starter", 0));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/protocol/worker/jobs", test_jobs);
  g_test_add_func ("/protocol/worker/cancel", test_cancel);
  g_test_add_func ("/protocol/worker/end-of-file", test_end_of_file);
  g_test_add_func ("/protocol/worker/idle", test_idle);
  g_test_add_func ("/protocol/worker/killed", test_killed);
  g_test_add_func ("/protocol/worker/hostile", test_hostile);
  return g_test_run ();
}
