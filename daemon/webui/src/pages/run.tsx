// run.tsx - one run: its stages as a course, and for the chosen stage its log with the diagnosis beside it, its report, what it published, and how it
// differs from the last good one. The stage, the attempt and the view are in the address; a line of the log is behind '#'.
import {useEffect, useMemo, useRef} from "preact/hooks";
import {ahead, api, may, useGet, type Page} from "../lib/api.ts";
import {useChange, useLive, useSoon} from "../lib/live.ts";
import {about, bytes, idWords, percent, sentence, shortRef, shortSha, span} from "../lib/format.ts";
import {go, query, withQuery} from "../lib/router.ts";
import {open, type Attempt, type Run as RunData, type Stage} from "../lib/types.ts";
import {Act, Command, Empty, Failed, Loading, State, Tabs, Time, Title, Took} from "../ui/basics.tsx";
import {Graph} from "../ui/graph.tsx";
import {Log, type Mark} from "../ui/log.tsx";
import {useKeys} from "../ui/keys.tsx";
import {DiagnosisPanel, pastUrls, usePast} from "../ui/diagnosis.tsx";
import {ReportView} from "../ui/report.tsx";
import {Compare} from "../ui/compare.tsx";
import {Terms} from "../ui/terms.tsx";

/** The stage to show when none is named: the first that is red for its own reasons, else what runs, else the last one. */
function telling(stages: Stage[]): Stage | undefined {
    return stages.find((s) => s.state === "red") ?? stages.find((s) => s.state === "running" || s.state === "claimed") ?? stages.find((s) => s.state === "gated")
        ?? stages.find((s) => open(s.state)) ?? stages[stages.length - 1];
}

export function Run({parts}: {parts: string[]}) {
    const id = Number(parts[0]);
    const run = useGet<RunData>(Number.isInteger(id) && id > 0 ? `/api/v1/runs/${id}` : null);
    const soon = useSoon(run.reload), preflight = useGet<Looked>(Number.isInteger(id) && id > 0 ? `/api/v1/runs/${id}/preflight` : null);
    const before = useRef<string | undefined>(undefined);
    useEffect(() => {
        if (before.current && run.data && before.current !== run.data.state)
            preflight.reload();
        before.current = run.data?.state;
    }, [run.data?.state]);
    useLive(run.data ? `/api/v1/runs/${id}/events` : null, (e) => {
        if (e.kind === "preflight")
            preflight.reload();
        if (e.kind !== "log")
            soon();
    }, run.reload);
    const q = query.value, r = run.data;
    const stage = r?.stages.find((s) => s.name === q.get("stage")) ?? (r ? telling(r.stages) : undefined);
    useKeys(r ? [
        {keys: "]", what: "Next stage", run: () => hop(1)},
        {keys: "[", what: "Previous stage", run: () => hop(-1)},
        {keys: "d", what: "To the diagnosis", run: () => document.querySelector<HTMLElement>(".diagnosis")?.focus()},
        {keys: "l", what: "Log", run: () => go(withQuery({view: ""}), {keepScroll: true})},
        {keys: "p", what: "Parity report", run: () => go(withQuery({view: "report"}), {keepScroll: true})},
        {keys: "c", what: "Compare with the last good run", run: () => go(withQuery({view: "compare"}), {keepScroll: true})},
    ] : []);
    const hop = (by: number) => {
        const at = r!.stages.findIndex((s) => s === stage), to = r!.stages[(at + by + r!.stages.length) % r!.stages.length];
        if (to)
            go(withQuery({stage: to.name, attempt: "", view: ""}), {replace: true, keepScroll: true});
    };
    if (!Number.isInteger(id) || id <= 0)
        return <Empty title="No such run"><p>A run's address ends in its number. <a href="/runs">All runs</a></p></Empty>;
    if (!r)
        return run.error ? <Failed problem={run.error} retry={run.reload} /> : <Loading what="Loading the run" />;
    const name = r.number ? `${r.project} #${r.number}` : `${r.project}, run ${r.id}`, isOpen = open(r.state);
    return <>
        <Title aside={may("trigger") && <div class="row">
            {isOpen && <Act kind="danger" run={() => api("POST", `/api/v1/runs/${id}/cancel`, {}).then(soon)} done="It will end now." confirm={`Cancel ${name}? Stages that run are stopped.`}>Cancel</Act>}
            {(r.state === "red" || r.state === "cancelled") && <Act run={() => api("POST", `/api/v1/runs/${id}/rerun`, {}).then(soon)} done="Running again from the first stage that is not green.">Run again</Act>}
            {!isOpen && <Act run={async () => {
                const made = await api<{run_id: number}>("POST", `/api/v1/projects/${r.project}/runs`, {ref: r.ref, commit: r.commit_sha ?? undefined});
                if (made.run_id) go(`/runs/${made.run_id}`);
            }} title="A new run of the same commit, from the beginning">New run of this commit</Act>}
        </div>}>{name}</Title>
        <div class="runhead">
            <State state={r.state} />
            <span><a href={`/runs?project=${r.project}`}>{r.project}</a> <span class="dim">at</span> {shortRef(r.ref)}</span>
            <span class="grow cut" title={r.commit_message ?? ""}><code>{shortSha(r.commit_sha)}</code> {r.commit_message?.split("\n")[0]} <span class="dim">{r.commit_author?.replace(/ <.*>$/, "")}</span></span>
            <span class="dim">{r.trigger} by {r.created_by}, <Time at={r.created_at} /></span>
            <span><Took from={r.started_at} to={r.ended_at} /></span>
        </div>
        {r.message && <p class={`note lines ${r.state === "invalid" ? "hazard" : ""}`}>{r.state === "invalid" ? r.message.replace(/(?<=\S) (?=\.portolan\.yml:\d+:\d+: )/g, "\n") : r.message}</p>}
        {r.state === "invalid" && r.pipeline_text && <pre class="block" tabIndex={0}>{r.pipeline_text}</pre>}
        {r.stages.length > 0 && <Graph stages={r.stages} chosen={stage?.name} href={(s) => withQuery({stage: s.name, attempt: "", view: ""})} />}
        {r.stages.length === 0 && isOpen && <Loading what="Fetching the commit and planning its stages" />}
        {preflight.data && <Preflight seen={preflight.data} />}
        {stage && (preflight.data || preflight.error) && <StageView key={stage.name} run={r} stage={stage} reload={soon} />}
    </>;
}

