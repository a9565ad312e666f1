// real.mjs - the web UI over a real main job: real exporters and converters, a real serving engine, an emulated phone and a real browser as targets. A person
// pushes and watches: the log of a converter as it runs, the parity of what came of it, the stage that a phone's runtime cannot have, the matrix of all.
// Pictures of every step are kept beside the build ($PTL_SHOTS/../webui-real-shots).
//   sh tests/e2e/webui/run.sh BUILD_DIR real.mjs [WORD…]
import assert from "node:assert/strict";
import {join} from "node:path";
import {judge, launch, PATIENCE, settled, shots, Site, suite, until, ways} from "./lib.mjs";

const pictures = join(shots, "..", "webui-real-shots"), site = await Site.start("real_site.py"), browser = await launch();
const {test, fresh, look, end} = suite(site, browser, pictures, process.argv.slice(2));
const picture = async (page, name) => { await page.screenshot({path: join(pictures, `${name}.png`), fullPage: true}); };
const stageOf = async (run, name) => (await site.ok("GET", `/api/v1/runs/${run}`)).stages.find((s) => s.name === name);
const over = (run, ...states) => until(`run ${run} to be ${states}`, async () => { const r = await site.ok("GET", `/api/v1/runs/${run}`); return states.includes(r.state) && r; }, 400000);
const number = (v) => v === 0 ? "0" : v >= 0.001 && v < 100000 ? Number(v.toPrecision(3)).toLocaleString("en", {maximumFractionDigits: 6}) : v.toExponential(1);

