// lib.mjs - what the web UI's tests and bench share: the site (site.py as a child), the browser, the API, waits with a deadline, the frame of a suite.
import assert from "node:assert/strict";
import {spawn} from "node:child_process";
import {createRequire} from "node:module";
import {createHmac} from "node:crypto";
import {mkdirSync, readFileSync} from "node:fs";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";

export const here = dirname(fileURLToPath(import.meta.url));
// The packages lie in the build folder (run.sh), or beside this file while one works on it.
const require = createRequire((process.env.PTL_NODE ?? here) + "/");
export const {chromium} = require("playwright-core");
export const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
export const shots = process.env.PTL_SHOTS ?? join(here, "shots");
mkdirSync(shots, {recursive: true});

export class Site {
    /** start("real_site.py") is another site than the one with bare commands. */
    static async start(...args) {
        const site = new Site(), script = args[0]?.endsWith(".py") ? args.shift() : "site.py";
        const child = site.child = spawn("/usr/bin/python3", ["-B", join(here, script), ...args], {stdio: ["pipe", "pipe", "inherit"]});
        let text = "";
        site.lines = [];
        child.stdout.on("data", (d) => {
            text += d;
            for (let nl = text.indexOf("\n"); nl >= 0; nl = text.indexOf("\n")) {
                site.lines.push(text.slice(0, nl));
                text = text.slice(nl + 1);
            }
        });
        child.on("exit", (code) => { site.ended = code ?? -1; });
        Object.assign(site, JSON.parse(await site.line(1500000)));
        return site;
    }
    line(timeout = 120000) {
        return until("a line of the site's script", () => {
            if (this.ended !== undefined && this.lines.length === 0)
                throw Object.assign(new Error(`the site's script ended with ${this.ended}`), {final: true});
            return this.lines.shift();
        }, timeout);
    }
    /** A real push (real_site.py); the run that the hook says it started. */
    async push(name, message) {
        this.child.stdin.write(JSON.stringify({push: name, message}) + "\n");
        return JSON.parse(await this.line()).run;
    }
    stop() {
        return new Promise((done) => {
            this.child.on("exit", done);
            this.child.stdin.end();
        });
    }
    async call(method, path, body, token = this.token) {
        const a = await fetch(this.url + path, {method, headers: {...(token ? {Authorization: `Bearer ${token}`} : {}), ...(body ? {"Content-Type": "application/json"} : {})}, body: body ? JSON.stringify(body) : undefined});
        const t = await a.text();
        return {status: a.status, headers: a.headers, text: t, json: t.startsWith("{") ? JSON.parse(t) : null};
    }
    async ok(method, path, body) {
        const a = await this.call(method, path, body);
        if (a.status >= 300)
            throw new Error(`${method} ${path}: ${a.status} ${a.text.slice(0, 300)}`);
        return a.json;
    }
    async until(run, ...states) {
        return until(`run ${run} to be ${states}`, async () => { const r = await this.ok("GET", `/api/v1/runs/${run}`); return states.includes(r.state) && r; }, 60000);
    }
    /** A push as GitHub tells it, signed. */
    async deliver(project, secret, payload, id) {
        const body = JSON.stringify(payload);
        return fetch(`${this.url}/hooks/${project}`, {method: "POST", body, headers: {"Content-Type": "application/json", "X-GitHub-Event": "push", "X-GitHub-Delivery": id, "X-Hub-Signature-256": "sha256=" + createHmac("sha256", secret).update(body).digest("hex")}});
    }
}

/** How much longer a slow build may take: CMake's PTL_PATIENCE. */
export const PATIENCE = Number(process.env.PTL_PATIENCE) || 1;

export async function until(what, check, timeout = 20000) {
    timeout *= PATIENCE;
    const end = Date.now() + timeout;
    let last;
    for (;;) {
        try {
            const got = await check();
            if (got)
                return got;
            last = got;
        } catch (e) {
            if (e.final)
                throw e;
            last = e;
        }
        if (Date.now() > end)
            throw new Error(`waited ${timeout / 1000} s in vain for ${what}; last: ${last?.message ?? last}`);
        await new Promise((r) => setTimeout(r, 50));
    }
}

