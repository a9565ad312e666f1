// keys.tsx - keyboard: one table of shortcuts, the help made from it. Keys are left alone while a person writes, and with modifiers.
import {signal} from "@preact/signals";
import {useEffect} from "preact/hooks";
import {go} from "../lib/router.ts";
import {Dialog} from "./basics.tsx";

interface Key { keys: string; what: string; run: () => void }
const global: Key[] = [
    {keys: "?", what: "This help", run: () => { help.value = !help.value; }},
    {keys: "g r", what: "Runs", run: () => go("/runs")},
    {keys: "g f", what: "Failures", run: () => go("/failures")},
    {keys: "g k", what: "Knowledge", run: () => go("/knowledge")},
    {keys: "g b", what: "Risk board", run: () => go("/risk")},
    {keys: "g m", what: "Matrix", run: () => go("/matrix")},
    {keys: "g a", what: "Agents", run: () => go("/agents")},
    {keys: "g p", what: "Projects", run: () => go("/projects")},
    {keys: "/", what: "To the search or filter of this page", run: () => document.querySelector<HTMLElement>("[data-search]")?.focus()},
    {keys: "j", what: "Next row", run: () => step(1)},
    {keys: "k", what: "Previous row", run: () => step(-1)},
];
const local = signal<Key[]>([]);
const help = signal(false);

function step(by: number) {
    const rows = [...document.querySelectorAll<HTMLElement>("[data-row]")];
    if (rows.length === 0)
        return;
    const at = rows.findIndex((r) => r === document.activeElement || r.contains(document.activeElement));
    const next = rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + by))];
    (next.matches("a,button") ? next : next.querySelector<HTMLElement>("a,button") ?? next).focus();
    next.scrollIntoView({block: "nearest"});
}

/** Shortcuts of one page, while it is shown. */
export function useKeys(keys: Key[]) {
    useEffect(() => {
        local.value = keys;
        return () => { local.value = []; };
    });
}

let prefix = "", prefixAt = 0;
export function startKeys() {
    document.addEventListener("keydown", (e) => {
        const t = e.target as HTMLElement;
        if (e.ctrlKey || e.metaKey || e.altKey || t.closest("input:not([type=checkbox]):not([type=radio]),textarea,select,[contenteditable]") || document.querySelector("dialog[open]") && e.key !== "?")
            return;
        const typed = prefix && Date.now() - prefixAt < 1200 ? `${prefix} ${e.key}` : e.key;
        const all = [...local.value, ...global];
        const hit = all.find((k) => k.keys === typed) ?? all.find((k) => k.keys === e.key);
        prefix = "";
        if (hit) {
            e.preventDefault();
            hit.run();
        } else if (all.some((k) => k.keys.startsWith(e.key + " "))) {
            prefix = e.key;
            prefixAt = Date.now();
        }
    });
}

export function KeyHelp() {
    if (!help.value)
        return null;
    const list = (keys: Key[]) => keys.map((k) => <div key={k.keys}><dt>{k.keys.split(" ").map((p) => <kbd key={p}>{p}</kbd>)}</dt><dd>{k.what}</dd></div>);
    return <Dialog title="Keyboard" close={() => { help.value = false; }}>
        {local.value.length > 0 && <><h3>This page</h3><dl class="keys">{list(local.value)}</dl><h3>Everywhere</h3></>}
        <dl class="keys">{list(global)}</dl>
    </Dialog>;
}
export const showHelp = () => { help.value = true; };
