/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Matrix products, by oneDNN.  Matrices are read where they lie when rows or columns are dense; a parameter on the
 * right comes in whatever format the primitive likes best (DNNL_FORMAT_TAG_ANY). */
#include <omp.h>

#include "engine/cpu/plan.h"

static void
swap_last_two (SumiValue *v)
{
  guint8 axes[SUMI_MAX_RANK];
  guint r = v->shape.rank;

  for (guint i = 0; i < r; i++)
    axes[i] = (guint8)(i + 2 < r ? i : 2 * r - 3 - i);
  sumi_value_permute (v, axes, v);
}

/* Whether oneDNN reads the matrices of v fast where they lie: rows or columns are dense. */
static gboolean
has_plain_matrices (const SumiValue *v)
{
  guint r = v->shape.rank;
  gint64 m = v->shape.d[r - 2], n = v->shape.d[r - 1], sm = v->stride[r - 2], sn = v->stride[r - 1];

  if ((m > 1 && sm == 0) || (n > 1 && sn == 0))
    return FALSE;
  return n == 1 ? m == 1 || sm == 1 : sn == 1 ? m == 1 || sm >= n : sn >= m && (m == 1 || sm == 1);
}

/* Source i as matrices (rows, columns) in the product's dtype (parameters stay what they are), with `rank` axes. */
static SumiValue
matrices_of (SumiCpuPlan *p, const SumiNode *n, guint i, gboolean transposed, guint rank)
{
  SumiDType dtype = sumi_cpu_arithmetic (p, n);
  SumiValue v = p->values[n->src[i]->id];
  SumiShape shape = { .rank = rank };
  guint lead;

  if (g_array_index (p->buffers, SumiCpuBuffer, v.buffer).parameter == NULL && v.dtype != dtype)
    v = sumi_cpu_want (p, n, &v, dtype, SUMI_ORDER_ROWS);
  if (!has_plain_matrices (&v))
    v = sumi_cpu_want (p, n, &v, v.dtype, SUMI_ORDER_ROWS);
  if (transposed)
    swap_last_two (&v);
  lead = rank - v.shape.rank;
  for (guint k = 0; k < rank; k++)
    shape.d[k] = k < lead ? 1 : v.shape.d[k - lead];
  sumi_value_broadcast (&v, &shape, &v);
  for (guint k = 0; k + 2 < rank; k++)
    if (v.stride[k] == 0)
      v.shape.d[k] = 1; /* oneDNN repeats an axis of size 1 */
  return v;
}

/* Where all matrices of b are the same one and those of a lie one after the other: one large product. */
static gboolean
flatten (SumiValue *a, SumiValue *b, SumiValue *y)
{
  guint r = y->shape.rank;
  gint64 rows = 1;

  for (guint k = 0; k + 2 < r; k++)
    {
      if (b->shape.d[k] != 1 || a->shape.d[k] != y->shape.d[k])
        return FALSE;
      rows *= a->shape.d[k];
    }
  rows *= a->shape.d[r - 2];
  if (!sumi_value_reshape (a, &SUMI_SHAPE (rows, a->shape.d[r - 1]), a))
    return FALSE;
  return sumi_value_reshape (b, &SUMI_SHAPE (b->shape.d[r - 2], b->shape.d[r - 1]), b)
         && sumi_value_reshape (y, &SUMI_SHAPE (rows, y->shape.d[r - 1]), y);
}

static SumiValue
cast_leaf (SumiCpuPlan *p, const SumiNode *n, const SumiValue *v)
{
  return sumi_cpu_want (p, n, v, sumi_cpu_arithmetic (p, n), SUMI_ORDER_ANY);
}

/* y = a b + bias: a and b are views of matrices, y is dense, bias a row or NULL. */
typedef struct
{
  SumiValue a, b, y;
  const SumiValue *bias;
  SumiValue row; /* the bias with as many axes as y */
} Product;

static dnnl_primitive_desc_t
describe (SumiCpuPlan *p, gconstpointer what, const_dnnl_memory_desc_t b, GError **error)
{
  const Product *m = what;
  dnnl_memory_desc_t a = sumi_cpu_value_desc (&m->a), y = sumi_cpu_value_desc (&m->y);
  dnnl_memory_desc_t bias = m->bias != NULL ? sumi_cpu_value_desc (&m->row) : NULL;
  dnnl_primitive_desc_t pd = NULL;

  sumi_cpu_dnnl_check (dnnl_matmul_primitive_desc_create (&pd, p->dnnl->engine, a, b, bias, y, p->dnnl->attr),
                       "a matrix product", error);
  dnnl_memory_desc_destroy (a);
  dnnl_memory_desc_destroy (y);
  dnnl_memory_desc_destroy (bias);
  return pd;
}