export const launch = () => chromium.launch({executablePath: process.env.PTL_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-first-run", "--no-proxy-server"]});

/** A page that keeps account of what must not happen: requests elsewhere, breaches of the policy, errors nobody expected. */
export async function open(browser, site, {width = 1280, height = 900, dark = false, reduced = false} = {}) {
    const context = await browser.newContext({viewport: {width, height}, colorScheme: dark ? "dark" : "light", reducedMotion: reduced ? "reduce" : "no-preference", timezoneId: "Europe/Lisbon", permissions: ["clipboard-write", "clipboard-read"]});
    const page = await context.newPage();
    page.setDefaultTimeout(20000 * PATIENCE);
    const faults = page.faults = [];
    page.on("request", (r) => { if (!r.url().startsWith(site.url + "/") && !r.url().startsWith("data:")) faults.push(`a request left the origin: ${r.url()}`); });
    page.on("pageerror", (e) => faults.push(`error in the page: ${e.message}`));
    page.on("console", (m) => {
        const t = m.text();
        if (/Content Security Policy|Refused to/.test(t))
            faults.push(`policy: ${t}`);
        else if (m.type() === "error" && !/status of (401|404|403|409|422)|ERR_(INTERNET_DISCONNECTED|NETWORK_CHANGED|CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING)/.test(t))
            faults.push(`console: ${t}`);
    });
    await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (e) => console.error("Content Security Policy: " + e.violatedDirective + " " + e.blockedURI)));
    return page;
}
export async function logIn(page, site, token = site.token) {
    await page.goto(`${site.url}/login#token=${token}`);
    await page.waitForSelector(".frame");
}
/** Until nothing is loading any more and a moment later still not. */
export async function settled(page) {
    await until("the page to settle", async () => {
        const busy = await page.evaluate(() => document.querySelectorAll(".loading").length || document.querySelectorAll("main > *").length === 0);
        if (busy)
            return false;
        await page.waitForTimeout(120);
        return !await page.evaluate(() => document.querySelectorAll(".loading").length);
    }, 30000);
}
export async function judge(page, what) {
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, {resultTypes: ["violations"]}));
    return found.violations.filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => `${what}: ${v.impact} ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + n.failureSummary.split("\n").slice(1, 3).join(";")).join(" | ")}`);
}

/** What both suites are made of: tests one after the other, one line each, a picture of the page where one failed, faults on the page are failures, contexts closed behind each. */
export function suite(site, browser, pictures, only) {
    let failed = 0, passed = 0;
    mkdirSync(pictures, {recursive: true});
    const fresh = async (options, token) => { const page = await open(browser, site, options); await logIn(page, site, token); return page; };
    const test = async (name, fn) => {
        if (only.length && !only.some((w) => name.includes(w)))
            return;
        const began = Date.now();
        try {
            const page = await fn();
            assert.deepEqual(page?.faults ?? [], [], "faults on the page");
            passed++;
            console.log(`ok   ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
        } catch (e) {
            failed++;
            console.log(`FAIL ${name}\n     ${e.stack?.split("\n").slice(0, 8).join("\n     ")}`);
            const all = browser.contexts().flatMap((c) => c.pages());
            await all[all.length - 1]?.screenshot({path: join(pictures, `FAILED-${name.replace(/\W+/g, "-")}.png`)}).catch(() => {});
        }
        for (const c of browser.contexts())
            await c.close();
    };
    /** Each of `list` (id: path) as it is drawn with these options: no wider than the screen, nothing serious for axe, no error that is not told to be there; a picture of each. */
    const look = async (name, page, list, ready = "main") => {
        const wrong = [];
        for (const [id, path] of Object.entries(list)) {
            await page.goto(site.url + path);
            await page.waitForSelector(ready);
            await settled(page);
            const seen = await page.evaluate(() => ({over: document.documentElement.scrollWidth - document.documentElement.clientWidth, failed: [...document.querySelectorAll(".failed")].map((f) => f.textContent).find((t) => !/Not found/.test(t)), said: !!document.querySelector("h1, .empty, .failed")}));
            if (seen.over > 0)
                wrong.push(`${id}: ${seen.over} px wider than the screen`);
            if (seen.failed)
                wrong.push(`${id}: ${seen.failed}`);
            if (!seen.said)
                wrong.push(`${id}: has neither title nor a word`);
            wrong.push(...await judge(page, id));
            await page.screenshot({path: join(pictures, `${name}-${id}.png`), fullPage: true});
        }
        assert.deepEqual(wrong, []);
    };
    const end = async () => {
        await browser.close();
        await site.stop();
        console.log(`${passed} passed, ${failed} failed; pictures in ${pictures}`);
        process.exit(failed ? 1 : 0);
    };
    return {test, fresh, look, end};
}
export const ways = {"desk-light": {}, "desk-dark": {dark: true}, "phone-light": {width: 390, height: 844}, "phone-dark": {width: 390, height: 844, dark: true}};
export const said = (page, words) => page.waitForSelector(`.said:has-text("${words}")`);
export const press = (page, name, exact = true) => page.getByRole("button", {name, exact}).first().click();
/** What has the focus, and whether a person sees that it has. */
export const focused = (page) => page.evaluate(() => { const e = document.activeElement, s = getComputedStyle(e); return {tag: e.tagName, text: e.textContent.trim(), label: e.getAttribute("aria-label") ?? "", seen: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0, inside: !!e.closest("dialog")}; });
/** Tab until the focus is on what says `words`; every stop on the way is seen. */
export async function tabTo(page, words, most = 60) {
    for (let i = 0; i < most; i++) {
        await page.keyboard.press("Tab");
        const f = await focused(page);
        assert.ok(f.tag === "BODY" || f.seen, `the focus on ${f.tag} "${f.text.slice(0, 40)}" is not seen`);
        if (f.text === words || f.label === words)
            return;
    }
    assert.fail(`${most} times Tab did not lead to "${words}"`);
}
