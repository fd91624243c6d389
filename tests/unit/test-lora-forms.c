/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What every form of change adds, against its formula written out as sums over indices. */
#include "lora-fixture.h"

#include <math.h>

/* The one change of the file is `want` (n values), to f32's accuracy. */
static void
check (Fixture *f, const char *parameter, const double *want)
{
  g_autoptr (SumiLora) l = load (f);
  GError *error = NULL;
  g_autoptr (SumiTensor) delta = sumi_lora_delta (l, parameter, &error);
  const float *got;
  double squares = 0, wrong = 0;

  g_assert_no_error (error);
  g_assert_cmpuint (sumi_lora_get_n_changes (l), ==, 1);
  g_assert_cmpstr (sumi_lora_get_change (l, 0), ==, parameter);
  g_assert_true (sumi_shape_equal (sumi_tensor_get_shape (delta),
                                   sumi_tensor_get_shape (sumi_tensor_map_peek (f->weights, parameter))));
  got = sumi_tensor_peek_f32 (delta);
  for (gint64 i = 0; i < sumi_tensor_get_numel (delta); i++)
    {
      squares += want[i] * want[i];
      wrong += (got[i] - want[i]) * (got[i] - want[i]);
    }
  g_assert_cmpfloat (squares, >, 1e-3); /* there is something to compare */
  g_assert_cmpfloat (sqrt (wrong / squares), <, 2e-6);
}

/* ---- LoRA ---- */

static void
test_lora_linear (Fixture *f, gconstpointer data)
{
  const char *module = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
  const float *down = add (f, module, ".lora_down.weight", SUMI_SHAPE (3, 12));
  const float *up = add (f, module, ".lora_up.weight", SUMI_SHAPE (8, 3));
  double want[8 * 12] = { 0 };

  for (int o = 0; o < 8; o++)
    for (int i = 0; i < 12; i++)
      for (int r = 0; r < 3; r++)
        want[o * 12 + i] += up[o * 3 + r] * down[r * 12 + i];
  check (f, LINEAR ".weight", want); /* no alpha: scale 1 */
  add_scalar (f, module, ".alpha", 1.5F);
  for (int i = 0; i < 8 * 12; i++)
    want[i] *= 1.5 / 3;
  check (f, LINEAR ".weight", want);
}

static void
test_lora_conv (Fixture *f, gconstpointer data)
{
  const float *down = add (f, CONV, ".lora_A.weight", SUMI_SHAPE (2, 6, 3, 3));
  const float *up = add (f, CONV, ".lora_B.weight", SUMI_SHAPE (8, 2, 1, 1));
  double want[8 * 6 * 9] = { 0 };

  for (int o = 0; o < 8; o++)
    for (int i = 0; i < 6; i++)
      for (int k = 0; k < 9; k++)
        for (int r = 0; r < 2; r++)
          want[(o * 6 + i) * 9 + k] += up[o * 2 + r] * down[(r * 6 + i) * 9 + k];
  check (f, CONV ".weight", want);
}

/* Linear factors for a 1x1 convolution: what people train on SD 2 and XL and use on SD 1, and the other way round. */
static void
test_lora_pointwise (Fixture *f, gconstpointer data)
{
  const float *down = add (f, PROJ, ".lora_down.weight", SUMI_SHAPE (2, 6));
  const float *up = add (f, PROJ, ".lora_up.weight", SUMI_SHAPE (8, 2));
  double want[8 * 6] = { 0 };

  for (int o = 0; o < 8; o++)
    for (int i = 0; i < 6; i++)
      for (int r = 0; r < 2; r++)
        want[o * 6 + i] += up[o * 2 + r] * down[r * 6 + i];
  check (f, PROJ ".weight", want);
}

