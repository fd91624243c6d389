/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/json.h"

#include <string.h>

static JsonObject *
parse (const char *text, GError **error)
{
  return sumi_json_parse (text, strlen (text), "test", error);
}

/* What Python's json module writes for numbers that are none. */
static void
test_non_finite (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) json
      = parse ("{\"a\":-Infinity,\"b\":[NaN,1,Infinity],\"c\":\"NaN \\\" Infinity\",\"d\":-2}", &error);
  JsonArray *list;

  g_assert_no_error (error);
  g_assert_true (json_object_get_null_member (json, "a"));
  list = json_object_get_array_member (json, "b");
  g_assert_true (json_array_get_null_element (list, 0));
  g_assert_cmpint (json_array_get_int_element (list, 1), ==, 1);
  g_assert_true (json_array_get_null_element (list, 2));
  g_assert_cmpstr (json_object_get_string_member (json, "c"), ==, "NaN \" Infinity");
  g_assert_cmpint (json_object_get_int_member (json, "d"), ==, -2);
}

static void
test_refusals (void)
{
  static const char *const wrong[] = { "", "[1]", "{\"a\":Nan}", "{\"a\":Infin", "{\"a\":\"\\", "\xff" };

  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (parse (wrong[i], &error));
      g_assert_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/json/non-finite", test_non_finite);
  g_test_add_func ("/json/refusals", test_refusals);
  return g_test_run ();
}
