// lib.mjs - what the web UI's tests and bench share: the site (site.py as a child), the browser, the API, waits with a deadline.
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
