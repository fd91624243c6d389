/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From prompts to text states, against the reference's and against themselves. */
#include "diffusion/conditioner.h"

#include <math.h>
#include <string.h>

#include "golden-model.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "tiny-model.h"

#define LENGTH 77
#define REL_L2 2e-5 /* the text encoders' own cases */
#define HORSE "a photo of an astronaut riding a horse on mars"

static SumiTokenizer *tokenizer;
static char *merges;

typedef struct
{
  GoldenModel *model;
  SumiConditioner *conditioner;
  SumiConditionerOptions options; /* original emphasis, the model's own clip skip */
  GPtrArray *notes;
} Fixture;

static void
fixture_free (Fixture *f)
{
  sumi_conditioner_free (f->conditioner);
  golden_model_free (f->model);
  g_ptr_array_unref (f->notes);
  g_free (f);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Fixture, fixture_free)

static SumiConditioner *
conditioner_new (const SumiModelConfig *config, SumiTensorMap *weights, const char *engine_name)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiEngine) engine = sumi_engine_open (engine_name, &error);
  SumiConditioner *c;

  g_assert_no_error (error);
  c = sumi_conditioner_new (config, weights, tokenizer, engine, 1, &error);
  g_assert_no_error (error);
  return c;
}

/* NULL after g_test_skip. */
static Fixture *
fixture_new (const char *name, const char *engine)
{
  const char *root = g_getenv ("SUMI_GOLDEN");
  Fixture *f;

  if (root == NULL)
    {
      g_test_skip ("SUMI_GOLDEN is not set");
      return NULL;
    }
  f = g_new0 (Fixture, 1);
  f->model = golden_model_open (root, name);
  f->conditioner = conditioner_new (&f->model->config, f->model->weights, engine);
  f->notes = g_ptr_array_new_with_free_func (g_free);
  return f;
}

static gboolean
try_encode (Fixture *f, const char *const *texts, guint n, SumiTextStates *out, GError **error)
{
  static const char *const what[] = { "prompt", "negative prompt", "third" };
  g_autoptr (GPtrArray) prompts = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_prompt_free);

  for (guint i = 0; i < n; i++)
    {
      g_ptr_array_add (prompts, sumi_prompt_parse (texts[i], f->options.emphasis, 0, error));
      g_assert_nonnull (g_ptr_array_index (prompts, i));
    }
  return sumi_conditioner_encode (f->conditioner, (const SumiPrompt *const *)prompts->pdata, what, n, &f->options, out,
                                  f->notes, NULL, error);
}

static SumiTextStates
encode (Fixture *f, const char *text)
{
  g_autoptr (GError) error = NULL;
  SumiTextStates states;

  g_assert_true (try_encode (f, &text, 1, &states, &error));
  g_assert_no_error (error);
  return states;
}

static void
check_shape (const SumiTensor *t, const SumiShape *want)
{
  g_autofree char *got = sumi_shape_to_string (sumi_tensor_get_shape (t)), *expected = sumi_shape_to_string (want);

  g_assert_cmpstr (got, ==, expected);
}

static void
check_equal (const SumiTensor *a, const SumiTensor *b)
{
  check_shape (a, sumi_tensor_get_shape (b));
  g_assert_cmpmem (sumi_tensor_peek (a), sumi_tensor_get_size (a), sumi_tensor_peek (b), sumi_tensor_get_size (b));
}

static gboolean
rows_equal (const SumiTensor *a, gint64 row_a, const SumiTensor *b, gint64 row_b)
{
  gint64 width = sumi_tensor_get_shape (a)->d[2];

  return memcmp (sumi_tensor_peek_f32 (a) + row_a * width, sumi_tensor_peek_f32 (b) + row_b * width,
                 (gsize)width * sizeof (float))
         == 0;
}

static void
check_close (const char *what, const float *got, const float *want, gint64 n)
{
  double difference = 0, norm = 0;

  for (gint64 i = 0; i < n; i++)
    {
      difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
      norm += (double)want[i] * want[i];
    }
  g_test_message ("%s: rel. L2 %g", what, norm > 0 ? sqrt (difference / norm) : sqrt (difference));
  g_assert_cmpfloat (sqrt (difference), <=, REL_L2 * sqrt (norm) + 1e-8 * sqrt (n));
}

/* ---- the reference's text states ---- */

static SumiTensorMap *
open_tensors (const char *name, const char *file)
{
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_GOLDEN"), "cases", name, file, NULL);
  g_autoptr (GError) error = NULL;
  SumiTensorMap *map = sumi_safetensors_open (path, &error);

  g_assert_no_error (error);
  return map;
}

static void
check_reference (const char *what, const SumiTensor *got, const SumiTensorMap *in)
{
  SumiTensor *want = sumi_tensor_map_peek (in, what);

  if (want == NULL)
    return;
  check_shape (got, sumi_tensor_get_shape (want));
  {
    g_autoptr (SumiTensor) aligned = sumi_tensor_cast (want, SUMI_F32, NULL);

    check_close (what, sumi_tensor_peek_f32 (got), sumi_tensor_peek_f32 (aligned), sumi_tensor_get_numel (got));
  }
}

