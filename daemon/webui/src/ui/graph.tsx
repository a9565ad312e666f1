// graph.tsx - the stages of a run as a course on a chart: one lane a target, what needs what as lines between. Links, so that it works by keyboard.
import {useLayoutEffect, useRef, useState} from "preact/hooks";
import type {Stage} from "../lib/types.ts";
import {bytes, number, span} from "../lib/format.ts";
import {Mark, tone} from "./basics.tsx";

export function Graph({stages, chosen, href}: {stages: Stage[]; chosen?: string; href: (s: Stage) => string}) {
    const box = useRef<HTMLDivElement>(null), [width, setWidth] = useState(900);
    useLayoutEffect(() => {
        setWidth(box.current!.clientWidth - 6);
        const see = new ResizeObserver(() => setWidth((box.current?.clientWidth ?? 906) - 6));   // less its padding
        see.observe(box.current!);
        return () => see.disconnect();
    }, []);
    const by = new Map(stages.map((s) => [s.name, s])), level = new Map<string, number>();
    const depth = (s: Stage, seen = 0): number => {
        const known = level.get(s.name);
        if (known !== undefined)
            return known;
        const d = seen > 40 ? 0 : Math.max(0, ...s.needs.map((n) => by.has(n) ? depth(by.get(n)!, seen + 1) + 1 : 0));
        level.set(s.name, d);
        return d;
    };
    stages.forEach((s) => depth(s));
    const lanes = [...new Set(stages.map((s) => s.target).filter((t): t is string => t !== null))];
    const levels = Math.max(0, ...level.values()) + 1, rows = Math.max(1, lanes.length);
    const narrow = width < 620, gap = narrow ? 14 : Math.min(84, Math.max(28, (width - levels * 210) / Math.max(1, levels - 1)));
    const w = Math.max(104, Math.min(250, (width - (levels - 1) * gap) / levels)), h = 50, rowH = h + 12;
    const taken = new Map<string, number>();
    const place = (s: Stage) => {
        const l = level.get(s.name)!, lane = s.target === null ? (rows - 1) / 2 : lanes.indexOf(s.target);
        const key = `${l}/${lane}`, n = taken.get(key) ?? 0;
        taken.set(key, n + 1);
        return {x: l * (w + gap), y: (lane + n) * rowH};
    };
    const at = new Map(stages.map((s) => [s.name, place(s)]));
    const height = Math.max(...[...at.values()].map((p) => p.y)) + h, total = levels * w + (levels - 1) * gap;
    return <div class="graph" ref={box} role="group" aria-label="Stages and what they need">
        <div class="canvas" style={{width: `${total}px`, height: `${height}px`}}>
            <svg width={total} height={height} aria-hidden="true">{stages.flatMap((s) => s.needs.filter((n) => at.has(n)).map((n) => {
                const a = at.get(n)!, b = at.get(s.name)!, x1 = a.x + w, y1 = a.y + h / 2, x2 = b.x, y2 = b.y + h / 2, m = (x1 + x2) / 2;
                return <path key={n + s.name} d={`M${x1} ${y1}C${m} ${y1} ${m} ${y2} ${x2} ${y2}`} class={`course ${by.get(n)!.state === "green" ? "sailed" : ""} ${tone(s.state)}`} />;
            }))}</svg>
            {stages.map((s) => {
                const p = at.get(s.name)!, r = s.report;
                const worst = r?.outputs?.length ? r.outputs.map((o) => o.max_abs_error).filter((v): v is number => typeof v === "number").sort((a, b) => b - a)[0] : undefined;
                const figure = worst !== undefined ? `±${number(worst, 2)}` : s.model_bytes ? bytes(s.model_bytes) : "";
                return <a key={s.id} data-row class={`node ${tone(s.state)} ${s.name === chosen ? "chosen" : ""}`} href={href(s)} aria-current={s.name === chosen ? "true" : undefined}
                    style={{left: `${p.x}px`, top: `${p.y}px`, width: `${w}px`, height: `${h}px`}}>
                    <span class="name"><Mark state={s.state} />{narrow ? s.kind : s.target ? <><b>{s.kind}</b> {s.target}</> : <b>{s.name}</b>}</span>
                    <span class="sub num">{narrow && s.target ? s.target : s.state === "green" || s.state === "red" ? s.duration_ms !== null ? span(s.duration_ms) : s.state : s.state}{figure && !narrow && ` · ${figure}`}</span><span class="sr">{s.state}</span></a>;
            })}
        </div>
    </div>;
}
