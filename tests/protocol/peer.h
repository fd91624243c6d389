/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The plug-in's part, played by a test: a worker process at the other end of a socket pair.  Whatever is not as it
 * should be fails the test. */
#pragma once

#include <sys/types.h>

#include "base/channel.h"

typedef struct
{
  SumiChannel *channel;
  pid_t pid;
} Peer;

/* The command's words, to which --fd and --idle are added. */
Peer peer_start (const char *const *command, const char *idle);
/* The exit status, or -signal. */
int peer_wait_for_end (Peer *p);
/* Waits for a frame or the end. */
SumiChannelStatus peer_next (Peer *p, SumiFrame *frame, GError **error);
/* Skips frames until one of this type comes. */
SumiFrame peer_wait_for (Peer *p, SumiFrameType type);
void peer_assert_error_frame (Peer *p, guint32 job, SumiError code);
void peer_tell (Peer *p, SumiFrameType type, guint32 job, GVariant *payload);
