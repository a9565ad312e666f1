// ansi.ts - a log line as safe pieces: SGR colours become classes, everything else that a terminal would obey is taken out. Text only, never HTML. Pure.
export interface Piece { text: string; cls: string }
const LINE_MAX = 4000;

// What overwrote itself by carriage returns is shown as it stood in the end.
export function settle(line: string): string {
    if (line.endsWith("\r"))
        line = line.slice(0, -1);
    const at = line.lastIndexOf("\r");
    return at < 0 ? line : line.slice(at + 1) || line.slice(line.lastIndexOf("\r", at - 1) + 1, at);
}

const escape = /\x1b(?:\[([0-9;:?<=>]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])/g;
const control = /[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;   // also what would turn the reading direction

export function pieces(line: string): Piece[] {
    let text = settle(line), cut = 0;
    if (text.length > LINE_MAX) {
        cut = text.length - LINE_MAX;
        text = text.slice(0, LINE_MAX);
    }
    const out: Piece[] = [];
    let fg = "", bold = false, dim = false, under = false, at = 0;
    const put = (t: string) => {
        t = t.replace(control, "");
        if (t)
            out.push({text: t, cls: [fg, bold && "b", dim && "d", under && "u"].filter(Boolean).join(" ")});
    };
    for (const m of text.matchAll(escape)) {
        put(text.slice(at, m.index));
        at = m.index + m[0].length;
        if (m[2] !== "m")
            continue;
        const codes = (m[1] || "0").split(/[;:]/).map(Number);
        for (let i = 0; i < codes.length; i++) {
            const c = codes[i];
            if (c === 0) { fg = ""; bold = dim = under = false; }
            else if (c === 1) bold = true;
            else if (c === 2) dim = true;
            else if (c === 4) under = true;
            else if (c === 22) bold = dim = false;
            else if (c === 24) under = false;
            else if (c === 39) fg = "";
            else if (c >= 30 && c <= 37) fg = "a" + (c - 30);
            else if (c >= 90 && c <= 97) fg = "a" + (c - 90);
            else if (c === 38 || c === 48) {
                const n = codes[i + 1] === 5 ? codes[i + 2] : -1;
                if (c === 38)
                    fg = n >= 0 && n < 16 ? "a" + n % 8 : "";        // the sixteen that a theme knows; others keep the ink, for contrast
                i += codes[i + 1] === 5 ? 2 : 4;
            }
        }
    }
    put(text.slice(at));
    if (cut)
        out.push({text: ` … ${cut} more characters`, cls: "d"});
    return out;
}
