// logsource.ts - a log of any size as lines by number, without holding it. The daemon tells places (offset, newlines before it); the piece between two
// places is fetched when one of its lines is wanted, and the least lately used pieces are forgotten. A running attempt's log grows at the end by the
// stream. Searching is the daemon's: it tells line numbers. Nothing here draws.
//
// A piece owns the lines that begin in it. It is fetched from one byte earlier (is that a newline? then a line begins at its first byte) to some way
// beyond its end, so that its last line is whole; what is longer than that is cut, and the line says so.
import {busy, Problem, raw} from "./api.ts";

interface Index { bytes: number; newlines: number; complete: boolean; ended: boolean; places: [number, number][] }
/** Lines are kept as they came, and made text when one is looked at: a piece has some ten thousand, a screen forty. `starts` are places in `bytes`; what came by the stream is `more`. */
interface Piece { first: number; end: number; bytes: Uint8Array; starts: Uint32Array; n: number; stop: number; cut: boolean; more: string[] }
const decoder = new TextDecoder(), LONGEST = 65536;
function textOf(p: Piece, i: number): string {
    if (i >= p.n)
        return p.more[i - p.n];
    const from = p.starts[i], to = i + 1 < p.n ? p.starts[i + 1] - 1 : p.stop;
    return decoder.decode(p.bytes.subarray(from, Math.min(to, from + LONGEST))) + (to - from > LONGEST || p.cut && i === p.n - 1 ? " …" : "");
}
const BEYOND = 16 << 10, KEPT = 48, LIMIT = 4 << 20, SPAN = 256 << 10, FLYING = 4, BEHIND = 4 << 20;
/** So many lines a search tells at once; it goes on from there when they are walked through. */
export const HITS = 5000;

export class LogSource {
    private places: [number, number][] = [[0, 0]];
    private pieces = new Map<number, Piece>();
    private wanted = new Map<number, {promise: Promise<void>; stop: AbortController}>();
    private stop = new AbortController();
    bytes = 0; newlines = 0; ended = false; lastIsOpen = false;

    constructor(readonly attempt: number, private changed: () => void) {}
    close() { this.stop.abort(); }

    async open() {
        const index = await (await raw("GET", `/api/v1/attempts/${this.attempt}/log/index`, undefined, this.stop.signal)).json() as Index;
        // Places closer together than SPAN are one: fewer, larger requests.
        const places: [number, number][] = [];
        for (const p of index.places)
            if (places.length === 0 || p[0] - places[places.length - 1][0] >= SPAN || places.length === 1 && places[0][0] === p[0])
                places.push(p);
        this.places = places.length ? places : [[0, 0]];
        this.bytes = index.bytes;
        this.newlines = index.newlines;
        this.ended = index.ended;
        this.pieces.clear();
        await this.seeTail();
        this.changed();
    }
    /** Is there text behind the last newline? */
    private async seeTail() {
        this.lastIsOpen = false;
        if (this.bytes === 0)
            return;
        const t = await this.fetchRange(this.bytes - 1, 1);
        this.lastIsOpen = t[0] !== 10;
    }
    get count() { return this.newlines + (this.lastIsOpen ? 1 : 0); }

    private async fetchRange(offset: number, length: number, stop = this.stop.signal): Promise<Uint8Array> {
        const parts: Uint8Array[] = [];
        let got = 0;
        while (got < length) {
            const a = await raw("GET", `/api/v1/attempts/${this.attempt}/log?offset=${offset + got}&limit=${Math.min(LIMIT, length - got)}`, undefined, stop);
            const b = new Uint8Array(await a.arrayBuffer());
            if (b.length === 0)
                break;
            parts.push(b);
            got += b.length;
        }
        if (parts.length === 1)
            return parts[0];
        const all = new Uint8Array(got);
        let at = 0;
        for (const p of parts) {
            all.set(p, at);
            at += p.length;
        }
        return all;
    }

