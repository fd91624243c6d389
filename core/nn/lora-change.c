/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a module's parts to changes of its parameters: which form it is, and whether every shape fits. */
#include "nn/lora-private.h"

#include <math.h>
#include <string.h>

#define MAX_RANK 4096
#define MAX_ROTATION 2048 /* rows of a block of OFT: inverting it is cubic */

void
sumi_lora_change_free (SumiLoraChange *c)
{
  if (c == NULL)
    return;
  for (guint r = 0; r < SUMI_LORA_N_ROLES; r++)
    g_clear_pointer (&c->t[r], sumi_tensor_unref);
  g_free (c->parameter);
  g_free (c);
}

gboolean
sumi_lora_change_needs_weight (const SumiLoraChange *c)
{
  return c->dora || c->form == SUMI_LORA_FORM_GLORA || c->form == SUMI_LORA_FORM_OFT || c->form == SUMI_LORA_FORM_BOFT
         || c->form == SUMI_LORA_FORM_OFT_INPUT || c->form == SUMI_LORA_FORM_IA3 || c->form == SUMI_LORA_FORM_SET;
}

/* ---- checks of one part ---- */

typedef struct
{
  const SumiLoraParts *parts;
  SumiLoraChange *c;
  GError **error;
} Check;

static const SumiShape *
shape_of (const Check *k, SumiLoraRole role)
{
  return sumi_tensor_get_shape (k->parts->t[role]);
}

static gboolean mismatch (const Check *k, SumiLoraRole role, const char *format, ...) G_GNUC_PRINTF (3, 4);

static gboolean
mismatch (const Check *k, SumiLoraRole role, const char *format, ...)
{
  g_autofree char *found = sumi_shape_to_string (shape_of (k, role)), *want = NULL;
  va_list args;

  va_start (args, format);
  want = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (k->error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "%s: found %s, expected %s", k->parts->key[role], found,
               want);
  return FALSE;
}

/* The part is there, of real numbers, all finite. */
static gboolean
there (const Check *k, SumiLoraRole role)
{
  const SumiTensor *t = k->parts->t[role];

  if (t == NULL)
    {
      guint any = 0;

      while (k->parts->t[any] == NULL || any == SUMI_LORA_ALPHA)
        any++;
      g_set_error (k->error, SUMI_ERROR, SUMI_ERROR_MISSING_TENSOR, "%s: found without '%s' for the same module",
                   k->parts->key[any], sumi_lora_role_name (role));
      return FALSE;
    }
  if (!sumi_dtype_is_float (sumi_tensor_get_dtype (t)))
    {
      g_set_error (k->error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "%s: found %s, expected floating point",
                   k->parts->key[role], sumi_dtype_name (sumi_tensor_get_dtype (t)));
      return FALSE;
    }
  if (!sumi_tensor_is_finite (t))
    {
      g_set_error (k->error, SUMI_ERROR, SUMI_ERROR_NON_FINITE, "%s: found NaN or infinity, expected finite values",
                   k->parts->key[role]);
      return FALSE;
    }
  return TRUE;
}

/* (rows, columns, kernel…), the kernel also flat, together with the columns, or, where it is 1, left away. */
static gboolean
is_matrix (const Check *k, SumiLoraRole role, gint64 rows, gint64 columns, gint64 kernel)
{
  const SumiShape *s;

  if (!there (k, role))
    return FALSE;
  s = shape_of (k, role);
  if (s->rank >= 2 && s->d[0] == rows && sumi_shape_numel (s) == rows * columns * kernel
      && (s->rank == 2 || s->d[1] == columns))
    return TRUE;
  if (kernel == 1)
    return mismatch (k, role, "(%" G_GINT64_FORMAT ",%" G_GINT64_FORMAT ")", rows, columns);
  return mismatch (k, role, "(%" G_GINT64_FORMAT ",%" G_GINT64_FORMAT ") with a kernel of %" G_GINT64_FORMAT " values",
                   rows, columns, kernel);
}