/* A core of LoCon: sum over m, n of mid[m,n,k] up[o,m] down[n,i] */
static void
test_lora_core (Fixture *f, gconstpointer data)
{
  const float *down = add (f, CONV, ".lora_down.weight", SUMI_SHAPE (3, 6, 1, 1));
  const float *mid = add (f, CONV, ".lora_mid.weight", SUMI_SHAPE (3, 3, 3, 3));
  const float *up = add (f, CONV, ".lora_up.weight", SUMI_SHAPE (8, 3, 1, 1));
  double want[8 * 6 * 9] = { 0 };

  add_scalar (f, CONV, ".alpha", 6);
  for (int o = 0; o < 8; o++)
    for (int i = 0; i < 6; i++)
      for (int k = 0; k < 9; k++)
        for (int m = 0; m < 3; m++)
          for (int n = 0; n < 3; n++)
            want[(o * 6 + i) * 9 + k] += 2.0 * mid[(m * 3 + n) * 9 + k] * up[o * 3 + m] * down[n * 6 + i];
  check (f, CONV ".weight", want);
}

/* ---- LoHa, LoKr ---- */

static void
test_loha (Fixture *f, gconstpointer data)
{
  const float *a1 = add (f, CONV, ".hada_w1_a", SUMI_SHAPE (8, 2));
  const float *b1 = add (f, CONV, ".hada_w1_b", SUMI_SHAPE (2, 54));
  const float *a2 = add (f, CONV, ".hada_w2_a", SUMI_SHAPE (8, 2));
  const float *b2 = add (f, CONV, ".hada_w2_b", SUMI_SHAPE (2, 54));
  double want[8 * 54];

  add_scalar (f, CONV, ".alpha", 1);
  for (int o = 0; o < 8; o++)
    for (int i = 0; i < 54; i++)
      {
        double first = 0, second = 0;

        for (int r = 0; r < 2; r++)
          {
            first += a1[o * 2 + r] * b1[r * 54 + i];
            second += a2[o * 2 + r] * b2[r * 54 + i];
          }
        want[o * 54 + i] = first * second / 2;
      }
  check (f, CONV ".weight", want);
}

/* sum over m, n of t[m,n,k] a[m,o] b[n,i]: here a has its rank first */
static double
core_sum (const float *t, const float *a, const float *b, int rank, int rows, int columns, int o, int i, int k)
{
  double sum = 0;

  for (int m = 0; m < rank; m++)
    for (int n = 0; n < rank; n++)
      sum += t[(m * rank + n) * 9 + k] * a[m * rows + o] * b[n * columns + i];
  return sum;
}

static void
test_loha_core (Fixture *f, gconstpointer data)
{
  const float *t1 = add (f, CONV, ".hada_t1", SUMI_SHAPE (2, 2, 3, 3));
  const float *a1 = add (f, CONV, ".hada_w1_a", SUMI_SHAPE (2, 8));
  const float *b1 = add (f, CONV, ".hada_w1_b", SUMI_SHAPE (2, 6));
  const float *t2 = add (f, CONV, ".hada_t2", SUMI_SHAPE (2, 2, 3, 3));
  const float *a2 = add (f, CONV, ".hada_w2_a", SUMI_SHAPE (2, 8));
  const float *b2 = add (f, CONV, ".hada_w2_b", SUMI_SHAPE (2, 6));
  double want[8 * 6 * 9];

  for (int o = 0; o < 8; o++)
    for (int i = 0; i < 6; i++)
      for (int k = 0; k < 9; k++)
        want[(o * 6 + i) * 9 + k] = core_sum (t1, a1, b1, 2, 8, 6, o, i, k) * core_sum (t2, a2, b2, 2, 8, 6, o, i, k);
  check (f, CONV ".weight", want);
}

/* kron (w1 (2,3), w2 (4,2,k)) of a convolution: want[(a 4 + b, c 2 + d, k)] = w1[a,c] w2[b,d,k] */
static void
kron (const double *w1, const double *w2, double scale, double *want)
{
  for (int a = 0; a < 2; a++)
    for (int b = 0; b < 4; b++)
      for (int c = 0; c < 3; c++)
        for (int d = 0; d < 2; d++)
          for (int k = 0; k < 9; k++)
            want[((a * 4 + b) * 6 + c * 2 + d) * 9 + k] = scale * w1[a * 3 + c] * w2[(b * 2 + d) * 9 + k];
}

