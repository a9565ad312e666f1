// matrix.tsx - every model on every target: where it stands now, how much of the allowed error it uses, its size and latency, and how these moved.
import {useEffect, useMemo, useState} from "preact/hooks";
import {get, useGet, type Page, type Problem} from "../lib/api.ts";
import {bytes, number, percent} from "../lib/format.ts";
import {useLive, useSoon} from "../lib/live.ts";
import {go, query, setQuery, withQuery} from "../lib/router.ts";
import {matrixUrl, projectNames} from "../lib/urls.ts";
import {Empty, Failed, Loading, Mark, State, Time, Title, Typed, tone} from "../ui/basics.tsx";
import {Chart, type Series} from "../ui/chart.tsx";
import {Spark} from "../ui/spark.tsx";

interface Point { run_id: number; number: number | null; at: string; commit: string; stage_id: number; attempt_id: number | null; state: string; duration_ms: number | null; max_abs_error: number | null; used: number | null; top1_agreement: number | null; latency_p95_ms: number | null; bytes: number | null; indicative: boolean | null }
interface Cell { project: string; model: string; target: string | null; host: string; kind: string; stage: string; series: Point[] }

export function Matrix() {
    const q = query.value, project = q.get("project") ?? "", ref = q.get("ref") ?? "";
    const [cells, setCells] = useState<Cell[]>(), [next, setNext] = useState<string | null>(null), [error, setError] = useState<Problem>(), [round, setRound] = useState(0);
    const projects = useGet<Page<{name: string}>>(projectNames);
    const url = matrixUrl(q);
    useEffect(() => {
        const stop = new AbortController();
        get<Page<Cell>>(url, stop.signal).then((p) => { setCells(p.items); setNext(p.next as string | null); setError(undefined); }, (e) => { if (e.name !== "AbortError") setError(e); });
        return () => stop.abort();
    }, [url, round]);
    const soon = useSoon(() => setRound((r) => r + 1), 600);
    useLive("/api/v1/events", (e) => { if (e.kind === "stage") soon(); }, soon);
    const more = async () => {
        const p = await get<Page<Cell>>(url + "&after=" + encodeURIComponent(next!));
        setCells([...cells!, ...p.items]);
        setNext(p.next as string | null);
    };
    const models = useMemo(() => {
        const out = new Map<string, {project: string; model: string; cells: Cell[]}>();
        for (const c of cells ?? []) {
            const key = `${c.project}\u0000${c.model}`;
            if (!out.has(key))
                out.set(key, {project: c.project, model: c.model, cells: []});
            out.get(key)!.cells.push(c);
        }
        return [...out.values()];
    }, [cells]);
    const chosen = cells?.find((c) => `${c.project}/${c.model}/${c.stage}` === q.get("cell"));
    return <>
        <Title>Matrix</Title>
        <form class="filters" role="search" onSubmit={(e) => e.preventDefault()}>
            <label>Project <select value={project} onChange={(e) => setQuery({project: e.currentTarget.value, cell: ""})}><option value="">all</option>{projects.data?.items.map((p) => <option key={p.name}>{p.name}</option>)}</select></label>
            <label>Branch <Typed data-search value={ref} placeholder="any" set={(words) => setQuery({ref: words})} /></label>
        </form>
        {models.length > 0 && <Sum models={models} whole={!next} />}
        {error && <Failed problem={error} retry={() => setRound(round + 1)} />}
        {!cells ? !error && <Loading what="Loading the matrix" /> : models.length === 0 ? <Empty title="No model was run yet"><p>Every model with a planned run is a row here. Start one under <a href="/projects">Projects</a>.</p></Empty>
            : models.map((m) => <ModelGrid key={m.project + m.model} m={m} chosen={chosen} />)}
        {next && <div class="more"><button type="button" class="button" onClick={more}>More projects</button></div>}
        {chosen && <History cell={chosen} />}
    </>;
}

