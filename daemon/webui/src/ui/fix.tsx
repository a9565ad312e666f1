// fix.tsx - what turned a stage green: the change between red and green, and a person's word on whether that was it.
import {useState} from "preact/hooks";
import {api, may, useGet} from "../lib/api.ts";
import {about} from "../lib/format.ts";
import {Act, Dialog, Field, Time} from "./basics.tsx";
import {DiffView} from "./compare.tsx";

export interface Resolution {
    id: number; project: string; stage: string; ref: string; challenge_id: string | null; state: string; change: string; summary: string; note: string | null; why?: string; minutes: number | null; failures: number; first_red_at: string; green_at: string;
    red_attempt_id: number; green_attempt_id: number; decided_by: string | null; commits: {sha: string; subject: string; author: string; at: string}[]; files?: string[]; diff?: string | null; cuts?: string[]; environment?: {name?: string; before?: unknown; after?: unknown}[];
}

export function Fix({r, reload}: {r: Resolution; reload: () => void}) {
    const [asking, setAsking] = useState<"confirmed" | "rejected" | "candidate" | null>(null), [open, setOpen] = useState(false);
    return <>
        <p>{r.state === "confirmed" ? <span class="tag good">confirmed</span> : r.state === "rejected" && <span class="tag">was not it</span>} {r.note ?? r.summary}</p>
        {r.note && <p class="sub">{r.summary}</p>}
        <p class="sub wrap">{r.why && `${r.why}; `}{r.minutes != null && `green after ${about(r.minutes * 60000)}, `}<a href={`/attempts/${r.green_attempt_id}`}>{r.project} {r.stage}, green</a> <Time at={r.green_at} />{r.decided_by && `, ${r.state} by ${r.decided_by}`}</p>
        <details onToggle={(e) => setOpen(e.currentTarget.open)}><summary class="dim">The change</summary>{open && <Change id={r.id} />}</details>
        {may("trigger") && <p class="row asks">{r.state === "candidate" ? <><button type="button" class="button small" onClick={() => setAsking("confirmed")}>That was it</button><button type="button" class="button small" onClick={() => setAsking("rejected")}>It was not</button></>
            : <button type="button" class="button small" onClick={() => setAsking(r.state as "confirmed")}>Change what was said</button>}</p>}
        {asking && <Decide r={r} state={asking} close={() => setAsking(null)} done={() => { setAsking(null); reload(); }} />}
    </>;
}

const said: Record<string, string> = {confirmed: "Confirmed: later failures like it show it first.", rejected: "Noted: it is not shown any more.", candidate: "Open again."};
function Decide({r, state: first, close, done}: {r: Resolution; state: string; close: () => void; done: () => void}) {
    const [note, setNote] = useState(r.note ?? ""), [state, setState] = useState(first), again = r.state !== "candidate";
    return <Dialog title={again ? "What turned it green" : state === "confirmed" ? "That was it" : "It was not"} close={close}>
        <p class="dim">{r.summary}</p>
        {again && <Field label="It">{(f) => <select id={f} value={state} onChange={(e) => setState(e.currentTarget.value)}><option value="confirmed">was that</option><option value="rejected">was not that</option><option value="candidate">is to be looked at again</option></select>}</Field>}
        <Field label={state === "rejected" ? "What it was instead (optional)" : "In your own words (optional)"}>{(f) => <textarea id={f} rows={3} maxLength={4000} value={note} onInput={(e) => setNote(e.currentTarget.value)} />}</Field>
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" run={() => api("PATCH", `/api/v1/resolutions/${r.id}`, {state, ...(note.trim() !== (r.note ?? "") ? {note: note.trim()} : {})}).then(done)} done={said[state]}>Say so</Act></div></Dialog>;
}

function Change({id}: {id: number}) {
    const one = useGet<Resolution>(`/api/v1/resolutions/${id}`), r = one.data;
    if (!r)
        return <p class="dim">{one.error ? one.error.message : "Loading …"}</p>;
    return <div class="stack">
        {r.commits.map((c) => <p key={c.sha} class="sub wrap"><code>{c.sha.slice(0, 10)}</code> {c.subject} <span class="dim">{c.author.replace(/ <.*>$/, "")}</span></p>)}
        {r.environment && r.environment.length > 0 && <ul class="plainlist">{r.environment.map((e) => <li class="sub">{e.name}: {String(e.before ?? "–")} → {String(e.after ?? "–")}</li>)}</ul>}
        {r.diff && <DiffView text={r.diff} />}
        {!r.diff && r.commits.length === 0 && !(r.environment?.length) && <p class="dim">Nothing that is known changed: {r.change}.</p>}
        {r.cuts && r.cuts.length > 0 && <p class="sub">Left out: {r.cuts.join(", ")}</p>}</div>;
}
