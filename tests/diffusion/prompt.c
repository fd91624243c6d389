/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The language of prompts.  What is expected was worked out by hand from the grammar in diffusion/prompt.c. */
#include "diffusion/prompt.h"

#include <string.h>

#define BREAK                                                                                                          \
  {                                                                                                                    \
    NULL, 1                                                                                                            \
  }
#define MAX_PARTS 10

typedef struct
{
  const char *text;
  SumiPromptPart parts[MAX_PARTS]; /* up to the first of weight 0 */
} WeightCase;

static SumiPrompt *
parse (const char *text)
{
  g_autoptr (GError) error = NULL;
  SumiPrompt *p = sumi_prompt_parse (text, SUMI_EMPHASIS_ORIGINAL, 0, &error);

  g_assert_no_error (error);
  g_assert_nonnull (p);
  return p;
}

static void
check_parts (const char *text, const SumiPrompt *p, const SumiPromptPart *want)
{
  guint n = 0;

  g_test_message ("%s", text);
  while (n < MAX_PARTS && want[n].weight != 0)
    n++;
  g_assert_cmpuint (p->parts->len, ==, n);
  for (guint i = 0; i < n; i++)
    {
      const SumiPromptPart *got = g_ptr_array_index (p->parts, i);

      g_assert_cmpstr (got->text, ==, want[i].text);
      g_assert_cmpfloat_with_epsilon (got->weight, want[i].weight, 1e-12);
    }
}

static void
check_weights (const WeightCase *cases, gsize n)
{
  for (gsize i = 0; i < n; i++)
    {
      g_autoptr (SumiPrompt) p = parse (cases[i].text);

      check_parts (cases[i].text, p, cases[i].parts);
      g_assert_cmpstr (p->plain, ==, cases[i].text);
      g_assert_cmpuint (p->loras->len, ==, 0);
    }
}

static void
test_weights (void)
{
  static const WeightCase cases[] = {
    { "", { { 0 } } },
    { "a fox", { { "a fox", 1 } } },
    { " a  fox ", { { " a  fox ", 1 } } },
    { "(a)", { { "a", 1.1 } } },
    { "[a]", { { "a", 1 / 1.1 } } },
    { "(a:1.3)", { { "a", 1.3 } } },
    { "(a :1.3)", { { "a ", 1.3 } } },
    { "a (b) c", { { "a ", 1 }, { "b", 1.1 }, { " c", 1 } } },
    { "a (b:1.5)c", { { "a ", 1 }, { "b", 1.5 }, { "c", 1 } } },
    { "((a))", { { "a", 1.1 * 1.1 } } },
    { "(((a)))", { { "a", 1.1 * 1.1 * 1.1 } } },
    { "[[a]]", { { "a", 1 / 1.1 / 1.1 } } },
    { "([a])", { { "a", 1 } } },
    { "((a:1.5) b)", { { "a", 1.5 * 1.1 }, { " b", 1.1 } } },
    { "(a (b:2) c:0.5)", { { "a ", 0.5 }, { "b", 1 }, { " c", 0.5 } } },
    { "(a [b] c:2)", { { "a ", 2 }, { "b", 2 / 1.1 }, { " c", 2 } } },
    { "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
      { { "a ", 1 },
        { "house", 1.3 * 1.1 * 1.1 },
        { " ", 1.1 },
        { "on", 1 },
        { " a ", 1.1 },
        { "hill", 0.5 * 1.1 },
        { ", sun, ", 1.1 },
        { "sky", 1.1 * 1.1 * 1.1 * 1.1 },
        { ".", 1.1 } } },
  };

  check_weights (cases, G_N_ELEMENTS (cases));
}

