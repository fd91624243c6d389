/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Modules: the dotted names of the reference checkpoints, and the layers every network is made of. */
#include "nn/module.h"

#include "nn/view.h"

#include <math.h>
#include <stdarg.h>

SumiModule *
sumi_module_new (SumiGraph *graph)
{
  SumiModule *m = g_new0 (SumiModule, 1);

  m->graph = sumi_graph_ref (graph);
  m->prefix = g_string_new (NULL);
  m->params = g_array_new (FALSE, FALSE, sizeof (SumiModuleParam));
  m->lengths = g_array_new (FALSE, FALSE, sizeof (gsize));
  return m;
}

void
sumi_module_free (SumiModule *m)
{
  if (m == NULL)
    return;
  sumi_graph_unref (m->graph);
  g_string_free (m->prefix, TRUE);
  g_array_unref (m->params);
  g_array_unref (m->lengths);
  g_free (m);
}

void
sumi_module_push (SumiModule *m, const char *format, ...)
{
  g_autofree char *name = NULL;
  gsize length = m->prefix->len;
  va_list args;

  va_start (args, format);
  name = g_strdup_vprintf (format, args);
  va_end (args);
  g_array_append_val (m->lengths, length);
  g_string_append_printf (m->prefix, "%s.", name);
  sumi_graph_push_scope (m->graph, name);
}

void
sumi_module_pop (SumiModule *m)
{
  g_return_if_fail (m->lengths->len > 0);
  g_string_truncate (m->prefix, g_array_index (m->lengths, gsize, m->lengths->len - 1));
  g_array_set_size (m->lengths, m->lengths->len - 1);
  sumi_graph_pop_scope (m->graph);
}

SumiNode *
sumi_module_param (SumiModule *m, const char *name, const SumiShape *shape, SumiInit init)
{
  g_autofree char *full = g_strconcat (m->prefix->str, name, NULL);
  SumiModuleParam p = { sumi_param (m->graph, full, shape), init };

  if (p.node->op != SUMI_OP_PARAM)
    return p.node; /* the graph is poisoned */
  for (guint i = 0; i < m->params->len; i++)
    if (g_array_index (m->params, SumiModuleParam, i).node == p.node)
      return p.node;
  g_array_append_val (m->params, p);
  return p.node;
}

/* NAME.weight or NAME.bias */
static SumiNode *
layer_param (SumiModule *m, const char *name, const char *part, SumiShape shape, SumiInit init)
{
  g_autofree char *full = g_strdup_printf ("%s.%s", name, part);

  return sumi_module_param (m, full, &shape, init);
}

static SumiInit
fan_in (double n)
{
  return (SumiInit){ SUMI_INIT_UNIFORM_FAN_IN, MAX (n, 1.0) };
}

/* torch draws the bias from the weight's fan-in; a layer that begins as zero has a zero bias too, and so have the
 * normally distributed ones (transformers' CLIP). */
static SumiInit
bias_init (SumiInit weight, double n)
{
  return weight.kind == SUMI_INIT_UNIFORM_FAN_IN ? fan_in (n) : (SumiInit){ SUMI_INIT_ZEROS, 0 };
}

/* The size of a node's axis; 1 where a shape mistake left it without that axis (the builder will report it). */
static gint64
axis_size (const SumiNode *x, guint axis)
{
  return axis < x->shape.rank ? x->shape.d[axis] : 1;
}

SumiNode *
sumi_nn_linear_init (SumiModule *m, const char *name, SumiNode *x, gint64 out_features, gboolean bias, SumiInit init)
{
  gint64 in = axis_size (x, MAX (x->shape.rank, 1) - 1);
  SumiNode *w = layer_param (m, name, "weight", SUMI_SHAPE (out_features, in), init);
  SumiNode *b = bias ? layer_param (m, name, "bias", SUMI_SHAPE (out_features), bias_init (init, in)) : NULL;

  return sumi_linear (m->graph, x, w, b);
}

SumiNode *
sumi_nn_linear (SumiModule *m, const char *name, SumiNode *x, gint64 out_features, gboolean bias)
{
  return sumi_nn_linear_init (m, name, x, out_features, bias, fan_in (axis_size (x, MAX (x->shape.rank, 1) - 1)));
}

SumiNode *
sumi_nn_conv2d_init (SumiModule *m, const char *name, SumiNode *x, gint64 out_channels, guint kernel, guint stride,
                     guint pad, gboolean bias, SumiInit init)
{
  gint64 in = axis_size (x, 1);
  SumiNode *w = layer_param (m, name, "weight", SUMI_SHAPE (out_channels, in, kernel, kernel), init);
  SumiNode *b = NULL;

  if (bias)
    b = layer_param (m, name, "bias", SUMI_SHAPE (out_channels), bias_init (init, (double)in * kernel * kernel));
  return sumi_conv2d (m->graph, x, w, b, stride, pad);
}

SumiNode *
sumi_nn_conv2d (SumiModule *m, const char *name, SumiNode *x, gint64 out_channels, guint kernel, guint stride,
                guint pad, gboolean bias)
{
  return sumi_nn_conv2d_init (m, name, x, out_channels, kernel, stride, pad, bias,
                              fan_in ((double)axis_size (x, 1) * kernel * kernel));
}

