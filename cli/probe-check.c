/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The comparison with a reference (reference data README, "Tolerances"):
 *   ||got - ref|| <= rel_l2 ||ref|| + atol_rms sqrt (n)
 * tensors under a "joint" prefix are judged as one, integers are equal, bytes within u8_max_abs, and where the case
 * says max_abs no value is farther off than that. */
#include "probe.h"

#include <math.h>
#include <stdio.h>

#include "nn/config.h"

typedef struct
{
  double rel_l2, atol_rms, u8_max_abs, max_abs;
  JsonObject *joint; /* prefix -> rel_l2; or NULL */
} Tolerance;

typedef struct
{
  double difference, reference; /* sums of squares */
  double max_abs;
  gint64 n;
} Distance;

static gboolean
object_member (JsonObject *json, const char *name, JsonObject **object, GError **error)
{
  JsonNode *node = json_object_get_member (json, name);

  *object = NULL;
  if (node == NULL || JSON_NODE_HOLDS_NULL (node))
    return TRUE;
  if (!JSON_NODE_HOLDS_OBJECT (node))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "%s: found %s, expected an object", name,
                   json_node_type_name (node));
      return FALSE;
    }
  *object = json_node_get_object (node);
  return TRUE;
}

static gboolean
parse_tolerance (JsonObject *json, double least, Tolerance *t, GError **error)
{
  JsonObject *object;

  *t = (Tolerance){ 1e-4, 0, 0, INFINITY, NULL };
  if (!object_member (json, "tolerance", &object, error))
    return FALSE;
  if (object != NULL
      && (!sumi_config_double (object, "rel_l2", 0, 1e6, &t->rel_l2, error)
          || !sumi_config_double (object, "atol_rms", 0, 1e6, &t->atol_rms, error)
          || !sumi_config_double (object, "u8_max_abs", 0, 255, &t->u8_max_abs, error)
          || !sumi_config_double (object, "max_abs", 0, 1e6, &t->max_abs, error)
          || !object_member (object, "joint", &t->joint, error)))
    return FALSE;
  t->rel_l2 = MAX (t->rel_l2, least);
  return TRUE;
}

static void
add_distance (Distance *to, const Distance *d)
{
  to->difference += d->difference;
  to->reference += d->reference;
  to->max_abs = MAX (to->max_abs, d->max_abs);
  to->n += d->n;
}

static double
relative (const Distance *d)
{
  return d->reference > 0 ? sqrt (d->difference / d->reference) : d->difference > 0 ? INFINITY : 0;
}

static gboolean
measure (const SumiTensor *got, const SumiTensor *ref, Distance *d, GError **error)
{
  gint64 n = sumi_tensor_get_numel (ref);
  g_autofree double *a = g_try_new (double, n), *b = g_try_new (double, n);

  if (n > 0 && (a == NULL || b == NULL))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_OUT_OF_MEMORY, "no memory to compare %" G_GINT64_FORMAT " values", n);
      return FALSE;
    }
  sumi_tensor_to_f64 (got, a);
  sumi_tensor_to_f64 (ref, b);
  *d = (Distance){ .n = n };
  for (gint64 i = 0; i < n; i++)
    {
      double off = a[i] - b[i];

      d->difference += off * off;
      d->reference += b[i] * b[i];
      d->max_abs = MAX (d->max_abs, fabs (off)); /* NaN is told by the sum */
    }
  return TRUE;
}

/* The joint prefix that this name is under, or NULL. */
static const char *
joint_prefix (const Tolerance *t, const char *name)
{
  g_autoptr (GList) prefixes = t->joint != NULL ? json_object_get_members (t->joint) : NULL;

  for (GList *i = prefixes; i != NULL; i = i->next)
    if (g_str_has_prefix (name, i->data))
      return i->data;
  return NULL;
}

