// bench.mjs - what the web UI costs, by the browser's own clocks: weight and time of the first page, of a run, and of a 200 MiB log.
//   sh tests/e2e/webui/run.sh BUILD_DIR ../../bench/webui/bench.mjs [MIB]
// Nothing is asserted: numbers depend on the machine. On loopback, with a cold cache each time, the median of five.
import {launch, logIn, open, settled, Site, until} from "../../e2e/webui/lib.mjs";

const mib = process.argv[2] ?? "200";
const site = await Site.start("--big-log", mib), browser = await launch();
const median = (a) => a.sort((x, y) => x - y)[a.length >> 1];
const row = (what, value) => console.log(`${what.padEnd(58)} ${value}`);

async function cold(path, ready) {
    const out = {bytes: [], requests: [], ttfb: [], fcp: [], usable: []};
    for (let i = 0; i < 5; i++) {
        const page = await open(browser, site), cdp = await page.context().newCDPSession(page);
        await logIn(page, site);
        await cdp.send("Network.enable");
        await cdp.send("Network.setCacheDisabled", {cacheDisabled: true});
        let bytes = 0, n = 0;
        cdp.on("Network.loadingFinished", (e) => { bytes += e.encodedDataLength; n++; });
        await page.goto("about:blank");
        await page.goto(site.url + path, {waitUntil: "commit"});
        await page.waitForSelector(ready);
        out.usable.push(await page.evaluate(() => performance.now()));
        await settled(page);
        const t = await page.evaluate(() => ({ttfb: performance.getEntriesByType("navigation")[0].responseStart, fcp: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0}));
        out.ttfb.push(t.ttfb);
        out.fcp.push(t.fcp);
        out.bytes.push(bytes);
        out.requests.push(n);
        await page.context().close();
    }
    return out;
}
for (const [name, path, ready] of [["runs", "/runs", "table.runs tbody tr"], ["a red run with its diagnosis", `/runs/${site.runs.red}`, ".diagnosis .verdict"], ["knowledge", "/knowledge", ".area"], ["matrix", "/matrix", ".cell"]]) {
    const r = await cold(path, ready);
    row(`${name}: bytes over the wire, requests`, `${median(r.bytes)} B, ${median(r.requests)}`);
    row(`${name}: first byte / first paint / usable`, `${median(r.ttfb).toFixed(0)} / ${median(r.fcp).toFixed(0)} / ${median(r.usable).toFixed(0)} ms`);
}

const page = await open(browser, site);
await logIn(page, site);
const attempt = (await site.ok("GET", `/api/v1/runs/${site.runs.big}`)).stages[0].attempt_id;
let began = performance.now();
const index = await site.ok("GET", `/api/v1/attempts/${attempt}/log/index`);
row(`log of ${(index.bytes / 1048576).toFixed(0)} MiB, ${index.newlines} lines: index`, `${(performance.now() - began).toFixed(0)} ms, ${index.places.length} places`);
const middle = Math.floor(index.newlines / 2);
await page.goto(`${site.url}/runs/${site.runs.big}?stage=export#L${middle}`, {waitUntil: "commit"});
await page.waitForSelector(".ln.chosen .tx:has-text('0123')");
row("log: opened at its middle line", `${(await page.evaluate(() => performance.now())).toFixed(0)} ms`);
const frames = await page.evaluate(async () => {
    const box = document.querySelector(".lines"), deltas = [];
    let long = 0, blank = 0;
    new PerformanceObserver((l) => { long += l.getEntries().length; }).observe({type: "longtask"});
    box.scrollTop = 0;
    await new Promise((r) => setTimeout(r, 300));
    let last = performance.now();
    for (let i = 0; i < 300; i++) {
        box.scrollTop += box.scrollHeight / 300;
        await new Promise((r) => requestAnimationFrame(r));
        const now = performance.now();
        deltas.push(now - last);
        last = now;
        if (document.querySelector(".ln .tx i"))
            blank++;
    }
    deltas.sort((a, b) => a - b);
    return {p50: deltas[150], p95: deltas[285], max: deltas[299], long, blank, nodes: document.querySelectorAll("*").length, heap: performance.memory?.usedJSHeapSize ?? 0};
});
row("log: scrolled end to end in 300 frames, p50 / p95 / longest", `${frames.p50.toFixed(1)} / ${frames.p95.toFixed(1)} / ${frames.max.toFixed(1)} ms`);
row("log: tasks over 50 ms, frames with lines still to come", `${frames.long}, ${frames.blank}`);
row("log: elements in the document, JavaScript heap", `${frames.nodes}, ${(frames.heap / 1048576).toFixed(0)} MiB`);
began = performance.now();
await page.getByLabel("Search in this log").fill("THE LAST LINE");
await until("the find", () => page.evaluate(() => document.querySelector(".find .num")?.textContent.includes("1 of 1")), 120000);
row("log: searched to the last line", `${((performance.now() - began) / 1000).toFixed(1)} s`);
await browser.close();
await site.stop();
