// risk.tsx - weigh the future: what waits, runs or is red, by chance and cost with every term of it; give it to somebody, take it, hand it back. Views:
// the board, one's own, all assignments, was the risk right (back-test). One assignment: /risk/ID.
import {useState} from "preact/hooks";
import {api, may, session, useGet, useList, type Page} from "../lib/api.ts";
import {about, count, idWords, number, percent, sentence, shortRef} from "../lib/format.ts";
import {useLive, useSoon} from "../lib/live.ts";
import {query, setQuery} from "../lib/router.ts";
import {boardUrl, peopleNames, projectNames} from "../lib/urls.ts";
import {Terms} from "../ui/terms.tsx";
import {Act, Dialog, Empty, Failed, Field, Loading, More, say, Send, State, Tabs, Time, Title} from "../ui/basics.tsx";

interface Term { name: string; value: number; why: string }
interface Risk { p: number | null; hours: number | null; cost: number | null; terms: Term[] }
interface Mine { id: number; person: string | null; display_name?: string | null; due_at: string | null; state: string; checklist_done?: number; checklist?: number }
interface Item {
    stage_id: number; run_id: number; run_number: number | null; project: string; ref?: string; stage: string; kind: string; target: string | null; host: string; state: string; message?: string | null; gate_why?: string | null; attempt_id: number | null; since?: string;
    risk: Risk | null; likely: {challenge_id: string; title?: string; p: number | null}[]; assignment: Mine | null; suggested: {person: string; display_name?: string; reasons: string[]}[];
}
interface Person { name: string; display_name: string; assignments?: number }
const manages = () => may("manage") || may("admin"), writes = () => may("trigger") || may("manage");

export function RiskPages({parts}: {parts: string[]}) {
    if (parts[0] && /^\d+$/.test(parts[0]))
        return <Assignment key={parts[0]} id={Number(parts[0])} />;
    const view = query.value.get("view") ?? "";
    return <><Title>Risk</Title>
        <Tabs label="Views">{[["", "Board"], ["mine", "Mine"], ["assignments", "Assignments"], ["backtest", "Was it right?"]].map(([id, title]) => <a key={id} href={id ? `/risk?view=${id}` : "/risk"} aria-current={view === id ? "page" : undefined}>{title}</a>)}</Tabs>
        {view === "mine" ? <Assignments person="me" /> : view === "assignments" ? <Assignments /> : view === "backtest" ? <Backtest /> : <Board />}</>;
}

export function Board() {
    const q = query.value, url = boardUrl(q);
    const board = useList<Item>(url, "after", (i) => i.stage_id), soon = useSoon(board.reload, 400);
    useLive("/api/v1/events", (e) => { if (e.kind !== "log") soon(); }, board.reload);
    const projects = useGet<Page<{name: string}>>(projectNames), people = useGet<Page<Person>>(peopleNames);
    const [giving, setGiving] = useState<Item | null>(null);
    const filtered = url.includes("&");
    return <>
        <form class="filters" role="search" aria-label="Filter the board" onSubmit={(e) => e.preventDefault()}>
            <label>Project <select data-search value={q.get("project") ?? ""} onChange={(e) => setQuery({project: e.currentTarget.value})}><option value="">all</option>{projects.data?.items.map((p) => <option key={p.name}>{p.name}</option>)}</select></label>
            <label>For <select value={q.get("host") ?? ""} onChange={(e) => setQuery({host: e.currentTarget.value})}><option value="">any host</option><option>server</option><option>mobile</option><option>browser</option></select></label>
            <label>State <select value={q.get("state") ?? ""} onChange={(e) => setQuery({state: e.currentTarget.value})}><option value="">any</option><option>upcoming</option><option>running</option><option>red</option></select></label>
            <label>Whose <select value={q.get("person") ?? ""} onChange={(e) => setQuery({person: e.currentTarget.value})}><option value="">anyone's</option><option value="none">nobody's</option><option value="me">mine</option>{people.data?.items.map((p) => <option key={p.name} value={p.name}>{p.display_name}</option>)}</select></label>
            <label>At least <select value={q.get("min_risk") ?? ""} onChange={(e) => setQuery({min_risk: e.currentTarget.value})}><option value="">any risk</option><option value="0.2">20 %</option><option value="0.4">40 %</option><option value="0.7">70 %</option></select></label>
            <label>Sort <select value={q.get("sort") ?? "risk"} onChange={(e) => setQuery({sort: e.currentTarget.value === "risk" ? "" : e.currentTarget.value})}><option value="risk">risk, unassigned first</option><option value="due">due</option><option value="age">oldest</option></select></label>
        </form>
        {board.error && <Failed problem={board.error} retry={board.reload} />}
        {!board.items ? !board.error && <Loading what="Weighing" /> : board.items.length === 0
            ? <Empty title={filtered ? "Nothing fits these filters" : "Clear water"}><p>{filtered ? <>Take one away, or <a href="/risk">show all</a>.</> : "No stage waits, runs, or is red."}</p></Empty>
            : <ol class="board">{board.items.map((i) => <Row key={i.stage_id} i={i} give={() => setGiving(i)} reload={board.reload} />)}</ol>}
        <More more={board.more} busy={board.busy} />
        {giving && <Give item={giving} people={people.data?.items ?? []} close={() => setGiving(null)} done={() => { setGiving(null); board.reload(); }} />}
    </>;
}

