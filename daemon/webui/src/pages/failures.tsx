// failures.tsx - ask the past: words and facts, counts beside them, the trend above; everything asked for is in the address. Views: the search, trends
// beside the paper's numbers, operators that are wanted, toolchain pairs that break.
import type {ComponentChildren} from "preact";
import {useEffect, useMemo, useState} from "preact/hooks";
import {api, useGet, useList, type Page} from "../lib/api.ts";
import {about, count, idWords, number, percent, sentence, shortRef} from "../lib/format.ts";
import {query, setQuery, withQuery} from "../lib/router.ts";
import {Act, Dialog, Empty, Failed, Field, Loading, More, Tabs, Time, Title} from "../ui/basics.tsx";
import {Chart} from "../ui/chart.tsx";
import {Fix, type Resolution} from "../ui/fix.tsx";

interface Failure {
    attempt_id: number; run_id: number; run_number: number; project: string; stage: string; kind: string; target: string | null; platform: string; tool?: string; at: string; challenge_id: string | null; challenge_path: string | null;
    probability: number | null; summary: string | null; key_line: string | null; cost_minutes: number; resolved_at: string | null; resolution_id: number | null; author: string | null; branch: string; agent: string | null; operator?: string | null;
    log_hits?: {line: number; text: string}[];
}
const filters = ["q", "in", "challenge", "taxonomy", "platform", "target", "stage", "kind", "project", "tool", "version", "operator", "branch", "author", "agent", "end_reason", "since", "until", "resolved"];
const facetTitles: [string, string][] = [["challenge", "Challenge"], ["platform", "Platform"], ["project", "Project"], ["kind", "Stage"], ["target", "Target"], ["tool", "Tool"], ["agent", "Agent"]];

function asked(extra: Record<string, string> = {}): URLSearchParams {
    const p = new URLSearchParams();
    for (const f of filters) {
        const v = query.value.get(f);
        if (v)
            p.set(f, v);
    }
    for (const [k, v] of Object.entries(extra))
        p.set(k, v);
    return p;
}

const views = [["", "Search"], ["trends", "Trends"], ["operators", "Operators wanted"], ["toolchains", "Toolchain pairs"], ["fixes", "What fixed it"]];
export function Failures() {
    const view = query.value.get("view") ?? "";
    return <><Title>Failures</Title>
        <Tabs label="Views">{views.map(([id, title]) => <a key={id} href={id ? `/failures?view=${id}` : "/failures"} aria-current={view === id ? "page" : undefined}>{title}</a>)}</Tabs>
        {view === "trends" ? <Trends /> : view === "operators" ? <Operators /> : view === "toolchains" ? <Toolchains /> : view === "fixes" ? <Fixes /> : <Search />}</>;
}

