// agents.tsx - who does the work: load, what they have, why they are idle, drain. Fetched every few seconds: agents make no events.
import {useEffect, useState} from "preact/hooks";
import {api, may, useGet, useList, type Page} from "../lib/api.ts";
import {bytes} from "../lib/format.ts";
import {useEvery} from "../lib/live.ts";
import {hash} from "../lib/router.ts";
import {Act, Command, Copy, Dialog, Empty, Failed, Field, Loading, More, State, Time, Title} from "../ui/basics.tsx";

interface Agent {
    id: number; name: string; hosts: string[]; labels: string[]; toolchains: string[]; recipes: string[]; slots: number; state: string; enrolled_at: string; last_seen_at: string | null; online: boolean; running: number;
    inventory: {arch?: string; cores?: number; memory_bytes?: number; sandbox?: string; version?: string; devices?: unknown[]; kernel?: string; toolchains?: Record<string, Record<string, string>>};
}
interface Pending { id: number; name: string; state: string; host: string; labels: string[]; toolchain: string | null; uses: string | null; run_id: number; run_number: number | null; project: string; why: string; queued_at: string | null }

function idle(a: Agent, pending: Pending[]): string {
    if (!a.online)
        return "No sign of life for 90 seconds. Is portolan-agent running there, and can it reach this daemon?";
    if (a.state === "draining")
        return a.running ? "Draining: finishes what it runs, takes nothing new." : "Drained: it can be stopped, or activated again.";
    if (a.slots === 0)
        return "It has no slots.";
    if (a.running >= a.slots)
        return "";
    const kind = pending.filter((p) => p.state === "queued" && a.hosts.includes(p.host));
    if (kind.length === 0)
        return pending.some((p) => p.state === "queued") ? `Idle: what is queued wants other host kinds than ${a.hosts.join(", ")}.` : "Idle: nothing is queued.";
    const labels = kind.filter((p) => p.labels.every((l) => a.labels.includes(l)));
    if (labels.length === 0)
        return `Idle: ${kind.length} queued want labels it does not have (${[...new Set(kind.flatMap((p) => p.labels.filter((l) => !a.labels.includes(l))))].join(", ")}).`;
    const fit = labels.filter((p) => (!p.toolchain || a.toolchains.includes(p.toolchain)) && (!p.uses || a.recipes.includes(p.uses)));
    if (fit.length === 0)
        return `Idle: what is queued wants ${[...new Set(labels.map((p) => p.toolchain && !a.toolchains.includes(p.toolchain) ? `toolchain ${p.toolchain}` : `recipe ${p.uses}`))].join(", ")}, which it does not have ready.`;
    return "";
}

function named(part: string): string {
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}