static gboolean
is_vector (const Check *k, SumiLoraRole role, gint64 n)
{
  if (!there (k, role))
    return FALSE;
  return sumi_tensor_get_numel (k->parts->t[role]) == n || mismatch (k, role, "%" G_GINT64_FORMAT " values", n);
}

/* The size of an axis that is a rank: from 1 to MAX_RANK. */
static gboolean
rank_of (const Check *k, SumiLoraRole role, guint axis, gint64 *rank)
{
  if (!there (k, role))
    return FALSE;
  if (shape_of (k, role)->rank < 2)
    return mismatch (k, role, "at least two dimensions");
  *rank = shape_of (k, role)->d[axis];
  if (*rank >= 1 && *rank <= MAX_RANK)
    return TRUE;
  g_set_error (k->error, SUMI_ERROR, *rank < 1 ? SUMI_ERROR_BAD_SHAPE : SUMI_ERROR_TOO_LARGE,
               "%s: found rank %" G_GINT64_FORMAT ", expected 1 to %d", k->parts->key[role], *rank, MAX_RANK);
  return FALSE;
}

/* alpha, on_input: one value of any type. */
static gboolean
scalar (const Check *k, SumiLoraRole role, double otherwise, double *value)
{
  const SumiTensor *t = k->parts->t[role];

  *value = otherwise;
  if (t == NULL)
    return TRUE;
  if (sumi_tensor_get_numel (t) != 1)
    return mismatch (k, role, "one value");
  sumi_tensor_to_f64 (t, value);
  if (isfinite (*value))
    return TRUE;
  g_set_error (k->error, SUMI_ERROR, SUMI_ERROR_NON_FINITE, "%s: found %g, expected a number", k->parts->key[role],
               *value);
  return FALSE;
}

/* ---- checks of the forms ---- */

static gint64
inputs (const SumiLoraChange *c)
{
  return c->columns / c->kernel;
}

/* outs (rows, m), core (m, n, kernel), ins (n, columns / kernel): Tucker's decomposition. */
static gboolean
check_core (const Check *k, SumiLoraRole core, gint64 m, gint64 n)
{
  return is_matrix (k, core, m, n, k->c->kernel);
}

static gboolean
check_lora (const Check *k)
{
  SumiLoraChange *c = k->c;
  gint64 down, up;

  if (!there (k, SUMI_LORA_UP) || !rank_of (k, SUMI_LORA_DOWN, 0, &down))
    return FALSE;
  c->rank = (guint)down;
  if (k->parts->t[SUMI_LORA_MID] == NULL)
    return is_matrix (k, SUMI_LORA_DOWN, down, inputs (c), c->kernel) && is_matrix (k, SUMI_LORA_UP, c->rows, down, 1);
  return rank_of (k, SUMI_LORA_UP, 1, &up) && is_matrix (k, SUMI_LORA_DOWN, down, inputs (c), 1)
         && is_matrix (k, SUMI_LORA_UP, c->rows, up, 1) && check_core (k, SUMI_LORA_MID, up, down);
}

static gboolean
check_hada (const Check *k, SumiLoraRole a, SumiLoraRole b, SumiLoraRole core)
{
  gint64 outer, inner;

  if (!there (k, a) || !rank_of (k, b, 0, &inner))
    return FALSE;
  k->c->rank = (guint)inner;
  if (k->parts->t[core] == NULL)
    return is_matrix (k, a, k->c->rows, inner, 1) && is_matrix (k, b, inner, inputs (k->c), k->c->kernel);
  return rank_of (k, a, 0, &outer) && is_matrix (k, a, outer, k->c->rows, 1)
         && is_matrix (k, b, inner, inputs (k->c), 1) && check_core (k, core, outer, inner);
}

