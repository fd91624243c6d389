/* SPDX-License-Identifier: GPL-3.0-or-later */
/* UniPC (Zhao et al. 2023, algorithm 5 to 8; predictions of x_0, B(h) = e^h - 1 ("bh2")), of order 1 to 3.  In each
 * step the last prediction first corrects the x it was made at (UniC), then x is moved on (UniP).  With m_0 the D at
 * the start of a move from s to n, m_k those before, alpha and sigma of the variance-preserving view, h the step in
 * lambda, r_k = (lambda_k - lambda_s) / h, g = expm1 (-h): x_n = sigma_n / sigma_s x_s - alpha_n g m_0 - alpha_n g
 * sum_k rho_k (m_k - m_0) / r_k where rho solves sum_k r_k^(i-1) rho_k = b_i for i = 1 … p; the corrector has m_n, with
 * r = 1, among the m_k. b_i = i! phi_(i+1) / g with phi_1 = g, phi_(i+1) = phi_i / (-h) - 1 / i! */
#include "diffusion/sampler-private.h"

#include <math.h>
#include <string.h>

#define MAX_ORDER 3

/* sum_k r_k^(i-1) rho_k = b_i: elimination; n is at most 3 and the r differ. */
static void
solve (guint n, const double *r, const double *b, double *rho)
{
  double m[MAX_ORDER][MAX_ORDER + 1];

  for (guint i = 0; i < n; i++)
    {
      for (guint k = 0; k < n; k++)
        m[i][k] = pow (r[k], i);
      m[i][n] = b[i];
    }
  /* the leading minors of this matrix are not 0 where the r differ */
  for (guint p = 0; p < n; p++)
    for (guint i = p + 1; i < n; i++)
      {
        double f = m[i][p] / m[p][p];

        for (guint k = p; k <= n; k++)
          m[i][k] -= f * m[p][k];
      }
  for (guint i = n; i-- > 0;)
    {
      rho[i] = m[i][n];
      for (guint k = i + 1; k < n; k++)
        rho[i] -= m[i][k] * rho[k];
      rho[i] /= m[i][i];
    }
}

static void
fill_b (double h, guint n, double *b)
{
  double hh = -h, g = expm1 (hh), phi = g / hh - 1.0, factorial = 1.0;

  for (guint i = 0; i < n; i++)
    {
      b[i] = phi * factorial / g;
      factorial *= i + 2;
      phi = phi / hh - 1.0 / factorial;
    }
}

/* From the start of step `step` to its end: out (may be x) from x and history[0…], and the prediction at the end where
 * it is known already. */
static void
move (SumiSampler *s, guint step, guint order, const float *x, const float *at_end, float *out)
{
  const SumiNoiseLevel *from = &s->steps[step].from, *to = &s->steps[step].to;
  double h = sumi_sampler_lambda_step (from->sigma, to->sigma), alpha = sqrt (to->alphas_cumprod), g = expm1 (-h);
  double c_x = alpha / sqrt (from->alphas_cumprod) * to->sigma / from->sigma, c_0 = -alpha * g;
  double r[MAX_ORDER], b[MAX_ORDER], rho[MAX_ORDER];
  SumiTerm terms[MAX_ORDER + 2] = { { c_x, x } };
  guint n = order - 1, used = 2;

  for (guint k = 0; k < n; k++)
    r[k] = -sumi_sampler_lambda_step (s->steps[step - k - 1].from.sigma, from->sigma) / h;
  if (at_end != NULL)
    r[n++] = 1.0;
  if (n == 1)
    rho[0] = 0.5; /* the authors' choice in place of the solution */
  else if (n > 1)
    {
      fill_b (h, n, b);
      solve (n, r, b, rho);
    }
  for (guint k = 0; k < n; k++)
    {
      double c = -alpha * g * rho[k] / r[k];

      terms[used++] = (SumiTerm){ c, at_end != NULL && k == n - 1 ? at_end : s->history[k + 1] };
      c_0 -= c;
    }
  terms[1] = (SumiTerm){ c_0, s->history[0] };
  sumi_sampler_sum (s, out, terms, used);
}

static void
step (SumiSampler *s, const SumiSamplerInput *in, float *x)
{
  guint i = in->call->step;

  if (s->n_history > 0)
    move (s, i - 1, s->last_order, s->saved, s->x_start, x);
  sumi_sampler_remember (s, s->x_start);
  memcpy (s->saved, x, s->o.n_values * sizeof *x);
  s->last_order = MIN (MIN (s->o.order, s->n_steps - i), s->n_history);
  move (s, i, s->last_order, x, NULL, x);
}

const SumiSamplerClass sumi_sampler_unipc_class = { .name = "unipc",
                                                    .walk = SUMI_WALK_MULTISTEP,
                                                    .saves = TRUE,
                                                    .rounds_karras = TRUE,
                                                    .eta = -1,
                                                    .order = 2,
                                                    .max_order = MAX_ORDER,
                                                    .n_history = MAX_ORDER,
                                                    .step = step };