/* The two factors, whole, products, or (the second) with a core; alpha counts where one of them is made of others. */
static void
test_lokr (Fixture *f, gconstpointer data)
{
  int kind = GPOINTER_TO_INT (data);
  gboolean first_whole = kind & 1;
  double w1[6] = { 0 }, w2[72] = { 0 }, want[8 * 54];

  add_scalar (f, CONV, ".alpha", 1);
  if (first_whole)
    {
      const float *w = add (f, CONV, ".lokr_w1", SUMI_SHAPE (2, 3));

      for (int i = 0; i < 6; i++)
        w1[i] = w[i];
    }
  else
    {
      const float *a = add (f, CONV, ".lokr_w1_a", SUMI_SHAPE (2, 2));
      const float *b = add (f, CONV, ".lokr_w1_b", SUMI_SHAPE (2, 3));

      for (int i = 0; i < 6; i++)
        w1[i] = a[i / 3 * 2] * b[i % 3] + a[i / 3 * 2 + 1] * b[3 + i % 3];
    }
  if (kind / 2 == 0)
    {
      const float *w = add (f, CONV, ".lokr_w2", SUMI_SHAPE (4, 2, 3, 3));

      for (int i = 0; i < 72; i++)
        w2[i] = w[i];
    }
  else if (kind / 2 == 1)
    {
      const float *a = add (f, CONV, ".lokr_w2_a", SUMI_SHAPE (4, 2));
      const float *b = add (f, CONV, ".lokr_w2_b", SUMI_SHAPE (2, 18));

      for (int i = 0; i < 72; i++)
        w2[i] = a[i / 18 * 2] * b[i % 18] + a[i / 18 * 2 + 1] * b[18 + i % 18];
    }
  else
    {
      const float *t = add (f, CONV, ".lokr_t2", SUMI_SHAPE (2, 2, 3, 3));
      const float *a = add (f, CONV, ".lokr_w2_a", SUMI_SHAPE (2, 4));
      const float *b = add (f, CONV, ".lokr_w2_b", SUMI_SHAPE (2, 2));

      for (int i = 0; i < 72; i++)
        w2[i] = core_sum (t, a, b, 2, 4, 2, i / 18, i / 9 % 2, i % 9);
    }
  kron (w1, w2, kind == 1 ? 1 : 0.5, want);
  check (f, CONV ".weight", want);
}

/* ---- forms that look at W ---- */

/* W a1 a2 + b1 b2, at every place of the kernel; and the factors as LyCORIS once stored them */
static void
test_glora (Fixture *f, gconstpointer data)
{
  gboolean old = GPOINTER_TO_INT (data);
  const float *a1 = add (f, CONV, old ? ".a2.weight" : ".a1.weight", SUMI_SHAPE (6, 2));
  const float *a2 = add (f, CONV, old ? ".a1.weight" : ".a2.weight", SUMI_SHAPE (2, 6));
  const float *b1 = add (f, CONV, old ? ".b2.weight" : ".b1.weight", SUMI_SHAPE (8, 2));
  const float *b2 = add (f, CONV, old ? ".b1.weight" : ".b2.weight", SUMI_SHAPE (2, 6, 3, 3));
  const float *w = weight (f, CONV ".weight");
  double want[8 * 6 * 9];

  add_scalar (f, CONV, ".alpha", 1);
  for (int o = 0; o < 8; o++)
    for (int i = 0; i < 6; i++)
      for (int k = 0; k < 9; k++)
        {
          double sum = 0;

          for (int r = 0; r < 2; r++)
            {
              sum += b1[o * 2 + r] * b2[(r * 6 + i) * 9 + k];
              for (int j = 0; j < 6; j++)
                sum += (double)w[(o * 6 + j) * 9 + k] * a1[j * 2 + r] * a2[r * 6 + i];
            }
          want[(o * 6 + i) * 9 + k] = sum / 2;
        }
  check (f, CONV ".weight", want);
}

