/* test_spec.c - what is wrong with a pipeline file and where: exact line, column and words. And the YAML that
 * is refused before anybody looks at keys. */
#include <portolan/spec.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#define HEAD    "version: 1\nmodel: m\n"
#define EXPORT  "export: {uses: keras/saved-model}\n"
#define TARGETS "targets:\n  web: {host: browser, verify: {uses: tfjs/run}}\n"

static char *findings(const char *text, size_t len, int *ret_code)
{
    struct ptl_spec *spec = NULL;
    struct ptl_spec_diags diags = PTL_SPEC_DIAGS_INIT;
    int r = ptl_spec_parse(text, len, "f", &spec, &diags);
    if ((r == 0) != (spec != NULL) || (r == -EINVAL) != (diags.errors > 0))
        fail_msg("code %d, spec %p, %zu errors", r, (void *)spec, diags.errors);
    char *out = ptl_spec_diags_text(&diags);
    PTL_JSON *json = ptl_spec_diags_json(&diags);
    assert_int_equal(json_array_size(json), diags.n);
    ptl_spec_free(spec);
    ptl_spec_diags_done(&diags);
    *ret_code = r;
    return out;
}

/* The whole text of the findings; "" means accepted without a word. */
static void says(const char *label, const char *yaml, const char *expected)
{
    int r;
    PTL_FREE char *got = findings(yaml, strlen(yaml), &r);
    if (strcmp(got, expected) != 0)
        fail_msg("%s\n--- expected\n%s--- got\n%s--- of\n%s", label, expected, got, yaml);
}

