// plot.tsx - what chart.tsx loads when a chart is drawn: series over time by uPlot in the theme's colours; a table of the same numbers is there for who cannot see it.
import uPlot from "uplot";
import {useEffect, useRef} from "preact/hooks";
import {local, number} from "../lib/format.ts";
import type {ChartProps} from "./chart.tsx";

/** Of a logarithmic axis, the powers of ten; every other one where they are many. */
const whole = (_u: uPlot, vs: number[]) => { const tens = vs.filter((v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9), step = tens.length > 5 ? 2 : 1; return vs.map((v) => { const i = tens.indexOf(v); return i >= 0 && i % step === 0 ? v : null as unknown as number; }); };
const token = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const tones = ["--c1", "--c2", "--c3", "--c4", "--c5"];

const two = (n: number) => String(n).padStart(2, "0"), months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/** Ticks of time: the hour, or the day, or the month, by how far they lie apart; what changes more slowly stands below where it changes. */
function times(splits: number[], apart: number, utc: boolean): string[] {
    const get = (s: number) => { const d = new Date(s * 1000); return utc ? [d.getUTCFullYear(), d.getUTCMonth(), d.getUTCDate(), d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds()] : [d.getFullYear(), d.getMonth(), d.getDate(), d.getHours(), d.getMinutes(), d.getSeconds()]; };
    let before = "";
    return splits.map((s) => {
        const [year, month, day, hour, minute, second] = get(s), fine = apart < 60 ? `${two(hour)}:${two(minute)}:${two(second)}` : apart < 86400 ? `${two(hour)}:${two(minute)}` : apart < 86400 * 25 ? `${day} ${months[month]}` : months[month];
        const slow = apart < 86400 ? `${day} ${months[month]}` : String(year), same = slow === before;
        before = slow;
        return same ? fine : `${fine}\n${slow}`;
    });
}

export function Plot({x, series, height = 200, title, unit, bars, log, click, label, days}: ChartProps) {
    const box = useRef<HTMLDivElement>(null);
    const show = unit ?? ((v: number) => number(v));
    useEffect(() => {
        const el = box.current!;
        let plot: uPlot | null = null;
        const draw = () => {
            plot?.destroy();
            const axis = {stroke: token("--ink3"), grid: {stroke: token("--line"), width: 1}, ticks: {show: false}, font: `11px ${token("--sans")}`};
            const second = series.some((s) => s.axis === "y2");
            const last = (u: uPlot) => { if (u.cursor.idx === null || u.cursor.idx === undefined) u.setLegend({idx: x.length - 1}, false); };
            plot = new uPlot({
                width: Math.max(200, el.clientWidth), height, ...(days ? {tzDate: (s: number) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC")} : {}),
                cursor: {points: {size: 7}, drag: {x: false, y: false}},
                legend: {live: true},
                scales: {x: {time: true}, y: log ? {distr: 3, log: 10} : {range: (_u, lo, hi) => [Math.min(0, lo ?? 0), (hi ?? 1) * 1.08 || 1]}, ...(second ? {y2: {range: (_u: uPlot, lo: number, hi: number) => [Math.min(0, lo ?? 0), (hi ?? 1) * 1.08 || 1] as [number, number]}} : {})},
                axes: [{...axis, size: 40, space: days ? 56 : 70, values: (_u, vs, _axis, _space, apart) => times(vs, apart, !!days)}, {...axis, size: 56, ...(label ? {label, labelSize: 18, labelFont: `11px ${token("--sans")}`} : {}), ...(log ? {grid: {...axis.grid, filter: whole}, filter: whole} : {}), values: (_u, vs) => vs.map((v) => v === null ? "" : show(v))}, ...(second ? [{...axis, scale: "y2", side: 1 as const, size: 56, grid: {show: false}, values: (_u: uPlot, vs: number[]) => vs.map((v) => (series.find((s) => s.axis === "y2")!.show ?? number)(v))}] : [])],
                series: [{label: days ? "From" : "When", value: (_u, v) => v === null ? "" : days ? new Date(v * 1000).toISOString().slice(0, 10) : local(v * 1000).slice(0, 16)}, ...series.map((s, i) => {
                    const c = token(s.color ?? tones[i % tones.length]);
                    return {label: s.label, scale: s.axis ?? "y", stroke: c, width: 1.6, spanGaps: true, dash: s.dash ? [5, 4] : undefined, fill: bars || s.fill ? c + "33" : undefined, points: {show: !bars && x.length < 60, size: 5, fill: c},
                        paths: bars ? uPlot.paths.bars!({size: [0.7, 40]}) : undefined, value: (_u: uPlot, v: number | null) => v === null ? "–" : (s.show ?? show)(v)};
                })],
                hooks: {ready: [last, (u) => { if (click) u.over.addEventListener("click", () => { if (u.cursor.idx !== null && u.cursor.idx !== undefined) click(u.cursor.idx); }); }], setCursor: [last]},
            }, [x, ...series.map((s) => s.values)] as uPlot.AlignedData, el);
        };
        draw();
        const size = new ResizeObserver(() => plot?.setSize({width: Math.max(200, el.clientWidth), height}));
        size.observe(el);
        addEventListener("portolan-theme", draw);
        const media = matchMedia("(prefers-color-scheme: dark)");
        media.addEventListener("change", draw);
        return () => { size.disconnect(); removeEventListener("portolan-theme", draw); media.removeEventListener("change", draw); plot?.destroy(); };
    }, [x, series, height]);
    return <figure class="chart"><figcaption class="sr">{title}</figcaption><div ref={box} aria-hidden="true" />
        <p class="sub when">{days ? "days in UTC" : "local time"}{click && "; a click on a point opens its run"}</p>
        <div class="sr"><table><caption>{title}</caption><thead><tr><th>When</th>{series.map((s) => <th>{s.label}</th>)}</tr></thead><tbody>{x.slice(-30).map((t, i, all) => <tr><td>{new Date(t * 1000).toISOString()}</td>{series.map((s) => { const v = s.values[x.length - all.length + i]; return <td>{v === null ? "–" : (s.show ?? show)(v)}</td>; })}</tr>)}</tbody></table></div></figure>;
}