/* The right matrix is read where it lies. */
static dnnl_primitive_desc_t
describe_plain (SumiCpuPlan *p, const Product *m, GError **error)
{
  dnnl_memory_desc_t b = sumi_cpu_value_desc (&m->b);
  dnnl_primitive_desc_t pd = describe (p, m, b, error);

  dnnl_memory_desc_destroy (b);
  return pd;
}

/* Consumes pd. */
static SumiCpuProduct *
product_of (SumiCpuPlan *p, const Product *m, const SumiValue *b, dnnl_primitive_desc_t pd, GError **error)
{
  gboolean biased = m->bias != NULL;
  const int ids[] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, biased ? DNNL_ARG_BIAS : DNNL_ARG_DST, DNNL_ARG_DST };
  const SumiValue *values[] = { &m->a, b, biased ? &m->row : &m->y, &m->y };

  return sumi_cpu_product_new (p->dnnl, pd, ids, values, biased ? 4 : 3, error);
}

/* ---- in pieces ---- */

#define PIECES 16
#define MIN_BLOCK 32

/* oneDNN's older products, on processors without AVX-512, cut sums among threads. */
static gboolean
depends_on_threads (dnnl_primitive_desc_t pd)
{
  return !g_str_has_prefix (sumi_cpu_implementation (pd), "brg");
}

/* The matrix at a place among the leading axes of `shape`, counted row-major. */
static SumiValue
matrix_at (const SumiValue *v, const SumiShape *shape, gint64 index)
{
  SumiValue m = *v;
  guint lead = shape->rank - 2;

  for (guint k = lead; k-- > 0;)
    {
      m.offset += (gsize)(index % shape->d[k] * v->stride[k]) * sumi_dtype_size (v->dtype);
      index /= shape->d[k];
    }
  m.shape = SUMI_SHAPE (v->shape.d[lead], v->shape.d[lead + 1]);
  m.stride[0] = v->stride[lead];
  m.stride[1] = v->stride[lead + 1];
  return m;
}

/* Rows or columns [start, start + n) of a product of two matrices. */
static void
cut_product (Product *m, gboolean rows, gint64 start, gint64 n)
{
  sumi_value_slice (&m->y, rows ? 0 : 1, start, n, &m->y);
  if (rows)
    sumi_value_slice (&m->a, 0, start, n, &m->a);
  else
    sumi_value_slice (&m->b, 1, start, n, &m->b);
  if (!rows && m->bias != NULL)
    sumi_value_slice (&m->row, 1, start, n, &m->row);
}

static gboolean
add_piece (SumiCpuPlan *p, const Product *m, GPtrArray *products, GError **error)
{
  dnnl_primitive_desc_t pd = describe_plain (p, m, error);
  SumiCpuProduct *product = pd != NULL ? product_of (p, m, &m->b, pd, error) : NULL;

  if (product != NULL)
    g_ptr_array_add (products, product);
  return product != NULL;
}

/* Each matrix of a batch, in blocks of rows or columns when there are few. */
static gboolean
make_pieces (SumiCpuPlan *p, const Product *m, GPtrArray *products, GError **error)
{
  guint r = m->y.shape.rank;
  gint64 rows = m->y.shape.d[r - 2], columns = m->y.shape.d[r - 1];
  gint64 batch = sumi_shape_numel (&m->y.shape) / (rows * columns), axis = MAX (rows, columns);
  gint64 blocks = (PIECES + batch - 1) / batch, block = MAX ((axis + blocks - 1) / blocks, MIN_BLOCK);

  for (gint64 i = 0; i < batch; i++)
    for (gint64 start = 0; start < axis; start += block)
      {
        Product piece = *m;

        piece.a = matrix_at (&m->a, &m->y.shape, i);
        piece.b = matrix_at (&m->b, &m->y.shape, i);
        piece.y = matrix_at (&m->y, &m->y.shape, i);
        if (m->bias != NULL)
          piece.row = matrix_at (&m->row, &m->y.shape, 0);
        cut_product (&piece, rows >= columns, start, MIN (block, axis - start));
        if (!add_piece (p, &piece, products, error))
          return FALSE;
      }
  return TRUE;
}

