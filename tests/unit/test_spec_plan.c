/* test_spec_plan.c - the plan of good pipeline files: defaults, matrix, order, the words of other tools, and
 * which pushes start a run. */
#include <portolan/spec.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#define HEAD    "version: 1\nmodel: m\n"
#define EXPORT  "export: {uses: keras/saved-model}\n"
#define TARGETS "targets:\n  web: {host: browser, verify: {uses: tfjs/run}}\n"

static struct ptl_spec *parse(const char *yaml)
{
    struct ptl_spec *spec = NULL;
    struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    int r = ptl_spec_parse(yaml, strlen(yaml), NULL, &spec, &diags);
    PTL_FREE char *text = ptl_spec_diags_text(&diags);
    if (r < 0)
        fail_msg("%s", text);
    ptl_spec_diags_done(&diags);
    return spec;
}

static const json_t *stage(const struct ptl_spec *s, const char *name)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(ptl_spec_plan(s), "stages"), i,
                       v) if (ptl_str_eq(ptl_json_str(v, "name", NULL), name)) return v;
    fail_msg("no stage %s", name);
    return NULL;
}

static void equal(const json_t *j, const char *expected)
{
    PTL_FREE char *text = ptl_json_text(j);
    assert_string_equal(text, expected);
}

/* The names of all stages in the plan's order. */
static void order(const struct ptl_spec *s, const char *expected)
{
    PTL_BUF b = PTL_BUF_INIT;
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(ptl_spec_plan(s), "stages"), i, v)
        ptl_buf_printf(&b, "%s%s", i ? " " : "", ptl_json_str(v, "name", "?"));
    assert_string_equal(ptl_buf_str(&b), expected);
}

/* The example of the design, word for word. */
static const char design[] =
    "version: 1\n"
    "model: digits\n"
    "on: {push: {branches: [main, \"release/*\"], tags: [\"v*\"]}}\n"
    "\n"
    "export:                                  # once, on a server host\n"
    "  uses: keras/saved-model                # a recipe …\n"
    "  with: {script: export.py}\n"
    "  timeout: 20m\n"
    "\n"
    "targets:\n"
    "  server:\n"
    "    host: server\n"
    "    verify: {uses: tf-serving/predict, expect: {max_abs_error: 1e-5, latency_p95: 20ms}}\n"
    "  android:\n"
    "    host: mobile\n"
    "    convert: {uses: tensorflow/tflite, with: {quantize: int8, representative: golden}}\n"
    "    verify: {uses: litert/run, expect: {top1_agreement: 0.99, artifact_size: 200KiB}}\n"
    "  web:\n"
    "    host: browser\n"
    "    convert: {run: [\"./to-tfjs.sh\"], toolchain: tensorflow}   # … or any command of the repo's own\n"
    "    verify: {uses: tfjs/run, with: {backend: wasm}, expect: {max_abs_error: 1e-4}}\n";