export function Agents() {
    const agents = useList<Agent>("/api/v1/agents?limit=200", "after"), pending = useGet<Page<Pending>>("/api/v1/stages/pending?limit=100");
    const [enrolling, setEnrolling] = useState(false);
    useEvery(() => { agents.reload(); pending.reload(); }, 4000);
    const chosen = named(hash.value.slice(1));
    useEffect(() => { if (chosen && agents.items) document.getElementById(`agent-${chosen}`)?.scrollIntoView({block: "center"}); }, [chosen, !!agents.items]);
    const waiting = pending.data?.items ?? [], queued = waiting.filter((p) => p.state !== "waiting");
    return <>
        <Title aside={may("admin") && <button type="button" class="button" onClick={() => setEnrolling(true)}>Enrol an agent</button>}>Agents</Title>
        {agents.error && <Failed problem={agents.error} retry={agents.reload} />}
        {!agents.items ? !agents.error && <Loading what="Loading agents" /> : agents.items.length === 0
            ? <Empty title="No agent is enrolled"><p>Stages run on agents. {may("admin") ? "Enrol one with the button above." : "An administrator can enrol one."}</p></Empty>
            : <div class="cards agents">{agents.items.map((a) => <article class={`card ${a.name === chosen ? "chosen" : ""}`} id={`agent-${a.name}`} key={a.id} data-row tabIndex={-1}>
                <header class="row apart"><h2>{a.name}</h2><State state={a.online ? a.state : "offline"} /></header>
                <div class="slots" role="img" aria-label={`${a.running} of ${a.slots} slots busy`}>{Array.from({length: Math.min(a.slots, 32)}, (_, i) => <i class={i < a.running ? "on" : ""} />)}<span class="num dim">{a.running}/{a.slots}</span></div>
                {idle(a, waiting) && <p class="dim">{idle(a, waiting)}</p>}
                <dl class="facts"><dt>Hosts</dt><dd>{a.hosts.join(", ") || "–"}</dd>{a.labels.length > 0 && <><dt>Labels</dt><dd>{a.labels.join(", ")}</dd></>}
                    <dt>Machine</dt><dd>{[a.inventory.arch, a.inventory.cores && `${a.inventory.cores} cores`, a.inventory.memory_bytes && bytes(a.inventory.memory_bytes)].filter(Boolean).join(", ")}</dd>
                    <dt>Sandbox</dt><dd>{a.inventory.sandbox ?? "–"}</dd><dt>Version</dt><dd>{a.inventory.version ?? "–"}</dd>
                    <dt>Seen</dt><dd><Time at={a.last_seen_at} /></dd></dl>
                <details><summary>{a.toolchains.length} toolchains, {a.recipes.length} recipes</summary>
                    <dl class="facts small">{Object.entries(a.inventory.toolchains ?? {}).map(([name, v]) => <><dt>{name}</dt><dd>{Object.entries(v).map(([k, x]) => `${k} ${x}`).join(", ")}</dd></>)}</dl>
                    <p class="dim">{a.recipes.join(", ")}</p></details>
                {may("admin") && <div class="row">{a.state === "active" ? <Act kind="small" run={() => api("POST", `/api/v1/agents/${encodeURIComponent(a.name)}/drain`, {}).then(agents.reload)} done={`${a.name} takes nothing new.`}>Drain</Act>
                    : <Act kind="small" run={() => api("POST", `/api/v1/agents/${encodeURIComponent(a.name)}/activate`, {}).then(agents.reload)} done={`${a.name} takes work again.`}>Activate</Act>}
                    <Act kind="small danger" confirm={`Remove ${a.name}? Its token is revoked; it must be enrolled anew to come back.`} run={() => api("POST", `/api/v1/agents/${encodeURIComponent(a.name)}/remove`, {}).then(agents.reload)} done={`${a.name} is removed.`}>Remove</Act></div>}
            </article>)}</div>}
        <More more={agents.more} busy={agents.busy} />
        {queued.length > 0 && <section class="section"><h2>Waiting stages</h2><table class="list"><thead><tr><th>Stage</th><th>Host</th><th>Since</th><th>Why it waits</th></tr></thead><tbody>{queued.map((p) => <tr key={p.id} data-row>
            <td><a class="main" href={`/runs/${p.run_id}?stage=${encodeURIComponent(p.name)}`}>{p.project} {p.run_number ? `#${p.run_number}` : ""} {p.name}</a></td><td>{p.host}</td><td><Time at={p.queued_at} /></td><td class="grow wrap">{p.why}</td></tr>)}</tbody></table></section>}
        {enrolling && <Enrol close={() => setEnrolling(false)} />}
    </>;
}

function Enrol({close}: {close: () => void}) {
    const [name, setName] = useState(""), [hosts, setHosts] = useState<string[]>(["server"]), [token, setToken] = useState("");
    return <Dialog title="Enrol an agent" close={close} wide>
        {token ? <><p>On the machine that shall work, once, within the hour. The token is shown only now.</p>
            <Command text={`portolan-agent run --server ${location.origin} --name ${name || "agent-1"} --hosts ${hosts.join(",")} --enroll-token ${token}`} /><div class="row end"><Copy text={token} label="Copy the token alone" /></div></>
            : <><Field label="Name" hint="Letters, digits, '.', '_', '-'.">{(id) => <input id={id} value={name} placeholder="agent-1" maxLength={63} onInput={(e) => setName(e.currentTarget.value)} />}</Field>
                <fieldset class="checks"><legend>Host kinds it may serve</legend>{["server", "mobile", "browser"].map((h) => <label key={h}><input type="checkbox" checked={hosts.includes(h)} onChange={(e) => setHosts(e.currentTarget.checked ? [...hosts, h] : hosts.filter((x) => x !== h))} /> {h}</label>)}</fieldset>
                <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={hosts.length === 0} run={async () => setToken((await api<{token: string}>("POST", "/api/v1/agents/enrol-tokens", {...(name ? {name} : {}), hosts})).token)}>Make a one-time token</Act></div></>}
    </Dialog>;
}
