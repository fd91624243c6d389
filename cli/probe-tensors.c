/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tensors into and out of a case. */
#include "probe.h"

gboolean
probe_check_shape (const char *name, const SumiTensor *t, const SumiShape *want, GError **error)
{
  if (sumi_shape_equal (sumi_tensor_get_shape (t), want))
    return TRUE;

  g_autofree char *found = sumi_shape_to_string (sumi_tensor_get_shape (t));
  g_autofree char *expected = sumi_shape_to_string (want);

  g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "%s: found %s, expected %s", name, found, expected);
  return FALSE;
}

static SumiTensor *
find (Probe *p, const char *name, guint rank, GError **error)
{
  SumiTensor *t = sumi_tensor_map_lookup (p->in, name, error);

  if (t == NULL)
    return NULL;
  if ((rank != 0 && sumi_tensor_get_shape (t)->rank != rank) || sumi_tensor_get_numel (t) == 0)
    {
      g_autofree char *found = sumi_shape_to_string (sumi_tensor_get_shape (t));

      g_set_error (error, SUMI_ERROR, SUMI_ERROR_SHAPE_MISMATCH, "%s: found %s, expected values in %u dimensions", name,
                   found, rank);
      return NULL;
    }
  return t;
}

static gboolean
check_kind (const char *name, const SumiTensor *t, gboolean is_float, GError **error)
{
  SumiDType dtype = sumi_tensor_get_dtype (t);

  if (sumi_dtype_is_float (dtype) == is_float && dtype != SUMI_BOOL)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_UNSUPPORTED_DTYPE, "%s: found %s, expected %s", name,
               sumi_dtype_name (dtype), is_float ? "floating point" : "integers");
  return FALSE;
}

SumiTensor *
probe_in (Probe *p, const char *name, guint rank, GError **error)
{
  SumiTensor *t = find (p, name, rank, error);

  return t != NULL && check_kind (name, t, TRUE, error) ? sumi_tensor_cast (t, SUMI_F32, error) : NULL;
}

gboolean
probe_in_optional (Probe *p, const char *name, guint rank, SumiTensor **t, GError **error)
{
  *t = NULL;
  if (sumi_tensor_map_peek (p->in, name) == NULL)
    return TRUE;
  *t = probe_in (p, name, rank, error);
  return *t != NULL;
}

SumiTensor *
probe_in_number (Probe *p, const char *name, guint rank, GError **error)
{
  SumiTensor *t = find (p, name, rank, error);

  return t != NULL ? sumi_tensor_cast (t, SUMI_F32, error) : NULL;
}

SumiTensor *
probe_in_index (Probe *p, const char *name, guint rank, gint64 max, GError **error)
{
  SumiTensor *t = find (p, name, rank, error);
  g_autoptr (SumiTensor) ids = NULL;

  if (t == NULL || !check_kind (name, t, FALSE, error))
    return NULL;
  ids = sumi_tensor_cast (t, SUMI_I64, error);
  for (gint64 i = 0; ids != NULL && i < sumi_tensor_get_numel (ids); i++)
    {
      gint64 id = ((const gint64 *)sumi_tensor_peek (ids))[i];

      if (id < 0 || id > max)
        {
          g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG,
                       "%s: found %" G_GINT64_FORMAT ", expected 0 to %" G_GINT64_FORMAT, name, id, max);
          return NULL;
        }
    }
  return g_steal_pointer (&ids);
}

SumiTensor *
probe_out (Probe *p, const char *name, SumiDType dtype, const SumiShape *shape, GError **error)
{
  SumiTensor *t = sumi_tensor_new (dtype, shape, error);

  if (t != NULL)
    sumi_tensor_map_take (p->out, name, t);
  return t;
}

SumiTensor *
probe_read (SumiPlan *plan, const char *output, GError **error)
{
  g_autoptr (SumiTensor) value = sumi_plan_get (plan, output, error);

  return value != NULL ? sumi_tensor_cast (value, SUMI_F32, error) : NULL;
}

gboolean
probe_store (Probe *p, SumiPlan *plan, const char *output, GError **error)
{
  SumiTensor *value = probe_read (plan, output, error);

  if (value != NULL)
    sumi_tensor_map_take (p->out, output, value);
  return value != NULL;
}