static void the_example_of_the_design(void **state)
{
    (void)state;
    PTL_CLEANUP(ptl_spec_freep) struct ptl_spec *s = parse(design);
    const json_t *plan = ptl_spec_plan(s);
    assert_string_equal(ptl_json_str(plan, "model", ""), "digits");
    equal(
        json_object_get(plan, "on"),
        "{\"manual\":true,\"push\":{\"branches\":[\"main\",\"release/*\"],\"paths\":[],\"tags\":[\"v*\"]},\"schedule\":[]}");
    equal(json_object_get(plan, "concurrency"),
          "{\"cancel_in_progress\":false,\"group\":null,\"queue\":\"all\"}");
    order(s, "export verify/server convert/android verify/android convert/web verify/web");
    equal(
        stage(s, "export"),
        "{\"allow_failure\":false,\"env\":{},\"expect\":{},\"grace_ms\":10000,\"host\":\"server\",\"kind\":\"export\","
        "\"labels\":[],\"manual\":false,\"matrix\":{},\"model_from\":null,\"model_uses\":null,\"name\":\"export\",\"needs\":[],"
        "\"network\":false,\"outputs\":[],\"precision\":\"auto\",\"queue_timeout_ms\":86400000,"
        "\"retry\":{\"max\":2,\"when\":[\"agent_lost\",\"setup\",\"transient\"]},\"secrets\":[],\"target\":null,"
        "\"timeout_ms\":1200000,\"toolchain\":null,\"total_timeout_ms\":262800000,\"uses\":\"keras/saved-model\","
        "\"with\":{\"script\":\"export.py\"}}");
    const json_t *android = stage(s, "verify/android");
    assert_string_equal(ptl_json_str(android, "host", ""), "mobile");
    assert_int_equal(ptl_json_i64(android, "timeout_ms", 0), 1800000);
    equal(json_object_get(android, "needs"), "[\"convert/android\"]");
    equal(json_object_get(android, "expect"),
          "{\"artifact_bytes\":204800,\"top1_agreement\":0.98999999999999999}");
    equal(json_object_get(android, "model_uses"),
          "{\"uses\":\"tensorflow/tflite\",\"with\":{\"quantize\":\"int8\",\"representative\":\"golden\"}}");
    assert_string_equal(ptl_json_str(stage(s, "verify/server"), "model_from", ""), "export");
    const json_t *web = stage(s, "convert/web");
    equal(json_object_get(web, "run"), "[\"./to-tfjs.sh\"]");
    assert_string_equal(ptl_json_str(web, "toolchain", ""), "tensorflow");
    assert_string_equal(ptl_json_str(web, "host", ""), "server");
    assert_null(json_object_get(web, "uses"));
    equal(json_object_get(stage(s, "verify/web"), "model_uses"), "null");
    assert_true(ptl_json_num(json_object_get(stage(s, "verify/server"), "expect"), "latency_p95_ms", 0) ==
                20);
}

static void words_of_other_tools(void **state)
{
    (void)state;
    PTL_CLEANUP(ptl_spec_freep)
    struct ptl_spec *s = parse(
        HEAD
        "on: [push, workflow_dispatch]\n"
        "variables: {A: root, B: 1, C: yes, D: 3.10, E: ~}\n"
        "runs-on: linux\n"
        "secrets: S1\n"
        "concurrency: {group: 'Deploy-${{ ref }}', queue: single, cancel_in_progress: true}\n"
        "export:\n"
        "  script:\n"
        "    - ./a\n"
        "    - ./b\n"
        "  timeout_in_minutes: 1.5\n"
        "  retry: {limit: 1, when: [runner_system_failure, script_failure, agent_lost]}\n"
        "  environment: {A: own}\n"
        "  tags: [gpu, linux]\n"
        "  soft_fail: true\n"
        "  secrets: [S2, S1]\n"
        "  grace_period: 0\n"
        "targets:\n"
        "  web:\n"
        "    host: browser\n"
        "    failure: ignore\n"
        "    agents: {queue: big}\n"
        "    verify: {commands: ls, when: manual, depends_on: export, network: yes, retry: 0, precision: float16,\n"
        "             expect: {latency_p50: 500us, load_time: 1.5s, peak_memory: 1GiB, top1: 0.5, regression: {load_time: 2}}}\n");
    const json_t *export = stage(s, "export");
    equal(json_object_get(export, "run"), "[\"./a\",\"./b\"]");
    assert_int_equal(ptl_json_i64(export, "timeout_ms", 0), 90000);
    assert_int_equal(ptl_json_i64(export, "grace_ms", -1), 0);
    equal(json_object_get(export, "retry"), "{\"max\":1,\"when\":[\"agent_lost\",\"setup\",\"exit\"]}");
    equal(json_object_get(export, "env"),
          "{\"A\":\"own\",\"B\":\"1\",\"C\":\"yes\",\"D\":\"3.10\",\"E\":\"\"}");
    equal(json_object_get(export, "labels"), "[\"linux\",\"gpu\"]");
    equal(json_object_get(export, "secrets"), "[\"S1\",\"S2\"]");
    assert_true(ptl_json_flag(export, "allow_failure", false));
    const json_t *web = stage(s, "verify/web");
    assert_true(ptl_json_flag(web, "allow_failure", false) && ptl_json_flag(web, "manual", false) &&
                ptl_json_flag(web, "network", false));
    equal(json_object_get(web, "labels"), "[\"linux\",\"queue=big\"]");
    equal(
        json_object_get(web, "expect"),
        "{\"latency_p50_ms\":0.5,\"load_ms\":1500.0,\"peak_memory_bytes\":1073741824,\"regression\":{\"load_ms\":2.0},\"top1_agreement\":0.5}");
    assert_string_equal(ptl_json_str(web, "precision", ""), "fp16");
    assert_int_equal(ptl_json_i64(json_object_get(web, "retry"), "max", -1), 0);
    equal(json_object_get(ptl_spec_plan(s), "concurrency"),
          "{\"cancel_in_progress\":true,\"group\":\"Deploy-${{ ref }}\",\"queue\":\"latest\"}");
    PTL_FREE char *group = ptl_spec_group(s, "refs/heads/Feature/X");
    assert_string_equal(group, "deploy-feature/x");
}

