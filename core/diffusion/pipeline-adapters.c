/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Adapters and embeddings of a request: finding them, and merging them into the networks.  Merging always begins at the
 * model's own weights, so that taking one off gives the model back bit for bit. */
#include "diffusion/pipeline-private.h"

#include <glib/gstdio.h>
#include <string.h>

#include "io/weights.h"

#define MAX_FILES 4096 /* looked at in a folder */
#define MAX_LISTED 32  /* keys in a note */

static const char *const endings[] = { ".safetensors", ".pt", ".ckpt", ".bin", ".pth", NULL };

/* ---- sets ---- */

static void
adapter_clear (gpointer data)
{
  sumi_lora_unref (((SumiAdapter *)data)->lora);
}

GArray *
sumi_adapters_new (void)
{
  GArray *a = g_array_new (FALSE, FALSE, sizeof (SumiAdapter));

  g_array_set_clear_func (a, adapter_clear);
  return a;
}

static void
adapters_add (GArray *a, SumiLora *lora, double unet_strength, double text_strength)
{
  SumiAdapter one = { sumi_lora_ref (lora), unet_strength, text_strength };

  g_array_append_val (a, one);
}

gboolean
sumi_adapters_equal (const GArray *a, const GArray *b)
{
  if (a->len != b->len)
    return FALSE;
  for (guint i = 0; i < a->len; i++)
    {
      const SumiAdapter *x = &g_array_index (a, SumiAdapter, i), *y = &g_array_index (b, SumiAdapter, i);

      if (x->lora != y->lora || x->unet_strength != y->unet_strength || x->text_strength != y->text_strength)
        return FALSE;
    }
  return TRUE;
}

static void
adapters_copy (GArray *to, const GArray *from)
{
  g_array_set_size (to, 0);
  for (guint i = 0; i < from->len; i++)
    {
      const SumiAdapter *a = &g_array_index (from, SumiAdapter, i);

      adapters_add (to, a->lora, a->unet_strength, a->text_strength);
    }
}

/* ---- files ---- */

/* "style" of "/somewhere/style.safetensors" */
static char *
stem_of (const char *path)
{
  char *stem = g_path_get_basename (path);

  for (guint i = 0; endings[i] != NULL; i++)
    if (g_str_has_suffix (stem, endings[i]))
      {
        stem[strlen (stem) - strlen (endings[i])] = '\0';
        break;
      }
  return stem;
}

/* The file of that name in a folder of the user's; NULL where there is none, or where the name would lead elsewhere. */
static char *
find_file (const char *folder, const char *name)
{
  if (folder == NULL || *name == '\0' || *name == '.' || strpbrk (name, "/\\") != NULL)
    return NULL;
  for (guint i = 0; endings[i] != NULL; i++)
    {
      g_autofree char *file = g_strconcat (name, endings[i], NULL);
      g_autofree char *path = g_build_filename (folder, file, NULL);

      if (g_file_test (path, G_FILE_TEST_IS_REGULAR))
        return g_steal_pointer (&path);
    }
  return NULL;
}

#define MAX_HASHED (256 << 20) /* bytes */
#define HASH_LENGTH 12

/* As other programs name an adapter for good: SHA-256 of a safetensors file behind its header, so that a changed
 * description changes nothing.  NULL for other files, and for large ones, which would take seconds. */
static char *
content_hash (const char *path)
{
  g_autoptr (GMappedFile) file = g_mapped_file_new (path, FALSE, NULL);
  gsize size = file != NULL ? g_mapped_file_get_length (file) : 0;
  g_autofree char *hash = NULL;
  guint64 header;

  if (!g_str_has_suffix (path, ".safetensors") || size < sizeof header || size > MAX_HASHED)
    return NULL;
  memcpy (&header, g_mapped_file_get_contents (file), sizeof header);
  header = GUINT64_FROM_LE (header);
  if (header > size - sizeof header)
    return NULL;
  hash = g_compute_checksum_for_data (G_CHECKSUM_SHA256,
                                      (const guchar *)g_mapped_file_get_contents (file) + sizeof header + header,
                                      size - sizeof header - header);
  return g_strndup (hash, HASH_LENGTH);
}

/* An adapter that was opened, as long as its file stays the same. */
typedef struct
{
  SumiLora *lora;
  gint64 size, modified;
  char *hash; /* or NULL */
} LoraFile;

static void
lora_file_free (gpointer data)
{
  LoraFile *f = data;

  sumi_lora_unref (f->lora);
  g_free (f->hash);
  g_free (f);
}