interface Facets { total: number; capped: boolean; note?: string | null; facets: Record<string, {value: string; count: number}[]> }
function Search() {
    const q = query.value, sort = q.get("sort") ?? "time";
    const list = useList<Failure>("/api/v1/failures?" + asked({sort, limit: "40"}), "cursor", (f) => f.attempt_id);
    const facets = useGet<Facets>("/api/v1/failures/facets?" + asked());
    const [words, setWords] = useState(q.get("q") ?? ""), [saving, setSaving] = useState(false);
    useEffect(() => setWords(q.get("q") ?? ""), [q.get("q")]);
    const set = filters.filter((f) => q.get(f) && f !== "q" && f !== "in");
    const seen = facets.data;
    return <div class="asking">
        <form class="searchbar" role="search" aria-label="Search failures" onSubmit={(e) => { e.preventDefault(); setQuery({q: words.trim()}, false); }}>
            <input data-search type="search" aria-label="Words" placeholder={'words of the log or the verdict; "exact phrases" in quotes'} value={words} onInput={(e) => setWords(e.currentTarget.value)} />
            <label title="Of failures whose log is still kept; quoted texts are shown with their lines"><input type="checkbox" checked={q.get("in") === "log"} onChange={(e) => setQuery(e.currentTarget.checked ? {in: "log", sort: ""} : {in: ""})} /> in whole logs</label>
            <button type="submit" class="button primary">Search</button>
            <label>When <select value={q.get("since") ?? ""} onChange={(e) => setQuery({since: e.currentTarget.value})}><option value="">any time</option><option value="24h">last day</option><option value="7d">last week</option><option value="30d">last 30 days</option><option value="90d">last 90 days</option><option value="365d">last year</option></select></label>
            <label>Resolved <select value={q.get("resolved") ?? ""} onChange={(e) => setQuery({resolved: e.currentTarget.value})}><option value="">either</option><option value="true">yes</option><option value="false">no</option></select></label>
            <label>Sort <select value={sort} disabled={q.get("in") === "log"} onChange={(e) => setQuery({sort: e.currentTarget.value === "time" ? "" : e.currentTarget.value})}><option value="time">newest</option><option value="similarity">likest</option><option value="cost">costliest</option></select></label>
        </form>
        <div class="chips">{set.map((f) => <a key={f} class="chip" href={withQuery({[f]: ""})} title="Take this filter away">{f}: <b>{f === "challenge" ? idWords(q.get(f)!) : q.get(f)}</b> <span aria-hidden="true">✕</span></a>)}
            {(set.length > 0 || q.get("q")) && <a href="/failures">Clear all</a>}
            <span class="grow" />
            <Saved />{<button type="button" class="link" onClick={() => setSaving(true)}>Save this search</button>}
            <a href={"/api/v1/failures.csv?" + asked({sort})} download="failures.csv">CSV</a></div>
        <aside class="facets" aria-label="Counts">
            {facets.error && facets.error.status !== 404 && <p class="bad">{facets.error.message}</p>}
            <details open={innerWidth > 820}><summary>{seen ? <><b class="num">{count(seen.total)}{seen.capped ? "+" : ""}</b> {seen.total === 1 ? "failure" : "failures"}</> : "Counting …"}</summary>{seen?.note && <p class="hint">{seen.note}</p>}
            {seen && facetTitles.map(([key, title]) => {
                const values = seen.facets[key] ?? [], most = Math.max(1, ...values.map((v) => v.count));
                return values.length > 0 && <div class="facet" key={key}><h3>{title}</h3><ul>{values.slice(0, 8).map((v) => {
                    const on = q.get(key) === v.value;
                    return <li key={v.value}><a href={withQuery({[key]: on ? "" : v.value})} aria-current={on ? "true" : undefined} title={v.value}><i style={{width: `${100 * v.count / most}%`}} aria-hidden="true" /><span class="cut">{key === "challenge" ? v.value === "none" ? "no challenge" : idWords(v.value) : v.value || "none"}</span><span class="num">{count(v.count)}</span></a></li>;
                })}</ul></div>;
            })}</details>
        </aside>
        <div class="hits">
            {list.error && <Failed problem={list.error} retry={list.reload} />}
            {!list.items ? !list.error && <Loading what="Searching" /> : list.items.length === 0 && list.more ? <p class="dim">None so far.</p> : list.items.length === 0
                ? <Empty title={set.length || q.get("q") ? "No failure fits" : "Nothing has failed here"}><p>{set.length || q.get("q") ? <>Fewer words or filters find more. <a href="/failures">Clear all</a></> : "When a stage fails, it is kept here with its diagnosis, and can be asked for."}</p></Empty>
                : <ol>{list.items.map((f) => <li key={f.attempt_id} data-row class="hitrow">
                    <p class="row"><a class="main" href={`/runs/${f.run_id}?stage=${encodeURIComponent(f.stage)}&attempt=${f.attempt_id}`}>{f.project} #{f.run_number} {f.stage}</a>{f.resolved_at ? <span class="tag good" title="turned green later">resolved</span> : <span class="tag">open</span>}
                        <span class="dim">{f.platform} · {shortRef(f.branch)} {f.author && `· ${f.author.replace(/ <.*>$/, "")}`} · <Time at={f.at} /></span></p>
                    <p>{f.summary ? sentence(f.summary) : <span class="dim">Not diagnosed.</span>}</p>
                    {f.log_hits ? f.log_hits.map((h) => <p class="cut" key={h.line}><a class="num line" href={`/runs/${f.run_id}?stage=${encodeURIComponent(f.stage)}&attempt=${f.attempt_id}#L${h.line}`} aria-label={`Line ${h.line} of its log`}>{h.line}</a> <code>{marked(h.text, q.get("q") ?? "")}</code></p>) : f.key_line && <p class="cut"><code>{f.key_line}</code></p>}
                    <p class="sub">{f.challenge_id ? <a href={withQuery({challenge: f.challenge_id})} title={f.challenge_path ?? ""}>{f.challenge_path ?? idWords(f.challenge_id)}</a> : "no challenge"} {f.probability !== null && f.challenge_id && percent(f.probability)}{f.cost_minutes >= 1 && ` · cost ${about(f.cost_minutes * 60000)}`}</p></li>)}</ol>}
            {list.cut && <p class="hint" role="status">{list.cut[0].toUpperCase() + list.cut.slice(1)}.</p>}
            <More more={list.more} busy={list.busy} />
        </div>
        {saving && <Save close={() => setSaving(false)} />}
    </div>;
}

