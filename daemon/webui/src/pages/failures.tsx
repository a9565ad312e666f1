// failures.tsx - ask the past: words and facts, counts beside them, the trend above; everything asked for is in the address. Views: the search, trends
// beside the paper's numbers, operators that are wanted, toolchain pairs that break.
import {useEffect, useMemo, useState} from "preact/hooks";
import {api, useGet, useList, type Page} from "../lib/api.ts";
import {about, count, idWords, number, percent, shortRef, span} from "../lib/format.ts";
import {query, setQuery, withQuery} from "../lib/router.ts";
import {Act, Dialog, Empty, Failed, Field, Loading, More, Time, Title} from "../ui/basics.tsx";
import {Chart} from "../ui/chart.tsx";

interface Failure {
    attempt_id: number; run_id: number; run_number: number; project: string; stage: string; kind: string; target: string | null; platform: string; tool?: string; at: string; challenge_id: string | null; challenge_path: string | null;
    probability: number | null; summary: string | null; key_line: string | null; cost_minutes: number; resolved_at: string | null; resolution_id: number | null; author: string | null; branch: string; agent: string | null; operator?: string | null;
}
const filters = ["q", "challenge", "taxonomy", "platform", "target", "stage", "kind", "project", "tool", "version", "operator", "branch", "author", "agent", "end_reason", "since", "until", "resolved"];
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

const views = [["", "Search"], ["trends", "Trends"], ["operators", "Operators wanted"], ["toolchains", "Toolchain pairs"]];
export function Failures() {
    const view = query.value.get("view") ?? "";
    return <><Title>Failures</Title>
        <div class="tabs" role="navigation" aria-label="Views">{views.map(([id, title]) => <a key={id} href={id ? `/failures?view=${id}` : "/failures"} aria-current={view === id ? "page" : undefined}>{title}</a>)}</div>
        {view === "trends" ? <Trends /> : view === "operators" ? <Operators /> : view === "toolchains" ? <Toolchains /> : <Search />}</>;
}

