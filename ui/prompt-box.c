/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "prompt-box.h"

#define WIDTH 360
#define LINE_HEIGHT 20
#define MARGIN 6

struct _SumiPromptBox
{
  GtkScrolledWindow parent_instance;
  GtkWidget *view;
  char *hint;
};

enum
{
  PROP_0,
  PROP_TEXT,
  N_PROPS
};

static GParamSpec *props[N_PROPS];

G_DEFINE_TYPE (SumiPromptBox, sumi_prompt_box, GTK_TYPE_SCROLLED_WINDOW)

static GtkTextBuffer *
buffer_of (SumiPromptBox *box)
{
  return gtk_text_view_get_buffer (GTK_TEXT_VIEW (box->view));
}

static char *
get_text (SumiPromptBox *box)
{
  GtkTextIter start, end;
  gtk_text_buffer_get_bounds (buffer_of (box), &start, &end);
  return gtk_text_buffer_get_text (buffer_of (box), &start, &end, FALSE);
}

static void
get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  if (id == PROP_TEXT)
    g_value_take_string (value, get_text (SUMI_PROMPT_BOX (object)));
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
}

static void
set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  SumiPromptBox *box = SUMI_PROMPT_BOX (object);
  const char *text = g_value_get_string (value);

  if (id != PROP_TEXT)
    {
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
      return;
    }
  g_autofree char *now = get_text (box);
  if (g_strcmp0 (now, text != NULL ? text : "") != 0) /* else a bound text would move the cursor at every key */
    gtk_text_buffer_set_text (buffer_of (box), text != NULL ? text : "", -1);
}

static void
text_changed (GtkTextBuffer *buffer, SumiPromptBox *box)
{
  g_object_notify_by_pspec (G_OBJECT (box), props[PROP_TEXT]);
  gtk_widget_queue_draw (box->view); /* the hint comes and goes */
}

static gboolean
draw_hint (GtkWidget *view, cairo_t *cr, SumiPromptBox *box)
{
  if (gtk_text_buffer_get_char_count (buffer_of (box)) > 0 || box->hint == NULL)
    return GDK_EVENT_PROPAGATE;
  g_autoptr (PangoLayout) layout = gtk_widget_create_pango_layout (view, box->hint);
  GtkStyleContext *style = gtk_widget_get_style_context (view);

  gtk_style_context_save (style);
  gtk_style_context_add_class (style, GTK_STYLE_CLASS_DIM_LABEL);
  cairo_push_group (cr);
  gtk_render_layout (style, cr, MARGIN, MARGIN, layout);
  cairo_pop_group_to_source (cr);
  cairo_paint_with_alpha (cr, 0.5);
  gtk_style_context_restore (style);
  return GDK_EVENT_PROPAGATE;
}

static void
finalize (GObject *object)
{
  g_free (SUMI_PROMPT_BOX (object)->hint);
  G_OBJECT_CLASS (sumi_prompt_box_parent_class)->finalize (object);
}

static void
sumi_prompt_box_class_init (SumiPromptBoxClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->get_property = get_property;
  object_class->set_property = set_property;
  object_class->finalize = finalize;
  props[PROP_TEXT] = g_param_spec_string ("text", NULL, NULL, "",
                                          G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  g_object_class_install_properties (object_class, N_PROPS, props);
}

static void
sumi_prompt_box_init (SumiPromptBox *box)
{
  GtkTextView *view = GTK_TEXT_VIEW (gtk_text_view_new ());

  box->view = GTK_WIDGET (view);
  gtk_text_view_set_wrap_mode (view, GTK_WRAP_WORD_CHAR);
  gtk_text_view_set_accepts_tab (view, FALSE);
  gtk_text_view_set_left_margin (view, MARGIN);
  gtk_text_view_set_right_margin (view, MARGIN);
  gtk_text_view_set_top_margin (view, MARGIN);
  gtk_text_view_set_bottom_margin (view, MARGIN);
  gtk_container_add (GTK_CONTAINER (box), box->view);
  gtk_scrolled_window_set_shadow_type (GTK_SCROLLED_WINDOW (box), GTK_SHADOW_IN);
  gtk_scrolled_window_set_policy (GTK_SCROLLED_WINDOW (box), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
  g_signal_connect (buffer_of (box), "changed", G_CALLBACK (text_changed), box);
  g_signal_connect_after (box->view, "draw", G_CALLBACK (draw_hint), box);
}

GtkWidget *
sumi_prompt_box_new (const char *hint, guint lines)
{
  SumiPromptBox *box = g_object_new (SUMI_TYPE_PROMPT_BOX, NULL);

  box->hint = g_strdup (hint);
  gtk_scrolled_window_set_min_content_height (GTK_SCROLLED_WINDOW (box), (int)lines * LINE_HEIGHT + 2 * MARGIN);
  gtk_scrolled_window_set_min_content_width (GTK_SCROLLED_WINDOW (box), WIDTH);
  gtk_widget_show_all (GTK_WIDGET (box));
  return GTK_WIDGET (box);
}

GtkWidget *
sumi_prompt_box_get_view (SumiPromptBox *box)
{
  return box->view;
}