/** The quoted texts that were asked for, marked in a line that has them. */
function marked(text: string, asked: string) {
    const wanted = [...asked.matchAll(/"([^"]{2,})"/g)].map((m) => m[1].toLowerCase()), low = text.toLowerCase(), out: ComponentChildren[] = [];
    let at = 0;
    while (wanted.length) {
        const next = wanted.map((w) => [low.indexOf(w, at), w.length] as const).filter(([i]) => i >= 0).sort((a, b) => a[0] - b[0])[0];
        if (!next)
            break;
        out.push(text.slice(at, next[0]), <mark>{text.slice(next[0], next[0] + next[1])}</mark>);
        at = next[0] + next[1];
    }
    return [...out, text.slice(at)];
}

interface SavedQuery { id: number; name: string; query: string | Record<string, string>; owner: string; mine: boolean; shared: boolean }
const asText = (query: SavedQuery["query"]) => typeof query === "string" ? query.replace(/^\?/, "") : new URLSearchParams(query).toString();
function Saved() {
    const list = useGet<Page<SavedQuery>>("/api/v1/queries"), [open, setOpen] = useState(false);
    if (!list.data?.items.length)
        return null;
    return <><button type="button" class="link" onClick={() => { list.reload(); setOpen(true); }}>Saved searches</button>
        {open && <Dialog title="Saved searches" close={() => setOpen(false)}><ul class="plainlist">{list.data.items.map((s) => <li key={s.id} class="row apart"><a href={"/failures?" + asText(s.query)} onClick={() => setOpen(false)}>{s.name}</a><span class="dim">{s.mine ? s.shared ? "shared" : "" : `by ${s.owner}`} {s.mine && <Act kind="link" run={() => api("DELETE", `/api/v1/queries/${s.id}`).then(list.reload)} done="Forgotten.">Forget</Act>}</span></li>)}</ul></Dialog>}</>;
}
function Save({close}: {close: () => void}) {
    const [name, setName] = useState(""), [shared, setShared] = useState(false);
    return <Dialog title="Save this search" close={close}>
        <Field label="Name">{(id) => <input id={id} value={name} maxLength={100} onInput={(e) => setName(e.currentTarget.value)} />}</Field>
        <label><input type="checkbox" checked={shared} onChange={(e) => setShared(e.currentTarget.checked)} /> Others see it too</label>
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!name.trim()} run={() => api("POST", "/api/v1/queries", {name: name.trim(), query: asked(query.value.get("sort") ? {sort: query.value.get("sort")!} : {}).toString(), shared}).then(close)} done="Saved.">Save</Act></div>
    </Dialog>;
}

