/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019).
 *
 * Ids follow from the order of the merges: 0..255 the bytes (printable ones first), 256..511 the same at the end of a
 * word, 512 + r what merge r makes, then the start and the end mark. */
#include "nn/tokenizer.h"
#include "nn/tokenizer-text.h"

#include <gio/gio.h>
#include <string.h>

#define N_BYTES 256
#define FIRST_MERGE (2 * N_BYTES)
#define N_MERGES (SUMI_TOKEN_START - FIRST_MERGE)
#define N_SLOTS (1u << 17) /* open addressing, a third full */
#define MAX_FILE (4 << 20)
#define MAX_PROMPT (64 << 10)
/* Composing sorts each run of combining marks in quadratic time. No script uses more than a few at a time. */
#define MAX_MARKS 1000

struct _SumiTokenizer
{
  gatomicrefcount refs;
  guint16 byte_id[N_BYTES];
  guint32 pair[N_SLOTS];   /* left << 16 | right */
  guint16 merged[N_SLOTS]; /* 0: free (no merge makes a byte) */
};

/* ---- the table of merges ---- */

static guint
slot_of (guint32 pair)
{
  return (pair * 2654435769u) >> 15; /* Fibonacci hashing to 17 bits */
}

/* The id that merging the two makes, or 0. */
static guint
lookup (const SumiTokenizer *t, guint left, guint right)
{
  guint32 pair = left << 16 | right;

  for (guint i = slot_of (pair); t->merged[i] != 0; i = (i + 1) % N_SLOTS)
    if (t->pair[i] == pair)
      return t->merged[i];
  return 0;
}

static void
insert (SumiTokenizer *t, guint left, guint right, guint id)
{
  guint32 pair = left << 16 | right;
  guint i = slot_of (pair);

  while (t->merged[i] != 0)
    i = (i + 1) % N_SLOTS;
  t->pair[i] = pair;
  t->merged[i] = (guint16)id;
}

/* ---- reading merges.txt ---- */

static gboolean
bad_file (const char *path, GError **error, const char *what)
{
  g_autofree char *name = g_filename_display_name (path);

  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT, "%s: %s, expected the %d merges of CLIP's vocabulary",
               name, what, N_MERGES);
  return FALSE;
}

/* The file's text, unpacked. */
static GString *
read_text (const char *path, GError **error)
{
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GInputStream) raw = G_INPUT_STREAM (g_file_read (file, NULL, NULL));
  g_autoptr (GInputStream) stream = NULL;
  g_autoptr (GConverter) unzip = G_CONVERTER (g_zlib_decompressor_new (G_ZLIB_COMPRESSOR_FORMAT_GZIP));
  g_autoptr (GString) text = g_string_new (NULL);
  g_autofree char *name = g_filename_display_name (path);
  char buffer[16384];
  gssize n;

  if (raw == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_MISSING_FILE, "%s: cannot be opened, expected the tokenizer's merges",
                   name);
      return NULL;
    }
  stream = g_str_has_suffix (path, ".gz") ? g_converter_input_stream_new (raw, unzip) : g_object_ref (raw);
  while ((n = g_input_stream_read (stream, buffer, sizeof buffer, NULL, error)) > 0)
    {
      g_string_append_len (text, buffer, n);
      if (text->len > MAX_FILE)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_TOO_LARGE, "%s: found more than %d bytes of text", name, MAX_FILE);
          return NULL;
        }
    }
  if (n < 0)
    {
      g_prefix_error (error, "%s: ", name);
      return NULL;
    }
  return g_steal_pointer (&text);
}

/* How merges.txt writes bytes: the printable ones of Latin-1 as themselves, the others as U+0100 and on. */
static void
name_bytes (SumiTokenizer *t, GHashTable *ids)
{
  guint id = 0;

  for (int printable = 1; printable >= 0; printable--)
    for (guint b = 0; b < N_BYTES; b++)
      {
        gboolean is_printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        char name[6 + 1] = { 0 };

        if (is_printable != printable)
          continue;
        g_unichar_to_utf8 (is_printable ? b : 0x100 + id - 188, name);
        g_hash_table_insert (ids, g_strdup (name), GUINT_TO_POINTER (id));
        g_hash_table_insert (ids, g_strconcat (name, "</w>", NULL), GUINT_TO_POINTER (N_BYTES + id));
        t->byte_id[b] = (guint16)id++;
      }
}

/* One line "left right": both known, the result new. That no name is made twice is what lets encode_word take the
 * merges one at a time: a merge that uses a new symbol always comes later than the one that made it. */