static void
test_ia3 (Fixture *f, gconstpointer data)
{
  const char *module = "lora_unet_down_blocks_0_resnets_0_conv1";
  gboolean on_input = GPOINTER_TO_INT (data);
  const float *factors = add (f, module, ".weight", on_input ? SUMI_SHAPE (1, 6, 1, 1) : SUMI_SHAPE (1, 8, 1, 1));
  const float *w = weight (f, CONV ".weight");
  double want[8 * 6 * 9];

  add_scalar (f, module, ".on_input", (float)on_input);
  for (int o = 0; o < 8; o++)
    for (int i = 0; i < 6; i++)
      for (int k = 0; k < 9; k++)
        want[(o * 6 + i) * 9 + k] = w[(o * 6 + i) * 9 + k] * (on_input ? factors[i] : factors[o]);
  check (f, CONV ".weight", want);
}

/* The norms of the new weight's rows (columns) are the stored ones, its directions those of W + up down. */
static void
test_dora (Fixture *f, gconstpointer data)
{
  const char *part = data;
  gboolean by_row = strcmp (part, ".dora_scale in") != 0;
  g_autofree char *name = g_strndup (part, strcspn (part, " "));
  const float *down = add (f, LINEAR, ".lora_A.weight", SUMI_SHAPE (2, 12));
  const float *up = add (f, LINEAR, ".lora_B.weight", SUMI_SHAPE (8, 2));
  const float *m = add (f, LINEAR, name,
                        !by_row                             ? SUMI_SHAPE (1, 12)
                        : strcmp (name, ".dora_scale") == 0 ? SUMI_SHAPE (8, 1)
                                                            : SUMI_SHAPE (8));
  const float *w = weight (f, LINEAR ".weight");
  double v[8 * 12], want[8 * 12];

  for (int o = 0; o < 8; o++)
    for (int i = 0; i < 12; i++)
      v[o * 12 + i] = w[o * 12 + i] + (double)up[o * 2] * down[i] + (double)up[o * 2 + 1] * down[12 + i];
  for (int o = 0; o < 8; o++)
    for (int i = 0; i < 12; i++)
      {
        double squares = 0;

        for (int k = 0; k < (by_row ? 12 : 8); k++)
          squares += pow (by_row ? v[o * 12 + k] : v[k * 12 + i], 2);
        want[o * 12 + i] = m[by_row ? o : i] * v[o * 12 + i] / sqrt (squares) - w[o * 12 + i];
      }
  check (f, LINEAR ".weight", want);
}

static void
test_set_weight (Fixture *f, gconstpointer data)
{
  const float *t = add (f, LINEAR, ".set_weight", SUMI_SHAPE (8, 12)), *w = weight (f, LINEAR ".weight");
  double want[8 * 12];

  for (int i = 0; i < 8 * 12; i++)
    want[i] = (double)t[i] - w[i];
  check (f, LINEAR ".weight", want);
}

/* ---- differences ---- */

static void
test_differences (Fixture *f, gconstpointer data)
{
  static const struct
  {
    const char *module, *part, *parameter;
    SumiShape shape;
  } cases[] = {
    { CONV, ".diff", CONV ".weight", { 4, { 8, 6, 3, 3 } } }, { CONV, ".diff_b", CONV ".bias", { 1, { 8 } } },
    { NORM, ".w_norm", NORM ".weight", { 1, { 6 } } },        { NORM, ".b_norm", NORM ".bias", { 1, { 6 } } },
    { PROJ, ".diff", PROJ ".weight", { 2, { 8, 6 } } },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      const float *t;
      double want[8 * 54];

      fixture_new_file (f);
      t = add (f, cases[i].module, cases[i].part, cases[i].shape);
      for (gint64 k = 0; k < sumi_shape_numel (&cases[i].shape); k++)
        want[k] = t[k];
      check (f, cases[i].parameter, want);
    }
}