/* ":NUMBER)" */
static void
test_numbers (void)
{
  static const WeightCase cases[] = {
    { "(a: 1.3 )", { { "a", 1.3 } } },
    { "(a:\t2\n)", { { "a", 2 } } },
    { "(a:+1.5)", { { "a", 1.5 } } },
    { "(a:-0.5)", { { "a", -0.5 } } },
    { "(a:.5)", { { "a", 0.5 } } },
    { "(a:2.)", { { "a", 2 } } },
    { "(a:1.0)", { { "a", 1 } } },
    { "x(a:1.0)y", { { "xay", 1 } } },
    /* no numbers, so that the colon is text and the bracket the plain one */
    { "(a:b)", { { "a:b", 1.1 } } },
    { "(a:)", { { "a:", 1.1 } } },
    { "(a:.)", { { "a:.", 1.1 } } },
    { "(a:1.2.3)", { { "a:1.2.3", 1.1 } } },
    { "(a:1e3)", { { "a:1e3", 1.1 } } },
    { "(a:0x10)", { { "a:0x10", 1.1 } } },
    { "(a:1 2)", { { "a:1 2", 1.1 } } },
    { "(a:--1)", { { "a:--1", 1.1 } } },
    { "(a:+)", { { "a:+", 1.1 } } },
    { "(a:nan)", { { "a:nan", 1.1 } } },
    { "(a:b:1.5)", { { "a:b", 1.5 } } },
    { "(a::1.5)", { { "a:", 1.5 } } },
    /* a number closes round brackets only */
    { "[a:1.5]", { { "a:1.5", 1 / 1.1 } } },
    { "[a:1.5)", { { "a:1.5)", 1 / 1.1 } } },
    { "a:1.5)", { { "a:1.5)", 1 } } },
    { "([a:1.5)]", { { "a", 1.5 / 1.1 } } },
    { "16:9", { { "16:9", 1 } } },
    { "a: b", { { "a: b", 1 } } },
  };

  check_weights (cases, G_N_ELEMENTS (cases));
}

static void
test_unfinished (void)
{
  static const WeightCase cases[] = {
    { "(a", { { "a", 1.1 } } },
    { "((a", { { "a", 1.1 * 1.1 } } },
    { "[a", { { "a", 1 / 1.1 } } },
    { "a (b", { { "a ", 1 }, { "b", 1.1 } } },
    { "a (b [c", { { "a ", 1 }, { "b ", 1.1 }, { "c", 1 } } },
    { "(a (b:2) c", { { "a ", 1.1 }, { "b", 2.2 }, { " c", 1.1 } } },
    { "a)", { { "a)", 1 } } },
    { "a]", { { "a]", 1 } } },
    { ")(a", { { ")", 1 }, { "a", 1.1 } } },
    { "(a]", { { "a]", 1.1 } } },
    { "[a)", { { "a)", 1 / 1.1 } } },
    { "(a [b) c]", { { "a ", 1.1 }, { "b", 1 }, { " c", 1 / 1.1 } } }, /* the two kinds do not nest in each other */
    { "(", { { 0 } } },
    { "()", { { 0 } } },
    { "[()]", { { 0 } } },
    { "(:1.5)", { { 0 } } },
    { "a()b", { { "ab", 1 } } },
    { ":", { { ":", 1 } } },
  };

  check_weights (cases, G_N_ELEMENTS (cases));
}

static void
test_escapes (void)
{
  static const WeightCase cases[] = {
    { "\\(a\\)", { { "(a)", 1 } } },
    { "\\[a\\]", { { "[a]", 1 } } },
    { "a\\\\b", { { "a\\b", 1 } } },
    { "(\\(a\\))", { { "(a)", 1.1 } } },
    { "(a \\(b\\):1.5)", { { "a (b)", 1.5 } } },
    { "(a\\)", { { "a)", 1.1 } } },
    { "\\(a:1.5)", { { "(a:1.5)", 1 } } },
    { "\\\\(a)", { { "\\", 1 }, { "a", 1.1 } } },
    { "a\\b", { { "ab", 1 } } },
    { "a\\", { { "a", 1 } } },
    { "\\", { { 0 } } },
    { "\\:1", { { ":1", 1 } } },
    { "(a\\:1.5)", { { "a", 1.5 } } }, /* the backslash has no hold of a colon */
    { "\\{a|b\\}", { { "{a|b}", 1 } } },
    { "\\# a", { { "# a", 1 } } },
    { "\\<lora:a:1>", { { "<lora:a:1>", 1 } } },
    { "\\é", { { "é", 1 } } },
    { "(a)\\(b)", { { "a", 1.1 }, { "(b)", 1 } } },
    { "(a)\\b(c)", { { "a", 1.1 }, { "b", 1 }, { "c", 1.1 } } },
    { "(a)\\(", { { "a", 1.1 }, { "(", 1 } } },
    { "(a)\\", { { "a", 1.1 } } },
  };

  check_weights (cases, G_N_ELEMENTS (cases));
}

