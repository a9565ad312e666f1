// terms.tsx - the terms of a risk, each with its unit and its reason: chances, what multiplies them, what the time is made of.
import {about, number, percent} from "../lib/format.ts";

interface Term { name: string; value: number; why: string }
const titles: Record<string, string> = {paper: "Chance by the paper", organisation: "… by what was seen here", project: "… by this project", rest: "What did not change", hours: "Expected time to resolve"};
const small = (p: number) => p > 0 && p < 0.1 ? `${number(100 * p, 2)} %` : percent(p);
function shown({name, value, why}: Term): {title: string; value: string; why: string} {
    const words = why.replace(/\b[a-z]+_[a-z_]+\b/g, (w) => w.replace(/_/g, " "));
    if (name === "challenge") {                             // "Title (its/id): so much of what fails here; …"
        const cut = / \([^()]*\/[^()]*\): /.exec(words);
        return {title: cut ? words.slice(0, cut.index) : "challenge", value: `${percent(value)} of it`, why: cut ? words.slice(cut.index + cut[0].length) : words};
    }
    const title = titles[name] ?? name[0].toUpperCase() + name.slice(1).replace(/_/g, " ");
    if (name === "hours")
        return {title, value: about(value * 3600000), why: words};
    if (["paper", "organisation", "project"].includes(name))
        return {title, value: small(value), why: words};
    return {title, value: `odds × ${number(value, 3)}`, why: words.replace(/^odds × [\d.]+: /, "").replace(/^not so: /, "not the case: ")};
}
export function Terms({terms}: {terms: Term[]}) {
    return <dl class="terms">{terms.map(shown).map((t, i) => <div key={i}><dt>{t.title}</dt><dd class="num">{t.value}</dd><dd class="why">{t.why}</dd></div>)}</dl>;
}
