// cases.tsx - questions that others asked, beside one's own failures: by words and by challenge, and for curators ways to take more in: one by hand, or a
// file of them. A file is read here and sent in bounded pieces; taking the same in again changes nothing.
import {useState} from "preact/hooks";
import {api, may, session, useList} from "../lib/api.ts";
import {count, idWords} from "../lib/format.ts";
import {query, setQuery} from "../lib/router.ts";
import {Act, Dialog, Empty, Failed, Field, Loading, More, say, Title} from "../ui/basics.tsx";
import {ChallengePicker} from "../ui/picker.tsx";

interface Case { id: string; url: string; title: string; platform: string | null; challenge_id: string | null; labels: string[]; tags: string[]; answered: boolean; asked_at: string | null; excerpt: string }
interface Given { id: string; url: string; title: string; text: string; [key: string]: unknown }
interface Taken { added: number; changed: number; same: number; unplaced: string[] }
const curates = () => may("curate") && !session.value?.project;
const PIECE = 200, PIECE_BYTES = 4 << 20, FILE_BYTES = 256 << 20, NAMED = 20;

export function Cases() {
    const q = query.value, words = q.get("q") ?? "", challenge = q.get("challenge") ?? "", [taking, setTaking] = useState(false), [adding, setAdding] = useState(false);
    const list = useList<Case>("/api/v1/kb/cases?" + new URLSearchParams({limit: "50", ...(words ? {q: words} : {}), ...(challenge ? {challenge} : {})}), "after", (c) => c.id);
    return <>
        <Title aside={<div class="row"><a class="button" href="/knowledge">The map</a>{curates() && <><button type="button" class="button" onClick={() => setAdding(true)}>Add a case</button><button type="button" class="button" onClick={() => setTaking(true)}>Take in a file</button></>}</div>}>Known cases</Title>
        <form class="filters" role="search" onSubmit={(e) => e.preventDefault()}>
            <label>Words <input data-search type="search" value={words} placeholder="all of them" onChange={(e) => setQuery({q: e.currentTarget.value.trim()})} /></label>
            {challenge && <a class="chip" href="/knowledge/cases" title="Take this filter away">of: <b>{idWords(challenge)}</b> <span aria-hidden="true">✕</span></a>}
        </form>
        {list.error && <Failed problem={list.error} retry={list.reload} />}
        {!list.items ? !list.error && <Loading what="Loading cases" /> : list.items.length === 0 ? <Empty title={words || challenge ? "No case fits" : "No known cases yet"}><p>{words || challenge ? "Fewer words find more." : "Questions that others asked, with their answers, stand beside failures of the same challenge. Curators take them in: one by hand, or a file."}</p></Empty>
            : <ul class="stack">{list.items.map((c) => <li key={c.id} class="card case" data-row><p>{/^https?:\/\//.test(c.url) ? <a class="main" href={c.url} target="_blank" rel="noreferrer noopener">{c.title}</a> : <b>{c.title}</b>}</p><p class="row">{c.answered && <span class="tag good">answered</span>}{c.platform && <span class="tag">{c.platform}</span>}{c.challenge_id ? <a href={`/knowledge?id=${encodeURIComponent(c.challenge_id)}`}>{idWords(c.challenge_id)}</a> : <span class="dim">no challenge</span>}</p>
                <p class="sub wrap">{c.excerpt.length >= 200 && !/[.!?…]$/.test(c.excerpt) ? `${c.excerpt.replace(/\s+\S*$/, "")} …` : c.excerpt}</p></li>)}</ul>}
        <More more={list.more} busy={list.busy} />
        {taking && <TakeIn close={() => { setTaking(false); list.reload(); }} />}
        {adding && <AddOne close={() => { setAdding(false); list.reload(); }} />}
    </>;
}

/** A JSON array, {"cases": [...]}, or one object a line. Says which one is not a case. */
export function readCases(text: string): Given[] {
    const t = text.trim();
    let list: unknown;
    try {
        list = t.startsWith("[") || /^\{\s*"cases"/.test(t) ? JSON.parse(t) : t.split("\n").filter((l) => l.trim()).map((l, i) => {
            try {
                return JSON.parse(l);
            } catch (e) {
                throw new Error(`line ${i + 1}: ${(e as Error).message}`);
            }
        });
    } catch (e) {
        throw new Error(`This is no JSON: ${(e as Error).message}. Expected an array of cases, {"cases": […]}, or an object a line.`);
    }
    const cases = Array.isArray(list) ? list : (list as {cases?: unknown}).cases;
    if (!Array.isArray(cases) || cases.length === 0)
        throw new Error('No cases in it. Expected an array of cases, {"cases": […]}, or an object a line.');
    cases.forEach((c, i) => {
        for (const key of ["id", "url", "title", "text"])
            if (typeof c?.[key] !== "string" || !c[key])
                throw new Error(`Case ${i + 1} has no ${key}. Every case needs id, url, title and text; it may have platform, challenge, labels, tags, answered, asked_at.`);
    });
    return cases as Given[];
}

function TakeIn({close}: {close: () => void}) {
    const [text, setText] = useState(""), [at, setAt] = useState<{done: number; of: number} | null>(null), [taken, setTaken] = useState<Taken>(), [fault, setFault] = useState("");
    const run = async () => {
        setFault("");
        const sum: Taken = {added: 0, changed: 0, same: 0, unplaced: []}, unplaced = new Set<string>();
        try {
            const cases = readCases(text);
            for (let i = 0; i < cases.length;) {
                const piece: Given[] = [];
                for (let size = 0; i < cases.length && piece.length < PIECE && (piece.length === 0 || size + cases[i].text.length * 3 < PIECE_BYTES); i++) {
                    piece.push(cases[i]);
                    size += cases[i].text.length * 3 + 2000;
                }
                setAt({done: i - piece.length, of: cases.length});
                const answer = await api<Taken>("POST", "/api/v1/kb/cases", {cases: piece});
                sum.added += answer.added;
                sum.changed += answer.changed;
                sum.same += answer.same;
                answer.unplaced.forEach((u) => unplaced.add(u));
            }
            sum.unplaced = [...unplaced];
            setTaken(sum);
        } catch (e) {
            setFault((e as Error).message + (sum.added + sum.changed + sum.same ? ` Before that ${sum.added} were added and ${sum.changed} changed; taking the file in again is safe.` : ""));
        }
        setAt(null);
    };
    return <Dialog title="Take known cases in" close={close} wide>
        {taken ? <><p><b class="num">{count(taken.added)}</b> added, <b class="num">{count(taken.changed)}</b> changed, <b class="num">{count(taken.same)}</b> were there already.</p>
            {taken.unplaced.length > 0 && <div><h3>Labels that fit no challenge</h3><p class="sub wrap">{taken.unplaced.slice(0, NAMED).join(", ")}{taken.unplaced.length > NAMED && `, and ${taken.unplaced.length - NAMED} more`}</p></div>}
            <div class="row end"><button type="button" class="button primary" onClick={close}>Close</button></div></>
            : <><Field label="File" hint={<>JSON: an array of cases, <code>{'{"cases": […]}'}</code>, or one object a line. Every case has <code>id</code>, <code>url</code>, <code>title</code>, <code>text</code>; it may have <code>platform</code>, <code>challenge</code> (or <code>labels</code>), <code>tags</code>, <code>answered</code>, <code>asked_at</code>. A folder of the public data set is taken in by <code>portolan kb import-posts</code>.</>}>{(id) => <input id={id} type="file" accept=".json,.jsonl,.ndjson,application/json" onChange={async (e) => {
                const f = e.currentTarget.files?.[0];
                if (f && f.size > FILE_BYTES)
                    setFault(`${f.name} is larger than 256 MiB; cut it into pieces.`);
                else if (f)
                    setText(await f.text());
            }} />}</Field>
            <Field label="Or paste it here">{(id) => <textarea id={id} class="mono" rows={8} spellcheck={false} value={text.length > 200000 ? `${text.slice(0, 2000)}\n… ${count(text.length)} characters in all` : text} readOnly={text.length > 200000} onInput={(e) => setText(e.currentTarget.value)} />}</Field>
            {fault && <p class="bad wrap" role="alert">{fault}</p>}
            <div class="row end">{at && <span class="dim num" role="status">{count(at.done)} of {count(at.of)}</span>}<button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!text.trim()} run={run}>Take in</Act></div></>}
    </Dialog>;
}

function AddOne({close}: {close: () => void}) {
    const [url, setUrl] = useState(""), [title, setTitle] = useState(""), [text, setText] = useState(""), [platform, setPlatform] = useState(""), [challenge, setChallenge] = useState(query.value.get("challenge") ?? ""), [answered, setAnswered] = useState(false);
    const save = async () => {
        const a = await api<Taken>("POST", "/api/v1/kb/cases", {cases: [{id: url.trim().replace(/^https?:\/\//, "").slice(0, 200), url: url.trim(), title: title.trim(), text: text.trim(), answered, ...(platform ? {platform} : {}), ...(challenge ? {challenge} : {})}]});
        say(a.added ? "Added." : a.changed ? "It was there; changed." : "It was there already.");
        close();
    };
    return <Dialog title="Add a known case" close={close} wide>
        <Field label="Address of the question">{(id) => <input id={id} type="url" value={url} placeholder="https://…" onInput={(e) => setUrl(e.currentTarget.value)} />}</Field>
        <Field label="Title">{(id) => <input id={id} value={title} maxLength={1000} onInput={(e) => setTitle(e.currentTarget.value)} />}</Field>
        <Field label="What was asked, and what helped" hint="Its words find it beside failures like it.">{(id) => <textarea id={id} rows={5} value={text} onInput={(e) => setText(e.currentTarget.value)} />}</Field>
        <div class="row"><label>Platform <select value={platform} onChange={(e) => setPlatform(e.currentTarget.value)}><option value="">not known</option>{["server", "mobile", "browser"].map((p) => <option key={p}>{p}</option>)}</select></label><label><input type="checkbox" checked={answered} onChange={(e) => setAnswered(e.currentTarget.checked)} /> It has an answer</label></div>
        <ChallengePicker value={challenge} choose={setChallenge} label="Challenge (optional)" />
        <div class="row end"><button type="button" class="button" onClick={close}>Leave it</button><Act kind="primary" disabled={!/^https?:\/\/./.test(url.trim()) || !title.trim() || !text.trim()} run={save}>Add</Act></div></Dialog>;
}