function Row({i, give, reload}: {i: Item; give: () => void; reload: () => void}) {
    const r = i.risk, a = i.assignment, likely = i.likely?.[0];
    return <li class={`card risk ${a ? "" : "free"}`} data-row>
        <div class="weight"><b class="num">{r?.p != null ? percent(r.p) : "–"}</b><span class="bar hazard" aria-hidden="true"><i style={{width: `${100 * (r?.p ?? 0)}%`}} /></span><span class="sub num" title="Expected time to resolve, if it fails">{r?.hours != null && `× ${about(r.hours * 3600000)}`}</span></div>
        <div class="grow stack tight">
            <p class="row"><State state={i.state} /><a class="main" href={`/runs/${i.run_id}?stage=${encodeURIComponent(i.stage)}`}>{i.project} {i.run_number ? `#${i.run_number}` : ""} {i.stage}</a><span class="dim">for {i.host}{i.ref && ` · ${shortRef(i.ref)}`}{i.since && <> · <Time at={i.since} /></>}</span></p>
            {i.gate_why && <p class="note warn">{i.gate_why}</p>}
            {likely && <p>{i.state === "red" ? "It is" : "Most likely"} <a href={`/knowledge?id=${encodeURIComponent(likely.challenge_id)}`}>{likely.title ?? idWords(likely.challenge_id)}</a>{likely.p != null && <span class="dim"> ({percent(likely.p)})</span>}{i.likely.length > 1 && <span class="dim">, then {i.likely.slice(1, 3).map((l) => l.title ?? idWords(l.challenge_id)).join(", ")}</span>}</p>}
            {r && r.terms.length > 0 && <details><summary class="dim">Why this number</summary><Terms terms={r.terms} /></details>}
        </div>
        <div class="whose">
            {a ? <><p><a href={`/risk/${a.id}`}>{a.display_name ?? a.person ?? "nobody now"}</a> <span class="tag">{a.state}</span></p>{a.due_at && <p class={Date.parse(a.due_at) < Date.now() ? "bad" : "dim"}>due <Time at={a.due_at} /></p>}{a.checklist ? <p class="dim num">{a.checklist_done ?? 0} of {a.checklist} points done</p> : null}</>
                : <p class="hazard">nobody has it</p>}
            {writes() && <div class="row">{(!a || a.state !== "taken" || a.person !== session.value?.name) && <Act kind="small" run={() => (a ? api("PATCH", `/api/v1/assignments/${a.id}`, {action: "take"}) : api("POST", "/api/v1/assignments", {stage_id: i.stage_id})).then(reload)} done="It is yours.">Take</Act>}
                {manages() && <button type="button" class="button small" onClick={give}>{a ? "Give to …" : "Assign …"}</button>}</div>}
            {!a && i.suggested.length > 0 && <p class="sub wrap" title={i.suggested[0].reasons.join("; ")}>perhaps {i.suggested[0].display_name ?? i.suggested[0].person}: {i.suggested[0].reasons[0]}</p>}
        </div></li>;
}

