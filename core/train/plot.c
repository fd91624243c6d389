/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The loss curve as a picture: every update pale, the smoothed loss dark, logarithmic upwards. */
#include <math.h>
#include <string.h>

#include "train/history.h"

#define WIDTH 900
#define HEIGHT 500
#define LEFT 80
#define RIGHT 20
#define TOP 20
#define BOTTOM 50
#define FONT 3 /* pixels a dot of the 3x5 letters */

#define WHITE 0xffffff
#define GREY 0xdddddd
#define BLACK 0x333333
#define PALE 0xa8c8e8
#define DARK 0x1c4f82

/* The letters the labels need, 3x5 dots, rows from the top, the left dot highest. */
static const struct
{
  char letter;
  guint16 dots;
} font[] = {
  { '0', 075557 }, { '1', 026227 }, { '2', 071747 }, { '3', 071717 }, { '4', 055711 }, { '5', 074717 }, { '6', 074757 },
  { '7', 071222 }, { '8', 075757 }, { '9', 075717 }, { '.', 000002 }, { 'k', 055655 }, { 'M', 057755 }, { 'l', 062227 },
  { 'o', 002552 }, { 's', 003416 }, { 't', 027223 }, { 'e', 002563 }, { 'p', 006564 },
};

typedef struct
{
  guint8 *pixels;
  double steps, low, high; /* the axes: 0 to steps, low to high */
} Plot;

static void
dot (Plot *p, int x, int y, guint32 colour)
{
  guint8 *pixel;

  if (x < 0 || x >= WIDTH || y < 0 || y >= HEIGHT)
    return;
  pixel = p->pixels + ((gsize)y * WIDTH + x) * 3;
  pixel[0] = colour >> 16;
  pixel[1] = (colour >> 8) & 0xff;
  pixel[2] = colour & 0xff;
}

static void
box (Plot *p, int x, int y, int width, int height, guint32 colour)
{
  for (int j = 0; j < height; j++)
    for (int i = 0; i < width; i++)
      dot (p, x + i, y + j, colour);
}

static void
letter (Plot *p, int x, int y, char c)
{
  for (guint k = 0; k < G_N_ELEMENTS (font); k++)
    if (font[k].letter == c)
      for (int i = 0; i < 15; i++)
        if (font[k].dots >> (14 - i) & 1)
          box (p, x + i % 3 * FONT, y + i / 3 * FONT, FONT, FONT, BLACK);
}

/* Middle of the text at x (centred) or its end there. */
static void
text (Plot *p, int x, int y, gboolean centred, const char *s)
{
  int width = (int)strlen (s) * 4 * FONT - FONT;

  x -= centred ? width / 2 : width;
  y -= 5 * FONT / 2;
  for (; *s != '\0'; s++, x += 4 * FONT)
    letter (p, x, y, *s);
}

static int
x_of (const Plot *p, double step)
{
  return LEFT + (int)lround ((WIDTH - LEFT - RIGHT) * step / p->steps);
}

static int
y_of (const Plot *p, double loss)
{
  double u = log (CLAMP (loss, p->low, p->high) / p->low) / log (p->high / p->low);

  return HEIGHT - BOTTOM - (int)lround ((HEIGHT - TOP - BOTTOM) * u);
}

/* A curve of so few pixels between two points that columns of dots join them. */
static void
curve (Plot *p, const GArray *h, gsize offset, int thickness, guint32 colour)
{
  int last_x = 0, last_y = 0;

  for (guint i = 0; i < h->len; i++)
    {
      float loss = G_STRUCT_MEMBER (float, &g_array_index (h, SumiTrainRow, i), offset);
      int x = x_of (p, i + 1.0), y = y_of (p, loss), n;

      if (i == 0)
        last_x = x, last_y = y;
      n = MAX (1, MAX (ABS (x - last_x), ABS (y - last_y)));
      for (int k = 0; k <= n; k++)
        box (p, last_x + (x - last_x) * k / n, last_y + (y - last_y) * k / n, thickness, thickness, colour);
      last_x = x;
      last_y = y;
    }
}

