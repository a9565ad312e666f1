// projects.tsx - registered repositories: the list, and one with its settings, pushes, webhook deliveries, secrets and badges.
import {useState} from "preact/hooks";
import {api, may, session, useGet, useList, type Page} from "../lib/api.ts";
import {shortRef} from "../lib/format.ts";
import {go, query, withQuery} from "../lib/router.ts";
import {useLive, useSoon} from "../lib/live.ts";
import {Act, Command, Dialog, Empty, Failed, Field, Loading, Mark, More, say, Tabs, Time, Title} from "../ui/basics.tsx";

interface Project {
    id: number; name: string; url: string; default_branch: string; credential_kind?: string; poll_interval_s: number; poll_error: string | null; polled_at?: string | null; has_webhook_secret: boolean; status_forge: string | null; status_url?: string | null; status_repo?: string | null;
    created_at: string; last_run_id?: number | null; last_run_number?: number | null; last_run_state?: string | null;
}

export function Projects({parts}: {parts: string[]}) {
    return parts.length ? <One key={parts[0]} name={parts[0]} /> : <All />;
}

function All() {
    const list = useList<Project>("/api/v1/projects?limit=100", "after", (p) => p.name), soon = useSoon(list.reload, 400);
    const [adding, setAdding] = useState(false), manage = may("manage") && !session.value?.project;
    useLive("/api/v1/events", (e) => { if (e.kind === "run") soon(); }, list.reload);
    return <>
        <Title aside={manage && <button type="button" class="button" onClick={() => setAdding(true)}>Register a repository</button>}>Projects</Title>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!list.items ? !list.error && <Loading what="Loading projects" /> : list.items.length === 0
            ? <Empty title="No projects yet"><p>A project is a git repository with a <code>.portolan.yml</code>. {manage ? "Register the first one with the button above." : "A manager can register one."}</p></Empty>
            : <table class="list"><thead><tr><th>Project</th><th>Newest run</th><th>Told of pushes by</th><th>Statuses to</th><th>Since</th></tr></thead><tbody>{list.items.map((p) => <tr key={p.id} data-row>
                <td class="grow"><a class="main" href={`/projects/${p.name}`}>{p.name}</a><span class="sub mono">{p.url}</span></td>
                <td>{p.last_run_id ? <a href={`/runs/${p.last_run_id}`}><Mark state={p.last_run_state!} /> #{p.last_run_number ?? "…"} {p.last_run_state}</a> : <span class="dim">none</span>}</td>
                <td data-h="Told by">{[p.has_webhook_secret && "webhook", p.poll_interval_s > 0 && `polling, ${p.poll_interval_s} s`].filter(Boolean).join(", ") || <span class="dim">hooks only</span>}{p.poll_error && <span class="sub bad">{p.poll_error}</span>}</td>
                <td data-h="Statuses to">{p.status_forge ?? <span class="dim">nowhere</span>}</td><td data-h="Since"><Time at={p.created_at} /></td></tr>)}</tbody></table>}
        <More more={list.more} busy={list.busy} />
        {adding && <Settings close={() => setAdding(false)} done={(name) => go(`/projects/${name}`)} />}
    </>;
}

