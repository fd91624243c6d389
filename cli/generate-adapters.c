/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Adapters and other files that stand beside a model, as they are named on the command line. */
#include "generate.h"

#include <string.h>

#include "base/error.h"
#include "models/folder.h"
#include "models/model-store.h"

static const char *const endings[] = { "", ".safetensors", ".pt", ".ckpt", ".bin", ".pth" };

char *
generate_find_file (const char *option, const char *folder, const char *file, GError **error)
{
  const char *store = sumi_user_folder (folder);

  if (g_file_test (file, G_FILE_TEST_IS_REGULAR))
    return g_strdup (file);
  if (g_file_test (file, G_FILE_TEST_IS_DIR)) /* as diffusers saves a part */
    return sumi_folder_find_weights (file, error);
  for (guint i = 0; strpbrk (file, "/\\") == NULL && file[0] != '.' && i < G_N_ELEMENTS (endings); i++)
    {
      g_autofree char *name = g_strconcat (file, endings[i], NULL);
      g_autofree char *path = g_build_filename (store, name, NULL);

      if (g_file_test (path, G_FILE_TEST_IS_REGULAR))
        return g_steal_pointer (&path);
    }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE, "%s: found no file '%s', expected one, or a name in %s",
               option, file, store);
  return NULL;
}

/* A number behind the last colon is cut off. */
static gboolean
cut_number (char *text, double *number)
{
  char *colon = strrchr (text, ':'), *end;
  double x;

  if (colon == NULL || colon == text || colon[1] == '\0')
    return FALSE;
  x = g_ascii_strtod (colon + 1, &end);
  if (*end != '\0')
    return FALSE;
  *colon = '\0';
  *number = x;
  return TRUE;
}

gboolean
generate_parse_lora (const char *text, char **path, double *unet, double *text_strength, GError **error)
{
  g_autofree char *file = g_strdup (text);
  double last = 1, first;

  cut_number (file, &last);
  *unet = *text_strength = last;
  if (cut_number (file, &first))
    *unet = first;
  *path = generate_find_file ("--lora", "loras", file, error);
  return *path != NULL;
}

/* Whether the adapter named at `name` (of `length` bytes) is one of these files. */
static gboolean
is_one_of (const GArray *loras, const char *name, gsize length)
{
  for (guint i = 0; i < loras->len; i++)
    {
      g_autofree char *base = g_path_get_basename (g_array_index (loras, SumiRequestLora, i).path);
      char *dot = strrchr (base, '.');

      if (dot != NULL && dot != base)
        *dot = '\0';
      if (strlen (base) == length && strncmp (base, name, length) == 0)
        return TRUE;
    }
  return FALSE;
}

char *
generate_strip_loras (const char *prompt, const GArray *loras)
{
  static const char mark[] = "<lora:";
  GString *out = g_string_new (NULL);

  while (*prompt != '\0')
    {
      const char *name = prompt + strlen (mark), *end = NULL;

      if (g_str_has_prefix (prompt, mark))
        end = strchr (name, '>');
      if (end != NULL && is_one_of (loras, name, strcspn (name, ":>")))
        {
          prompt = end + 1;
          if (g_str_has_suffix (out->str, " ")) /* which the recipe put before it */
            g_string_truncate (out, out->len - 1);
        }
      else
        g_string_append_c (out, *prompt++);
    }
  return g_string_free (out, FALSE);
}
