/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The memory planner on random lifetimes. */
#include <string.h>

#include "graph/memory-plan.h"

static gboolean
alive_together (const SumiInterval *a, const SumiInterval *b)
{
  return a->first <= b->last && b->first <= a->last;
}

/* The least that any plan needs: the most bytes alive at one step. */
static gsize
lower_bound (const SumiInterval *v, guint n)
{
  gsize most = 0;

  for (guint i = 0; i < n; i++)
    {
      gsize now = 0;

      for (guint j = 0; j < n; j++)
        if (v[j].first <= v[i].first && v[i].first <= v[j].last)
          now += v[j].size;
      most = MAX (most, now);
    }
  return most;
}

static void
check_plan (const SumiInterval *v, guint n, gsize arena)
{
  for (guint i = 0; i < n; i++)
    {
      if (v[i].size == 0)
        continue;
      g_assert_cmpuint (v[i].offset % 64, ==, 0);
      g_assert_cmpuint (v[i].offset + v[i].size, <=, arena);
      for (guint j = 0; j < i; j++)
        if (v[j].size > 0 && alive_together (&v[i], &v[j]))
          g_assert_true (v[i].offset + v[i].size <= v[j].offset || v[j].offset + v[j].size <= v[i].offset);
    }
}

static guint
random_intervals (GRand *random, SumiInterval *v, guint room)
{
  guint n = g_rand_int_range (random, 1, room), steps = g_rand_int_range (random, 1, 100);

  memset (v, 0, room * sizeof *v);
  for (guint i = 0; i < n; i++)
    {
      v[i].size = g_rand_int_range (random, 0, 4) == 0 ? g_rand_int_range (random, 0, 3) * 64
                                                       : g_rand_int_range (random, 0, 5000);
      v[i].first = g_rand_int_range (random, 0, steps);
      v[i].last = MIN (v[i].first + (guint)g_rand_int_range (random, 0, 12), steps);
    }
  return n;
}

static void
test_random (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed (20230611);

  for (guint round = 0; round < 300; round++)
    {
      SumiInterval v[120], again[120];
      guint n = random_intervals (random, v, G_N_ELEMENTS (v));
      gsize arena;

      memcpy (again, v, sizeof v);
      for (guint i = 0; i < n; i++)
        again[i].offset = 12345; /* what was there before does not matter */
      arena = sumi_memory_plan (v, n);
      check_plan (v, n, arena);
      g_assert_cmpuint (arena, >=, lower_bound (v, n));
      g_assert_cmpuint (arena, <=, 3 * lower_bound (v, n) + 64 * n);
      g_assert_cmpuint (sumi_memory_plan (again, n), ==, arena);
      for (guint i = 0; i < n; i++)
        g_assert_cmpuint (again[i].offset, ==, v[i].offset);
    }
}

/* Values one after another share one place. */
static void
test_chain (void)
{
  SumiInterval v[10];

  for (guint i = 0; i < 10; i++)
    v[i] = (SumiInterval){ .size = 1024, .first = i, .last = i + 1 };
  g_assert_cmpuint (sumi_memory_plan (v, 10), ==, 2048);
}

/* A gap between two values that is just large enough is used. */
static void
test_gap (void)
{
  SumiInterval v[] = {
    { .size = 4096, .first = 0, .last = 1 },
    { .size = 2048, .first = 1, .last = 5 },
    { .size = 4096, .first = 3, .last = 5 },
  };

  g_assert_cmpuint (sumi_memory_plan (v, 3), ==, 4096 + 2048);
  g_assert_cmpuint (v[0].offset, ==, v[2].offset);
}

static void
test_edges (void)
{
  SumiInterval empty = { .size = 0, .first = 0, .last = 9 };
  SumiInterval huge[] = { { .size = G_MAXSIZE - 10 } };
  SumiInterval sum[] = { { .size = G_MAXSIZE / 2 }, { .size = G_MAXSIZE / 2 }, { .size = 4096 } };

  g_assert_cmpuint (sumi_memory_plan (NULL, 0), ==, 0);
  g_assert_cmpuint (sumi_memory_plan (&empty, 1), ==, 0);
  g_assert_cmpuint (sumi_memory_plan (huge, 1), ==, G_MAXSIZE);
  g_assert_cmpuint (sumi_memory_plan (sum, 3), ==, G_MAXSIZE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/memory-plan/random", test_random);
  g_test_add_func ("/memory-plan/chain", test_chain);
  g_test_add_func ("/memory-plan/gap", test_gap);
  g_test_add_func ("/memory-plan/edges", test_edges);
  return g_test_run ();
}