static gboolean
check_loha (const Check *k)
{
  if ((k->parts->t[SUMI_LORA_HADA_T1] != NULL) != (k->parts->t[SUMI_LORA_HADA_T2] != NULL))
    return there (k, SUMI_LORA_HADA_T1) && there (k, SUMI_LORA_HADA_T2);
  return check_hada (k, SUMI_LORA_HADA_W1_A, SUMI_LORA_HADA_W1_B, SUMI_LORA_HADA_T1)
         && check_hada (k, SUMI_LORA_HADA_W2_A, SUMI_LORA_HADA_W2_B, SUMI_LORA_HADA_T2);
}

/* The small factor: whole, or a product; its size. */
static gboolean
check_lokr_first (const Check *k, gint64 *rows, gint64 *columns)
{
  gboolean whole = k->parts->t[SUMI_LORA_LOKR_W1] != NULL;
  SumiLoraRole by_rows = whole ? SUMI_LORA_LOKR_W1 : SUMI_LORA_LOKR_W1_A;
  SumiLoraRole by_columns = whole ? SUMI_LORA_LOKR_W1 : SUMI_LORA_LOKR_W1_B;
  gint64 rank;

  if (!there (k, by_rows) || !there (k, by_columns))
    return FALSE;
  if (shape_of (k, by_rows)->rank != 2 || shape_of (k, by_columns)->rank != 2)
    return mismatch (k, by_rows, "two dimensions");
  *rows = shape_of (k, by_rows)->d[0];
  *columns = shape_of (k, by_columns)->d[1];
  if (*rows < 1 || k->c->rows % *rows != 0)
    return mismatch (k, by_rows, "a divisor of %" G_GINT64_FORMAT " rows", k->c->rows);
  if (*columns < 1 || inputs (k->c) % *columns != 0)
    return mismatch (k, by_columns, "a divisor of %" G_GINT64_FORMAT " columns", inputs (k->c));
  if (whole)
    return TRUE;
  if (!rank_of (k, SUMI_LORA_LOKR_W1_B, 0, &rank) || !is_matrix (k, SUMI_LORA_LOKR_W1_A, *rows, rank, 1))
    return FALSE;
  k->c->rank = (guint)rank;
  return TRUE;
}

static gboolean
check_lokr (const Check *k)
{
  gint64 rows, columns, inner, outer;

  if (!check_lokr_first (k, &rows, &columns))
    return FALSE;
  rows = k->c->rows / rows;
  columns = inputs (k->c) / columns;
  if (k->parts->t[SUMI_LORA_LOKR_W2] != NULL)
    return is_matrix (k, SUMI_LORA_LOKR_W2, rows, columns, k->c->kernel);
  if (!there (k, SUMI_LORA_LOKR_W2_A) || !rank_of (k, SUMI_LORA_LOKR_W2_B, 0, &inner))
    return FALSE;
  k->c->rank = (guint)inner;
  if (k->parts->t[SUMI_LORA_LOKR_T2] == NULL)
    return is_matrix (k, SUMI_LORA_LOKR_W2_A, rows, inner, 1)
           && is_matrix (k, SUMI_LORA_LOKR_W2_B, inner, columns, k->c->kernel);
  return rank_of (k, SUMI_LORA_LOKR_W2_A, 0, &outer) && is_matrix (k, SUMI_LORA_LOKR_W2_A, outer, rows, 1)
         && is_matrix (k, SUMI_LORA_LOKR_W2_B, inner, columns, 1) && check_core (k, SUMI_LORA_LOKR_T2, outer, inner);
}