// ---- trends: one's own numbers beside the paper's
interface Trend { id: string; title: string | null; path: string | null; failures: number; resolved: number; share: number; share_of_platform: number; unresolved_share: number; median_hours: number | null; series: {at: string; failures: number; resolved: number}[]; paper: {share: number | null; questions: number | null; unanswered: number | null; median_hours: number | null} | null }
/** How far back the daemon counts by each interval (routes_history.c: no answer has more than some 15000 points). */
const since_of: Record<string, [string, string][]> = {
    day: [["30d", "30 days"], ["90d", "90 days"]],
    week: [["30d", "30 days"], ["90d", "90 days"], ["365d", "a year"]],
    month: [["90d", "90 days"], ["365d", "a year"], [new Date(Date.now() - 3650 * 86400000).toISOString().slice(0, 10), "ten years"]],
};
const sea = (id: string) => id === "none" ? "unclear" : idWords(id);
function Trends() {
    const q = query.value, by = q.get("by") ?? "category", interval = q.get("interval") ?? "week", project = q.get("project") ?? "";
    const times = since_of[interval] ?? since_of.week, since = times.some(([t]) => t === q.get("since")) ? q.get("since")! : "90d";
    const projects = useGet<Page<{name: string}>>("/api/v1/projects?limit=500");
    const trends = useGet<{items: Trend[]}>("/api/v1/trends?" + new URLSearchParams({by, interval, since, ...(project ? {project} : {})}));
    const rows = trends.data?.items ?? [];
    const plot = useMemo(() => {
        const top = rows.slice(0, 5), x = [...new Set(top.flatMap((r) => r.series.map((p) => Date.parse(p.at) / 1000)))].sort((a, b) => a - b);
        return {x, series: top.map((r) => { const m = new Map(r.series.map((p) => [Date.parse(p.at) / 1000, p.failures])); return {label: r.id.startsWith("none") ? "unclear" : `${r.title ?? sea(r.id)}${r.path?.includes(" › ") ? ` (${r.path.split(/ \/ | /)[0].toLowerCase()})` : ""}`, values: x.map((t) => m.get(t) ?? 0)}; })};
    }, [trends.data]);
    return <div class="stack wide">
        <form class="filters" onSubmit={(e) => e.preventDefault()}>
            <label>By <select value={by} onChange={(e) => setQuery({by: e.currentTarget.value})}><option value="category">category</option><option value="challenge">challenge</option></select></label>
            <label>Per <select value={interval} onChange={(e) => setQuery({interval: e.currentTarget.value})}>{["day", "week", "month"].map((i) => <option key={i}>{i}</option>)}</select></label>
            <label>Project <select value={project} onChange={(e) => setQuery({project: e.currentTarget.value})}><option value="">all</option>{projects.data?.items.map((p) => <option key={p.name}>{p.name}</option>)}</select></label>
            <label>Since <select value={since} onChange={(e) => setQuery({since: e.currentTarget.value})}>{times.map(([t, words]) => <option key={t} value={t}>{words}</option>)}</select></label>
        </form>
        {trends.error && <Failed problem={trends.error} retry={trends.reload} />}
        {!trends.data ? !trends.error && <Loading what="Counting" /> : rows.length === 0 ? <Empty title="No failures in this time"><p>Choose a longer one.</p></Empty> : <>
            {plot.x.length > 1 && <div class="card"><h3>Failures per {interval}, the {plot.series.length === 1 ? "most frequent" : `${plot.series.length} most frequent`}</h3><Chart x={plot.x} series={plot.series} title={`Failures per ${interval} of the most frequent`} label="failures" unit={(v) => count(Math.round(v))} height={240} days /></div>}
            <div class="scroll" tabIndex={0} role="region" aria-label="Numbers beside the paper's"><table class="list trends"><thead><tr><th rowSpan={2}>{by === "challenge" ? "Challenge" : "Category"}</th><th rowSpan={2} class="right">Failures</th><th colSpan={2} class="group">Share of its platform</th><th colSpan={2} class="group">Unresolved</th><th colSpan={2} class="group">Median to resolve</th></tr>
                <tr><th>Here</th><th>Paper</th><th class="right">Here</th><th class="right" title="Questions without an accepted answer">Paper</th><th class="right">Here</th><th class="right" title="To an accepted answer">Paper</th></tr></thead>
                <tbody>{rows.map((t) => <tr key={t.id} data-row>
                    <td><a class="main" href={`/failures?challenge=${encodeURIComponent(t.id)}`} title={t.path ?? ""}>{t.title ?? sea(t.id)}</a>{t.path && <span class="sub">{t.path.split(" › ")[0]}</span>}</td><td class="right num" data-h="Failures">{count(t.failures)}</td>
                    <td data-h="Share of its platform"><Share v={t.share_of_platform} /></td><td class={t.paper?.share == null ? "none" : ""} data-h="Paper">{t.paper?.share != null ? <Share v={t.paper.share} hazard /> : <span class="dim">–</span>}</td><td class="right num" data-h="Unresolved">{number(t.unresolved_share)} %</td><td class={`right num ${t.paper?.unanswered == null ? "none" : ""}`} data-h="Paper">{t.paper?.unanswered != null ? `${number(t.paper.unanswered)} %` : "–"}</td><td class="right num" data-h="Median to resolve">{t.median_hours != null ? about(t.median_hours * 3600000) : "–"}</td><td class={`right num ${t.paper?.median_hours == null ? "none" : ""}`} data-h="Paper">{t.paper?.median_hours != null ? about(t.paper.median_hours * 3600000) : "–"}</td></tr>)}</tbody></table></div></>}
    </div>;
}
const Share = ({v, hazard}: {v: number; hazard?: boolean}) => <span class="meter"><span class={`bar ${hazard ? "hazard" : "sea"}`} aria-hidden="true"><i style={{width: `${Math.min(100, v)}%`}} /></span><span class="num">{number(v, 2)} %</span></span>;

