/* test_risk.c - the numbers of daemon/risk: golden values, limits (nothing known, much known), what a diff
 * means, playing back. */
#include "risk.h"
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

static void near(const char *what, double got, double wanted)
{
    if (!(fabs(got - wanted) < 1e-6))
        fail_msg("%s: %.9f, expected %.9f", what, got, wanted);
}

static json_t *parse(const char *text)
{
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);
    if (!j)
        fail_msg("%s", e.text);
    return j;
}

/* Worked out by hand from the formula in risk.h. */
static void golden(void **state PTL_UNUSED)
{
    static const struct {
        const char *label;
        struct ptl_risk_evidence e;
        double org, own, p;
    } cases[] = {
        {"nothing known: the prior",                     {.base = 0.2},                                   0.2,  0.2,     0.2        },
 /* (4·0.2 + 6) / (4 + 16) = 0.34, and nothing of its own */
        {"the organisation only",                        {.base = 0.2, .org_n = 16, .org_red = 6},        0.34, 0.34,    0.34       },
 /* (4·0.2 + 1) / (4 + 2) = 0.3; worth five: (5·0.3 + 2) / (5 + 4) = 0.38888… */
        {"a small organisation and a project",
         {.base = 0.2, .org_n = 2, .org_red = 1, .own_n = 4, .own_red = 2},
         0.3,                                                                                                   3.5 / 9,
         3.5 / 9                                                                                                                    },
 /* last_red without counts: (0.40/0.14)^0.7 = 2.085222…; odds 0.25·2.085222 */
        {"a factor by its default",
         {.base = 0.2, .bits = 1u << PTL_RISK_LAST_RED, .known = 1u << PTL_RISK_LAST_RED},
         0.2,                                                                                                   0.2,
         0.342669869                                                                                                                },
 /* absent: ((1-.4)/(1-.14))^0.7 = 0.777244… */
        {"a factor that is not so",                      {.base = 0.2, .known = 1u << PTL_RISK_LAST_RED}, 0.2,  0.2,     0.162697022},
 /* counted: red (20·.22+30)/(20+40), green (20·.09+10)/(20+400): 8.257… times, held at 8 */
        {"a factor by its counts, held at 8",
         {.base = 0.2,
          .bits = 2,
          .known = 2,
          .known_red[1] = 40,
          .known_ok[1] = 400,
          .with_red[1] = 30,
          .with_ok[1] = 10},
         0.2,                                                                                                   0.2,
         2.0 / 3                                                                                                                    },
 /* pre-flight is counted in full and beside the others: .30/.01 = 30; odds .25·30 = 7.5 */
        {"what pre-flight says, by its default",
         {.base = 0.2, .bits = 1u << PTL_RISK_ERROR, .known = 1u << PTL_RISK_ERROR},
         0.2,                                                                                                   0.2,
         7.5 / 8.5                                                                                                                  },
 /* counted where it was known: red (20·.3+0)/(20+0), green (20·.01+40)/(20+80): 0.3/0.402 */
        {"and by its counts: it was wrong too often",
         {.base = 0.2,
          .bits = 1u << PTL_RISK_ERROR,
          .known = 1u << PTL_RISK_ERROR,
          .known_ok[PTL_RISK_ERROR] = 80,
          .with_ok[PTL_RISK_ERROR] = 40},
         0.2,                                                                                                   0.2,
         0.25 * 0.3 / 0.402 / (1 + 0.25 * 0.3 / 0.402)                                                                              },
 /* what was never known of a factor says nothing of it, however many outcomes there are of others */
        {"outcomes of before it was known do not count",
         {.base = 0.2,
          .bits = 1u << PTL_RISK_ERROR,
          .known = 1u << PTL_RISK_ERROR,
          .known_ok[0] = 4000,
          .known_red[0] = 100},
         0.2,                                                                                                   0.2,
         7.5 / 8.5                                                                                                                  },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct ptl_risk_steps s;
        ptl_risk_p(&cases[i].e, &s);
        near(cases[i].label, s.org, cases[i].org);
        near(cases[i].label, s.own, cases[i].own);
        near(cases[i].label, s.p, cases[i].p);
    }
}