static void
check_case (Fixture *f, const char *name)
{
  g_autofree char *path = g_build_filename (g_getenv ("SUMI_GOLDEN"), "cases", name, "case.json", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) json = sumi_json_load (path, &error);
  g_autoptr (SumiTensorMap) in = open_tensors (name, "in.safetensors");
  JsonObject *params = json_object_get_object_member (json, "params");
  const char *texts[]
      = { json_object_get_string_member (params, "prompt"), json_object_get_string_member (params, "negative_prompt") };
  SumiTextStates out[2];

  g_test_message ("%s", name);
  f->options = (SumiConditionerOptions){ .emphasis = SUMI_EMPHASIS_NONE, .zero_empty = 2 };
  g_assert_true (try_encode (f, texts, 2, out, &error));
  g_assert_no_error (error);
  check_reference ("cond", out[0].states, in);
  check_reference ("uncond", out[1].states, in);
  g_assert_true ((out[0].pooled != NULL) == (sumi_tensor_map_peek (in, "cond_pooled") != NULL));
  check_reference ("cond_pooled", out[0].pooled, in);
  check_reference ("uncond_pooled", out[1].pooled, in);
  g_assert_cmpuint (out[0].n_tokens, ==, 10);
  g_assert_cmpuint (f->notes->len, ==, 0);
  for (guint i = 0; i < 2; i++)
    sumi_text_states_clear (&out[i]);
}