/* ---- rotations ---- */

/* OFT multiplies with R^T, R = (I + Q) (I - Q)^-1: so (I + Q) W' = (I - Q) W, and no inverse is needed to see it. */
static void
check_oft (Fixture *f, double alpha, double largest_norm)
{
  const float *blocks = add (f, CONV, ".oft_blocks", SUMI_SHAPE (2, 4, 4)), *w = weight (f, CONV ".weight");
  g_autoptr (SumiLora) l = NULL;
  g_autoptr (SumiTensor) delta = NULL;
  double squares = 0, scale, moved = 0;

  add_scalar (f, CONV, ".alpha", (float)alpha);
  l = load (f);
  delta = sumi_lora_delta (l, CONV ".weight", NULL);
  for (int k = 0; k < 2 * 16; k++)
    squares += pow (blocks[k] - blocks[k / 16 * 16 + k % 4 * 4 + k / 4 % 4], 2);
  scale = largest_norm > 0 ? MIN (1, largest_norm / sqrt (squares)) : 1;
  for (int b = 0; b < 2; b++)
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 54; j++)
        {
          double left = 0, right = 0;

          for (int n = 0; n < 4; n++)
            {
              double q = scale * (blocks[(b * 4 + i) * 4 + n] - blocks[(b * 4 + n) * 4 + i]);
              int at = (b * 4 + n) * 54 + j;

              left += ((i == n) + q) * (w[at] + sumi_tensor_peek_f32 (delta)[at]);
              right += ((i == n) - q) * w[at];
              moved += fabs (sumi_tensor_peek_f32 (delta)[at]);
            }
          g_assert_cmpfloat (fabs (left - right), <, 1e-5);
        }
  g_assert_cmpfloat (moved, >, 1);
}

static void
test_oft (Fixture *f, gconstpointer data)
{
  check_oft (f, 0, 0);
  fixture_new_file (f);
  check_oft (f, 0.125, 8 * 0.125); /* the bound is alpha times the rows */
}

/* Rotations as they are, and rows scaled behind them. */
static void
test_oft_given (Fixture *f, gconstpointer data)
{
  const float *r = add (f, LINEAR, ".oft_diag", SUMI_SHAPE (2, 4, 4)), *w = weight (f, LINEAR ".weight");
  const float *rescale = add (f, LINEAR, ".rescale", SUMI_SHAPE (8, 1));
  double want[8 * 12];

  for (int m = 0; m < 8; m++)
    for (int j = 0; j < 12; j++)
      {
        double sum = 0;

        for (int n = 0; n < 4; n++)
          sum += r[(m / 4 * 4 + n) * 4 + m % 4] * w[(m / 4 * 4 + n) * 12 + j];
        want[m * 12 + j] = rescale[m] * sum - w[m * 12 + j];
      }
  check (f, LINEAR ".weight", want);
}

/* Two factors of 2x2 rotations over 8 rows. The first pairs neighbours (2j, 2j+1), the second rows two apart.  The
 * Cayley transform of [[0, q], [-q, 0]] is [[1 - q^2, 2q], [-2q, 1 - q^2]] / (1 + q^2). */
static void
test_boft (Fixture *f, gconstpointer data)
{
  static const int pairs[2][4][2]
      = { { { 0, 1 }, { 2, 3 }, { 4, 5 }, { 6, 7 } }, { { 0, 2 }, { 1, 3 }, { 4, 6 }, { 5, 7 } } };
  const float *blocks = add (f, LINEAR, ".oft_blocks", SUMI_SHAPE (2, 4, 2, 2)), *w = weight (f, LINEAR ".weight");
  double x[8][12], want[8 * 12];

  for (int i = 0; i < 8 * 12; i++)
    x[i / 12][i % 12] = w[i];
  for (int factor = 0; factor < 2; factor++)
    for (int b = 0; b < 4; b++)
      for (int j = 0; j < 12; j++)
        {
          const float *block = blocks + (factor * 4 + b) * 4;
          double q = block[1] - block[2], c = (1 - q * q) / (1 + q * q), s = 2 * q / (1 + q * q);
          double *first = &x[pairs[factor][b][0]][j], *second = &x[pairs[factor][b][1]][j];
          double u = c * *first + s * *second, v = c * *second - s * *first;

          *first = u;
          *second = v;
        }
  for (int i = 0; i < 8 * 12; i++)
    want[i] = x[i / 12][i % 12] - w[i];
  check (f, LINEAR ".weight", want);
}