interface AttemptRow { id: number; fence: number; agent_name: string | null; claimed_at: string; started_at: string | null; ended_at: string | null; ok: boolean | null; end_reason: string | null; message: string | null; duration_ms: number | null }

function StageView({run, stage, reload}: {run: RunData; stage: Stage; reload: () => void}) {
    const q = query.value, view = q.get("view") ?? "log";
    const attempts = useGet<Page<AttemptRow>>(stage.fence > 0 ? `/api/v1/stages/${stage.id}/attempts?limit=50` : null);
    useChange(() => { if (stage.fence > 0) attempts.reload(); }, [stage.fence, stage.state]);
    const chosen = Number(q.get("attempt")) || stage.attempt_id;
    // What stands beside a failure is asked for together with it, not after it.
    useMemo(() => { if (chosen && stage.state === "red") ahead(...pastUrls(chosen)); }, [chosen]);
    const attempt = useGet<Attempt>(chosen ? `/api/v1/attempts/${chosen}` : null);
    useChange(() => { if (chosen) attempt.reload(); }, [stage.state, stage.diagnosis_state, stage.fence, stage.challenge_id]);
    const why = useGet<Page<{id: number; why: string}>>(["waiting", "queued", "gated"].includes(stage.state) ? `/api/v1/runs/${run.id}/why` : null);
    useChange(why.reload, [stage.state]);
    const a = attempt.data, latest = chosen === stage.attempt_id;
    const marks = useMemo<Mark[]>(() => (a?.diagnosis?.evidence ?? []).filter((e) => e.line > 0 && !e.stage).map((e) => ({line: e.line - 1, title: e.why ?? ""})), [a?.diagnosis]);
    const running = latest && ["claimed", "running", "cancelling"].includes(stage.state);
    const tabs = [["log", "Log"], ...(a?.report ? [["report", "Report"]] : []), ["artifacts", "Published"], ["compare", "Against the last good"], ["plan", "As planned"]];
    const reason = why.data?.items.find((w) => w.id === stage.id)?.why;
    // What the diagnosis and the facts beside the log say anyhow is not said above them once more.
    const told = latest && a?.ok === false && a.diagnosis_state === "done" && stage.message && (/^ended with exit code/.test(stage.message) || a.diagnosis?.summary?.includes(stage.message.replace(/^verdict red: /, "")));
    const said = told ? null : stage.message;
    return <section class="stage" aria-label={`Stage ${stage.name}`}>
        <header class="stagehead">
            <h2>{stage.name}</h2><State state={latest ? stage.state : a?.ok ? "green" : "red"} />
            <span class="dim">{[stage.host, stage.uses, stage.toolchain && stage.toolchain !== stage.uses ? `toolchain ${stage.toolchain}` : null, stage.agent_name && `on ${stage.agent_name}`].filter(Boolean).join(" · ")}</span>
            {attempts.data && attempts.data.items.length > 1 && <label class="dim">Attempt <select value={String(chosen)} onChange={(e) => go(withQuery({attempt: Number(e.currentTarget.value) === stage.attempt_id ? "" : e.currentTarget.value}), {replace: true, keepScroll: true})}>
                {attempts.data.items.map((t) => <option key={t.id} value={String(t.id)}>{t.fence}: {t.ok === null ? "open" : t.ok ? "green" : t.end_reason}</option>)}</select></label>}
            {stage.state === "gated" && may("trigger") && <span class="row">
                <Act kind="primary" run={() => api("POST", `/api/v1/stages/${stage.id}/approve`, {}).then(reload)} done="The gate is open.">Approve</Act>
                <Act kind="danger" run={() => api("POST", `/api/v1/stages/${stage.id}/decline`, {}).then(reload)} done="Declined: the stage is red." confirm={`Decline ${stage.name}? It turns red, and what needs it is skipped.`}>Decline</Act></span>}
        </header>
        {stage.gate_why && stage.state === "gated" && <p class="note warn">{stage.gate_why}{stage.approvers && stage.approvers.length > 0 && `; may open it: ${stage.approvers.join(", ")}`}</p>}
        {(reason || said) && <p class={`note ${stage.state === "gated" ? "warn" : ""}`}>{reason ?? said}{stage.allow_failure && stage.state === "red" && " (allowed to fail)"}</p>}
        {chosen ? <div class="beside">
            <div class="left">
                <Tabs label="Views of this attempt">{tabs.map(([id, title]) =>
                    <a key={id} href={withQuery({view: id === "log" ? "" : id})} aria-current={view === id ? "page" : undefined}>{title}</a>)}</Tabs>
                {view === "log" && <Log key={chosen} attempt={chosen} open={!!running} marks={marks} />}
                {view === "report" && a?.report && <ReportView report={a.report} />}
                {view === "artifacts" && <Artifacts attempt={chosen} />}
                {view === "compare" && <Compare run={run} stage={stage} attempt={a} />}
                {view === "plan" && <Plan stage={stage} run={run} />}
            </div>
            <aside class="right" aria-label="Diagnosis and facts">
                {a && <Beside key={a.id} a={a} run={run} stage={stage} latest={latest} reload={() => { attempt.reload(); reload(); }} />}
            </aside>
        </div> : <div class="beside"><div class="left"><div class="stack">{!reason && !said && <p class="dim pad">This stage has not begun.</p>}<Plan stage={stage} run={run} /></div></div><aside class="right" aria-label="Risk"><Weighed stage={stage} /></aside></div>}
    </section>;
}

