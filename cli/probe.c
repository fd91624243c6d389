/* SPDX-License-Identifier: GPL-3.0-or-later */
/* `sumi probe`: runs one reference case and compares. See docs/FORMATS.md, "Reference cases". */
#include "probe.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "nn/config.h"

typedef struct
{
  const char *name;
  ProbeFunc run;
  double
      bf16; /* the least relative L2 that is asked for in bf16, which keeps 8 bits of a value; the cases' are for f32 */
} Component;

static const Component components[] = {
  { "ddim-sample", probe_ddim_sample, 0.05 },
  { "ddpm-sample", probe_ddpm_sample, 0.05 },
  { "ddpm-train", probe_ddpm_train, 0.05 },
  { "lora", probe_lora, 0.05 },
  { "generate", probe_generate, 0.05 },
  { "img2img", probe_generate, 0.05 },
  { "inpaint", probe_generate, 0.05 },
  { "p-sample-loop", probe_p_sample_loop, 0.05 },
  { "randn", probe_randn, 0 },
  { "schedule", probe_schedule, 0 },
  { "taef2-decode", probe_taef2_decode, 0.05 },
  { "taef2-encode", probe_taef2_encode, 0.05 },
  { "text-encoder", probe_text_encoder, 0.05 },
  { "textual-inversion", probe_textual_inversion, 0.05 },
  { "tokenizer", probe_tokenizer, 0 },
  { "unet", probe_unet, 0.02 },
  { "unet-backward", probe_unet_backward, 0.05 },
  { "vae-decoder", probe_vae_decoder, 0.05 },
  { "vae-encoder", probe_vae_encoder, 0.05 },
  { "vae-train", probe_vae_train, 0.05 },
};

typedef struct
{
  char *root, *name, *output, *engine, *dtype;
  gboolean single_file, check;
} Options;

static gboolean
parse_options (int *argc, char ***argv, Options *o, GError **error)
{
  const GOptionEntry entries[] = {
    { "root", 0, 0, G_OPTION_ARG_FILENAME, &o->root, "Folder with cases/ and models/", "ROOT" },
    { "case", 0, 0, G_OPTION_ARG_FILENAME, &o->name, "Name of the case", "NAME" },
    { "output", 0, 0, G_OPTION_ARG_FILENAME, &o->output, "Where to write what was computed", "OUT.safetensors" },
    { "single-file", 0, 0, G_OPTION_ARG_NONE, &o->single_file, "Take the single file where there is a folder too",
      NULL },
    { "check", 0, 0, G_OPTION_ARG_NONE, &o->check, "Compare with the case's out.safetensors", NULL },
    { "engine", 0, 0, G_OPTION_ARG_STRING, &o->engine, "cpu or ref", "E" },
    { "dtype", 0, 0, G_OPTION_ARG_STRING, &o->dtype, "f32, bf16 (cpu) or f64 (ref)", "D" },
    { NULL },
  };

  if (!sumi_cli_parse (argc, argv, "probe", NULL, "Runs one reference case.", entries, error))
    return FALSE;
  if (o->root == NULL || o->name == NULL || o->output == NULL)
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "%s is needed",
                   o->root == NULL   ? "--root"
                   : o->name == NULL ? "--case"
                                     : "--output");
      return FALSE;
    }
  if (strchr (o->name, '/') != NULL || o->name[0] == '.' || o->name[0] == '\0')
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "--case: found '%s', expected a name in ROOT/cases", o->name);
      return FALSE;
    }
  return TRUE;
}

static gboolean
parse_dtype (const char *text, SumiDType *dtype, GError **error)
{
  static const struct
  {
    const char *name;
    SumiDType dtype;
  } dtypes[] = { { "f32", SUMI_F32 }, { "bf16", SUMI_BF16 }, { "f64", SUMI_F64 } };

  *dtype = SUMI_F32;
  for (guint i = 0; text != NULL && i < G_N_ELEMENTS (dtypes); i++)
    if (strcmp (text, dtypes[i].name) == 0)
      {
        *dtype = dtypes[i].dtype;
        return TRUE;
      }
  if (text != NULL)
    g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "--dtype: found '%s', expected f32, bf16 or f64", text);
  return text == NULL;
}

