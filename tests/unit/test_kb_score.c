/* test_kb_score.c - the details that decide which of several complaints is the cause: place in the log,
 * chains, scope, what a group captured, the stage a line comes from, roles, the attempt's own counts and what
 * people said. On a small knowledge base of its own, without a text model. */
#include "data.h"
#include "kb.h"
#include "model.h"
#include <setjmp.h>
#include <cmocka.h>

#define A "mobile/a/first"
#define B "mobile/a/second"
#define S "server/s/only"

static const char knowledge[] =
    "{\"version\":1,\"entries\":[],\"nodes\":["
    "{\"id\":\"mobile\",\"taxonomy\":\"deployment\",\"title\":\"M\"},{\"id\":\"mobile/a\",\"taxonomy\":\"deployment\",\"title\":\"a\",\"parent\":\"mobile\"},"
    "{\"id\":\"" A "\",\"taxonomy\":\"deployment\",\"title\":\"f\",\"parent\":\"mobile/a\",\"share\":10},"
    "{\"id\":\"" B "\",\"taxonomy\":\"deployment\",\"title\":\"s\",\"parent\":\"mobile/a\",\"share\":10},"
    "{\"id\":\"server\",\"taxonomy\":\"deployment\",\"title\":\"S\"},{\"id\":\"server/s\",\"taxonomy\":\"deployment\",\"title\":\"s\",\"parent\":\"server\"},"
    "{\"id\":\"" S
    "\",\"taxonomy\":\"deployment\",\"title\":\"o\",\"parent\":\"server/s\",\"share\":10}],\"indicators\":["
    "{\"id\":\"t/alpha\",\"pattern\":\"alpha trouble\",\"weights\":{\"mobile\":{\"" A
    "\":0.9}},\"specificity\":0.9,\"summary\":\"alpha\"},"
    "{\"id\":\"t/beta\",\"pattern\":\"beta trouble\",\"weights\":{\"mobile\":{\"" B
    "\":0.9}},\"specificity\":0.9,\"summary\":\"beta\"},"
    "{\"id\":\"t/echo\",\"pattern\":\"echo trouble\",\"role\":\"consequence\",\"weights\":{\"mobile\":{\"" B
    "\":0.95}},\"specificity\":0.95,\"summary\":\"echo\"},"
    "{\"id\":\"t/weak\",\"pattern\":\"weak trouble\",\"role\":\"consequence\",\"weights\":{\"mobile\":{\"" A
    "\":0.8}},\"specificity\":0.45,\"summary\":\"weak\"},"
    "{\"id\":\"t/hint\",\"pattern\":\"hint trouble\",\"role\":\"context\",\"weights\":{\"mobile\":{\"" B
    "\":0.9}},\"specificity\":0.9,\"summary\":\"hint\"},"
    "{\"id\":\"t/noise\",\"pattern\":\"beta trouble \\\\(ignored\\\\)\",\"role\":\"benign\",\"summary\":\"noise\"},"
    "{\"id\":\"t/op\",\"pattern\":\"no op (?<op>[A-Z]+) version (?<v>\\\\d+)\",\"weights\":{\"mobile@verify\":{\"" B
    "\":0.9},\"mobile\":{\"" A "\":0.9},\"server\":{\"" S "\":0.9}},"
    "\"specificity\":0.9,\"summary\":\"{op} has no version {v} on {platform}\"},"
    "{\"id\":\"t/old\",\"pattern\":\"gamma trouble\",\"scope\":{\"versions\":{\"tensorflow\":\"<2.0\"},\"tool\":[\"toco\"]},\"weights\":{\"mobile\":{\"" B
    "\":0.9}},\"specificity\":0.9,\"summary\":\"old\"}]}";
static struct ptl_kb *kb;

static json_t *diagnose(const char *facts_text, const struct ptl_kb_log *logs, size_t n)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *facts = json_loads(facts_text, 0, NULL);
    json_t *d = NULL;
    assert_non_null(facts);
    assert_int_equal(ptl_kb_diagnose(kb, facts, logs, n, &d, &err), 0);
    return d;
}