static void
test_reference (gconstpointer engine)
{
  static const char *const cases[][2] = {
    { "tiny-sd15", "generate-tiny-sd15-euler-cfg7.5" },
    { "tiny-sd21", "generate-tiny-sd21-euler" },
    { "tiny-sdxl", "generate-tiny-sdxl-euler" },
    { "tiny-sdxl", "generate-tiny-sdxl-empty-negative" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (Fixture) f = fixture_new (cases[i][0], engine);

      if (f == NULL)
        return;
      check_case (f, cases[i][1]);
    }
}

static void
test_zero_empty (void)
{
  g_autoptr (Fixture) f = fixture_new ("tiny-sdxl", NULL);
  g_auto (SumiTextStates) zeros = { NULL }, said = { NULL }, blank = { NULL };

  if (f == NULL)
    return;
  f->options.zero_empty = 1;
  zeros = encode (f, "");
  blank = encode (f, " \n");
  f->options.zero_empty = 2; /* another one */
  said = encode (f, "");
  check_equal (zeros.states, blank.states);
  for (gint64 i = 0; i < sumi_tensor_get_numel (zeros.states); i++)
    g_assert_cmpfloat (sumi_tensor_peek_f32 (zeros.states)[i], ==, 0);
  for (gint64 i = 0; i < sumi_tensor_get_numel (zeros.pooled); i++)
    g_assert_cmpfloat (sumi_tensor_peek_f32 (zeros.pooled)[i], ==, 0);
  check_shape (said.states, sumi_tensor_get_shape (zeros.states));
  g_assert_false (rows_equal (zeros.states, 0, said.states, 0));
  g_assert_cmpuint (said.n_tokens, ==, 0);
}

/* ---- clip skip ---- */

static void
check_text_encoder (Fixture *f, const char *name, const char *tensor, guint clip_skip, gint64 column)
{
  g_autoptr (SumiTensorMap) out = open_tensors (name, "out.safetensors");
  g_autoptr (SumiTensor) want = sumi_tensor_cast (sumi_tensor_map_peek (out, tensor), SUMI_F32, NULL);
  gint64 width = sumi_tensor_get_shape (want)->d[2];
  static const char *const texts[] = { HORSE, "", "a photo of a cat" }; /* its first rows */

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    {
      g_auto (SumiTextStates) s = { NULL };

      f->options.clip_skip = clip_skip;
      s = encode (f, texts[i]);
      for (gint64 k = 0; k < LENGTH; k++)
        check_close (texts[i], sumi_tensor_peek_f32 (s.states) + k * sumi_tensor_get_shape (s.states)->d[2] + column,
                     sumi_tensor_peek_f32 (want) + (i * LENGTH + k) * width, width);
    }
}

static void
test_clip_skip (void)
{
  g_autoptr (Fixture) sd15 = fixture_new ("tiny-sd15", NULL);
  g_autoptr (Fixture) sd21 = fixture_new ("tiny-sd21", NULL);
  g_autoptr (Fixture) sdxl = fixture_new ("tiny-sdxl", NULL);

  if (sd15 == NULL)
    return;
  check_text_encoder (sd15, "text-encoder-tiny-sd15", "last_hidden_state", 0, 0);
  check_text_encoder (sd15, "text-encoder-tiny-sd15", "last_hidden_state", 1, 0);
  check_text_encoder (sd15, "text-encoder-tiny-sd15", "penultimate_normed", 2, 0);
  check_text_encoder (sd21, "text-encoder-tiny-sd21", "last_hidden_state", 0, 0);
  check_text_encoder (sd21, "text-encoder-tiny-sd21", "penultimate_normed", 2, 0);
  g_assert_cmpuint (sd15->notes->len + sd21->notes->len, ==, 0);
  check_text_encoder (sdxl, "text-encoder-tiny-sdxl", "penultimate_hidden_state", 0, 0);
  check_text_encoder (sdxl, "text-encoder-tiny-sdxl-2", "penultimate_hidden_state", 2, 8);
  g_assert_cmpuint (sdxl->notes->len, ==, 0);
  check_text_encoder (sdxl, "text-encoder-tiny-sdxl", "penultimate_hidden_state", 1, 0);
  g_assert_cmpuint (sdxl->notes->len, ==, 3); /* told: 1 is too few */
}

static void
test_clip_skip_limits (void)
{
  g_autoptr (Fixture) f = fixture_new ("tiny-sdxl", NULL);
  g_auto (SumiTextStates) second = { NULL }, third = { NULL };
  const char *text = HORSE;
  SumiTextStates none;
  g_autoptr (GError) error = NULL;

  if (f == NULL)
    return;
  second = encode (f, text);
  f->options.clip_skip = 3; /* all the layers of the first encoder, of the second not all */
  third = encode (f, text);
  g_assert_false (rows_equal (second.states, 5, third.states, 5));
  check_equal (second.pooled, third.pooled);
  f->options.clip_skip = 4;
  g_assert_false (try_encode (f, &text, 1, &none, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
  g_assert_null (none.states);
}

/* ---- emphasis ---- */

static void
check_same (Fixture *f, const char *a, const char *b)
{
  g_auto (SumiTextStates) first = encode (f, a), second = encode (f, b);

  check_equal (first.states, second.states);
  if (first.pooled != NULL)
    check_equal (first.pooled, second.pooled);
}

static void
test_no_emphasis (void)
{
  static const char *const models[] = { "tiny-sd15", "tiny-sdxl" };

  for (gsize i = 0; i < G_N_ELEMENTS (models); i++)
    {
      g_autoptr (Fixture) f = fixture_new (models[i], NULL);

      if (f == NULL)
        return;
      for (guint emphasis = SUMI_EMPHASIS_ORIGINAL; emphasis <= SUMI_EMPHASIS_NO_NORM; emphasis++)
        {
          f->options.emphasis = (SumiEmphasis)emphasis;
          check_same (f, "a photo of a cat", "a (photo:1.0) of a [(cat:1.1)]");
          check_same (f, "a photo of a cat", "(a photo of a cat:1)");
        }
    }
}

/* "a (photo:W) of a cat": the state of place 2 alone is multiplied, in each encoder. */
static void
test_no_norm (void)
{
  static const char *const models[] = { "tiny-sd15", "tiny-sd21", "tiny-sdxl" };

  for (gsize i = 0; i < G_N_ELEMENTS (models); i++)
    {
      g_autoptr (Fixture) f = fixture_new (models[i], NULL);
      g_auto (SumiTextStates) plain = { NULL }, loud = { NULL };
      gint64 width;

      if (f == NULL)
        return;
      f->options.emphasis = SUMI_EMPHASIS_NO_NORM;
      plain = encode (f, "a photo of a cat");
      loud = encode (f, "a (photo:1.5) of a cat");
      width = sumi_tensor_get_shape (plain.states)->d[2];
      for (gint64 k = 0; k < LENGTH; k++)
        g_assert_true (rows_equal (plain.states, k, loud.states, k) == (k != 2));
      for (gint64 k = 2 * width; k < 3 * width; k++)
        g_assert_cmpfloat (sumi_tensor_peek_f32 (loud.states)[k], ==, sumi_tensor_peek_f32 (plain.states)[k] * 1.5f);
      if (plain.pooled != NULL)
        check_equal (plain.pooled, loud.pooled);
    }
}

static double
mean (const SumiTensor *states, gint64 first, gint64 width)
{
  const SumiShape *s = sumi_tensor_get_shape (states);
  double sum = 0;

  for (gint64 i = 0; i < s->d[1]; i++)
    for (gint64 k = 0; k < width; k++)
      sum += sumi_tensor_peek_f32 (states)[i * s->d[2] + first + k];
  return sum / (s->d[1] * width);
}

/* Each encoder's states keep their mean; but for one factor they are those of no-norm. */
static void
check_original (Fixture *f, gint64 first, gint64 width)
{
  g_auto (SumiTextStates) plain = { NULL }, loud = { NULL }, original = { NULL };
  gint64 all;
  double factor;

  f->options.emphasis = SUMI_EMPHASIS_NO_NORM;
  plain = encode (f, HORSE);
  loud = encode (f, "a photo of an (astronaut:1.4) riding a [horse] on mars");
  f->options.emphasis = SUMI_EMPHASIS_ORIGINAL;
  original = encode (f, "a photo of an (astronaut:1.4) riding a [horse] on mars");
  factor = mean (plain.states, first, width) / mean (loud.states, first, width);
  g_assert_cmpfloat_with_epsilon (mean (original.states, first, width), mean (plain.states, first, width), 1e-6);
  g_assert_cmpfloat (fabs (factor - 1), >, 1e-5);
  all = sumi_tensor_get_shape (plain.states)->d[2];
  for (gint64 i = 0; i < LENGTH; i++)
    for (gint64 k = 0; k < width; k++)
      {
        gint64 at = i * all + first + k;

        g_assert_cmpfloat_with_epsilon (sumi_tensor_peek_f32 (original.states)[at],
                                        factor * sumi_tensor_peek_f32 (loud.states)[at], 1e-5);
      }
}

static void
test_original (void)
{
  g_autoptr (Fixture) sd15 = fixture_new ("tiny-sd15", NULL), sdxl = fixture_new ("tiny-sdxl", NULL);

  if (sd15 == NULL)
    return;
  check_original (sd15, 0, 32);
  check_original (sdxl, 0, 8);
  check_original (sdxl, 8, 16);
}

/* ---- chunks ---- */

static void
test_chunks (void)
{
  g_autoptr (Fixture) f = fixture_new ("tiny-sdxl", NULL);
  g_autoptr (GString) text = g_string_new (NULL);
  g_auto (SumiTextStates) alone = { NULL };
  SumiTextStates out[2];
  const char *texts[2];
  g_autoptr (GError) error = NULL;

  if (f == NULL)
    return;
  for (guint i = 0; i < 200; i++)
    g_string_append (text, i < 75 ? "a " : i < 150 ? "photo " : "cat ");
  texts[0] = text->str;
  texts[1] = "a photo of a cat";
  g_assert_true (try_encode (f, texts, 2, out, &error));
  g_assert_no_error (error);
  check_shape (out[0].states, &SUMI_SHAPE (1, 3 * LENGTH, 24));
  check_shape (out[1].states, &SUMI_SHAPE (1, 3 * LENGTH, 24)); /* with empty chunks */
  g_assert_cmpuint (out[0].n_tokens, ==, 200);
  g_assert_cmpuint (out[1].n_tokens, ==, 5);
  g_assert_cmpuint (f->notes->len, ==, 0);
  alone = encode (f, texts[1]);
  for (gint64 k = 0; k < LENGTH; k++)
    g_assert_true (rows_equal (out[1].states, k, alone.states, k));
  check_equal (out[1].pooled, alone.pooled);
  sumi_text_states_clear (&alone);
  alone = encode (f, "");
  for (gint64 k = 0; k < LENGTH; k++)
    g_assert_true (rows_equal (out[1].states, 2 * LENGTH + k, alone.states, k));
  for (guint i = 0; i < 2; i++)
    sumi_text_states_clear (&out[i]);
}

/* Each side of BREAK is encoded as if it were alone; the pooled state is the first one's. */
static void
test_break (void)
{
  g_autoptr (Fixture) f = fixture_new ("tiny-sdxl", NULL);
  g_auto (SumiTextStates) both = { NULL }, first = { NULL }, second = { NULL };

  if (f == NULL)
    return;
  both = encode (f, HORSE " BREAK (a photo:1.5) of a cat");
  first = encode (f, HORSE);
  second = encode (f, "(a photo:1.5) of a cat");
  check_shape (both.states, &SUMI_SHAPE (1, 2 * LENGTH, 24));
  for (gint64 k = 0; k < LENGTH; k++)
    {
      g_assert_true (rows_equal (both.states, k, first.states, k));
      g_assert_true (rows_equal (both.states, LENGTH + k, second.states, k));
    }
  check_equal (both.pooled, first.pooled);
  g_assert_cmpuint (both.n_tokens, ==, 15);
}

/* As the reference pipelines do it. */
static void
test_one_chunk (void)
{
  g_autoptr (Fixture) f = fixture_new ("tiny-sd15", NULL);
  g_autoptr (GString) text = g_string_new (NULL);
  g_auto (SumiTextStates) cut = { NULL };

  if (f == NULL)
    return;
  for (guint i = 0; i < 90; i++)
    g_string_append (text, "a ");
  f->options.one_chunk = TRUE;
  cut = encode (f, text->str);
  check_shape (cut.states, &SUMI_SHAPE (1, LENGTH, 32));
  g_assert_cmpuint (cut.n_tokens, ==, 75);
  g_assert_cmpuint (f->notes->len, ==, 1);
  g_assert_cmpstr (g_ptr_array_index (f->notes, 0), ==, "prompt: the last 15 tokens were cut, 75 fit");
}

/* ---- textual inversion ---- */

static SumiEmbedding *
embedding_new (const char *token, guint n, gint64 width, gint64 width_2)
{
  SumiEmbedding *e = g_new0 (SumiEmbedding, 1);

  e->token = g_strdup (token);
  e->n_vectors = n;
  if (width > 0)
    e->vectors = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (n, width), NULL);
  if (width_2 > 0)
    e->vectors_2 = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (n, width_2), NULL);
  return e;
}

/* The table's own rows of the tokens, so that the word says what the tokens say. */
static void
copy_rows (Fixture *f, const char *prefix, SumiTensor *vectors, const gint64 *ids)
{
  g_autofree char *name = g_strconcat (prefix, ".text_model.embeddings.token_embedding.weight", NULL);
  SumiTensor *table = sumi_tensor_map_peek (f->model->weights, name);
  gint64 width = sumi_tensor_get_shape (vectors)->d[1];

  for (gint64 i = 0; i < sumi_tensor_get_shape (vectors)->d[0]; i++)
    {
      g_autoptr (SumiTensor) row = sumi_tensor_slice0 (table, ids[i], 1, NULL);

      sumi_tensor_to_f32 (row, sumi_tensor_poke_f32 (vectors) + i * width);
    }
}

static void
add_photo_cat (Fixture *f)
{
  static const gint64 photo_cat[] = { 1125, 2368 };
  gboolean two = f->model->config.family == SUMI_FAMILY_SDXL;
  SumiEmbedding *e = embedding_new ("<Kitty>", 2, f->model->config.text.hidden_size, two ? 16 : 0);
  g_autoptr (GError) error = NULL;

  copy_rows (f, "text_encoder", e->vectors, photo_cat);
  if (two)
    copy_rows (f, "text_encoder_2", e->vectors_2, photo_cat);
  g_assert_true (sumi_conditioner_add_embedding (f->conditioner, e, &error));
  g_assert_no_error (error);
}

static void
test_embedding (void)
{
  static const char *const models[] = { "tiny-sd15", "tiny-sd21", "tiny-sdxl" };

  for (gsize i = 0; i < G_N_ELEMENTS (models); i++)
    {
      g_autoptr (Fixture) f = fixture_new (models[i], NULL);
      g_autoptr (GString) border = g_string_new (NULL), moved = g_string_new (NULL);
      g_auto (SumiTextStates) s = { NULL };

      if (f == NULL)
        return;
      add_photo_cat (f);
      check_same (f, "a <kitty>, of mars", "a photo cat, of mars");
      check_same (f, "a (<kitty>:1.3) of mars", "a (photo cat:1.3) of mars");
      s = encode (f, "<kitty>");
      g_assert_cmpuint (s.n_tokens, ==, 2);
      for (guint k = 0; k < 74; k++)
        {
          g_string_append (border, "a ");
          g_string_append (moved, "a ");
        }
      g_string_append (border, "<kitty> mars");
      g_string_append (moved, "BREAK photo cat mars");
      check_same (f, border->str, moved->str);
      sumi_conditioner_clear_embeddings (f->conditioner);
      sumi_text_states_clear (&s);
      s = encode (f, "<kitty>");
      g_assert_cmpuint (s.n_tokens, ==, 3);
    }
}

static void
test_embedding_replaced (void)
{
  g_autoptr (Fixture) f = fixture_new ("tiny-sd15", NULL);
  g_auto (SumiTextStates) before = { NULL }, after = { NULL };
  g_autoptr (GError) error = NULL;

  if (f == NULL)
    return;
  add_photo_cat (f);
  before = encode (f, "<kitty>");
  g_assert_true (sumi_conditioner_add_embedding (f->conditioner, embedding_new ("fox", 3, 32, 0), &error));
  g_assert_true (sumi_conditioner_add_embedding (f->conditioner, embedding_new ("<Kitty>", 4, 32, 0), &error));
  after = encode (f, "<kitty> fox");
  g_assert_cmpuint (before.n_tokens, ==, 2);
  g_assert_cmpuint (after.n_tokens, ==, 7);
}

static void
check_embedding_refused (Fixture *f, SumiEmbedding *e, SumiError code, const char *found, const char *expected)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (sumi_conditioner_add_embedding (f->conditioner, e, &error));
  g_assert_error (error, SUMI_ERROR, (gint)code);
  g_test_message ("%s", error->message);
  g_assert_nonnull (strstr (error->message, found));
  g_assert_nonnull (strstr (error->message, expected));
}

