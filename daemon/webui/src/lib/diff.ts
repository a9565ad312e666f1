// diff.ts - what differs between two texts, by line (Myers, bounded), and between two trees of facts. Pure.
export interface Row { kind: " " | "+" | "-"; text: string }
const MOST = 4000;

export function diff(before: string, after: string): Row[] | null {
    const a = before.split("\n"), b = after.split("\n"), n = a.length, m = b.length, limit = n + m;
    if (limit > MOST)
        return null;
    const trace: Map<number, number>[] = [];
    const v = new Map<number, number>([[1, 0]]);
    for (let d = 0; d <= limit; d++) {
        trace.push(new Map(v));
        for (let k = -d; k <= d; k += 2) {
            let x = k === -d || k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1) ? v.get(k + 1)! : v.get(k - 1)! + 1, y = x - k;
            while (x < n && y < m && a[x] === b[y]) {
                x++;
                y++;
            }
            v.set(k, x);
            if (x >= n && y >= m) {
                const out: Row[] = [];
                for (let e = d; e >= 0; e--) {
                    const w = trace[e], kk = x - y;
                    const from = kk === -e || kk !== e && (w.get(kk - 1) ?? -1) < (w.get(kk + 1) ?? -1) ? kk + 1 : kk - 1;
                    const px = e === 0 ? 0 : w.get(from)!, py = e === 0 ? 0 : px - from;
                    while (x > px && y > py) {
                        out.push({kind: " ", text: a[--x]});
                        y--;
                    }
                    if (e > 0)
                        out.push(x === px ? {kind: "+", text: b[--y]} : {kind: "-", text: a[--x]});
                }
                return out.reverse();
            }
        }
    }
    return null;
}

export function flatten(o: unknown, prefix = "", into: Record<string, string> = {}): Record<string, string> {
    if (o !== null && typeof o === "object" && !Array.isArray(o))
        for (const [k, v] of Object.entries(o))
            flatten(v, prefix ? `${prefix}.${k}` : k, into);
    else
        into[prefix] = Array.isArray(o) ? o.map(String).join(", ") : String(o);
    return into;
}
export function changed(before: Record<string, string>, after: Record<string, string>): [string, string, string][] {
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().filter((k) => before[k] !== after[k]).map((k) => [k, before[k] ?? "–", after[k] ?? "–"]);
}