static const json_t *ranked(const json_t *d, size_t i)
{
    return json_array_get(json_object_get(d, "ranked"), i);
}

static void of_several_complaints_the_cause_comes_first(void **state PTL_UNUSED)
{
    static const struct {
        const char *label, *log, *expect;
    } t[] = {
        {"what came after the last thing that went well", "alpha trouble\nBUILD SUCCESSFUL\nbeta trouble\n",
         B                                                                                                                                    },
        {"the same the other way round",                  "beta trouble\nBUILD SUCCESSFUL\nalpha trouble\n",                                 A},
        {"said while another error was handled",
         "RuntimeError: beta trouble\n\nDuring handling of the above exception, another exception occurred:\n\nValueError: alpha trouble\n",
         B                                                                                                                                    },
        {"said while another error was handled, swapped",
         "RuntimeError: alpha trouble\n\nDuring handling of the above exception, another exception occurred:\n\nValueError: beta trouble\n",
         A                                                                                                                                    },
        {"the cause that Java names last",
         "java.lang.RuntimeException: alpha trouble\n\tat x.Y.z(Y.java:1)\nCaused by: java.io.IOException: beta trouble\n",
         B                                                                                                                                    },
        {"the cause that Java names last, swapped",
         "java.lang.RuntimeException: beta trouble\n\tat x.Y.z(Y.java:1)\nCaused by: java.io.IOException: alpha trouble\n",
         A                                                                                                                                    },
        {"a consequence yields to a cause",               "echo trouble\necho trouble\nalpha trouble\n",                                     A},
        {"a consequence counts where no cause speaks",    "echo trouble\n",                                                                  B},
        {"context proves nothing alone",                  "hint trouble\nalpha trouble\n",                                                   A},
        {"a harmless line silences what reads it",        "beta trouble (ignored)\nalpha trouble\n",                                         A},
        {"repeating does not make it truer",
         "beta trouble\nBUILD SUCCESSFUL\nbeta trouble (ignored)\nalpha trouble\n",                                                          A},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_kb_log one = {.text = t[i].log, .len = strlen(t[i].log)};
        PTL_JSON *d = diagnose("{\"platform\":\"mobile\",\"kind\":\"verify\"}", &one, 1);
        const char *first = ptl_json_str(ranked(d, 0), "id", "");
        if (strcmp(first, t[i].expect) != 0)
            fail_msg("%s: expected %s, the answer is %s", t[i].label, t[i].expect, first);
    }
}

static void the_same_words_by_place_and_what_they_captured(void **state PTL_UNUSED)
{
    static const struct {
        const char *facts, *expect, *summary;
    } t[] = {
        {"{\"platform\":\"mobile\",\"kind\":\"verify\"}",  B, "CONV has no version 5 on mobile"},
        {"{\"platform\":\"mobile\",\"kind\":\"convert\"}", A, "CONV has no version 5 on mobile"},
        {"{\"platform\":\"server\",\"kind\":\"verify\"}",  S, "CONV has no version 5 on server"},
    };
    struct ptl_kb_log one = {.text = "no op CONV version 5\n", .len = 21};
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_JSON *d = diagnose(t[i].facts, &one, 1);
        assert_string_equal(ptl_json_str(ranked(d, 0), "id", ""), t[i].expect);
        assert_string_equal(ptl_json_str(json_array_get(json_object_get(d, "challenges"), 0), "summary", ""),
                            t[i].summary);
    }
}