SumiNode *
sumi_nn_conv2d_padded (SumiModule *m, const char *name, SumiNode *x, gint64 out_channels, guint kernel, guint stride,
                       guint top, guint left, guint bottom, guint right)
{
  gint64 in = axis_size (x, 1);
  SumiInit init = fan_in ((double)in * kernel * kernel);
  SumiNode *w = layer_param (m, name, "weight", SUMI_SHAPE (out_channels, in, kernel, kernel), init);
  SumiNode *b = layer_param (m, name, "bias", SUMI_SHAPE (out_channels), init);

  return sumi_conv2d_padded (m->graph, x, w, b, stride, top, left, bottom, right);
}

SumiNode *
sumi_nn_conv_transpose2d (SumiModule *m, const char *name, SumiNode *x, gint64 out_channels, guint kernel, guint stride)
{
  /* torch takes the fan-in from the weight's second axis, which here is the output. */
  SumiInit init = fan_in ((double)out_channels * kernel * kernel);
  SumiNode *w = layer_param (m, name, "weight", SUMI_SHAPE (axis_size (x, 1), out_channels, kernel, kernel), init);
  SumiNode *b = layer_param (m, name, "bias", SUMI_SHAPE (out_channels), init);

  return sumi_conv_transpose2d (m->graph, x, w, b, stride);
}

SumiNode *
sumi_nn_group_norm (SumiModule *m, const char *name, SumiNode *x, guint groups, double eps, SumiAct act)
{
  SumiShape shape = SUMI_SHAPE (axis_size (x, 1));
  SumiNode *w = layer_param (m, name, "weight", shape, (SumiInit){ SUMI_INIT_ONES, 0 });
  SumiNode *b = layer_param (m, name, "bias", shape, (SumiInit){ SUMI_INIT_ZEROS, 0 });

  if (m->view != SUMI_VIEW_WHOLE)
    return sumi_view_group_norm (m, name, x, w, b, groups, eps, act);
  return sumi_group_norm (m->graph, x, w, b, groups, eps, act);
}

SumiNode *
sumi_nn_layer_norm (SumiModule *m, const char *name, SumiNode *x, double eps)
{
  SumiShape shape = SUMI_SHAPE (axis_size (x, MAX (x->shape.rank, 1) - 1));
  SumiNode *w = layer_param (m, name, "weight", shape, (SumiInit){ SUMI_INIT_ONES, 0 });
  SumiNode *b = layer_param (m, name, "bias", shape, (SumiInit){ SUMI_INIT_ZEROS, 0 });

  return sumi_layer_norm (m->graph, x, w, b, eps);
}

static void
fill_param (SumiInit init, SumiRng *rng, float *out, gsize n)
{
  switch (init.kind)
    {
    case SUMI_INIT_ZEROS:
      break; /* a new tensor is zeroed */
    case SUMI_INIT_ONES:
      for (gsize i = 0; i < n; i++)
        out[i] = 1;
      break;
    case SUMI_INIT_UNIFORM_FAN_IN:
      for (gsize i = 0; i < n; i++)
        out[i] = (float)((2 * sumi_rng_uniform (rng) - 1) / sqrt (init.scale));
      break;
    case SUMI_INIT_NORMAL:
      sumi_rng_normal (rng, out, n);
      for (gsize i = 0; i < n; i++)
        out[i] *= (float)init.scale;
      break;
    }
}

SumiTensorMap *
sumi_module_init (const SumiModule *m, SumiRng *rng, GError **error)
{
  g_autoptr (SumiTensorMap) map = sumi_tensor_map_new ();

  for (guint i = 0; i < m->params->len; i++)
    {
      const SumiModuleParam *p = &g_array_index (m->params, SumiModuleParam, i);
      SumiTensor *t = sumi_tensor_new (SUMI_F32, &p->node->shape, error);

      if (t == NULL)
        return NULL;
      fill_param (p->init, rng, sumi_tensor_poke_f32 (t), sumi_tensor_get_numel (t));
      sumi_tensor_map_take (map, p->node->name, t);
    }
  return g_steal_pointer (&map);
}

gboolean
sumi_module_check (const SumiModule *m, const SumiTensorMap *weights, const char *prefix, GError **error)
{
  for (guint i = 0; i < m->params->len; i++)
    {
      const SumiNode *node = g_array_index (m->params, SumiModuleParam, i).node;
      g_autofree char *name = g_strconcat (prefix, node->name, NULL);
      SumiTensor *t = sumi_tensor_map_lookup_shaped (weights, name, &node->shape, error);

      if (t == NULL)
        return FALSE;
      if (!sumi_dtype_is_float (sumi_tensor_get_dtype (t)))
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "%s: found %s, expected floating point", name,
                       sumi_dtype_name (sumi_tensor_get_dtype (t)));
          return FALSE;
        }
      if (!sumi_tensor_is_finite (t))
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_NON_FINITE, "%s: found NaN or infinity, expected finite weights",
                       name);
          return FALSE;
        }
    }
  return TRUE;
}
