// report.tsx - what a verify measured: the verdict, each output's numbers with a plot of its errors on a logarithmic scale against what is allowed, the
// budgets, and the change since the last good run.
import {bytes, metric as words, number, percent} from "../lib/format.ts";
import type {Output, Reason, Report} from "../lib/types.ts";
import {State} from "./basics.tsx";

const num = (v: unknown): number | null => typeof v === "number" && Number.isFinite(v) ? v : null;
const unit = (name: string, v: number) => /bytes|size|memory/.test(name) ? bytes(v) : /_ms$|latency|load|first/.test(name) ? `${number(v)} ms` : number(v);

export function ReportView({report}: {report: Report}) {
    const limits = (report.limits ?? []).filter((l) => l.name !== "atol" && l.name !== "rtol");
    const outputs = report.outputs ?? [], told = Boolean((report.runtime as {indicative_latency?: boolean} | undefined)?.indicative_latency);
    return <div class="stack wide report">
        <div class="row"><State state={report.verdict} /><span class="dim">{report.samples !== undefined && `${report.samples} samples · `}{report.precision}{report.rule && typeof report.atol === "number" ? <> · <code>{report.rule.replace("atol", number(report.atol)).replace("rtol", number(report.rtol))}</code></> : null}{report.matched_by && report.matched_by !== "name" && ` · outputs matched by ${report.matched_by}`}</span></div>
        {report.reasons && report.reasons.length > 0 && <ul class="plainlist">{report.reasons.map((r) => <ReasonLine r={r} />)}</ul>}
        {limits.length > 0 && <p class="sub wrap">Allowed: {limits.map((l) => `${words(l.name)} ${/cosine|agreement/.test(l.name) ? "at least" : "at most"} ${l.name === "top1_agreement" ? percent(l.value) : number(l.value, 4)}${l.from === "spec" ? "" : ` (${l.from})`}`).join(", ")}</p>}
        {outputs.length > 0 && <Errors outputs={outputs} limit={limits.find((l) => l.name === "max_abs_error")?.value} />}
        {outputs.length > 0 && <div class="scroll" tabIndex={0} role="region" aria-label="Numbers per output"><table>
            <thead><tr><th>Output</th><th>Verdict</th><th>Type</th><th class="right">Max abs</th><th class="right">Max rel</th><th class="right">Mean abs</th><th class="right">RMSE</th><th class="right">Cosine</th><th class="right">Top-1</th><th class="right">Outside</th><th>Worst element</th></tr></thead>
            <tbody>{outputs.map((o) => <tr key={o.name}>
                <td><b>{o.name}</b></td><td>{o.verdict && <State state={o.verdict} />}</td><td class="dim"><span class="num">{o.dtype} {o.shape?.join("×")}</span></td>
                {[o.max_abs_error, o.max_rel_error, o.mean_abs_error, o.rmse].map((v) => <td class="right num">{number(v)}</td>)}
                <td class="right num">{num(o.cosine) !== null ? num(o.cosine)!.toFixed(6) : "–"}</td><td class="right num">{num(o.top1_agreement) !== null ? percent(num(o.top1_agreement)) : "–"}</td>
                <td class="right num">{o.elements !== undefined ? `${o.mismatched ?? 0} of ${o.elements}` : "–"}</td>
                <td class="num dim">{o.worst ? `[${o.worst.index?.join(", ")}] ${number(o.worst.expected, 6)} → ${number(o.worst.got, 6)}` : "–"}</td></tr>)}</tbody></table></div>}
        {report.budgets && report.budgets.length > 0 && <div><h3>Budgets</h3><table class="narrow"><thead><tr><th>Budget</th><th>Verdict</th><th class="right">Measured</th><th class="right">Limit</th></tr></thead><tbody>{report.budgets.map((b) =>
            <tr key={b.name}><td>{words(b.name)}{b.gate === false && <span class="dim"> (indicative)</span>}</td><td><State state={b.verdict} /></td><td class="right num">{b.measured === null ? "–" : unit(b.name, b.measured)}</td><td class="right num">{unit(b.name, b.limit)}</td></tr>)}</tbody></table></div>}
        {report.metrics && <div><h3>Measured{told && " (latencies are indicative: not on real hardware of this kind)"}</h3><dl class="tiles">{Object.entries(report.metrics).filter(([, v]) => typeof v === "number").map(([k, v]) => {
            const before = report.against_last_good?.find((x) => x.name === k);
            return <div key={k}><dt>{words(k)}</dt><dd class="num">{unit(k, v as number)}{before && before.change_pct !== null && Math.abs(before.change_pct) >= 1 && <span class={before.change_pct > 10 ? "bad" : before.change_pct < -5 ? "good" : "dim"}> {before.change_pct > 0 ? "+" : ""}{Math.round(before.change_pct)} %</span>}</dd></div>;
        })}</dl></div>}
    </div>;
}