/* LyCORIS once stored the factors the other way round: A = a2 a1, B = b2 b1.  Here they become A = a1 a2, B = b1 b2. */
static void
turn_old_glora (SumiLoraParts *p, const SumiLoraChange *c)
{
  static const SumiLoraRole pairs[][2]
      = { { SUMI_LORA_GLORA_A1, SUMI_LORA_GLORA_A2 }, { SUMI_LORA_GLORA_B1, SUMI_LORA_GLORA_B2 } };
  const SumiTensor *a1 = p->t[SUMI_LORA_GLORA_A1], *b1 = p->t[SUMI_LORA_GLORA_B1];

  if (a1 == NULL || b1 == NULL || sumi_tensor_get_shape (a1)->rank < 2 || sumi_tensor_get_shape (b1)->rank < 2
      || (sumi_tensor_get_shape (a1)->d[0] == inputs (c) && sumi_tensor_get_shape (b1)->d[0] == c->rows))
    return;
  for (guint i = 0; i < G_N_ELEMENTS (pairs); i++)
    {
      SumiTensor *t = p->t[pairs[i][0]];
      const char *key = p->key[pairs[i][0]];

      p->t[pairs[i][0]] = p->t[pairs[i][1]];
      p->key[pairs[i][0]] = p->key[pairs[i][1]];
      p->t[pairs[i][1]] = t;
      p->key[pairs[i][1]] = key;
    }
}

static gboolean
check_glora (const Check *k)
{
  SumiLoraChange *c = k->c;
  gint64 a, outer, inner;

  if (!there (k, SUMI_LORA_GLORA_A1) || !there (k, SUMI_LORA_GLORA_A2) || !there (k, SUMI_LORA_GLORA_B1)
      || !there (k, SUMI_LORA_GLORA_B2) || !rank_of (k, SUMI_LORA_GLORA_A2, 0, &a)
      || !is_matrix (k, SUMI_LORA_GLORA_A1, inputs (c), a, 1) || !is_matrix (k, SUMI_LORA_GLORA_A2, a, inputs (c), 1)
      || !rank_of (k, SUMI_LORA_GLORA_B2, 0, &inner) || !rank_of (k, SUMI_LORA_GLORA_B1, 1, &outer)
      || !is_matrix (k, SUMI_LORA_GLORA_B1, c->rows, outer, 1))
    return FALSE;
  c->rank = (guint)a;
  if (k->parts->t[SUMI_LORA_GLORA_BM] != NULL)
    return is_matrix (k, SUMI_LORA_GLORA_B2, inner, inputs (c), 1) && check_core (k, SUMI_LORA_GLORA_BM, outer, inner);
  return is_matrix (k, SUMI_LORA_GLORA_B1, c->rows, inner, 1)
         && is_matrix (k, SUMI_LORA_GLORA_B2, inner, inputs (c), c->kernel);
}

/* (n,b,b), or with a count of factors in front (m,n,b,b): n b rows. */
static gboolean
check_rotation (const Check *k, SumiLoraRole role)
{
  const SumiShape *s;
  gint64 n, b, factors = 1;

  if (!there (k, role))
    return FALSE;
  s = shape_of (k, role);
  if (s->rank < 3 || s->rank > 4)
    return mismatch (k, role, "three or four dimensions");
  n = s->d[s->rank - 3];
  b = s->d[s->rank - 1];
  if (b < 1 || b > MAX_ROTATION || s->d[s->rank - 2] != b || k->c->rows % b != 0 || n != k->c->rows / b)
    return mismatch (k, role, "square blocks of at most %d rows, %" G_GINT64_FORMAT " rows in all", MAX_ROTATION,
                     k->c->rows);
  if (s->rank == 3)
    return TRUE;
  /* Factor i pairs rows 2^i b/2 apart (Liu et al. 2024, BOFT). */
  factors = s->d[0];
  if (factors < 1 || factors > 30 || b % 2 != 0 || k->c->rows % (b << (factors - 1)) != 0)
    return mismatch (k, role, "factors that halve %" G_GINT64_FORMAT " rows evenly", k->c->rows);
  return TRUE;
}

