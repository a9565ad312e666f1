// people.tsx - the directory: who commits, what they are known as, what they have; whether they may be suggested. Never a ranking.
import {useState} from "preact/hooks";
import {api, may, useGet, useList} from "../lib/api.ts";
import {go} from "../lib/router.ts";
import {Act, Dialog, Empty, Failed, Field, Loading, More, Time, Title} from "../ui/basics.tsx";
import {Channels, zones} from "./notify.tsx";
import {Assignments} from "./risk.tsx";

interface Person { name: string; display_name: string; forge_login: string | null; suggestions: boolean; time_zone: string | null; created_by: string; created_at: string; emails?: string[] | null; tokens?: string[] | null; aliases: string[]; projects: string[]; assignments: number }

export function People({parts}: {parts: string[]}) {
    return parts[0] ? <One key={parts[0]} name={parts[0]} /> : <All />;
}
function All() {
    const list = useList<Person>("/api/v1/people?limit=100", "after", (p) => p.name), [adding, setAdding] = useState(false);
    return <><Title aside={may("manage") && <button type="button" class="button" onClick={() => setAdding(true)}>Add a person</button>}>People</Title>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!list.items ? !list.error && <Loading /> : list.items.length === 0 ? <Empty title="Nobody yet"><p>People come from the commits of runs; a manager can add others.</p></Empty>
            : <table class="list"><thead><tr><th>Person</th><th>Projects</th><th>Assigned now</th><th>Suggested</th></tr></thead><tbody>{list.items.map((p) => <tr key={p.name} data-row>
                <td><a class="main" href={`/people/${encodeURIComponent(p.name)}`}>{p.display_name}</a><span class="sub">{p.name}</span></td><td class="grow wrap">{p.projects.join(", ")}</td><td class="num" data-h="Assigned now">{p.assignments || <span class="dim">nothing</span>}</td><td data-h="Suggested">{p.suggestions ? "yes" : <span class="dim">opted out</span>}</td></tr>)}</tbody></table>}
        <More more={list.more} busy={list.busy} />
        {adding && <Add close={() => setAdding(false)} done={() => { setAdding(false); list.reload(); }} />}</>;
}
function One({name}: {name: string}) {
    const url = `/api/v1/people/${encodeURIComponent(name)}`, one = useGet<Person>(url), p = one.data, [editing, setEditing] = useState(false), [same, setSame] = useState(false);
    if (!p)
        return one.error ? <Failed problem={one.error} retry={one.reload} /> : <Loading />;
    return <><Title aside={may("trigger") && <div class="row"><button type="button" class="button" onClick={() => setEditing(true)}>Change</button>{may("manage") && <button type="button" class="button" onClick={() => setSame(true)}>Same as …</button>}
        <Act run={() => api("PATCH", url, {suggestions: !p.suggestions}).then(one.reload)} done={p.suggestions ? "Not suggested any more." : "May be suggested."}>{p.suggestions ? "Do not suggest" : "May be suggested"}</Act></div>}>{p.display_name}</Title>
        <dl class="facts wide"><dt>Handle</dt><dd>{p.name}</dd>{p.forge_login && <><dt>At the forge</dt><dd>{p.forge_login}</dd></>}{p.emails && <><dt>Addresses</dt><dd>{p.emails.join(", ") || "–"}</dd></>}{p.tokens && p.tokens.length > 0 && <><dt>Tokens</dt><dd>{p.tokens.join(", ")}</dd></>}{p.aliases.length > 0 && <><dt>Also called</dt><dd>{p.aliases.join(", ")}</dd></>}<dt>Time zone</dt><dd>{p.time_zone ?? <span class="dim">not known</span>}</dd><dt>Projects</dt><dd>{p.projects.length === 0 && <span class="dim">none yet</span>}{p.projects.map((x) => <><a href={`/projects/${x}`}>{x}</a> </>)}</dd><dt>Suggestions</dt><dd>{p.suggestions ? "may be suggested for hazards they have resolved" : "opted out: never suggested"}</dd><dt>Known since</dt><dd><Time at={p.created_at} /></dd></dl>
        <section class="section"><h2>What they have</h2><Assignments person={p.name} /></section>
        <section class="section"><h2>How they are told</h2><Channels person={p.name} /></section>
        {editing && <Edit p={p} close={() => setEditing(false)} done={() => { setEditing(false); one.reload(); }} />}
        {same && <Same p={p} close={() => setSame(false)} />}</>;
}
const words = (t: string) => t.split(/[\s,]+/).filter(Boolean);
function Add({close, done}: {close: () => void; done: () => void}) {
    const [name, setName] = useState(""), [shown, setShown] = useState(""), [emails, setEmails] = useState(""), [tokens, setTokens] = useState("");
    return <Dialog title="Add a person" close={close}>
        <Field label="Handle" hint="Lower-case letters, digits, '.', '_', '-'.">{(id) => <input id={id} value={name} maxLength={63} onInput={(e) => setName(e.currentTarget.value)} />}</Field>
        <Field label="Name">{(id) => <input id={id} value={shown} maxLength={200} onInput={(e) => setShown(e.currentTarget.value)} />}</Field>
        <Field label="Addresses of their commits" hint="With spaces between.">{(id) => <input id={id} value={emails} onInput={(e) => setEmails(e.currentTarget.value)} />}</Field>
        <Field label="Names of their tokens">{(id) => <input id={id} value={tokens} onInput={(e) => setTokens(e.currentTarget.value)} />}</Field>
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!name} run={() => api("POST", "/api/v1/people", {name, ...(shown ? {display_name: shown} : {}), ...(words(emails).length ? {emails: words(emails)} : {}), ...(words(tokens).length ? {tokens: words(tokens)} : {})}).then(done)} done="Added.">Add</Act></div></Dialog>;
}
/** What is gone and what is new of a list that was edited as text. */
function changes(before: string[], text: string): {add: string[]; remove: string[]} {
    const now = words(text);
    return {add: now.filter((x) => !before.includes(x)), remove: before.filter((x) => !now.includes(x))};
}
function Edit({p, close, done}: {p: Person; close: () => void; done: () => void}) {
    const [shown, setShown] = useState(p.display_name), [login, setLogin] = useState(p.forge_login ?? ""), [zone, setZone] = useState(p.time_zone ?? ""), [emails, setEmails] = useState((p.emails ?? []).join(" ")), [tokens, setTokens] = useState((p.tokens ?? []).join("\n"));
    const save = () => {
        const mails = changes(p.emails ?? [], emails), names = tokens.split("\n").map((t) => t.trim()).filter(Boolean), had = p.tokens ?? [];
        const add = names.filter((x) => !had.includes(x)), remove = had.filter((x) => !names.includes(x));
        return api("PATCH", `/api/v1/people/${encodeURIComponent(p.name)}`, {...(shown !== p.display_name ? {display_name: shown} : {}), ...(zone.trim() !== (p.time_zone ?? "") ? {time_zone: zone.trim()} : {}), ...(may("manage") ? {
            ...(login !== (p.forge_login ?? "") ? {forge_login: login} : {}), ...(mails.add.length ? {add_emails: mails.add} : {}), ...(mails.remove.length ? {remove_emails: mails.remove} : {}), ...(add.length ? {add_tokens: add} : {}), ...(remove.length ? {remove_tokens: remove} : {})} : {})}).then(done);
    };
    return <Dialog title={`Change ${p.display_name}`} close={close}>
        <Field label="Name">{(id) => <input id={id} value={shown} maxLength={200} onInput={(e) => setShown(e.currentTarget.value)} />}</Field>
        <Field label="Time zone" hint="Quiet hours of their new channels are in it. Empty: not known.">{(id) => <><input id={id} list={id + "z"} value={zone} placeholder="Europe/Vienna" maxLength={60} onInput={(e) => setZone(e.currentTarget.value)} /><datalist id={id + "z"}>{zones().map((z) => <option key={z} value={z} />)}</datalist></>}</Field>
        {may("manage") && <><Field label="Login at the forge">{(id) => <input id={id} value={login} maxLength={100} onInput={(e) => setLogin(e.currentTarget.value)} />}</Field>
            {p.emails && <Field label="Addresses of their commits" hint="With spaces or lines between.">{(id) => <textarea id={id} rows={2} value={emails} onInput={(e) => setEmails(e.currentTarget.value)} />}</Field>}
            {p.tokens && <Field label="Names of their tokens" hint="One a line.">{(id) => <textarea id={id} rows={2} value={tokens} onInput={(e) => setTokens(e.currentTarget.value)} />}</Field>}</>}
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!shown} run={save} done="Changed.">Save</Act></div></Dialog>;
}
function Same({p, close}: {p: Person; close: () => void}) {
    const people = useGet<{items: Person[]}>("/api/v1/people?limit=500"), [into, setInto] = useState("");
    return <Dialog title={`${p.display_name} is the same person as …`} close={close}>
        <p>Two entries of one person become one: addresses, tokens, commits and what was given go to the other, and <b>{p.name}</b> stays as another name of it. This cannot be undone.</p>
        <Field label="Is the same as">{(id) => <select id={id} value={into} onChange={(e) => setInto(e.currentTarget.value)}><option value="">choose</option>{people.data?.items.filter((x) => x.name !== p.name).map((x) => <option key={x.name} value={x.name}>{x.display_name} ({x.name})</option>)}</select>}</Field>
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="danger" disabled={!into} run={() => api("PATCH", `/api/v1/people/${encodeURIComponent(p.name)}`, {merge_into: into}).then(() => go(`/people/${encodeURIComponent(into)}`))} done="They are one now.">Make them one</Act></div></Dialog>;
}
