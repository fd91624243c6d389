/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the dialog offers is what the core can do. */
#include "diffusion/sampler.h"
#include "plugin/samplers.h"

static void
assert_same (GimpChoice *choice, const char *const *names, guint n_more)
{
  for (guint i = 0; names[i] != NULL; i++)
    {
      g_assert_true (gimp_choice_is_valid (choice, names[i]));
      g_assert_cmpstr (gimp_choice_get_help (choice, names[i]), !=, "");
    }
  g_assert_cmpuint (g_list_length (gimp_choice_list_nicks (choice)), ==, g_strv_length ((char **)names) + n_more);
}

static void
test_samplers (void)
{
  g_autoptr (GimpChoice) choice = sumi_sampler_choice_new ();

  for (const char *const *name = sumi_sampler_list (); *name != NULL; name++)
    g_assert_cmpstr (gimp_choice_get_label (choice, *name), ==, sumi_sampler_title (*name));
  assert_same (choice, sumi_sampler_list (), 0);
}

static void
test_schedules (void)
{
  g_autoptr (GimpChoice) choice = sumi_schedule_choice_new ();

  g_assert_true (gimp_choice_is_valid (choice, "automatic"));
  assert_same (choice, sumi_sigmas_list (), 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/gimp/samplers", test_samplers);
  g_test_add_func ("/gimp/schedules", test_schedules);
  return g_test_run ();
}