static gboolean
check_oft (const Check *k)
{
  gboolean blocks = k->parts->t[SUMI_LORA_OFT_BLOCKS] != NULL;
  double alpha;

  if (!check_rotation (k, blocks ? SUMI_LORA_OFT_BLOCKS : SUMI_LORA_OFT_DIAG) || !scalar (k, SUMI_LORA_ALPHA, 0, &alpha)
      || (k->parts->t[SUMI_LORA_RESCALE] != NULL && !is_vector (k, SUMI_LORA_RESCALE, k->c->rows)))
    return FALSE;
  k->c->scale = alpha > 0 ? alpha * (double)k->c->rows : 0; /* the largest norm of Q; 0: no bound */
  if (blocks && shape_of (k, SUMI_LORA_OFT_BLOCKS)->rank == 4)
    k->c->form = SUMI_LORA_FORM_BOFT;
  else if (!blocks && shape_of (k, SUMI_LORA_OFT_DIAG)->rank != 3)
    return mismatch (k, SUMI_LORA_OFT_DIAG, "three dimensions");
  return TRUE;
}

gint64
sumi_lora_triangle_side (gint64 n)
{
  gint64 b = 2;

  while (b < MAX_ROTATION && b * (b - 1) / 2 < n)
    b++;
  return b * (b - 1) / 2 == n ? b : 0;
}

static gboolean
check_oft_input (const Check *k)
{
  const SumiShape *s;
  gint64 b;

  if (!there (k, SUMI_LORA_OFT_R))
    return FALSE;
  s = shape_of (k, SUMI_LORA_OFT_R);
  if (s->rank != 2)
    return mismatch (k, SUMI_LORA_OFT_R, "two dimensions");
  b = sumi_lora_triangle_side (s->d[1]);
  k->c->scale = 1;
  k->c->rank = (guint)b;
  return (b > 0 && k->c->columns % b == 0 && (s->d[0] == 1 || s->d[0] == k->c->columns / b))
         || mismatch (k, SUMI_LORA_OFT_R, "the upper triangles of blocks along %" G_GINT64_FORMAT " columns",
                      k->c->columns);
}

static gboolean
check_ia3 (const Check *k)
{
  double on_input;

  if (!scalar (k, SUMI_LORA_ON_INPUT, 0, &on_input))
    return FALSE;
  k->c->on_input = on_input != 0;
  k->c->scale = 1;
  return is_vector (k, SUMI_LORA_IA3, k->c->on_input ? inputs (k->c) : k->c->rows);
}

/* A whole parameter; 1x1 convolutions go with linear layers. */
static gboolean
check_whole (const Check *k, SumiLoraRole role)
{
  k->c->scale = 1;
  if (k->c->shape.rank < 2)
    return is_vector (k, role, k->c->rows);
  return is_matrix (k, role, k->c->rows, inputs (k->c), k->c->kernel);
}

static gboolean
check_dora (const Check *k)
{
  const SumiLoraRole role = k->parts->t[SUMI_LORA_MAGNITUDE] != NULL ? SUMI_LORA_MAGNITUDE : SUMI_LORA_DORA_SCALE;
  const SumiShape *s;
  SumiLoraChange *c = k->c;

  if (k->parts->t[role] == NULL)
    return TRUE;
  if (!there (k, role))
    return FALSE;
  c->dora = TRUE;
  s = shape_of (k, role);
  /* PEFT has one per row, whatever the shape; else (O,1…) is per row, (1,I,1…) and what would broadcast to it is not.
   */
  c->dora_by_row = role == SUMI_LORA_MAGNITUDE || (s->rank >= 2 && s->d[0] == c->rows && s->d[1] == 1)
                   || (s->rank == 1 && s->d[0] != inputs (c));
  if (!c->dora_by_row && s->rank >= 2 && s->d[0] != 1)
    return mismatch (k, role, "(%" G_GINT64_FORMAT ",1) or (1,%" G_GINT64_FORMAT ")", c->rows, inputs (c));
  return is_vector (k, role, c->dora_by_row ? c->rows : inputs (c));
}

/* ---- which form ---- */

