// diagnosis.tsx - why it failed: the verdict first, then the lines that say so (a click shows the line), what to do, what fixed it before, what looked
// like it, and a person's word about it. Parts whose route the daemon does not have are left out.
import {useState} from "preact/hooks";
import {api, may, useGet, type Page, type Resource} from "../lib/api.ts";
import {idWords, percent, sentence} from "../lib/format.ts";
import {withQuery} from "../lib/router.ts";
import type {Attempt, Challenge, Evidence, Run} from "../lib/types.ts";
import {Act, Command, Dialog, Field, Time} from "./basics.tsx";
import {ChallengePicker} from "./picker.tsx";
import {Fix, type Resolution} from "./fix.tsx";

/** What is kept of the past beside a failure. */
export const pastUrls = (attempt: number) => [`/api/v1/attempts/${attempt}/resolutions?limit=4`, `/api/v1/attempts/${attempt}/similar`, `/api/v1/attempts/${attempt}/diagnoses?limit=10`];
export function usePast(attempt: number | null) {
    const [a, b, c] = attempt ? pastUrls(attempt) : [null, null, null];
    const fixes = useGet<Page<Resolution>>(a), similar = useGet<Page<SimilarRow>>(b), earlier = useGet<Page<Earlier>>(c);
    return {fixes, similar, earlier, settled: [fixes, similar, earlier].every((r) => r.data || r.error)};
}

export function DiagnosisPanel({attempt, run, past, whole, reload}: {attempt: Attempt; run: Run; past: ReturnType<typeof usePast>; whole: boolean; reload: () => void}) {
    const d = attempt.diagnosis, first = d?.challenges?.[0];
    const told = d?.state === "diagnosed" && first;
    return <section class="card diagnosis" aria-label="Diagnosis" tabIndex={-1}>
        <h2>Why it failed</h2>
        {attempt.diagnosis_state === "pending" && <p class="dim" role="status">The log is being read …</p>}
        {attempt.diagnosis_state === "failed" && <p class="note warn">The diagnosis itself failed. The log is complete all the same.</p>}
        {d && <>
            <p class="verdict">{sentence(d.summary ?? "Unclear")}</p>
            <p class="row">{d.verdict === "unclear" || d.state === "unclear" ? <span class="tag warn">unclear</span> : d.verdict === "stated" ? <span class="tag">known failure, no deployment challenge</span> : <span class="tag hazard">deployment challenge</span>}
                {!attempt.retry && d.transient === true && <span class="tag busy">may pass when tried again</span>}{!attempt.retry && d.transient === false && <span class="tag">the same again if tried again</span>}</p>
            {attempt.challenge_by === "person" && <p class="note">A person said: {attempt.challenge_id ? <a href={`/knowledge?id=${encodeURIComponent(attempt.challenge_id)}`}>{idWords(attempt.challenge_id)}</a> : "not a challenge"}.</p>}
            {!told && d.challenges && d.challenges.length > 0 && <h3>Nearest, none of them convincing</h3>}
            {d.challenges && d.challenges.length > 0 && <Ranking list={d.challenges.slice(0, 3)} told={!!told} />}
            {d.state === "unclear" && d.decide && d.decide.length > 0 && <div><h3>What would decide</h3><ul class="plainlist">{d.decide.map((x) => <li>{x}</li>)}</ul></div>}
            {d.evidence && d.evidence.length > 0 && <Quotes evidence={d.evidence} run={run} summary={d.summary ?? ""} />}
            {told && first.remedy && <div><h3>What to do</h3><p>{sentence(first.remedy.text)}</p>{first.remedy.commands?.map((c) => <Command text={c} />)}</div>}
            {first?.about && !first.remedy && <div><h3>What it is</h3><p>{sentence(first.about)}</p></div>}
        </>}
        {whole && <>
            <Resolutions list={past.fixes} />
            <Retry attempt={attempt} />
            {d && may("trigger") && <Feedback attempt={attempt} first={first} reload={reload} />}
            {attempt.known_cases && attempt.known_cases.length > 0 && <Cases cases={attempt.known_cases} />}
            <Similar list={past.similar} />
            <Before list={past.earlier} />
        </>}
        {whole && d?.cuts && d.cuts.length > 0 && <details class="dim"><summary>Not looked at</summary><ul class="plainlist">{d.cuts.map((c) => <li>{c}</li>)}</ul></details>}
    </section>;
}