static gboolean
add_in_pieces (SumiCpuPlan *p, const SumiNode *n, const Product *m, GError **error)
{
  GPtrArray *products = g_ptr_array_new_with_free_func ((GDestroyNotify)sumi_cpu_product_free);
  gboolean ok;

  omp_set_num_threads (1); /* what oneDNN plans for */
  ok = make_pieces (p, m, products, error);
  omp_set_num_threads ((int)p->threads);
  if (ok)
    sumi_cpu_add_pieces (p, n, products, &m->y, (const SumiValue *[]){ &m->a, &m->b, m->bias },
                         m->bias != NULL ? 3 : 2);
  else
    g_ptr_array_unref (products);
  return ok;
}

/* ---- as a whole ---- */

static gboolean
add_whole (SumiCpuPlan *p, const SumiNode *n, const Product *m, dnnl_primitive_desc_t pd, GError **error)
{
  SumiCpuProduct *product = NULL;
  SumiValue b;

  if (sumi_cpu_want_desc (p, n, &m->b, dnnl_primitive_desc_query_md (pd, dnnl_query_exec_arg_md, DNNL_ARG_WEIGHTS), &b,
                          error))
    product = product_of (p, m, &b, pd, error);
  else
    dnnl_primitive_desc_destroy (pd);
  if (product != NULL)
    sumi_cpu_add_product (p, n, product);
  return product != NULL;
}

static gboolean
add_matmul (SumiCpuPlan *p, const SumiNode *n, SumiValue a, SumiValue b, const SumiValue *bias, SumiValue y,
            GError **error)
{
  gboolean packed = g_array_index (p->buffers, SumiCpuBuffer, b.buffer).parameter != NULL && b.shape.rank == 2;
  Product m = { cast_leaf (p, n, &a), packed ? b : cast_leaf (p, n, &b), y, bias };
  dnnl_primitive_desc_t pd;

  if (bias != NULL)
    {
      SumiShape row = { .rank = y.shape.rank };

      for (guint i = 0; i < row.rank; i++)
        row.d[i] = i + 1 < row.rank ? 1 : y.shape.d[i];
      sumi_value_reshape (bias, &row, &m.row);
    }
  pd = packed ? sumi_cpu_describe_weighted (p, &m.b, sumi_cpu_arithmetic (p, n), describe, &m, error)
              : describe_plain (p, &m, error);
  if (pd == NULL)
    return FALSE;
  if (!depends_on_threads (pd))
    return add_whole (p, n, &m, pd, error);
  dnnl_primitive_desc_destroy (pd);
  m.b = cast_leaf (p, n, &m.b);
  return add_in_pieces (p, n, &m, error);
}

gboolean
sumi_cpu_lower_matmul (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  guint rank = n->shape.rank;
  SumiValue a = matrices_of (p, n, 0, n->attr.matmul.ta, rank);
  SumiValue b = matrices_of (p, n, 1, n->attr.matmul.tb, rank);
  SumiValue y = sumi_cpu_new_value (p, sumi_cpu_dtype_of (p, n), &n->shape, SUMI_ORDER_ROWS);
  SumiValue a2 = a, b2 = b, y2 = y;

  p->values[n->id] = y;
  return flatten (&a2, &b2, &y2) ? add_matmul (p, n, a2, b2, NULL, y2, error) : add_matmul (p, n, a, b, NULL, y, error);
}

gboolean
sumi_cpu_lower_linear (SumiCpuPlan *p, const SumiNode *n, GError **error)
{
  gint64 k = n->src[1]->shape.d[1], o = n->src[1]->shape.d[0], rows = sumi_shape_numel (&n->shape) / o;
  SumiValue x = sumi_cpu_source (p, n, 0, sumi_cpu_arithmetic (p, n), SUMI_ORDER_ROWS),
            w = sumi_cpu_weights_of (p, n, 1), b = { 0 };
  SumiValue y = sumi_cpu_new_value (p, sumi_cpu_dtype_of (p, n), &n->shape, SUMI_ORDER_ROWS);
  gboolean biased = n->n_src > 2;

  p->values[n->id] = y;
  if (biased)
    b = sumi_cpu_source (p, n, 2, SUMI_F32, SUMI_ORDER_ROWS);
  if (!has_plain_matrices (&w))
    w = sumi_cpu_want (p, n, &w, w.dtype, SUMI_ORDER_ROWS);
  swap_last_two (&w);
  sumi_value_reshape (&x, &SUMI_SHAPE (rows, k), &x);
  sumi_value_reshape (&y, &SUMI_SHAPE (rows, o), &y);
  return add_matmul (p, n, x, w, biased ? &b : NULL, y, error);
}