static gboolean
is_within (const Tolerance *t, SumiDType dtype, const Distance *d)
{
  if (!isfinite (d->difference))
    return FALSE;
  if (dtype == SUMI_U8)
    return d->max_abs <= t->u8_max_abs;
  if (!sumi_dtype_is_float (dtype))
    return d->max_abs == 0;
  return d->max_abs <= t->max_abs
         && sqrt (d->difference) <= t->rel_l2 * sqrt (d->reference) + t->atol_rms * sqrt (d->n);
}

/* One tensor of the reference: printed, and judged unless it waits for the others of its prefix. */
static gboolean
check_tensor (const Tolerance *t, const char *name, const SumiTensor *got, const SumiTensor *ref, GHashTable *joints,
              gboolean *ok, GError **error)
{
  const char *prefix = joint_prefix (t, name);
  SumiDType dtype = sumi_tensor_get_dtype (ref);
  Distance d = { 0 };

  *ok = FALSE;
  if (got == NULL || !sumi_shape_equal (sumi_tensor_get_shape (got), sumi_tensor_get_shape (ref)))
    {
      g_autofree char *found = got != NULL ? sumi_shape_to_string (sumi_tensor_get_shape (got)) : g_strdup ("nothing");
      g_autofree char *expected = sumi_shape_to_string (sumi_tensor_get_shape (ref));

      printf ("FAIL %s: found %s, expected %s\n", name, found, expected);
      return TRUE;
    }
  if (!measure (got, ref, &d, error))
    return FALSE;
  if (prefix != NULL && sumi_dtype_is_float (dtype) && isfinite (d.difference))
    {
      Distance *sum = g_hash_table_lookup (joints, prefix);

      if (sum == NULL)
        g_hash_table_insert (joints, (gpointer)prefix, sum = g_new0 (Distance, 1));
      add_distance (sum, &d);
      *ok = TRUE;
    }
  else
    *ok = is_within (t, dtype, &d);
  printf ("%s %s: rel_l2 %.3e max_abs %.3e n %" G_GINT64_FORMAT "%s\n", *ok ? "ok  " : "FAIL", name, relative (&d),
          d.max_abs, d.n, isfinite (d.difference) ? "" : " not finite");
  return TRUE;
}

static guint
check_joints (const Tolerance *t, GHashTable *joints, double least)
{
  GHashTableIter i;
  gpointer prefix, sum;
  guint n_bad = 0;

  g_hash_table_iter_init (&i, joints);
  while (g_hash_table_iter_next (&i, &prefix, &sum))
    {
      double limit = MAX (json_object_get_double_member (t->joint, prefix), least);
      gboolean ok = relative (sum) <= limit;

      printf ("%s %s* together: rel_l2 %.3e (limit %g)\n", ok ? "ok  " : "FAIL", (char *)prefix, relative (sum), limit);
      n_bad += !ok;
    }
  return n_bad;
}

gboolean
probe_check (const SumiTensorMap *got, const SumiTensorMap *reference, JsonObject *json, double least, GError **error)
{
  g_autoptr (GHashTable) joints = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, g_free);
  Tolerance t;
  guint n = sumi_tensor_map_get_size (reference), n_bad = 0;

  if (!parse_tolerance (json, least, &t, error))
    return FALSE;
  for (guint i = 0; i < n; i++)
    {
      const char *name = sumi_tensor_map_get_name (reference, i);
      gboolean ok;

      if (!check_tensor (&t, name, sumi_tensor_map_peek (got, name), sumi_tensor_map_peek_nth (reference, i), joints,
                         &ok, error))
        return FALSE;
      n_bad += !ok;
    }
  n_bad += check_joints (&t, joints, least);
  printf ("%s: %u tensors compared, limit %g, %u outside\n", n_bad == 0 && n > 0 ? "ok" : "FAIL", n, t.rel_l2, n_bad);
  if (n_bad == 0 && n > 0)
    return TRUE;
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_ENGINE,
               "reference: found %u of %u tensors outside the tolerance, expected 0", n_bad, n);
  return FALSE;
}