static SumiLora *
read_lora (SumiPipeline *p, const char *path, GError **error)
{
  g_autoptr (SumiTensorMap) file = sumi_weights_open (path, error);
  g_autofree char *name = g_filename_display_name (path);

  if (file == NULL)
    return NULL;
  if (p->targets == NULL)
    p->targets = sumi_lora_targets_new (p->weights, &p->config.unet, sumi_family_name (p->config.family));
  return sumi_lora_new (p->targets, file, name, error);
}

static void
tell_unmatched (const char *path, GPtrArray *keys, GPtrArray *notes)
{
  g_autofree char *stem = stem_of (path);
  g_autoptr (GString) list = g_string_new (NULL);

  if (keys == NULL || keys->len == 0)
    return;
  for (guint i = 0; i < MIN (keys->len, MAX_LISTED); i++)
    g_string_append_printf (list, "%s%s", i > 0 ? ", " : "", (const char *)g_ptr_array_index (keys, i));
  if (keys->len > MAX_LISTED)
    g_string_append_printf (list, " and %u more", keys->len - MAX_LISTED);
  g_ptr_array_add (notes, g_strdup_printf ("adapter %s: %u keys fit nothing in this model and were ignored: %s", stem,
                                           keys->len, list->str));
}

/* Borrowed from the pipeline. */
static SumiLora *
open_lora (SumiPipeline *p, const char *path, GPtrArray *notes, GError **error)
{
  GStatBuf status = { 0 };
  LoraFile *known;
  SumiLora *lora;

  if (p->loras == NULL)
    p->loras = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, lora_file_free);
  known = g_hash_table_lookup (p->loras, path);
  if (g_stat (path, &status) == 0 && known != NULL && known->size == status.st_size
      && known->modified == (gint64)status.st_mtime)
    lora = known->lora;
  else
    {
      LoraFile *f;

      if ((lora = read_lora (p, path, error)) == NULL)
        return NULL;
      f = g_new (LoraFile, 1);
      *f = (LoraFile){ lora, status.st_size, (gint64)status.st_mtime, content_hash (path) };
      g_hash_table_insert (p->loras, g_strdup (path), f);
    }
  tell_unmatched (path, sumi_lora_peek_unmatched (lora), notes);
  return lora;
}

/* ---- adapters ---- */

/* A file given with the request counts under its stem too. */
static char *
find_named (SumiPipeline *p, const SumiRequest *r, const char *name)
{
  for (guint i = 0; i < r->n_loras; i++)
    {
      g_autofree char *stem = stem_of (r->loras[i].path);

      if (strcmp (stem, name) == 0)
        return g_strdup (r->loras[i].path);
    }
  return find_file (p->loras_folder, name);
}

static gboolean
add_from_prompt (SumiPipeline *p, const SumiRequest *r, const SumiPromptLora *named, GArray *adapters, GPtrArray *notes,
                 GError **error)
{
  g_autofree char *path = find_named (p, r, named->name);
  SumiLora *lora;

  if (!sumi_model_is_stable_diffusion (&p->config) || path == NULL)
    {
      g_ptr_array_add (notes, g_strdup_printf (path == NULL ? "adapter %s was ignored: no such file was found"
                                                            : "adapter %s was ignored: this model takes none",
                                               named->name));
      return TRUE;
    }
  lora = open_lora (p, path, notes, error);
  if (lora != NULL)
    adapters_add (adapters, lora, named->unet_strength, named->text_strength);
  return lora != NULL;
}

gboolean
sumi_pipeline_find_adapters (SumiPipeline *p, const SumiRequest *r, const SumiPrompt *prompt, GArray *adapters,
                             GPtrArray *notes, GError **error)
{
  for (guint i = 0; i < r->n_loras; i++)
    {
      SumiLora *lora = open_lora (p, r->loras[i].path, notes, error);

      if (lora == NULL)
        return FALSE;
      adapters_add (adapters, lora, r->loras[i].unet_strength, r->loras[i].text_strength);
    }
  for (guint i = 0; i < prompt->loras->len; i++)
    if (!add_from_prompt (p, r, g_ptr_array_index (prompt->loras, i), adapters, notes, error))
      return FALSE;
  if (adapters->len <= SUMI_MAX_ADAPTERS)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "adapters: found %u, expected at most %d", adapters->len,
               SUMI_MAX_ADAPTERS);
  return FALSE;
}

