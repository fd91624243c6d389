/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nn/view.h"

SumiNode *
sumi_view_share (SumiModule *m, const char *name, SumiNode *value, const SumiShape *shape)
{
  g_autofree char *full = g_strconcat ("view/", m->prefix->str, name, NULL);

  if (m->view == SUMI_VIEW_TILE)
    return sumi_input (m->graph, full, SUMI_REAL, shape);
  sumi_graph_output (m->graph, full, value);
  return value;
}

/* The mean over everything but the channels, then over the channels of each group: (1,groups). */
static SumiNode *
group_mean (SumiGraph *g, SumiNode *x, guint groups)
{
  SumiNode *mean = sumi_mean (g, x, 0xd, FALSE);

  return sumi_reshape (g, sumi_mean (g, sumi_reshape (g, mean, &SUMI_SHAPE (groups, x->shape.d[1] / groups)), 2, FALSE),
                       &SUMI_SHAPE (1, groups));
}

/* Row `row` of the statistics, for every channel: (1,C,1,1). */
static SumiNode *
per_channel (SumiGraph *g, SumiNode *statistics, gint64 row, gint64 channels)
{
  gint64 groups = statistics->shape.d[1];
  SumiNode *h = sumi_reshape (g, sumi_slice (g, statistics, 0, row, 1), &SUMI_SHAPE (groups, 1));

  h = sumi_broadcast (g, h, &SUMI_SHAPE (groups, channels / groups));
  return sumi_reshape (g, h, &SUMI_SHAPE (1, channels, 1, 1));
}

/* Without a sixth on each side, where a patch sees the zeros beside it instead of the picture. */
static SumiNode *
inner (SumiGraph *g, SumiNode *x)
{
  for (guint axis = 2; axis < 4; axis++)
    x = sumi_slice (g, x, axis, x->shape.d[axis] / 6, x->shape.d[axis] - 2 * (x->shape.d[axis] / 6));
  return x;
}

static SumiNode *
measure (SumiGraph *g, SumiNode *x, guint groups)
{
  SumiNode *part = x->shape.d[0] > 1 ? inner (g, x) : x, *mean = group_mean (g, part, groups);
  SumiNode *difference = sumi_sub (g, part, per_channel (g, mean, 0, x->shape.d[1]));
  SumiNode *variance = group_mean (g, sumi_mul (g, difference, difference), groups);

  return sumi_concat (g, 0, (SumiNode *[]){ mean, variance }, 2);
}

SumiNode *
sumi_view_group_norm (SumiModule *m, const char *name, SumiNode *x, SumiNode *w, SumiNode *b, guint groups, double eps,
                      SumiAct act)
{
  SumiGraph *g = m->graph;
  gint64 c = x->shape.d[1];
  SumiShape each = SUMI_SHAPE (1, c, 1, 1);
  SumiNode *statistics, *deviation, *scale, *shift;

  if (x->shape.rank != 4 || c % groups != 0)
    {
      sumi_graph_poison (g, "group norm: got a shape that %u groups do not divide", groups);
      return x;
    }
  statistics
      = sumi_view_share (m, name, m->view == SUMI_VIEW_SAMPLE ? measure (g, x, groups) : NULL, &SUMI_SHAPE (2, groups));
  deviation = sumi_act (g, sumi_affine (g, per_channel (g, statistics, 1, c), 1, eps), SUMI_ACT_SQRT);
  scale = sumi_div (g, sumi_reshape (g, w, &each), deviation);
  shift = sumi_sub (g, sumi_reshape (g, b, &each), sumi_mul (g, per_channel (g, statistics, 0, c), scale));
  return sumi_act (g, sumi_add (g, sumi_mul (g, x, scale), shift), act);
}