/* 1, 2 or 5 times a power of ten: the smallest that gives at most `most` ticks. */
static double
tick_step (double range, double most)
{
  static const double nice[] = { 1, 2, 5 };

  for (double power = 1;; power *= 10)
    for (guint i = 0; i < G_N_ELEMENTS (nice); i++)
      if (range <= nice[i] * power * most)
        return nice[i] * power;
}

static void
step_label (char *label, gsize size, double step)
{
  if (step >= 1e6)
    g_snprintf (label, size, "%.4gM", step / 1e6);
  else if (step >= 1e3)
    g_snprintf (label, size, "%.4gk", step / 1e3);
  else
    g_snprintf (label, size, "%.0f", step);
}

/* Users of this library may have set a locale with a decimal comma; the font has a point. */
static void
with_point (char *label)
{
  for (; *label != '\0'; label++)
    if (*label == ',')
      *label = '.';
}

static void
axes (Plot *p)
{
  static const double nice[] = { 1, 2, 3, 5 };
  double tick = tick_step (p->steps, 8);
  char label[32];

  for (double step = 0; step <= p->steps; step += tick)
    {
      step_label (label, sizeof label, step);
      with_point (label);
      box (p, x_of (p, step), TOP, 1, HEIGHT - TOP - BOTTOM, GREY);
      text (p, x_of (p, step), HEIGHT - BOTTOM + 14, TRUE, label);
    }
  for (double power = pow (10, floor (log10 (p->low))); power <= p->high; power *= 10)
    for (guint i = 0; i < G_N_ELEMENTS (nice); i++)
      if (nice[i] * power >= p->low && nice[i] * power <= p->high)
        {
          g_snprintf (label, sizeof label, "%.4f", nice[i] * power);
          for (char *end = label + strlen (label) - 1; end > label + 2 && *end == '0'; end--)
            *end = '\0';
          with_point (label);
          box (p, LEFT, y_of (p, nice[i] * power), WIDTH - LEFT - RIGHT, 1, GREY);
          text (p, LEFT - 8, y_of (p, nice[i] * power), FALSE, label);
        }
  box (p, LEFT, TOP, 1, HEIGHT - TOP - BOTTOM, BLACK);
  box (p, LEFT, HEIGHT - BOTTOM, WIDTH - LEFT - RIGHT, 1, BLACK);
  text (p, WIDTH - RIGHT - 40, HEIGHT - 12, TRUE, "steps");
  text (p, LEFT + 36, TOP + 10, TRUE, "loss");
}

/* The smoothed loss decides the range; single updates may lie outside. */
static void
choose_range (Plot *p, const GArray *h)
{
  p->steps = MAX (1, h->len);
  p->low = G_MAXDOUBLE;
  p->high = 0;
  for (guint i = 0; i < h->len; i++)
    {
      double loss = g_array_index (h, SumiTrainRow, i).smooth_loss;
      if (loss > 0 && isfinite (loss))
        {
          p->low = MIN (p->low, loss);
          p->high = MAX (p->high, loss);
        }
    }
  if (p->high <= 0)
    p->low = p->high = 1;
  p->low = CLAMP (p->low / 1.25, 1e-4, 1e6);
  p->high = CLAMP (p->high * 1.25, p->low * 1.5, 1e7);
}

SumiTensor *
sumi_train_history_plot (const GArray *history, GError **error)
{
  SumiTensor *picture = sumi_tensor_new (SUMI_U8, &SUMI_SHAPE (HEIGHT, WIDTH, 3), error);
  Plot p;

  if (picture == NULL)
    return NULL;
  p.pixels = sumi_tensor_poke (picture);
  memset (p.pixels, WHITE & 0xff, sumi_tensor_get_size (picture));
  choose_range (&p, history);
  axes (&p);
  curve (&p, history, G_STRUCT_OFFSET (SumiTrainRow, loss), 1, PALE);
  curve (&p, history, G_STRUCT_OFFSET (SumiTrainRow, smooth_loss), 2, DARK);
  return picture;
}