static void limits(void **state PTL_UNUSED)
{
    struct ptl_risk_steps s;
    struct ptl_risk_evidence always = {
        .base = 0.2, .org_n = 2000, .org_red = 2000, .own_n = 10, .own_red = 10};
    ptl_risk_p(&always, &s);
    assert_true(s.p > 0.99 && s.p < 1);
    struct ptl_risk_evidence never = {.base = 0.2, .org_n = 2000, .own_n = 10};
    ptl_risk_p(&never, &s);
    assert_true(s.p > 0 && s.p < 0.01);
    /* much of its own outweighs whatever the others do */
    struct ptl_risk_evidence own = {.base = 0.2, .org_n = 2000, .org_red = 1900, .own_n = 10, .own_red = 0};
    ptl_risk_p(&own, &s);
    assert_true(s.org > 0.9 && s.p < 0.5);
    /* all factors at once stay within the bound */
    struct ptl_risk_evidence all = {.base = 0.2, .bits = 0xff, .known = 0xff}; /* all but pre-flight */
    ptl_risk_p(&all, &s);
    assert_true(s.clipped);
    near("eight times the odds", s.p / (1 - s.p), 8 * 0.25);
}

static const char nodes[] =
    "[{\"id\":\"mobile/model-conversion/procedure\",\"title\":\"Procedure\",\"share\":3.0,\"minutes\":600},"
    "{\"id\":\"mobile/inference-speed\",\"title\":\"Inference speed\",\"share\":1.0,\"minutes\":453775.6},"
    "{\"id\":\"server/model-export/procedure\",\"title\":\"Procedure\",\"share\":4.0,\"minutes\":60},"
    "{\"id\":\"mobile/model-conversion\",\"title\":\"Model Conversion\",\"share\":null,\"minutes\":null}]";

static void shares(void **state PTL_UNUSED)
{
    PTL_JSON *n = parse(nodes);
    near("convert, mobile", ptl_risk_stage_share(n, "mobile", "convert"), 0.75);
    near("verify, mobile", ptl_risk_stage_share(n, "mobile", "verify"), 0.25);
    near("export, server", ptl_risk_stage_share(n, "server", "export"), 0.8);
    assert_true(ptl_risk_stage_share(n, "browser", "verify") < 0);
    near("base", ptl_risk_base(0.75), 0.3);
    near("base of the unknown", ptl_risk_base(-1), 0.4 / 3);
    near("never nought", ptl_risk_base(0), 0.01);
}

static const json_t *term_of(const json_t *risk, const char *name)
{
    size_t i;
    json_t *t;
    json_array_foreach(json_object_get(risk, "terms"), i,
                       t) if (ptl_str_eq(ptl_json_str(t, "name", ""), name)) return t;
    return NULL;
}

static void one_stage_with_its_reasons(void **state PTL_UNUSED)
{
    PTL_FREE char *text = ptl_xasprintf(
        "{\"nodes\":%s,\"org\":[{\"kind\":\"convert\",\"platform\":\"mobile\",\"n\":16,\"red\":6}],"
        "\"project\":[{\"kind\":\"convert\",\"target\":\"android\",\"runs\":2,\"n\":1.9,\"red\":0.9,\"last_ok\":true}],"
        "\"factors\":{\"ok\":0,\"red\":0,\"with_ok\":[],\"with_red\":[]},"
        "\"challenges\":[{\"kind\":\"convert\",\"platform\":\"mobile\",\"id\":\"infra/disk-full\",\"org\":5,\"own\":5}],"
        "\"hours\":[{\"id\":\"mobile/model-conversion/procedure\",\"n\":2,\"ln\":0}],\"before\":[]}",
        nodes);
    PTL_JSON *inputs = parse(text);
    PTL_JSON *stage =
        parse("{\"name\":\"convert/android\",\"kind\":\"convert\",\"target\":\"android\",\"with\":{}}");
    PTL_JSON *facts = parse("{\"changed\":[\"requirements.txt\"],\"n_changed\":1}");
    PTL_JSON *r = ptl_risk_weigh(inputs, stage, "mobile", facts);
    /* prior .3: (4·.3+6)/20 = .36; (5·.36 + .9)/6.9 */
    near("project", ptl_json_num(term_of(r, "project"), "value", 0), round((1.8 + 0.9) / 6.9 * 1e4) / 1e4);
    assert_non_null(term_of(r, "environment_changed"));
    assert_non_null(strstr(ptl_json_str(term_of(r, "environment_changed"), "why", ""), "requirements.txt"));
    assert_null(term_of(r, "exporter_changed"));
    assert_null(term_of(r, "first_time"));
    assert_string_equal(ptl_json_str(json_array_get(json_object_get(r, "likely"), 0), "challenge_id", ""),
                        "mobile/model-conversion/procedure");
    /* m = 20/25 and 5/25; weight 10: q = (8+0)/15, (2+5)/15.  h: (2·ln 10 + 0)/4 → sqrt(10); a day */
    near("q", ptl_json_num(json_array_get(json_object_get(r, "likely"), 1), "p", 0),
         round(7.0 / 15 * 1e4) / 1e4);
    near("hours", ptl_json_num(r, "hours", 0),
         round(exp(8.0 / 15 * log(sqrt(10)) + 7.0 / 15 * log(24)) * 1e4) / 1e4);
    assert_true(fabs(ptl_json_num(r, "cost", 0) - ptl_json_num(r, "p", 0) * ptl_json_num(r, "hours", 0)) <
                1e-3);
    PTL_JSON *bare = json_object();
    PTL_JSON *unknown = ptl_risk_weigh(bare, stage, "mobile", NULL);
    assert_non_null(unknown); /* nothing at all is known: still an answer, which says so */
    assert_non_null(term_of(unknown, "diff_unknown"));
    assert_non_null(term_of(unknown, "first_time"));
}

