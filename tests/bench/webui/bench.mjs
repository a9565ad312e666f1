// bench.mjs - what the web UI costs, by the browser's own clocks: weight and time of the first page, of a run, and of a 200 MiB log.
//   sh tests/e2e/webui/run.sh BUILD_DIR ../../bench/webui/bench.mjs [MIB [PAGE]]     MIB 0: no large log; PAGE: only pages with this word; WATERFALL=1: every request;
//   LATENCY=200: so many ms added to each request, which shows what waits for what also on a busy machine; ROUNDS=5
// Nothing is asserted: numbers depend on the machine, and its load is printed beside them.
import {cpus, loadavg} from "node:os";
import {launch, logIn, open, settled, Site, until} from "../../e2e/webui/lib.mjs";

const mib = process.argv[2] ?? "200", only = process.argv[3], ROUNDS = Number(process.env.ROUNDS ?? 5);
const site = await Site.start("--big-log", mib), browser = await launch();
const median = (a) => a.sort((x, y) => x - y)[a.length >> 1];
const row = (what, value) => console.log(`${what.padEnd(58)} ${value}`);

// What the browser itself says: when something, and the largest thing, was painted, how long its thread was held up (what tasks took beyond 50 ms each, as
// Lighthouse's total blocking time has it), how much moved under the reader's eye.
const watch = () => {
    const w = window.__w = {lcp: 0, blocked: 0, longest: 0, shift: 0};
    new PerformanceObserver((l) => { for (const e of l.getEntries()) w.lcp = e.startTime; }).observe({type: "largest-contentful-paint", buffered: true});
    new PerformanceObserver((l) => { for (const e of l.getEntries()) { w.blocked += e.duration - 50; w.longest = Math.max(w.longest, e.duration); } }).observe({type: "longtask", buffered: true});
    new PerformanceObserver((l) => { for (const e of l.getEntries()) if (!e.hadRecentInput) w.shift += e.value; }).observe({type: "layout-shift", buffered: true});
};
async function cold(path, ready) {
    const out = {bytes: [], requests: [], ttfb: [], fcp: [], usable: [], lcp: [], blocked: [], longest: [], shift: []};
    let slowest = [];
    for (let i = 0; i < ROUNDS; i++) {
        const page = await open(browser, site), cdp = await page.context().newCDPSession(page);
        await logIn(page, site);
        await page.addInitScript(watch);
        await cdp.send("Network.enable");
        await cdp.send("Network.setCacheDisabled", {cacheDisabled: true});
        if (process.env.LATENCY)
            await cdp.send("Network.emulateNetworkConditions", {offline: false, latency: Number(process.env.LATENCY), downloadThroughput: -1, uploadThroughput: -1});
        let bytes = 0, n = 0;
        cdp.on("Network.loadingFinished", (e) => { bytes += e.encodedDataLength; n++; });
        await page.goto("about:blank");
        await page.goto(site.url + path, {waitUntil: "commit"});
        // the page's own clock when the thing that it is for was there, seen in the page and not over the wire
        out.usable.push(await page.evaluate((sel) => new Promise((done) => {
            const look = () => document.querySelector(sel) ? done(performance.now()) : requestAnimationFrame(look);
            look();
        }), ready));
        await settled(page);
        const t = await page.evaluate(() => ({ttfb: performance.getEntriesByType("navigation")[0].responseStart, fcp: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0, ...window.__w,
            all: performance.getEntriesByType("resource").map((r) => `${r.startTime.toFixed(0)}+${r.duration.toFixed(0)} ${r.name.replace(location.origin, "").slice(0, 70)}`)}));
        for (const k of ["ttfb", "fcp", "lcp", "blocked", "longest", "shift"])
            out[k].push(t[k]);
        out.bytes.push(bytes);
        out.requests.push(n);
        slowest = t.all;
        await page.context().close();
    }
    if (process.env.WATERFALL)
        for (const line of slowest)
            console.log(`        ${line}`);
    return out;
}
const pages = [["runs", "/runs", "table.runs tbody tr"], ["a red run with its diagnosis", `/runs/${site.runs.red}`, ".diagnosis .verdict"], ["a report", `/runs/${site.runs.parity}?view=report`, ".report .errors"], ["against the last good", `/runs/${site.runs.red}?view=compare`, ".compare h3"],
    ["failures", "/failures", ".hitrow"], ["trends", "/failures?view=trends", "table.trends"], ["knowledge", "/knowledge", ".area"], ["a challenge", "/knowledge?id=mobile/model-conversion", ".entry h2"], ["indicators", "/knowledge/indicators", "table.list tbody tr"],
    ["risk", "/risk", ".risk, .empty"], ["matrix", "/matrix", ".cell"], ["people", "/people", "table.list tbody tr"], ["notifications", "/notify", ".channels, .empty"], ["agents", "/agents", ".agents .card"], ["projects", "/projects", "table.list tbody tr"], ["audit", "/audit", "table.list tbody tr"]];