/** What stands beside the log. The verdict is there at once; what is below it comes as one, so that nothing moves while it is read. */
function Beside({a, run, stage, latest, reload}: {a: Attempt; run: RunData; stage: Stage; latest: boolean; reload: () => void}) {
    const failed = a.ok === false, past = usePast(failed ? a.id : null), owner = useOwner(run, failed && latest && may("trigger") ? stage : null), weighed = useWeighed(stage);
    const there = (!failed || past.settled) && owner.settled && weighed.settled;
    return <>
        {failed && <DiagnosisPanel attempt={a} run={run} past={past} whole={there} reload={reload} />}
        {there && <>
            {owner.card}
            <Facts a={a} stage={stage} />
            {weighed.card}
            {a.ended_at && <div class="card"><h2>Reproduce</h2><p class="dim">The same stage, inputs and toolchain on your machine:</p><Command text={`portolan reproduce ${a.id}`} /></div>}
        </>}
    </>;
}

interface Finding { rule: string; severity: string; challenge_id: string | null; target: string | null; stage: string | null; path: string | null; message: string; remedy: string | {text?: string} | null; stage_state?: string | null }
interface Look { id: number; state: string; stage: string | null; message?: string | null; memory: {stage?: string; target?: string; estimated_bytes?: number; estimate_bytes?: number; bytes?: number; measured_bytes?: number | null}[] | null }
interface Looked { items: Finding[]; looks: Look[] }
/** What was found before the stages ran; open while there is something to heed. */
function Preflight({seen}: {seen: Looked}) {
    const list = seen.items, errors = list.filter((f) => f.severity === "error").length, memory = (seen.looks ?? []).flatMap((l) => l.memory ?? []);
    if (list.length === 0 && memory.length === 0)
        return null;
    return <details class="card preflight" open={errors > 0}><summary><b>Pre-flight</b> <span class="dim">{list.length === 0 ? "found nothing" : `${list.length} finding${list.length > 1 ? "s" : ""}${errors ? `, ${errors} that will fail` : ""}`}</span></summary>
        <ul class="plainlist">{list.map((f) => <li><span class={`tag ${f.severity === "error" ? "bad" : f.severity === "warning" ? "warn" : ""}`}>{f.severity}</span> {f.message} {f.path && <code class="dim">{f.path}</code>}
            <span class="sub wrap">{f.stage && <a href={withQuery({stage: f.stage, attempt: "", view: ""})}>{f.stage}</a>} {f.challenge_id && <a href={`/knowledge?id=${encodeURIComponent(f.challenge_id)}`}>{idWords(f.challenge_id)}</a>}{(f.stage || f.challenge_id) && f.remedy && " · "}{f.remedy && sentence((typeof f.remedy === "string" ? f.remedy : f.remedy.text) ?? "")}</span></li>)}</ul>
        {memory.length > 0 && <table class="narrow"><caption>Memory: estimated beside measured</caption><thead><tr><th>Stage</th><th class="right">Estimated</th><th class="right">Measured</th></tr></thead><tbody>{memory.map((m) => <tr><td>{m.stage ?? m.target}</td><td class="right num">{bytes(m.estimated_bytes ?? m.estimate_bytes ?? m.bytes)}</td><td class="right num">{bytes(m.measured_bytes)}</td></tr>)}</tbody></table>}
    </details>;
}