interface Op { operator: string; failures: number; unresolved: number; projects: number; first_day: string; last_day: string; places: {platform: string; tool: string; failures: number; unresolved: number; challenge_id: string | null}[] }
function Operators() {
    const list = useGet<Page<Op>>("/api/v1/trends/operators");
    if (list.error)
        return <Failed problem={list.error} retry={list.reload} />;
    if (!list.data)
        return <Loading what="Counting" />;
    if (list.data.items.length === 0)
        return <Empty title="No operator was missed yet"><p>When a converter or runtime lacks an operator, it is counted here by platform and tool: a list that a framework's vendor could act on.</p></Empty>;
    return <table class="list"><thead><tr><th>Operator</th><th>Where</th><th class="right">Projects</th><th class="right">Failures</th><th class="right">Unresolved</th><th>Last</th></tr></thead><tbody>{list.data.items.map((o) => <tr key={o.operator} data-row>
        <td><a class="main mono" href={`/failures?operator=${encodeURIComponent(o.operator)}`}>{o.operator}</a></td><td class="grow wrap"><Places places={o.places} /></td><td class="right num" data-h="Projects">{o.projects}</td><td class="right num" data-h="Failures">{count(o.failures)}</td><td class="right num" data-h="Unresolved">{count(o.unresolved)}</td><td data-h="Last"><Time at={o.last_day} /></td></tr>)}</tbody></table>;
}
/** By platform, the tools that missed it most first; all of them on hover. */
function Places({places}: {places: Op["places"]}) {
    const by = new Map<string, Op["places"]>();
    for (const p of places)
        by.set(p.platform, [...(by.get(p.platform) ?? []), p]);
    return <ul class="plainlist">{[...by].map(([platform, list]) => { const tools = list.sort((a, b) => b.failures - a.failures); return <li key={platform} title={tools.map((p) => `${p.tool}: ${p.failures}, ${p.unresolved} unresolved`).join("\n")}><b>{platform}</b> <span class="num">{count(list.reduce((s, p) => s + p.failures, 0))}</span><span class="dim">: {tools.slice(0, 3).map((p) => `${p.tool} ${p.failures}`).join(", ")}{tools.length > 3 && `, ${tools.length - 3} more`}</span></li>; })}</ul>;
}
interface Pair { made_with: string; used_with: string; kind: string; ok: number; failed: number; failed_share: number; projects: number; never_green: boolean; last_day: string; last_green_day: string | null }
function Toolchains() {
    const list = useGet<Page<Pair>>("/api/v1/trends/toolchains");
    if (list.error)
        return <Failed problem={list.error} retry={list.reload} />;
    if (!list.data)
        return <Loading what="Counting" />;
    if (list.data.items.length === 0)
        return <Empty title="No pair of toolchains has failed"><p>What a model was exported with and what took it are counted here, worst pairs first.</p></Empty>;
    return <table class="list"><thead><tr><th>Exported with</th><th>Taken by</th><th>Stage</th><th>Failed</th><th class="right">Attempts</th><th>Last green</th></tr></thead><tbody>{list.data.items.map((p) => <tr key={p.made_with + p.used_with + p.kind} data-row>
        <td data-h="Exported with">{p.made_with}</td><td data-h="Taken by">{p.used_with}</td><td>{p.kind}</td><td data-h="Failed"><span class="meter"><span class="bar bad" aria-hidden="true"><i style={{width: `${p.failed_share}%`}} /></span><span class="num">{number(p.failed_share, 2)} %</span></span>{p.never_green && <span class="tag bad">never green</span>}</td><td class="right num" data-h="Attempts">{count(p.ok + p.failed)}</td><td data-h="Last green">{p.last_green_day ? <Time at={p.last_green_day} /> : <span class="dim">never</span>}</td></tr>)}</tbody></table>;
}

