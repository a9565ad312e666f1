// notify.tsx - how people are told: channels (one's own; for managers those of all), and what went through them. A channel's URL is its password: it is
// sealed by the daemon and never shown again, so that changing a channel leaves it as it is unless a new one is written.
import {useState} from "preact/hooks";
import {api, may, session, useGet, useList, type Page} from "../lib/api.ts";
import {now} from "../lib/format.ts";
import {useEvery} from "../lib/live.ts";
import {query, setQuery, withQuery} from "../lib/router.ts";
import {Act, Command, Dialog, Empty, Failed, Field, Loading, More, Tabs, Time, Title} from "../ui/basics.tsx";

interface Channel {
    name: string; kind: string; person: string | null; project: string | null; address: string; signed: boolean; template: string | null; events: string[]; digest: string; digest_hour: number; quiet_from: string | null; quiet_to: string | null;
    time_zone: string; sent: number; open: number; gave_up: number; last_error: string | null; last_sent_at: string | null;
    state?: string; failing_since?: string | null; paused_until?: string | null;
}
interface Told { id: number; channel: string; kind: string; address: string; event: string; project: string | null; run_id: number | null; stage: string | null; created_at: string; not_before: string; tries: number; sent_at: string | null; last_error: string | null; state: string }
const events: [string, string][] = [["assigned", "something was given to them"], ["reassigned", "it was given to somebody else"], ["due_soon", "it is due soon"], ["overdue", "it is overdue"], ["comment", "somebody commented"], ["failed", "a stage failed"], ["resolved", "it turned green"], ["gate", "a gate waits for them"]];
const told: Record<string, string> = {assigned: "given to somebody", reassigned: "given to somebody else", due_soon: "due soon", overdue: "overdue", comment: "commented", failed: "a stage failed", resolved: "turned green", gate: "a gate waits", test: "a test"};
const inWords = (event: string) => told[event] ?? event.replace(/_/g, " ");
const kinds: Record<string, string> = {email: "E-mail", chat: "Chat", webhook: "Webhook"};
const here = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
export const zones = () => (Intl as unknown as {supportedValuesOf?: (k: string) => string[]}).supportedValuesOf?.("timeZone") ?? [];

export function Notify() {
    const view = query.value.get("view") ?? "channels", [adding, setAdding] = useState(false), [round, setRound] = useState(0);
    return <>
        <Title aside={may("trigger") && <button type="button" class="button" onClick={() => setAdding(true)}>Add a channel</button>}>Notifications</Title>
        <Tabs label="Views"><a href={withQuery({view: "", channel: "", state: ""})} aria-current={view === "channels" ? "page" : undefined}>Channels</a><a href={withQuery({view: "told"})} aria-current={view === "told" ? "page" : undefined}>What was told</a></Tabs>
        {view === "told" ? <ToldList /> : <Channels key={round} />}
        {adding && <Edit close={() => { setAdding(false); setRound(round + 1); }} />}
    </>;
}