static void scope_silences_or_weakens(void **state PTL_UNUSED)
{
    struct ptl_kb_log one = {.text = "gamma trouble\n", .len = 14};
    static const char *const facts[] = {
        "{\"platform\":\"mobile\",\"tool\":\"toco 1.15\",\"environment\":{\"tensorflow\":\"1.15\"}}",
        "{\"platform\":\"mobile\",\"tool\":\"litert\",\"environment\":{\"tensorflow\":\"1.15\"}}",
        "{\"platform\":\"mobile\",\"tool\":\"toco\",\"environment\":{\"tensorflow\":\"2.16\"}}",
    };
    double p[3];
    for (size_t i = 0; i < 3; i++) {
        PTL_JSON *d = diagnose(facts[i], &one, 1);
        p[i] = 0;
        for (size_t k = 0; k < json_array_size(json_object_get(d, "ranked")); k++)
            if (ptl_str_eq(ptl_json_str(ranked(d, k), "id", ""), B))
                p[i] = ptl_json_num(ranked(d, k), "p", 0);
    }
    assert_true(p[0] > p[1] && p[1] > p[2]); /* in scope; another tool: half; another version: silent */
}

/* What is found is not yet what is listened to. */
static void heard_is_what_scope_and_weights_let_through(void **state PTL_UNUSED)
{
    static const char log[] = "gamma trouble\nno op CONV version 5\nbeta trouble (ignored)\n";
    static const struct {
        const char *label, *facts;
        size_t found, heard;
        double old; /* weight of t/old; 0: silent */
    } t[] = {
        {"in scope",                   "{\"platform\":\"mobile\",\"tool\":\"toco 1.15\"}",                    3, 2, 1  },
        {"another tool: half",         "{\"platform\":\"mobile\",\"tool\":\"litert\"}",                       3, 2, 0.5},
        {"another version",            "{\"platform\":\"mobile\",\"environment\":{\"tensorflow\":\"2.16\"}}", 3, 1, 0  },
        {"a platform without weights", "{\"platform\":\"browser\"}",                                          3, 0, 0  },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_JSON *facts = json_loads(t[i].facts, 0, NULL);
        PTL_JSON *found = NULL;
        PTL_JSON *heard = NULL;
        assert_int_equal(ptl_kb_matches(kb, facts, log, strlen(log), &found, NULL), 0);
        assert_int_equal(ptl_kb_heard(kb, facts, log, strlen(log), &heard, NULL), 0);
        double old = ptl_json_num(json_object_get(heard, "t/old"), "weight", 0);
        if (json_object_size(found) != t[i].found || json_object_size(heard) != t[i].heard ||
            old < t[i].old - 0.01 || old > t[i].old + 0.01)
            fail_msg("%s: %zu found, %zu heard, t/old with %g", t[i].label, json_object_size(found),
                     json_object_size(heard), old);
    }
}

/* A verify that fails on what the convert already complained of: the answer names the convert. */
static void an_earlier_stage_competes_and_is_named(void **state PTL_UNUSED)
{
    struct ptl_kb_log logs[] = {
        {.stage = "verify/android",  .kind = "verify",  .text = "outputs differ\n",    .len = 15},
        {.stage = "convert/android", .kind = "convert", .text = "no op X version 2\n", .len = 18},
    };
    PTL_JSON *d = diagnose("{\"platform\":\"mobile\",\"kind\":\"verify\"}", logs, 2);
    const json_t *first = json_array_get(json_object_get(d, "challenges"), 0);
    assert_string_equal(ptl_json_str(first, "came_in", ""), "convert/android");
    assert_string_equal(ptl_json_str(ranked(d, 0), "id", ""), A); /* by what it means in a convert */
    logs[0].text = "alpha trouble\n";
    logs[0].len = 14;
    PTL_JSON *own = diagnose(
        "{\"platform\":\"mobile\",\"kind\":\"verify\"}",
        (struct ptl_kb_log[]){
            logs[0], {.stage = "convert/android", .kind = "convert", .text = "beta trouble\n", .len = 13}
    },
        2);
    assert_string_equal(ptl_json_str(ranked(own, 0), "id", ""),
                        A); /* the failed stage's own word weighs more */
}