static void a_matrix_multiplies(void **state)
{
    (void)state;
    PTL_CLEANUP(ptl_spec_freep)
    struct ptl_spec *s = parse(
        HEAD EXPORT
        "targets:\n"
        "  web:\n"
        "    host: browser\n"
        "    precision: fp16\n"
        "    matrix:\n"
        "      backend: [wasm, webgl]\n"
        "      batch: [1, 8]\n"
        "      exclude: [{backend: webgl, batch: 8}]\n"
        "      include:\n"
        "        - {backend: wasm, threads: 4}\n"
        "        - {backend: cpu, batch: 1}\n"
        "    convert: {run: 'convert ${{ matrix.backend }} for ${{target}} of ${{ model }}', env: {B: '${{ matrix.batch }}'}}\n"
        "    verify: {uses: 'tfjs/${{ matrix.backend }}', with: {batch: '${{ matrix.batch }}', list: ['b${{ matrix.batch }}']},\n"
        "             outputs: 'model/${{ matrix.backend }}.bin', labels: '${{ matrix.backend }}'}\n"
        "  last: {host: server, needs: [web], verify: {uses: a/b, needs: 'verify/web[backend=cpu,batch=1]'}}\n");
    order(s, "export convert/web[backend=wasm,batch=1,threads=4] verify/web[backend=wasm,batch=1,threads=4] "
             "convert/web[backend=wasm,batch=8,threads=4] verify/web[backend=wasm,batch=8,threads=4] "
             "convert/web[backend=webgl,batch=1] verify/web[backend=webgl,batch=1] "
             "convert/web[backend=cpu,batch=1] verify/web[backend=cpu,batch=1] verify/last");
    const json_t *convert = stage(s, "convert/web[backend=webgl,batch=1]");
    equal(json_object_get(convert, "run"), "[\"convert webgl for web of m\"]");
    equal(json_object_get(convert, "env"), "{\"B\":\"1\"}");
    const json_t *verify = stage(s, "verify/web[backend=wasm,batch=8,threads=4]");
    equal(json_object_get(verify, "with"),
          "{\"batch\":8,\"list\":[\"b8\"]}"); /* a whole value keeps its type */
    equal(json_object_get(verify, "outputs"), "[\"model/wasm.bin\"]");
    equal(json_object_get(verify, "labels"), "[\"wasm\"]");
    equal(json_object_get(verify, "matrix"), "{\"backend\":\"wasm\",\"batch\":8,\"threads\":4}");
    equal(json_object_get(verify, "needs"), "[\"convert/web[backend=wasm,batch=8,threads=4]\"]");
    assert_string_equal(ptl_json_str(verify, "uses", ""), "tfjs/wasm");
    assert_string_equal(ptl_json_str(verify, "precision", ""), "fp16");
    assert_string_equal(ptl_json_str(verify, "target", ""), "web");
    equal(
        json_object_get(stage(s, "verify/last"), "needs"),
        "[\"export\",\"verify/web[backend=wasm,batch=1,threads=4]\",\"verify/web[backend=wasm,batch=8,threads=4]\","
        "\"verify/web[backend=webgl,batch=1]\",\"verify/web[backend=cpu,batch=1]\"]");
}

static void needs_change_the_order(void **state)
{
    (void)state;
    PTL_CLEANUP(ptl_spec_freep)
    struct ptl_spec *s = parse(
        HEAD EXPORT "targets:\n"
                    "  a: {host: server, when: manual, needs: c, convert: {uses: a/b}, verify: {uses: a/b}}\n"
                    "  b: {host: server, verify: {uses: a/b, needs: [convert/c]}}\n"
                    "  c: {host: mobile, convert: {uses: a/b}, verify: {uses: a/b}}\n");
    order(s, "export convert/c verify/b verify/c convert/a verify/a");
    equal(json_object_get(stage(s, "convert/a"), "needs"), "[\"export\",\"verify/c\"]");
    equal(json_object_get(stage(s, "verify/a"), "needs"), "[\"convert/a\"]");
    assert_true(
        ptl_json_flag(stage(s, "convert/a"), "manual", false)); /* the gate stands before the target, once */
    assert_false(ptl_json_flag(stage(s, "verify/a"), "manual", true));
}