/* Neighbours of equal weight are one part, so that words may join. */
static void
test_merge (void)
{
  static const WeightCase cases[] = {
    { "(a)(b)", { { "ab", 1.1 } } },
    { "(a:2)(b:2)", { { "ab", 2 } } },
    { "(a:2)(b:3)", { { "a", 2 }, { "b", 3 } } },
    { "(a:1)b", { { "ab", 1 } } },
    { "([a:1.1)]b", { { "ab", 1 } } },
    { "water(melon:1)", { { "watermelon", 1 } } },
    { "(a)\\é(b)", { { "a", 1.1 }, { "é", 1 }, { "b", 1.1 } } },
  };

  check_weights (cases, G_N_ELEMENTS (cases));
}

static void
test_break (void)
{
  static const WeightCase cases[] = {
    { "a BREAK b", { { "a", 1 }, BREAK, { "b", 1 } } },
    { "BREAK", { BREAK } },
    { "BREAK a", { BREAK, { "a", 1 } } },
    { "a BREAK", { { "a", 1 }, BREAK } },
    { "a\n BREAK \t b", { { "a", 1 }, BREAK, { "b", 1 } } },
    { "a BREAK BREAK b", { { "a", 1 }, BREAK, BREAK, { "b", 1 } } },
    { "a,BREAK,b", { { "a,", 1 }, BREAK, { ",b", 1 } } },
    { "(a) BREAK (b)", { { "a", 1.1 }, BREAK, { "b", 1.1 } } },
    { "(a BREAK b)", { { "a", 1.1 }, BREAK, { "b", 1.1 } } },
    { "(a:-1) BREAK b", { { "a", -1 }, BREAK, { "b", 1 } } },
    { "(BREAK:1.5)a", { BREAK, { "a", 1 } } },
    { "a:BREAK:b", { { "a:", 1 }, BREAK, { ":b", 1 } } },
    { "BREAKFAST", { { "BREAKFAST", 1 } } },
    { "xBREAK", { { "xBREAK", 1 } } },
    { "_BREAK", { { "_BREAK", 1 } } },
    { "BREAK2", { { "BREAK2", 1 } } },
    { "éBREAK", { { "éBREAK", 1 } } },
    { "BREAKé", { { "BREAKé", 1 } } },
    { "BREAKFAST BREAK x", { { "BREAKFAST", 1 }, BREAK, { "x", 1 } } },
    { "a break b", { { "a break b", 1 } } },
  };

  check_weights (cases, G_N_ELEMENTS (cases));
}

static void
check_plain (const char *text, const char *plain)
{
  g_autoptr (SumiPrompt) p = parse (text);

  g_assert_cmpstr (p->plain, ==, plain);
}

static void
test_comments (void)
{
  static const SumiPromptPart two[] = { { "a ", 1 }, { "b", 1.1 }, { 0 } };
  g_autoptr (SumiPrompt) p = parse ("a # not (this\n(b)#or");

  /* after a closing bracket a '#' is a sign like any other */
  g_assert_cmpstr (p->plain, ==, "a \n(b)#or");
  check_plain ("# all of it", "");
  check_plain ("#all of it", "");
  check_plain ("a\n# b\nc", "a\n\nc");
  check_plain ("a\r\n#b\r\nc", "a\r\n\r\nc");
  check_plain ("a #b", "a ");
  check_plain ("a\t# b # c\nd", "a\t\nd");
  check_plain ("a\u00a0#b", "a\u00a0");
  check_plain ("c# f#", "c# f#");
  check_plain ("a##b", "a##b");
  check_plain ("a # {b|\nc}", "a \nc}");
  check_plain ("<lora:a#b:1>x", "x");
  check_plain ("# <lora:a:1>\nx", "\nx");
  check_plain ("a\\ #b", "a\\ ");
  check_plain ("a \\#b", "a \\#b");
  g_clear_pointer (&p, sumi_prompt_free);
  p = parse ("a # (c)\n(b) # d");
  g_assert_cmpuint (p->parts->len, ==, 3);
  g_clear_pointer (&p, sumi_prompt_free);
  p = parse ("a (b)# d");
  g_assert_cmpuint (p->parts->len, ==, 3);
  g_ptr_array_set_size (p->parts, 2);
  check_parts ("a (b)# d", p, two);
}

/* ---- choices ---- */

/* Which of the n texts the seed gives. */
static guint
chosen (const char *text, guint64 seed, const char *const *options)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiPrompt) p = sumi_prompt_parse (text, SUMI_EMPHASIS_NO_NORM, seed, &error);
  guint i = 0;

  g_assert_no_error (error);
  while (options[i] != NULL && strcmp (options[i], p->plain) != 0)
    i++;
  if (options[i] == NULL)
    g_error ("%s with seed %" G_GUINT64_FORMAT " gave '%s'", text, seed, p->plain);
  return i;
}