/* What one log says at its end of what came before or comes next is about that log only. */
static void the_end_of_one_log_is_not_about_the_next(void **state PTL_UNUSED)
{
    static const struct {
        const char *own, *earlier;
    } t[] = {
        {"quiet\n",                                                               "beta trouble\n"                    },
        {"During handling of the above exception, another exception occurred:\n", "beta trouble\n"                    },
        {"beta trouble\n",                                                        "quiet\nCaused by: an older thing\n"},
        {"beta trouble\n",                                                        "quiet\n"                           },
    };
    double score[4];
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_kb_log logs[] = {
            {.stage = "verify/android",  .kind = "verify", .text = t[i].own, .len = strlen(t[i].own)},
            {.stage = "convert/android",
             .kind = "convert",
             .text = t[i].earlier,
             .len = strlen(t[i].earlier)                                                            },
        };
        PTL_JSON *d = diagnose("{\"platform\":\"mobile\",\"kind\":\"verify\"}", logs, 2);
        score[i] = ptl_json_num(json_array_get(json_object_get(d, "evidence"), 0), "score", 0);
        assert_string_equal(ptl_json_str(ranked(d, 0), "id", ""), B);
    }
    assert_true(score[0] > 0.6 && score[1] > score[0] - 0.001 && score[1] < score[0] + 0.001);
    assert_true(score[3] > 0.8 && score[2] > score[3] - 0.001 && score[2] < score[3] + 0.001);
}

static void own_history_and_people_move_the_answer(void **state PTL_UNUSED)
{
    struct ptl_kb_log one = {.text = "nothing known\n", .len = 14};
    PTL_JSON *counts = diagnose("{\"platform\":\"mobile\",\"counts\":{\"" B "\":40}}", &one, 1);
    assert_string_equal(ptl_json_str(ranked(counts, 0), "id", ""), B);
    PTL_JSON *said =
        diagnose("{\"platform\":\"mobile\",\"counts\":{\"" B "\":40},\"feedback\":{\"" A "\":1}}", &one, 1);
    assert_string_equal(ptl_json_str(ranked(said, 0), "id", ""), A);
}

/* A model that saw B most of the time, in words that no log here has. Caller frees. */
static void *model_of_other_words(size_t *ret_len)
{
    static const char *const texts[] = {"zeta was refused", "omega was refused"};
    struct ptl_kb_case cases[24] = {0};
    struct ptl_error err = PTL_ERROR_INIT;
    void *model = NULL;
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        cases[i].label = i % 8 ? B : A;
        cases[i].weight = 1;
        ptl_kb_features_add(&cases[i].f, "", texts[i % 8 > 0], strlen(texts[i % 8 > 0]), 1);
        ptl_kb_features_finish(&cases[i].f);
    }
    assert_int_equal(ptl_kb_train(cases, PTL_ARRAY_LEN(cases), &(struct ptl_kb_train_options){.min_cases = 1},
                                  &model, ret_len, &err),
                     0);
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        ptl_kb_features_done(&cases[i].f);
    return model;
}

static void what_the_model_has_no_words_for_it_does_not_decide(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_kb *with = NULL;
    size_t len = 0;
    PTL_FREE void *model = model_of_other_words(&len);
    PTL_JSON *doc = json_loads(knowledge, 0, NULL);
    assert_int_equal(ptl_kb_new(doc, model, len, &with, &err), 0);
    struct ptl_kb_log one = {.text = "weak trouble\n", .len = 13};
    PTL_JSON *facts = json_loads("{\"platform\":\"mobile\",\"kind\":\"verify\"}", 0, NULL);
    PTL_JSON *d = NULL;
    assert_int_equal(ptl_kb_diagnose(with, facts, &one, 1, &d, &err), 0);
    assert_string_equal(ptl_json_str(ranked(d, 0), "id", ""), A);
    assert_string_equal(ptl_json_str(d, "state", ""), "unclear"); /* "it failed" says nothing of why */
    json_object_set_new(facts, "feedback", json_pack("{s:f}", B, 0.67));
    PTL_JSON *said = NULL;
    assert_int_equal(ptl_kb_diagnose(with, facts, &one, 1, &said, &err), 0);
    ptl_kb_free(with);
    assert_string_equal(ptl_json_str(ranked(said, 0), "id", ""), B);
    assert_string_equal(ptl_json_str(said, "state", ""), "diagnosed"); /* people did */
}