    /** The piece that line `n` (from 0) begins in. */
    private pieceOfLine(n: number): number {
        let lo = 0, hi = this.places.length - 1;
        while (lo < hi) {                                   // the last place with fewer newlines before it than n; a line may begin at a place exactly
            const mid = (lo + hi + 1) >> 1;
            if (this.places[mid][1] <= n)
                lo = mid;
            else
                hi = mid - 1;
        }
        return lo;
    }

    line(n: number): string | undefined {
        for (let i = this.pieceOfLine(n); i >= 0 && i >= this.pieceOfLine(n) - 1; i--) {
            const p = this.pieces.get(i);
            if (p && n >= p.first && n < p.first + p.n + p.more.length) {
                this.pieces.delete(i);
                this.pieces.set(i, p);                      // used last
                return textOf(p, n - p.first);
            }
        }
        return undefined;
    }
    private has(n: number) { return [0, 1].some((back) => { const p = this.pieces.get(this.pieceOfLine(n) - back); return p && n >= p.first && n < p.first + p.n + p.more.length; }); }

    /** Sees to it that lines from..to come and, once they are there, what lies before and behind, farther the way one goes (`way`: -1 up, 1 down); `changed` is called when
     * they have. What nobody looks at any more (a scroll bar that is dragged passes hundreds of pieces) is let go when too much is on its way. */
    want(from: number, to: number, way = 0) {
        if (this.count === 0)
            return;
        const last = this.places.length - 1, a = Math.max(0, this.pieceOfLine(Math.max(0, from)) - (this.has(Math.max(0, from)) ? 0 : 1)), b = this.pieceOfLine(Math.min(to, this.count - 1));
        const list: number[] = [];
        for (let i = b; i >= a && b - i < 6; i--)
            list.push(i);
        if (list.every((i) => this.pieces.has(i)))
            for (const i of [b + 1, a - 1, way > 0 ? b + 2 : way < 0 ? a - 2 : -1])
                if (i >= 0 && i <= last)
                    list.push(i);
        for (const [i, w] of this.wanted)
            if (this.wanted.size > FLYING && !list.includes(i)) {
                w.stop.abort();
                this.wanted.delete(i);
            }
        for (const i of list)
            void this.load(i);
    }
    async load(i: number): Promise<void> {
        if (this.pieces.has(i) && !(i === this.places.length - 1 && this.pieces.get(i)!.end < this.bytes))
            return;
        const known = this.wanted.get(i);
        if (known)
            return known.promise;
        const stop = new AbortController(), end = () => stop.abort();
        this.stop.signal.addEventListener("abort", end, {once: true});
        const promise = this.fetchPiece(i, stop.signal).catch((e) => { if (e.name !== "AbortError" && !this.stop.signal.aborted) setTimeout(this.changed, 2000); /* who still wants it asks again */ }).finally(() => {
            this.stop.signal.removeEventListener("abort", end);
            if (this.wanted.get(i)?.stop === stop)
                this.wanted.delete(i);
        });
        this.wanted.set(i, {promise, stop});
        return promise;
    }
    private async fetchPiece(i: number, signal: AbortSignal) {
        const [start, before] = this.places[i], next = this.places[i + 1], last = !next, end = next ? next[0] : this.bytes;
        const from = Math.max(0, start - 1);
        const b = await this.fetchRange(from, end - from + (last ? 0 : BEYOND), signal);
        let at = start - from, first = before, n = 0, stop = b.length, cut = false, starts = new Uint32Array(4096);
        if (start > 0 && b[0] !== 10) {                     // a line that began earlier goes on here
            const nl = b.indexOf(10, at);
            at = nl < 0 ? b.length : nl + 1;
            first++;
        }
        while (at < b.length && from + at < end) {
            const nl = b.indexOf(10, at);
            if (n === starts.length) {
                const more = new Uint32Array(2 * n);
                more.set(starts);
                starts = more;
            }
            starts[n++] = at;
            stop = nl < 0 ? b.length : nl;
            cut = nl < 0 && !last;
            at = stop + 1;
        }
        this.keep(i, {first, end, bytes: b, starts: starts.slice(0, n), n, stop, cut, more: []});
        this.changed();
    }
    private keep(i: number, piece: Piece) {
        this.pieces.delete(i);
        this.pieces.set(i, piece);
        while (this.pieces.size > KEPT)
            this.pieces.delete(this.pieces.keys().next().value!);
    }
    /** After a while without the stream: what came meanwhile is not streamed through when it is much; it is looked up when somebody scrolls there. */
    async catchUp() {
        const index = await (await raw("GET", `/api/v1/attempts/${this.attempt}/log/index?places=1`, undefined, this.stop.signal)).json() as Index;
        if (index.bytes > this.bytes + BEHIND)
            await this.open();
    }