const soonest = () => { const d = new Date(Date.now() + 3 * 86400000); d.setHours(17, 0, 0, 0); return new Date(d.getTime() - d.getTimezoneOffset() * 60000).toISOString().slice(0, 16); };
function Give({item, people, close, done}: {item: Item; people: Person[]; close: () => void; done: () => void}) {
    const a = item.assignment, [person, setPerson] = useState(item.suggested[0]?.person ?? ""), [due, setDue] = useState(a?.due_at ? "" : soonest()), [comment, setComment] = useState("");
    const send = () => {
        const more = {person, ...(due ? {due_at: new Date(due).toISOString()} : {}), ...(comment.trim() ? {comment: comment.trim()} : {})};
        return (a ? api("PATCH", `/api/v1/assignments/${a.id}`, {action: "reassign", ...more}) : api("POST", "/api/v1/assignments", {stage_id: item.stage_id, ...more})).then(done);
    };
    return <Dialog title={`Who takes ${item.stage}?`} close={close} wide>
        {item.suggested.length > 0 && <section><h3>They have beaten this hazard before</h3><div class="picker" role="radiogroup" aria-label="Suggested people">{item.suggested.map((s) => <label key={s.person} class={s.person === person ? "chosen" : ""}><input type="radio" name="person" checked={s.person === person} onChange={() => setPerson(s.person)} /> <span><b>{s.display_name ?? s.person}</b><span class="sub wrap">{s.reasons.join("; ")}</span></span></label>)}</div></section>}
        <div class="fields"><Field label="Person">{(id) => <select id={id} value={person} onChange={(e) => setPerson(e.currentTarget.value)}><option value="">choose …</option>{person && !people.some((p) => p.name === person) && <option value={person}>{person}</option>}{people.map((p) => <option key={p.name} value={p.name}>{p.display_name}{p.assignments ? ` (has ${p.assignments})` : ""}</option>)}</select>}</Field>
            <Field label="Due">{(id) => <input id={id} type="datetime-local" value={due} onInput={(e) => setDue(e.currentTarget.value)} />}</Field></div>
        <Field label="A word to them (optional)">{(id) => <textarea id={id} rows={2} maxLength={4000} value={comment} onInput={(e) => setComment(e.currentTarget.value)} />}</Field>
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!person} run={send} done="Given.">{a ? "Reassign" : "Assign"}</Act></div></Dialog>;
}

interface Given { id: number; project: string; run_id: number; run_number: number | null; stage_id: number; stage: string; attempt_id: number | null; stage_state: string; person: string | null; display_name: string | null; state: string; challenge_id: string | null; due_at: string | null; created_by: string; created_at: string; ended_at: string | null; p: number | null; cost?: number | null }
export function Assignments({person}: {person?: string}) {
    const q = query.value, state = q.get("state") ?? "open", who = person ?? q.get("person") ?? "";
    const list = useList<Given>("/api/v1/assignments?" + new URLSearchParams({limit: "50", state, ...(who ? {person: who} : {})}), "before");
    const people = useGet<Page<Person>>(person ? null : "/api/v1/people?limit=500");
    return <><form class="filters" onSubmit={(e) => e.preventDefault()}>
        <label>State <select value={state} onChange={(e) => setQuery({state: e.currentTarget.value})}>{["open", "assigned", "taken", "free", "done", "closed"].map((s) => <option key={s}>{s}</option>)}</select></label>
        {!person && <label>Whose <select value={who} onChange={(e) => setQuery({person: e.currentTarget.value})}><option value="">anyone's</option>{people.data?.items.map((p) => <option key={p.name} value={p.name}>{p.display_name}</option>)}</select></label>}</form>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!list.items ? !list.error && <Loading /> : list.items.length === 0 && person && person !== "me" ? <p class="dim">{state === "open" ? "Nothing is assigned to them now." : "None in this state."} <a href="/risk">The board</a> has what somebody should take.</p> : list.items.length === 0 ? <Empty title={person === "me" ? "Nothing was given to you" : "No assignment fits"}><p>{person === "me" ? <>On the <a href="/risk">board</a> you can take what nobody has.</> : <>What somebody takes, or is given, from the <a href="/risk">board</a> is listed here.</>}</p></Empty>
            : <table class="list"><thead><tr><th>What</th><th>Challenge</th><th>Whose</th><th>State</th><th>Due</th><th>Since</th></tr></thead><tbody>{list.items.map((g) => <tr key={g.id} data-row>
                <td><a class="main" href={`/risk/${g.id}`}>{g.project} {g.run_number ? `#${g.run_number}` : ""} {g.stage}</a> <State state={g.stage_state} /></td><td>{g.challenge_id ? idWords(g.challenge_id) : <span class="dim">–</span>}</td><td>{g.display_name ?? g.person ?? <span class="hazard">nobody</span>}</td><td><span class="tag">{g.state}</span></td><td data-h="Due">{g.due_at ? <Time at={g.due_at} /> : <span class="dim">–</span>}</td><td data-h="Since"><Time at={g.created_at} /></td></tr>)}</tbody></table>}
        <More more={list.more} busy={list.busy} /></>;
}