/* The prior weighs by itself where a stage failed, where a person asks, and where only a piece was pasted. */
static void what_is_asked_and_what_is_pasted_have_priors_of_their_own(void **state PTL_UNUSED)
{
    static const struct {
        const char *param, *kind, *log;
    } t[] = {
        {"prior",        "verify", "weak trouble\n"                                               },
        {"prior_pasted", NULL,     "weak trouble\n"                                               },
        {"prior_asked",  NULL,     "How do I get rid of this?\nweak trouble\nI tried all of it.\n"},
    };
    struct ptl_error err = PTL_ERROR_INIT;
    size_t len = 0;
    PTL_FREE void *model = model_of_other_words(&len); /* without one, params are not looked at */
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++)
        for (size_t k = 0; k < PTL_ARRAY_LEN(t); k++) {
            PTL_JSON *doc = json_loads(knowledge, 0, NULL);
            PTL_JSON *d = NULL;
            PTL_JSON *facts = json_pack("{s:s,s:s*,s:{s:i}}", "platform", "mobile", "kind", t[k].kind,
                                        "counts", B, 1000000);
            struct ptl_kb *one = NULL;
            struct ptl_kb_log log = {.text = t[k].log, .len = strlen(t[k].log)};
            json_object_set_new(
                doc, "params",
                json_pack("{s:f,s:f,s:f}", "prior", 0.0, "prior_asked", 0.0, "prior_pasted", 0.0));
            json_object_set_new(json_object_get(doc, "params"), t[i].param, json_real(9));
            assert_int_equal(ptl_kb_new(doc, model, len, &one, &err), 0);
            assert_int_equal(ptl_kb_diagnose(one, facts, &log, 1, &d, &err), 0);
            ptl_kb_free(one);
            /* the indicator says A, a million failures of this project say B */
            if (!ptl_str_eq(ptl_json_str(ranked(d, 0), "id", ""), i == k ? B : A))
                fail_msg("%s alone weighs, %s: %s", t[i].param, t[k].param,
                         ptl_json_str(ranked(d, 0), "id", ""));
        }
}

/* The scan looks for less than the pattern says (engine.c): what it leaves away at a pattern's beginning must
 * cost no line, and add none. */
static void a_pattern_is_found_whatever_it_begins_with(void **state PTL_UNUSED)
{
    static const struct {
        const char *pattern, *yes, *no;
    } t[] = {
        {"[\\w./:-]{0,120}(?:shard\\d|weights)[ :]{1,4}404", "models/group1-shard4: 404",
         "models/shard: 404"                                                                                     },
        {"(?<name>[a-z.]+): unbound variable",               "setup: path.x: unbound variable",
         "setup: 7: unbound variable"                                                                            },
        {"(?:\\w+\\.)+(?<method>getLayer) is",               "abc.def.getLayer is",             "getLayer is"    },
        {"(?:[a-z]+-){2}stop",                               "ab-cd-stop",                      "ab-stop"        },
        {"(?:\\d+|[a-z]*)-ended",                            "x-ended",                         "x-ending"       },
        {"(?:(?:[a-z]*|\\d{1,3}) )?x?done with",             "done with",                       "don with"       },
        {"[]x-]+ closed",                                    "]-x closed",                      "y closed"       },
        {"\\x01?\\.{0,3}dotted line",                        "...dotted line",                  "...dottedline"  },
        {"\\[{1,2}bracket\\]",                               "[bracket]",                       "bracket]"       },
        {"s?\\bword by itself",                              "word by itself",                  "aword by itself"},
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_JSON *doc = json_loads(knowledge, 0, NULL);
        PTL_JSON *facts = json_loads("{\"platform\":\"mobile\"}", 0, NULL);
        PTL_JSON *found = NULL;
        struct ptl_kb *one = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        PTL_FREE char *log = ptl_xasprintf("%s\nquiet\n%s\n", t[i].no, t[i].yes);
        json_object_set_new(doc, "indicators",
                            json_pack("[{s:s,s:s,s:{s:{s:f}},s:f}]", "id", "t/one", "pattern", t[i].pattern,
                                      "weights", "any", A, 0.9, "specificity", 0.9));
        if (ptl_kb_new(doc, NULL, 0, &one, &err) < 0 ||
            ptl_kb_matches(one, facts, log, strlen(log), &found, &err) < 0)
            fail_msg("%s: %s", t[i].pattern, err.text);
        ptl_kb_free(one);
        const json_t *lines = json_object_get(found, "t/one");
        if (json_array_size(lines) != 1 || json_integer_value(json_array_get(lines, 0)) != 3)
            fail_msg("%s: found on %zu lines, the first %d", t[i].pattern, json_array_size(lines),
                     (int)json_integer_value(json_array_get(lines, 0)));
    }
}