/** All channels that may be seen, or those of one person. */
export function Channels({person}: {person?: string}) {
    const list = useList<Channel>("/api/v1/notify/channels?limit=500", "after", (c) => c.name), [editing, setEditing] = useState<Channel>();
    const shown = list.items?.filter((c) => person === undefined || c.person === person);
    useEvery(list.reload, 6000, Boolean(shown?.some((c) => c.open > 0)));          // what waits goes out, or not
    return <>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!shown ? !list.error && <Loading what="Loading channels" /> : shown.length === 0
            ? person !== undefined ? <p class="dim">No channel{may("manage") ? "" : " that you may see"}. <a href="/notify">All channels</a></p>
                : <Empty title="Nobody is told anything yet"><p>A channel sends what concerns a person, or everybody, by e-mail, into a chat, or to a program. {may("trigger") ? "Add the first one with the button above." : ""}</p></Empty>
            : <div class="cards channels">{shown.map((c) => <article class="card" key={c.name} data-row tabIndex={-1} aria-label={`Channel ${c.name}`}>
                <header class="row apart"><h2>{c.name}</h2><span class="row">{c.state && c.state !== "ok" && <span class="tag bad">{c.state}</span>}<span class="tag">{kinds[c.kind] ?? c.kind}</span></span></header>
                <dl class="facts"><dt>To</dt><dd>{c.address}</dd><dt>For</dt><dd>{c.person ? <a href={`/people/${encodeURIComponent(c.person)}`}>{c.person}</a> : "everybody"}{c.project && ` in ${c.project}`}</dd>
                    <dt>When</dt><dd>{c.events.length === 0 ? c.person ? "anything that concerns them" : "anything that happens" : c.events.map(inWords).join(", ")}</dd>
                    <dt>How</dt><dd>{c.digest === "none" ? "at once" : c.digest === "hourly" ? "together, every hour" : `together, daily at ${String(c.digest_hour).padStart(2, "0")}:00`}</dd>
                    <dt>Quiet</dt><dd>{c.quiet_from && c.quiet_to ? `${c.quiet_from} to ${c.quiet_to}` : "never"}{(c.quiet_from || c.digest === "daily") && <span class="dim"> ({c.time_zone})</span>}</dd>
                    <dt>Sent</dt><dd><a href={`/notify?view=told&channel=${encodeURIComponent(c.name)}`}><span class="num">{c.sent}</span></a>{c.open > 0 && `, ${c.open} waiting`}{c.gave_up > 0 && <span class="bad">, {c.gave_up} given up</span>}{c.last_sent_at && <span class="dim">, last <Time at={c.last_sent_at} /></span>}</dd></dl>
                {c.last_error && <p class="wrap"><span class="dim">{c.failing_since ? <>Failing since <Time at={c.failing_since} />{c.paused_until && <>, tried again <Time at={c.paused_until} /></>}:</> : "Last error:"}</span> <span class="bad">{c.last_error}</span></p>}
                {may("trigger") && <div class="row foot-row"><Act kind="small" run={() => api("POST", `/api/v1/notify/channels/${c.name}/test`, {}).then(() => { setTimeout(list.reload, 1500); })} done={`A message is on its way through ${c.name}.`}>Test</Act><button type="button" class="button small" onClick={() => setEditing(c)}>Change</button>
                    <Act kind="small danger" confirm={`Remove ${c.name}? Nothing is told through it any more, and what it told is forgotten.`} run={() => api("DELETE", `/api/v1/notify/channels/${c.name}`).then(list.reload)} done={`${c.name} is removed.`}>Remove</Act></div>}
            </article>)}</div>}
        <More more={list.more} busy={list.busy} />
        {editing && <Edit channel={editing} close={() => { setEditing(undefined); list.reload(); }} />}
    </>;
}