static const struct
{
  SumiLoraForm form;
  SumiLoraRole first, last; /* the roles that make it this form */
  gboolean (*check) (const Check *k);
} forms[] = {
  { SUMI_LORA_FORM_LORA, SUMI_LORA_DOWN, SUMI_LORA_MID, check_lora },
  { SUMI_LORA_FORM_LOHA, SUMI_LORA_HADA_W1_A, SUMI_LORA_HADA_T2, check_loha },
  { SUMI_LORA_FORM_LOKR, SUMI_LORA_LOKR_W1, SUMI_LORA_LOKR_T2, check_lokr },
  { SUMI_LORA_FORM_GLORA, SUMI_LORA_GLORA_A1, SUMI_LORA_GLORA_BM, check_glora },
  { SUMI_LORA_FORM_OFT, SUMI_LORA_OFT_BLOCKS, SUMI_LORA_OFT_DIAG, check_oft },
  { SUMI_LORA_FORM_OFT_INPUT, SUMI_LORA_OFT_R, SUMI_LORA_OFT_SCALED, check_oft_input },
  { SUMI_LORA_FORM_IA3, SUMI_LORA_IA3, SUMI_LORA_ON_INPUT, check_ia3 },
  { SUMI_LORA_FORM_DIFF, SUMI_LORA_DIFF, SUMI_LORA_DIFF, NULL },
  { SUMI_LORA_FORM_SET, SUMI_LORA_SET_WEIGHT, SUMI_LORA_SET_WEIGHT, NULL },
  { SUMI_LORA_FORM_DIFF, SUMI_LORA_W_NORM, SUMI_LORA_W_NORM, NULL },
};

static gboolean
is_decomposed (SumiLoraForm f)
{
  return f == SUMI_LORA_FORM_LORA || f == SUMI_LORA_FORM_LOHA || f == SUMI_LORA_FORM_LOKR || f == SUMI_LORA_FORM_GLORA;
}

/* The form's place in the table, or G_N_ELEMENTS (forms); FALSE for two at once. */
static gboolean
find_form (const SumiLoraParts *p, guint *form, GError **error)
{
  const char *key = NULL;

  *form = G_N_ELEMENTS (forms);
  for (guint f = 0; f < G_N_ELEMENTS (forms); f++)
    for (guint r = forms[f].first; r <= forms[f].last; r++)
      if (p->t[r] != NULL && *form != f)
        {
          if (key != NULL)
            {
              g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT,
                           "%s: found beside %s, expected one kind of change for a weight", p->key[r], key);
              return FALSE;
            }
          *form = f;
          key = p->key[r];
        }
  return TRUE;
}

static SumiLoraChange *
change_new (const SumiLoraModule *module, const char *suffix, const SumiShape *shape)
{
  SumiLoraChange *c = g_new0 (SumiLoraChange, 1);

  c->parameter = g_strconcat (module->name, suffix, NULL);
  c->shape = *shape;
  c->rows = c->shape.rank > 0 ? c->shape.d[0] : 1;
  c->columns = c->rows > 0 ? sumi_shape_numel (shape) / c->rows : 0;
  c->kernel = 1;
  for (guint i = 2; i < c->shape.rank; i++)
    c->kernel *= c->shape.d[i];
  c->text = !g_str_has_prefix (module->name, "unet.");
  return c;
}

/* The scale, and a decomposition into norm and direction. */
static gboolean
finish_decomposed (const Check *k, const SumiLoraModule *module, JsonNode *peft)
{
  double alpha;

  if (!scalar (k, SUMI_LORA_ALPHA, 0, &alpha))
    return FALSE;
  if (k->c->rank == 0)
    k->c->scale = 1; /* LoKr of two whole factors: its alpha means nothing */
  else if (k->parts->t[SUMI_LORA_ALPHA] != NULL)
    k->c->scale = alpha / k->c->rank;
  else
    k->c->scale = sumi_lora_metadata_scale (peft, module->name, k->c->rank);
  return check_dora (k);
}