function One({name}: {name: string}) {
    const base = `/api/v1/projects/${encodeURIComponent(name)}`, project = useGet<Project>(base), p = project.data;
    const q = query.value, view = q.get("view") ?? "settings", manage = may("manage");
    const [editing, setEditing] = useState(false), [starting, setStarting] = useState(false);
    const runs = useGet<Page<{id: number; number: number | null; state: string; ref: string; created_at: string}>>(`/api/v1/runs?project=${encodeURIComponent(name)}&limit=30`);
    const soon = useSoon(runs.reload);
    useLive(`/api/v1/events?project=${encodeURIComponent(name)}`, (e) => { if (e.kind === "run") soon(); }, soon);
    if (!p)
        return project.error ? <Failed problem={project.error} retry={project.reload} /> : <Loading what="Loading the project" />;
    const tabs = [["settings", "Settings"], ["pushes", "Pushes"], ["deliveries", "Webhook deliveries"], ...(manage ? [["secrets", "Secrets"]] : []), ["badges", "Badges"]];
    return <>
        <Title aside={<div class="row">{may("trigger") && <button type="button" class="button primary" onClick={() => setStarting(true)}>Start a run</button>}{manage && <button type="button" class="button" onClick={() => setEditing(true)}>Change settings</button>}</div>}>{name}</Title>
        <nav class="strip" aria-label="Newest runs">{runs.data?.items.slice().reverse().map((r) => <a key={r.id} href={`/runs/${r.id}`} class="tick" title={`#${r.number ?? r.id} ${shortRef(r.ref)}: ${r.state}`} aria-label={`Run ${r.number ?? r.id}: ${r.state}`}><Mark state={r.state} size={16} /></a>)}
            <a href={`/runs?project=${name}`}>All runs</a></nav>
        <Tabs label="Parts of this project">{tabs.map(([id, title]) => <a key={id} href={withQuery({view: id === "settings" ? "" : id})} aria-current={view === id ? "page" : undefined}>{title}</a>)}</Tabs>
        {view === "settings" && <div class="stack wide"><dl class="facts wide">
            <dt>Repository</dt><dd class="mono">{p.url}</dd><dt>Default branch</dt><dd>{p.default_branch}</dd><dt>Credential</dt><dd>{p.credential_kind ?? "none"}</dd>
            <dt>Polling</dt><dd>{p.poll_interval_s ? `every ${p.poll_interval_s} s` : "off"}{p.poll_error && <p class="bad">{p.poll_error}</p>}</dd>
            <dt>Webhook</dt><dd>{p.has_webhook_secret ? "a secret is set" : "no secret is set: deliveries are refused"}<br /><code>{location.origin}/hooks/{name}</code></dd>
            <dt>Commit statuses</dt><dd>{p.status_forge ? `${p.status_forge}: ${p.status_repo} at ${p.status_url}` : "not posted"}</dd><dt>Registered</dt><dd><Time at={p.created_at} full /></dd></dl>
            {manage && <div><h3>Archive</h3><p class="dim">No new runs; runs and logs stay.</p><p><Act kind="danger" confirm={`Archive ${name}? Pushes to it start no runs any more. What it did stays readable.`} run={() => api("DELETE", base).then(() => go("/projects"))} done={`${name} is archived.`}>Archive this project</Act></p></div>}</div>}
        {view === "pushes" && <Pushes base={base} />}
        {view === "deliveries" && <Deliveries base={base} name={name} />}
        {view === "secrets" && manage && <Secrets base={base} />}
        {view === "badges" && <Badges name={name} branch={p.default_branch} />}
        {editing && <Settings project={p} close={() => setEditing(false)} done={() => { setEditing(false); project.reload(); }} />}
        {starting && <Start base={base} branch={p.default_branch} close={() => setStarting(false)} />}
    </>;
}

function Start({base, branch, close}: {base: string; branch: string; close: () => void}) {
    const [ref, setRef] = useState(branch), [commit, setCommit] = useState("");
    return <Dialog title="Start a run" close={close}>
        <Field label="Branch or tag">{(id) => <input id={id} value={ref} onInput={(e) => setRef(e.currentTarget.value)} />}</Field>
        <Field label="Commit (optional)" hint="40 hex digits; empty: the newest one of the branch.">{(id) => <input id={id} class="mono" value={commit} onInput={(e) => setCommit(e.currentTarget.value.trim())} />}</Field>
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!ref} run={async () => {
            const made = await api<{run_id?: number; outcome?: string; error?: string}>("POST", base + "/runs", {ref: ref.startsWith("refs/") ? ref : `refs/heads/${ref}`, ...(commit ? {commit} : {})});
            if (!made.run_id)
                throw new Error(made.error ?? made.outcome ?? "no run came of it");
            close();
            go(`/runs/${made.run_id}`);
        }}>Start</Act></div>
    </Dialog>;
}