interface Facets { total: number; capped: boolean; note?: string | null; facets: Record<string, {value: string; count: number}[]> }
function Search() {
    const q = query.value, sort = q.get("sort") ?? "time";
    const list = useList<Failure>("/api/v1/failures?" + asked({sort, limit: "40"}), "cursor", (f) => f.attempt_id);
    const facets = useGet<Facets>("/api/v1/failures/facets?" + asked());
    const [words, setWords] = useState(q.get("q") ?? ""), [saving, setSaving] = useState(false);
    useEffect(() => setWords(q.get("q") ?? ""), [q.get("q")]);
    const set = filters.filter((f) => q.get(f) && f !== "q");
    const seen = facets.data;
    return <div class="asking">
        <form class="searchbar" role="search" aria-label="Search failures" onSubmit={(e) => { e.preventDefault(); setQuery({q: words.trim()}, false); }}>
            <input data-search type="search" aria-label="Words" placeholder={'words of the log or the verdict; "exact phrases" in quotes'} value={words} onInput={(e) => setWords(e.currentTarget.value)} />
            <button type="submit" class="button primary">Search</button>
            <label>When <select value={q.get("since") ?? ""} onChange={(e) => setQuery({since: e.currentTarget.value})}><option value="">any time</option><option value="24h">last day</option><option value="7d">last week</option><option value="30d">last 30 days</option><option value="90d">last 90 days</option><option value="365d">last year</option></select></label>
            <label>Resolved <select value={q.get("resolved") ?? ""} onChange={(e) => setQuery({resolved: e.currentTarget.value})}><option value="">either</option><option value="true">yes</option><option value="false">no</option></select></label>
            <label>Sort <select value={sort} onChange={(e) => setQuery({sort: e.currentTarget.value === "time" ? "" : e.currentTarget.value})}><option value="time">newest</option><option value="similarity">likest</option><option value="cost">costliest</option></select></label>
        </form>
        <div class="chips">{set.map((f) => <a key={f} class="chip" href={withQuery({[f]: ""})} title="Take this filter away">{f}: <b>{f === "challenge" ? idWords(q.get(f)!) : q.get(f)}</b> <span aria-hidden="true">✕</span></a>)}
            {(set.length > 0 || q.get("q")) && <a href="/failures">Clear all</a>}
            <span class="grow" />
            <Saved />{<button type="button" class="link" onClick={() => setSaving(true)}>Save this search</button>}
            <a href={"/api/v1/failures.csv?" + asked({sort})} download="failures.csv">CSV</a></div>
        <aside class="facets" aria-label="Counts">
            {facets.error && facets.error.status !== 404 && <p class="bad">{facets.error.message}</p>}
            <details open={innerWidth > 820}><summary>{seen ? <><b class="num">{count(seen.total)}{seen.capped ? "+" : ""}</b> failures</> : "Counting …"}</summary>{seen?.note && <p class="hint">{seen.note}</p>}
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
            {!list.items ? !list.error && <Loading what="Searching" /> : list.items.length === 0
                ? <Empty title={set.length || q.get("q") ? "No failure fits" : "Nothing has failed here"}><p>{set.length || q.get("q") ? <>Fewer words or filters find more. <a href="/failures">Clear all</a></> : "When a stage fails, it is kept here with its diagnosis, and can be asked for."}</p></Empty>
                : <ol>{list.items.map((f) => <li key={f.attempt_id} data-row class="hitrow">
                    <p class="row"><a class="main" href={`/runs/${f.run_id}?stage=${encodeURIComponent(f.stage)}&attempt=${f.attempt_id}`}>{f.project} #{f.run_number} {f.stage}</a>{f.resolved_at ? <span class="tag good" title="turned green later">resolved</span> : <span class="tag">open</span>}
                        <span class="dim">{f.platform} · {shortRef(f.branch)} {f.author && `· ${f.author.replace(/ <.*>$/, "")}`} · <Time at={f.at} /></span></p>
                    <p>{f.summary ?? "not diagnosed"}</p>
                    {f.key_line && <p class="cut"><code>{f.key_line}</code></p>}
                    <p class="sub">{f.challenge_id ? <a href={withQuery({challenge: f.challenge_id})} title={f.challenge_path ?? ""}>{f.challenge_path ?? idWords(f.challenge_id)}</a> : "no challenge"} {f.probability !== null && f.challenge_id && percent(f.probability)}{f.cost_minutes >= 1 && ` · cost ${about(f.cost_minutes * 60000)}`}</p></li>)}</ol>}
            <More more={list.more} busy={list.busy} />
        </div>
        {saving && <Save close={() => setSaving(false)} />}
    </div>;
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
interface Trend { challenge_id?: string; challenge?: string; id?: string; category?: string; title?: string; path?: string; failures?: number; count?: number; resolved?: number; unresolved_share?: number | null; median_hours?: number | null; share?: number | null; paper?: {share?: number | null; unanswered?: number | null; median_minutes?: number | null; hours?: number | null} | null; paper_share?: number | null; paper_unanswered?: number | null; paper_hours?: number | null; series?: ({at?: string; day?: string; bucket?: string; failures?: number; count?: number; n?: number})[] }
interface Trends { items: Trend[]; series?: {at: string; failures: number; resolved?: number}[]; total?: number }
function Trends() {
    const q = query.value, by = q.get("by") ?? "category", interval = q.get("interval") ?? "week", project = q.get("project") ?? "";
    const projects = useGet<Page<{name: string}>>("/api/v1/projects?limit=500");
    const trends = useGet<Trends>(`/api/v1/trends?by=${by}&interval=${interval}${project ? `&project=${encodeURIComponent(project)}` : ""}${q.get("since") ? `&since=${encodeURIComponent(q.get("since")!)}` : ""}`);
    const rows = (trends.data?.items ?? []).map((t) => ({...t, n: t.failures ?? t.count ?? 0, key: t.challenge_id ?? t.challenge ?? t.category ?? t.id ?? ""})).sort((a, b) => b.n - a.n);
    const all = rows.reduce((s, t) => s + t.n, 0);
    const plot = useMemo(() => {
        const at = (p: {at?: string; day?: string; bucket?: string}) => Date.parse(p.at ?? p.day ?? p.bucket ?? "") / 1000;
        const top = rows.filter((r) => r.series?.length).slice(0, 5), x = [...new Set(top.flatMap((r) => r.series!.map(at)))].sort((a, b) => a - b);
        return {x, series: top.map((r) => { const m = new Map(r.series!.map((p) => [at(p), p.failures ?? p.count ?? p.n ?? 0])); return {label: r.title ?? idWords(r.key), values: x.map((t) => m.get(t) ?? 0)}; })};
    }, [trends.data]);
    return <div class="stack wide">
        <form class="filters" onSubmit={(e) => e.preventDefault()}>
            <label>By <select value={by} onChange={(e) => setQuery({by: e.currentTarget.value})}><option value="category">category</option><option value="challenge">challenge</option></select></label>
            <label>Per <select value={interval} onChange={(e) => setQuery({interval: e.currentTarget.value})}>{["day", "week", "month"].map((i) => <option key={i}>{i}</option>)}</select></label>
            <label>Project <select value={project} onChange={(e) => setQuery({project: e.currentTarget.value})}><option value="">all</option>{projects.data?.items.map((p) => <option key={p.name}>{p.name}</option>)}</select></label>
            <label>Since <select value={q.get("since") ?? ""} onChange={(e) => setQuery({since: e.currentTarget.value})}><option value="">always</option><option value="30d">30 days</option><option value="90d">90 days</option><option value="365d">a year</option></select></label>
        </form>
        {trends.error && <Failed problem={trends.error} retry={trends.reload} />}
        {!trends.data ? !trends.error && <Loading what="Counting" /> : rows.length === 0 ? <Empty title="No failures in this time"><p>Choose a longer one.</p></Empty> : <>
            {plot.x.length > 0 && <div class="card"><h3>Failures per {interval}</h3><Chart x={plot.x} series={plot.series} title={`Failures per ${interval} of the most frequent`} height={220} /></div>}
            <div class="scroll" tabIndex={0} role="region" aria-label="Numbers beside the paper's"><table class="list"><thead><tr><th>{by === "challenge" ? "Challenge" : "Category"}</th><th class="right">Failures</th><th>Share here</th><th>Share in the paper</th><th class="right">Unresolved</th><th class="right">No accepted answer (paper)</th><th class="right">Median to resolve</th><th class="right">Median (paper)</th></tr></thead>
                <tbody>{rows.map((t) => { const share = t.share ?? (all ? 100 * t.n / all : 0), paper = t.paper?.share ?? t.paper_share, un = t.unresolved_share ?? (t.resolved !== undefined && t.n ? (t.n - t.resolved) / t.n : null), ph = t.paper_hours ?? t.paper?.hours ?? (t.paper?.median_minutes != null ? t.paper.median_minutes / 60 : null), pu = t.paper_unanswered ?? t.paper?.unanswered; return <tr key={t.key} data-row>
                    <td><a class="main" href={`/failures?challenge=${encodeURIComponent(t.key)}`}>{t.path ?? t.title ?? (t.key ? idWords(t.key) : "unclear")}</a></td><td class="right num">{count(t.n)}</td>
                    <td><Share v={share} /></td><td>{paper != null ? <Share v={paper} hazard /> : <span class="dim">–</span>}</td><td class="right num">{un != null ? percent(un > 1 ? un / 100 : un) : "–"}</td><td class="right num">{pu != null ? `${number(pu)} %` : "–"}</td><td class="right num">{t.median_hours != null ? span(t.median_hours * 3600000) : "–"}</td><td class="right num">{ph != null ? span(ph * 3600000) : "–"}</td></tr>; })}</tbody></table></div></>}
    </div>;
}
const Share = ({v, hazard}: {v: number; hazard?: boolean}) => <span class="meter"><span class={`bar ${hazard ? "hazard" : "sea"}`} aria-hidden="true"><i style={{width: `${Math.min(100, v)}%`}} /></span><span class="num">{number(v, 2)} %</span></span>;

interface Op { operator: string; platform: string; tool: string; failures: number; resolved?: number; projects?: number; first_day?: string; last_day?: string; last_at?: string; challenge_id?: string }
function Operators() {
    const list = useGet<Page<Op>>("/api/v1/trends/operators");
    if (list.error)
        return <Failed problem={list.error} retry={list.reload} />;
    if (!list.data)
        return <Loading what="Counting" />;
    if (list.data.items.length === 0)
        return <Empty title="No operator was missed yet"><p>When a converter or runtime lacks an operator, it is counted here by platform and tool: a list that a framework's vendor could act on.</p></Empty>;
    return <table class="list"><thead><tr><th>Operator</th><th>Platform</th><th>Tool</th><th class="right">Failures</th><th class="right">Resolved</th><th>Last</th></tr></thead><tbody>{list.data.items.map((o) => <tr key={o.operator + o.platform + o.tool} data-row>
        <td><a class="main mono" href={`/failures?operator=${encodeURIComponent(o.operator)}`}>{o.operator}</a></td><td>{o.platform}</td><td>{o.tool}</td><td class="right num">{count(o.failures)}</td><td class="right num">{o.resolved ?? "–"}</td><td><Time at={o.last_at ?? o.last_day} /></td></tr>)}</tbody></table>;
}
interface Pair { made_with: string; used_with: string; kind?: string; ok?: number; failed?: number; failures?: number; runs?: number; first_day?: string; last_day?: string; since?: string }
function Toolchains() {
    const list = useGet<Page<Pair>>("/api/v1/trends/toolchains");
    if (list.error)
        return <Failed problem={list.error} retry={list.reload} />;
    if (!list.data)
        return <Loading what="Counting" />;
    if (list.data.items.length === 0)
        return <Empty title="Nothing to compare yet"><p>Pairs of what a model was exported with and what took it are counted here.</p></Empty>;
    return <table class="list"><thead><tr><th>Exported with</th><th>Taken by</th><th>Stage</th><th>Good</th><th class="right">Failed</th><th class="right">Of</th></tr></thead><tbody>{list.data.items.map((p) => { const bad = p.failed ?? p.failures ?? 0, all = p.runs ?? bad + (p.ok ?? 0); return <tr key={p.made_with + p.used_with + p.kind} data-row>
        <td>{p.made_with}</td><td>{p.used_with}</td><td>{p.kind}</td><td><span class="bar bad" aria-hidden="true"><i style={{width: `${all ? 100 * bad / all : 0}%`}} /></span> <span class="num">{all ? percent(1 - bad / all) : "–"}</span></td><td class="right num">{bad}</td><td class="right num">{all}</td></tr>; })}</tbody></table>;
}