/** What is below five in a hundred beside a sure answer is told in one line, and shown to who asks. */
function Ranking({list, told}: {list: Challenge[]; told: boolean}) {
    const near = list.filter((c, i) => i === 0 || !told || c.probability >= 0.05), rest = list.slice(near.length);
    return <div><ol class="ranked">{near.map((c, i) => <Ranked key={c.id} c={c} first={told && i === 0} />)}</ol>
        {rest.length > 0 && <details class="sub"><summary>{rest.length === 1 ? "One other, " : `${rest.length} others, each `}{rest[0].probability < 0.01 ? "under 1 %" : `at most ${percent(rest[0].probability)}`}</summary><ol class="ranked">{rest.map((c) => <Ranked key={c.id} c={c} first={false} />)}</ol></details>}</div>;
}
function Ranked({c, first}: {c: Challenge; first: boolean}) {
    const path = (c.path ?? idWords(c.id)).split(" › "), leaf = path.pop();
    return <li class={first ? "first" : ""}><span class="meter"><span class="num">{percent(c.probability)}</span><span class="bar hazard" aria-hidden="true"><i style={{width: `${100 * c.probability}%`}} /></span></span>
        <span class="grow"><a href={`/knowledge?id=${encodeURIComponent(c.id)}`} title={c.id}>{leaf}</a><span class="sub wrap">{path.join(" › ")}{c.came_in && `; came in at ${c.came_in}`}</span></span></li>;
}

/** A long line's head and its end, where what was wrong mostly stands; all of it is in the log, a click away. */
const QUOTED = 200;
const quoted = (text: string) => { const t = text.replace(/[\x00-\x1f]/g, ""); return t.length > QUOTED ? `${t.slice(0, 60)} … ${t.slice(-120)}` : t; };

/** The strongest lines, in the order of the log; what each says, unless the verdict says the same. */
function Quotes({evidence, run, summary}: {evidence: Evidence[]; run: Run; summary: string}) {
    const [all, setAll] = useState(false);
    const at = (e: Evidence) => e.stage ? run.stages.findIndex((s) => s.name === e.stage) : run.stages.length;
    const shown = (all ? [...evidence] : evidence.slice(0, 4)).sort((a, b) => at(a) - at(b) || a.line - b.line);
    return <div><h3>What says so</h3><ul class="quotes">{shown.map((e) => {
        const at = e.stage && run.stages.some((s) => s.name === e.stage) ? withQuery({stage: e.stage, attempt: "", view: ""}) : withQuery({view: ""});
        return <li title={e.text.length > QUOTED ? e.text.slice(0, 2000) : e.why ?? ""} class={e === evidence[0] && shown.length > 1 ? "most" : ""}>{e.line > 0 ? <a href={`${at}#L${e.line}`}><span class="num">{e.stage && `${e.stage} `}{e.line}</span><code>{quoted(e.text)}</code></a> : <span><span class="num">fact</span><code>{quoted(e.text)}</code></span>}
            {e.why && e.indicator && e.why !== summary && <span class="sub">{sentence(e.why)}</span>}</li>;
    })}</ul>{evidence.length > 4 && <button type="button" class="link" onClick={() => setAll(!all)}>{all ? "Fewer lines" : `${evidence.length - 4} more line${evidence.length > 5 ? "s" : ""}`}</button>}</div>;
}

/** One sentence on trying again. The cause in brackets is what the panel began with. */
function Retry({attempt}: {attempt: Attempt}) {
    const r = attempt.retry, why = r?.why.replace(/^(not )?tried (again|once more): /, ""), cause = attempt.diagnosis?.challenges?.[0]?.path?.split(" › ").pop();
    return r && why && <div><h3>{r.retry ? "Tried again" : "Not tried again"}</h3><p>{sentence(cause ? why.replace(` (${cause})`, "") : why)}</p></div>;
}

function Resolutions({list}: {list: Resource<Page<Resolution>>}) {
    if (list.error || !list.data?.items.length)
        return null;
    return <div><h3>What fixed it</h3><ul class="plainlist fixes">{list.data.items.map((r) => <li key={r.id}><Fix r={r} reload={list.reload} /></li>)}</ul></div>;
}