interface Check { text?: string; title?: string; done?: boolean; by?: string | null; role?: string; at?: string | null }
interface Whole extends Given { challenge: string | null; diagnosis: string | null; ref: string; host: string; hours: number | null; checklist: Check[]; history: {id: number; at: string; actor: string; action: string; person?: string; before?: string; text?: string}[]; comments: {id: number; at: string; actor: string; text: string}[]; watchers: string[]; watching: boolean }
function Assignment({id}: {id: number}) {
    const url = `/api/v1/assignments/${id}`, one = useGet<Whole>(url), g = one.data, risk = useGet<Risk>(g ? `/api/v1/stages/${g.stage_id}/risk` : null);
    const people = useGet<Page<Person>>("/api/v1/people?limit=500"), [text, setText] = useState(""), [giving, setGiving] = useState(false);
    const soon = useSoon(one.reload);
    useLive("/api/v1/events", (e) => { if (e.kind === "assignment" || e.kind === "stage" && e.stage_id === g?.stage_id) soon(); }, one.reload);
    if (!g)
        return one.error ? <Failed problem={one.error} retry={one.reload} /> : <Loading />;
    const change = (body: unknown) => api<Whole>("PATCH", url, body).then(one.set), over = ["done", "closed"].includes(g.state), closed = over ? g.history.findLast((h) => h.action === g.state)?.text : "";
    return <><Title aside={writes() && !over && <div class="row">
        {g.state !== "taken" && <Act kind="primary" run={() => change({action: "take"})} done="It is yours.">Take</Act>}<Act run={() => change({action: "hand_back"})} done="Handed back.">Hand back</Act><Act run={() => change({action: "done"})} done="Done.">Done</Act>{manages() && <button type="button" class="button" onClick={() => setGiving(true)}>Give to …</button>}
        <Act run={() => api<Whole>(g.watching ? "DELETE" : "PUT", `${url}/watch`, g.watching ? undefined : {}).then(one.set)}>{g.watching ? "Watching ✓" : "Watch"}</Act></div>}>{`${g.project} ${g.run_number ? `#${g.run_number} ` : ""}${g.stage}`}</Title>
        <div class="beside"><div class="left stack wide">
            {over && <p class="note">{g.state === "done" ? "Done" : "Closed"} <Time at={g.ended_at} />{closed && `: ${closed}`}. Nothing is left to do here.</p>}
            <p class="row"><State state={g.stage_state} /><a href={`/runs/${g.run_id}?stage=${encodeURIComponent(g.stage)}`}>Look at the stage</a></p>{g.diagnosis && <p class="lead">{sentence(g.diagnosis)}</p>}
            <section class="card"><h2>To go through</h2>{g.checklist.length === 0 ? <p class="dim">No list: no challenge is known for it yet.</p> : <ul class="plainlist checklist">{g.checklist.map((c, n) => <li key={n}><label><input type="checkbox" checked={!!c.done} disabled={!writes() || over} onChange={(e) => { const box = e.currentTarget; void api<Whole>("PUT", `${url}/checklist/${n}`, {done: box.checked}).then(one.set, (x: Error) => { box.checked = !box.checked; say(x.message, true); }); }} /> <span>{c.text ?? c.title}{c.role && <span class="tag">{roles[c.role] ?? c.role.replace(/_/g, " ")}</span>}{c.done && c.by && <span class="sub">{c.by}</span>}</span></label></li>)}</ul>}</section>
            <section class="card"><h2>What was said</h2><ul class="plainlist talk">{g.comments.map((c) => <li key={c.id}><p class="sub"><b>{c.actor}</b> <Time at={c.at} /></p><p class="said-text">{c.text}</p></li>)}</ul>
                {g.comments.length === 0 && !writes() && <p class="dim">Nothing yet.</p>}{writes() && <Send class="stack" send={() => text.trim() ? api<Whole>("POST", `${url}/comments`, {text: text.trim()}).then((d) => { setText(""); one.set(d); }) : undefined}><Field label="Comment">{(f) => <textarea id={f} rows={2} maxLength={4000} value={text} onInput={(e) => setText(e.currentTarget.value)} />}</Field><div class="row end"><button type="submit" class="button" disabled={!text.trim()}>Say it</button></div></Send>}</section>
            <section><h3>What happened to it</h3><ul class="plainlist">{g.history.filter((h) => h.action !== "comment").slice().reverse().map((h) => <li key={h.id} class="sub wrap"><Time at={h.at} /> <b>{h.actor}</b> {acted(h)}{h.text && (h.action === "checked" || h.action === "unchecked" ? ` “${h.text}”` : `: ${h.text}`)}</li>)}</ul></section>
        </div><aside class="right">
            <div class="card"><h2>Who and when</h2><dl class="facts"><dt>Has it</dt><dd>{g.display_name ?? g.person ?? "nobody"} <span class="tag">{g.state}</span></dd><dt>Due</dt><dd>{g.due_at ? <Time at={g.due_at} full /> : "–"}</dd><dt>Given by</dt><dd>{g.created_by}, <Time at={g.created_at} /></dd>{g.challenge_id && <><dt>Challenge</dt><dd><a href={`/knowledge?id=${encodeURIComponent(g.challenge_id)}`}>{g.challenge ?? idWords(g.challenge_id)}</a></dd></>}<dt>Watching</dt><dd>{g.watchers.length === 0 && "nobody"}<ul class="plainlist">{g.watchers.map((w) => <li key={w} class="row"><a href={`/people/${encodeURIComponent(w)}`}>{w}</a>{manages() && <Act kind="link" title={`${w} is not told any more`} run={() => api<Whole>("DELETE", `${url}/watch?person=${encodeURIComponent(w)}`).then(one.set)} done={`${w} is not told any more.`}>Take off</Act>}</li>)}</ul>
                {manages() && <label class="sub wrap">Also tell <select aria-label="Also tell" value="" onChange={(e) => { const w = e.currentTarget.value; e.currentTarget.value = ""; if (w) void api<Whole>("PUT", `${url}/watch?person=${encodeURIComponent(w)}`, {}).then((d) => { one.set(d); say(`${w} is told from now on.`); }, (x: Error) => say(x.message, true)); }}><option value="">choose</option>{people.data?.items.filter((p) => !g.watchers.includes(p.name)).map((p) => <option key={p.name} value={p.name}>{p.display_name}</option>)}</select></label>}</dd></dl></div>
            {risk.data && risk.data.p != null && <div class="card"><h2>Risk {percent(risk.data.p)}{risk.data.hours != null && ` × ${about(risk.data.hours * 3600000)}`}</h2><Terms terms={risk.data.terms ?? []} /></div>}
        </aside></div>
        {giving && <Give item={{stage_id: g.stage_id, stage: g.stage, assignment: {id: g.id, person: g.person, due_at: g.due_at, state: g.state}, suggested: []} as unknown as Item} people={people.data?.items ?? []} close={() => setGiving(false)} done={() => { setGiving(false); one.reload(); }} />}</>;
}

const roles: Record<string, string> = {decide: "to be sure", dl_developer: "who made the model", platform_developer: "who runs it", remedy: "what helps"};
function acted(h: {action: string; person?: string; actor: string}): string {
    const whom = h.person && h.person !== h.actor ? h.person : "";
    switch (h.action) {
    case "assigned": case "reassigned": return whom ? `gave it to ${whom}` : "took it";
    case "checked": return "ticked";
    case "unchecked": return "took the tick off";
    case "taken": case "take": return "took it";
    case "handed_back": case "hand_back": return "handed it back";
    case "watch": case "watching": return whom ? `has ${whom} told` : "watches it";
    default: return h.action.replace(/_/g, " ") + (["closed", "done"].includes(h.action) || !whom ? "" : ` (${whom})`);
    }
}

interface Back { outcomes: number; red: number; base_rate: number; brier: number; brier_base_rate: number; log_loss: number; log_loss_base_rate: number; skill: number; reliability: {from: number; to: number; n: number; predicted: number; observed: number}[]; cut: boolean; from: string | null; to: string | null }
function Backtest() {
    const back = useGet<Back>("/api/v1/risk/backtest"), b = back.data;
    if (!b)
        return back.error ? <Failed problem={back.error} retry={back.reload} /> : <Loading what="Playing history back" />;
    if (!b.outcomes)
        return <Empty title="Nothing to play back yet"><p>Once stages have ended, each outcome is predicted here from the ones before it.</p></Empty>;
    const bins = b.reliability.filter((x) => x.n > 0), few = b.outcomes < 100, better = b.skill > 0.005;
    const figures: [string, string, string][] = [["Outcomes", count(b.outcomes), `${count(b.red)} red, ${percent(b.base_rate)}`], ["Better than the base rate by", signed(b.skill), "of its squared error; below 0 it is worse"],
        ["Squared error (Brier)", number(b.brier), `0 is perfect; always saying ${percent(b.base_rate)}: ${number(b.brier_base_rate)}`], ["Log loss", number(b.log_loss), `punishes being sure and wrong; base rate: ${number(b.log_loss_base_rate)}`]];
    return <div class="stack wide"><div><p class="lead">{better ? "The risk told more than the base rate would have." : "The risk did not tell more than the base rate would have."}{few && ` With ${count(b.outcomes)} outcomes that is not much of a judgement yet.`}</p>
        <p class="dim">Every outcome{b.from && b.to && <> from <Time at={b.from} full /> to <Time at={b.to} full /></>}, predicted from those before it only{b.cut && " (the newest ones: more are not played back at once)"}.</p></div>
        <dl class="tiles">{figures.map(([k, v, why]) => <div key={k}><dt>{k}</dt><dd class="num">{v}</dd><dd class="tilenote">{why}</dd></div>)}</dl>
        {bins.length > 0 && <div class="pair"><figure><figcaption><h3>Can the number be believed?</h3><p class="dim">On the line: of stages told 30 %, 30 % turned red. Below it the risk was told too high, above it too low. A large dot stands for many outcomes.</p></figcaption><Reliability bins={bins} /></figure>
            <table class="narrow"><thead><tr><th class="right">Told</th><th class="right">Turned red</th><th class="right">Outcomes</th></tr></thead><tbody>{bins.map((x) => <tr key={x.from}><td class="right num">{percent(x.predicted)}</td><td class="right num">{percent(x.observed)}</td><td class="right num">{count(x.n)}</td></tr>)}</tbody></table></div>}</div>;
}
const signed = (v: number) => `${v < 0 ? "−" : "+"}${percent(Math.abs(v))}`;
function Reliability({bins}: {bins: Back["reliability"]}) {
    const most = Math.max(...bins.map((b) => b.n), 1);
    return <svg class="reliability" viewBox="-44 -12 266 252" role="img" aria-label={bins.map((b) => `told ${percent(b.predicted)}, turned red ${percent(b.observed)}`).join("; ")}>
        {[0, .25, .5, .75, 1].map((v) => <><path class="grid" d={`M0 ${200 - 200 * v}H200M${200 * v} 0V200`} /><text x={-6} y={203 - 200 * v} text-anchor="end">{Math.round(v * 100)} %</text><text x={200 * v} y={214} text-anchor="middle">{Math.round(v * 100)} %</text></>)}
        <text x={100} y={232} text-anchor="middle" class="axis-title">told before</text><text x={-100} y={-36} transform="rotate(-90)" text-anchor="middle" class="axis-title">turned red</text>
        <path class="ideal" d="M0 200L200 0" />{bins.map((b) => <circle cx={200 * b.predicted} cy={200 - 200 * b.observed} r={3 + 6 * Math.sqrt(b.n / most)}><title>{`told ${percent(b.predicted)}, turned red ${percent(b.observed)}: ${count(b.n)} outcomes`}</title></circle>)}</svg>;
}