/* Every option comes, as often as it should: the shares of 4000 seeds within five standard deviations. */
static void
check_choice (const char *text, const char *const *options, const double *shares)
{
  const guint n = 4000;
  guint counts[16] = { 0 };

  for (guint64 seed = 0; seed < n; seed++)
    {
      guint first = chosen (text, seed * seed, options);

      g_assert_cmpuint (chosen (text, seed * seed, options), ==, first);
      counts[first]++;
    }
  for (guint i = 0; options[i] != NULL; i++)
    {
      double deviation = counts[i] - n * shares[i];

      g_test_message ("%s: '%s' %u times", text, options[i], counts[i]);
      g_assert_cmpfloat (deviation * deviation, <=, 25 * n * shares[i] * (1 - shares[i]));
    }
}

static void
test_choices (void)
{
  check_choice ("{a|b}", (const char *[]){ "a", "b", NULL }, (double[]){ 0.5, 0.5 });
  check_choice ("x{a|b|c}y", (const char *[]){ "xay", "xby", "xcy", NULL }, (double[]){ 1. / 3, 1. / 3, 1. / 3 });
  check_choice ("{a|{b|c}}", (const char *[]){ "a", "b", "c", NULL }, (double[]){ 0.5, 0.25, 0.25 });
  check_choice ("{a|}z", (const char *[]){ "az", "z", NULL }, (double[]){ 0.5, 0.5 });
  check_choice ("{a|a|b}", (const char *[]){ "a", "b", NULL }, (double[]){ 2. / 3, 1. / 3 });
  check_choice ("{a|b} {c|d}", (const char *[]){ "a c", "a d", "b c", "b d", NULL },
                (double[]){ 0.25, 0.25, 0.25, 0.25 });
  check_choice ("{x{y}|(b:{1|2})}", (const char *[]){ "x{y}", "(b:1)", "(b:2)", NULL }, (double[]){ 0.5, 0.25, 0.25 });
  check_choice ("{a\\|b|c}", (const char *[]){ "a\\|b", "c", NULL }, (double[]){ 0.5, 0.5 });
  check_choice ("{a|b\\}}", (const char *[]){ "a", "b\\}", NULL }, (double[]){ 0.5, 0.5 });
  check_choice ("\\\\{a|b}", (const char *[]){ "\\\\a", "\\\\b", NULL }, (double[]){ 0.5, 0.5 });
  check_choice ("é{ü|雪}", (const char *[]){ "éü", "é雪", NULL }, (double[]){ 0.5, 0.5 });
}

static void
test_no_choices (void)
{
  static const char *const same[] = { "{a}",   "{}",      "{a",      "{a|b",    "a|b",    "a|b}",          "}a|b{",
                                      "{{a}}", "{a\\|b}", "\\{a|b}", "{a|b\\}", "{{a}|b", "a | b {c} | d", "{a(b)c}" };

  for (gsize i = 0; i < G_N_ELEMENTS (same); i++)
    check_plain (same[i], same[i]);
  /* the inner choice is finished, the brace before it is not */
  chosen ("{x|{a|b}", 1, (const char *[]){ "{x|a", "{x|b", NULL });
}

/* What is chosen is read as if it had been written. */
static void
test_choice_steps (void)
{
  for (guint64 seed = 0; seed < 20; seed++)
    {
      g_autoptr (SumiPrompt) p = sumi_prompt_parse ("{(a)|(a)} {<lora:l:1>|<lora:l:1>} {b BREAK c|b BREAK c}",
                                                    SUMI_EMPHASIS_ORIGINAL, seed, NULL);
      static const SumiPromptPart want[] = { { "a", 1.1 }, { "  b", 1 }, BREAK, { "c", 1 }, { 0 } };

      check_parts ("choices", p, want);
      g_assert_cmpuint (p->loras->len, ==, 1);
    }
}

/* ---- adapters ---- */

