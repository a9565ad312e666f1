// logsource.ts - a log of any size as lines by number, without holding it. The daemon tells places (offset, newlines before it); the piece between two
// places is fetched when one of its lines is wanted, and the least lately used pieces are forgotten. A running attempt's log grows at the end by the
// stream. Nothing here draws.
//
// A piece owns the lines that begin in it. It is fetched from one byte earlier (is that a newline? then a line begins at its first byte) to some way
// beyond its end, so that its last line is whole; what is longer than that is cut, and the line says so.
import {raw} from "./api.ts";
import {bare} from "./ansi.ts";

interface Index { bytes: number; newlines: number; complete: boolean; ended: boolean; places: [number, number][] }
export interface Line { text: string; offset: number }
const BEYOND = 16 << 10, KEPT = 48, LIMIT = 4 << 20, SPAN = 256 << 10, SEARCHED = 4 << 20;

export class LogSource {
    private places: [number, number][] = [[0, 0]];
    private pieces = new Map<number, {first: number; lines: Line[]; end: number}>();
    private wanted = new Map<number, Promise<void>>();
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

    private async fetchRange(offset: number, length: number): Promise<Uint8Array> {
        const parts: Uint8Array[] = [];
        let got = 0;
        while (got < length) {
            const a = await raw("GET", `/api/v1/attempts/${this.attempt}/log?offset=${offset + got}&limit=${Math.min(LIMIT, length - got)}`, undefined, this.stop.signal);
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

    line(n: number): Line | undefined {
        for (let i = this.pieceOfLine(n); i >= 0 && i >= this.pieceOfLine(n) - 1; i--) {
            const p = this.pieces.get(i);
            if (p && n >= p.first && n < p.first + p.lines.length) {
                this.pieces.delete(i);
                this.pieces.set(i, p);                      // used last
                return p.lines[n - p.first];
            }
        }
        return undefined;
    }

    /** Sees to it that lines from..to come; `changed` is called when they have. */
    want(from: number, to: number) {
        if (this.count === 0)
            return;
        const a = Math.max(0, this.pieceOfLine(Math.max(0, from)) - (this.line(Math.max(0, from)) ? 0 : 1));
        const b = this.pieceOfLine(Math.min(to, this.count - 1));
        for (let i = b; i >= a && b - i < 6; i--)
            void this.load(i);
    }
    async load(i: number): Promise<void> {
        if (this.pieces.has(i) && !(i === this.places.length - 1 && this.pieces.get(i)!.end < this.bytes))
            return;
        const known = this.wanted.get(i);
        if (known)
            return known;
        const p = this.fetchPiece(i).finally(() => this.wanted.delete(i));
        this.wanted.set(i, p);
        return p.catch(() => { /* asked for again when it is wanted again */ });
    }
    private async fetchPiece(i: number) {
        const [start, before] = this.places[i], next = this.places[i + 1], last = !next, end = next ? next[0] : this.bytes;
        const from = Math.max(0, start - 1);
        const b = await this.fetchRange(from, end - from + (last ? 0 : BEYOND));
        const decoder = new TextDecoder();
        let at = start - from, first = before;
        if (start > 0 && b[0] !== 10) {                     // a line that began earlier goes on here
            const nl = b.indexOf(10, at);
            at = nl < 0 ? b.length : nl + 1;
            first++;
        }
        const lines: Line[] = [];
        while (at < b.length && from + at < end) {
            const nl = b.indexOf(10, at), stop = nl < 0 ? b.length : nl;
            let text = decoder.decode(b.subarray(at, Math.min(stop, at + 65536)));
            if (stop - at > 65536 || nl < 0 && !last)
                text += " …";
            lines.push({text, offset: from + at});
            at = stop + 1;
        }
        this.pieces.delete(i);
        this.pieces.set(i, {first, lines, end});
        while (this.pieces.size > KEPT)
            this.pieces.delete(this.pieces.keys().next().value!);
        this.changed();
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
            const joined = (this.lastIsOpen ? p.lines.pop()?.text ?? "" : "") + text, rows = joined.split("\n");
            let offset = this.bytes;                        // near enough for lines that are still growing; exact again when it is fetched anew
            if (rows[rows.length - 1] === "")
                rows.pop();
            for (const r of rows) {
                p.lines.push({text: r.length > 65536 ? r.slice(0, 65536) + " …" : r, offset});
                offset += r.length + 1;
            }
            p.end = next;
        }
        this.newlines += fresh;
        this.bytes = next;
        this.lastIsOpen = !text.endsWith("\n");
        if (next - this.places[tail][0] > 2 * SPAN && !this.lastIsOpen)
            this.places.push([next, this.newlines]);
        this.changed();
    }

    /** The line that the byte at `offset` is in. */
    async lineOfOffset(offset: number): Promise<number> {
        let i = this.places.length - 1;
        while (i > 0 && this.places[i][0] > offset)
            i--;
        for (; i >= 0; i--) {
            await this.load(i);
            const p = this.pieces.get(i);
            if (!p || p.lines.length === 0 || p.lines[0].offset > offset)
                continue;
            let lo = 0, hi = p.lines.length - 1;
            while (lo < hi) {
                const mid = (lo + hi + 1) >> 1;
                if (p.lines[mid].offset <= offset)
                    lo = mid;
                else
                    hi = mid - 1;
            }
            return p.first + lo;
        }
        return 0;
    }

    /** Every line that holds `needle`, in order, by reading the log from its beginning in bounded pieces; `found` may return false to end it. */
    async search(needle: string, opts: {caseless: boolean}, found: (hits: number[], done: number) => boolean | void, stop: AbortSignal) {
        const decoder = new TextDecoder(), what = opts.caseless ? needle.toLowerCase() : needle;
        let offset = 0, line = 0, rest = "";
        // The next piece is on its way while this one is looked through.
        const piece = () => { const p = offset < this.bytes ? this.fetchRange(offset, Math.min(SEARCHED, this.bytes - offset)) : null; p?.catch(() => { /* told when it is waited for */ }); return p; };
        let next = piece();
        while (next && !stop.aborted) {
            const b = await next;
            if (b.length === 0)
                break;
            offset += b.length;
            next = piece();
            let text = rest + decoder.decode(b, {stream: true});
            const cut = offset < this.bytes ? text.lastIndexOf("\n") + 1 : text.length;
            rest = text.slice(cut);
            if (rest.length > 1 << 20)
                rest = "";                                  // one endless line: its head is lost to the search, not the browser's memory
            text = bare(text.slice(0, cut));
            const hay = opts.caseless ? text.toLowerCase() : text, hits: number[] = [];
            let at = 0, n = line;
            for (let i = hay.indexOf(what); i >= 0; i = hay.indexOf(what, i + 1)) {
                for (let nl = hay.indexOf("\n", at); nl >= 0 && nl < i; nl = hay.indexOf("\n", at)) {
                    n++;
                    at = nl + 1;
                }
                if (hits[hits.length - 1] !== n)
                    hits.push(n);
            }
            for (let nl = hay.indexOf("\n"); nl >= 0; nl = hay.indexOf("\n", nl + 1))
                line++;
            if (found(hits, offset / this.bytes) === false)
                return;
            await new Promise((r) => setTimeout(r));
        }
    }
}