/* Of the input, two columns a block; the series of the Cayley transform ends with the fourth power.  With
 * Q = [[0, q], [-q, 0]], Q^2 = -q^2 I: I + 2 Q + 2 Q^2 + 2 Q^3 + Q^4 = (1 - 2 q^2 + q^4) I + (2 - 2 q^2) Q. */
static void
test_oft_input (Fixture *f, gconstpointer data)
{
  const float *q = add (f, LINEAR, ".oft_R.weight", SUMI_SHAPE (6, 1)), *w = weight (f, LINEAR ".weight");
  double want[8 * 12];

  for (int o = 0; o < 8; o++)
    for (int b = 0; b < 6; b++)
      {
        double x = q[b], c = 1 - 2 * x * x + x * x * x * x, s = (2 - 2 * x * x) * x;
        double first = w[o * 12 + 2 * b], second = w[o * 12 + 2 * b + 1];

        want[o * 12 + 2 * b] = c * first - s * second - first;
        want[o * 12 + 2 * b + 1] = c * second + s * first - second;
      }
  check (f, LINEAR ".weight", want);
}

int
main (int argc, char **argv)
{
  static const struct
  {
    const char *path;
    void (*test) (Fixture *, gconstpointer);
    gconstpointer data;
  } tests[] = {
    { "/lora-forms/lora/linear", test_lora_linear },
    { "/lora-forms/lora/conv", test_lora_conv },
    { "/lora-forms/lora/pointwise", test_lora_pointwise },
    { "/lora-forms/lora/core", test_lora_core },
    { "/lora-forms/loha/plain", test_loha },
    { "/lora-forms/loha/core", test_loha_core },
    { "/lora-forms/lokr/product-whole", test_lokr, GINT_TO_POINTER (0) },
    { "/lora-forms/lokr/whole-whole", test_lokr, GINT_TO_POINTER (1) },
    { "/lora-forms/lokr/product-product", test_lokr, GINT_TO_POINTER (2) },
    { "/lora-forms/lokr/whole-product", test_lokr, GINT_TO_POINTER (3) },
    { "/lora-forms/lokr/product-core", test_lokr, GINT_TO_POINTER (4) },
    { "/lora-forms/lokr/whole-core", test_lokr, GINT_TO_POINTER (5) },
    { "/lora-forms/glora/new", test_glora, GINT_TO_POINTER (FALSE) },
    { "/lora-forms/glora/old", test_glora, GINT_TO_POINTER (TRUE) },
    { "/lora-forms/ia3/output", test_ia3, GINT_TO_POINTER (FALSE) },
    { "/lora-forms/ia3/input", test_ia3, GINT_TO_POINTER (TRUE) },
    { "/lora-forms/dora/rows", test_dora, ".dora_scale out" },
    { "/lora-forms/dora/columns", test_dora, ".dora_scale in" },
    { "/lora-forms/dora/peft", test_dora, ".lora_magnitude_vector" },
    { "/lora-forms/set-weight", test_set_weight },
    { "/lora-forms/differences", test_differences },
    { "/lora-forms/oft/blocks", test_oft },
    { "/lora-forms/oft/given", test_oft_given },
    { "/lora-forms/oft/input", test_oft_input },
    { "/lora-forms/boft", test_boft },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].data, fixture_init, tests[i].test, fixture_clear);
  return g_test_run ();
}
