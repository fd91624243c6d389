/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A few lines of text with a frame, scroll bars and a hint while it is empty.  Tab leaves it. */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define SUMI_TYPE_PROMPT_BOX (sumi_prompt_box_get_type ())
G_DECLARE_FINAL_TYPE (SumiPromptBox, sumi_prompt_box, SUMI, PROMPT_BOX, GtkScrolledWindow)

/* Its property "text" can be bound; `lines` is how many are seen. */
GtkWidget *sumi_prompt_box_new (const char *hint, guint lines);

/* What a label's mnemonic and the focus go to. */
GtkWidget *sumi_prompt_box_get_view (SumiPromptBox *box);

G_END_DECLS