const runs = {};
await test("a push is watched: stages turn by themselves, a converter's log grows while it runs", async () => {
    const page = await fresh();
    await page.waitForSelector("text=Live");
    runs.keras = await site.push("digits-keras", "Deploy digits-keras");
    await page.locator(`a[href="/runs/${runs.keras}"]`).click();
    await page.locator("a.node:has-text('convert android')").waitFor();
    // what the page shows of the converter while it runs, noted by the page itself: nothing is asked for anew from here
    await until("the converter to run", async () => (await stageOf(runs.keras, "convert/android")).state === "running", 300000);
    await page.locator("a.node:has-text('convert android')").click();
    await page.waitForSelector(".ln:has-text('[portolan]')");
    const seen = [];
    await until("the converter to end", async () => {
        const now = await page.evaluate(() => ({state: document.querySelector(".stagehead .state")?.textContent, lines: Number(document.querySelector(".lines")?.getAttribute("aria-label")?.match(/(\d+) in all/)?.[1] ?? 0)}));
        if (now.lines && (seen.length === 0 || seen[seen.length - 1].lines !== now.lines || seen[seen.length - 1].state !== now.state)) {
            seen.push(now);
            if (seen.length === 2)
                await picture(page, "1-converter-running");
        }
        return now.state === "green";
    }, 300000);
    console.log(`     the page saw: ${seen.map((s) => `${s.lines} lines ${s.state}`).join(", ")}`);
    const running = seen.filter((s) => s.state === "running");
    assert.ok(running.length >= 2 && running[running.length - 1].lines > running[0].lines, "its log grew while it ran");
    await page.waitForSelector(".runhead .state:has-text('green')", {timeout: 400000 * PATIENCE});
    assert.equal(await page.locator("a.node .mark.good").count(), (await site.ok("GET", `/api/v1/runs/${runs.keras}`)).stages.length);
    // and what was followed is what the log is
    const log = await site.call("GET", `/api/v1/attempts/${(await stageOf(runs.keras, "convert/android")).attempt_id}/log`);
    await page.getByLabel("End of the log", {exact: true}).click();
    await until("its last line", async () => (await page.locator(".ln .tx").last().textContent()).includes(log.text.trimEnd().split("\n").pop().replace(/\x1b\[[0-9;]*m/g, "").slice(0, 60)));
    await picture(page, "2-run-green");
    return page;
});
await test("what verify measured: the page has the report's own numbers, and a plot of every output's error", async () => {
    runs.torch = await site.push("digits-pytorch", "Deploy digits-pytorch");
    await over(runs.torch, "green");
    const page = await fresh();
    for (const target of ["server", "android", "web"]) {
        const stage = await stageOf(runs.torch, `verify/${target}`), outputs = stage.report.outputs;
        await page.goto(`${site.url}/runs/${runs.torch}?stage=verify/${target}&view=report`);
        await page.locator(".report .errors").waitFor();
        assert.equal(await page.locator(".errors .err:not(.scale)").count(), outputs.length);
        for (const o of outputs) {
            const row = await page.locator("[aria-label='Numbers per output'] tr", {hasText: o.name}).textContent();
            for (const key of ["max_abs_error", "mean_abs_error", "rmse"])
                assert.ok(row.includes(number(o[key])), `${target} ${o.name} ${key}: ${number(o[key])} is not in "${row}"`);
            assert.ok(row.includes(`${o.mismatched} of ${o.elements}`), row);
        }
        // where the dot of the largest error stands on the logarithmic axis: left of what is allowed, as the verdict says
        const at = await page.evaluate(() => [...document.querySelectorAll(".errors .err:not(.scale)")].map((e) => [parseFloat(e.querySelector(".dot.max")?.style.left), parseFloat(e.querySelector(".limit")?.style.left)]));
        for (const [max, limit] of at)
            assert.ok(max <= limit, `largest at ${max} %, allowed at ${limit} %`);
        assert.ok(!(await page.locator(".report").textContent()).includes("<= –"), "a rule that does not hold here is not shown");
        if (target !== "server")
            await page.waitForSelector("text=latencies are indicative");
        await picture(page, `3-report-${target}`);
    }
    return page;
});
await test("the operator that a phone's runtime lacks: pre-flight said so, the diagnosis quotes the converter, the remedy stands beside it", async () => {
    runs.lacks = await site.push("unsupported-op", "Deploy dilated digits");
    await over(runs.lacks, "red");
    await until("the diagnosis", async () => (await stageOf(runs.lacks, "convert/android")).diagnosis_state === "done");
    for (const [name, options] of [["desk-light", {}], ["phone-dark", {width: 390, height: 844, dark: true}]]) {
        const page = await fresh(options);
        await page.goto(`${site.url}/runs/${runs.lacks}`);
        await page.waitForSelector(".verdict:has-text('Dilation2D')");
        await page.waitForSelector(".preflight[open]:has-text('Dilation2D')");
        await page.waitForSelector(".ranked .first a:has-text('unsupported')");
        await settled(page);
        await picture(page, `4-red-${name}`);
        assert.deepEqual(await judge(page, name), []);
        await page.locator(".quotes a", {hasText: "TF Select ops: Dilation2D"}).click();
        await page.waitForSelector(".ln.chosen:has-text('TF Select ops: Dilation2D')");
        const line = Number(/#L(\d+)/.exec(page.url())[1]), log = (await site.call("GET", `/api/v1/attempts/${(await stageOf(runs.lacks, "convert/android")).attempt_id}/log`)).text;
        assert.ok(log.split("\n")[line - 1].includes("TF Select ops: Dilation2D"), "the line that the address names is the line in the log");
        assert.deepEqual(page.faults, []);
    }
    const page = await fresh();
    await page.goto(`${site.url}/failures?q=Dilation2D`);
    await page.waitForSelector(".hitrow:has-text('unsupported-op')");
    await page.goto(`${site.url}/failures?view=operators`);
    await page.waitForSelector("td:has-text('Dilation2D')");
    await picture(page, "5-operators");
    return page;
});
await test("the matrix: models by targets, from the real reports; a second push moves its lines", async () => {
    runs.again = await site.push("digits-pytorch", "Say it again");
    await over(runs.again, "green");
    const page = await fresh();
    await page.goto(`${site.url}/matrix`);
    for (const model of ["digits-keras", "digits-pytorch", "dilated-digits"])
        await page.waitForSelector(`main:has-text('${model}')`);
    await settled(page);
    const cells = await page.locator(".cell").count();
    console.log(`     ${cells} cells`);
    assert.ok(cells >= 14, `${cells} cells`);
    assert.ok(await page.locator(".cell:has(.mark.bad)").count() >= 1, "the red one is there");
    assert.ok(await page.locator("td.num svg.spark").count() >= 4, "what was measured twice has a line");
    // how much of what is allowed is used, whatever limit the verify had: every green one says
    const used = await page.evaluate(() => [...document.querySelectorAll("table.matrix tbody tr")].filter((r) => r.children[3]?.querySelector(".mark.good")).map((r) => r.querySelector(".meter .num")?.textContent ?? "none"));
    console.log(`     tolerance used: ${used.join(", ")}`);
    assert.ok(used.length >= 7 && used.every((u) => /^<?\d+ %$/.test(u)), used.join(", "));
    await picture(page, "6-matrix");
    await page.goto(`${site.url}/runs/${runs.again}?stage=verify/server&view=compare`);
    await page.waitForSelector(".compare:has-text('the last run before in which verify/server was green')");
    await picture(page, "7-compare");
    return page;
});
for (const [name, options] of Object.entries(ways))
    await test(`pages with real data, ${name}: no wider than the screen, axe finds nothing serious`, async () => {
        const page = await fresh(options);
        await look(name, page, {runs: "/runs", run: `/runs/${runs.torch}`, published: `/runs/${runs.torch}?stage=convert/android&view=artifacts`, plan: `/runs/${runs.torch}?stage=verify/web&view=plan`, preflight: `/runs/${runs.lacks}`, matrix: "/matrix", failures: "/failures", knowledge: "/knowledge?by=own", agents: "/agents", risk: "/risk", audit: "/audit"}, "main h1");
        return page;
    });
await end();