function Settings({project, close, done}: {project?: Project; close: () => void; done: (name: string) => void}) {
    const [f, setF] = useState<Record<string, string>>({
        name: project?.name ?? "", url: project?.url ?? "", default_branch: project?.default_branch ?? "main", credential_kind: project?.credential_kind ?? "none", credential_user: "", credential: "", webhook_secret: "",
        poll: project?.poll_interval_s ? `${project.poll_interval_s}s` : "0", status_forge: project?.status_forge ?? "", status_url: project?.status_url ?? "", status_repo: project?.status_repo ?? "", status_token: "",
    });
    const put = (key: string) => (e: Event) => setF({...f, [key]: (e.currentTarget as HTMLInputElement).value});
    const save = async () => {
        const body: Record<string, string> = {};
        const was: Record<string, string | undefined> = project ? {url: project.url, default_branch: project.default_branch, credential_kind: project.credential_kind ?? "none", poll: project.poll_interval_s ? `${project.poll_interval_s}s` : "0", status_forge: project.status_forge ?? "", status_url: project.status_url ?? "", status_repo: project.status_repo ?? ""} : {};
        for (const [k, v] of Object.entries(f))
            if ((k === "status_forge" ? project && v !== was[k] : v && v !== was[k]) && !(project && k === "name"))
                body[k] = v;
        if (project && Object.keys(body).length === 0)
            return done(project.name);
        if (!project)
            delete body.status_forge;
        await api(project ? "PATCH" : "POST", project ? `/api/v1/projects/${encodeURIComponent(project.name)}` : "/api/v1/projects", body);
        say(project ? "Changed." : `${f.name} is registered.`);
        done(f.name);
    };
    return <Dialog title={project ? `Settings of ${project.name}` : "Register a repository"} close={close} wide>
        <div class="fields">
            {!project && <Field label="Name" hint="Lower-case letters, digits, '.', '_', '-'.">{(id) => <input id={id} value={f.name} required maxLength={63} onInput={put("name")} />}</Field>}
            <Field label="Repository URL">{(id) => <input id={id} class="mono" value={f.url} required placeholder="https://… or ssh://…" onInput={put("url")} />}</Field>
            <Field label="Default branch">{(id) => <input id={id} value={f.default_branch} onInput={put("default_branch")} />}</Field>
            <Field label="Poll every" hint="0: off; else 5s to 1d.">{(id) => <input id={id} value={f.poll} onInput={put("poll")} />}</Field>
            <Field label="Webhook secret" hint={project?.has_webhook_secret ? "One is set; write another to replace it." : "The same as at the forge."}>{(id) => <input id={id} type="password" autoComplete="new-password" value={f.webhook_secret} onInput={put("webhook_secret")} />}</Field>
            <Field label="Credential kind">{(id) => <select id={id} value={f.credential_kind} onChange={put("credential_kind")}>{["none", "token", "userpass", "ssh_key"].map((k) => <option key={k}>{k}</option>)}</select>}</Field>
            {f.credential_kind === "userpass" && <Field label="User">{(id) => <input id={id} autoComplete="off" value={f.credential_user} onInput={put("credential_user")} />}</Field>}
            {f.credential_kind !== "none" && <Field label={f.credential_kind === "ssh_key" ? "Private key (PEM)" : "Secret"}>{(id) => f.credential_kind === "ssh_key" ? <textarea id={id} class="mono" rows={4} value={f.credential} onInput={put("credential")} /> : <input id={id} type="password" autoComplete="new-password" value={f.credential} onInput={put("credential")} />}</Field>}
            {project && <><Field label="Commit statuses to">{(id) => <select id={id} value={f.status_forge} onChange={put("status_forge")}><option value="">nowhere</option><option value="github">GitHub</option><option value="gitlab">GitLab</option><option value="gitea">Gitea, Forgejo</option></select>}</Field>
                {f.status_forge && <><Field label="API base URL">{(id) => <input id={id} class="mono" value={f.status_url} onInput={put("status_url")} />}</Field><Field label="Repository there" hint="owner/name, or GitLab's project number">{(id) => <input id={id} value={f.status_repo} onInput={put("status_repo")} />}</Field>
                    <Field label="Token there">{(id) => <input id={id} type="password" autoComplete="new-password" value={f.status_token} onInput={put("status_token")} />}</Field></>}</>}
        </div>
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!f.name || !f.url} run={save}>{project ? "Save" : "Register"}</Act></div>
    </Dialog>;
}

