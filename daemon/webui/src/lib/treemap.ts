// treemap.ts - a rectangle cut into areas by weight, as square as may be (Bruls, Huizing, van Wijk). Pure.
export interface Box<T> { x: number; y: number; w: number; h: number; item: T }

export function squarify<T>(items: {weight: number; item: T}[], w: number, h: number): Box<T>[] {
    const rest = items.filter((i) => i.weight > 0).sort((a, b) => b.weight - a.weight), total = rest.reduce((s, i) => s + i.weight, 0), out: Box<T>[] = [];
    if (total <= 0)
        return out;
    const scale = w * h / total;
    let x = 0, y = 0;
    for (let at = 0; at < rest.length;) {
        const short = Math.min(w, h);
        let n = 0, sum = 0, worst = Infinity;
        while (at + n < rest.length) {
            const s = sum + rest[at + n].weight * scale, big = rest[at].weight * scale, small = rest[at + n].weight * scale;
            const ratio = Math.max(short * short * big / (s * s), s * s / (short * short * small));
            if (ratio > worst)
                break;
            worst = ratio;
            sum = s;
            n++;
        }
        const thick = sum / short;
        let along = 0;
        for (let i = at; i < at + n; i++) {
            const len = rest[i].weight * scale / thick;
            out.push(w >= h ? {x, y: y + along, w: thick, h: len, item: rest[i].item} : {x: x + along, y, w: len, h: thick, item: rest[i].item});
            along += len;
        }
        if (w >= h) {
            x += thick;
            w -= thick;
        } else {
            y += thick;
            h -= thick;
        }
        at += n;
    }
    return out;
}