static void
test_loras (void)
{
  static const struct
  {
    const char *text, *plain, *name;
    double text_strength, unet_strength;
  } cases[] = {
    { "<lora:fox:0.8>", "", "fox", 0.8, 0.8 },
    { "a <lora:fox:0.8> b", "a  b", "fox", 0.8, 0.8 },
    { "<lora:fox>", "", "fox", 1, 1 },
    { "<lora:fox:1:0.5>", "", "fox", 1, 0.5 },
    { "<lora:fox:-0.5>", "", "fox", -0.5, -0.5 },
    { "<lora:fox:+.5>", "", "fox", 0.5, 0.5 },
    { "<lora: my fox_v1.2 (b) : 2 >x", "x", "my fox_v1.2 (b)", 2, 2 },
    { "<lora:狐:0>", "", "狐", 0, 0 },
    { "(<lora:a:1>:1.2)", "(:1.2)", "a", 1, 1 },
    { "<lora:x <lora:a:1>", "<lora:x ", "a", 1, 1 },
    { "<<lora:a:1>>", "<>", "a", 1, 1 },
    { "\\\\<lora:a:1>", "\\\\", "a", 1, 1 },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (SumiPrompt) p = parse (cases[i].text);
      const SumiPromptLora *l;

      g_test_message ("%s", cases[i].text);
      g_assert_cmpstr (p->plain, ==, cases[i].plain);
      g_assert_cmpuint (p->loras->len, ==, 1);
      l = g_ptr_array_index (p->loras, 0);
      g_assert_cmpstr (l->name, ==, cases[i].name);
      g_assert_cmpfloat (l->text_strength, ==, cases[i].text_strength);
      g_assert_cmpfloat (l->unet_strength, ==, cases[i].unet_strength);
    }
}

static void
test_lora_order (void)
{
  g_autoptr (SumiPrompt) p = parse ("<lora:b:1>x<lora:a:2>y<lora:b:3>");
  static const SumiPromptPart want[] = { { "xy", 1 }, { 0 } };
  static const char *const names[] = { "b", "a", "b" };

  check_parts ("three", p, want);
  g_assert_cmpuint (p->loras->len, ==, 3);
  for (guint i = 0; i < 3; i++)
    {
      const SumiPromptLora *l = g_ptr_array_index (p->loras, i);

      g_assert_cmpstr (l->name, ==, names[i]);
      g_assert_cmpfloat (l->unet_strength, ==, i + 1);
    }
}

/* They stay in the text, where the user sees them. */
static void
test_malformed_loras (void)
{
  static const char *const same[] = { "<lora:>",        "<lora::1>",
                                      "<lora: :1>",     "<lora:a:>",
                                      "<lora:a:x>",     "<lora:a:1",
                                      "<lora:a:1:2:3>", "<lora:a:1e3>",
                                      "<lora:a:1.2.3>", "<lora:a:nan>",
                                      "<lora>",         "<LORA:a:1>",
                                      "< lora:a:1>",    "<lora:a:0x1:1>",
                                      "<lora:a:1:>",    "<lora:",
                                      "<hypernet:a:1>", "<golden-style>",
                                      "<lora:a:inf>",   "<lora:a:1 0>",
                                      "a < b > c",      "<",
                                      "lora:a:1>" };

  for (gsize i = 0; i < G_N_ELEMENTS (same); i++)
    {
      g_autoptr (SumiPrompt) p = parse (same[i]);

      g_test_message ("%s", same[i]);
      g_assert_cmpstr (p->plain, ==, same[i]);
      g_assert_cmpuint (p->loras->len, ==, 0);
    }
}

/* ---- the rest ---- */

static void
test_none (void)
{
  static const char text[] = "a (b:1.5) {c|d} BREAK <lora:e:1> # f\\(";
  g_autoptr (GError) error = NULL;
  g_autoptr (SumiPrompt) p = sumi_prompt_parse (text, SUMI_EMPHASIS_NONE, 1, &error);
  g_autoptr (SumiPrompt) empty = sumi_prompt_parse (NULL, SUMI_EMPHASIS_NONE, 1, &error);
  const SumiPromptPart want[] = { { (char *)text, 1 }, { 0 } };

  g_assert_no_error (error);
  check_parts (text, p, want);
  g_assert_cmpstr (p->plain, ==, text);
  g_assert_cmpuint (p->loras->len, ==, 0);
  g_assert_cmpuint (empty->parts->len, ==, 0);
  g_assert_cmpstr (empty->plain, ==, "");
}

static void
test_null (void)
{
  g_autoptr (SumiPrompt) p = parse (NULL);

  g_assert_cmpuint (p->parts->len, ==, 0);
  g_assert_cmpstr (p->plain, ==, "");
  sumi_prompt_free (NULL);
}

static void
check_refused (const char *text, SumiEmphasis emphasis, SumiError code)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (sumi_prompt_parse (text, emphasis, 0, &error));
  g_assert_error (error, SUMI_ERROR, (gint)code);
}