/* Where nobody says which stage failed, a line that asks makes the text a person's: what is no deployment
 * challenge is then less likely. */
static void four_words_and_a_question_mark_are_a_question(void **state PTL_UNUSED)
{
    static const struct {
        const char *log;
        bool asks;
    } t[] = {
        {"why does it fail?",   true },
        {"a b c d?",            true },
        {"why does it fail.",   false},
        {"it fails thus?",      false},
        {"why does it 'fail'?", false},
        {"why  does it?",       false},
        {"a\nb c d?",           false},
        {"?",                   false},
        {" why does it fail?",  false},
    };
    PTL_JSON *doc = json_loads(knowledge, 0, NULL);
    struct ptl_error err = PTL_ERROR_INIT;
    struct ptl_kb *with = NULL;
    PTL_JSON *other = json_loads("[{\"id\":\"infra\",\"taxonomy\":\"job-failures\",\"title\":\"I\"},"
                                 "{\"id\":\"infra/disk\",\"taxonomy\":\"job-failures\",\"title\":\"d\","
                                 "\"parent\":\"infra\"}]",
                                 0, NULL);
    PTL_JSON *facts = json_loads("{\"platform\":\"mobile\"}", 0, NULL);
    json_array_extend(json_object_get(doc, "nodes"), other);
    assert_int_equal(ptl_kb_new(doc, NULL, 0, &with, &err), 0);
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_kb_log one = {.text = t[i].log, .len = strlen(t[i].log)};
        PTL_JSON *d = NULL;
        assert_int_equal(ptl_kb_diagnose(with, facts, &one, 1, &d, &err), 0);
        if (ptl_str_eq(ptl_json_str(ranked(d, 0), "id", ""), "infra/disk") == t[i].asks)
            fail_msg("%s: taken for %s question", t[i].log, t[i].asks ? "no" : "a");
    }
    ptl_kb_free(with);
}