static void keys_and_values(void **state)
{
    (void)state;
    static const struct {
        const char *label, *yaml, *expected;
    } cases[] = {
  /* clang-format off */
        {"fine", HEAD EXPORT TARGETS, ""},
        {"empty map", "{}",
         "f:1:1: the key 'export' is missing; expected once, on a server: the model in a portable form and its golden set\n"
         "f:1:1: the key 'model' is missing; expected the model's name\n"
         "f:1:1: the key 'targets' is missing; expected where the model must work\n"
         "f:1:1: the key 'version' is missing; expected of this file's format: 1\n"},
        {"version", "version: 2\nmodel: m\n" EXPORT TARGETS,
         "f:1:10: version: '2' does not fit; expected 1\n"},
        {"model", "version: 1\nmodel: a b\n" EXPORT TARGETS,
         "f:2:8: model: 'a b' does not fit; expected a name of letters, digits, '.', '_' and '-', at most 100 long\n"},
        {"misspelled", HEAD "exprot: {uses: a/b}\n" TARGETS,
         "f:3:1: exprot: unknown key; expected one of version, model, name, on, env, secrets, labels, concurrency, export, "
         "targets; did you mean 'export'?\n"},
        {"word of others", HEAD "stages: [a]\n" EXPORT TARGETS,
         "f:3:1: stages: not a key of the pipeline file: write export and targets\n"},
        {"twice", HEAD EXPORT "model: n\n" TARGETS, "f:4:1: key 'model' is given twice (first in line 2)\n"},
        {"two words for one", HEAD "env: {A: b}\nvariables: {A: c}\n" EXPORT TARGETS,
         "f:4:1: variables: means the same as 'env', which is given too\n"},
        {"hyphen or underscore", HEAD "export: {uses: a/b, queue_timeout: 1h, queue-timeout: 1h}\n" TARGETS,
         "f:3:40: export.queue-timeout: means the same as 'queue_timeout', which is given too\n"},
        {"uses and run", HEAD "export: {uses: a/b, run: ls}\n" TARGETS,
         "f:3:21: export.run: a stage has a recipe (uses) or commands (run), not both\n"},
        {"nothing to do", HEAD "export: {timeout: 20m}\n" TARGETS,
         "f:3:1: export: nothing to do; expected uses: FAMILY/RECIPE or run: [COMMANDS]\n"},
        {"uses", HEAD "export: {uses: saved-model}\n" TARGETS,
         "f:3:16: export.uses: 'saved-model' does not fit; expected a recipe such as keras/saved-model\n"},
        {"with without recipe", HEAD "export:\n  run: ./x\n  with: {a: 1}\n" TARGETS,
         "f:5:3: export.with: parameters are for recipes (uses); give commands what they need in env\n"},
        {"toolchain of a recipe", HEAD "export: {uses: a/b, toolchain: t}\n" TARGETS,
         "f:3:21: export.toolchain: a recipe brings its own toolchain\n"},
        {"host of a recipe", HEAD "export: {uses: a/b, host: mobile}\n" TARGETS,
         "f:3:21: export.host: a recipe knows its host; only bare commands (run) may name one\n"},
        {"duration", HEAD "export: {uses: a/b, timeout: soon}\n" TARGETS,
         "f:3:30: export.timeout: 'soon' does not fit; expected a duration such as 20m, from 1.0 s to 24h 00m\n"},
        {"duration too long", HEAD "export: {uses: a/b, timeout: 25h}\n" TARGETS,
         "f:3:30: export.timeout: '25h' does not fit; expected a duration such as 20m, from 1.0 s to 24h 00m\n"},
        {"duration too short", HEAD "export: {uses: a/b, timeout: 5ms}\n" TARGETS,
         "f:3:30: export.timeout: '5ms' does not fit; expected a duration such as 20m, from 1.0 s to 24h 00m\n"},
        {"minutes", HEAD "export: {uses: a/b, timeout-minutes: 20m}\n" TARGETS,
         "f:3:38: export.timeout-minutes: '20m' does not fit; expected minutes, at most 1440\n"},
        {"total shorter than one", HEAD "export: {uses: a/b, timeout: 2h, total-timeout: 1h}\n" TARGETS,
         "f:3:34: export.total-timeout: the total is shorter than the timeout of one attempt\n"},
        {"retry", HEAD "export: {uses: a/b, retry: 11}\n" TARGETS,
         "f:3:28: export.retry.max: '11' does not fit; expected a whole number from 0 to 10\n"},
        {"retry when", HEAD "export: {uses: a/b, retry: {max: 1, when: [timeuot]}}\n" TARGETS,
         "f:3:44: export.retry.when[0]: 'timeuot' does not fit; expected one of always, transient, unclear, agent_lost, setup, timeout, "
         "oom, signal, exit, script_failure, runner_system_failure, stuck_or_timeout_failure, job_execution_timeout, "
         "unknown_failure, api_failure, scheduler_failure, data_integrity_failure; did you mean 'timeout'?\n"},
        {"bool", HEAD "export: {uses: a/b, network: maybe}\n" TARGETS,
         "f:3:30: export.network: 'maybe' does not fit; expected true or false\n"},
        {"secret", HEAD "export: {uses: a/b, secrets: [a-b]}\n" TARGETS,
         "f:3:31: export.secrets[0]: 'a-b' does not fit; expected the name of a secret: letters, digits and '_', not beginning "
         "with PORTOLAN_\n"},
        {"env name", HEAD "env: {PORTOLAN_RUN: 1}\n" EXPORT TARGETS,
         "f:3:7: env.PORTOLAN_RUN: names that begin with PORTOLAN_ are the system's own\n"},
        {"env value", HEAD "env: {A: [1]}\n" EXPORT TARGETS,
         "f:3:10: env.A: a list does not fit; expected text of at most 32768 bytes\n"},
        {"output outside", HEAD "export: {uses: a/b, outputs: ../x}\n" TARGETS,
         "f:3:30: export.outputs: '../x' does not fit; expected a path below the outputs folder such as model/model.tflite\n"},
        {"no target", HEAD EXPORT "targets: {}\n",
         "f:4:10: targets: a map does not fit; expected a map with at least one name\n"},
        {"target name", HEAD EXPORT "targets: {a.b: {host: server, verify: {uses: a/b}}}\n",
         "f:4:11: targets.a.b: 'a.b' is no name for a target; expected letters, digits, '_' and '-', at most 63 long\n"},
        {"host missing", HEAD EXPORT "targets:\n  web:\n    verify: {uses: a/b}\n",
         "f:6:5: targets.web: the key 'host' is missing; expected what verify runs on\n"},
        {"host", HEAD EXPORT "targets:\n  web: {host: brwser, verify: {uses: a/b}}\n",
         "f:5:15: targets.web.host: 'brwser' does not fit; expected one of server, mobile, browser; did you mean 'browser'?\n"},
        {"target without stages", HEAD EXPORT "targets:\n  web: {host: browser}\n",
         "f:5:3: targets.web: a target without stages; expected convert, verify or both\n"},
        {"not verified", HEAD EXPORT "targets:\n  web: {host: browser, convert: {uses: a/b}}\n",
         "f:5:3: warning: targets.web: nothing verifies this target\n"},
        {"stage on target", HEAD EXPORT "targets:\n  web: {host: browser, uses: a/b, verify: {uses: a/b}}\n",
         "f:5:24: targets.web.uses: not a key of a target: a target has stages: put it under convert or verify\n"},
        {"expect",
         HEAD EXPORT "targets:\n  w: {host: browser, verify: {uses: a/b, expect: {max_abs_eror: 1}}}\n",
         "f:5:51: targets.w.verify.expect.max_abs_eror: unknown key; expected one of max_abs_error, max_rel_error, "
         "mean_abs_error, atol, rtol, cosine, top1_agreement, dtype, latency_p50, latency_p95, first_latency, load_time, "
         "peak_memory, artifact_size, indicative, regression; did you mean 'max_abs_error'?\n"},
        {"latency without unit",
         HEAD EXPORT "targets:\n  w: {host: browser, verify: {uses: a/b, expect: {latency_p95: 20}}}\n",
         "f:5:64: targets.w.verify.expect.latency_p95: '20' does not fit; expected a duration such as 20ms (with its unit), from 0 "
         "ms to 1h 00m\n"},
        {"size",
         HEAD EXPORT "targets:\n  w: {host: browser, verify: {uses: a/b, expect: {artifact_size: big}}}\n",
         "f:5:66: targets.w.verify.expect.artifact_size: 'big' does not fit; expected a size such as 200KiB\n"},
        {"share",
         HEAD EXPORT "targets:\n  w: {host: browser, verify: {uses: a/b, expect: {top1_agreement: 99}}}\n",
         "f:5:67: targets.w.verify.expect.top1_agreement: '99' does not fit; expected a number from 0 to 1\n"},
        {"when, misspelled", HEAD EXPORT "targets:\n  w: {host: browser, verify: {uses: a/b, when: manuel}}\n",
         "f:5:48: targets.w.verify.when: 'manuel' does not fit; expected manual, on-success, or risk > X with X from 0 to 1 (0.4 or 40%); did you mean 'manual'?\n"},
        {"when, risk of what", HEAD EXPORT "targets:\n  w: {host: browser, verify: {uses: a/b, when: risk > 4}}\n",
         "f:5:48: targets.w.verify.when: 'risk > 4' does not fit; expected manual, on-success, or risk > X with X from 0 to 1 (0.4 or 40%)\n"},
        {"when, less is no risk", HEAD EXPORT "targets:\n  w: {host: browser, when: risk < 0.4, verify: {uses: a/b}}\n",
         "f:5:28: targets.w.when: 'risk < 0.4' does not fit; expected manual, on-success, or risk > X with X from 0 to 1 (0.4 or 40%)\n"},
        {"approvers of nothing", HEAD EXPORT "targets:\n  w: {host: browser, verify: {uses: a/b, approvers: [ada]}}\n",
         "f:5:42: targets.w.verify.approvers: approvers of a stage that waits for nobody; expected when: manual, or when: risk > 0.4, beside it\n"},
        {"approvers of a target without gate", HEAD EXPORT "targets:\n  w: {host: browser, approvers: ada, verify: {uses: a/b}}\n",
         "f:5:22: targets.w.approvers: approvers of a stage that waits for nobody; expected when: manual, or when: risk > 0.4, beside it\n"},
        {"approvers that are no handles", HEAD EXPORT "targets:\n  w: {host: browser, verify: {uses: a/b, when: manual, approvers: [Ada L]}}\n",
         "f:5:68: targets.w.verify.approvers[0]: 'Ada L' does not fit; expected the handle of a person such as ada-lovelace (portolan person list)\n"},
        {"expect of convert",
         HEAD EXPORT
         "targets:\n  w: {host: browser, convert: {uses: a/b, precision: int8}, verify: {uses: a/b}}\n", "f:5:43: targets.w.convert.precision: unknown key; expected one of uses, run, with, toolchain, host, env, secrets, labels, "
         "timeout, timeout-minutes, queue-timeout, total-timeout, grace, retry, network, outputs, needs, when, approvers, allow-failure, "
         "failure\n"},
        {"on", HEAD "on: [push, pull_request]\n" EXPORT TARGETS,
         "f:3:12: on.pull_request: not a key of on: runs are started by pushes; name the branches under push\n"},
        {"both filters", HEAD "on: {push: {branches: [a], branches-ignore: [b]}}\n" EXPORT TARGETS,
         "f:3:28: on.push.branches-ignore: give branches or branches-ignore, not both; '!glob' in branches takes away\n"},
        {"cron", HEAD "on: {schedule: '61 * * * *'}\n" EXPORT TARGETS,
         "f:3:16: on.schedule.cron: '61 * * * *' is no cron line; expected five fields 'minute hour day month weekday' of numbers, "
         "'*', ranges, lists and steps\n"},
        {"group", HEAD "concurrency: {group: '${{ github.ref }}'}\n" EXPORT TARGETS,
         "f:3:15: concurrency.group: '${{ github.ref }}' has a placeholder that is not known; expected text in which ${{ ref }} and "
         "${{ branch }} are filled in\n"},
        {"max and cancel",
         HEAD "concurrency: {group: g, queue: max, cancel-in-progress: true}\n" EXPORT TARGETS,
         "f:3:37: concurrency.cancel-in-progress: cancelling what runs and letting every run have its turn exclude each other; "
         "expected queue: latest\n"},
        {"several at once",
         "version: 1\nmodel: [m]\nexport:\n  uses: a/b\n  retry: {max: -1}\ntargets:\n  web: 5\n", "f:2:8: model: a list does not fit; expected a name of letters, digits, '.', '_' and '-', at most 100 long\n"
         "f:5:16: export.retry.max: '-1' does not fit; expected a whole number from 0 to 10\n"
         "f:7:8: targets.web: '5' does not fit; expected a map with host, matrix, convert, verify, precision, env, secrets, labels, "
         "needs, when, approvers, allow-failure, failure\n"},
        {"place of an anchor",
         HEAD "env: &e {A: [1]}\n" EXPORT "targets:\n  w: {host: server, env: *e, verify: {uses: a/b}}\n",
         "f:3:13: env.A: a list does not fit; expected text of at most 32768 bytes\n"},
        {"columns count characters", HEAD "name: \"äöü\"\non: {push: {tag: v, brnch: x}}\n" EXPORT TARGETS,
         "f:4:21: on.push.brnch: unknown key; expected one of branches, branches-ignore, tags, tags-ignore, paths, paths-ignore; "
         "did you mean 'branch'?\n"},
        {"control bytes", HEAD "\"\\e[31m\": 1\n" EXPORT TARGETS,
         "f:3:1: ?[31m: unknown key; expected one of version, model, name, on, env, secrets, labels, concurrency, export, "
         "targets\n"},
  /* clang-format on */
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        says(cases[i].label, cases[i].yaml, cases[i].expected);
}

static void needs_and_matrix(void **state)
{
    (void)state;
    static const struct {
        const char *label, *yaml, *expected;
    } cases[] = {
  /* clang-format off */
        {"unknown need",
         HEAD EXPORT "targets:\n  web: {host: browser, verify: {uses: a/b, needs: [export, verify/wbe]}}\n",
         "f:5:60: targets.web.verify.needs[1]: there is no stage or target 'verify/wbe'; expected export, convert/TARGET, "
         "verify/TARGET or TARGET; did you mean 'verify/web'?\n"},
        {"cycle",
         HEAD EXPORT "targets:\n"
                     "  a: {host: server, convert: {uses: a/b, needs: b}, verify: {uses: a/b}}\n"
                     "  b: {host: server, convert: {uses: a/b}, verify: {uses: a/b, needs: [a]}}\n", "f:5:42: targets.a.convert.needs: stages wait for each other: convert/a needs verify/b needs verify/a needs convert/a\n"},
        {"cycle behind others",
         HEAD EXPORT "targets:\n"
                     "  z: {host: server, verify: {uses: a/b, needs: a}}\n"
                     "  a: {host: server, verify: {uses: a/b, needs: b}}\n"
                     "  b: {host: server, verify: {uses: a/b, needs: a}}\n",
         "f:6:41: targets.a.verify.needs: stages wait for each other: verify/a needs verify/b needs verify/a\n"},
        {"cycle of one", HEAD EXPORT "targets:\n  a: {host: server, verify: {uses: a/b, needs: a}}\n",
         "f:5:41: targets.a.verify.needs: stages wait for each other: verify/a needs verify/a\n"},
        {"export waits", HEAD "export: {uses: a/b, needs: web}\n" TARGETS,
         "f:3:21: export.needs: stages wait for each other: export needs verify/web needs export\n"},
        {"no such axis",
         HEAD EXPORT
         "targets:\n  a:\n    host: server\n    matrix: {backend: [cpu, gpu]}\n    verify: {uses: a/b, with: {b: '${{ matrix.backnd }}'}}\n",
         "f:8:32: targets.a.verify.with.b: '${{ matrix.backnd }}': the matrix has no such axis; did you mean 'backend'?\n"},
        {"no matrix", HEAD "export: {uses: a/b, env: {A: '${{ matrix.x }}'}}\n" TARGETS,
         "f:3:30: export.env.A: '${{ matrix.x }}': there is no matrix here\n"},
        {"other contexts", HEAD "export: {run: 'echo ${{ github.sha }}'}\n" TARGETS,
         "f:3:15: export.run: '${{ github.sha }}' is not known; expected ${{ matrix.AXIS }}, ${{ target }} or ${{ model }}\n"},
        {"open placeholder", HEAD "export: {run: ['a', 'echo ${{ model']}\n" TARGETS,
         "f:3:21: export.run[1]: '${{' without '}}'\n"},
        {"empty axis", HEAD EXPORT "targets:\n  a: {host: server, matrix: {x: []}, verify: {uses: a/b}}\n",
         "f:5:33: targets.a.matrix.x: a list does not fit; expected a list of 1 to 100 values\n"},
        {"value twice",
         HEAD EXPORT "targets:\n  a: {host: server, matrix: {x: [1, 1]}, verify: {uses: a/b}}\n",
         "f:5:37: targets.a.matrix.x[1]: '1' is in this axis already\n"},
        {"value", HEAD EXPORT "targets:\n  a: {host: server, matrix: {x: ['a,b']}, verify: {uses: a/b}}\n",
         "f:5:34: targets.a.matrix.x[0]: 'a,b' does not fit; expected a value of 1 to 64 bytes without ',', '=', '[' and ']'\n"},
        {"exclude no axis",
         HEAD EXPORT
         "targets:\n  a: {host: server, matrix: {x: [1], exclude: [{y: 1}]}, verify: {uses: a/b}}\n", "f:5:49: targets.a.matrix.exclude[0].y: 'y' is no axis of this matrix, so nothing is excluded\n"},
        {"nothing left",
         HEAD EXPORT
         "targets:\n  a: {host: server, matrix: {x: [1], exclude: [{x: 1}]}, verify: {uses: a/b}}\n", "f:5:21: targets.a.matrix: no combination is left\n"},
        {"too many",
         HEAD EXPORT
         "targets:\n  a: {host: server, matrix: {x: [1,2,3,4,5,6,7], y: [1,2,3,4,5,6,7], z: [1,2,3,4,5,6]}, verify: {uses: a/b}}\n",
         "f:5:21: targets.a.matrix: the axes multiply to more than 256 combinations\n"},
        {"uses by matrix",
         HEAD EXPORT
         "targets:\n  a: {host: server, matrix: {x: [none]}, verify: {uses: '${{ matrix.x }}'}}\n", "f:5:51: targets.a.verify.uses: filled in, it is no recipe such as keras/saved-model\n"},
        {"output by matrix",
         HEAD EXPORT
         "targets:\n  a: {host: server, matrix: {x: [..]}, verify: {uses: a/b, outputs: 'm/${{ matrix.x }}/f'}}\n",
         "f:5:60: targets.a.verify.outputs: filled in, it is no path below the outputs folder\n"},
  /* clang-format on */
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        says(cases[i].label, cases[i].yaml, cases[i].expected);
}

static void yaml_that_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *label, *yaml, *expected;
    } cases[] = {
  /* clang-format off */
        {"nothing", "", "f:1:1: the file is empty\n"},
        {"comments", "# only\n", "f:1:1: the file is empty\n"},
        {"scalar", "hello",
         "f:1:1: 'hello' does not fit; expected a map with version, model, name, on, env, secrets, labels, "
         "concurrency, export, targets\n"},
        {"second document", "{}\n---\n{}\n", "f:2:1: a second document; one is expected\n"},
        {"not yaml", "a: [1, 2\nb: 3\n",
         "f:2:2: not YAML: did not find expected ',' or ']' (while parsing a flow sequence in line 1)\n"},
        {"tab", "a:\n\t- b\n",
         "f:2:1: not YAML: found character that cannot start any token (while scanning for the next token in line 2)\n"},
        {"key is a list", "[a]: 1\n", "f:1:1: a key must be a word, not a list\n"},
        {"tag", "a: !!python/object:os.system x\n",
         "f:1:4: the tag 'tag:yaml.org,2002:python/object:os.system' is not supported\n"},
        {"no anchor", "a: *b\n", "f:1:4: the alias '*b' has no anchor before it\n"},
        {"anchor in itself", "a: &a [*a]\n", "f:1:8: the anchor 'a' contains itself\n"},
        {"NUL", "a: \"\\0\"\n", "f:1:4: a NUL character in a value\n"},
        {"merge of text", "<<: a\n", "f:2:1: '<<' takes a map, an alias of one or a list of them\n"},
  /* clang-format on */
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++)
        says(cases[i].label, cases[i].yaml, cases[i].expected);
    int r;
    PTL_FREE char *latin = findings("a: \xff\xfe\n", 6, &r);
    assert_non_null(strstr(latin, "not UTF-8 text"));
}