/** Where things stand, in one line: what can be shipped, and what cannot and why. */
function Sum({models, whole}: {models: {project: string; model: string; cells: Cell[]}[]; whole: boolean}) {
    const now = (c: Cell) => c.series[c.series.length - 1]?.state, ends = models.flatMap((m) => [...new Set(m.cells.map((c) => c.target).filter((t): t is string => t !== null))].map((t) => ({m, t, cells: m.cells.filter((c) => c.target === t || c.target === null)})));
    const good = ends.filter((e) => e.cells.every((c) => now(c) === "green")), bad = ends.filter((e) => e.cells.some((c) => now(c) === "red")), red = models.flatMap((m) => m.cells.filter((c) => now(c) === "red"));
    return <div class="sum"><p><b class="num">{good.length}</b> of <b class="num">{ends.length}</b> {ends.length === 1 ? "target" : "targets"} of <b class="num">{models.length}</b>{!whole && "+"} {models.length === 1 ? "model is" : "models are"} good to ship{ends.length > good.length + bad.length && <>, <b class="num">{ends.length - good.length - bad.length}</b> not decided yet</>}{bad.length > 0 && <>, <b class="num bad">{bad.length}</b> <span class="bad">red</span></>}.{" "}
        {red.length > 0 && <>Red: {red.slice(0, 6).map((c, i) => { const p = c.series[c.series.length - 1]; return <>{i > 0 && ", "}<a href={`/runs/${p.run_id}?stage=${encodeURIComponent(c.stage)}`}>{c.model} {c.stage}</a></>; })}{red.length > 6 && ` and ${red.length - 6} more`}.</>}</p>
        <p class="sub wrap">Each mark is the newest run; the bars beside it are the runs before, newest at the right. A cell opens its history.</p></div>;
}

const kinds = ["export", "convert", "verify"];
function ModelGrid({m, chosen}: {m: {project: string; model: string; cells: Cell[]}; chosen?: Cell}) {
    const targets = [...new Set(m.cells.map((c) => c.target))].sort((a, b) => a === null ? -1 : b === null ? 1 : 0);
    return <section class="model"><h2>{m.model} <a class="dim" href={`/projects/${m.project}`}>{m.project}</a></h2>
        <div class="scroll" tabIndex={0} role="region" aria-label={`Targets of ${m.model}`}><table class="matrix"><thead><tr><th>Target</th>{kinds.map((k) => <th key={k}>{k}</th>)}<th title="The largest error as a share of what is allowed: over 100 % the stage is red">Tolerance used</th><th>Size</th><th>Latency, p95</th></tr></thead>
            <tbody>{targets.map((t) => {
                const of = (k: string) => m.cells.find((c) => c.target === t && c.kind === k), verify = of("verify"), sized = of("convert") ?? of("export") ?? verify;
                const last = <K extends keyof Point>(c: Cell | undefined, key: K) => c?.series.findLast((p) => p[key] !== null)?.[key];
                // what an earlier run measured says nothing of one in which it was not reached
                const reached = !["skipped", "cancelled"].includes(verify?.series[verify.series.length - 1]?.state ?? "");
                const used = reached ? last(verify, "used") as number | null | undefined : undefined, p95 = reached ? last(verify, "latency_p95_ms") as number | undefined : undefined, size = (last(sized, "bytes") ?? last(verify, "bytes")) as number | undefined;
                return <tr key={t ?? ""}><th scope="row">{t ?? <span class="dim">shared</span>}</th>
                    {kinds.map((k) => { const c = of(k); return <td key={k}>{c ? <CellLink c={c} chosen={c === chosen} /> : <span class="dim">–</span>}</td>; })}
                    <td>{used !== null && used !== undefined ? <span class="meter"><span class={`bar ${used > 1 ? "bad" : ""}`} aria-hidden="true"><i style={{width: `${Math.min(100, used * 100)}%`}} /></span><span class={`num ${used > 1 ? "bad" : ""}`}>{used > 10 ? `${number(used, 2)}×` : percent(used)}</span></span> : <span class="dim">–</span>}</td>
                    <td class="num">{size !== undefined ? <>{bytes(size)} <Spark values={(sized?.series ?? []).map((p) => p.bytes)} label="size over time" /></> : <span class="dim">–</span>}</td>
                    <td class="num">{p95 !== undefined ? <>{number(p95)} ms <Spark values={(verify?.series ?? []).map((p) => p.latency_p95_ms)} label="latency over time" /></> : <span class="dim">–</span>}</td></tr>;
            })}</tbody></table></div></section>;
}
function CellLink({c, chosen}: {c: Cell; chosen: boolean}) {
    const last = c.series[c.series.length - 1];
    return <a data-row class={`cell ${tone(last.state)} ${chosen ? "chosen" : ""}`} href={withQuery({cell: `${c.project}/${c.model}/${c.stage}`})} aria-label={`${c.stage}: ${last.state}; ${c.series.length} runs`}>
        <Mark state={last.state} /><span class="ticks" aria-hidden="true">{c.series.slice(-14).map((p) => <i key={p.run_id} class={tone(p.state)} />)}</span></a>;
}