interface SimilarRow { attempt_id: number; run_id: number; run_number: number; project: string; stage: string; at: string; summary?: string | null; key_line?: string | null; resolved_at?: string | null; score: number; why: (string | {text?: string})[] }
function Similar({list}: {list: Resource<Page<SimilarRow>>}) {
    if (list.error || !list.data?.items.length)
        return null;
    return <div><h3>Looked like it</h3><ul class="plainlist">{list.data.items.slice(0, 5).map((s) => <li key={s.attempt_id}>
        <a href={`/runs/${s.run_id}?stage=${encodeURIComponent(s.stage)}&attempt=${s.attempt_id}`}>{s.project} #{s.run_number} {s.stage}</a> {s.resolved_at && <span class="tag good">resolved</span>} <span class="dim"><Time at={s.at} /></span>
        <span class="sub wrap">{sentence(s.why.map((w) => typeof w === "string" ? w : w.text).filter(Boolean).join("; "))}</span></li>)}</ul></div>;
}

function Cases({cases}: {cases: NonNullable<Attempt["known_cases"]>}) {
    return <div><h3>Others asked</h3><ul class="plainlist">{cases.map((c) => <li key={c.url}>{/^https?:\/\//.test(c.url) ? <a href={c.url} target="_blank" rel="noreferrer noopener">{c.title}</a> : c.title}{c.answered && <span class="tag good">answered</span>}</li>)}</ul></div>;
}

interface Earlier { id: number; diagnosed_at: string | null; replaced_at: string; challenge_id: string | null; diagnosis?: {summary?: string} }
function Before({list}: {list: Resource<Page<Earlier>>}) {
    if (!list.data?.items.length)
        return null;
    return <details class="dim"><summary>{list.data.items.length} earlier answer{list.data.items.length > 1 ? "s" : ""}</summary><ul class="plainlist">{list.data.items.map((d) => <li key={d.id}>{d.challenge_id ? idWords(d.challenge_id) : "unclear"}: {d.diagnosis?.summary} <Time at={d.replaced_at} /></li>)}</ul></details>;
}

function Feedback({attempt, first, reload}: {attempt: Attempt; first?: Challenge; reload: () => void}) {
    const url = `/api/v1/attempts/${attempt.id}/feedback`, [correcting, setCorrecting] = useState(false);
    const send = (body: unknown) => api("POST", url, body).then(reload), words = (attempt.feedback ?? []).filter((f) => !f.undone_at);
    return <div class="feedback"><h3>Is that right?</h3>
        {words.map((f) => <p key={f.id} class="sub wrap">{f.by_name} said {f.verdict === "confirm" ? "yes" : f.verdict === "correct" ? `it is ${idWords(f.challenge_id ?? "")}` : "not a challenge"}{f.comment && `: ${f.comment}`} <Time at={f.at} /> · <Act kind="link" run={() => api("DELETE", `/api/v1/feedback/${f.id}`).then(reload)} done="Taken back.">Take back</Act></p>)}
        <div class="row">{first && <Act kind="small" run={() => send({verdict: "confirm"})} done="Thank you: it weighs more from now on.">Yes</Act>}
            <button type="button" class="button small" onClick={() => setCorrecting(true)}>No, it is …</button>
            <Act kind="small" run={() => send({verdict: "not_a_challenge"})} done="Noted.">Not a challenge</Act></div>
        {correcting && <Correct close={() => setCorrecting(false)} send={async (c, comment) => { await send({verdict: "correct", challenge: c, ...(comment ? {comment} : {})}); setCorrecting(false); }} />}
    </div>;
}
function Correct({close, send}: {close: () => void; send: (challenge: string, comment: string) => Promise<unknown>}) {
    const [id, setId] = useState(""), [comment, setComment] = useState("");
    return <Dialog title="What was it?" close={close} wide>
        <ChallengePicker value={id} choose={setId} />
        <Field label="Why (optional)">{(f) => <textarea id={f} rows={2} maxLength={2000} value={comment} onInput={(e) => setComment(e.currentTarget.value)} />}</Field>
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!id} run={() => send(id, comment)} done="Thank you: later answers follow your word.">Say so</Act></div>
    </Dialog>;
}