static void
test_embedding_refused (void)
{
  g_autoptr (Fixture) sd15 = fixture_new ("tiny-sd15", NULL), sdxl = fixture_new ("tiny-sdxl", NULL);

  if (sd15 == NULL)
    return;
  check_embedding_refused (sd15, embedding_new ("x", 1, 768, 0), SUMI_ERROR_SHAPE_MISMATCH, "768", "32");
  check_embedding_refused (sd15, embedding_new ("x", 1, 32, 1280), SUMI_ERROR_SHAPE_MISMATCH, "32 and 1280", "32");
  check_embedding_refused (sd15, embedding_new ("x", 1, 0, 32), SUMI_ERROR_SHAPE_MISMATCH, "32", "32");
  check_embedding_refused (sd15, embedding_new (" ", 1, 32, 0), SUMI_ERROR_USAGE, "no tokens", "a word");
  check_embedding_refused (sd15, embedding_new ("x", 76, 32, 0), SUMI_ERROR_TOO_LARGE, "76", "75");
  check_embedding_refused (sdxl, embedding_new ("x", 1, 8, 0), SUMI_ERROR_SHAPE_MISMATCH, "8", "8 and 16");
  check_embedding_refused (sdxl, embedding_new ("x", 1, 16, 8), SUMI_ERROR_SHAPE_MISMATCH, "16 and 8", "8 and 16");
}

