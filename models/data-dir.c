/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "models/model-store.h"

const char *
sumi_data_dir (void)
{
  const char *dir = g_getenv ("SUMI_DATADIR");

  return dir != NULL && dir[0] != '\0' ? g_intern_string (dir) : SUMI_INSTALLED_DATADIR;
}

const char *
sumi_user_folder (const char *name)
{
  g_autofree char *dir = g_build_filename (g_get_user_data_dir (), "sumi", name, NULL);

  return g_intern_string (dir);
}

const char *
sumi_user_models_dir (void)
{
  return sumi_user_folder ("models");
}
