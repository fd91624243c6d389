/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fresh pages are slow to fault in, so they are asked for once, large where the system has large ones. */
#include "engine/cpu/room.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

static gsize
physical_memory (void)
{
  long pages = sysconf (_SC_PHYS_PAGES), page = sysconf (_SC_PAGESIZE);

  return pages > 0 && page > 0 ? (gsize)pages * (gsize)page : G_MAXSIZE;
}

/* One line of /proc/meminfo in bytes; 0 where it is not told. */
static gsize
meminfo (const char *text, const char *key)
{
  const char *line = strstr (text, key);

  return line != NULL ? (gsize)g_ascii_strtoull (line + strlen (key), NULL, 10) * 1024 : 0;
}

/* What can be had without the system taking it from somebody else. */
static gsize
free_memory (void)
{
  g_autofree char *text = NULL;
  gsize available;

  if (!g_file_get_contents ("/proc/meminfo", &text, NULL, NULL))
    return physical_memory ();
  available = meminfo (text, "MemAvailable:");
  return available > 0 ? available + meminfo (text, "SwapFree:") : physical_memory ();
}

gboolean
sumi_cpu_check_free (gsize size, const char *what, GError **error)
{
  gsize limit = free_memory ();
  g_autofree char *need = NULL, *have = NULL;

  if (size <= limit)
    return TRUE;
  need = g_format_size (size);
  have = g_format_size (limit);
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "%s: found %s free, expected %s", what, have, need);
  return FALSE;
}

gboolean
sumi_cpu_map (SumiCpuRoom *room, gsize size, const char *what, GError **error)
{
  gsize length = MAX (size, 1);
  void *at = MAP_FAILED;

  if (length <= physical_memory ())
    at = mmap (NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED)
    {
      g_autofree char *need = g_format_size (size);

      g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "%s: found no room for %s on this machine", what, need);
      return FALSE;
    }
  madvise (at, length, MADV_HUGEPAGE);
  *room = (SumiCpuRoom){ at, length };
  return TRUE;
}

void
sumi_cpu_unmap (SumiCpuRoom *room)
{
  if (room->at != NULL)
    munmap (room->at, room->size);
  *room = (SumiCpuRoom){ 0 };
}

void
sumi_cpu_forget (const SumiCpuRoom *room)
{
  if (room->at != NULL)
    madvise (room->at, room->size, MADV_DONTNEED);
}
