// plot.tsx - what chart.tsx loads when a chart is drawn: series over time by uPlot in the theme's colours; a table of the same numbers is there for who cannot see it.
import uPlot from "uplot";
import {useEffect, useRef} from "preact/hooks";
import {number} from "../lib/format.ts";
import type {ChartProps} from "./chart.tsx";

const token = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const tones = ["--c1", "--c2", "--c3", "--c4", "--c5"];

export function Plot({x, series, height = 200, title, unit, bars, log, click}: ChartProps) {
    const box = useRef<HTMLDivElement>(null);
    const show = unit ?? ((v: number) => number(v));
    useEffect(() => {
        const el = box.current!;
        let plot: uPlot | null = null;
        const draw = () => {
            plot?.destroy();
            const axis = {stroke: token("--ink3"), grid: {stroke: token("--line"), width: 1}, ticks: {show: false}, font: `11px ${token("--sans")}`};
            const second = series.some((s) => s.axis === "y2");
            plot = new uPlot({
                width: Math.max(200, el.clientWidth), height,
                cursor: {points: {size: 7}, drag: {x: false, y: false}},
                legend: {live: true},
                scales: {x: {time: true}, y: log ? {distr: 3, log: 10} : {range: (_u, lo, hi) => [Math.min(0, lo ?? 0), (hi ?? 1) * 1.08 || 1]}, ...(second ? {y2: {range: (_u: uPlot, lo: number, hi: number) => [Math.min(0, lo ?? 0), (hi ?? 1) * 1.08 || 1] as [number, number]}} : {})},
                axes: [{...axis, size: 40}, {...axis, size: 56, values: (_u, vs) => vs.map((v) => show(v))}, ...(second ? [{...axis, scale: "y2", side: 1 as const, size: 56, grid: {show: false}, values: (_u: uPlot, vs: number[]) => vs.map((v) => (series.find((s) => s.axis === "y2")!.show ?? number)(v))}] : [])],
                series: [{value: (_u, v) => v === null ? "" : new Date(v * 1000).toLocaleString()}, ...series.map((s, i) => {
                    const c = token(s.color ?? tones[i % tones.length]);
                    return {label: s.label, scale: s.axis ?? "y", stroke: c, width: 1.6, spanGaps: true, dash: s.dash ? [5, 4] : undefined, fill: bars || s.fill ? c + "33" : undefined, points: {show: !bars && x.length < 60, size: 5, fill: c},
                        paths: bars ? uPlot.paths.bars!({size: [0.7, 40]}) : undefined, value: (_u: uPlot, v: number | null) => v === null ? "–" : (s.show ?? show)(v)};
                })],
                hooks: click ? {ready: [(u) => u.over.addEventListener("click", () => { if (u.cursor.idx !== null && u.cursor.idx !== undefined) click(u.cursor.idx); })]} : {},
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
        <table class="sr"><caption>{title}</caption><thead><tr><th>When</th>{series.map((s) => <th>{s.label}</th>)}</tr></thead><tbody>{x.slice(-30).map((t, i, all) => <tr><td>{new Date(t * 1000).toISOString()}</td>{series.map((s) => { const v = s.values[x.length - all.length + i]; return <td>{v === null ? "–" : (s.show ?? show)(v)}</td>; })}</tr>)}</tbody></table></figure>;
}