/* What pre-flight found of a stage raises it, is named, and is what will likely be wrong; the stage beside it
 * is weighed as ever. */
static void what_preflight_says(void **state PTL_UNUSED)
{
    PTL_FREE char *text = ptl_xasprintf(
        "{\"nodes\":%s,\"preflight\":[{\"name\":\"convert/phone\",\"looked\":true,\"errors\":2,\"warnings\":0,"
        "\"findings\":[{\"severity\":\"error\",\"rule\":\"op-unsupported\",\"path\":\"model\",\"message\":\"TFLite has no builtin operator for Dilation2D\","
        "\"challenge_id\":\"mobile/inference-speed\"},{\"severity\":\"error\",\"rule\":\"other\",\"message\":\"x\",\"challenge_id\":\"mobile/inference-speed\"}],"
        "\"operators\":{\"known\":true,\"n\":8,\"bad\":[{\"operator\":\"Dilation2D\",\"why\":\"unsupported\"},{\"operator\":\"Erf\",\"why\":\"rare\"}]}},"
        "{\"name\":\"convert/web\",\"looked\":true,\"errors\":0,\"warnings\":0,\"findings\":[],\"operators\":{\"known\":true,\"n\":0,\"bad\":[]}}]}",
        nodes);
    PTL_JSON *inputs = parse(text);
    PTL_JSON *none = parse(nodes);
    PTL_JSON *blind = json_pack("{s:O}", "nodes", none);
    PTL_JSON *phone = parse("{\"name\":\"convert/phone\",\"kind\":\"convert\",\"target\":\"phone\"}");
    PTL_JSON *web = parse("{\"name\":\"convert/web\",\"kind\":\"convert\",\"target\":\"web\"}");
    PTL_JSON *before = ptl_risk_weigh(blind, phone, "mobile", NULL);
    PTL_JSON *after = ptl_risk_weigh(inputs, phone, "mobile", NULL);
    PTL_JSON *beside = ptl_risk_weigh(inputs, web, "mobile", NULL);
    assert_null(term_of(before, "preflight_error"));
    assert_true(ptl_json_num(after, "p", 0) > 0.7 && ptl_json_num(before, "p", 1) < 0.5);
    const char *what = ptl_json_str(term_of(after, "preflight_error"), "what", "");
    assert_string_equal(what,
                        "pre-flight says that it will fail: op-unsupported, model: TFLite has no builtin "
                        "operator for Dilation2D (and 1 more)");
    what = ptl_json_str(term_of(after, "new_operators"), "what", "");
    assert_non_null(strstr(what, "Dilation2D (the target lacks it), Erf and 6 more"));
    what = ptl_json_str(term_of(after, "new_operators"), "why", "");
    assert_non_null(strstr(what, "Dilation2D (the target lacks it), Erf (rare"));
    assert_non_null(strstr(what, "and 6 more"));
    assert_null(term_of(after, "preflight_warning"));
    assert_null(term_of(beside, "preflight_error"));
    assert_null(term_of(beside, "new_operators"));
    assert_true(ptl_json_num(beside, "p", 1) < ptl_json_num(before, "p", 0));
    /* by the paper it is a quarter of what goes wrong; two findings of one challenge count once: 10 of 14 of
     * this and (20·0)/20 */
    assert_string_equal(ptl_json_str(json_array_get(json_object_get(after, "likely"), 0), "challenge_id", ""),
                        "mobile/inference-speed");
    near("q", ptl_json_num(json_array_get(json_object_get(after, "likely"), 0), "p", 0), 0.5);
    json_int_t bits = ptl_json_i64(after, "bits", 0);
    assert_true(bits >> PTL_RISK_ERROR & 1 && bits >> (16 + PTL_RISK_ERROR) & 1 &&
                bits >> (16 + PTL_RISK_WARNING) & 1 && !(bits >> PTL_RISK_WARNING & 1));
}

