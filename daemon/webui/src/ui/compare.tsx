// compare.tsx - this stage beside the last run in which it was green: what the environment, the recipe and the agent were, what the commits between changed
// (the pipeline file, what is installed and scripts first), and the figures. Only what differs; what the daemon left out it says.
import {useGet} from "../lib/api.ts";
import {bytes, metric as words, number, shortRef, shortSha, span} from "../lib/format.ts";
import type {Attempt, Run, Stage} from "../lib/types.ts";
import {Failed, Loading, Time} from "./basics.tsx";

interface Side { id: number; number: number | null; ref: string; commit: string | null; message: string | null; attempt_id: number | null; at?: string | null }
interface Change { name: string; before: unknown; after: unknown }
interface Comparison {
    stage: string | null; run: Side; with: Side | null; why: string | null; environment: {tool: string; before: string | null; after: string | null}[]; where: Change[]; figures: Change[];
    commits: {sha: string; subject: string; author: string; at: string}[]; files: string[]; diff: string | null; cuts: string[];
}
const figure = (name: string, v: unknown) => typeof v !== "number" ? "–" : name === "duration_ms" ? span(v) : /bytes/.test(name) ? bytes(v) : /_ms$/.test(name) ? `${number(v)} ms` : number(v);

export function Compare({run, stage, attempt}: {run: Run; stage: Stage; attempt: Attempt | undefined}) {
    const seen = useGet<Comparison>(`/api/v1/runs/${run.id}/compare?stage=${encodeURIComponent(stage.name)}`), c = seen.data;
    const before = useGet<Attempt>(c?.with?.attempt_id ? `/api/v1/attempts/${c.with.attempt_id}` : null);
    if (!c)
        return seen.error ? <Failed problem={seen.error} retry={seen.reload} /> : <Loading what="Comparing with the last good run" />;
    if (!c.with)
        return <p class="dim pad">Nothing to compare with: {c.why}.</p>;
    const rows: [string, string, string][] = c.figures.map((f) => [words(f.name), figure(f.name, f.before), figure(f.name, f.after)]);
    for (const o of attempt?.report?.outputs ?? []) {
        const b = before.data?.report?.outputs?.find((x) => x.name === o.name);
        for (const [key, title] of [["max_abs_error", "largest error"], ["top1_agreement", "top-1 agreement"]] as const)
            if (b && b[key] !== o[key])
                rows.push([`${o.name}: ${title}`, number(b[key]), number(o[key])]);
    }
    const where = [...c.where.map((w): [string, string, string] => [w.name, String(w.before ?? "–"), String(w.after ?? "–")]), ...c.environment.map((e): [string, string, string] => [e.tool, e.before ?? "none", e.after ?? "none"])];
    return <div class="stack wide compare">
        <p>Beside <a href={`/runs/${c.with.id}?stage=${encodeURIComponent(stage.name)}`}>#{c.with.number ?? c.with.id}</a>, the last run before in which {stage.name} was green{c.with.ref !== c.run.ref && <>, of {shortRef(c.with.ref)}</>} (<Time at={c.with.at} />). What differs:</p>
        <section><h3>Environment and toolchain</h3>{where.length ? <Changes rows={where} /> : <p class="dim">Nothing: same recipe, same agent, same tools, same versions.</p>}</section>
        <section><h3>Commits</h3>{c.with.commit === c.run.commit ? <p class="dim">The same commit, <code>{shortSha(c.run.commit)}</code>.</p> : <>
            <p><code>{shortSha(c.with.commit)}</code> → <code>{shortSha(c.run.commit)}</code></p>
            <ul class="plainlist">{c.commits.map((k) => <li key={k.sha} class="sub wrap"><code>{shortSha(k.sha)}</code> {k.subject} <span class="dim">{k.author} <Time at={k.at} /></span></li>)}</ul></>}</section>
        {c.files.length > 0 && <section><h3>{c.files.length} file{c.files.length > 1 ? "s" : ""}</h3><p class="words">{c.files.map((f) => <code>{f}</code>)}</p></section>}
        {c.cuts.length > 0 && <p class="note">Left out: {c.cuts.join("; ")}.</p>}
        {c.diff && <DiffView text={c.diff} />}
        {rows.length > 0 && <section><h3>Figures</h3><Changes rows={rows} /></section>}
    </div>;
}
function Changes({rows}: {rows: [string, string, string][]}) {
    return <div class="scroll" tabIndex={0} role="region" aria-label="What differs"><table class="narrow"><thead><tr><th>What</th><th>Last good</th><th>This one</th></tr></thead><tbody>{rows.map(([k, a, b]) => <tr key={k}><td>{k}</td><td class="num">{a}</td><td class="num"><b>{b}</b></td></tr>)}</tbody></table></div>;
}

/** The difference file by file; a long one is closed until somebody opens it. */
export function DiffView({text}: {text: string}) {
    const parts = text.split(/^(?=diff --git )/m).filter(Boolean);
    return <section class="files">{parts.map((p, i) => {
        const lines = p.replace(/\n+$/, "").split("\n"), head = /^diff --git a\/(.*) b\/(.*)$/.exec(lines[0]), hunk = lines.findIndex((l) => l.startsWith("@@"));
        const kind = lines.slice(1, 8).find((l) => /^(new|deleted) file/.test(l))?.split(" ")[0], plus = lines.filter((l, n) => n > hunk && l.startsWith("+")).length, minus = lines.filter((l, n) => n > hunk && l.startsWith("-")).length;
        const body = hunk < 0 ? lines.slice(1).filter((l) => l && !/^(index|new file|deleted file|old mode|new mode|similarity|---|\+\+\+) /.test(l)) : lines.slice(hunk);
        return <details key={i} open={i < 6 && lines.length < 400}><summary><code>{head?.[2] ?? lines[0]}</code> {kind && <span class="tag">{kind}</span>} {hunk >= 0 && <span class="num dim"><span class="good">+{plus}</span> <span class="bad">−{minus}</span></span>}</summary>
            <pre class="block diff" tabIndex={0}>{(body.length ? body : ["its mode changed"]).slice(0, 1000).map((l) => <span class={hunk < 0 ? "dim" : l.startsWith("+") ? "good" : l.startsWith("-") ? "bad" : l.startsWith("@@") ? "busy" : "dim"}>{l}{"\n"}</span>)}</pre></details>;
    })}</section>;
}