static const Component *
find_component (JsonObject *json, GError **error)
{
  const char *name = NULL;
  g_autoptr (GString) known = g_string_new (NULL);

  if (!sumi_config_string (json, "component", &name, error))
    return NULL;
  for (guint i = 0; i < G_N_ELEMENTS (components); i++)
    {
      if (g_strcmp0 (name, components[i].name) == 0)
        return &components[i];
      g_string_append_printf (known, "%s%s", i > 0 ? ", " : "", components[i].name);
    }
  g_set_error (error, SUMI_ERROR, SUMI_ERROR_USAGE, "component: found '%s', expected one of %s",
               name != NULL ? name : "", known->str);
  return NULL;
}

static gboolean
read_params (Probe *p, GError **error)
{
  JsonNode *node = json_object_get_member (p->json, "params");

  if (node != NULL && !JSON_NODE_HOLDS_NULL (node) && !JSON_NODE_HOLDS_OBJECT (node))
    {
      g_set_error (error, SUMI_ERROR, SUMI_ERROR_BAD_CONFIG, "params: found %s, expected an object",
                   json_node_type_name (node));
      return FALSE;
    }
  p->params = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_object_ref (json_node_get_object (node))
                                                            : json_object_new ();
  return TRUE;
}

/* case.json, in.safetensors (a component without inputs has none), the engine. */
static gboolean
open_case (Probe *p, const Options *o, const char *folder, GError **error)
{
  g_autofree char *json = g_build_filename (folder, "case.json", NULL);
  g_autofree char *in = g_build_filename (folder, "in.safetensors", NULL);

  p->root = o->root;
  p->single_file = o->single_file;
  p->out = sumi_tensor_map_new ();
  if (!parse_dtype (o->dtype, &p->options.dtype, error) || (p->engine = sumi_engine_open (o->engine, error)) == NULL
      || (p->json = sumi_json_load (json, error)) == NULL || !read_params (p, error))
    return FALSE;
  p->in = g_file_test (in, G_FILE_TEST_EXISTS) ? sumi_safetensors_open (in, error) : sumi_tensor_map_new ();
  return p->in != NULL;
}

static void
close_case (Probe *p)
{
  g_clear_pointer (&p->json, json_object_unref);
  g_clear_pointer (&p->params, json_object_unref);
  g_clear_pointer (&p->in, sumi_tensor_map_unref);
  g_clear_pointer (&p->out, sumi_tensor_map_unref);
  g_clear_pointer (&p->engine, sumi_engine_unref);
}

static gboolean
compare (Probe *p, const Component *component, const char *folder, GError **error)
{
  g_autofree char *path = g_build_filename (folder, "out.safetensors", NULL);
  g_autoptr (SumiTensorMap) reference = sumi_safetensors_open (path, error);

  return reference != NULL
         && probe_check (p->out, reference, p->json, p->options.dtype == SUMI_BF16 ? component->bf16 : 0, error);
}

static gboolean
run (Probe *p, const Options *o, GError **error)
{
  g_autofree char *folder = g_build_filename (o->root, "cases", o->name, NULL);
  const Component *component;

  if (!open_case (p, o, folder, error) || (component = find_component (p->json, error)) == NULL
      || !component->run (p, error) || !sumi_safetensors_save (p->out, o->output, error))
    return FALSE;
  return !o->check || compare (p, component, folder, error);
}

int
sumi_cli_probe (int argc, char **argv)
{
  Options o = { 0 };
  Probe p = { 0 };
  g_autoptr (GError) error = NULL;
  int status = 0;

  if (!parse_options (&argc, &argv, &o, &error) || !run (&p, &o, &error))
    {
      fflush (stdout);
      status = sumi_cli_fail (error);
    }
  close_case (&p);
  g_free (o.root);
  g_free (o.name);
  g_free (o.output);
  g_free (o.engine);
  g_free (o.dtype);
  return status;
}
