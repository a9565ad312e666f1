// runs.tsx - runs, newest first, live. Every filter is in the address.
import {useGet, useList, type Page} from "../lib/api.ts";
import {useLive, useSoon} from "../lib/live.ts";
import {shortRef, shortSha} from "../lib/format.ts";
import {query, setQuery} from "../lib/router.ts";
import {projectNames, runsUrl} from "../lib/urls.ts";
import {Empty, Failed, Loading, More, State, Time, Title, Took, Typed} from "../ui/basics.tsx";

export interface RunRow {
    id: number; project: string; number: number | null; ref: string; commit_sha: string | null; commit_message: string | null; commit_author: string | null; state: string; message: string | null;
    trigger: string; created_by: string; model: string | null; created_at: string; started_at: string | null; ended_at: string | null; stages: number; green: number;
}
const states = ["preparing", "waiting", "running", "green", "red", "cancelled", "invalid"];

export function Runs() {
    const q = query.value;
    const runs = useList<RunRow>(runsUrl(q), "before");
    const projects = useGet<Page<{name: string}>>(projectNames);
    const soon = useSoon(runs.reload);
    useLive("/api/v1/events", (e) => { if (e.kind === "run" || e.kind === "stage") soon(); }, runs.reload);
    const filtered = ["project", "state", "ref", "commit"].some((k) => q.get(k));
    return <>
        <Title>Runs</Title>
        <form class="filters" role="search" aria-label="Filter runs" onSubmit={(e) => e.preventDefault()}>
            <label>Project <select value={q.get("project") ?? ""} onChange={(e) => setQuery({project: e.currentTarget.value})}>
                <option value="">all</option>{projects.data?.items.map((p) => <option key={p.name}>{p.name}</option>)}</select></label>
            <label>State <select value={q.get("state") ?? ""} onChange={(e) => setQuery({state: e.currentTarget.value})}>
                <option value="">any</option>{states.map((s) => <option key={s}>{s}</option>)}</select></label>
            <label>Branch or ref <Typed data-search value={q.get("ref") ?? ""} placeholder="main" set={(ref) => setQuery({ref})} /></label>
            <label>Commit <Typed class="mono" value={q.get("commit") ?? ""} placeholder="a1b2c3" size={12} set={(commit) => setQuery({commit: commit.toLowerCase()})} /></label>
            {filtered && <button type="button" class="link" onClick={() => setQuery({project: "", state: "", ref: "", commit: ""})}>Clear</button>}
        </form>
        {runs.error && <Failed problem={runs.error} retry={runs.reload} />}
        {!runs.items ? !runs.error && <Loading what="Loading runs" /> : runs.items.length === 0
            ? filtered ? <Empty title="No run fits these filters"><p>Take one away, or <button type="button" class="link" onClick={() => setQuery({project: "", state: "", ref: "", commit: ""})}>clear them all</button>.</p></Empty>
                : <Empty title="No runs yet"><p>Register a repository under <a href="/projects">Projects</a>, then push to it, or start a run there.</p></Empty>
            : <>
                <table class="list runs">
                    <thead><tr><th>State</th><th>Run</th><th>Commit</th><th>Ref</th><th>Stages</th><th>Took</th><th>When</th></tr></thead>
                    <tbody>{runs.items.map((r) => <tr key={r.id} data-row>
                        <td data-label="State"><State state={r.state} /></td>
                        <td data-label="Run"><a class="main" href={`/runs/${r.id}`}>{r.project}{r.number ? <> <span class="num">#{r.number}</span></> : <> <span class="dim">({r.id})</span></>}</a></td>
                        <td data-label="Commit" class="grow"><span class="cut">{r.state === "invalid" ? <span class="bad">{r.message}</span> : r.commit_message ?? <span class="dim">{r.message ?? "…"}</span>}</span>
                            <span class="sub"><code>{shortSha(r.commit_sha)}</code> {r.commit_author?.replace(/ <.*>$/, "")}</span></td>
                        <td data-label="Ref"><span class="cut short">{shortRef(r.ref)}</span><span class="sub">{r.trigger} by {r.created_by}</span></td>
                        <td data-label="Stages"><Progress green={r.green} stages={r.stages} state={r.state} /></td>
                        <td data-label="Took"><Took from={r.started_at} to={r.ended_at} /></td>
                        <td data-label="When"><Time at={r.created_at} /></td>
                    </tr>)}</tbody>
                </table>
                <More more={runs.more} busy={runs.busy} />
            </>}
    </>;
}

function Progress({green, stages, state}: {green: number; stages: number; state: string}) {
    if (!stages)
        return <span class="dim">–</span>;
    return <span class="progress" title={`${green} of ${stages} stages green`}>
        <span class={`bar ${state === "red" ? "bad" : ""}`} aria-hidden="true"><i style={{width: `${100 * green / stages}%`}} /></span><span class="num">{green}/{stages}</span></span>;
}