    /** Text that came by the stream; `next` is the offset behind it. */
    append(text: string, next: number) {
        if (next <= this.bytes)
            return;
        let fresh = 0;
        for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1))
            fresh++;
        const tail = this.places.length - 1, p = this.pieces.get(tail);
        if (p && p.end === this.bytes) {
            let open = "";
            if (this.lastIsOpen && p.n + p.more.length) {
                open = textOf(p, p.n + p.more.length - 1);
                if (p.more.length)
                    p.more.pop();
                else {
                    p.n--;
                    p.stop = p.n ? p.starts[p.n] - 1 : 0;
                    p.cut = false;
                }
            }
            const rows = (open + text).split("\n");
            if (rows[rows.length - 1] === "")
                rows.pop();
            for (const r of rows)
                p.more.push(r.length > LONGEST ? r.slice(0, LONGEST) + " …" : r);
            p.end = next;
        }
        this.newlines += fresh;
        this.bytes = next;
        this.lastIsOpen = !text.endsWith("\n");
        if (next - this.places[tail][0] > 2 * SPAN && !this.lastIsOpen) {
            this.places.push([next, this.newlines]);
            this.keep(tail + 1, {first: this.newlines, end: next, bytes: new Uint8Array(0), starts: new Uint32Array(0), n: 0, stop: 0, cut: false, more: []});      // what comes next goes on from here, and need not be fetched
        }
        this.changed();
    }

    /** The lines that hold `text`, as the daemon finds them, from a place where a line begins; `found` gets them piece by piece with the share of the log that has been
     * looked through. Tells where it ended: a search that was cut at the daemon's limit goes on there, and one of a log that grew. Aborting it ends it there too. */
    async search(text: string, how: {caseless: boolean; offset?: number; line?: number}, found: (lines: number[], done: number) => void, stop: AbortSignal): Promise<{offset: number; line: number; cut: boolean}> {
        const url = `/api/v1/attempts/${this.attempt}/log/search?` + new URLSearchParams({q: text, case: how.caseless ? "any" : "exact", offset: String(how.offset ?? 0), line: String(how.line ?? 0), limit: String(HITS)});
        let answer: Response | undefined;
        for (let tries = 0; !answer; tries++)
            try {
                answer = await raw("GET", url, undefined, stop);
            } catch (e) {
                if (!busy(e as Problem) || tries === 8)     // others search just now
                    throw e;
                await new Promise((r) => setTimeout(r, 300 + 200 * tries));
                if (stop.aborted)
                    throw new DOMException("no longer wanted", "AbortError");
            }
        const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
            const {value, done} = await reader.read();
            if (done)
                throw new Problem(0, "The search ended before the log did; search again.");
            const rows = (rest + value).split("\n");
            rest = rows.pop()!;
            for (const row of rows) {
                const o = JSON.parse(row) as {lines: number[]; offset: number; line: number; over?: boolean; cut?: boolean; error?: string};
                if (o.lines.length || !o.over)
                    found(o.lines, this.bytes ? Math.min(1, o.offset / this.bytes) : 1);
                if (o.error)
                    throw new Problem(503, `The search ended early: ${o.error}.`);
                if (o.over)
                    return {offset: o.offset, line: o.line, cut: Boolean(o.cut)};
            }
        }
    }
}