/* ---- the refiner ---- */

/* It has the second encoder of SDXL alone, and reads it as SDXL does. */
static void
test_refiner (void)
{
  g_autoptr (Fixture) f = fixture_new ("tiny-sdxl", NULL);
  g_auto (SumiTextStates) both = { NULL }, second = { NULL };
  g_autoptr (GError) error = NULL;

  if (f == NULL)
    return;
  both = encode (f, "a (photo!:1.2) of <kitty> BREAK a cat");
  sumi_conditioner_free (f->conditioner);
  f->model->config.family = SUMI_FAMILY_SDXL_REFINER;
  f->model->config.unet.cross_attention_dim = 16;
  f->conditioner = conditioner_new (&f->model->config, f->model->weights, NULL);
  second = encode (f, "a (photo!:1.2) of <kitty> BREAK a cat");
  check_shape (second.states, &SUMI_SHAPE (1, 2 * LENGTH, 16));
  for (gint64 k = 0; k < 2 * LENGTH; k++)
    g_assert_cmpmem (sumi_tensor_peek_f32 (second.states) + k * 16, 16 * sizeof (float),
                     sumi_tensor_peek_f32 (both.states) + k * 24 + 8, 16 * sizeof (float));
  check_equal (second.pooled, both.pooled);
  /* one half of a file for SDXL, or a file of its own */
  g_assert_true (sumi_conditioner_add_embedding (f->conditioner, embedding_new ("x", 2, 8, 16), &error));
  g_assert_true (sumi_conditioner_add_embedding (f->conditioner, embedding_new ("y", 3, 16, 0), &error));
  g_assert_no_error (error);
  g_assert_false (sumi_conditioner_add_embedding (f->conditioner, embedding_new ("z", 3, 8, 0), &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH);
  sumi_text_states_clear (&second);
  second = encode (f, "x y z");
  g_assert_cmpuint (second.n_tokens, ==, 6);
}

/* ---- adapters' parameters ---- */

typedef struct
{
  SumiTensorMap *weights;
  guint n_calls;
  gboolean fails;
} Source;

static SumiTensor *
louder (const char *name, gpointer user, GError **error)
{
  Source *s = user;
  SumiTensor *t = sumi_tensor_cast (sumi_tensor_map_peek (s->weights, name), SUMI_F32, error);

  s->n_calls++;
  if (s->fails)
    {
      g_clear_pointer (&t, sumi_tensor_unref);
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE, "broken adapter");
    }
  else if (g_str_has_suffix (name, "fc1.weight"))
    for (gint64 i = 0; i < sumi_tensor_get_numel (t); i++)
      sumi_tensor_poke_f32 (t)[i] *= 2;
  return t;
}

