// people.tsx - the directory: who commits, what they are known as, what they have; whether they may be suggested. Never a ranking.
import {useState} from "preact/hooks";
import {api, may, useGet, useList} from "../lib/api.ts";
import {Act, Dialog, Empty, Failed, Field, Loading, More, Time, Title} from "../ui/basics.tsx";
import {Assignments} from "./risk.tsx";

interface Person { name: string; display_name: string; forge_login: string | null; suggestions: boolean; created_by: string; created_at: string; emails?: string[] | null; tokens?: string[] | null; aliases: string[]; projects: string[]; assignments: number }

export function People({parts}: {parts: string[]}) {
    return parts[0] ? <One key={parts[0]} name={parts[0]} /> : <All />;
}
function All() {
    const list = useList<Person>("/api/v1/people?limit=100", "after", (p) => p.name), [adding, setAdding] = useState(false);
    return <><Title aside={may("manage") && <button type="button" class="button" onClick={() => setAdding(true)}>Add a person</button>}>People</Title>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!list.items ? !list.error && <Loading /> : list.items.length === 0 ? <Empty title="Nobody yet"><p>People come from the commits of runs; a manager can add others.</p></Empty>
            : <table class="list"><thead><tr><th>Person</th><th>Projects</th><th>Has now</th><th>Suggested</th></tr></thead><tbody>{list.items.map((p) => <tr key={p.name} data-row>
                <td><a class="main" href={`/people/${encodeURIComponent(p.name)}`}>{p.display_name}</a><span class="sub">{p.name}</span></td><td class="grow wrap">{p.projects.join(", ")}</td><td class="num">{p.assignments || <span class="dim">nothing</span>}</td><td>{p.suggestions ? "yes" : <span class="dim">opted out</span>}</td></tr>)}</tbody></table>}
        <More more={list.more} busy={list.busy} />
        {adding && <Add close={() => setAdding(false)} done={() => { setAdding(false); list.reload(); }} />}</>;
}
function One({name}: {name: string}) {
    const url = `/api/v1/people/${encodeURIComponent(name)}`, one = useGet<Person>(url), p = one.data, [editing, setEditing] = useState(false);
    if (!p)
        return one.error ? <Failed problem={one.error} retry={one.reload} /> : <Loading />;
    return <><Title aside={may("trigger") && <div class="row">{may("manage") && <button type="button" class="button" onClick={() => setEditing(true)}>Change</button>}
        <Act run={() => api("PATCH", url, {suggestions: !p.suggestions}).then(one.reload)} done={p.suggestions ? "Not suggested any more." : "May be suggested."}>{p.suggestions ? "Do not suggest" : "May be suggested"}</Act></div>}>{p.display_name}</Title>
        <dl class="facts wide"><dt>Handle</dt><dd>{p.name}</dd>{p.forge_login && <><dt>At the forge</dt><dd>{p.forge_login}</dd></>}{p.emails && <><dt>Addresses</dt><dd>{p.emails.join(", ") || "–"}</dd></>}{p.tokens && p.tokens.length > 0 && <><dt>Tokens</dt><dd>{p.tokens.join(", ")}</dd></>}<dt>Projects</dt><dd>{p.projects.map((x) => <><a href={`/projects/${x}`}>{x}</a> </>)}</dd><dt>Suggestions</dt><dd>{p.suggestions ? "may be suggested for hazards they have resolved" : "opted out: never suggested"}</dd><dt>Since</dt><dd><Time at={p.created_at} /></dd></dl>
        <section class="section"><h2>What they have</h2><Assignments person={p.name} /></section>
        {editing && <Edit p={p} close={() => setEditing(false)} done={() => { setEditing(false); one.reload(); }} />}</>;
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
function Edit({p, close, done}: {p: Person; close: () => void; done: () => void}) {
    const [shown, setShown] = useState(p.display_name), [login, setLogin] = useState(p.forge_login ?? "");
    return <Dialog title={`Change ${p.display_name}`} close={close}>
        <Field label="Name">{(id) => <input id={id} value={shown} maxLength={200} onInput={(e) => setShown(e.currentTarget.value)} />}</Field>
        <Field label="Login at the forge">{(id) => <input id={id} value={login} maxLength={100} onInput={(e) => setLogin(e.currentTarget.value)} />}</Field>
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!shown} run={() => api("PATCH", `/api/v1/people/${encodeURIComponent(p.name)}`, {display_name: shown, ...(login ? {forge_login: login} : {})}).then(done)} done="Changed.">Save</Act></div></Dialog>;
}
