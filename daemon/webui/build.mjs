// build.mjs - bundles src/ into dist/: index.html, assets/NAME-HASH.{js,css} each with a .gz beside it, licenses.txt. Run in a folder that holds
// package.json, node_modules and src (the CMake target makes one in the build folder). No network.
import * as esbuild from "esbuild";
import {gzipSync} from "node:zlib";
import {mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync, existsSync, copyFileSync} from "node:fs";
import {basename, join} from "node:path";

rmSync("dist", {recursive: true, force: true});
const options = {
    entryPoints: ["src/main.tsx"],
    outdir: "dist/assets",
    entryNames: "[name]-[hash]", chunkNames: "[name]-[hash]", assetNames: "[name]-[hash]",
    bundle: true, splitting: true, format: "esm", minify: true, metafile: true,
    target: ["es2022"], jsx: "automatic", jsxImportSource: "preact",
    legalComments: "none",                    // all notices are in licenses.txt
    logLevel: "warning",
};
// What the frame is made of would be cut into as many pieces as there are sets of pages that share one. Every page has all of it anyhow, so pages are told to
// import all of it: it stays in one piece, and browsers, which open six connections to a daemon, have some left for data.
const look = await esbuild.build({...options, write: false});
const frame = new Set();
const reach = (path) => {
    for (const i of look.metafile.inputs[path].imports)
        if (i.kind === "import-statement" && !i.external && !frame.has(i.path)) {
            frame.add(i.path);
            reach(i.path);
        }
};
reach("src/main.tsx");
// Small parts that several pages share go with it: a request of their own costs more than they weigh.
const shared = ["terms", "picker", "fix", "compare", "spark", "chart"].map((name) => `src/ui/${name}.tsx`);
const whole = [...new Set([...frame, ...shared])].filter((p) => /^src\/.*\.tsx?$/.test(p)).map((p) => `import ${JSON.stringify("./" + p)};`).join("\n");
const made = await esbuild.build({...options, plugins: [{name: "frame in one piece", setup(build) {
    build.onResolve({filter: /^the-frame$/}, () => ({path: "the-frame", namespace: "made", sideEffects: true}));
    build.onLoad({filter: /.*/, namespace: "made"}, () => ({contents: whole, resolveDir: process.cwd()}));
    build.onLoad({filter: /src\/(pages\/\w+|ui\/plot)\.tsx$/}, ({path}) => ({contents: `import "the-frame";\n${readFileSync(path, "utf8")}`, loader: "tsx"}));
}}]});
const outputs = Object.entries(made.metafile.outputs);
const file = (entry, ext) => {
    const found = outputs.find(([name, o]) => name.endsWith(ext) && (o.entryPoint === entry || (ext === ".css" && basename(name).startsWith("main-"))));
    if (!found)
        throw new Error(`the bundle has no ${ext} of ${entry}`);
    return "/assets/" + basename(found[0]);
};
const main = file("src/main.tsx", ".js");
// What comes before everything is a classic script in one piece: it waits for nothing.
const early = await esbuild.build({entryPoints: ["src/early.ts"], outdir: "dist/assets", entryNames: "[name]-[hash]", bundle: true, format: "iife", minify: true, metafile: true, target: ["es2022"], legalComments: "none", logLevel: "warning"});
// What the first page imports statically is named in the head, so that it is asked for at once and not one after the other.
const statics = new Set();
const follow = (name) => {
    for (const i of made.metafile.outputs[name].imports)
        if (i.kind === "import-statement" && !statics.has(i.path)) {
            statics.add(i.path);
            follow(i.path);
        }
};
follow("dist" + main);
// And what each page imports beyond that, by the name of its file: early.ts asks for the one that is wanted.
const chunks = {};
for (const [name, o] of outputs)
    if (/^src\/pages\/\w+\.tsx$/.test(o.entryPoint ?? "")) {
        const all = new Set([name]), walk = (at) => { for (const i of made.metafile.outputs[at].imports) if (i.kind === "import-statement" && !all.has(i.path)) { all.add(i.path); walk(i.path); } };
        walk(name);
        chunks[basename(o.entryPoint, ".tsx")] = [...all].filter((p) => !statics.has(p) && "/assets/" + basename(p) !== main).map((p) => "/assets/" + basename(p));
    }
mkdirSync("dist", {recursive: true});
writeFileSync("dist/index.html", readFileSync("src/index.html", "utf8")
    .replace("@MAIN@", main).replace("@EARLY@", "/assets/" + basename(Object.keys(early.metafile.outputs)[0]))
    .replace("@CHUNKS@", JSON.stringify(chunks).replace(/&/g, "&amp;").replace(/"/g, "&quot;")).replace("@STYLE@", file("src/main.tsx", ".css"))
    .replace("@PRELOAD@", [...statics].map((p) => `<link rel="modulepreload" href="/assets/${basename(p)}">`).join("\n")));
for (const name of ["favicon.svg"])
    copyFileSync(`src/${name}`, `dist/${name}`);

const used = new Set(Object.keys(made.metafile.inputs).map((p) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(p)?.[1]).filter(Boolean));
let notices = "The web UI of Portolan holds these programs; each is under the licence printed below its name.\n";
for (const name of [...used].sort()) {
    const folder = join("node_modules", name);
    const licence = readdirSync(folder).find((f) => /^licen[cs]e/i.test(f));
    if (!licence)
        throw new Error(`${name} ships no licence file`);
    const version = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version;
    notices += `\n---- ${name} ${version}\n\n${readFileSync(join(folder, licence), "utf8").trim()}\n`;
}
writeFileSync("dist/licenses.txt", notices);

for (const dir of ["dist", "dist/assets"])
    for (const name of readdirSync(dir))
        if (/\.(html|js|css|svg|txt)$/.test(name))
            writeFileSync(join(dir, name + ".gz"), gzipSync(readFileSync(join(dir, name)), {level: 9}));
if (!existsSync("dist/index.html.gz"))
    throw new Error("nothing was compressed");
