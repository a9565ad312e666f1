// log.tsx - a log, of any size: only the lines in sight are in the document. Search, colours, links to lines (#L12, #L12-20), follow, marks of the
// diagnosis. The scroll box is as tall as all lines together up to what browsers can make; beyond, it is scaled.
import {useEffect, useMemo, useRef, useState} from "preact/hooks";
import {LogSource} from "../lib/logsource.ts";
import {pieces} from "../lib/ansi.ts";
import {bytes, count} from "../lib/format.ts";
import {go, hash} from "../lib/router.ts";
import {Loading, say} from "./basics.tsx";
import {useKeys} from "./keys.tsx";

const ROW = 19, TALLEST = 8_000_000, HITS_MAX = 5000;
export interface Mark { line: number; offset?: number; title: string }

export function Log({attempt, open, marks}: {attempt: number; open: boolean; marks: Mark[]}) {
    const [, draw] = useState(0), [error, setError] = useState(""), [ready, setReady] = useState(false);
    const frame = useRef(0);
    const redraw = () => { if (!frame.current) frame.current = requestAnimationFrame(() => { frame.current = 0; draw((n) => n + 1); }); };
    const source = useMemo(() => new LogSource(attempt, redraw), [attempt]);
    const box = useRef<HTMLDivElement>(null);
    const [top, setTop] = useState(0), [height, setHeight] = useState(480), [follow, setFollow] = useState(open && !hash.value);
    const [words, setWords] = useState(""), [caseless, setCaseless] = useState(true);
    const [hits, setHits] = useState<number[]>([]), [at, setAt] = useState(-1), [searching, setSearching] = useState<number | null>(null);

    useEffect(() => {
        setReady(false);
        setError("");
        source.open().then(() => setReady(true), (e) => { if (e.name !== "AbortError") setError(e.message); });
        return () => source.close();
    }, [source]);
    useStream(ready && open ? source : null);

    // ---- where we are
    const n = source.count, real = n * ROW, tall = Math.min(real, TALLEST), scaled = real > tall;
    const rows = Math.ceil(height / ROW) + 1, maxFirst = Math.max(0, n - Math.floor(height / ROW));
    const first = scaled ? Math.round(Math.min(1, top / Math.max(1, tall - height)) * maxFirst) : Math.max(0, Math.floor(top / ROW) - 6);
    const last = Math.min(n, first + rows + (scaled ? 0 : 12));
    const shift = scaled ? top : first * ROW;
    useEffect(() => { if (ready && n) source.want(first, last); });
    useEffect(() => {
        const b = box.current;
        if (!b)
            return;
        const see = new ResizeObserver(() => setHeight(b.clientHeight));
        see.observe(b);
        return () => see.disconnect();
    }, [ready]);
    // By the box's own height: the state may be a frame behind, and in a scaled log a pixel is several lines.
    const toTop = (line: number, where = 0.35) => {
        const b = box.current;
        if (!b)
            return;
        const h = b.clientHeight, l = Math.max(0, Math.min(n - 1, line) - Math.floor(h / ROW * where));
        b.scrollTop = scaled ? l / Math.max(1, n - Math.floor(h / ROW)) * (tall - h) : l * ROW;
    };
    useEffect(() => { if (follow && ready && box.current) box.current.scrollTop = box.current.scrollHeight; }, [n, follow, ready, height]);

    // ---- the address names lines
    const chosen = /^#L(\d+)(?:-L?(\d+))?$/.exec(hash.value);
    const a = chosen ? +chosen[1] - 1 : -1, z = chosen?.[2] ? +chosen[2] - 1 : a;
    const arrived = useRef("");
    useEffect(() => {
        if (ready && a >= 0 && n && arrived.current !== attempt + hash.value) {
            arrived.current = attempt + hash.value;
            setFollow(false);
            toTop(a);
        }
    }, [ready, a, n, hash.value, height]);
    // With no line named, a log that was diagnosed opens at the line that says most.
    const led = useRef(false);
    useEffect(() => {
        if (ready && n && marks.length && a < 0 && !open && !led.current) {
            led.current = true;
            if ((box.current?.scrollTop ?? 0) < ROW)
                toTop(marks[0].line);
        }
    }, [ready, n, marks, height]);
    const pick = (line: number, e: MouseEvent) => {
        e.preventDefault();
        const text = e.shiftKey && a >= 0 ? `#L${Math.min(a, line) + 1}-${Math.max(a, line) + 1}` : `#L${line + 1}`;
        arrived.current = attempt + text;
        go(location.pathname + location.search + text, {replace: true, keepScroll: true});
    };

    // ---- search
    const running = useRef<AbortController | undefined>(undefined);
    const find = async (text: string, fold: boolean) => {
        running.current?.abort();
        setHits([]);
        setAt(-1);
        setSearching(null);
        if (text.length < 2)
            return;
        const stop = running.current = new AbortController();
        const all: number[] = [];
        setSearching(0);
        try {
            await source.search(text, {caseless: fold}, (more, done) => {
                if (stop.signal.aborted)
                    return false;
                const none = all.length === 0;
                all.push(...more.slice(0, HITS_MAX - all.length));
                setHits([...all]);
                setSearching(done);
                if (none && all.length) {
                    setAt(0);
                    setFollow(false);
                    toTop(all[0]);
                }
                return all.length < HITS_MAX;
            }, stop.signal);
        } catch (e) {
            if (!stop.signal.aborted)
                say((e as Error).message, true);
        }
        if (!stop.signal.aborted)
            setSearching(null);
    };
    const wait = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
    useEffect(() => {
        clearTimeout(wait.current);
        wait.current = setTimeout(() => void find(words, caseless), 250);
        return () => clearTimeout(wait.current);
    }, [words, caseless, source]);
    useEffect(() => () => running.current?.abort(), [source]);
    const hop = (by: number) => {
        if (hits.length === 0)
            return;
        const to = (at + by + hits.length) % hits.length;
        setAt(to);
        setFollow(false);
        toTop(hits[to]);
    };
    useKeys([
        {keys: "n", what: "Next find in the log", run: () => hop(1)},
        {keys: "N", what: "Previous find in the log", run: () => hop(-1)},
        {keys: "f", what: "Follow the log", run: () => setFollow(!follow)},
        {keys: "G", what: "End of the log", run: () => toTop(n - 1, 1)},
        {keys: "g g", what: "Beginning of the log", run: () => { setFollow(false); toTop(0); }},
    ]);

    if (error)
        return <p class="note">{error}</p>;
    const hitSet = new Set(hits), marked = new Map(marks.map((m) => [m.line, m.title]));
    const body = [];
    for (let i = first; i < last; i++) {
        const line = source.line(i), cls = ["ln"];
        if (i >= a && i <= z && a >= 0)
            cls.push("chosen");
        if (marked.has(i))
            cls.push("quoted");
        if (hits[at] === i)
            cls.push("hit");
        body.push(<div class={cls.join(" ")} key={i} title={marked.get(i)}>
            <a class="no" href={`#L${i + 1}`} data-native tabIndex={-1} aria-label={`Line ${i + 1}`} onClick={(e) => pick(i, e)}>{i + 1}</a>
            <span class="tx">{line === undefined ? <i class="d">…</i> : pieces(line.text).map((p) => <span class={p.cls}>{words.length > 1 && hitSet.has(i) ? found(p.text, words, caseless) : p.text}</span>)}</span></div>);
    }
    return <section class="log" aria-label="Log">
        <div class="logbar">
            <form class="find" role="search" onSubmit={(e) => { e.preventDefault(); hop(1); }}>
                <input type="search" data-search aria-label="Search in this log" placeholder="Search in this log" value={words} onInput={(e) => setWords(e.currentTarget.value)} />
                <button type="button" class="button small" aria-pressed={!caseless} title="Capital letters count" onClick={() => setCaseless(!caseless)}>Aa</button>
                <span class="num dim" aria-live="polite">{words.length > 1 && (hits.length ? `${at + 1} of ${count(hits.length)}${hits.length >= HITS_MAX ? "+" : ""}` : searching === null ? "nothing" : "")}{searching !== null && ` · ${Math.round(searching * 100)} %`}</span>
                {hits.length > 0 && <><button type="button" class="button small" aria-label="Previous find" onClick={() => hop(-1)}>↑</button><button type="button" class="button small" aria-label="Next find" onClick={() => hop(1)}>↓</button></>}
            </form>
            <span class="dim num">{count(n)} lines · {bytes(source.bytes)}</span>
            <div class="row">
                {open && <button type="button" class="button small" aria-pressed={follow} onClick={() => setFollow(!follow)}>Follow</button>}
                <button type="button" class="button small" aria-label="Beginning of the log" onClick={() => { setFollow(false); toTop(0); }}>⤒</button>
                <button type="button" class="button small" aria-label="End of the log" onClick={() => toTop(n - 1, 1)}>⤓</button>
                <a class="button small" href={`/api/v1/attempts/${attempt}/log`} target="_blank" rel="noreferrer">Raw</a>
            </div>
        </div>
        {!ready ? <Loading what="Opening the log" /> : n === 0 ? <p class="dim pad">{open ? "Nothing has been printed yet." : "Nothing was printed."}</p> :
            <div class="lines" ref={box} tabIndex={0} role="region" aria-label={`Lines of the log, ${n} in all`} onScroll={(e) => {
                const b = e.currentTarget;
                setTop(b.scrollTop);
                if (follow && b.scrollHeight - b.scrollTop - b.clientHeight > 60 && b.scrollTop < top)
                    setFollow(false);
            }}>
                <div class="tall" style={{height: `${tall}px`}}><div class="shown" style={{transform: `translateY(${shift}px)`}}>{body}</div></div>
            </div>}
    </section>;
}