console.log(`cold cache, loopback, median of ${ROUNDS}, ms by the page's clock; load of the machine ${loadavg()[0].toFixed(1)} on ${cpus().length} processors`);
console.log(["page".padEnd(30), "usable", "first paint", "largest", "first byte", "blocked", "longest task", "shift", "requests", "kB"].join("  "));
for (const [name, path, ready] of pages) {
    if (only && !name.includes(only))
        continue;
    const r = await cold(path, ready), m = (k, digits = 0) => median(r[k]).toFixed(digits);
    console.log([name.padEnd(30), m("usable").padStart(6), m("fcp").padStart(11), m("lcp").padStart(7), m("ttfb").padStart(10), m("blocked").padStart(7), m("longest").padStart(12), m("shift", 3).padStart(5), m("requests").padStart(8), (median(r.bytes) / 1000).toFixed(1).padStart(5)].join("  "));
}
console.log(`load of the machine now ${loadavg()[0].toFixed(1)}`);
if (mib === "0") {
    await browser.close();
    await site.stop();
    process.exit(0);
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
// Frames, tasks beyond 50 ms and frames with a line still to come, while something scrolls: by the browser's own clocks.
const during = async (what, act) => {
    await page.evaluate(() => {
        const w = window.__scroll = {frames: [], long: 0, worst: 0, blank: 0, on: true};
        w.see = new PerformanceObserver((l) => { for (const e of l.getEntries()) { w.long++; w.worst = Math.max(w.worst, e.duration); } });
        w.see.observe({type: "longtask"});
        let last = performance.now();
        const look = (now) => { w.frames.push(now - last); last = now; if (document.querySelector(".ln .tx i")) w.blank++; if (w.on) requestAnimationFrame(look); };
        requestAnimationFrame(look);
    });
    await act();
    await page.waitForTimeout(300);
    const w = await page.evaluate(() => { const s = window.__scroll; s.on = false; s.see.disconnect(); return {frames: s.frames.sort((x, y) => x - y), long: s.long, worst: s.worst, blank: s.blank}; }), f = w.frames;
    row(`log: ${what}, frames p50 / p95 / longest`, `${f[f.length >> 1].toFixed(1)} / ${f[Math.floor(f.length * .95)].toFixed(1)} / ${f[f.length - 1].toFixed(1)} ms`);
    row(`log: ${what}, tasks over 50 ms; frames with lines to come`, `${w.long} (longest ${w.worst.toFixed(0)} ms); ${w.blank} of ${f.length}`);
};
await page.locator(".lines").hover();
await page.locator(".lines").focus();
await during("300 notches of the wheel", async () => { for (let i = 0; i < 300; i++) { await page.mouse.wheel(0, 120); await page.waitForTimeout(16); } });
await during("60 times Page Down", async () => { for (let i = 0; i < 60; i++) { await page.keyboard.press("PageDown"); await page.waitForTimeout(80); } });
await during("the bar dragged end to end in 300 frames", () => page.evaluate(async () => {
    const box = document.querySelector(".lines");
    for (let i = 0; i <= 300; i++) {
        box.scrollTop = box.scrollHeight * i / 300;
        await new Promise((r) => requestAnimationFrame(r));
    }
}));
const frames = await page.evaluate(() => ({nodes: document.querySelectorAll("*").length, heap: performance.memory?.usedJSHeapSize ?? 0}));
row("log: elements in the document, JavaScript heap", `${frames.nodes}, ${(frames.heap / 1048576).toFixed(0)} MiB`);
began = performance.now();
await page.getByLabel("Search in this log").fill("THE LAST LINE");
await until("the find", () => page.evaluate(() => document.querySelector(".find .num")?.textContent.includes("1 of 1")), 120000);
row("log: searched to the last line", `${((performance.now() - began) / 1000).toFixed(1)} s; load of the machine ${loadavg()[0].toFixed(1)}`);
began = performance.now();
await page.getByLabel("Search in this log").fill("0123456789abcdef");
await until("the first finds", () => page.evaluate(() => / of [\d,]+/.test(document.querySelector(".find .num")?.textContent ?? "") && !!document.querySelector(".ln.hit mark")));
row("log: the first find of what every line has is marked", `${(performance.now() - began).toFixed(0)} ms, 200 of them waiting for the typist`);
await browser.close();
await site.stop();
