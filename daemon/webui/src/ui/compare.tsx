// compare.tsx - this attempt beside the same stage of the last good run before it: commit, pipeline, environment, agent, numbers. Only what differs.
import {useGet, type Page} from "../lib/api.ts";
import {changed, diff, flatten} from "../lib/diff.ts";
import {bytes, number, shortSha, span} from "../lib/format.ts";
import type {Attempt, Run, Stage} from "../lib/types.ts";
import {Failed, Loading, Time} from "./basics.tsx";

export function Compare({run, stage, attempt}: {run: Run; stage: Stage; attempt: Attempt | undefined}) {
    const last = useGet<Page<{id: number}>>(`/api/v1/runs?project=${encodeURIComponent(run.project)}&state=green&before=${run.id}&limit=1`);
    const goodId = last.data?.items[0]?.id;
    const good = useGet<Run>(goodId ? `/api/v1/runs/${goodId}` : null);
    const was = good.data?.stages.find((s) => s.name === stage.name);
    const before = useGet<Attempt>(was?.attempt_id ? `/api/v1/attempts/${was.attempt_id}` : null);
    const problem = last.error ?? good.error ?? before.error;
    if (problem)
        return <Failed problem={problem} retry={last.reload} />;
    if (last.data && !goodId)
        return <p class="dim pad">No run of {run.project} before this one was green, so there is nothing to compare with.</p>;
    if (good.data && !was)
        return <p class="dim pad">The last good run, <a href={`/runs/${goodId}`}>#{good.data.number}</a>, had no stage {stage.name}.</p>;
    if (!good.data || !before.data || !attempt)
        return <Loading what="Looking for the last good run" />;
    const env = changed(flatten({...before.data.environment, agent: before.data.agent_name, sandbox: before.data.sandbox, uses: was!.uses, toolchain: was!.toolchain}),
        flatten({...attempt.environment, agent: attempt.agent_name, sandbox: attempt.sandbox, uses: stage.uses, toolchain: stage.toolchain}));
    const spec = good.data.pipeline_text !== run.pipeline_text ? diff(good.data.pipeline_text ?? "", run.pipeline_text ?? "") : [];
    const figures: [string, string, string][] = [];
    const push = (name: string, a: number | null | undefined, b: number | null | undefined, show: (n: number) => string) => { if (a !== b && (typeof a === "number" || typeof b === "number")) figures.push([name, typeof a === "number" ? show(a) : "–", typeof b === "number" ? show(b) : "–"]); };
    push("duration", before.data.duration_ms, attempt.duration_ms, span);
    push("peak memory", before.data.peak_memory_bytes, attempt.peak_memory_bytes, bytes);
    for (const o of attempt.report?.outputs ?? []) {
        const b = before.data.report?.outputs?.find((x) => x.name === o.name);
        push(`${o.name}: largest error`, b?.max_abs_error as number, o.max_abs_error as number, number);
        push(`${o.name}: top-1 agreement`, b?.top1_agreement as number, o.top1_agreement as number, number);
    }
    for (const [k, v] of Object.entries(attempt.report?.metrics ?? {}))
        if (typeof v === "number")
            push(k.replace(/_/g, " "), before.data.report?.metrics?.[k] as number, v, /bytes/.test(k) ? bytes : number);
    return <div class="stack wide compare">
        <p>Beside <a href={`/runs/${goodId}?stage=${encodeURIComponent(stage.name)}`}>#{good.data.number}</a>, green <Time at={good.data.ended_at} />: <code>{shortSha(good.data.commit_sha)}</code> {good.data.commit_message?.split("\n")[0]}. What differs:</p>
        <div><h3>Commit</h3>{good.data.commit_sha === run.commit_sha ? <p class="dim">The same commit.</p> : <><p><code>{shortSha(good.data.commit_sha)}</code> → <code>{shortSha(run.commit_sha)}</code> {run.commit_message?.split("\n")[0]} <span class="dim">{run.commit_author?.replace(/ <.*>$/, "")}</span></p></>}</div>
        <div><h3>Environment</h3>{env.length ? <Changes rows={env} /> : <p class="dim">Nothing: same agent, same tools, same versions.</p>}</div>
        <div><h3>Pipeline file</h3>{spec === null ? <p class="dim">It differs, and is too long to show here.</p> : spec.length ? <pre class="block diff" tabIndex={0}>{spec.map((r, i) => (r.kind !== " " || spec.slice(Math.max(0, i - 2), i + 3).some((x) => x.kind !== " ")) && <span class={r.kind === "+" ? "good" : r.kind === "-" ? "bad" : "dim"}>{r.kind} {r.text}{"\n"}</span>)}</pre> : <p class="dim">The same.</p>}</div>
        {figures.length > 0 && <div><h3>Numbers</h3><Changes rows={figures} /></div>}
    </div>;
}
function Changes({rows}: {rows: [string, string, string][]}) {
    return <div class="scroll"><table class="narrow"><thead><tr><th>What</th><th>Last good</th><th>This one</th></tr></thead><tbody>{rows.map(([k, a, b]) => <tr key={k}><td>{k}</td><td class="num">{a}</td><td class="num"><b>{b}</b></td></tr>)}</tbody></table></div>;
}