static gboolean
add_merge (SumiTokenizer *t, GHashTable *ids, char *line, guint id)
{
  char *space = strchr (line, ' ');
  g_autofree char *name = NULL;
  gpointer left, right;

  if (space == NULL)
    return FALSE;
  *space = '\0';
  name = g_strconcat (line, space + 1, NULL);
  if (!g_hash_table_lookup_extended (ids, line, NULL, &left)
      || !g_hash_table_lookup_extended (ids, space + 1, NULL, &right)
      || !g_hash_table_insert (ids, g_steal_pointer (&name), GUINT_TO_POINTER (id)))
    return FALSE;
  insert (t, GPOINTER_TO_UINT (left), GPOINTER_TO_UINT (right), id);
  return TRUE;
}

static gboolean
read_merges (SumiTokenizer *t, const char *path, GError **error)
{
  g_autoptr (GString) text = read_text (path, error);
  g_autoptr (GHashTable) ids = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  guint n = 0;

  if (text == NULL)
    return FALSE;
  if (strlen (text->str) != text->len || !g_utf8_validate (text->str, text->len, NULL))
    return bad_file (path, error, "found bytes that are no text");
  name_bytes (t, ids);
  for (char *line = text->str, *next; line != NULL && *line != '\0'; line = next)
    {
      next = strchr (line, '\n');
      if (next != NULL)
        *next++ = '\0';
      g_strchomp (line);
      if (n == 0 && g_str_has_prefix (line, "#version"))
        continue;
      if (n == N_MERGES)
        return bad_file (path, error, "found more lines");
      if (!add_merge (t, ids, line, FIRST_MERGE + n))
        {
          g_autofree char *what
              = g_strdup_printf ("line of merge %u does not join two known tokens to a new one", n + 1);

          return bad_file (path, error, what);
        }
      n++;
    }
  return n == N_MERGES || bad_file (path, error, "found fewer lines");
}

SumiTokenizer *
sumi_tokenizer_open (const char *merges_path, GError **error)
{
  g_autoptr (SumiTokenizer) t = g_new0 (SumiTokenizer, 1);

  g_atomic_ref_count_init (&t->refs);
  return read_merges (t, merges_path, error) ? g_steal_pointer (&t) : NULL;
}

SumiTokenizer *
sumi_tokenizer_ref (SumiTokenizer *t)
{
  g_atomic_ref_count_inc (&t->refs);
  return t;
}

void
sumi_tokenizer_unref (SumiTokenizer *t)
{
  if (t != NULL && g_atomic_ref_count_dec (&t->refs))
    g_free (t);
}

/* ---- a word: a linked list of symbols, a heap of the merges that are possible ---- */

typedef struct
{
  guint32 prev, next;
  guint id;
} Symbol;

/* A binary min-heap of id << 32 | place: the earliest merge first, from the left. */
static void
heap_push (GArray *heap, guint64 key)
{
  guint64 *h;
  guint i = heap->len;

  g_array_append_val (heap, key);
  h = (guint64 *)(void *)heap->data;
  for (; i > 0 && h[(i - 1) / 2] > key; i = (i - 1) / 2)
    h[i] = h[(i - 1) / 2];
  h[i] = key;
}

static guint64
heap_pop (GArray *heap)
{
  guint64 *h = (guint64 *)(void *)heap->data;
  guint64 top = h[0], key = h[heap->len - 1];
  guint n = heap->len - 1, i = 0;

  g_array_set_size (heap, n);
  for (guint child = 1; child < n; child = 2 * i + 1)
    {
      if (child + 1 < n && h[child + 1] < h[child])
        child++;
      if (h[child] >= key)
        break;
      h[i] = h[child];
      i = child;
    }
  if (n > 0)
    h[i] = key;
  return top;
}

/* The merge possible at symbol i, or 0. */
static guint
merge_at (const SumiTokenizer *t, const Symbol *s, guint n, guint i)
{
  return s[i].next < n ? lookup (t, s[i].id, s[s[i].next].id) : 0;
}

static void
push_merge_at (const SumiTokenizer *t, const Symbol *s, guint n, guint i, GArray *heap)
{
  guint id = merge_at (t, s, n, i);

  if (id != 0)
    heap_push (heap, (guint64)id << 32 | i);
}

/* Merges by rank until none is possible. Symbol i stands for itself and what was merged into it; a symbol that is gone
 * has the id G_MAXUINT16, with which nothing merges. */