static void ranges_of_versions(void **state PTL_UNUSED)
{
    static const struct {
        const char *range, *version;
        bool well_formed, in;
    } t[] = {
        {">=1.2 <2.0", "1.15.5",  true,  true },
        {">=1.2 <2.0", "2.0",     true,  false},
        {"<1.10",      "1.9",     true,  true },
        {"1.2",        "1.2.0",   true,  true },
        {"==1.4",      "1.4.1",   true,  false},
        {"2.*",        "2.19.1",  true,  true },
        {"==2.*",      "20.1",    true,  false},
        {"<2.0",       "nightly", true,  true },
        {">=1,<3",     "v2.1",    true,  true },
 /* a family has nothing before or behind it */
        {">=2.*",      "3.0",     false, true },
        {"2.*.1",      "2.0.1",   false, true },
        {"~=2.0",      "2.1",     false, true },
        {"",           "1.0",     false, true },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        PTL_JSON *problems = json_array();
        PTL_JSON *made = NULL;
        PTL_JSON *doc = json_loads(knowledge, 0, NULL);
        PTL_JSON *one =
            json_pack("{s:s,s:s,s:s,s:{s:{s:f}},s:f,s:b,s:[],s:{s:{s:s}}}", "id", "t/one", "pattern",
                      "some trouble", "summary", "x", "weights", "any", A, 0.9, "specificity", 0.9,
                      "transient", 0, "sources", "scope", "versions", "tensorflow", t[i].range);
        int r = ptl_kb_indicator_check(doc, "here", one, problems, &made);
        if ((r == 0) != t[i].well_formed)
            fail_msg("%s: %s", t[i].range, r == 0 ? "taken" : json_string_value(json_array_get(problems, 0)));
        if (ptl_kb_version_in(t[i].version, t[i].range) != t[i].in)
            fail_msg("%s: %s is %sin it", t[i].range, t[i].version, t[i].in ? "not " : "");
    }
}

static void numbers_of_the_weighing_are_bounded(void **state PTL_UNUSED)
{
    static const struct {
        const char *text;
        size_t problems;
        const char *say;
    } t[] = {
        {"version: 1\nrules: 2.4\nasked: -6\n", 0, NULL                      },
        {"rules: 1.0e+300\n",                   1, "a number, from -100"     },
        {"slope: -101\n",                       1, "a number, from -100"     },
        {"slope: x\n",                          1, "a number, from -100"     },
        {"slope: -0.70\n",                      1, "without zeros at its end"},
        {"- slope: 0.7\n",                      1, "expected a map"          },
        {"slopes: 0.7\n",                       1, "unknown key 'slopes'"    },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(t); i++) {
        struct ptl_kb_file file = {"model/params.yml", t[i].text, strlen(t[i].text)};
        PTL_JSON *problems = json_array();
        PTL_JSON *doc = NULL;
        assert_int_equal(ptl_kb_data_read(&(struct ptl_kb_files){&file, 1}, problems, &doc), 0);
        if (json_array_size(problems) != t[i].problems)
            fail_msg("%s: %zu problems", t[i].text, json_array_size(problems));
        if (t[i].say && !strstr(json_string_value(json_array_get(problems, 0)), t[i].say))
            fail_msg("%s: %s", t[i].text, json_string_value(json_array_get(problems, 0)));
    }
}

static int make_kb(void **state PTL_UNUSED)
{
    struct ptl_error err = PTL_ERROR_INIT;
    PTL_JSON *doc = json_loads(knowledge, 0, NULL);
    if (!doc || ptl_kb_new(doc, NULL, 0, &kb, &err) < 0) {
        print_message("%s\n", err.text);
        return -1;
    }
    return 0;
}
static int free_kb(void **state PTL_UNUSED)
{
    kb = ptl_kb_free(kb);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_several_complaints_the_cause_comes_first),
        cmocka_unit_test(the_same_words_by_place_and_what_they_captured),
        cmocka_unit_test(scope_silences_or_weakens),
        cmocka_unit_test(heard_is_what_scope_and_weights_let_through),
        cmocka_unit_test(an_earlier_stage_competes_and_is_named),
        cmocka_unit_test(what_the_model_has_no_words_for_it_does_not_decide),
        cmocka_unit_test(a_pattern_is_found_whatever_it_begins_with),
        cmocka_unit_test(four_words_and_a_question_mark_are_a_question),
        cmocka_unit_test(the_end_of_one_log_is_not_about_the_next),
        cmocka_unit_test(ranges_of_versions),
        cmocka_unit_test(numbers_of_the_weighing_are_bounded),
        cmocka_unit_test(own_history_and_people_move_the_answer),
        cmocka_unit_test(what_is_asked_and_what_is_pasted_have_priors_of_their_own),
    };
    return cmocka_run_group_tests(tests, make_kb, free_kb);
}
