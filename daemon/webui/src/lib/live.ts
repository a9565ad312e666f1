// live.ts - what happens, as it happens. A stream is open only while its tab is seen: browsers allow six connections to one daemon, and tabs in the
// background would use them up. It goes on where it stopped (the id of the last event), so nothing is missed.
import {signal} from "@preact/signals";
import {useEffect, useRef} from "preact/hooks";
import {whoIsThere} from "./api.ts";

export interface LiveEvent { kind: string; at?: string; project?: string; run_id?: number; stage_id?: number; attempt_id?: number; data?: Record<string, unknown> }
export const connected = signal<boolean | null>(null);     // null: no stream wanted
const LONG_MS = 10 * 60 * 1000;
const kinds = ["hello", "run", "stage", "log", "diagnosis", "feedback", "assignment", "resolution", "agent", "preflight", "risk", "kb", "retry"];

/** Calls `fn` for every event at `url` while the component is shown. `back` runs when events may have been missed: after a line that was cut, and once when
 * the stream has begun, since what is shown was asked for before that. */
export function useLive(url: string | null, fn: (e: LiveEvent) => void, back?: () => void) {
    const now = useRef({fn, back});
    now.current = {fn, back};
    useEffect(() => {
        if (!url)
            return;
        let source: EventSource | null = null, last = "", begun = false, timer: ReturnType<typeof setTimeout> | undefined, wait = 1000;
        const open = () => {
            clearTimeout(timer);
            if (source || document.hidden)
                return;
            source = new EventSource(url + (last ? (url.includes("?") ? "&" : "?") + "since=" + encodeURIComponent(last) : ""));
            const take = (kind: string) => (m: MessageEvent) => {
                if (m.lastEventId)
                    last = m.lastEventId;
                if (kind === "hello") {
                    if (!begun)
                        now.current.back?.();
                    begun = true;
                    return;
                }
                try {
                    now.current.fn({kind, ...JSON.parse(m.data)});
                } catch (e) {
                    console.error("an event could not be read", e);
                }
            };
            for (const kind of kinds)
                source.addEventListener(kind, take(kind));
            source.onopen = () => {
                if (connected.value === false)
                    now.current.back?.();
                connected.value = true;
                wait = 1000;
            };
            source.onerror = () => {
                connected.value = false;
                source?.close();
                source = null;
                void whoIsThere().catch(() => { /* told by what is away; a session that is over shows the login */ });
                timer = setTimeout(open, wait + Math.random() * 500);
                wait = Math.min(wait * 2, 15000);
            };
        };
        const close = () => { source?.close(); source = null; };
        let hidden = 0;
        const seen = () => {
            if (document.hidden) {
                hidden = Date.now();
                close();
                return;
            }
            if (Date.now() - hidden > LONG_MS) {            // events are not kept for ever: everything is asked for anew
                last = "";
                begun = false;
            }
            open();
        };
        const anew = () => { close(); open(); };            // a stream of the network before may hang without an error
        document.addEventListener("visibilitychange", seen);
        addEventListener("online", anew);
        open();
        return () => {
            document.removeEventListener("visibilitychange", seen);
            removeEventListener("online", anew);
            clearTimeout(timer);
            close();
            connected.value = null;
        };
    }, [url]);
}

/** `fn` every so many ms while `on` and the tab is seen: for what makes no events. */
export function useEvery(fn: () => void, ms: number, on = true) {
    const now = useRef(fn);
    now.current = fn;
    useEffect(() => {
        if (!on)
            return;
        const t = setInterval(() => { if (!document.hidden) now.current(); }, ms);
        return () => clearInterval(t);
    }, [ms, on]);
}

/** `fn` when one of `deps` has changed, not at first. */
export function useChange(fn: () => void, deps: unknown[]) {
    const first = useRef(true);
    useEffect(() => {
        if (first.current)
            first.current = false;
        else
            fn();
    }, deps);
}

/** `fn` after things have been quiet for a moment, and not later than a second after the first call. */
export function useSoon(fn: () => void, quiet = 120): () => void {
    const state = useRef<{timer?: ReturnType<typeof setTimeout>; first: number; fn: () => void}>({first: 0, fn});
    state.current.fn = fn;
    useEffect(() => () => clearTimeout(state.current.timer), []);
    return useRef(() => {
        const s = state.current, t = performance.now();
        if (!s.timer)
            s.first = t;
        clearTimeout(s.timer);
        s.timer = setTimeout(() => { s.timer = undefined; s.fn(); }, Math.max(0, Math.min(quiet, s.first + 1000 - t)));
    }).current;
}