static gboolean
append_weight (GPtrArray *changes, guint form, SumiLoraParts *parts, const SumiLoraModule *module, JsonNode *peft,
               GError **error)
{
  g_autoptr (SumiLoraChange) c = change_new (module, ".weight", &module->weight);
  const Check k = { parts, c, error };

  c->form = forms[form].form;
  if (c->shape.rank < 2 && forms[form].check != NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "%s: found for %s, expected for a matrix",
                   parts->key[forms[form].first] != NULL ? parts->key[forms[form].first] : "adapter", c->parameter);
      return FALSE;
    }
  if (c->form == SUMI_LORA_FORM_GLORA)
    turn_old_glora (parts, c);
  if (!(forms[form].check != NULL ? forms[form].check (&k) : check_whole (&k, forms[form].first))
      || (is_decomposed (c->form) && !finish_decomposed (&k, module, peft)))
    return FALSE;
  for (guint r = 0; r < SUMI_LORA_DIFF_B; r++)
    if (parts->t[r] != NULL)
      c->t[r] = sumi_tensor_ref (parts->t[r]);
  g_ptr_array_add (changes, g_steal_pointer (&c));
  return TRUE;
}

static gboolean
append_bias (GPtrArray *changes, SumiLoraRole role, const SumiLoraParts *parts, const SumiLoraModule *module,
             GError **error)
{
  g_autoptr (SumiLoraChange) c = change_new (module, ".bias", &module->bias);
  const Check k = { parts, c, error };

  c->form = SUMI_LORA_FORM_DIFF;
  if (!check_whole (&k, role))
    return FALSE;
  c->t[SUMI_LORA_DIFF] = sumi_tensor_ref (parts->t[role]);
  g_ptr_array_add (changes, g_steal_pointer (&c));
  return TRUE;
}

/* Is this part looked at by that form? */
static gboolean
is_used (guint form, guint role)
{
  if (form == G_N_ELEMENTS (forms))
    return FALSE;
  if (role >= forms[form].first && role <= forms[form].last)
    return TRUE;
  if (role == SUMI_LORA_ALPHA)
    return TRUE; /* kohya writes one beside whatever it is */
  if (role == SUMI_LORA_RESCALE)
    return forms[form].form == SUMI_LORA_FORM_OFT;
  return (role == SUMI_LORA_DORA_SCALE || role == SUMI_LORA_MAGNITUDE) && is_decomposed (forms[form].form);
}

gboolean
sumi_lora_change_append (GPtrArray *changes, GPtrArray *unmatched, const SumiLoraParts *parts,
                         const SumiLoraModule *module, JsonNode *peft, GError **error)
{
  SumiLoraParts own = *parts;
  guint form;

  if (!find_form (parts, &form, error))
    return FALSE;
  if (!module->has_weight || sumi_shape_numel (&module->weight) == 0)
    form = G_N_ELEMENTS (forms);
  if (own.t[SUMI_LORA_DIFF_B] != NULL && own.t[SUMI_LORA_B_NORM] != NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_FORMAT, "%s: found beside %s, expected one of them",
                   own.key[SUMI_LORA_DIFF_B], own.key[SUMI_LORA_B_NORM]);
      return FALSE;
    }
  for (guint r = 0; r < SUMI_LORA_N_ROLES; r++)
    {
      gboolean bias = r == SUMI_LORA_DIFF_B || r == SUMI_LORA_B_NORM;

      if (own.t[r] == NULL || (bias ? module->has_bias : is_used (form, r)))
        continue;
      g_ptr_array_add (unmatched, g_strdup (own.key[r]));
      own.t[r] = NULL;
      own.key[r] = NULL;
    }
  if (form < G_N_ELEMENTS (forms) && !append_weight (changes, form, &own, module, peft, error))
    return FALSE;
  for (guint r = SUMI_LORA_DIFF_B; r <= SUMI_LORA_B_NORM; r++)
    if (own.t[r] != NULL && !append_bias (changes, r, &own, module, error))
      return FALSE;
  return TRUE;
}
