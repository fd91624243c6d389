/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What other programs call samplers and lists of noise levels. */
#include "diffusion/sampler.h"

static void
test_names (void)
{
  static const struct
  {
    const char *title, *sampler, *sampler_sigmas, *sigmas;
  } rows[] = { { "DPM++ 2M", "dpmpp_2m", NULL },
               { "DPM++ 2M Karras", "dpmpp_2m", "karras" },
               { "dpm++ 2m karras", "dpmpp_2m", "karras" },
               { "DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential" },
               { "DPM++ 3M SDE", "dpmpp_3m_sde", NULL },
               { "DPM++ SDE Karras", "dpmpp_sde", "karras" },
               { "DPM++ 2S a", "dpmpp_2s_a", NULL },
               { "Euler a", "euler_a", NULL },
               { "Euler", "euler", NULL },
               { "k_euler_a", "euler_a", NULL },
               { "k_euler_ancestral", "euler_a", NULL },
               { "euler_ancestral", "euler_a", NULL },
               { "sample_dpmpp_2s_ancestral", "dpmpp_2s_a", NULL },
               { "k_dpm_2", "dpm2", NULL },
               { "DPM2 a Karras", "dpm2_a", "karras" },
               { "dpm_2_ancestral", "dpm2_a", NULL },
               { "LMS Karras", "lms", "karras" },
               { "PLMS", "pndm", NULL },
               { "uni_pc", "unipc", NULL },
               { "UniPC SGM Uniform", "unipc", "sgm_uniform" },
               { "DDIM", "ddim", NULL, "ddim_uniform" },
               { "LCM", "lcm", NULL },
               { "EulerDiscreteScheduler", "euler", NULL },
               { "DPM++ 2M Align Your Steps GITS", "dpmpp_2m", "gits" },
               { "DPM++ 2M Align Your Steps", "dpmpp_2m", "align_your_steps" },
               { "dpmpp_2m_k", "dpmpp_2m", "karras" },
               { "k_dpmpp_2m_sde_exp", "dpmpp_2m_sde", "exponential" },
               { "dpmsolver++", "dpmpp_2m", NULL },
               { "DPM++ 2M SDE Heun", NULL, NULL },
               { "DDIM CFG++", NULL, NULL },
               { "Restart", NULL, NULL },
               { "Karras", NULL, NULL, "karras" },
               { "Uniform", NULL, NULL, "normal" },
               { "DDIM Uniform", "ddim", "normal", "ddim_uniform" },
               { "Automatic", NULL, NULL },
               { "", NULL, NULL },
               { NULL, NULL, NULL } };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    {
      g_test_message ("%s", rows[i].title != NULL ? rows[i].title : "NULL");
      g_assert_cmpstr (sumi_sampler_from_title (rows[i].title), ==, rows[i].sampler);
      g_assert_cmpstr (sumi_sampler_sigmas_from_title (rows[i].title), ==, rows[i].sampler_sigmas);
      g_assert_cmpstr (sumi_sigmas_from_title (rows[i].title), ==, rows[i].sigmas);
    }
  for (const char *const *name = sumi_sampler_list (); *name != NULL; name++)
    {
      g_assert_cmpstr (sumi_sampler_title (*name), !=, *name);
      g_assert_cmpstr (sumi_sampler_from_title (sumi_sampler_title (*name)), ==, *name);
      g_assert_cmpstr (sumi_sampler_from_title (*name), ==, *name);
      g_assert_true (sumi_sampler_automatic_sigmas (*name) == NULL
                     || g_strv_contains (sumi_sigmas_list (), sumi_sampler_automatic_sigmas (*name)));
      /* with every schedule behind it */
      for (const char *const *list = sumi_sigmas_list (); *list != NULL; list++)
        {
          g_autofree char *both = g_strconcat (sumi_sampler_title (*name), " ", sumi_sigmas_title (*list), NULL);

          g_assert_cmpstr (sumi_sampler_from_title (both), ==, *name);
          g_assert_cmpstr (sumi_sampler_sigmas_from_title (both), ==, *list);
        }
    }
  for (const char *const *list = sumi_sigmas_list (); *list != NULL; list++)
    g_assert_cmpstr (sumi_sigmas_from_title (sumi_sigmas_title (*list)), ==, *list);
  g_assert_cmpuint (g_strv_length ((char **)sumi_sampler_list ()), ==, 18);
  g_assert_cmpuint (g_strv_length ((char **)sumi_sigmas_list ()), ==, 11);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sampler-names", test_names);
  return g_test_run ();
}