static char *
repeat (const char *s, guint n, const char *end)
{
  GString *text = g_string_new (NULL);

  while (n-- > 0)
    g_string_append (text, s);
  g_string_append (text, end);
  return g_string_free (text, FALSE);
}

static void
test_limits (void)
{
  static const char *const openings[] = { "(", "[", "([", "{", "(a [b " };
  g_autofree char *longest = repeat ("x", 64 << 10, ""), *longer = repeat ("x", 64 << 10, "x");
  g_autoptr (SumiPrompt) p = parse (longest);

  check_refused (longer, SUMI_EMPHASIS_ORIGINAL, SUMI_ERROR_TOO_LARGE);
  check_refused (longer, SUMI_EMPHASIS_NONE, SUMI_ERROR_TOO_LARGE);
  check_refused ("a\xff", SUMI_EMPHASIS_ORIGINAL, SUMI_ERROR_USAGE);
  check_refused ("a\xff", SUMI_EMPHASIS_NONE, SUMI_ERROR_USAGE);
  for (gsize i = 0; i < G_N_ELEMENTS (openings); i++)
    {
      guint levels = strpbrk (openings[i], "[") != NULL && openings[i][0] == '(' ? 2 : 1;
      g_autofree char *deepest = repeat (openings[i], 256 / levels, "a");
      g_autofree char *deeper = repeat (openings[i], 256 / levels + 1, "a");
      g_autoptr (SumiPrompt) fits = parse (deepest);

      check_refused (deeper, SUMI_EMPHASIS_ORIGINAL, SUMI_ERROR_TOO_LARGE);
    }
}

static void
test_weight_limit (void)
{
  g_autofree char *digits = repeat ("9", 400, ")"), *infinite = g_strconcat ("(a:", digits, NULL);
  g_autofree char *levels = repeat ("(", 256, "a"), *powers = repeat (":1000)", 256, "");
  g_autofree char *product = g_strconcat (levels, powers, NULL);
  g_autoptr (SumiPrompt) p = parse ("(a:1000000000000)(b:-1000000000000)");
  /* more than a double holds is no number */
  g_autoptr (SumiPrompt) text = parse (infinite);

  g_assert_cmpuint (p->parts->len, ==, 2);
  g_assert_cmpfloat (((SumiPromptPart *)g_ptr_array_index (text->parts, 0))->weight, ==, 1.1);
  check_refused ("(a:1000000000001)", SUMI_EMPHASIS_ORIGINAL, SUMI_ERROR_USAGE);
  check_refused ("(a:-1000000000001)", SUMI_EMPHASIS_ORIGINAL, SUMI_ERROR_USAGE);
  check_refused (product, SUMI_EMPHASIS_ORIGINAL, SUMI_ERROR_USAGE);
}

static void
test_emphasis_names (void)
{
  g_autoptr (GError) error = NULL;

  for (guint i = SUMI_EMPHASIS_ORIGINAL; i <= SUMI_EMPHASIS_NONE; i++)
    {
      SumiEmphasis e = (SumiEmphasis)99;

      g_assert_true (sumi_emphasis_parse (sumi_emphasis_name ((SumiEmphasis)i), &e, NULL));
      g_assert_cmpint (e, ==, i);
    }
  g_assert_false (sumi_emphasis_parse ("loud", &(SumiEmphasis){ 0 }, &error));
  g_assert_error (error, SUMI_ERROR, SUMI_ERROR_USAGE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/prompt/weights", test_weights);
  g_test_add_func ("/prompt/numbers", test_numbers);
  g_test_add_func ("/prompt/unfinished", test_unfinished);
  g_test_add_func ("/prompt/escapes", test_escapes);
  g_test_add_func ("/prompt/merge", test_merge);
  g_test_add_func ("/prompt/break", test_break);
  g_test_add_func ("/prompt/comments", test_comments);
  g_test_add_func ("/prompt/choices", test_choices);
  g_test_add_func ("/prompt/no-choices", test_no_choices);
  g_test_add_func ("/prompt/choice-steps", test_choice_steps);
  g_test_add_func ("/prompt/loras", test_loras);
  g_test_add_func ("/prompt/lora-order", test_lora_order);
  g_test_add_func ("/prompt/malformed-loras", test_malformed_loras);
  g_test_add_func ("/prompt/none", test_none);
  g_test_add_func ("/prompt/null", test_null);
  g_test_add_func ("/prompt/limits", test_limits);
  g_test_add_func ("/prompt/weight-limit", test_weight_limit);
  g_test_add_func ("/prompt/emphasis-names", test_emphasis_names);
  return g_test_run ();
}
