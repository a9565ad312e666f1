// shot.mjs - pictures of pages while one works on them:  node shot.mjs SITE.json OUT_DIR [PATH…]   (widths 1280 and 390, light and dark)
import {chromium} from "./lib.mjs";
import {readFileSync, mkdirSync} from "node:fs";
const [,, siteFile, out, ...paths] = process.argv;
const site = JSON.parse(readFileSync(siteFile, "utf8"));
mkdirSync(out, {recursive: true});
const browser = await chromium.launch({executablePath: process.env.PTL_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]});
const sets = process.env.SETS ? process.env.SETS.split(",") : ["desk-light", "phone-dark"];
for (const set of sets) {
    const context = await browser.newContext({viewport: set.startsWith("phone") ? {width: 390, height: 844} : {width: 1280, height: 900}, colorScheme: set.endsWith("dark") ? "dark" : "light"});
    const page = await context.newPage();
    page.on("console", (m) => { if (m.type() === "error" || m.type() === "warning") console.log(set, m.type(), m.text()); });
    page.on("pageerror", (e) => console.log(set, "pageerror", e.message));
    await page.goto(`${site.url}/login#token=${site.token}`);
    await page.waitForSelector(".frame");
    for (const path of paths) {
        await page.goto(site.url + path);
        await page.waitForTimeout(Number(process.env.WAIT ?? 900));
        const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (over > 0)
            console.log(set, path, `is ${over} px too wide`);
        await page.screenshot({path: `${out}/${set}${path.replace(/[^a-z0-9]+/gi, "_")}.png`, fullPage: process.env.FULL !== "0"});
    }
    await context.close();
}
await browser.close();