interface Risk { p: number | null; hours: number | null; terms: {name: string; value: number; why: string}[] }
function useWeighed(stage: Stage) {
    const url = stage.risk_p !== null && stage.risk_p !== undefined ? `/api/v1/stages/${stage.id}/risk` : null, risk = useGet<Risk>(url), r = risk.data;
    const card = r?.p != null ? <details class="card" open={stage.state === "gated"}><summary><b>Risk as weighed before</b> <span class="num">{percent(r.p)}{r.hours != null && ` × ${about(r.hours * 3600000)}`}</span></summary><Terms terms={r.terms} /></details> : null;
    return {settled: !url || !!r || !!risk.error, card};
}
function Weighed({stage}: {stage: Stage}) {
    return useWeighed(stage).card;
}
interface OnBoard { stage_id: number; assignment: {id: number; person: string | null; display_name?: string | null; state: string} | null; suggested: {person: string; display_name?: string; reasons: string[]}[] }
function useOwner(run: RunData, stage: Stage | null) {
    const list = useGet<Page<OnBoard>>(stage ? `/api/v1/board?limit=200&state=red&project=${encodeURIComponent(run.project)}${stage.target ? `&target=${encodeURIComponent(stage.target)}` : ""}` : null);
    const mine = list.data?.items.find((i) => i.stage_id === stage?.id);
    return {settled: !stage || !!list.data || !!list.error, card: mine && stage ? <Owner mine={mine} stage={stage} reload={list.reload} /> : null};
}
function Owner({mine, stage, reload}: {mine: OnBoard; stage: Stage; reload: () => void}) {
    const a = mine.assignment, s = mine.suggested[0];
    return <div class="card"><h2>Who takes it</h2>{a ? <p><a href={`/risk/${a.id}`}>{a.display_name ?? a.person ?? "nobody now"}</a> <span class="tag">{a.state}</span></p> : <><p class="row"><Act kind="small" run={() => api("POST", "/api/v1/assignments", {stage_id: stage.id}).then(reload)} done="It is yours.">Take it</Act><a class="button small" href={`/risk?state=red&person=none`}>On the board</a></p>{s && <p class="sub wrap">Perhaps {s.display_name ?? s.person}: {s.reasons[0]}.</p>}</>}</div>;
}