static void bombs_are_refused(void **state)
{
    (void)state;
    PTL_BUF b = PTL_BUF_INIT;
    int r;
    ptl_buf_puts(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"); /* ten to the power of ten */
    for (int i = 1; i < 10; i++) {
        ptl_buf_printf(&b, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            ptl_buf_printf(&b, "%s*a%d", k ? "," : "", i - 1);
        ptl_buf_puts(&b, "]\n");
    }
    PTL_FREE char *laughs = findings(b.data, b.len, &r);
    assert_non_null(strstr(laughs, "more than 20000 nodes (aliases count as what they stand for)"));

    ptl_buf_clear(&b);
    for (int i = 0; i < 200000; i++)
        ptl_buf_putc(&b, '[');
    PTL_FREE char *deep = findings(b.data, b.len, &r);
    assert_string_equal(deep, "f:1:33: nested deeper than 32\n");

    ptl_buf_clear(&b);
    ptl_buf_puts(
        &b,
        "a0: &a0 [[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]\na1: [[[[[[[[[[[[[[[[[[[[*a0]]]]]]]]]]]]]]]]]]]]\n");
    PTL_FREE char *chained = findings(b.data, b.len, &r);
    assert_non_null(strstr(chained, "nested deeper than 32"));

    ptl_buf_clear(&b);
    for (int i = 0; i < 21000; i++)
        ptl_buf_puts(&b, "- x\n");
    PTL_FREE char *many = findings(b.data, b.len, &r);
    assert_string_equal(many, "f:20000:3: more than 20000 nodes (aliases count as what they stand for)\n");

    ptl_buf_clear(&b);
    for (int i = 0; i < 3000; i++)
        ptl_buf_printf(&b, "k%d: 1\n", i);
    PTL_FREE char *wide = findings(b.data, b.len, &r);
    assert_string_equal(wide, "f:2001:1: more than 2000 keys in one map\n");

    ptl_buf_clear(&b);
    for (int i = 0; i < PTL_SPEC_MAX_BYTES + 1; i++)
        ptl_buf_putc(&b, '#');
    PTL_FREE char *big = findings(b.data, b.len, &r);
    assert_string_equal(big, "f:1:1: 1048577 bytes; at most 1048576 are read\n");

    ptl_buf_clear(&b); /* a plan that multiplies: every stage would carry a copy of it */
    ptl_buf_puts(
        &b, HEAD
        "export: {uses: a/b}\ntargets:\n  a:\n    host: server\n    matrix: {x: [1,2,3,4,5,6,7,8,9,10], y: [1,2,3,4,5,6,7,8,9,10]}\n"
        "    verify:\n      uses: a/b\n      with: {a: \"");
    for (int i = 0; i < 100000; i++)
        ptl_buf_putc(&b, 'x');
    ptl_buf_puts(&b, "\"}\n");
    PTL_FREE char *large = findings(b.data, b.len, &r);
    assert_string_equal(
        large, "f:10:14: targets.a.verify.with.a: the plan of all stages together becomes too large\n");

    ptl_buf_clear(&b);
    ptl_buf_puts(&b, HEAD EXPORT "targets:\n");
    for (int i = 0; i < 600; i++)
        ptl_buf_printf(&b, "  t%d: {host: server, verify: {uses: a/b}}\n", i);
    PTL_FREE char *stages = findings(b.data, b.len, &r);
    assert_string_equal(stages, "f:504:24: targets.t499.verify: more than 500 stages\n");

    ptl_buf_clear(&b);
    for (int i = 0; i < 60; i++)
        ptl_buf_printf(&b, "wrong%d: 1\n", i);
    PTL_FREE char *findings_text = findings(b.data, b.len, &r);
    assert_non_null(strstr(findings_text, "f: more than 50 findings, the rest is left out\n"));
}

static void yaml_of_the_house_as_json(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *json;
    } cases[] = {
  /* clang-format off */
        {"{a: 1, b: 1.5, c: true, d: null, e: x, f: \"1\", g: 'true'}",
         "{\"a\":1,\"b\":1.5,\"c\":true,\"d\":null,\"e\":\"x\",\"f\":\"1\",\"g\":\"true\"}"},
        {"[3.10, 007, 0x10, 1e3, -5, +5, 1_000, yes, ~, '']",
         "[\"3.10\",\"007\",\"0x10\",1000.0,-5,\"+5\",\"1_000\",\"yes\",null,\"\"]"},
        {"[12345678901234567890, .5, 2.0, 1.50]", "[\"12345678901234567890\",0.5,2.0,\"1.50\"]"},
        {"a: &x {k: 1, m: 2}\nb: {<<: *x, m: 3}\nc: {<<: [{m: 9}, *x]}\n",
         "{\"a\":{\"k\":1,\"m\":2},\"b\":{\"k\":1,\"m\":3},\"c\":{\"k\":1,\"m\":9}}"},
        {"a: |\n  two\n  lines\n", "{\"a\":\"two\\nlines\\n\"}"},
        {"!!str 5", "\"5\""},
  /* clang-format on */
    };
    for (size_t i = 0; i < PTL_ARRAY_LEN(cases); i++) {
        PTL_JSON *j = NULL;
        struct ptl_error err = PTL_ERROR_INIT;
        if (ptl_yaml_parse(cases[i].yaml, strlen(cases[i].yaml), "recipe.yml", &j, &err) < 0)
            fail_msg("%s: %s", cases[i].yaml, err.text);
        PTL_FREE char *text = ptl_json_text(j);
        assert_string_equal(text, cases[i].json);
    }
    json_t *j = NULL;
    struct ptl_error err = PTL_ERROR_INIT;
    assert_int_equal(ptl_yaml_parse("a: 1\na: 2\n", 10, "recipe.yml", &j, &err), -EINVAL);
    assert_string_equal(err.text, "recipe.yml:2:1: key 'a' is given twice (first in line 1)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_values),           cmocka_unit_test(needs_and_matrix),
        cmocka_unit_test(yaml_that_is_refused),      cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(yaml_of_the_house_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