/** Feeds what the stream brings into the source. */
function useStream(source: LogSource | null) {
    useEffect(() => {
        if (!source || source.ended)
            return;
        let es: EventSource | null = null, timer: ReturnType<typeof setTimeout>;
        const open = () => {
            clearTimeout(timer);
            if (es || document.hidden)
                return;
            es = new EventSource(`/api/v1/attempts/${source.attempt}/log/stream?offset=${source.bytes}`);
            es.addEventListener("log", (m) => { const d = JSON.parse((m as MessageEvent).data); source.append(d.text, d.next_offset); });
            es.addEventListener("end", () => { source.ended = true; es?.close(); es = null; });
            es.onerror = () => { es?.close(); es = null; if (!source.ended) timer = setTimeout(open, 1500); };
        };
        const seen = () => { if (document.hidden) { es?.close(); es = null; } else open(); };
        document.addEventListener("visibilitychange", seen);
        open();
        return () => { document.removeEventListener("visibilitychange", seen); clearTimeout(timer); es?.close(); };
    }, [source]);
}

function found(text: string, words: string, caseless: boolean) {
    const out = [], hay = caseless ? text.toLowerCase() : text, w = caseless ? words.toLowerCase() : words;
    let at = 0;
    for (let i = hay.indexOf(w); i >= 0; i = hay.indexOf(w, i + w.length)) {
        out.push(text.slice(at, i), <mark>{text.slice(i, i + w.length)}</mark>);
        at = i + w.length;
    }
    out.push(text.slice(at));
    return out;
}
