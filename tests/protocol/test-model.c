/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The real worker (SUMI_TEST_SUMI worker) with a small reference model. */
#include <gio/gio.h>
#include <string.h>

#include "base/pixels.h"
#include "peer.h"

static char *model;

static Peer
start (void)
{
  const char *const command[] = { g_getenv ("SUMI_TEST_SUMI"), "worker", NULL };
  return peer_start (command, "0");
}

static void
run (Peer *p, guint32 job, const char *name, guint steps)
{
  const SumiRunArgs args = { (char *)name, (char *)"", (char *)"", 0, 0, steps, 1.0, (char *)"ddim", 0.0, 11, 1, 1 };
  peer_tell (p, SUMI_FRAME_RUN, job, sumi_run_args_to_variant (&args));
}

static GBytes *
take_picture (Peer *p)
{
  g_auto (SumiFrame) frame = peer_wait_for (p, SUMI_FRAME_RESULT);
  g_auto (SumiResultInfo) info = { 0 };
  g_autoptr (GError) error = NULL;

  g_assert_true (sumi_result_info_from_variant (frame.payload, &info, &error));
  g_assert_cmpuint (info.seed, ==, 11);
  g_assert_nonnull (strstr (info.parameters, "Seed: 11"));
  GBytes *pixels = sumi_pixels_map (frame.fd, info.width, info.height, info.channels, &error);
  g_assert_no_error (error);
  return pixels;
}

static void
test_draw (void)
{
  Peer p = start ();

  peer_tell (&p, SUMI_FRAME_HELLO, 0, g_variant_new_parsed ("('test', @as [])"));
  g_auto (SumiFrame) hello = peer_wait_for (&p, SUMI_FRAME_HELLO);
  peer_tell (&p, SUMI_FRAME_LOAD, 1, g_variant_new ("(su)", model, 1));
  run (&p, 2, model, 2);
  g_autoptr (GBytes) one = take_picture (&p);
  run (&p, 3, model, 2);
  g_autoptr (GBytes) again = take_picture (&p);
  g_assert_true (g_bytes_equal (one, again));
  run (&p, 4, "/nonexistent/model.safetensors", 2);
  peer_assert_error_frame (&p, 4, SUMI_ERROR_MISSING_FILE);
  sumi_channel_free (p.channel);
  g_assert_cmpint (peer_wait_for_end (&p), ==, 0);
}

static gboolean
is_sample_step (const SumiFrame *frame)
{
  const char *phase;
  guint step;
  g_variant_get (frame->payload, "(&suu)", &phase, &step, NULL);
  return strcmp (phase, "sample") == 0 && step > 0;
}

static void
wait_for_step (Peer *p)
{
  for (gboolean found = FALSE; !found;)
    {
      g_auto (SumiFrame) frame = peer_wait_for (p, SUMI_FRAME_PROGRESS);
      found = is_sample_step (&frame);
    }
}

static void
test_cancel (void)
{
  Peer p = start ();

  run (&p, 1, model, 1000);
  wait_for_step (&p);
  peer_tell (&p, SUMI_FRAME_CANCEL, 1, g_variant_new ("()"));
  peer_assert_error_frame (&p, 1, SUMI_ERROR_CANCELLED);
  run (&p, 2, model, 1000); /* and an end in the middle of a job */
  wait_for_step (&p);
  sumi_channel_free (p.channel);
  g_assert_cmpint (peer_wait_for_end (&p), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (g_getenv ("SUMI_GOLDEN") == NULL)
    {
      g_print ("1..0 # skip no reference data\n");
      return 0;
    }
  model = g_build_filename (g_getenv ("SUMI_GOLDEN"), "models", "simple-unet.safetensors", NULL);
  g_test_add_func ("/protocol/model/draw", test_draw);
  g_test_add_func ("/protocol/model/cancel", test_cancel);
  return g_test_run ();
}