static void
encode_word (const SumiTokenizer *t, const char *word, gsize length, Symbol *s, GArray *heap, GArray *ids)
{
  guint n = (guint)length;

  for (guint i = 0; i < n; i++)
    s[i] = (Symbol){ i - 1, i + 1, t->byte_id[(guchar)word[i]] };
  s[n - 1].id += N_BYTES;
  for (guint i = 0; i < n; i++)
    push_merge_at (t, s, n, i, heap);
  while (heap->len > 0)
    {
      guint64 key = heap_pop (heap);
      guint i = (guint)key, id = (guint)(key >> 32), gone;

      if (merge_at (t, s, n, i) != id)
        continue; /* one of the two has been merged since */
      gone = s[i].next;
      s[i].id = id;
      s[i].next = s[gone].next;
      s[gone].id = G_MAXUINT16;
      if (s[i].next < n)
        s[s[i].next].prev = i;
      push_merge_at (t, s, n, i, heap);
      if (i > 0)
        push_merge_at (t, s, n, s[i].prev, heap);
    }
  for (guint i = 0; i < n; i = s[i].next)
    {
      gint64 id = s[i].id;

      g_array_append_val (ids, id);
    }
}

/* ---- a text ---- */

static gboolean
check_text (const char *text, GError **error)
{
  gsize size = strlen (text), marks = 0;

  if (size > MAX_PROMPT)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "prompt: found %" G_GSIZE_FORMAT " bytes, expected at most %d",
                   size, MAX_PROMPT);
      return FALSE;
    }
  if (!g_utf8_validate (text, (gssize)size, NULL))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "prompt: found bytes that are not UTF-8, expected UTF-8 text");
      return FALSE;
    }
  for (const char *p = text; *p != '\0'; p = g_utf8_next_char (p))
    {
      marks = g_unichar_combining_class (g_utf8_get_char (p)) != 0 ? marks + 1 : 0;
      if (marks > MAX_MARKS)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE,
                       "prompt: found more than %d combining marks in a row, expected text", MAX_MARKS);
          return FALSE;
        }
    }
  return TRUE;
}

GArray *
sumi_tokenizer_encode (SumiTokenizer *t, const char *text, GError **error)
{
  g_autofree char *normal = NULL;
  g_autofree Symbol *symbols = NULL;
  g_autoptr (GArray) heap = NULL;
  GArray *ids;
  const char *p, *word;
  gsize length;

  if (!check_text (text, error))
    return NULL;
  normal = sumi_clip_normalize (text);
  symbols = g_new (Symbol, MAX (strlen (normal), 1));
  heap = g_array_new (FALSE, FALSE, sizeof (guint64));
  ids = g_array_new (FALSE, FALSE, sizeof (gint64));
  p = normal;
  while ((word = sumi_clip_next_word (&p, &length)) != NULL)
    encode_word (t, word, length, symbols, heap, ids);
  return ids;
}

/* Where the padding is 0, the token "!", transformers' tokenizers take every "!" of a text for that token, and do not
 * join it with its neighbours ("!!!" is three ids, else one). The models were trained so. */
static GArray *
encode_with_pads (SumiTokenizer *t, const char *text, GError **error)
{
  g_auto (GStrv) pieces = NULL;
  g_autoptr (GArray) ids = NULL;

  if (!check_text (text, error))
    return NULL;
  pieces = g_strsplit (text, "!", -1);
  ids = g_array_new (FALSE, TRUE, sizeof (gint64));
  for (guint i = 0; pieces[i] != NULL; i++)
    {
      g_autoptr (GArray) piece = sumi_tokenizer_encode (t, pieces[i], error);

      if (piece == NULL)
        return NULL;
      if (i > 0)
        g_array_set_size (ids, ids->len + 1);
      if (piece->len > 0)
        g_array_append_vals (ids, piece->data, piece->len);
    }
  return g_steal_pointer (&ids);
}

GArray *
sumi_tokenizer_encode_for (SumiTokenizer *t, const char *text, gint64 pad_id, GError **error)
{
  return pad_id == 0 ? encode_with_pads (t, text, error) : sumi_tokenizer_encode (t, text, error);
}

gboolean
sumi_tokenizer_encode_padded (SumiTokenizer *t, const char *text, guint context, gint64 pad_id, gint64 *ids,
                              guint *n_cut, GError **error)
{
  g_autoptr (GArray) plain = NULL;
  guint n;

  if (context < 2)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "context: found %u, expected at least 2", context);
      return FALSE;
    }
  plain = sumi_tokenizer_encode_for (t, text, pad_id, error);
  if (plain == NULL)
    return FALSE;
  n = MIN (plain->len, context - 2);
  if (n_cut != NULL)
    *n_cut = plain->len - n;
  ids[0] = SUMI_TOKEN_START;
  for (guint i = 0; i < n; i++)
    ids[i + 1] = g_array_index (plain, gint64, i);
  ids[n + 1] = SUMI_TOKEN_END;
  for (guint i = n + 2; i < context; i++)
    ids[i] = pad_id;
  return TRUE;
}