interface Push { id: number; ref: string; after_sha: string | null; source: string; pusher: string | null; forced: boolean; outcome: string | null; received_at: string; run_id: number | null; number: number | null; state: string | null }
function Pushes({base}: {base: string}) {
    const list = useList<Push>(`${base}/pushes?limit=50`, "before");
    if (list.error)
        return <Failed problem={list.error} retry={list.reload} />;
    if (!list.items)
        return <Loading what="Loading pushes" />;
    if (list.items.length === 0)
        return <Empty title="Nothing was pushed yet"><p>A push is told by the forge's webhook, by a hook in the repository (<code>portolan hook install</code>), or by polling.</p></Empty>;
    return <><table class="list"><thead><tr><th>When</th><th>Pushed</th><th>Told by</th><th>What came of it</th></tr></thead><tbody>{list.items.map((u) => <tr key={u.id} data-row>
        <td><Time at={u.received_at} /></td><td><span class="cut">{shortRef(u.ref)}</span> <code class="dim">{u.after_sha?.slice(0, 8)}</code>{u.forced && <span class="sub">forced</span>}</td><td>{u.source}{u.pusher && <span class="sub">{u.pusher}</span>}</td>
        <td class="grow wrap">{u.run_id && u.state ? <a href={`/runs/${u.run_id}`}><Mark state={u.state} /> #{u.number ?? u.run_id}</a> : u.outcome}</td></tr>)}</tbody></table><More more={list.more} busy={list.busy} /></>;
}

interface Delivery { id: number; forge: string; delivery_id: string; event: string; outcome: string; received_at: string; pushes?: {ref: string; after?: string; why_not?: string}[] | null; runs?: {run_id: number; number: number | null; state: string}[] | null }
function Deliveries({base, name}: {base: string; name: string}) {
    const list = useList<Delivery>(`${base}/deliveries?limit=50`, "before");
    if (list.error)
        return <Failed problem={list.error} retry={list.reload} />;
    if (!list.items)
        return <Loading what="Loading deliveries" />;
    if (list.items.length === 0)
        return <Empty title="Nothing was delivered yet"><p>At the forge, add a webhook for pushes with this address and the secret set here:</p><p><code>{location.origin}/hooks/{name}</code></p></Empty>;
    return <><table class="list"><thead><tr><th>When</th><th>Event</th><th>Told of</th><th>Outcome</th><th>Runs</th><th><span class="sr">Actions</span></th></tr></thead><tbody>{list.items.map((d) => <tr key={d.id} data-row>
        <td><Time at={d.received_at} /></td><td>{d.forge} {d.event}<span class="sub mono">{d.delivery_id}</span></td><td>{d.pushes?.map((p) => <span class="cut short" key={p.ref}>{shortRef(p.ref)} <code class="dim">{p.after?.slice(0, 8)}</code></span>)}</td>
        <td class="grow wrap">{d.outcome}</td><td>{d.runs?.map((r) => <a key={r.run_id} href={`/runs/${r.run_id}`}><Mark state={r.state} /> #{r.number ?? r.run_id} </a>)}</td>
        <td>{may("trigger") && d.pushes && d.pushes.length > 0 && <Act kind="small" confirm="Replay this delivery? Each of its pushes gets a new run." run={() => api("POST", `/api/v1/deliveries/${d.id}/replay`, {}).then(list.reload)} done="Replayed.">Replay</Act>}</td></tr>)}</tbody></table><More more={list.more} busy={list.busy} /></>;
}

interface Secret { name: string; refs: string[]; stages: string[]; updated_at: string }
function Secrets({base}: {base: string}) {
    const list = useGet<Page<Secret>>(`${base}/secrets`), [editing, setEditing] = useState<Secret | null>(null);
    if (list.error)
        return <Failed problem={list.error} retry={list.reload} />;
    if (!list.data)
        return <Loading what="Loading names of secrets" />;
    return <div class="stack"><p class="dim">Values are sealed and never shown again; stages that ask for them get them, on the refs named here.</p>
        {list.data.items.length > 0 && <table class="list"><thead><tr><th>Name</th><th>Refs</th><th>Stages</th><th>Set</th><th><span class="sr">Actions</span></th></tr></thead><tbody>{list.data.items.map((s) => <tr key={s.name} data-row>
            <td><b class="mono">{s.name}</b></td><td>{s.refs.join(", ") || "every ref"}</td><td>{s.stages.join(", ") || "every stage that asks"}</td><td><Time at={s.updated_at} /></td>
            <td><span class="row"><button type="button" class="button small" onClick={() => setEditing(s)}>Set anew</button><Act kind="small danger" confirm={`Forget ${s.name}? Stages that ask for it fail from then on.`} run={() => api("DELETE", `${base}/secrets/${encodeURIComponent(s.name)}`).then(list.reload)} done="Forgotten.">Forget</Act></span></td></tr>)}</tbody></table>}
        <p><button type="button" class="button" onClick={() => setEditing({name: "", refs: [], stages: [], updated_at: ""})}>Set a secret</button></p>
        {editing && <SecretForm base={base} was={editing} close={() => setEditing(null)} done={() => { setEditing(null); list.reload(); }} />}</div>;
}
function SecretForm({base, was, close, done}: {base: string; was: Secret; close: () => void; done: () => void}) {
    const [name, setName] = useState(was.name), [value, setValue] = useState(""), [refs, setRefs] = useState(was.refs.join(" ")), [stages, setStages] = useState(was.stages.join(" "));
    const words = (t: string) => t.split(/[\s,]+/).filter(Boolean);
    return <Dialog title={was.name ? `Set ${was.name} anew` : "Set a secret"} close={close}>
        {!was.name && <Field label="Name" hint="As an environment variable: letters, digits, '_'.">{(id) => <input id={id} class="mono" value={name} onInput={(e) => setName(e.currentTarget.value)} />}</Field>}
        <Field label="Value">{(id) => <textarea id={id} class="mono" rows={3} value={value} autoComplete="off" spellcheck={false} onInput={(e) => setValue(e.currentTarget.value)} />}</Field>
        <Field label="Only on refs" hint="Globs with spaces between, such as refs/heads/main refs/tags/*; empty: every ref.">{(id) => <input id={id} value={refs} onInput={(e) => setRefs(e.currentTarget.value)} />}</Field>
        <Field label="Only for stages" hint="Globs of stage names; empty: every stage that asks.">{(id) => <input id={id} value={stages} onInput={(e) => setStages(e.currentTarget.value)} />}</Field>
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!/^[A-Za-z_]\w*$/.test(name) || !value} run={() => api("PUT", `${base}/secrets/${encodeURIComponent(name)}`, {value, refs: words(refs), stages: words(stages)}).then(done)} done="Set.">Set</Act></div>
    </Dialog>;
}

function Badges({name, branch}: {name: string; branch: string}) {
    const [b, setB] = useState(branch), src = `/badge/${name}.svg${b ? `?branch=${encodeURIComponent(b)}` : ""}`, url = location.origin + src;
    return <div class="stack"><Field label="Branch">{(id) => <input id={id} value={b} onInput={(e) => setB(e.currentTarget.value)} style={{maxWidth: "260px"}} />}</Field>
        <p><img src={src} alt={`State of the newest run of ${b}`} height={20} /></p><h3>Markdown</h3><Command text={`[![portolan](${url})](${location.origin}/runs?project=${name})`} /><h3>Address</h3><Command text={url} /></div>;
}
