// basics.tsx - the small parts every page is made of. Each is plain HTML with a class; looks are in style.css.
import type {ComponentChildren, JSX} from "preact";
import {useEffect, useId, useLayoutEffect, useRef, useState} from "preact/hooks";
import {signal} from "@preact/signals";
import {away, type Problem} from "../lib/api.ts";
import {ago, local, now, span, utc} from "../lib/format.ts";

// ---- states: a shape and a word beside the colour, so that colour is never all that tells
const shapes: Record<string, JSX.Element> = {
    green: <path d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm3.2 4.3L7 9.9 4.9 7.8 3.8 8.9 7 12.1l5.3-5.7z" fill-rule="evenodd" />,
    red: <path d="M8 .6 15.4 8 8 15.4.6 8zM5.9 4.9l-1 1L7 8l-2.1 2.1 1 1L8 9l2.1 2.1 1-1L9 8l2.1-2.1-1-1L8 7z" fill-rule="evenodd" />,
    running: <path class="turns" d="M8 1a7 7 0 1 0 7 7h-2.2A4.8 4.8 0 1 1 8 3.2z" />,
    waiting: <path d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 1.8a5.2 5.2 0 1 0 0 10.4A5.2 5.2 0 0 0 8 2.8z" fill-rule="evenodd" />,
    queued: <path d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 1.8a5.2 5.2 0 1 0 0 10.4A5.2 5.2 0 0 0 8 2.8zM7.2 4.5h1.6v3.2l2.2 1.5-.9 1.3-2.9-2z" fill-rule="evenodd" />,
    gated: <path d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zM5.2 4.6v6.8h2V4.6zm3.6 0v6.8h2V4.6z" fill-rule="evenodd" />,
    skipped: <path d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 1.8a5.2 5.2 0 1 0 0 10.4A5.2 5.2 0 0 0 8 2.8zM5 7.2h6v1.6H5z" fill-rule="evenodd" />,
    cancelled: <path d="M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm3.9 3.1A5.2 5.2 0 0 0 4.4 11.6zM11.6 4.4 4.1 11.9A5.2 5.2 0 0 0 11.6 4.4z" fill-rule="evenodd" />,
};
const alias: Record<string, string> = {claimed: "running", deciding: "running", preparing: "running", cancelling: "cancelled", invalid: "red", active: "green", draining: "gated", offline: "red"};
const tones: Record<string, string> = {green: "good", active: "good", draining: "warn", offline: "bad", red: "bad", invalid: "bad", running: "busy", claimed: "busy", deciding: "busy", preparing: "busy", gated: "warn", queued: "idle", cancelling: "idle"};
export const tone = (state: string) => tones[state] ?? "idle";

export function Mark({state, size = 14}: {state: string; size?: number}) {
    return <svg class={`mark ${tone(state)}`} width={size} height={size} viewBox="0 0 16 16" aria-hidden="true">{shapes[alias[state] ?? state] ?? shapes.waiting}</svg>;
}
export function State({state}: {state: string}) {
    return <span class={`state ${tone(state)}`}><Mark state={state} />{state}</span>;
}

// ---- times: local, with UTC on hover
export function Time({at, full}: {at: string | null | undefined; full?: boolean}) {
    if (!at)
        return <span class="dim">–</span>;
    const t = Date.parse(at);
    return <time dateTime={at} title={`${local(t)} here · ${utc(t)}`}>{full ? local(t) : ago(t, now.value)}</time>;
}
export function Took({from, to, ms}: {from?: string | null; to?: string | null; ms?: number | null}) {
    if (ms !== null && ms !== undefined && to)
        return <span class="num">{span(ms)}</span>;
    if (!from)
        return <span class="dim">–</span>;
    return <span class="num">{span((to ? Date.parse(to) : Math.max(now.value, Date.parse(from))) - Date.parse(from))}</span>;
}