function History({cell}: {cell: Cell}) {
    const points = cell.series.filter((p) => p.attempt_id !== null), x = useMemo(() => points.map((p) => Date.parse(p.at) / 1000), [cell]);
    const plots = useMemo(() => {
        const out: {title: string; log?: boolean; series: Series[]; unit: (v: number) => string}[] = [];
        const has = (k: keyof Point) => points.some((p) => p[k] !== null);
        if (has("used"))
            out.push({title: "Largest error, in multiples of what is allowed", log: true, series: [{label: "used", values: points.map((p) => p.used === null ? null : Math.max(p.used, 1e-6)), color: "--c4"}, {label: "allowed", values: points.map(() => 1), color: "--c2", dash: true}], unit: (v) => `${number(v, 2)}×`});
        if (has("latency_p95_ms"))
            out.push({title: "Latency, p95", series: [{label: "p95", values: points.map((p) => p.latency_p95_ms)}], unit: (v) => `${number(v)} ms`});
        if (has("bytes"))
            out.push({title: "Size of the model", series: [{label: "size", values: points.map((p) => p.bytes), color: "--c3"}], unit: bytes});
        if (has("duration_ms"))
            out.push({title: "How long the stage took", series: [{label: "duration", values: points.map((p) => p.duration_ms === null ? null : p.duration_ms / 1000), color: "--c5"}], unit: (v) => `${number(v)} s`});
        return out;
    }, [cell]);
    return <section class="section" aria-label={`History of ${cell.stage}`}><header class="row apart"><h2>{cell.model}: {cell.stage}</h2><a href={withQuery({cell: ""})}>Close</a></header>
        <div class="plots">{plots.map((p) => <div class="card" key={p.title}><h3>{p.title}</h3><Chart x={x} series={p.series} title={p.title} unit={p.unit} log={p.log} height={180} click={(i) => go(`/runs/${points[i].run_id}?stage=${encodeURIComponent(cell.stage)}`)} /></div>)}</div>
        <table class="list"><thead><tr><th>State</th><th>Run</th><th class="right">Largest error</th><th class="right">Top-1</th><th class="right">p95</th><th class="right">Size</th><th>When</th></tr></thead><tbody>{cell.series.slice().reverse().map((p) => <tr key={p.stage_id} data-row>
            <td><State state={p.state} /></td><td><a class="main" href={`/runs/${p.run_id}?stage=${encodeURIComponent(cell.stage)}`}>#{p.number ?? p.run_id}</a> <code class="dim">{p.commit}</code></td><td class="right num" data-h="Largest error">{number(p.max_abs_error)}</td><td class="right num" data-h="Top-1">{percent(p.top1_agreement)}</td>
            <td class="right num" data-h="p95">{p.latency_p95_ms === null ? "–" : `${number(p.latency_p95_ms)} ms`}</td><td class="right num" data-h="Size">{bytes(p.bytes)}</td><td><Time at={p.at} /></td></tr>)}</tbody></table></section>;
}
