// audit.tsx - what people changed, newest first, and who may: tokens.
import {useState} from "preact/hooks";
import {api, may, useList} from "../lib/api.ts";
import {query, setQuery, withQuery} from "../lib/router.ts";
import {Act, Command, Dialog, Empty, Failed, Field, Loading, More, Tabs, Time, Title} from "../ui/basics.tsx";

interface Line { id: number; at: string; actor: string; action: string; object: string; detail: unknown }
interface Token { id: number; kind: string; name: string; role: string | null; project: string | null; agent: string | null; created_by: string; created_at: string; expires_at: string | null; used_at: string | null; revoked_at: string | null }

export function Audit() {
    const tokens = query.value.get("view") === "tokens";
    if (!may("admin"))
        return <Empty title="Only for administrators"><p>Ask one of them for what you want to know.</p></Empty>;
    return <><Title>Audit</Title>
        <Tabs label="Views"><a href={withQuery({view: ""})} aria-current={!tokens ? "page" : undefined}>What was changed</a><a href={withQuery({view: "tokens"})} aria-current={tokens ? "page" : undefined}>Tokens</a></Tabs>
        {tokens ? <Tokens /> : <Lines />}</>;
}

function Lines() {
    const list = useList<Line>("/api/v1/audit?limit=100", "before"), words = query.value.get("q") ?? "";
    const shown = list.items?.filter((l) => !words || `${l.actor} ${l.action} ${l.object}`.toLowerCase().includes(words.toLowerCase()));
    return <>
        <form class="filters" role="search" onSubmit={(e) => e.preventDefault()}><label>Narrow what is loaded <input data-search type="search" value={words} onInput={(e) => setQuery({q: e.currentTarget.value})} placeholder="who, what" /></label></form>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!shown ? !list.error && <Loading what="Loading the audit log" /> : shown.length === 0 ? <Empty title="Nothing here"><p>{words ? "No loaded line has these words; load more below, or clear them." : "Nobody has changed anything yet."}</p></Empty>
            : <table class="list"><thead><tr><th>When</th><th>Who</th><th>Did</th><th>To</th></tr></thead><tbody>{shown.map((l) => <tr key={l.id} data-row>
                <td><Time at={l.at} /></td><td>{l.actor}</td><td><code>{l.action}</code></td><td class="grow wrap">{l.object}{Boolean(l.detail) && JSON.stringify(l.detail) !== "{}" && <details><summary class="dim">detail</summary><pre class="block" tabIndex={0}>{JSON.stringify(l.detail, null, 1)}</pre></details>}</td></tr>)}</tbody></table>}
        <More more={list.more} busy={list.busy} />
    </>;
}

function Tokens() {
    const list = useList<Token>("/api/v1/tokens?limit=200", "after"), [making, setMaking] = useState(false);
    return <div class="stack"><p class="row"><button type="button" class="button" onClick={() => setMaking(true)}>Make a token</button></p>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!list.items ? !list.error && <Loading what="Loading tokens" /> : <table class="list"><thead><tr><th>Name</th><th>May</th><th>Made</th><th>Last used</th><th>Ends</th><th><span class="sr">Actions</span></th></tr></thead><tbody>{list.items.filter((t) => !t.revoked_at).map((t) => <tr key={t.id} data-row>
            <td><b>{t.agent ?? t.name}</b></td><td>{t.kind === "person" ? t.role : t.kind}{t.project && <span class="dim"> in {t.project}</span>}</td><td data-h="Made"><Time at={t.created_at} /> <span class="dim">by {t.created_by}</span></td><td data-h="Last used"><Time at={t.used_at} /></td><td data-h="Ends">{t.expires_at ? <Time at={t.expires_at} /> : "never"}</td>
            <td><Act kind="small danger" confirm={`Revoke ${t.agent ?? t.name}? Whoever uses it is shut out at once.`} run={() => api("DELETE", `/api/v1/tokens/${t.id}`).then(list.reload)} done="Revoked.">Revoke</Act></td></tr>)}</tbody></table>}
        <More more={list.more} busy={list.busy} />
        {making && <Make close={() => { setMaking(false); list.reload(); }} />}</div>;
}

function Make({close}: {close: () => void}) {
    const [name, setName] = useState(""), [role, setRole] = useState("member"), [project, setProject] = useState(""), [ends, setEnds] = useState("90d"), [token, setToken] = useState("");
    return <Dialog title="Make a token" close={close}>
        {token ? <><p>Give it to {name}; it is shown only now. A link that logs a browser in:</p><Command text={token} /><Command text={`${location.origin}/login#token=${token}`} /></>
            : <><Field label="Whose" hint="The name that the audit log shows.">{(id) => <input id={id} value={name} maxLength={100} onInput={(e) => setName(e.currentTarget.value)} />}</Field>
                <Field label="Role">{(id) => <select id={id} value={role} onChange={(e) => setRole(e.currentTarget.value)}><option value="viewer">viewer: reads</option><option value="member">member: and starts, cancels, approves runs</option><option value="manager">manager: and manages projects and assignments</option><option value="curator">curator: and edits the knowledge base</option><option value="admin">admin: everything</option></select>}</Field>
                <Field label="Only this project (optional)">{(id) => <input id={id} value={project} onInput={(e) => setProject(e.currentTarget.value.trim())} />}</Field>
                <Field label="Ends after (optional)" hint="Such as 12h or 90d; empty: never.">{(id) => <input id={id} value={ends} onInput={(e) => setEnds(e.currentTarget.value.trim())} />}</Field>
                <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!name} run={async () => setToken((await api<{token: string}>("POST", "/api/v1/tokens", {name, role, ...(project ? {project} : {}), ...(ends ? {expires_in: ends} : {})})).token)}>Make</Act></div></>}
    </Dialog>;
}
