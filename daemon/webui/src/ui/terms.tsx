// terms.tsx - the terms of a risk, each with its reason.
import {number} from "../lib/format.ts";

interface Term { name: string; value: number; why: string }
export function Terms({terms}: {terms: Term[]}) {
    return <dl class="terms">{terms.map((t) => <div key={t.name}><dt>{t.name.replace(/_/g, " ")}</dt><dd class="num">{number(t.value)}</dd><dd class="why">{t.why}</dd></div>)}</dl>;
}