static void anchors_and_merge_keys(void **state)
{
    (void)state;
    PTL_CLEANUP(ptl_spec_freep)
    struct ptl_spec *s = parse(HEAD EXPORT "targets:\n"
                                           "  a: &base\n"
                                           "    host: server\n"
                                           "    verify: &v {uses: a/b, timeout: 5m}\n"
                                           "  b: *base\n"
                                           "  c: {<<: *base, host: mobile, verify: {<<: *v, timeout: 6m}}\n");
    order(s, "export verify/a verify/b verify/c");
    assert_string_equal(ptl_json_str(stage(s, "verify/b"), "host", ""), "server");
    assert_string_equal(ptl_json_str(stage(s, "verify/c"), "host", ""), "mobile");
    assert_int_equal(ptl_json_i64(stage(s, "verify/c"), "timeout_ms", 0), 360000);
}

static void which_pushes_start_a_run(void **state)
{
    (void)state;
    static const char *const docs[] = {"docs/a.md", "README.md"}, *const code[] = {"docs/a.md",
                                                                                   "src/model.py"};
    static const struct {
        const char *on, *ref;
        const char *const *paths;
        size_t n;
        const char *why_not; /* NULL: starts */
    } cases[] = {
  /* clang-format off */
        {"", "refs/heads/any/thing", NULL, 0, NULL},
        {"", "refs/tags/v1", NULL, 0, NULL},
        {"", "refs/notes/x", NULL, 0, "neither a branch nor a tag"},
        {"on: push\n", "refs/heads/x", NULL, 0, NULL},
        {"on: manual\n", "refs/heads/x", NULL, 0, "pushes do not start runs here (on has no push)"},
        {"on: {push: {branches: [main, 'release/*']}}\n", "refs/heads/main", NULL, 0, NULL},
        {"on: {push: {branches: [main, 'release/*']}}\n", "refs/heads/release/1", NULL, 0, NULL},
        {"on: {push: {branches: [main, 'release/*']}}\n", "refs/heads/release/1/x", NULL, 0,
         "the branch is not among on.push.branches"},
        {"on: {push: {branches: [main, 'release/*']}}\n", "refs/tags/v1", NULL, 0,
         "the tag is not among on.push.tags"},
        {"on: {push: {tags: 'v*'}}\n", "refs/tags/v1", NULL, 0, NULL},
        {"on: {push: {tags: 'v*'}}\n", "refs/heads/main", NULL, 0,
         "the branch is not among on.push.branches"},
        {"on: {push: {branches: ['**', '!wip/**', wip/keep]}}\n", "refs/heads/wip/x", NULL, 0,
         "the branch is not among on.push.branches"},
        {"on: {push: {branches: ['**', '!wip/**', wip/keep]}}\n", "refs/heads/wip/keep", NULL, 0, NULL},
        {"on: {push: {branches: '!wip/**'}}\n", "refs/heads/main", NULL, 0, NULL},
        {"on: {push: {branches-ignore: 'wip/**'}}\n", "refs/heads/wip/x", NULL, 0,
         "the branch is not among on.push.branches"},
        {"on: {push: {branches-ignore: 'wip/**'}}\n", "refs/heads/main", NULL, 0, NULL},
        {"on: {push: {paths: 'src/**'}}\n", "refs/heads/main",        docs, 2,
         "no changed file is among on.push.paths"},
        {"on: {push: {paths: 'src/**'}}\n", "refs/heads/main",        code, 2, NULL},
        {"on: {push: {paths: 'src/**'}}\n", "refs/heads/main", NULL, 0, NULL},
        {"on: {push: {paths: 'src/**'}}\n", "refs/heads/main",        docs, 0,
         "no changed file is among on.push.paths"},
        {"on: {push: {paths: 'src/**'}}\n", "refs/tags/v1",           docs, 2, NULL},
        {"on: {push: {paths-ignore: ['docs/**', '*.md']}}\n", "refs/heads/main",        docs, 2,
         "no changed file is among on.push.paths"},
        {"on: {push: {paths-ignore: ['docs/**', '*.md']}}\n", "refs/heads/main",        code, 2, NULL},
  /* clang-format on */
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        PTL_FREE char *yaml = ptl_xasprintf(HEAD "%s" EXPORT TARGETS, cases[i].on);
        PTL_CLEANUP(ptl_spec_freep) struct ptl_spec *s = parse(yaml);
        const char *why = NULL;
        bool starts = ptl_spec_on_push(s, cases[i].ref, cases[i].paths, cases[i].n, &why);
        if (starts != (cases[i].why_not == NULL) || !ptl_str_eq(why, cases[i].why_not))
            fail_msg("%s%s: %d '%s'", cases[i].on, cases[i].ref, starts, why ? why : "");
    }
}

