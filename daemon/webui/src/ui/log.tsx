// log.tsx - a log, of any size: only the lines in sight are in the document. Search (the daemon looks, this walks through), colours, links to lines
// (#L12, #L12-20), follow, marks of the diagnosis. The scroll box is as tall as all lines together up to what browsers can make. Of a longer log the scroll bar
// is a map: dragging it goes to that share of the log, but wheel, keys and fingers move by lines as anywhere else, and the bar is set right when they rest.
import {useEffect, useMemo, useRef, useState} from "preact/hooks";
import {LogSource} from "../lib/logsource.ts";
import {type Problem, whoIsThere} from "../lib/api.ts";
import {pieces} from "../lib/ansi.ts";
import {bytes, count} from "../lib/format.ts";
import {go, hash} from "../lib/router.ts";
import {Loading, say} from "./basics.tsx";
import {useKeys} from "./keys.tsx";

const ROW = 19, TALLEST = 8_000_000, OVER = 24, RUNWAY = 3000, REST_MS = 200, KEPT_HITS = 100_000;
export interface Mark { line: number; offset?: number; title: string }

export function Log({attempt, open, marks}: {attempt: number; open: boolean; marks: Mark[]}) {
    const [, draw] = useState(0), [error, setError] = useState<Problem>(), [ready, setReady] = useState(false), [round, setRound] = useState(0);
    const frame = useRef(0);
    const redraw = () => { if (!frame.current) frame.current = requestAnimationFrame(() => { frame.current = 0; draw((n) => n + 1); }); };
    const source = useMemo(() => new LogSource(attempt, redraw), [attempt, round]);
    const box = useRef<HTMLDivElement>(null);
    const [height, setHeight] = useState(480), [follow, setFollow] = useState(open && !hash.value);
    const [words, setWords] = useState(""), [caseless, setCaseless] = useState(true);
    const [hits, setHits] = useState<number[]>([]), [at, setAt] = useState(-1), [searching, setSearching] = useState<number | null>(null);

    useEffect(() => {
        setReady(false);
        setError(undefined);
        source.open().then(() => setReady(true), (e) => { if (e.name !== "AbortError") setError(e); });
        return () => { source.close(); cancelAnimationFrame(frame.current); frame.current = 0; };
    }, [source]);
    // What was followed is followed to its end, also when the page hears sooner that the stage is over than the stream brings the last lines.
    const followed = useRef<LogSource | null>(null);
    if (open)
        followed.current = source;
    useStream(ready && followed.current === source ? source : null);

    // ---- where we are: `pos` is the line at the upper edge, with its fraction; `seen` the scroll box as it stood when pos was right
    const n = source.count, real = n * ROW, tall = Math.min(real, TALLEST), scaled = real > tall;
    const pos = useRef(0), seen = useRef(0), way = useRef(0), rest = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
    const most = Math.max(0, n - height / ROW), rows = Math.ceil(height / ROW) + 1;
    const first = scaled ? Math.min(Math.floor(pos.current), Math.max(0, n - rows)) : Math.max(0, Math.floor(pos.current) - OVER);
    const last = Math.min(n, scaled ? first + rows : Math.floor(pos.current) + rows + OVER);
    const shift = scaled ? (first - Math.min(pos.current, most)) * ROW : first * ROW;
    useEffect(() => { if (ready && n) source.want(first, last - 1, way.current); });
    useEffect(() => {
        const b = box.current;
        if (!b)
            return;
        const see = new ResizeObserver(() => setHeight(b.clientHeight));
        see.observe(b);
        return () => see.disconnect();
    }, [ready, n === 0]);
    // By the box's own height: the state may be a frame behind. A scaled box keeps a way to go at both ends, so that small steps are never stopped short of the first line or the last.
    const place = (b: HTMLElement) => {
        const room = tall - b.clientHeight, end = Math.max(0, n - b.clientHeight / ROW);
        const want = !scaled ? pos.current * ROW : pos.current <= 0 ? 0 : pos.current >= end ? room : RUNWAY + (room - 2 * RUNWAY) * pos.current / end;
        b.scrollTop = want;
        seen.current = b.scrollTop;
    };
    const moveTo = (line: number) => {
        const b = box.current;
        if (!b)
            return;
        const to = Math.max(0, Math.min(line, n - b.clientHeight / ROW));
        way.current = Math.sign(to - pos.current);
        pos.current = to;
        place(b);
        draw((x) => x + 1);
    };
    const toTop = (line: number, where = 0.35) => moveTo(Math.max(0, Math.min(n - 1, line) - Math.floor((box.current?.clientHeight ?? height) / ROW * where)));
    const scrolled = (b: HTMLElement) => {
        const by = b.scrollTop - seen.current, end = Math.max(0, n - b.clientHeight / ROW), before = pos.current, room = tall - b.clientHeight;
        if (Math.abs(by) < 0.5)
            return;
        seen.current = b.scrollTop;
        if (!scaled)
            pos.current = b.scrollTop / ROW;
        else if (Math.abs(by) <= 3 * b.clientHeight)
            pos.current = Math.max(0, Math.min(end, before + by / ROW));
        else
            pos.current = Math.max(0, Math.min(end, end * (b.scrollTop - RUNWAY) / (room - 2 * RUNWAY)));
        way.current = Math.sign(pos.current - before);
        if (follow && by < 0 && end - pos.current > 3)
            setFollow(false);
        if (scaled) {
            clearTimeout(rest.current);
            if (b.scrollTop <= 0 && pos.current > 0 || b.scrollTop >= room - 1 && pos.current < end)
                place(b);
            else
                rest.current = setTimeout(() => place(b), REST_MS);
        }
        draw((x) => x + 1);
    };
    useEffect(() => () => clearTimeout(rest.current), []);
    useEffect(() => {
        if (!ready || !box.current)
            return;
        if (follow)
            moveTo(n);
        else if (scaled)
            place(box.current);
    }, [n, follow, ready, height]);

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
            if (pos.current < 1)
                toTop(marks[0].line);
        }
    }, [ready, n, marks, height]);
    const pick = (line: number, e: MouseEvent) => {
        e.preventDefault();
        const text = e.shiftKey && a >= 0 ? `#L${Math.min(a, line) + 1}-${Math.max(a, line) + 1}` : `#L${line + 1}`;
        arrived.current = attempt + text;
        go(location.pathname + location.search + text, {replace: true, keepScroll: true});
    };

    // ---- search: the first find from here on is shown as soon as it is known
    const running = useRef<AbortController | undefined>(undefined), went = useRef<{offset: number; line: number; cut: boolean} | null>(null), chosenHit = useRef(-1);
    const find = async (text: string, fold: boolean, from: {offset: number; line: number} | null, before: number[]) => {
        running.current?.abort();
        const stop = running.current = new AbortController(), all = before, here = from ? -1 : Math.floor(pos.current);
        if (!from) {
            setHits([]);
            setAt(chosenHit.current = -1);
        }
        setSearching(null);
        went.current = null;
        if (text.length < 2)
            return;
        setSearching(0);
        const choose = (i: number) => { setAt(chosenHit.current = i); setFollow(false); toTop(all[i]); };
        try {
            went.current = await source.search(text, {caseless: fold, ...from}, (lines, done) => {
                if (stop.signal.aborted)
                    return;
                for (const l of lines)
                    if (all.length === 0 || l > all[all.length - 1])
                        all.push(l);
                if (lines.length)
                    setHits([...all]);
                setSearching(done);
                if (chosenHit.current < 0 && all.length && all[all.length - 1] >= here && !from)
                    choose(all.findIndex((l) => l >= here));
            }, stop.signal);
            if (!stop.signal.aborted && chosenHit.current < 0 && all.length && !from)
                choose(0);
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
        if (ready)                                          // where "from here on" is, is known then
            wait.current = setTimeout(() => void find(words, caseless, null, []), 200);
        return () => clearTimeout(wait.current);
    }, [words, caseless, source, ready]);
    useEffect(() => () => running.current?.abort(), [source]);
    // A log that grows is looked through as it grows.
    useEffect(() => {
        if (!open || words.length < 2 || searching !== null || !went.current || went.current.cut || went.current.offset >= source.bytes)
            return;
        const t = setTimeout(() => { if (went.current) void find(words, caseless, went.current, [...hits]); }, 1000);
        return () => clearTimeout(t);
    }, [source.bytes, searching]);
    const cut = searching === null && Boolean(went.current?.cut);
    const hop = (by: number) => {
        if (hits.length === 0)
            return;
        const end = by > 0 && at === hits.length - 1;
        if (end && cut && hits.length < KEPT_HITS) {        // the daemon told as many as it does at once: on from there
            const had = hits.length, more = [...hits];
            void find(words, caseless, went.current, more).then(() => { if (more.length > had) { setAt(chosenHit.current = had); toTop(more[had]); } });
            return;
        }
        const to = (at + by + hits.length) % hits.length;
        setAt(chosenHit.current = to);
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

    const hitSet = useMemo(() => new Set(hits), [hits]), marked = useMemo(() => new Map(marks.map((m) => [m.line, m.title])), [marks]);
    if (error)
        return <p class="note">{error.message} {error.status !== 410 && error.status !== 404 && <button type="button" class="link" onClick={() => setRound(round + 1)}>Try again</button>}</p>;
    const body = [];
    for (let i = first; i < last; i++) {
        const line = source.line(i), cls = ["ln"];
        if (i >= a && i <= z && a >= 0)
            cls.push("chosen");
        if (marked.has(i))
            cls.push("quoted");
        if (hitSet.has(i))
            cls.push(hits[at] === i ? "has hit" : "has");
        body.push(<div class={cls.join(" ")} key={i} title={marked.get(i)}>
            <a class="no" href={`#L${i + 1}`} data-native tabIndex={-1} aria-label={`Line ${i + 1}`} onClick={(e) => pick(i, e)}>{i + 1}</a>
            <span class="tx">{line === undefined ? <i class="d">…</i> : pieces(line).map((p) => <span class={p.cls}>{words.length > 1 && hitSet.has(i) ? found(p.text, words, caseless) : p.text}</span>)}</span></div>);
    }
    return <section class="log" aria-label="Log">
        <div class="logbar">
            <form class="find" role="search" onSubmit={(e) => { e.preventDefault(); hop(1); }} onKeyDown={(e) => { if (e.key === "Enter" && e.shiftKey) { e.preventDefault(); hop(-1); } else if (e.key === "Escape") setWords(""); }}>
                <input type="search" data-search aria-label="Search in this log" placeholder="Search in this log" value={words} maxLength={200} onInput={(e) => setWords(e.currentTarget.value)} />
                <button type="button" class="button small" aria-label="Capital letters count" aria-pressed={!caseless} title="Capital letters count" onClick={() => setCaseless(!caseless)}>Aa</button>
                <span class="num dim tally" aria-live="polite" title={cut ? `More than ${count(hits.length)} lines have it; the next find after the last of these looks on.` : undefined}>{words.length > 1 && (hits.length ? `${at + 1} of ${count(hits.length)}${cut ? "+" : ""}` : searching === null ? "nothing" : "")}{searching !== null && ` · ${Math.round(searching * 100)} %`}</span>
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
            <div class={`lines ${scaled ? "scaled" : ""}`} ref={box} tabIndex={0} role="region" aria-label={`Lines of the log, ${n} in all`} onScroll={(e) => scrolled(e.currentTarget)}
                onKeyDown={(e) => {
                    if ((e.key === "Home" || e.key === "End") && !e.shiftKey) {
                        e.preventDefault();
                        setFollow(false);
                        moveTo(e.key === "Home" ? 0 : n);
                    }
                }}>
                <div class="tall" style={{height: `${tall}px`}}><div class="stay" style={{height: scaled ? `${height}px` : "0"}}><div class="shown" style={{transform: `translateY(${shift}px)`}}>{body}</div></div></div>
            </div>}
    </section>;
}