static void what_a_diff_means(void **state PTL_UNUSED)
{
    enum {
        EXP = 1 << PTL_RISK_EXPORTER,
        ENV = 1 << PTL_RISK_ENVIRONMENT,
        SPEC = 1 << PTL_RISK_SPEC,
        MODEL = 1 << PTL_RISK_MODEL,
        NONE = 1 << PTL_RISK_NOTHING
    };
    static const struct {
        const char *label, *paths, *stage, *before;
        unsigned bits;
    } cases[] = {
        {"nothing",                         "[]",                             "{\"kind\":\"export\"}",                               NULL, NONE },
        {"nothing but another toolchain",   "[]",                             "{\"kind\":\"export\"}",
         "{\"same\":true,\"same_toolchain\":false}",                                                                                       ENV  },
        {"a page of words",                 "[\"README.md\"]",                "{\"kind\":\"export\"}",                               NULL, 0    },
        {"the script by name",              "[\"tools/conv.rb\"]",
         "{\"kind\":\"convert\",\"run\":[\"ruby tools/conv.rb --x\"]}",                                                              NULL, EXP  },
        {"a name within another",           "[\"conv.rb\"]",                  "{\"kind\":\"convert\",\"run\":[\"ruby myconv.rb\"]}",
         NULL,                                                                                                                             0    },
        {"the recipe's script",             "[\"export.py\"]",
         "{\"kind\":\"export\",\"with\":{\"script\":\"export.py\"}}",                                                                NULL, EXP  },
        {"python elsewhere, for an export", "[\"lib/layers.py\"]",            "{\"kind\":\"export\"}",                               NULL, EXP  },
        {"python elsewhere, for a verify",  "[\"lib/layers.py\"]",            "{\"kind\":\"verify\"}",                               NULL, MODEL},
        {"pins",                            "[\"app/requirements-gpu.txt\"]", "{\"kind\":\"verify\"}",                               NULL, ENV  },
        {"weights",                         "[\"w/model.onnx\"]",             "{\"kind\":\"verify\"}",                               NULL, MODEL},
        {"described differently",           "[\".portolan.yml\"]",            "{\"kind\":\"verify\"}",
         "{\"same\":false,\"same_toolchain\":true}",                                                                                       SPEC },
        {"the file changed, this did not",  "[\".portolan.yml\"]",            "{\"kind\":\"verify\"}",
         "{\"same\":true,\"same_toolchain\":true}",                                                                                        0    },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        PTL_JSON *paths = parse(cases[i].paths);
        PTL_JSON *stage = parse(cases[i].stage);
        PTL_JSON *before = cases[i].before ? parse(cases[i].before) : NULL;
        const char *examples[PTL_RISK_FACTORS] = {0};
        unsigned bits = ptl_risk_diff(paths, stage, before, examples);
        if (bits != cases[i].bits)
            fail_msg("%s: bits %#x, expected %#x", cases[i].label, bits, cases[i].bits);
    }
}

/* A world in which one target fails nine times of ten and the other one in ten: after a while the prediction
 * knows, the base rate never does. */