static void schedules(void **state)
{
    (void)state;
    PTL_CLEANUP(ptl_spec_freep)
    struct ptl_spec *s = parse(
        HEAD "on: {manual: no, schedule: ['*/15 0-6 * * 1,3,5', {cron: '5 4 1 1 0', branch: main}]}\n" EXPORT
            TARGETS);
    equal(json_object_get(ptl_spec_plan(s), "on"),
          "{\"manual\":false,\"push\":null,\"schedule\":[{\"branch\":null,\"cron\":\"*/15 0-6 * * 1,3,5\"},"
          "{\"branch\":\"main\",\"cron\":\"5 4 1 1 0\"}]}");
    static const char *const bad[] = {"* * * * 8",   "60 * * * *",  "* 24 * * *",  "* * 0 * *",  "* * * 13 *",
                                      "*/0 * * * *", "5-1 * * * *", "1,, * * * *", "1, * * * *", "a * * * *",
                                      "* * * *",     "* * * * * *", "-1 * * * *",  "1-x * * * *"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(bad); i++) {
        PTL_FREE char *yaml = ptl_xasprintf(HEAD "on: {schedule: '%s'}\n" EXPORT TARGETS, bad[i]);
        struct ptl_spec *none = NULL;
        struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
        if (ptl_spec_parse(yaml, strlen(yaml), NULL, &none, &diags) != -EINVAL)
            fail_msg("'%s' was taken", bad[i]);
        ptl_spec_diags_done(&diags);
    }
}

static void messages_that_skip(void **state)
{
    (void)state;
    static const char *const skip[] = {"fix [skip ci]", "[CI SKIP]", "a\n\n[no ci]\n", "[skip portolan] x"};
    static const char *const run[] = {"", "skip ci", "[skip-ci]", "[skip  ci]"};
    for (size_t i = 0; i < PTL_ARRAY_LEN(skip); i++)
        assert_true(ptl_commit_message_skips(skip[i]));
    for (size_t i = 0; i < PTL_ARRAY_LEN(run); i++)
        assert_false(ptl_commit_message_skips(run[i]));
    assert_false(ptl_commit_message_skips(NULL));
}

