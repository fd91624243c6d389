/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE
#include "base/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 65536
#define MAX_FDS 8 /* descriptors that wait for their frames, and of one message */

struct _SumiChannel
{
  int fd;
  GMutex send_lock;   /* frames of two threads must not mix */
  GByteArray *buffer; /* read, not yet decoded */
  GArray *fds;        /* int: received, in the order of the frames they belong to */
  gboolean eof;
};

gboolean
sumi_channel_pair (int fds[2], GError **error)
{
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "socketpair: %s", g_strerror (errno));
  return FALSE;
}

SumiChannel *
sumi_channel_new (int fd)
{
  SumiChannel *c = g_new0 (SumiChannel, 1);
  c->fd = fd;
  c->buffer = g_byte_array_new ();
  c->fds = g_array_new (FALSE, FALSE, sizeof (int));
  g_mutex_init (&c->send_lock);
  return c;
}

void
sumi_channel_free (SumiChannel *c)
{
  if (c == NULL)
    return;
  close (c->fd);
  for (guint i = 0; i < c->fds->len; i++)
    close (g_array_index (c->fds, int, i));
  g_array_unref (c->fds);
  g_byte_array_unref (c->buffer);
  g_mutex_clear (&c->send_lock);
  g_free (c);
}

int
sumi_channel_get_fd (const SumiChannel *c)
{
  return c->fd;
}

/* ---- sending ---- */

/* The descriptor goes with the first byte of its frame. */
static gssize
send_some (int fd, const guint8 *data, gsize size, int pixels)
{
  union
  {
    struct cmsghdr header;
    char space[CMSG_SPACE (sizeof (int))];
  } control = { 0 };
  struct iovec part = { .iov_base = (void *)data, .iov_len = size };
  struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

  if (pixels >= 0)
    {
      message.msg_control = &control;
      message.msg_controllen = sizeof control.space;
      control.header.cmsg_level = SOL_SOCKET;
      control.header.cmsg_type = SCM_RIGHTS;
      control.header.cmsg_len = CMSG_LEN (sizeof (int));
      memcpy (CMSG_DATA (&control.header), &pixels, sizeof pixels);
    }
  return sendmsg (fd, &message, MSG_NOSIGNAL);
}

static gboolean
send_all (SumiChannel *c, const guint8 *data, gsize size, int pixels, GError **error)
{
  g_autoptr (GMutexLocker) lock = g_mutex_locker_new (&c->send_lock);
  for (gsize done = 0; done < size;)
    {
      gssize n = send_some (c->fd, data + done, size - done, done == 0 ? pixels : -1);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "sending a frame: %s", g_strerror (errno));
          return FALSE;
        }
      done += (gsize)n;
    }
  return TRUE;
}

gboolean
sumi_channel_send (SumiChannel *c, SumiFrameType type, guint32 job, GVariant *payload, int pixels, GError **error)
{
  g_autoptr (GBytes) frame = sumi_frame_encode (type, job, payload, error);
  if (frame == NULL)
    return FALSE;
  if ((pixels >= 0) != sumi_frame_has_pixels (type))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL, "frame %s: found %s, expected %s",
                   sumi_frame_type_name (type), pixels >= 0 ? "pixels" : "no pixels", pixels >= 0 ? "none" : "pixels");
      return FALSE;
    }
  gsize size;
  const guint8 *data = g_bytes_get_data (frame, &size);
  return send_all (c, data, size, pixels, error);
}

/* ---- reading ---- */

static void
keep_descriptors (SumiChannel *c, struct msghdr *message)
{
  for (struct cmsghdr *h = CMSG_FIRSTHDR (message); h != NULL; h = CMSG_NXTHDR (message, h))
    if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
      g_array_append_vals (c->fds, CMSG_DATA (h), (guint)((h->cmsg_len - CMSG_LEN (0)) / sizeof (int)));
}

/* What has arrived, at most a chunk.  SUMI_CHANNEL_FRAME: something came. */
static SumiChannelStatus
receive (SumiChannel *c, GError **error)
{
  union
  {
    struct cmsghdr header;
    char space[CMSG_SPACE (sizeof (int) * MAX_FDS)];
  } control;
  guint8 chunk[CHUNK];
  struct iovec part = { .iov_base = chunk, .iov_len = sizeof chunk };
  struct msghdr message
      = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space };
  gssize n;

  do
    n = recvmsg (c->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
    return SUMI_CHANNEL_AGAIN;
  if (n == 0 || (n < 0 && errno == ECONNRESET))
    {
      c->eof = TRUE;
      return SUMI_CHANNEL_EOF;
    }
  if (n < 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_IO, "reading a frame: %s", g_strerror (errno));
      return SUMI_CHANNEL_ERROR;
    }
  keep_descriptors (c, &message);
  g_byte_array_append (c->buffer, chunk, (guint)n);
  if (c->fds->len > MAX_FDS || (message.msg_flags & MSG_CTRUNC))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL,
                   "found more descriptors than frames have, expected one each");
      return SUMI_CHANNEL_ERROR;
    }
  return SUMI_CHANNEL_FRAME;
}

static gboolean
take_descriptor (SumiChannel *c, SumiFrame *frame, GError **error)
{
  if (!sumi_frame_has_pixels (frame->type))
    return TRUE;
  if (c->fds->len == 0)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL, "frame %s: found no pixels, expected a descriptor",
                   sumi_frame_type_name (frame->type));
      return FALSE;
    }
  frame->fd = g_array_index (c->fds, int, 0);
  g_array_remove_index (c->fds, 0);
  return TRUE;
}

/* A complete frame of the buffer, if there is one. */
static SumiChannelStatus
next_frame (SumiChannel *c, SumiFrame *frame, GError **error)
{
  gsize consumed;
  if (!sumi_frame_decode (c->buffer->data, c->buffer->len, frame, &consumed, error))
    return SUMI_CHANNEL_ERROR;
  if (consumed == 0)
    return SUMI_CHANNEL_AGAIN;
  g_byte_array_remove_range (c->buffer, 0, (guint)consumed);
  if (take_descriptor (c, frame, error))
    return SUMI_CHANNEL_FRAME;
  sumi_frame_clear (frame);
  return SUMI_CHANNEL_ERROR;
}

SumiChannelStatus
sumi_channel_read (SumiChannel *c, SumiFrame *frame, GError **error)
{
  SumiChannelStatus status;

  *frame = SUMI_FRAME_INIT;
  while ((status = next_frame (c, frame, error)) == SUMI_CHANNEL_AGAIN)
    {
      if (!c->eof)
        status = receive (c, error);
      if (status == SUMI_CHANNEL_FRAME)
        continue;
      if (c->eof && c->buffer->len > 0)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_PROTOCOL,
                       "found the end after %u bytes of a frame, expected the rest", c->buffer->len);
          return SUMI_CHANNEL_ERROR;
        }
      return c->eof ? SUMI_CHANNEL_EOF : status;
    }
  return status;
}