// ---- when there is nothing, or something went wrong
export function Empty({title, children}: {title: string; children?: ComponentChildren}) {
    return <div class="empty"><Rose /><h2>{title}</h2><div>{children}</div></div>;
}
export function Failed({problem, retry}: {problem: Problem; retry?: () => void}) {
    return <div class="failed" role="alert">
        <strong>{problem.status === 404 ? "Not found" : problem.status === 403 ? "Not allowed" : problem.status === 410 ? "Gone" : problem.status === 429 ? "Too much at once" : problem.status === 503 ? "Busy" : away(problem) ? "No answer" : "That did not work"}</strong>
        <p>{problem.message}</p>
        <p class="dim">{problem.requestId && <>Request <code>{problem.requestId}</code>. </>}{retry && <button type="button" class="link" onClick={retry}>Try again</button>}</p>
    </div>;
}
export function Loading({what = "Loading"}: {what?: string}) {
    return <div class="loading" role="status"><span class="wave" aria-hidden="true" />{what} …</div>;
}

/** The wind rose of a portolan chart: sixteen winds and their courses. Drawn, never a font. */
export function Rose({size = 96}: {size?: number}) {
    const lines = [];
    for (let i = 0; i < 32; i++) {
        const a = i * Math.PI / 16, r = i % 2 ? 42 : 47;
        lines.push(`M50 50L${(50 + r * Math.sin(a)).toFixed(2)} ${(50 - r * Math.cos(a)).toFixed(2)}`);
    }
    const star = (n: number, off: number, long: number, wide: number) => Array.from({length: n}, (_, i) => {
        const a = off + i * 2 * Math.PI / n, p = (r: number, t: number) => `${(50 + r * Math.sin(t)).toFixed(2)} ${(50 - r * Math.cos(t)).toFixed(2)}`;
        return {light: `M50 50L${p(wide, a - Math.PI / n)} ${p(long, a)}z`, dark: `M50 50L${p(wide, a + Math.PI / n)} ${p(long, a)}z`};
    });
    const eight = star(4, Math.PI / 4, 30, 9), four = star(4, 0, 40, 10);
    return <svg class="rose" width={size} height={size} viewBox="0 0 100 100" aria-hidden="true">
        <path d={lines.join("")} class="rhumb" /><circle cx="50" cy="50" r="34" class="ring" /><circle cx="50" cy="50" r="36" class="ring" />
        {[...eight, ...four].map((s) => <><path d={s.light} class="lit" /><path d={s.dark} class="shade" /></>)}
    </svg>;
}

// ---- words that are said aloud, and shown for a moment
const said = signal<{text: string; bad?: boolean; id: number} | null>(null);
let saidId = 0;
export function say(text: string, bad = false) {
    const id = ++saidId;
    said.value = {text, bad, id};
    setTimeout(() => { if (said.value?.id === id) said.value = null; }, bad ? 12000 : 5000);
}
/** Dialogs that are open, the topmost last: a modal one lies above all else and makes it inert, so what is said is said inside of it. */
const dialogs = signal<string[]>([]);
export function Said({of: at}: {of?: string}) {
    if (dialogs.value[dialogs.value.length - 1] !== at)
        return null;
    return <div class="said" role="status" aria-live="polite">{said.value && <div class={said.value.bad ? "bad" : ""}>{said.value.text}
        <button type="button" class="link" aria-label="Dismiss" onClick={() => { said.value = null; }}>✕</button></div>}</div>;
}

/** A button that does something at the daemon: busy while it runs, says how it went. */
export function Act({children, run, done, kind = "", confirm, title, disabled}:
    {children: ComponentChildren; run: () => Promise<unknown>; done?: string; kind?: string; confirm?: string; title?: string; disabled?: boolean}) {
    const [busy, setBusy] = useState(false), [asking, setAsking] = useState(false), button = useRef<HTMLButtonElement>(null), going = useRef(false);
    const start = async () => {
        if (going.current)                                  // the state is a drawing behind: two clicks in one moment are one
            return;
        going.current = true;
        const had = document.activeElement;
        setAsking(false);
        setBusy(true);
        try {
            await run();
            if (done)
                say(done);
        } catch (e) {
            say((e as Error).message, true);
        }
        going.current = false;
        setBusy(false);
        // What was pressed may be gone: who works by keyboard goes on in the page, not at its very top.
        setTimeout(() => { if (had && !had.isConnected && document.activeElement === document.body && !document.querySelector("dialog[open]")) (button.current ?? document.getElementById("main"))?.focus({preventScroll: true}); }, 50);
    };
    return <>
        <button ref={button} type="button" class={`button ${kind}`} disabled={disabled} aria-disabled={busy || undefined} aria-busy={busy} title={title} onClick={() => confirm ? setAsking(true) : start()}>{children}</button>
        {asking && <Dialog title="Are you sure?" close={() => setAsking(false)}>
            <p>{confirm}</p>
            <div class="row end"><button type="button" class="button" onClick={() => setAsking(false)}>No</button><button type="button" class={`button ${kind || "primary"}`} onClick={start}>{children}</button></div>
        </Dialog>}
    </>;
}

