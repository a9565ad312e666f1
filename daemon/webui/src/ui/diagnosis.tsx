// diagnosis.tsx - why it failed: the verdict first, then the lines that say so (a click shows the line), what to do, what fixed it before, what looked
// like it, and a person's word about it. Parts whose route the daemon does not have are left out.
import {useState} from "preact/hooks";
import {api, may, useGet, type Page} from "../lib/api.ts";
import {idWords, percent, span} from "../lib/format.ts";
import {withQuery} from "../lib/router.ts";
import type {Attempt, Challenge, Evidence, Run, Stage} from "../lib/types.ts";
import {Act, Command, Dialog, Field, Time} from "./basics.tsx";
import {ChallengePicker} from "./picker.tsx";

export function DiagnosisPanel({attempt, stage, run, reload}: {attempt: Attempt; stage: Stage; run: Run; reload: () => void}) {
    const d = attempt.diagnosis, first = d?.challenges?.[0];
    const told = d?.state === "diagnosed" && first;
    return <section class="card diagnosis" aria-label="Diagnosis">
        <h2>Why it failed</h2>
        {attempt.diagnosis_state === "pending" && <p class="dim" role="status">The log is being read …</p>}
        {attempt.diagnosis_state === "failed" && <p class="note warn">The diagnosis itself failed. The log is complete all the same.</p>}
        {d && <>
            <p class="verdict">{d.summary ?? "Unclear."}</p>
            <p class="row">{d.verdict === "unclear" || d.state === "unclear" ? <span class="tag warn">unclear</span> : d.verdict === "stated" ? <span class="tag">known failure, no deployment challenge</span> : <span class="tag hazard">deployment challenge</span>}
                {d.transient === true && <span class="tag busy">may pass when tried again</span>}{d.transient === false && <span class="tag">the same again if tried again</span>}</p>
            {attempt.challenge_by === "person" && <p class="note">A person said: {attempt.challenge_id ? <a href={`/knowledge?id=${encodeURIComponent(attempt.challenge_id)}`}>{idWords(attempt.challenge_id)}</a> : "not a challenge"}.</p>}
            {!told && d.challenges && d.challenges.length > 0 && <h3>Nearest, none of them convincing</h3>}
            {d.challenges && d.challenges.length > 0 && <ol class="ranked">{d.challenges.slice(0, 3).map((c, i) => <Ranked key={c.id} c={c} first={i === 0} />)}</ol>}
            {d.state === "unclear" && d.decide && d.decide.length > 0 && <div><h3>What would decide</h3><ul class="plainlist">{d.decide.map((x) => <li>{x}</li>)}</ul></div>}
            {d.evidence && d.evidence.length > 0 && <Quotes evidence={d.evidence} run={run} />}
            {told && first.remedy && <div><h3>What to do</h3><p>{first.remedy.text}</p>{first.remedy.commands?.map((c) => <Command text={c} />)}</div>}
            {first?.about && !first.remedy && <div><h3>What it is</h3><p>{first.about}</p></div>}
        </>}
        <Resolutions attempt={attempt.id} />
        <Retry stage={stage} />
        {d && may("trigger") && <Feedback attempt={attempt} first={first} reload={reload} />}
        <Similar attempt={attempt.id} />
        {d?.cuts && d.cuts.length > 0 && <details class="dim"><summary>Not looked at</summary><ul class="plainlist">{d.cuts.map((c) => <li>{c}</li>)}</ul></details>}
    </section>;
}

function Ranked({c, first}: {c: Challenge; first: boolean}) {
    return <li class={first ? "first" : ""}><span class="bar hazard" aria-hidden="true"><i style={{width: `${100 * c.probability}%`}} /></span><span class="num">{percent(c.probability)}</span>
        <a class="grow" href={`/knowledge?id=${encodeURIComponent(c.id)}`} title={c.id}>{c.path ?? idWords(c.id)}</a>{c.came_in && <span class="dim">came in at {c.came_in}</span>}</li>;
}

function Quotes({evidence, run}: {evidence: Evidence[]; run: Run}) {
    const [all, setAll] = useState(false), shown = all ? evidence : evidence.slice(0, 4);
    return <div><h3>What says so</h3><ul class="quotes">{shown.map((e) => {
        const at = e.stage && run.stages.some((s) => s.name === e.stage) ? withQuery({stage: e.stage, attempt: "", view: ""}) : withQuery({view: ""});
        return <li title={e.why ?? ""}>{e.line > 0 ? <a href={`${at}#L${e.line}`}><span class="num">{e.stage && `${e.stage} `}{e.line}</span><code>{e.text.replace(/[\x00-\x1f]/g, "")}</code></a> : <span><span class="num">fact</span><code>{e.text.replace(/[\x00-\x1f]/g, "")}</code></span>}
            {e.why && e.indicator && <span class="sub">{e.why}</span>}</li>;
    })}</ul>{evidence.length > 4 && <button type="button" class="link" onClick={() => setAll(!all)}>{all ? "Fewer" : `${evidence.length - 4} more lines`}</button>}</div>;
}