function Edit({channel, close}: {channel?: Channel; close: () => void}) {
    const c = channel, [name, setName] = useState(""), [kind, setKind] = useState(c?.kind ?? "email"), [to, setTo] = useState(""), [whom, setWhom] = useState("me"), [project, setProject] = useState(session.value?.project ?? "");
    const [chosen, setChosen] = useState<string[]>(c?.events ?? []), [digest, setDigest] = useState(c?.digest ?? "none"), [hour, setHour] = useState(c?.digest_hour ?? 9), [from, setFrom] = useState(c?.quiet_from ?? ""), [until, setUntil] = useState(c?.quiet_to ?? "");
    const [zone, setZone] = useState(c?.time_zone ?? here()), [template, setTemplate] = useState(c?.template ?? ""), [secret, setSecret] = useState<string | null>(null);
    const people = useGet<Page<{name: string; display_name: string}>>(!c && may("manage") ? "/api/v1/people?limit=500" : null), projects = useGet<Page<{name: string}>>(c ? null : "/api/v1/projects?limit=500");
    const mail = kind === "email", half = (from === "") !== (until === "");
    const save = async () => {
        const body: Record<string, unknown> = {events: chosen, digest, digest_hour: hour, time_zone: zone.trim() || "UTC"};
        if (to.trim())
            body[mail ? "address" : "url"] = to.trim();
        if (from && until)
            Object.assign(body, {quiet_from: from, quiet_to: until});
        else if (c?.quiet_from)
            body.quiet_from = "off";
        if (kind === "chat" && (template || c?.template))
            body.template = template || null;
        if (c) {
            await api("PATCH", `/api/v1/notify/channels/${c.name}`, body);
            close();
            return;
        }
        const made = await api<{secret?: string}>("POST", "/api/v1/notify/channels", {...body, name: name.trim(), kind, ...(whom ? {person: whom} : {}), ...(project ? {project} : {})});
        if (made.secret)
            setSecret(made.secret);
        else
            close();
    };
    if (secret)
        return <Dialog title="The webhook's secret" close={close}><p>Messages are signed with it, as Standard Webhooks have it. It is shown only now.</p><Command text={secret} /><div class="row end"><button type="button" class="button primary" onClick={close}>I have it</button></div></Dialog>;
    return <Dialog title={c ? `Change ${c.name}` : "Add a channel"} close={close} wide>
        <div class="fields">
            {!c && <Field label="Name" hint="Lower-case letters, digits, '.', '_', '-'.">{(id) => <input id={id} value={name} maxLength={63} onInput={(e) => setName(e.currentTarget.value)} />}</Field>}
            {!c && <Field label="Kind">{(id) => <select id={id} value={kind} onChange={(e) => setKind(e.currentTarget.value)}>{Object.entries(kinds).map(([k, t]) => <option key={k} value={k}>{t}</option>)}</select>}</Field>}
            <Field label={mail ? "Address" : "URL"} hint={c ? `Now ${c.address}; empty: as it is.` : mail ? undefined : "Sealed, and never shown again."}>{(id) => <input id={id} inputMode={mail ? "email" : "url"} value={to} placeholder={mail ? "ada@example.org" : "https://…"} onInput={(e) => setTo(e.currentTarget.value)} />}</Field>
            {!c && <Field label="For">{(id) => <select id={id} value={whom} onChange={(e) => setWhom(e.currentTarget.value)}><option value="me">me</option>{may("manage") && <option value="">everybody</option>}{people.data?.items.map((p) => <option key={p.name} value={p.name}>{p.display_name} ({p.name})</option>)}</select>}</Field>}
            {!c && <Field label="Only of project">{(id) => <select id={id} value={project} disabled={!!session.value?.project} onChange={(e) => setProject(e.currentTarget.value)}><option value="">all</option>{projects.data?.items.map((p) => <option key={p.name}>{p.name}</option>)}</select>}</Field>}
        </div>
        <fieldset class="checks columns"><legend>Told when <span class="dim">(none ticked: whatever concerns them)</span></legend>{events.map(([id, text]) => <label key={id}><input type="checkbox" checked={chosen.includes(id)} onChange={(e) => setChosen(e.currentTarget.checked ? [...chosen, id] : chosen.filter((x) => x !== id))} /> {text}</label>)}</fieldset>
        <div class="fields">
            <Field label="Together">{(id) => <select id={id} value={digest} onChange={(e) => setDigest(e.currentTarget.value)}><option value="none">no: each at once</option><option value="hourly">every hour</option><option value="daily">once a day</option></select>}</Field>
            {digest === "daily" && <Field label="At hour">{(id) => <input id={id} type="number" min={0} max={23} value={hour} onInput={(e) => setHour(Number(e.currentTarget.value))} />}</Field>}
            <Field label="Quiet from" hint={half ? <span class="bad">Both or none.</span> : undefined}>{(id) => <input id={id} type="time" value={from} onInput={(e) => setFrom(e.currentTarget.value)} />}</Field>
            <Field label="Quiet until">{(id) => <input id={id} type="time" value={until} onInput={(e) => setUntil(e.currentTarget.value)} />}</Field>
            <Field label="Time zone">{(id) => <><input id={id} list={id + "z"} value={zone} onInput={(e) => setZone(e.currentTarget.value)} /><datalist id={id + "z"}>{zones().map((z) => <option key={z} value={z} />)}</datalist></>}</Field>
        </div>
        {kind === "chat" && <Field label="Form of the message (optional)" hint={<>JSON in whose strings <code>{"{text}"}</code> stands for the message; empty: <code>{'{"text": "{text}"}'}</code>.</>}>{(id) => <input id={id} class="mono" value={template} onInput={(e) => setTemplate(e.currentTarget.value)} />}</Field>}
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={half || !c && (!name.trim() || !to.trim())} run={save} done={c ? "Changed." : "Added."}>{c ? "Save" : "Add"}</Act></div></Dialog>;
}

