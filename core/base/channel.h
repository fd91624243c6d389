/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames (base/protocol.h) over one end of a socket pair. */
#pragma once

#include "base/protocol.h"

G_BEGIN_DECLS

typedef struct _SumiChannel SumiChannel;

typedef enum
{
  SUMI_CHANNEL_FRAME, /* one frame was read */
  SUMI_CHANNEL_AGAIN, /* nothing complete is there yet: wait until the descriptor is readable */
  SUMI_CHANNEL_EOF,   /* the peer closed between two frames */
  SUMI_CHANNEL_ERROR  /* protocol (also: closed within a frame) or io; the channel is of no further use */
} SumiChannelStatus;

/* A connected pair, close-on-exec both. */
gboolean sumi_channel_pair (int fds[2], GError **error);

/* Owns the descriptor. */
SumiChannel *sumi_channel_new (int fd);
void         sumi_channel_free (SumiChannel *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SumiChannel, sumi_channel_free)

int sumi_channel_get_fd (const SumiChannel *c);

/* Sends one frame, whole; blocks while the peer's buffer is full.  From any thread.  Takes a floating payload.
 * pixels: a descriptor that stays the caller's, or -1.  A closed peer is an io error, not a signal. */
gboolean sumi_channel_send (SumiChannel *c, SumiFrameType type, guint32 job, GVariant *payload, int pixels,
                            GError **error);

/* Never blocks.  From one thread.  Call it until it gives no FRAME: further frames may be here already. */
SumiChannelStatus sumi_channel_read (SumiChannel *c, SumiFrame *frame, GError **error);

G_END_DECLS