function Facts({a, stage}: {a: Attempt; stage: Stage}) {
    return <div class="card"><h2>Attempt {a.fence}</h2><dl class="facts">
        <dt>Ended</dt><dd>{a.ended_at ? <>{a.ok ? "well" : a.end_reason === "exit" ? a.exit_code === 0 ? "exit code 0, red by its report" : `exit code ${a.exit_code}` : a.end_reason === "signal" ? `signal ${a.signal}` : a.end_reason}, <Time at={a.ended_at} /></> : "still running"}</dd>
        <dt>Took</dt><dd><Took from={a.started_at} to={a.ended_at} ms={a.duration_ms} /> <span class="dim">of {span(stage.timeout_ms)}</span></dd>
        <dt>Memory</dt><dd>{bytes(a.peak_memory_bytes)} <span class="dim">peak</span></dd>
        <dt>Agent</dt><dd>{a.agent_name ? <a href={`/agents#${a.agent_name}`}>{a.agent_name}</a> : "–"}</dd>
        {stage.approved_by && <><dt>Approved</dt><dd>by {stage.approved_by}</dd></>}
        {a.sandbox && <><dt>Sandbox</dt><dd>{a.sandbox}</dd></>}
    </dl>
    {a.warnings.length > 0 && <details><summary>{a.warnings.length} {a.warnings.length === 1 ? "warning" : "warnings"}</summary><ul class="stack">{a.warnings.map((w) => <li>{w}</li>)}</ul></details>}</div>;
}

function Artifacts({attempt}: {attempt: number}) {
    const list = useGet<Page<{path: string; sha256: string; size_bytes: number; exec: boolean}>>(`/api/v1/attempts/${attempt}/artifacts?limit=500`);
    if (list.error)
        return <Failed problem={list.error} retry={list.reload} />;
    if (!list.data)
        return <Loading what="Loading the list" />;
    if (list.data.items.length === 0)
        return <p class="dim pad">This attempt published nothing.</p>;
    return <div class="scroll"><table class="list"><thead><tr><th>Path</th><th class="right">Size</th><th>SHA-256</th></tr></thead><tbody>{list.data.items.map((f) => <tr key={f.path}>
        <td><a href={`/api/v1/blobs/${f.sha256}`} download={f.path.split("/").pop()}>{f.path}</a></td><td class="right num">{bytes(f.size_bytes)}</td><td><code class="dim">{f.sha256.slice(0, 16)}</code></td></tr>)}</tbody></table></div>;
}

function Plan({stage, run}: {stage: Stage; run: RunData}) {
    const plan = useGet<Record<string, unknown>>(`/api/v1/stages/${stage.id}`);
    return <div class="stack">{plan.error ? <Failed problem={plan.error} retry={plan.reload} /> : plan.data ? <pre class="block" tabIndex={0}>{JSON.stringify(plan.data.spec ?? plan.data, null, 2)}</pre> : <Loading />}
        {run.pipeline_text && <><h3>.portolan.yml of this commit</h3><pre class="block" tabIndex={0}>{run.pipeline_text}</pre></>}</div>;
}
