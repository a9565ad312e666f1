// knowledge.tsx - what is known: the taxonomies as a map that one walks into (areas by the paper's share or by one's own failures), the entry of each
// node, and the indicators that speak for it: look, try on history, edit. /knowledge?id=NODE, /knowledge/indicators, /knowledge/indicator?id=…, /knowledge/cases
import {useLayoutEffect, useMemo, useRef, useState} from "preact/hooks";
import {api, may, session, useGet, useList, type Page, type Problem, type Resource} from "../lib/api.ts";
import {about, count, idWords, number} from "../lib/format.ts";
import {useEvery} from "../lib/live.ts";
import {go, query, setQuery, withQuery} from "../lib/router.ts";
import {squarify} from "../lib/treemap.ts";
import {Act, Command, Dialog, Empty, Failed, Field, Loading, More, say, Send, Tabs, Time, Title} from "../ui/basics.tsx";
import {Cases} from "./cases.tsx";

interface Node { id: string; taxonomy: string; kind: string; parent: string | null; title: string; path: string; share: number | null; questions: number | null; unanswered: number | null; median_minutes: number | null; retired: boolean; has_entry?: boolean; indicators: number; failures: number; resolved?: number }
const curates = () => may("curate") && !session.value?.project;
const tax: Record<string, string> = {deployment: "Deployment challenges", "job-failures": "Failures of jobs", faults: "Development faults"};

export function Knowledge({parts}: {parts: string[]}) {
    if (parts[0] === "indicators")
        return <Indicators />;
    if (parts[0] === "indicator")
        return <Indicator key={query.value.get("id") ?? "new"} />;
    if (parts[0] === "changes")
        return <Changes />;
    if (parts[0] === "cases")
        return <Cases />;
    return <TheMap />;
}
function TheMap() {
    const list = useGet<Page<Node>>("/api/v1/kb/challenges"), id = query.value.get("id");
    // The entry is asked for beside the map, which is larger and needs it not.
    const entry = useGet<Full>(id ? `/api/v1/kb/challenge?id=${encodeURIComponent(id)}` : null);
    if (list.error)
        return <><Title>Knowledge</Title><Failed problem={list.error} retry={list.reload} /></>;
    if (!list.data)
        return <><Title>Knowledge</Title><Loading what="Unrolling the map" /></>;
    return <MapPage nodes={list.data.items} entry={entry} />;
}

function MapPage({nodes, entry}: {nodes: Node[]; entry: Resource<Full>}) {
    const q = query.value, id = q.get("id"), node = nodes.find((n) => n.id === id), by = q.get("by") ?? "paper";
    const taxonomies = [...new Set(nodes.map((n) => n.taxonomy))], taxonomy = node?.taxonomy ?? q.get("taxonomy") ?? taxonomies[0];
    const children = nodes.filter((n) => n.taxonomy === taxonomy && n.parent === (node?.id ?? null) && !n.retired).sort((a, b) => weight(b, by) - weight(a, by) || (b.share ?? 0) - (a.share ?? 0));
    const trail: Node[] = [];
    for (let n: Node | undefined = node; n; n = nodes.find((x) => x.id === n!.parent))
        trail.unshift(n);
    const own = nodes.filter((n) => n.taxonomy === taxonomy && n.parent === null).reduce((s, n) => s + n.failures, 0);
    const [words, setWords] = useState("");
    const found = useMemo(() => { const w = words.toLowerCase().split(/\s+/).filter(Boolean); return w.length ? nodes.filter((n) => w.every((x) => `${n.path} ${n.id}`.toLowerCase().includes(x))).slice(0, 30) : []; }, [words, nodes]);
    return <>
        <Title aside={<div class="row"><a class="button" href="/knowledge/indicators">Indicators</a><a class="button" href="/knowledge/cases">Known cases</a><a class="button" href="/knowledge/changes">Changes</a></div>}>Knowledge</Title>
        <div class="filters" role="search">
            <label>Find <input data-search type="search" value={words} placeholder="words of a challenge" onInput={(e) => setWords(e.currentTarget.value)} /></label>
            <label>Areas by <select value={by} onChange={(e) => setQuery({by: e.currentTarget.value === "paper" ? "" : e.currentTarget.value})}><option value="paper">the paper's share</option><option value="own">failures here</option><option value="indicators">indicators</option></select></label>
        </div>
        {found.length > 0 && <ul class="card plainlist found">{found.map((n) => <li key={n.id}><a href={`/knowledge?id=${encodeURIComponent(n.id)}`} onClick={() => setWords("")}>{n.path}</a></li>)}</ul>}
        {!node && <Tabs label="Taxonomies">{taxonomies.map((t) => <a key={t} href={withQuery({taxonomy: t, id: ""})} aria-current={t === taxonomy ? "page" : undefined}>{tax[t] ?? t}</a>)}</Tabs>}
        {node && <nav class="trail" aria-label="Where you are"><a href={`/knowledge?taxonomy=${taxonomy}`}>{tax[taxonomy] ?? taxonomy}</a>{trail.map((n, i) => <> <span aria-hidden="true">›</span> {i === trail.length - 1 ? <span aria-current="page">{n.title}</span> : <a href={`/knowledge?id=${encodeURIComponent(n.id)}`}>{n.title}</a>}</>)}</nav>}
        {children.length > 0 && <Chart nodes={nodes} children={children} by={by} own={own} />}
        {node ? <Entry key={node.id} id={node.id} own={own} node={entry} /> : null}
    </>;
}