export function Dialog({title, close, children, wide}: {title: string; close: () => void; children: ComponentChildren; wide?: boolean}) {
    const box = useRef<HTMLDialogElement>(null), id = useId();
    useEffect(() => {
        const d = box.current!, before = document.activeElement as HTMLElement | null;
        if (!d.open)
            d.showModal();
        dialogs.value = [...dialogs.value, id];
        return () => {
            dialogs.value = dialogs.value.filter((x) => x !== id);
            before?.focus?.();
        };
    }, []);
    // Text selected by dragging beyond the edge is no click beside it, and a file chooser that is closed is not this dialog.
    const beside = useRef(false);
    return <dialog ref={box} class={wide ? "wide" : ""} aria-labelledby={id} onCancel={(e) => { if (e.target !== box.current) return; e.preventDefault(); close(); }}
        onMouseDown={(e) => { beside.current = e.target === box.current; }} onClick={(e) => { if (e.target === box.current && beside.current) close(); }}>
        <Said of={id} /><div class="dialog"><header><h2 id={id}>{title}</h2><button type="button" class="icon" aria-label="Close" onClick={close}>✕</button></header>{children}</div>
    </dialog>;
}

export function Field({label, hint, children}: {label: string; hint?: ComponentChildren; children: (id: string) => ComponentChildren}) {
    const id = useId();
    return <div class="field"><label for={id}>{label}</label>{children(id)}{hint && <p class="hint">{hint}</p>}</div>;
}

/** Words to look for: what is being typed is nobody else's until it is sent (Enter, or leaving the field). */
export function Typed({value, set, ...more}: {value: string; set: (words: string) => void; placeholder?: string; class?: string; size?: number; "data-search"?: boolean}) {
    const [text, setText] = useState(value);
    useEffect(() => setText(value), [value]);
    return <input type="search" {...more} value={text} onInput={(e) => setText(e.currentTarget.value)} onChange={(e) => set(e.currentTarget.value.trim())} />;
}

/** Views of one thing, as links; on a narrow screen the chosen one is brought into sight. */
export function Tabs({label, children}: {label: string; children: ComponentChildren}) {
    const box = useRef<HTMLDivElement>(null);
    useLayoutEffect(() => {
        const b = box.current!, on = b.querySelector<HTMLElement>("[aria-current]");
        if (on && b.scrollWidth > b.clientWidth)
            b.scrollLeft = on.offsetLeft - b.offsetLeft - (b.clientWidth - on.offsetWidth) / 2;
    });
    return <div class="tabs" role="navigation" aria-label={label} ref={box}>{children}</div>;
}
/** A form that sends once for each time it is sent off, and says what went wrong. */
export function Send({send, children, class: name = ""}: {send: () => Promise<unknown> | undefined; children: ComponentChildren; class?: string}) {
    const going = useRef(false);
    return <form class={name} onSubmit={(e) => {
        e.preventDefault();
        if (going.current)
            return;
        going.current = true;
        void Promise.resolve(send()).catch((x: Error) => say(x.message, true)).finally(() => { going.current = false; });
    }}>{children}</form>;
}

export function Copy({text, label = "Copy"}: {text: string; label?: string}) {
    return <button type="button" class="button small" onClick={async () => {
        try {
            await navigator.clipboard.writeText(text);
            say("Copied.");
        } catch {
            say("The browser did not let this page copy; select the text by hand.", true);
        }
    }}>{label}</button>;
}
export function Command({text}: {text: string}) {
    return <div class="command"><code>{text}</code><Copy text={text} /></div>;
}

export function Title({children, aside}: {children: string; aside?: ComponentChildren}) {
    useEffect(() => { document.title = `${children} · Portolan`; }, [children]);
    return <header class="title"><h1>{children}</h1>{aside && <div class="aside">{aside}</div>}</header>;
}
export function More({more, busy}: {more: (() => void) | null; busy: boolean}) {
    return more && <div class="more"><button type="button" class="button" disabled={busy} onClick={more}>{busy ? "Loading …" : "Show more"}</button></div>;
}
