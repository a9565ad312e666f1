// picker.tsx - choose a node of the knowledge base by its words: a text to narrow, and a list that arrow keys walk.
import {useMemo, useState} from "preact/hooks";
import {useGet, type Page} from "../lib/api.ts";
import {Failed, Field, Loading} from "./basics.tsx";

export interface Node { id: string; taxonomy: string; kind: string; parent: string | null; title: string; path: string; retired?: boolean | string | null; share?: number | null }

export function ChallengePicker({value, choose, label = "Challenge"}: {value: string; choose: (id: string) => void; label?: string}) {
    const list = useGet<Page<Node>>("/api/v1/kb/challenges"), [words, setWords] = useState("");
    const fits = useMemo(() => {
        const w = words.toLowerCase().split(/\s+/).filter(Boolean);
        return (list.data?.items ?? []).filter((c) => c.kind !== "root" && !c.retired && w.every((x) => `${c.path} ${c.id}`.toLowerCase().includes(x))).slice(0, 60);
    }, [list.data, words]);
    if (list.error)
        return <Failed problem={list.error} retry={list.reload} />;
    if (!list.data)
        return <Loading what="Loading the taxonomy" />;
    return <div class="stack">
        <Field label={label}>{(id) => <input id={id} type="search" placeholder="words of its name, such as: unsupported operator" value={words} onInput={(e) => setWords(e.currentTarget.value)} />}</Field>
        <div class="picker" role="radiogroup" aria-label={label}>{fits.map((c) => <label key={c.id} class={c.id === value ? "chosen" : ""}><input type="radio" name="challenge" checked={c.id === value} onChange={() => choose(c.id)} /> <span>{c.path}</span></label>)}
            {fits.length === 0 && <p class="dim">Nothing has all these words.</p>}</div>
    </div>;
}