// ---- what turned stages green, to confirm or to reject
function Fixes() {
    const q = query.value, state = q.get("state") ?? "candidate";
    const list = useList<Resolution>("/api/v1/resolutions?" + new URLSearchParams({limit: "30", ...(state !== "all" ? {state} : {}), ...(q.get("project") ? {project: q.get("project")!} : {}), ...(q.get("challenge") ? {challenge: q.get("challenge")!} : {})}), "before");
    return <><form class="filters" onSubmit={(e) => e.preventDefault()}><label>State <select value={state} onChange={(e) => setQuery({state: e.currentTarget.value})}><option value="candidate">to be confirmed</option><option value="confirmed">confirmed</option><option value="rejected">rejected</option><option value="all">all</option></select></label></form>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!list.items ? !list.error && <Loading /> : list.items.length === 0 ? <Empty title="Nothing to show"><p>When a stage that was red turns green, what changed between is kept here as a candidate; once confirmed, later failures of that challenge show it first.</p></Empty>
            : <ul class="stack">{list.items.map((r) => <li key={r.id} class="card fixed" data-row><p class="row"><span class="dim">Was red:</span> <a class="main" href={`/attempts/${r.red_attempt_id}`}>{r.project} {r.stage}</a>{state === "all" && <span class="tag">{r.state === "candidate" ? "to be confirmed" : r.state}</span>}{r.challenge_id && <a href={`/knowledge?id=${encodeURIComponent(r.challenge_id)}`}>{idWords(r.challenge_id)}</a>}<span class="dim"><Time at={r.green_at} /></span></p><Fix r={r} reload={list.reload} /></li>)}</ul>}
        <More more={list.more} busy={list.busy} /></>;
}