static void recipes_are_checked(void **state)
{
    (void)state;
    static const char recipes[] =
        "[{\"name\":\"keras/saved-model\",\"kind\":\"export\",\"host\":\"server\",\"parameters\":{\"script\":{\"type\":\"path\",\"required\":true,"
        "\"help\":\"the script\"},\"opset\":{\"type\":\"integer\",\"min\":7,\"max\":17},\"deep\":{\"type\":\"boolean\"},\"names\":{\"type\":\"list\"},"
        "\"q\":{\"type\":\"enum\",\"values\":[\"none\",\"int8\"]}}},"
        "{\"name\":\"tfjs/run\",\"kind\":\"verify\",\"host\":\"browser\"},{\"name\":\"litert/run\",\"kind\":\"verify\",\"host\":\"mobile\"}]";
    static const struct {
        const char *yaml, *expected;
    } cases[] = {
  /* clang-format off */
        {HEAD
         "export: {uses: keras/saved-model, with: {script: e.py, opset: 17, deep: true, names: [a], q: int8}}\n" TARGETS,
         ""},
        {HEAD "export: {uses: keras/savd-model}\n" TARGETS,
         "f:3:10: export.uses: there is no recipe 'keras/savd-model'; did you mean 'keras/saved-model'?\n"},
        {HEAD EXPORT TARGETS,
         "f:3:1: export: the recipe 'keras/saved-model' requires the parameter 'script'; expected the script\n"},
        {HEAD "export: {uses: keras/saved-model, with: {scrpt: 1, script: x}}\n" TARGETS,
         "f:3:42: export.with.scrpt: the recipe 'keras/saved-model' has no such parameter; expected one of script, opset, deep, names, q; did you "
         "mean 'script'?\n"},
        {HEAD
         "export: {uses: keras/saved-model, with: {script: x, opset: 18, deep: 1, names: x, q: int9}}\n" TARGETS,
         "f:3:53: export.with.opset: 18 does not fit; expected a number from 7 to 17\n"
         "f:3:64: export.with.deep: the value does not fit; expected true or false\n"
         "f:3:73: export.with.names: the value does not fit; expected a list\n"
         "f:3:83: export.with.q: 'int9' does not fit; expected one of none, int8; did you mean 'int8'?\n"},
        {HEAD "export: {uses: tfjs/run}\n" TARGETS,
         "f:3:10: export.uses: the recipe 'tfjs/run' is for verify, not for export\n"},
        {HEAD "export: {run: x}\ntargets: {w: {host: browser, verify: {uses: litert/run}}}\n",
         "f:4:39: targets.w.verify.uses: the recipe 'litert/run' runs on a mobile host, this stage on a browser one\n"},
  /* clang-format on */
    };
    PTL_JSON *list = NULL;
    assert_int_equal(ptl_json_parse(recipes, strlen(recipes), "recipes", &list, NULL), 0);
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
        struct ptl_spec *s = NULL;
        assert_int_equal(ptl_spec_parse(cases[i].yaml, strlen(cases[i].yaml), "f", &s, &diags), 0);
        int r = ptl_spec_check_recipes(s, list, &diags);
        PTL_FREE char *text = ptl_spec_diags_text(&diags);
        assert_string_equal(text, cases[i].expected);
        assert_int_equal(r, *text ? -EINVAL : 0);
        ptl_spec_free(s);
        ptl_spec_diags_done(&diags);
    }
}

/* Gates that stand on risk: before every stage of a target, one's own word first, approvers go with them. */
static void gates_by_risk(void **state PTL_UNUSED)
{
    PTL_CLEANUP(ptl_spec_freep)
    struct ptl_spec *s = parse(
        HEAD
        "export: {uses: keras/saved-model, when: risk > 30%, approvers: grace}\n"
        "targets:\n"
        "  a: {host: server, when: risk > 0.4, approvers: [ada, bob], convert: {uses: a/b}, verify: {uses: a/b, when: on-success}}\n"
        "  b: {host: server, when: manual, approvers: ada, convert: {uses: a/b}, verify: {uses: a/b, when: risk>.25}}\n"
        "  c: {host: server, verify: {uses: a/b}}\n");
    static const struct {
        const char *name;
        double above;
        bool manual;
        const char *approvers;
    } wanted[] = {
        {"export",    0.3,  false, "[\"grace\"]"      },
        {"convert/a", 0.4,  false, "[\"ada\",\"bob\"]"},
        {"verify/a",  -1,   false, NULL               },
        {"convert/b", -1,   true,  "[\"ada\"]"        },
        {"verify/b",  0.25, false, "[\"ada\"]"        },
        {"verify/c",  -1,   false, NULL               },
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(wanted); i++) {
        const json_t *j = stage(s, wanted[i].name);
        if (ptl_json_num(j, "gate_risk", -1) != wanted[i].above ||
            ptl_json_flag(j, "manual", false) != wanted[i].manual)
            fail_msg("%s: gate_risk %g, manual %d", wanted[i].name, ptl_json_num(j, "gate_risk", -1),
                     ptl_json_flag(j, "manual", false));
        if (wanted[i].approvers)
            equal(json_object_get(j, "approvers"), wanted[i].approvers);
        else
            assert_null(json_object_get(j, "approvers"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_by_risk),
        cmocka_unit_test(the_example_of_the_design),
        cmocka_unit_test(words_of_other_tools),
        cmocka_unit_test(a_matrix_multiplies),
        cmocka_unit_test(needs_change_the_order),
        cmocka_unit_test(anchors_and_merge_keys),
        cmocka_unit_test(which_pushes_start_a_run),
        cmocka_unit_test(schedules),
        cmocka_unit_test(messages_that_skip),
        cmocka_unit_test(recipes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