function ReasonLine({r}: {r: Reason}) {
    return <li>{r.output && <b>{r.output}: </b>}{r.text} {r.code && <code class="dim">{r.code}</code>}</li>;
}

/** Mean, RMSE and largest error of every output on one logarithmic scale; the tick is what is allowed: at the worst element, or `limit` for all. */
function Errors({outputs, limit: most}: {outputs: Output[]; limit?: number}) {
    const allowed = (o: Output) => num(o.worst?.limit) ?? most ?? null;
    const values = outputs.flatMap((o) => [num(o.mean_abs_error), num(o.rmse), num(o.max_abs_error), allowed(o)]).filter((v): v is number => v !== null && v > 0);
    if (values.length === 0)
        return null;
    const lo = Math.floor(Math.log10(Math.min(...values))), hi = Math.max(lo + 1, Math.ceil(Math.log10(Math.max(...values))));
    const x = (v: number) => 100 * (Math.log10(Math.max(v, 10 ** lo)) - lo) / (hi - lo);
    const step = hi - lo > 10 ? 2 : 1, ticks: number[] = [];
    for (let p = lo; p <= hi; p += step)
        ticks.push(p);
    return <figure class="errors" role="img" aria-label={outputs.map((o) => `${o.name}: largest error ${number(o.max_abs_error)}, allowed ${number(allowed(o))}`).join("; ")}>
        <figcaption><h3>Absolute error by output, logarithmic</h3><span class="legend"><i class="mean" />mean <i class="rmse" />RMSE <i class="max" />largest <i class="limit" />allowed</span></figcaption>
        {outputs.map((o) => {
            const mean = num(o.mean_abs_error), rmse = num(o.rmse), max = num(o.max_abs_error), limit = allowed(o);
            const over = max !== null && limit !== null && max > limit;
            return <div class="err" key={o.name}><span class="cut">{o.name}</span><span class="axis" aria-hidden="true">{ticks.map((p) => <i class="grid" style={{left: `${100 * (p - lo) / (hi - lo)}%`}} />)}
                {limit !== null && limit > 0 && <><i class="allowed" style={{width: `${x(limit)}%`}} /><i class="limit" style={{left: `${x(limit)}%`}} /></>}
                {mean !== null && max !== null && max > 0 && <i class={`range ${over ? "over" : ""}`} style={{left: `${x(mean)}%`, width: `${Math.max(0, x(max) - x(mean))}%`}} />}
                {mean !== null && mean > 0 && <i class="dot mean" style={{left: `${x(mean)}%`}} />}{rmse !== null && rmse > 0 && <i class="dot rmse" style={{left: `${x(rmse)}%`}} />}{max !== null && max > 0 && <i class={`dot max ${over ? "over" : ""}`} style={{left: `${x(max)}%`}} />}</span></div>;
        })}
        <div class="err scale" aria-hidden="true"><span /><span class="axis">{ticks.map((p) => <span style={{left: `${100 * (p - lo) / (hi - lo)}%`}}>{p === 0 ? "1" : p === -1 ? "0.1" : <>10<sup>{p}</sup></>}</span>)}</span></div>
    </figure>;
}