/* The file an adapter came from, and what is known of it. */
static gboolean
find_lora_file (SumiPipeline *p, const SumiLora *lora, const char **path, const LoraFile **file)
{
  GHashTableIter i;
  gpointer key, value;

  g_hash_table_iter_init (&i, p->loras);
  while (g_hash_table_iter_next (&i, &key, &value))
    if (((LoraFile *)value)->lora == lora)
      {
        *path = key;
        *file = value;
        return TRUE;
      }
  return FALSE;
}

char *
sumi_pipeline_lora_hashes (SumiPipeline *p, const GArray *adapters)
{
  GString *s = g_string_new (NULL);

  for (guint i = 0; i < adapters->len; i++)
    {
      const LoraFile *file;
      const char *path;
      g_autofree char *stem = NULL;

      if (!find_lora_file (p, g_array_index (adapters, SumiAdapter, i).lora, &path, &file) || file->hash == NULL)
        continue;
      stem = stem_of (path);
      g_string_append_printf (s, "%s%s: %s", s->len > 0 ? ", " : "", stem, file->hash);
    }
  return g_string_free (s, FALSE);
}

/* NULL for no adapters: then nothing is merged. */
static SumiLoraStack *
new_stack (SumiPipeline *p, const GArray *adapters)
{
  SumiLoraStack *stack;

  if (adapters->len == 0)
    return NULL;
  stack = sumi_lora_stack_new (p->weights);
  for (guint i = 0; i < adapters->len; i++)
    {
      const SumiAdapter *a = &g_array_index (adapters, SumiAdapter, i);

      sumi_lora_stack_add (stack, a->lora, a->unet_strength, a->text_strength);
    }
  return stack;
}

static SumiTensor *
text_parameter (const char *name, gpointer user, GError **error)
{
  return sumi_lora_stack_merge (((SumiPipeline *)user)->text_stack, name, error);
}

/* The adapters that reach the text encoders. */
static GArray *
text_adapters (const GArray *adapters)
{
  GArray *text = sumi_adapters_new ();

  for (guint i = 0; i < adapters->len; i++)
    {
      const SumiAdapter *a = &g_array_index (adapters, SumiAdapter, i);
      gboolean reaches = FALSE;

      for (guint k = 0; a->text_strength != 0 && k < sumi_lora_get_n_changes (a->lora) && !reaches; k++)
        reaches = g_str_has_prefix (sumi_lora_get_change (a->lora, k), "text_encoder");
      if (reaches)
        adapters_add (text, a->lora, a->unet_strength, a->text_strength);
    }
  return text;
}

void
sumi_pipeline_merge_text (SumiPipeline *p, const GArray *adapters)
{
  g_autoptr (GArray) text = text_adapters (adapters);

  if (sumi_adapters_equal (p->text_merged, text))
    return;
  adapters_copy (p->text_merged, text);
  g_clear_pointer (&p->text_stack, sumi_lora_stack_free);
  p->text_stack = new_stack (p, text);
  sumi_conditioner_set_source (p->conditioner, p->text_stack != NULL ? text_parameter : NULL, p);
}

SumiTensor *
sumi_pipeline_parameter (SumiPipeline *p, const char *name, GError **error)
{
  SumiTensor *own;

  if (p->unet_stack != NULL && sumi_lora_stack_changes (p->unet_stack, name))
    return sumi_lora_stack_merge (p->unet_stack, name, error);
  own = sumi_tensor_map_lookup (p->weights, name, error);
  if (own == NULL)
    return NULL;
  if (!sumi_tensor_is_finite (own))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE, "%s: found NaN or infinity, expected finite numbers",
                   name);
      return NULL;
    }
  return sumi_tensor_ref (own);
}

gboolean
sumi_pipeline_merge_unet (SumiPipeline *p, const GArray *adapters, GError **error)
{
  SumiDenoiser *any = p->denoisers->len > 0 ? g_ptr_array_index (p->denoisers, 0) : NULL;
  SumiLoraStack *before;
  gboolean ok = TRUE;

  if (sumi_adapters_equal (p->unet_merged, adapters))
    return TRUE;
  if (any == NULL) /* what an unfinished run has set is of no use */
    sumi_pipeline_free_denoisers (p);
  adapters_copy (p->unet_merged, adapters);
  before = g_steal_pointer (&p->unet_stack);
  p->unet_stack = new_stack (p, adapters);
  for (guint i = 0; any != NULL && ok && i < p->parameters->len; i++)
    {
      const char *name = g_ptr_array_index (p->parameters, i);
      g_autoptr (SumiTensor) value = NULL;

      if ((before == NULL || !sumi_lora_stack_changes (before, name))
          && (p->unet_stack == NULL || !sumi_lora_stack_changes (p->unet_stack, name)))
        continue;
      value = sumi_pipeline_parameter (p, name, error);
      ok = value != NULL && sumi_plan_set (any->plan, name, value, error);
    }
  g_clear_pointer (&before, sumi_lora_stack_free);
  if (!ok) /* some are set, some are not: begin anew next time */
    sumi_pipeline_free_denoisers (p);
  return ok;
}

