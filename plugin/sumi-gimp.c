/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The plug-in: which procedures there are, and where their translations lie. */
#include <glib/gi18n-lib.h>
#include <libgimp/gimp.h>

#include "text-to-image.h"

#define SUMI_TYPE_PLUG_IN (sumi_plug_in_get_type ())
G_DECLARE_FINAL_TYPE (SumiPlugIn, sumi_plug_in, SUMI, PLUG_IN, GimpPlugIn)

struct _SumiPlugIn
{
  GimpPlugIn parent_instance;
};

G_DEFINE_TYPE (SumiPlugIn, sumi_plug_in, GIMP_TYPE_PLUG_IN)

static GList *
query_procedures (GimpPlugIn *plug_in)
{
  gimp_plug_in_add_menu_branch (plug_in, "<Image>/Filters", N_ ("_Diffusion"));
  return g_list_append (NULL, g_strdup (SUMI_TEXT_TO_IMAGE));
}

static GimpProcedure *
create_procedure (GimpPlugIn *plug_in, const char *name)
{
  return g_str_equal (name, SUMI_TEXT_TO_IMAGE) ? sumi_text_to_image_create (plug_in) : NULL;
}

/* In "locale" beside the plug-in, which is GIMP's own place for them. */
static gboolean
set_i18n (GimpPlugIn *plug_in, const char *procedure_name, char **gettext_domain, char **catalog_dir)
{
  *gettext_domain = g_strdup (GETTEXT_PACKAGE);
  *catalog_dir = g_strdup ("locale");
  return TRUE;
}

static void
sumi_plug_in_class_init (SumiPlugInClass *klass)
{
  GimpPlugInClass *plug_in_class = GIMP_PLUG_IN_CLASS (klass);
  plug_in_class->query_procedures = query_procedures;
  plug_in_class->create_procedure = create_procedure;
  plug_in_class->set_i18n = set_i18n;
}

static void
sumi_plug_in_init (SumiPlugIn *self)
{
}

GIMP_MAIN (SUMI_TYPE_PLUG_IN)