static void playing_back_tells_good_from_bad(void **state PTL_UNUSED)
{
    enum { N = 400 };
    struct ptl_risk_past past[N] = {0};
    double base[9] = {.1, .1, .1, .1, .1, .1, .1, .1, .1};
    struct ptl_risk_backtest b;
    for (int i = 0; i < N; i++) {
        int cell = i % 2, nth = i / 2;
        past[i] = (struct ptl_risk_past){.kind = 6, .cell = cell, .ok = cell ? nth % 10 == 0 : nth % 10 != 0};
    }
    assert_int_equal(ptl_risk_backtest(past, N, 2, base, &b), 0);
    assert_int_equal(b.all.n, N - 1);
    assert_int_equal(b.skipped, 1);
    assert_true(b.all.brier < 0.13);
    assert_true(b.all.brier_base > 0.24);
    size_t counted = 0;
    for (int k = 0; k < PTL_RISK_BINS; k++)
        counted += b.all.bins[k].n;
    assert_int_equal(counted, b.all.n);
    /* order matters: nothing may look ahead. The first prediction of a cell is the prior's, whatever comes
     * later. */
    struct ptl_risk_past two[2] = {
        {.kind = 0, .cell = 0, .ok = true },
        {.kind = 0, .cell = 0, .ok = false}
    };
    assert_int_equal(ptl_risk_backtest(two, 2, 1, base, &b), 0);
    /* m1 = .4/5 = .08; weight 5: (.4 + 0)/6 = 0.0666…; (1 - p)² */
    near("second from the first only", b.all.brier, pow(1 - 0.4 / 6, 2));
    two[1].cell = 7;
    assert_int_equal(ptl_risk_backtest(two, 2, 1, base, &b), -EINVAL);
    assert_int_equal(ptl_risk_backtest(NULL, 0, 0, base, &b), 0);
    PTL_JSON *j = ptl_risk_backtest_json(&b);
    assert_int_equal(ptl_json_i64(j, "outcomes", -1), 0);
}

/* Made-up history: what was red stays red more often than not, the model changes at random, and nobody ever
 * knows of operators. The first earns its place, the second does not, the third is never so. */
static void terms_earn_their_place(void **state PTL_UNUSED)
{
    enum { N = 6000 };
    struct ptl_risk_past *past = calloc(N, sizeof(*past));
    double base[9] = {.1, .1, .1, .1, .1, .1, .1, .1, .1};
    bool last[7] = {0};
    uint32_t dice = 1;
    struct ptl_risk_backtest b;
    for (int i = 0; i < N; i++) {
        dice = dice * 1664525u + 1013904223u;
        int cell = i % 7;
        bool red = last[cell] ? dice >> 16 & 1 : (dice >> 16) % 10 == 0;
        past[i] = (struct ptl_risk_past){.kind = 6 + cell % 3,
                                         .cell = cell,
                                         .ok = !red,
                                         .known = 1u << PTL_RISK_LAST_RED | 1u << PTL_RISK_MODEL,
                                         .bits = (last[cell] ? 1u << PTL_RISK_LAST_RED : 0) |
                                                 (dice >> 28 & 1 ? 1u << PTL_RISK_MODEL : 0)};
        last[cell] = red;
    }
    assert_int_equal(ptl_risk_backtest(past, N, 7, base, &b), 0);
    free(past);
    size_t on = 0;
    for (int k = 0; k < PTL_RISK_PLATFORMS; k++) {
        assert_true(b.platforms[k].brier < b.platforms[k].brier_base);
        on += b.platforms[k].n;
    }
    assert_int_equal(on, b.all.n);
    const struct ptl_risk_worth *red = &b.terms[PTL_RISK_WITHOUT_FACTOR + PTL_RISK_LAST_RED],
                                *model = &b.terms[PTL_RISK_WITHOUT_FACTOR + PTL_RISK_MODEL],
                                *none = &b.terms[PTL_RISK_WITHOUT_FACTOR + PTL_RISK_OPERATORS];
    assert_true(red->so > N / 10 && red->gain > 2 * red->error);
    near("gain is what the Brier score loses", red->brier - b.all.brier, red->gain);
    assert_true(model->so > N / 3 && !(model->gain > 2 * model->error));
    assert_true(none->so == 0 && none->gain == 0.0 && none->error == 0.0);
    PTL_JSON *j = ptl_risk_backtest_json(&b);
    assert_int_equal(json_array_size(json_object_get(j, "terms")), PTL_RISK_TERMS);
    const json_t *last_red =
        json_array_get(json_object_get(j, "terms"), PTL_RISK_WITHOUT_FACTOR + PTL_RISK_LAST_RED);
    assert_string_equal(ptl_json_str(last_red, "name", ""), "last_red");
    assert_string_equal(ptl_json_str(last_red, "verdict", ""), "earns");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden),
                                       cmocka_unit_test(limits),
                                       cmocka_unit_test(shares),
                                       cmocka_unit_test(one_stage_with_its_reasons),
                                       cmocka_unit_test(what_preflight_says),
                                       cmocka_unit_test(what_a_diff_means),
                                       cmocka_unit_test(playing_back_tells_good_from_bad),
                                       cmocka_unit_test(terms_earn_their_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
