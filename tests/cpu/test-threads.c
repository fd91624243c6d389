/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The same bits for every number of threads, at the sizes of real networks: there oneDNN cuts its work in other ways
 * than at those of the case table. */
#include "plans.h"

typedef struct
{
  gint64 n, c, size, o, k;
  guint stride;
} Convolution;

static const Convolution convolutions[] = {
  { 2, 4, 32, 320, 3, 1 },    { 1, 320, 32, 320, 3, 1 }, { 2, 320, 32, 320, 3, 2 }, { 2, 640, 16, 640, 3, 1 },
  { 1, 1280, 8, 1280, 3, 1 }, { 2, 960, 16, 320, 1, 1 }, { 16, 64, 32, 64, 3, 1 },  { 16, 3, 32, 64, 3, 1 },
  { 16, 256, 4, 256, 3, 1 },  { 16, 128, 16, 64, 3, 1 }, { 3, 64, 16, 64, 2, 2 },   { 1, 320, 64, 4, 3, 1 },
};

typedef struct
{
  gint64 m, k, n;
} Product;

static const Product products[] = {
  { 1, 320, 1280 },   { 2, 1280, 1280 },  { 77, 768, 320 }, { 1024, 320, 320 }, { 256, 640, 5120 },
  { 320, 4096, 320 }, { 128, 16384, 64 }, { 64, 4096, 9 },  { 16, 128, 256 },   { 8, 8192, 8 },
};

static SumiGraph *
convolution (const Convolution *c)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *x = sumi_input (g, "x", SUMI_REAL, &SUMI_SHAPE (c->n, c->c, c->size, c->size));
  SumiNode *w = sumi_param (g, "w", &SUMI_SHAPE (c->o, c->c, c->k, c->k));
  SumiNode *y = sumi_conv2d (g, x, w, sumi_param (g, "b", &SUMI_SHAPE (c->o)), c->stride, c->k == 3 ? 1 : 0);
  SumiNode *gy = sumi_input (g, "gy", SUMI_REAL, &y->shape);

  sumi_graph_output (g, "y", y);
  sumi_graph_output (g, "gx", sumi_conv2d_bwd_data (g, gy, w, c->size, c->size, &y->attr));
  sumi_graph_output (g, "gw", sumi_conv2d_bwd_weights (g, x, gy, c->k, c->k, &y->attr));
  return g;
}

static SumiGraph *
product (const Product *c)
{
  SumiGraph *g = sumi_graph_new ();
  SumiNode *a = sumi_input (g, "a", SUMI_REAL, &SUMI_SHAPE (c->m, c->k));
  SumiNode *w = sumi_param (g, "w", &SUMI_SHAPE (c->n, c->k));
  SumiNode *gy = sumi_input (g, "gy", SUMI_REAL, &SUMI_SHAPE (c->m, c->n));

  sumi_graph_output (g, "y", sumi_linear (g, a, w, sumi_param (g, "b", &SUMI_SHAPE (c->n))));
  sumi_graph_output (g, "ga", sumi_matmul (g, gy, w, FALSE, FALSE));
  sumi_graph_output (g, "gw", sumi_matmul (g, gy, a, TRUE, FALSE));
  sumi_graph_output (g, "t", sumi_matmul (g, sumi_permute (g, a, (const guint8[]){ 1, 0 }), gy, FALSE, FALSE));
  return g;
}

static void
check (SumiGraph *g, SumiDType dtype)
{
  g_autoptr (SumiPlan) one = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = dtype, .threads = 1 });
  const guint threads[] = { 2, 3, 4, 8 };

  plans_set_all (one, g, 3);
  plans_run (one);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    {
      g_autoptr (SumiPlan) p = plans_compile (g, "cpu", (SumiCompileOptions){ .dtype = dtype, .threads = threads[i] });

      plans_set_all (p, g, 3);
      plans_run (p);
      plans_assert_equal (p, one, g);
    }
}

static void
test_convolution (gconstpointer data)
{
  g_autoptr (SumiGraph) g = convolution (data);

  check (g, SUMI_F32);
  if (plans_have_bf16 ())
    check (g, SUMI_BF16);
}

static void
test_product (gconstpointer data)
{
  g_autoptr (SumiGraph) g = product (data);

  check (g, SUMI_F32);
  if (plans_have_bf16 ())
    check (g, SUMI_BF16);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (convolutions); i++)
    {
      const Convolution *c = &convolutions[i];
      g_autofree char *path = g_strdup_printf ("/cpu/threads/conv/%d-%dx%d-%d-k%d-s%u", (int)c->n, (int)c->c,
                                               (int)c->size, (int)c->o, (int)c->k, c->stride);

      g_test_add_data_func (path, c, test_convolution);
    }
  for (guint i = 0; i < G_N_ELEMENTS (products); i++)
    {
      const Product *c = &products[i];
      g_autofree char *path = g_strdup_printf ("/cpu/threads/product/%dx%dx%d", (int)c->m, (int)c->k, (int)c->n);

      g_test_add_data_func (path, c, test_product);
    }
  return g_test_run ();
}
