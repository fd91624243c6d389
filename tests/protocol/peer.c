/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer.h"

#include <gio/gio.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 60000 /* machines under load */

Peer
peer_start (const char *const *command, const char *idle)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  int fds[2];
  g_autoptr (GError) error = NULL;
  GPid pid;
  const char *const options[] = { "--fd", "3", "--idle", idle, NULL };
  const int three[] = { 3 };

  for (guint i = 0; command[i] != NULL; i++)
    g_ptr_array_add (argv, (gpointer)command[i]);
  for (guint i = 0; i < G_N_ELEMENTS (options); i++)
    g_ptr_array_add (argv, (gpointer)options[i]);
  g_assert_true (sumi_channel_pair (fds, &error));
  g_spawn_async_with_pipes_and_fds (NULL, (const char *const *)argv->pdata, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                                    -1, -1, -1, &fds[1], three, 1, &pid, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  close (fds[1]);
  return (Peer){ sumi_channel_new (fds[0]), pid };
}

/* The exit status, or -signal. */
int
peer_wait_for_end (Peer *p)
{
  int status;
  g_assert_cmpint (waitpid (p->pid, &status, 0), ==, p->pid);
  return WIFEXITED (status) ? WEXITSTATUS (status) : -WTERMSIG (status);
}

SumiChannelStatus
peer_next (Peer *p, SumiFrame *frame, GError **error)
{
  for (;;)
    {
      SumiChannelStatus status = sumi_channel_read (p->channel, frame, error);
      if (status != SUMI_CHANNEL_AGAIN)
        return status;
      struct pollfd wait = { .fd = sumi_channel_get_fd (p->channel), .events = POLLIN };
      g_assert_cmpint (poll (&wait, 1, PATIENCE_MS), ==, 1);
    }
}

/* Skips frames until one of this type comes. */
SumiFrame
peer_wait_for (Peer *p, SumiFrameType type)
{
  for (;;)
    {
      SumiFrame frame;
      g_autoptr (GError) error = NULL;
      SumiChannelStatus status = peer_next (p, &frame, &error);
      g_assert_no_error (error);
      g_assert_cmpint (status, ==, SUMI_CHANNEL_FRAME);
      if (frame.type == type)
        return frame;
      sumi_frame_clear (&frame);
    }
}

void
peer_assert_error_frame (Peer *p, guint32 job, SumiError code)
{
  g_auto (SumiFrame) frame = peer_wait_for (p, SUMI_FRAME_ERROR);
  g_autoptr (GError) got = sumi_error_from_variant (frame.payload);
  g_assert_cmpuint (frame.job, ==, job);
  g_assert_error (got, SUMI_ERROR, (int)code);
}

void
peer_tell (Peer *p, SumiFrameType type, guint32 job, GVariant *payload)
{
  g_autoptr (GError) error = NULL;
  sumi_channel_send (p->channel, type, job, payload, -1, &error);
  g_assert_no_error (error);
}