/** Feeds what the stream brings into the source. A stream that breaks is opened again, ever more slowly; whether the session is still good is asked meanwhile. */
function useStream(source: LogSource | null) {
    useEffect(() => {
        if (!source || source.ended)
            return;
        let es: EventSource | null = null, timer: ReturnType<typeof setTimeout>, wait = 1000, gone = false;
        const open = async () => {
            clearTimeout(timer);
            if (es || document.hidden || source.ended)
                return;
            await source.catchUp().catch(() => { /* the stream tells */ });
            if (es || document.hidden || gone || source.ended)
                return;
            es = new EventSource(`/api/v1/attempts/${source.attempt}/log/stream?offset=${source.bytes}`);
            es.addEventListener("log", (m) => { const d = JSON.parse((m as MessageEvent).data); source.append(d.text, d.next_offset); });
            es.addEventListener("end", () => { source.ended = true; es?.close(); es = null; });
            es.onopen = () => { wait = 1000; };
            es.onerror = () => {
                es?.close();
                es = null;
                if (source.ended || gone)
                    return;
                void whoIsThere().catch(() => { /* told by what is away */ });
                timer = setTimeout(open, wait + 500 * Math.random());
                wait = Math.min(2 * wait, 15000);
            };
        };
        const seen = () => { if (document.hidden) { es?.close(); es = null; } else void open(); };
        const anew = () => { es?.close(); es = null; void open(); };   // a stream of the network before may hang without an error
        document.addEventListener("visibilitychange", seen);
        addEventListener("online", anew);
        void open();
        return () => { gone = true; document.removeEventListener("visibilitychange", seen); removeEventListener("online", anew); clearTimeout(timer); es?.close(); };
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
