// format.ts - times, spans, bytes and numbers as people read them. Pure.
import {signal} from "@preact/signals";

export const now = signal(Date.now());                      // moves every few seconds, for "3 min ago"
setInterval(() => { if (!document.hidden) now.value = Date.now(); }, 5000);
document.addEventListener("visibilitychange", () => { now.value = Date.now(); });

export function span(ms: number): string {
    if (!Number.isFinite(ms) || ms < 0)
        return "–";
    if (ms < 1000)
        return `${Math.round(ms)} ms`;
    const s = ms / 1000;
    if (s < 60)
        return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
    const m = Math.floor(s / 60);
    if (m < 60)
        return s % 60 === 0 ? `${m} min` : `${m} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
    const h = Math.floor(m / 60);
    if (s % 3600 === 0 && h < 48)
        return `${h} h`;
    return h < 48 ? `${h} h ${String(m % 60).padStart(2, "0")} min` : `${Math.floor(h / 24)} d ${h % 24} h`;
}

/** A span as an estimate: two figures at most. */
export function about(ms: number): string {
    if (!Number.isFinite(ms) || ms < 0)
        return "–";
    const h = ms / 3600000;
    return h < 1 ? `${Math.max(1, Math.round(h * 60))} min` : h < 10 ? `${Number(h.toFixed(1))} h` : h < 72 ? `${Math.round(h)} h` : `${Math.round(h / 24)} d`;
}

export function ago(at: number, from: number): string {
    const s = Math.round((from - at) / 1000), past = s >= 0, a = Math.abs(s);
    if (a < 10)
        return "now";
    const text = a < 60 ? `${a} s` : a < 3600 ? `${Math.floor(a / 60)} min` : a < 86400 ? `${Math.floor(a / 3600)} h` : a < 86400 * 60 ? `${Math.floor(a / 86400)} d` : "";
    if (!text)
        return new Date(at).toLocaleDateString(undefined, {year: "numeric", month: "short", day: "numeric"});
    return past ? `${text} ago` : `in ${text}`;
}

const two = (n: number) => String(n).padStart(2, "0");
export function local(at: number): string {
    const d = new Date(at);
    return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}
export const utc = (at: number) => new Date(at).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");

export function bytes(n: number | null | undefined): string {
    if (n === null || n === undefined || !Number.isFinite(n))
        return "–";
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let i = 0;
    while (n >= 1024 && i < units.length - 1) {
        n /= 1024;
        i++;
    }
    return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[i]}`;
}

export function number(v: unknown, digits = 3): string {
    if (typeof v === "string")
        return v;
    if (typeof v !== "number")
        return "–";
    if (v === 0)
        return "0";
    const a = Math.abs(v);
    return a >= 0.001 && a < 100000 ? Number(v.toPrecision(digits)).toLocaleString("en", {maximumFractionDigits: 6}) : v.toExponential(Math.max(0, digits - 2));
}
export const percent = (p: number | null | undefined) => p === null || p === undefined ? "–" : p > 0 && p < 0.01 ? "<1 %" : `${Math.round(p * 100)} %`;
export const count = (n: number) => n.toLocaleString("en");
export const shortRef = (ref: string) => ref.replace(/^refs\/(heads|tags)\//, "");
export const shortSha = (sha: string | null | undefined) => sha ? sha.slice(0, 10) : "–";
/** "mobile/dl-integration-into-projects/avoiding-x" as words; the knowledge base's own titles are better where they are at hand. */
export const idWords = (id: string) => (id.split("/").pop() ?? id).replace(/-/g, " ");
/** Words that the daemon keeps without a capital, as a sentence: a capital where the first is an ordinary word (no operator, no name with digits, dots or capitals), a full stop. */
export const sentence = (t: string) => t.replace(/^[a-z]+(?=[\s,;:])/, (w) => w[0].toUpperCase() + w.slice(1)) + (/[.!?:…)\]]$/.test(t) ? "" : ".");
const measured: Record<string, string> = {load_ms: "time to load", first_ms: "first answer", duration_ms: "duration of the stage", artifact_bytes: "size of the model", artifact: "size of the model", artifact_size: "size of the model", latency_p50_ms: "latency, p50", latency_p95_ms: "latency, p95", latency_p95: "latency, p95", latency_p50: "latency, p50", peak_memory_bytes: "peak memory", max_abs_error: "largest error", top1_agreement: "top-1 agreement"};
/** What was measured, in words. */
export const metric = (name: string) => measured[name] ?? name.replace(/_ms$|_bytes$/, "").replace(/_/g, " ");