function Retry({stage}: {stage: Stage}) {
    const r = stage.retry_decision;
    if (!r && !stage.retries)
        return null;
    return <div><h3>Tried again?</h3><p>{r?.why ?? `${stage.retries} of ${stage.retry_max} retries were spent.`}{r?.saved_minutes ? <span class="good"> About {span(r.saved_minutes * 60000)} saved.</span> : null}</p></div>;
}

interface Resolution { id: number; state: string; summary?: string; note?: string | null; run_id?: number; run_number?: number; project?: string; at?: string; commits?: {sha: string; subject?: string; message?: string; author?: string}[]; author?: string }
function Resolutions({attempt}: {attempt: number}) {
    const list = useGet<Page<Resolution>>(`/api/v1/attempts/${attempt}/resolutions`);
    if (list.error || !list.data?.items.length)
        return null;
    return <div><h3>What fixed it before</h3><ul class="plainlist fixes">{list.data.items.slice(0, 4).map((r) => <li key={r.id}>
        <span class={`tag ${r.state === "confirmed" ? "good" : ""}`}>{r.state}</span> {r.note ?? r.summary ?? r.commits?.[0]?.subject ?? r.commits?.[0]?.message?.split("\n")[0] ?? "a change"}
        <span class="sub">{r.run_id && <a href={`/runs/${r.run_id}`}>{r.project} {r.run_number ? `#${r.run_number}` : ""}</a>} <Time at={r.at} />
            {may("trigger") && r.state !== "confirmed" && <> · <Act kind="link" run={() => api("PATCH", `/api/v1/resolutions/${r.id}`, {state: "confirmed"}).then(list.reload)} done="Confirmed: it is shown first from now on.">That was it</Act> · <Act kind="link" run={() => api("PATCH", `/api/v1/resolutions/${r.id}`, {state: "rejected"}).then(list.reload)} done="Noted.">No</Act></>}</span></li>)}</ul></div>;
}

interface SimilarRow { attempt_id: number; run_id: number; run_number: number; project: string; stage: string; at: string; summary?: string | null; key_line?: string | null; resolved_at?: string | null; score: number; why: (string | {text?: string})[] }
function Similar({attempt}: {attempt: number}) {
    const list = useGet<Page<SimilarRow>>(`/api/v1/attempts/${attempt}/similar`);
    if (list.error || !list.data?.items.length)
        return null;
    return <div><h3>Looked like it</h3><ul class="plainlist">{list.data.items.slice(0, 5).map((s) => <li key={s.attempt_id}>
        <a href={`/runs/${s.run_id}?stage=${encodeURIComponent(s.stage)}&attempt=${s.attempt_id}`}>{s.project} #{s.run_number} {s.stage}</a> {s.resolved_at && <span class="tag good">resolved</span>}
        <span class="sub">{s.why.map((w) => typeof w === "string" ? w : w.text).filter(Boolean).join(", ")} · <Time at={s.at} /></span></li>)}</ul></div>;
}

interface Said { id: number; verdict: string; challenge?: string | null; challenge_id?: string | null; comment?: string | null; person?: string; actor?: string; created_by?: string; at?: string; created_at?: string }
function Feedback({attempt, first, reload}: {attempt: Attempt; first?: Challenge; reload: () => void}) {
    const url = `/api/v1/attempts/${attempt.id}/feedback`, said = useGet<Page<Said>>(url);
    const [correcting, setCorrecting] = useState(false);
    if (said.error?.status === 404 || said.error?.status === 405)
        return null;
    const send = (body: unknown) => api("POST", url, body).then(() => { said.reload(); reload(); });
    return <div class="feedback"><h3>Is that right?</h3>
        {said.data?.items.map((s) => <p key={s.id} class="sub">{s.person ?? s.actor ?? s.created_by}: {s.verdict.replace(/_/g, " ")} {(s.challenge ?? s.challenge_id) && <>as {idWords((s.challenge ?? s.challenge_id)!)}</>} {s.comment} <Time at={s.at ?? s.created_at} /> · <Act kind="link" run={() => api("DELETE", `/api/v1/feedback/${s.id}`).then(() => { said.reload(); reload(); })} done="Taken back.">Undo</Act></p>)}
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