const weight = (n: Node, by: string) => by === "own" ? n.failures : by === "indicators" ? n.indicators : n.share ?? 0;
function Chart({nodes, children, by, own}: {nodes: Node[]; children: Node[]; by: string; own: number}) {
    const box = useRef<HTMLElement>(null), [width, setWidth] = useState(900);
    useLayoutEffect(() => {                                 // before it is painted, so that nothing moves after
        setWidth(box.current!.clientWidth);
        const see = new ResizeObserver(() => setWidth(box.current?.clientWidth ?? 900));
        see.observe(box.current!);
        return () => see.disconnect();
    }, []);
    const height = Math.round(Math.min(460, Math.max(240, width * .42))), total = children.reduce((s, n) => s + weight(n, by), 0);
    const floor = total > 0 ? total / 120 : 1, cells = squarify(children.map((n) => ({weight: Math.max(weight(n, by), floor), item: n})), width, height);
    const most1 = Math.max(0, ...children.map((n) => n.failures)), most = Math.max(1, most1);
    const go1 = (n: Node) => `/knowledge?id=${encodeURIComponent(n.id)}${by !== "paper" ? `&by=${by}` : ""}`;
    return <section class="chartmap" aria-label="Map" ref={box}>
        {width > 560 && <div class="treemap" style={{height: `${height}px`}}>{cells.map(({x, y, w, h, item: n}) => {
            const inner = w > 150 && h > 92 ? squarify(nodes.filter((c) => c.parent === n.id && !c.retired).map((c) => ({weight: Math.max(weight(c, by), .15), item: c})), w - 12, h - 52) : [];
            return <a key={n.id} class="area" href={go1(n)} style={{left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px`, "--heat": n.failures / most}} title={`${n.path}: ${n.share !== null ? `${n.share} % of the paper's questions, ` : ""}${n.failures} failures here`}>
                <span class="cut"><b>{n.title}</b></span>{h > 38 && <span class="cut num">{paper(n)}{n.failures > 0 && <span class="hazard">{n.share !== null && " · "}{count(n.failures)} here</span>}</span>}
                {inner.map((c) => <i key={c.item.id} class="sub-area" style={{left: `${c.x + 5}px`, top: `${c.y + 44}px`, width: `${c.w}px`, height: `${c.h}px`, "--heat": c.item.failures / most}}>{c.w > 74 && c.h > 32 ? <>{c.item.title}{c.h > 54 && c.item.share !== null && <span class="num"> {number(c.item.share, 2)} %</span>}{c.h > 70 && c.item.failures > 0 && <span class="hazard num"> {count(c.item.failures)} here</span>}</> : ""}</i>)}</a>;
        })}</div>}
        {width > 560 && <p class="sub wrap key">An area's size is {by === "own" ? "how often it failed here" : by === "indicators" ? "how many indicators speak for it" : "its share of the paper's questions"}; <i class="tint" aria-hidden="true" /> the redder, the more failures here{most1 === 0 && " (none yet)"}.</p>}
        <div class="scroll" tabIndex={0} role="region" aria-label="The same as numbers"><table class="list"><thead><tr><th>Challenge</th><th>Paper</th><th>Here</th><th class="right">No accepted answer</th><th class="right">Median to an answer</th><th class="right">Indicators</th></tr></thead><tbody>{children.map((n) => <tr key={n.id} data-row>
            <td><a class="main" href={go1(n)}>{n.title}</a></td><td data-h="Paper">{n.share === null ? <span class="dim">–</span> : n.share > 99.5 ? <span class="num">{paper(n) || "all"}</span> : <Bar v={n.share} hazard />}</td><td data-h="Here">{n.failures > 0 ? <><Bar v={own ? 100 * n.failures / own : 0} /> <span class="dim num">({count(n.failures)})</span></> : <span class="dim">none</span>}</td>
            <td class={`right num ${n.unanswered === null ? "none" : ""}`} data-h="No accepted answer">{n.unanswered !== null ? `${number(n.unanswered)} %` : "–"}</td><td class={`right num ${n.median_minutes === null ? "none" : ""}`} data-h="Median to an answer">{n.median_minutes !== null ? about(n.median_minutes * 60000) : "–"}</td><td class="right num" data-h="Indicators">{nodes.reduce((s, c) => s + (c.id === n.id || c.id.startsWith(n.id + "/") ? c.indicators : 0), 0)}</td></tr>)}</tbody></table></div>
    </section>;
}
/** What the paper has of it: its share, or of a whole platform, which has all of its own, the questions. */
const paper = (n: Node) => n.share === null ? "" : n.share > 99.5 ? n.questions ? `${count(n.questions)} questions` : "" : `${n.share} %`;
const Bar = ({v, hazard}: {v: number; hazard?: boolean}) => <span class="meter"><span class={`bar ${hazard ? "hazard" : "sea"}`} aria-hidden="true"><i style={{width: `${Math.min(100, v)}%`}} /></span><span class="num">{number(v, 2)} %</span></span>;

interface Remedy { tool?: string; versions?: string; text: string; commands?: string[] }
interface EntryData { about?: string; symptoms?: string[]; causes?: string[]; remedies?: Remedy[]; dl_developer?: string; platform_developer?: string; decide?: string; sources?: string[]; valid?: {from?: string; until?: string; note?: string} }
interface Full extends Omit<Node, "indicators"> { entry: EntryData | null; entry_yaml?: string | null; entry_own?: boolean; entry_revision?: number; entry_by?: string | null; entry_at?: string | null; about?: string | null; links: ({from?: string; to?: string; id?: string; why: string})[]; indicators: ({id: string; summary?: string; role?: string} | string)[]; cases?: {title: string; url: string; answered: boolean}[] }

function Entry({id, own, node}: {id: string; own: number; node: Resource<Full>}) {
    const n = node.data, [editing, setEditing] = useState(false), [past, setPast] = useState(false);
    if (!n)
        return node.error ? <Failed problem={node.error} retry={node.reload} /> : <Loading />;
    const e = n.entry ?? {}, web = (s: string) => /^https?:\/\//.test(s);
    return <article class="entry" aria-label={n.title}>
        <header class="row apart"><h2>{n.title}</h2><div class="row"><a class="button small" href={`/failures?challenge=${encodeURIComponent(id)}`}>{count(n.failures)} {n.failures === 1 ? "failure" : "failures"} here</a><button type="button" class="button small" onClick={() => setPast(true)}>History</button>{curates() && <button type="button" class="button small" onClick={() => setEditing(true)}>Edit</button>}</div></header>
        <div class="beside"><div class="left stack wide">
            {(e.about ?? n.about) && <p class="lead">{e.about ?? n.about}</p>}
            {e.remedies && e.remedies.length > 0 && <section><h3>What helps</h3><ul class="stack">{e.remedies.map((r) => <li class="remedy"><p>{(r.tool || r.versions) && <span class="tag">{r.tool} {r.versions}</span>} {r.text}</p>{r.commands?.map((c) => <Command text={c} />)}</li>)}</ul></section>}
            {(e.dl_developer || e.platform_developer) && <section class="roles">{e.dl_developer && <div><h3>Who made the model must know</h3><p>{e.dl_developer}</p></div>}{e.platform_developer && <div><h3>Who runs it must know</h3><p>{e.platform_developer}</p></div>}</section>}
            {e.decide && <section><h3>What would decide, when it is unclear</h3><p>{e.decide}</p></section>}
            {e.symptoms && e.symptoms.length > 0 && <section><h3>What it looks like</h3><p class="words">{e.symptoms.map((s) => <code>{s}</code>)}</p></section>}
            {e.causes && e.causes.length > 0 && <section><h3>What it comes from</h3><ul class="plainlist dots">{e.causes.map((c) => <li>{c}</li>)}</ul></section>}
            {!n.entry && <p class="dim">Nothing has been written about it yet.{n.kind !== "challenge" && " Its parts above have entries of their own."}{curates() && " Edit writes one."}</p>}
            {n.cases && n.cases.length > 0 && <section><h3><a href={`/knowledge/cases?challenge=${encodeURIComponent(id)}`}>Known cases</a></h3><ul class="plainlist">{n.cases.map((c) => <li>{web(c.url) ? <a href={c.url} rel="noreferrer noopener" target="_blank">{c.title}</a> : c.title} {c.answered && <span class="tag good">answered</span>}</li>)}</ul></section>}
        </div><aside class="right">
            <div class="card"><h2>Numbers</h2><dl class="facts"><dt>Share in the paper</dt><dd>{n.share !== null ? `${n.share} %${n.questions ? ` (${n.questions} questions)` : ""}` : "–"}</dd><dt>Share here</dt><dd>{own ? `${number(100 * n.failures / own, 2)} % (${count(n.failures)})` : "–"}</dd><dt>No accepted answer</dt><dd>{n.unanswered !== null ? `${number(n.unanswered)} %` : "–"}</dd><dt>Median to an answer</dt><dd>{n.median_minutes !== null ? about(n.median_minutes * 60000) : "–"}</dd>{e.valid?.from && <><dt>Valid</dt><dd>from {e.valid.from}{e.valid.until && ` until ${e.valid.until}`} {e.valid.note}</dd></>}{n.entry_own && <><dt>Entry</dt><dd>your own, by {n.entry_by} <Time at={n.entry_at} /></dd></>}</dl></div>
            {n.links.length > 0 && <div class="card"><h2>Akin</h2><ul class="plainlist">{n.links.map((l) => { const to = l.id ?? (l.from === id ? l.to : l.from) ?? ""; return <li><a href={`/knowledge?id=${encodeURIComponent(to)}`}>{idWords(to)}</a><span class="sub">{l.why}</span></li>; })}</ul></div>}
            <div class="card"><h2>{n.indicators.length} indicators speak for it</h2><ul class="plainlist">{n.indicators.slice(0, 40).map((i) => { const iid = typeof i === "string" ? i : i.id; return <li key={iid}><a class="mono" href={`/knowledge/indicator?id=${encodeURIComponent(iid)}`}>{iid}</a>{typeof i !== "string" && i.summary && <span class="sub">{i.summary}</span>}</li>; })}</ul>{n.indicators.length > 40 && <p><a href={`/knowledge/indicators?challenge=${encodeURIComponent(id)}`}>All of them</a></p>}{curates() && <p><a class="button small" href={`/knowledge/indicator?challenge=${encodeURIComponent(id)}`}>Add one</a></p>}</div>
            {e.sources && e.sources.length > 0 && <div class="card"><h2>Sources</h2><ul class="plainlist">{e.sources.map((s) => <li>{web(s) ? <a href={s} rel="noreferrer noopener" target="_blank">{s.replace(/^https?:\/\//, "")}</a> : s}</li>)}</ul></div>}
        </aside></div>
        {editing && <EditEntry n={n} close={() => setEditing(false)} done={() => { setEditing(false); node.reload(); }} />}
        {past && <Dialog title={`History of ${n.title}`} close={() => setPast(false)} wide><ChangeList object={`entry ${id}`} /></Dialog>}
    </article>;
}

function EditEntry({n, close, done}: {n: Full; close: () => void; done: () => void}) {
    const [yaml, setYaml] = useState(n.entry_yaml ?? `id: ${n.id}\nabout: ""\nsymptoms: []\nremedies: []\n`);
    const url = `/api/v1/kb/entry?id=${encodeURIComponent(n.id)}`;
    return <Dialog title={`Entry of ${n.title}`} close={close} wide>
        <Field label="YAML" hint="Keys: about, symptoms, causes, remedies (tool, versions, text, commands), dl_developer, platform_developer, decide, sources, valid.">{(id) => <textarea id={id} class="mono" rows={20} spellcheck={false} value={yaml} onInput={(e) => setYaml(e.currentTarget.value)} />}</Field>
        <div class="row end">{n.entry_own && <Act kind="danger" confirm="Take your own entry away and show the one that ships?" run={() => api("PUT", url, {entry: null, revision: n.entry_revision}).then(done)} done="As it ships again.">As it ships</Act>}
            <button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" run={() => api("PUT", url, {yaml, ...(n.entry_revision !== undefined ? {revision: n.entry_revision} : {})}).then(done)} done="Saved.">Save</Act></div></Dialog>;
}

// ---- indicators
interface IndicatorRow { id: string; summary: string; pattern?: string; role?: string; specificity?: number; origin?: string; retired?: boolean; challenges?: string[]; updated_by?: string; updated_at?: string }
function Indicators() {
    const q = query.value, params = new URLSearchParams({limit: "60"});
    for (const k of ["q", "challenge", "area", "retired"])
        if (q.get(k))
            params.set(k, q.get(k)!);
    const list = useList<IndicatorRow>("/api/v1/kb/indicators?" + params, "after");
    return <><Title aside={<div class="row">{curates() && <a class="button" href="/knowledge/indicator">Add an indicator</a>}<a class="button" href="/knowledge">Map</a></div>}>Indicators</Title>
        <form class="filters" role="search" onSubmit={(e) => e.preventDefault()}>
            <label>Words <input data-search type="search" value={q.get("q") ?? ""} onInput={(e) => setQuery({q: e.currentTarget.value})} /></label>
            <label>Area <input type="search" value={q.get("area") ?? ""} placeholder="tflite" size={12} onInput={(e) => setQuery({area: e.currentTarget.value.trim()})} /></label>
            <label><input type="checkbox" checked={q.get("retired") === "true"} onChange={(e) => setQuery({retired: e.currentTarget.checked ? "true" : ""})} /> retired ones too</label>
            {q.get("challenge") && <a class="chip" href={withQuery({challenge: ""})}>for: <b>{idWords(q.get("challenge")!)}</b> ✕</a>}
        </form>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!list.items ? !list.error && <Loading /> : list.items.length === 0 ? <Empty title="No indicator fits"><p>Fewer words find more.</p></Empty>
            : <table class="list"><thead><tr><th>Indicator</th><th>Says</th><th>Speaks for</th><th>Role</th></tr></thead><tbody>{list.items.map((i) => <tr key={i.id} data-row>
                <td><a class="main mono" href={`/knowledge/indicator?id=${encodeURIComponent(i.id)}`}>{i.id}</a>{i.retired && <span class="tag warn">retired</span>}</td><td class="grow"><span class="cut">{i.summary}</span>{i.pattern && <span class="sub mono">{i.pattern}</span>}</td>
                <td>{i.challenges?.slice(0, 2).map((c) => <span class="cut short" key={c} title={c}>{idWords(c)}</span>)}</td><td>{i.role ?? "cause"}</td></tr>)}</tbody></table>}
        <More more={list.more} busy={list.busy} /></>;
}

interface IndicatorFull { id: string; indicator: Record<string, unknown> & {summary?: string; pattern?: string; weights?: Record<string, Record<string, number>>; remedy?: {text?: string; commands?: string[]}; sources?: string[]; specificity?: number; role?: string; transient?: boolean | null}; yaml: string; origin?: string; revision: number; retired: boolean; updated_by?: string; updated_at?: string }
const blank = (challenge: string | null) => `id: local/NAME
summary: "what the line means, with {captured} names"
pattern: 'a literal of the line (?<name>\\w+)'
specificity: 0.8
weights:
  any: {${challenge ?? "mobile/model-conversion/CHALLENGE"}: 0.8}
transient: false
remedy:
  text: "what to do"
sources: ["where that is written"]
`;
function Indicator() {
    const id = query.value.get("id"), one = useGet<IndicatorFull>(id ? `/api/v1/kb/indicator?id=${encodeURIComponent(id)}` : null), i = one.data;
    const [yaml, setYaml] = useState<string | null>(id ? null : blank(query.value.get("challenge"))), [error, setError] = useState<Problem>();
    const local = !id || id.startsWith("local/"), url = `/api/v1/kb/indicator?id=${encodeURIComponent(id ?? "")}`;
    if (id && !i)
        return one.error ? <Failed problem={one.error} retry={one.reload} /> : <Loading />;
    const save = async () => {
        setError(undefined);
        try {
            const made = id ? await api<{id?: string}>("PUT", url, {yaml, revision: i!.revision}) : await api<{id?: string}>("POST", "/api/v1/kb/indicators", {yaml});
            say("Saved: it speaks from now on.");
            setYaml(null);
            if (id)
                one.reload();
            else
                go(`/knowledge/indicator?id=${encodeURIComponent(made.id ?? /^id:\s*(\S+)/m.exec(yaml!)?.[1] ?? "")}`, {replace: true});
        } catch (e) {
            setError(e as Problem);
        }
    };
    return <><Title aside={<div class="row"><a class="button" href="/knowledge/indicators">All indicators</a>
        {i && curates() && local && yaml === null && <button type="button" class="button" onClick={() => setYaml(i.yaml)}>Edit</button>}
        {i && curates() && !local && <a class="button" href={`/knowledge/indicator?challenge=${encodeURIComponent(Object.keys(Object.values(i.indicator.weights ?? {})[0] ?? {})[0] ?? "")}`} title="What ships is not edited: retire it and add one of your own">Add one's own</a>}
        {i && curates() && (i.retired ? <Act run={() => api("POST", `/api/v1/kb/indicator/restore?id=${encodeURIComponent(i.id)}`, {}).then(one.reload)} done="It speaks again.">Restore</Act>
            : <Act kind="danger" confirm={`Silence ${i.id}? Diagnoses made from now on do without it.`} run={() => api("POST", `/api/v1/kb/indicator/retire?id=${encodeURIComponent(i.id)}`, {}).then(one.reload)} done="It is silent.">Retire</Act>)}</div>}>{id ?? "New indicator"}</Title>
        <div class="beside"><div class="left stack wide">
            {i && yaml === null && <>
                <p class="lead">{i.indicator.summary}</p>{i.retired && <p class="note warn">Retired: it says nothing.</p>}
                <section><h3>Pattern</h3><pre class="block" tabIndex={0}>{i.indicator.pattern}</pre></section>
                <section><h3>Speaks for</h3><div class="scroll" tabIndex={0} role="region" aria-label="Challenges it speaks for"><table class="narrow"><thead><tr><th>Where</th><th>Challenge</th><th class="right">Of 100 such failures</th></tr></thead><tbody>{Object.entries(i.indicator.weights ?? {}).flatMap(([where, m]) => Object.entries(m).map(([c, w]) => <tr key={where + c}><td>{where}</td><td><a href={`/knowledge?id=${encodeURIComponent(c)}`}>{idWords(c)}</a></td><td class="right num">{Math.round(w * 100)}</td></tr>))}</tbody></table></div></section>
                {i.indicator.remedy?.text && <section><h3>Remedy</h3><p>{i.indicator.remedy.text}</p>{i.indicator.remedy.commands?.map((c) => <Command text={c} />)}</section>}
                <details><summary>As YAML</summary><pre class="block" tabIndex={0}>{i.yaml}</pre></details></>}
            {yaml !== null && <Send class="stack" send={save}><Field label="YAML" hint={<>One's own are called <code>local/…</code>. Try it on history before it is saved.</>}>{(f) => <textarea id={f} class="mono" rows={18} spellcheck={false} value={yaml} onInput={(e) => { setYaml(e.currentTarget.value); setError(undefined); }} />}</Field>
                {error && <Failed problem={error} />}<div class="row end">{id && <button type="button" class="button" onClick={() => setYaml(null)}>Leave it</button>}<button type="submit" class="button primary">Save</button></div></Send>}
            <Try id={id} yaml={yaml} />
        </div><aside class="right">
            {i && <div class="card"><h2>Facts</h2><dl class="facts"><dt>Role</dt><dd>{i.indicator.role ?? "cause"}</dd><dt>Specificity</dt><dd>{number(i.indicator.specificity)}</dd><dt>May pass again</dt><dd>{i.indicator.transient === true ? "yes" : i.indicator.transient === false ? "no" : "unknown"}</dd><dt>Origin</dt><dd>{i.origin}</dd><dt>Revision</dt><dd>{i.revision} by {i.updated_by} <Time at={i.updated_at} /></dd></dl></div>}
            {i?.indicator.sources && i.indicator.sources.length > 0 && <div class="card"><h2>Sources</h2><ul class="plainlist">{i.indicator.sources.map((s) => <li>{/^https?:/.test(s) ? <a href={s} rel="noreferrer noopener" target="_blank">{s.replace(/^https?:\/\//, "")}</a> : s}</li>)}</ul></div>}
            {id && <div class="card"><h2>History</h2><ChangeList object={`indicator ${id}`} /></div>}
        </aside></div></>;
}

interface Tried { scanned: number; matched: {attempt_id: number; run?: string | number; run_id?: number; run_number?: number; project?: string; stage: string; line: number; text: string; before: string | null; after: string | null}[]; gained: {attempt_id: number; challenge: string}[]; lost: {attempt_id: number; challenge: string}[]; cut: unknown[] | boolean; n_matched?: number }
function Try({id, yaml}: {id: string | null; yaml: string | null}) {
    const [result, setResult] = useState<Tried | null>(null), [limit, setLimit] = useState(200);
    if (!may("curate"))
        return null;
    return <section class="card"><header class="row apart"><h2>Try on history</h2><span class="row"><label class="dim">newest <select value={limit} onChange={(e) => setLimit(Number(e.currentTarget.value))}>{[50, 200, 1000].map((n) => <option key={n}>{n}</option>)}</select> failures</label><Act kind="small" run={async () => setResult(await api<Tried>("POST", "/api/v1/kb/try", {...(yaml !== null ? {yaml} : {id}), limit}))}>Try</Act></span></header>
        {result ? <div class="stack" aria-live="polite"><p>{count(result.scanned)} logs were read; it speaks in {count(result.matched.length)}. First answers gained: <b class="good">{result.gained.length}</b>, taken away: <b class={result.lost.length ? "bad" : ""}>{result.lost.length}</b>.</p>
            {result.matched.length > 0 && <table class="list"><thead><tr><th>Failure</th><th>Line</th><th>Before</th><th>With it</th></tr></thead><tbody>{result.matched.slice(0, 50).map((m) => <tr key={m.attempt_id + "/" + m.line} data-row>
                <td>{m.run_id ?? (typeof m.run === "number" ? m.run : null) ? <a class="main" href={`/runs/${m.run_id ?? m.run}?stage=${encodeURIComponent(m.stage)}&attempt=${m.attempt_id}#L${m.line}`}>{m.project ?? "run"} {m.run_number ? `#${m.run_number}` : m.run} {m.stage}</a> : `${m.run} ${m.stage}`}</td><td class="grow"><span class="cut"><code>{m.line}: {m.text}</code></span></td><td>{m.before ? idWords(m.before) : "unclear"}</td><td class={m.before !== m.after ? "hazard" : ""}>{m.after ? idWords(m.after) : "unclear"}</td></tr>)}</tbody></table>}</div>
            : <p class="dim">What it would newly match, and which first answers it would change, before anything is saved.</p>}</section>;
}

// ---- every change
interface Change { id: number; at: string; actor: string; object: string; action: string; diff?: string }
function ChangeList({object}: {object: string}) {
    const list = useList<Change>("/api/v1/kb/changes?limit=20" + (object ? `&object=${encodeURIComponent(object)}` : ""), "before");
    if (list.error)
        return <Failed problem={list.error} retry={list.reload} />;
    if (!list.items)
        return <Loading />;
    if (list.items.length === 0)
        return <p class="dim">Nobody has changed it.</p>;
    return <><ul class="stack">{list.items.map((c) => <li key={c.id}><p><b>{c.action}</b> {!object && <a class="mono" href={c.object.startsWith("indicator ") ? `/knowledge/indicator?id=${encodeURIComponent(c.object.slice(10))}` : `/knowledge?id=${encodeURIComponent(c.object.replace(/^entry /, ""))}`}>{c.object}</a>} <span class="dim">by {c.actor}, <Time at={c.at} /></span></p>
        {c.diff && <details><summary class="dim">difference</summary><pre class="block diff" tabIndex={0}>{c.diff.split("\n").map((l) => <span class={l.startsWith("+") ? "good" : l.startsWith("-") ? "bad" : "dim"}>{l}{"\n"}</span>)}</pre></details>}</li>)}</ul><More more={list.more} busy={list.busy} /></>;
}
function Changes() {
    return <><Title aside={<a class="button" href="/knowledge">Map</a>}>Changes of the knowledge</Title><Apply /><ChangeList object="" /></>;
}

interface Job { state: string; total: number | null; done: number | null; changed: number | null; kb?: string | null; started_at?: string; ended_at?: string | null; asked_by?: string | null }
/** History under the knowledge as it is now: how far that is, and asking for it. */
function Apply() {
    const job = useGet<Job>("/api/v1/kb/apply"), j = job.data, running = j?.state === "running";
    useEvery(job.reload, 1500, running);
    if (!j)
        return null;
    return <section class="card apply"><header class="row apart"><h2>History under this knowledge</h2>{curates() && <Act kind="small" disabled={running} confirm="Diagnose every past failure anew? It goes on in the background; old answers are kept." run={() => api("POST", "/api/v1/kb/apply", {}).then(job.reload)} done="It has begun.">Label history anew</Act>}</header>
        <p class="dim" aria-live="polite">{j.state === "none" ? "Past failures keep the answers that they got; new knowledge can be applied to them." : <>{running ? "Being labelled" : j.state === "superseded" ? "Ended by newer knowledge" : "Labelled"}: {j.total !== null && <>{count(j.done ?? 0)} of {count(j.total)}, {count(j.changed ?? 0)} changed. </>}<Time at={j.ended_at ?? j.started_at} /></>}</p>
        {running && j.total ? <span class="bar sea" aria-hidden="true"><i style={{width: `${100 * (j.done ?? 0) / j.total}%`}} /></span> : null}</section>;
}