/* ---- embeddings ---- */

static gboolean
add_embedding (SumiPipeline *p, const char *path, GError **error)
{
  g_autoptr (SumiTensorMap) file = sumi_weights_open (path, error);
  g_autofree char *stem = stem_of (path);
  SumiEmbedding *e;

  if (file == NULL)
    return FALSE;
  e = sumi_embedding_new (file, stem, error);
  if (e != NULL && sumi_conditioner_add_embedding (p->conditioner, e, error))
    return TRUE;
  g_prefix_error (error, "%s: ", path);
  return FALSE;
}

/* Whether some prompt holds the word, whatever its case. */
static gboolean
is_said (GPtrArray *pictures, const char *word)
{
  g_autofree char *folded = g_utf8_casefold (word, -1);

  for (guint i = 0; i < pictures->len; i++)
    {
      const SumiPicture *picture = g_ptr_array_index (pictures, i);
      g_autofree char *prompt = g_utf8_casefold (picture->prompt->plain, -1);
      g_autofree char *negative = g_utf8_casefold (picture->negative->plain, -1);

      if (strstr (prompt, folded) != NULL || strstr (negative, folded) != NULL)
        return TRUE;
    }
  return FALSE;
}

/* Files of the user's folder whose names are said. One that does not fit is told, and left out. */
static void
find_said_embeddings (SumiPipeline *p, GPtrArray *pictures, GPtrArray *notes)
{
  GDir *dir = p->embeddings_folder != NULL ? g_dir_open (p->embeddings_folder, 0, NULL) : NULL;
  const char *file;

  for (guint n = 0; dir != NULL && n < MAX_FILES && (file = g_dir_read_name (dir)) != NULL; n++)
    {
      g_autofree char *stem = stem_of (file), *path = g_build_filename (p->embeddings_folder, file, NULL);
      g_autoptr (GError) error = NULL;

      if (strcmp (stem, file) == 0 || !g_utf8_validate (stem, -1, NULL) || *stem == '\0' || !is_said (pictures, stem))
        continue;
      if (add_embedding (p, path, &error))
        g_ptr_array_add (notes, g_strdup_printf ("embedding %s is used", stem));
      else
        g_ptr_array_add (notes, g_strdup_printf ("embedding %s was ignored: %s", stem, error->message));
    }
  g_clear_pointer (&dir, g_dir_close);
}

/* Those that came with an adapter. */
static gboolean
add_bundled (SumiPipeline *p, const SumiLora *lora, GError **error)
{
  GHashTable *bundle = sumi_lora_peek_embeddings (lora);
  GHashTableIter i;
  gpointer token, file;

  if (bundle == NULL)
    return TRUE;
  g_hash_table_iter_init (&i, bundle);
  while (g_hash_table_iter_next (&i, &token, &file))
    {
      SumiEmbedding *e = sumi_embedding_new (file, token, error);

      if (e == NULL || !sumi_conditioner_add_embedding (p->conditioner, e, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
add_all_bundled (SumiPipeline *p, GPtrArray *pictures, GError **error)
{
  for (guint i = 0; i < pictures->len; i++)
    {
      const GArray *adapters = ((SumiPicture *)g_ptr_array_index (pictures, i))->adapters;

      for (guint k = 0; k < adapters->len; k++)
        if (!add_bundled (p, g_array_index (adapters, SumiAdapter, k).lora, error))
          return FALSE;
    }
  return TRUE;
}

gboolean
sumi_pipeline_find_embeddings (SumiPipeline *p, const SumiRequest *r, GPtrArray *pictures, GPtrArray *notes,
                               GError **error)
{
  sumi_conditioner_clear_embeddings (p->conditioner);
  if (!add_all_bundled (p, pictures, error))
    return FALSE;
  if (sumi_model_is_stable_diffusion (&p->config))
    find_said_embeddings (p, pictures, notes);
  for (const char *const *path = r->embeddings; path != NULL && *path != NULL; path++)
    if (!add_embedding (p, *path, error))
      return FALSE;
  return TRUE;
}