function ToldList() {
    const q = query.value, channel = q.get("channel") ?? "", state = q.get("state") ?? "";
    const list = useList<Told>("/api/v1/notify/deliveries?" + new URLSearchParams({limit: "50", ...(channel ? {channel} : {}), ...(state ? {state} : {})}), "before"), channels = useGet<Page<{name: string}>>("/api/v1/notify/channels?limit=500");
    useEvery(list.reload, 6000, Boolean(list.items?.some((t) => t.state === "open")));
    return <>
        <form class="filters" role="search" onSubmit={(e) => e.preventDefault()}>
            <label>Channel <select value={channel} onChange={(e) => setQuery({channel: e.currentTarget.value})}><option value="">all</option>{[...new Set([...(channel ? [channel] : []), ...(channels.data?.items.map((c) => c.name) ?? [])])].map((c) => <option key={c}>{c}</option>)}</select></label>
            <label>State <select value={state} onChange={(e) => setQuery({state: e.currentTarget.value})}><option value="">any</option><option value="open">waiting</option><option value="sent">sent</option><option value="gave_up">given up</option></select></label></form>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!list.items ? !list.error && <Loading what="Loading what was told" /> : list.items.length === 0 ? <Empty title="Nothing was told"><p>What is sent through a channel is listed here, with the last error of what did not arrive.</p></Empty>
            : <table class="list"><thead><tr><th>When</th><th>Through</th><th>What</th><th>About</th><th>State</th></tr></thead><tbody>{list.items.map((t) => <tr key={t.id} data-row>
                <td><Time at={t.created_at} /></td><td>{t.channel}<span class="sub">{t.address}</span></td><td>{inWords(t.event)}</td><td>{t.run_id ? <a href={`/runs/${t.run_id}${t.stage ? `?stage=${encodeURIComponent(t.stage)}` : ""}`}>{t.project} {t.stage}</a> : <span class="dim">–</span>}</td>
                <td class="grow wrap">{t.state === "sent" ? <span class="tag good">sent</span> : t.state === "gave_up" ? <span class="tag bad">given up</span> : <span class={`tag ${t.tries > 0 ? "warn" : "busy"}`}>waiting</span>} {t.sent_at ? <Time at={t.sent_at} /> : <span class="dim">{t.tries > 0 && `tried ${t.tries === 1 ? "once" : `${t.tries} times`}`}{t.tries > 0 && t.state === "open" && ", "}{t.state === "open" && (Date.parse(t.not_before) > now.value ? <>next <Time at={t.not_before} /></> : t.tries > 0 ? "again in a moment" : "goes out in a moment")}</span>}{t.last_error && !t.sent_at && <span class="sub wrap bad">{t.last_error}</span>}</td></tr>)}</tbody></table>}
        <More more={list.more} busy={list.busy} /></>;
}