static void
test_source (void)
{
  g_autoptr (Fixture) f = fixture_new ("tiny-sd15", NULL);
  g_auto (SumiTextStates) plain = { NULL }, changed = { NULL }, again = { NULL };
  const char *text = HORSE;
  SumiTextStates none;
  g_autoptr (GError) error = NULL;
  Source s;

  if (f == NULL)
    return;
  s = (Source){ f->model->weights, 0, FALSE };
  plain = encode (f, text);
  sumi_conditioner_set_source (f->conditioner, louder, &s);
  changed = encode (f, text);
  g_assert_cmpuint (s.n_calls, ==, 3 * 16 + 3); /* 16 parameters a layer, positions, the last norm */
  g_assert_false (rows_equal (plain.states, 5, changed.states, 5));
  again = encode (f, text);
  check_equal (changed.states, again.states);
  sumi_text_states_clear (&again);
  g_assert_cmpuint (s.n_calls, ==, 3 * 16 + 3); /* stays compiled */
  sumi_conditioner_trim (f->conditioner);
  s.fails = TRUE;
  g_assert_false (try_encode (f, &text, 1, &none, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE);
  sumi_conditioner_set_source (f->conditioner, NULL, NULL);
  again = encode (f, text);
  check_equal (plain.states, again.states);
}

/* ---- bad models ---- */

static void
test_refused_weights (void)
{
  g_autoptr (Fixture) f = fixture_new ("tiny-sd15", NULL);
  static const char *const names[] = { "text_encoder.text_model.embeddings.token_embedding.weight",
                                       "text_encoder.text_model.encoder.layers.1.mlp.fc2.bias" };
  g_autoptr (SumiEngine) engine = sumi_engine_open (NULL, NULL);
  g_autoptr (SumiTensor) odd = sumi_tensor_new (SUMI_F32, &SUMI_SHAPE (7), NULL);

  if (f == NULL)
    return;
  for (gsize i = 0; i < 2 * G_N_ELEMENTS (names); i++)
    {
      g_autoptr (GError) error = NULL;
      const char *name = names[i / 2];
      int code = i % 2 ? SUMI_ERROR_SHAPE_MISMATCH : SUMI_ERROR_MISSING_TENSOR;
      SumiTensor *kept = sumi_tensor_ref (sumi_tensor_map_peek (f->model->weights, name));

      if (i % 2)
        sumi_tensor_map_set (f->model->weights, name, odd);
      else
        sumi_tensor_map_remove (f->model->weights, name);
      g_assert_null (sumi_conditioner_new (&f->model->config, f->model->weights, tokenizer, engine, 1, &error));
      g_assert_error (error, SUMI_ERROR, code);
      g_assert_nonnull (strstr (error->message, name));
      sumi_tensor_map_take (f->model->weights, name, kept);
    }
}

/* A row that is not finite is found when it is said, and only then. */
static void
test_bad_row (void)
{
  static const char name[] = "text_encoder.text_model.embeddings.token_embedding.weight";
  g_autoptr (Fixture) f = fixture_new ("tiny-sd15", NULL);
  g_auto (SumiTextStates) fine = { NULL };
  g_autoptr (GError) error = NULL;
  SumiTextStates none;
  const char *text = "a cat";
  SumiTensor *table;

  if (f == NULL)
    return;
  table = sumi_tensor_cast (sumi_tensor_map_peek (f->model->weights, name), SUMI_F32, NULL);
  sumi_tensor_poke_f32 (table)[2368 * 32 + 3] = NAN;
  sumi_tensor_map_take (f->model->weights, name, table);
  sumi_conditioner_free (f->conditioner);
  f->conditioner = conditioner_new (&f->model->config, f->model->weights, NULL);
  fine = encode (f, "a photo");
  g_assert_false (try_encode (f, &text, 1, &none, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE);
}

/* Q8_0, as GGUF has it: 32 values are an F16 scale and as many bytes. Here the scale is always 1/64. */
static SumiTensor *
quantize (const SumiTensor *t)
{
  gint64 n = sumi_tensor_get_numel (t);
  gsize size = (gsize)n / 32 * 34;
  g_autofree float *x = g_new (float, n);
  guint8 *blocks = g_malloc (size);
  g_autoptr (GBytes) bytes = g_bytes_new_take (blocks, size);
  const guint16 scale = 0x2400;
  SumiTensor *q;

  sumi_tensor_to_f32 (t, x);
  for (gint64 i = 0; i < n / 32; i++)
    {
      memcpy (blocks + 34 * i, &scale, 2);
      for (guint k = 0; k < 32; k++)
        blocks[34 * i + 2 + k] = (guint8)(gint8)CLAMP (lrint (64 * x[32 * i + k]), -128, 127);
    }
  q = sumi_tensor_new_bytes (SUMI_Q8_0, sumi_tensor_get_shape (t), bytes, NULL);
  g_assert_nonnull (q);
  return q;
}

/* Rows of a quantised table say what the whole table says once it is floats. */
static void
test_quantized_table (void)
{
  static const char name[] = "text_encoder.text_model.embeddings.token_embedding.weight";
  g_autoptr (Fixture) f = fixture_new ("tiny-sd15", NULL);
  g_auto (SumiTextStates) floats = { NULL }, blocks = { NULL }, plain = { NULL };
  SumiTensor *q;

  if (f == NULL)
    return;
  plain = encode (f, HORSE);
  q = quantize (sumi_tensor_map_peek (f->model->weights, name));
  sumi_tensor_map_take (f->model->weights, name, sumi_tensor_cast (q, SUMI_F32, NULL));
  sumi_conditioner_free (f->conditioner);
  f->conditioner = conditioner_new (&f->model->config, f->model->weights, NULL);
  floats = encode (f, HORSE);
  sumi_tensor_map_take (f->model->weights, name, q);
  sumi_conditioner_free (f->conditioner);
  f->conditioner = conditioner_new (&f->model->config, f->model->weights, NULL);
  blocks = encode (f, HORSE);
  check_equal (floats.states, blocks.states);
  g_assert_false (rows_equal (plain.states, 3, blocks.states, 3));
}

/* ---- sumi-latent ---- */

/* What sumi_model_text makes of the same ids. */
static SumiTensor *
states_of_ids (const SumiModelConfig *c, SumiTensorMap *weights, const gint64 *ids, SumiTensor **pooled)
{
  g_autoptr (SumiGraph) g = sumi_graph_new ();
  g_autoptr (SumiModule) m = sumi_module_new (g);
  g_autoptr (SumiEngine) engine = sumi_engine_open (NULL, NULL);
  g_autoptr (SumiTensor) rows = NULL;
  g_autoptr (SumiPlan) plan = NULL;
  g_autofree gint64 *row = g_new (gint64, 10);
  SumiNode *last;

  sumi_graph_output (g, "states",
                     sumi_model_text (m, c, sumi_input (g, "ids", SUMI_INDEX, &SUMI_SHAPE (1, 10)), &last));
  sumi_graph_output (g, "pooled", last);
  plan = sumi_engine_compile (engine, g, NULL, NULL);
  for (guint i = 0; i < m->params->len; i++)
    {
      const char *name = g_array_index (m->params, SumiModuleParam, i).node->name;

      g_assert_true (sumi_plan_set (plan, name, sumi_tensor_map_peek (weights, name), NULL));
    }
  sumi_model_tokens_to_rows (sumi_tensor_peek (sumi_tensor_map_peek (weights, "token_ids")), c->text.vocab_size, ids,
                             10, row, NULL);
  rows = sumi_tensor_new_i64 (&SUMI_SHAPE (1, 10), row, NULL);
  g_assert_true (sumi_plan_set (plan, "ids", rows, NULL));
  g_assert_true (sumi_plan_run (plan, NULL, NULL));
  *pooled = sumi_plan_get (plan, "pooled", NULL);
  return sumi_plan_get (plan, "states", NULL);
}

/* The small model hears what it has always heard: its own rows, padded, the last place as the pooled state. */
static void
test_latent (void)
{
  g_autoptr (JsonObject) json = tiny_model_config ();
  g_autoptr (SumiTensorMap) weights = tiny_model_new (merges);
  g_autoptr (GPtrArray) notes = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (SumiTensor) pooled = NULL, states = NULL;
  g_auto (SumiTextStates) s = { NULL };
  SumiModelConfig config;
  gint64 ids[10];
  Fixture f = { .notes = notes };

  g_assert_true (sumi_model_config_parse (json, &config, NULL));
  f.conditioner = conditioner_new (&config, weights, NULL);
  s = encode (&f, "a red fox on white, a red zorble apple zorble");
  g_assert_true (sumi_tokenizer_encode_padded (tokenizer, "a red fox on white, a red zorble apple", 10, SUMI_TOKEN_END,
                                               ids, NULL, NULL));
  states = states_of_ids (&config, weights, ids, &pooled);
  check_equal (s.states, states);
  check_equal (s.pooled, pooled);
  g_assert_cmpuint (s.n_tokens, ==, 8);
  g_assert_cmpuint (notes->len, ==, 2);
  g_assert_nonnull (strstr (g_ptr_array_index (notes, 0), "tokens were cut, 8 fit"));
  g_assert_cmpstr (g_ptr_array_index (notes, 1), ==, "words this model has not learned: zorble");
  sumi_conditioner_free (f.conditioner);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  int status;

  g_test_init (&argc, &argv, NULL);
  merges = g_build_filename (g_getenv ("SUMI_DATADIR"), "clip", "merges.txt.gz", NULL);
  tokenizer = sumi_tokenizer_open (merges, &error);
  g_assert_no_error (error);
  g_test_add_data_func ("/conditioner/reference/ref", "ref", test_reference);
  g_test_add_data_func ("/conditioner/reference/cpu", "cpu", test_reference);
  g_test_add_func ("/conditioner/zero-empty", test_zero_empty);
  g_test_add_func ("/conditioner/clip-skip", test_clip_skip);
  g_test_add_func ("/conditioner/clip-skip-limits", test_clip_skip_limits);
  g_test_add_func ("/conditioner/no-emphasis", test_no_emphasis);
  g_test_add_func ("/conditioner/no-norm", test_no_norm);
  g_test_add_func ("/conditioner/original", test_original);
  g_test_add_func ("/conditioner/chunks", test_chunks);
  g_test_add_func ("/conditioner/break", test_break);
  g_test_add_func ("/conditioner/one-chunk", test_one_chunk);
  g_test_add_func ("/conditioner/embedding", test_embedding);
  g_test_add_func ("/conditioner/embedding-replaced", test_embedding_replaced);
  g_test_add_func ("/conditioner/embedding-refused", test_embedding_refused);
  g_test_add_func ("/conditioner/refiner", test_refiner);
  g_test_add_func ("/conditioner/source", test_source);
  g_test_add_func ("/conditioner/refused-weights", test_refused_weights);
  g_test_add_func ("/conditioner/bad-row", test_bad_row);
  g_test_add_func ("/conditioner/quantized-table", test_quantized_table);
  g_test_add_func ("/conditioner/latent", test_latent);
  status = g_test_run ();
  sumi_tokenizer_unref (tokenizer);
  g_free (merges);
  return status;
}
