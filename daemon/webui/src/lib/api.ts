// api.ts - the API as the pages see it: one call, its errors as sentences, the session, and data that follow the address and the events.
import {signal} from "@preact/signals";
import {useCallback, useEffect, useRef, useState} from "preact/hooks";

export interface Session { name: string; role: string; project: string; may: string[]; csrf: string; version: string }
export const session = signal<Session | null | undefined>(undefined);      // undefined: not asked yet; null: nobody
export const may = (what: string) => session.value?.may.includes(what) ?? false;

export class Problem extends Error {
    constructor(public status: number, message: string, public requestId = "", public after = 0) { super(message); }
}
/** It is away (or what stands before it says so), or has too much to do: worth asking again. */
export const away = (e: Problem) => e.status === 0 || e.status === 502 || e.status === 504;
export const busy = (e: Problem) => e.status === 503 || e.status === 429;
/** True while the daemon does not answer: what is shown may be old. */
export const lost = signal(false);

/** What was asked for before this program was there (early.ts), once; what nobody took in its time is let go. */
const early = window.portolanEarly ?? new Map<string, Promise<Response>>();
setTimeout(() => early.clear(), 8000);
/** Asks now for what a part that is not drawn yet is going to ask for. */
export function ahead(...urls: string[]) {
    for (const url of urls)
        if (!early.has(url)) {
            const answer = fetch(url, {credentials: "same-origin", cache: "no-store"});
            answer.catch(() => { /* asked again by who wants it */ });
            early.set(url, answer);
            setTimeout(() => { if (early.get(url) === answer) early.delete(url); }, 8000);
        }
}
async function taken(url: string): Promise<Response | undefined> {
    const answer = early.get(url);
    early.delete(url);
    try {
        return await answer;
    } catch {
        return undefined;                                   // asked once more
    }
}

const unsaid: Record<number, string> = {
    413: "That is more than the daemon, or what stands before it, takes at once.", 429: "Too much was asked in a short time; wait a moment.", 500: "The daemon made a mistake; its log has the details under the number of this request.",
    502: "What stands before the daemon cannot reach it.", 503: "The daemon has too much to do; try again in a moment.", 504: "The daemon took too long to answer.",
};

export async function raw(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = {};
    if (method !== "GET")
        headers["X-Portolan-CSRF"] = session.value?.csrf ?? "login";
    if (body !== undefined)
        headers["Content-Type"] = "application/json";
    let answer: Response;
    try {
        answer = await (method === "GET" && body === undefined && taken(url)) || await fetch(url, {method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal, credentials: "same-origin", cache: "no-store"});
    } catch (e) {
        if ((e as Error).name === "AbortError")
            throw e;
        lost.value = true;
        throw new Problem(0, navigator.onLine === false ? "This device is offline; the page tries again by itself." : "The daemon does not answer. It may be restarting, or the network is gone; this page tries again by itself.");
    }
    if (signal?.aborted)
        throw new DOMException("no longer wanted", "AbortError");
    lost.value = answer.status === 502 || answer.status === 504;
    if (answer.ok)
        return answer;
    let text = "", id = answer.headers.get("X-Request-Id") ?? "";
    try {
        text = (await answer.json()).detail ?? "";
    } catch {
        // not the daemon's own answer: a proxy's page says nothing to a person
    }
    if (answer.status === 401 && session.value)
        session.value = null;
    throw new Problem(answer.status, text || unsaid[answer.status] || `The daemon answered ${answer.status} ${answer.statusText} and said no more.`, id, Number(answer.headers.get("Retry-After")) || 0);
}

export async function api<T>(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    const answer = await raw(method, url, body, signal);
    let text;
    try {
        text = await answer.text();
    } catch (e) {
        if ((e as Error).name === "AbortError")
            throw e;
        throw new Problem(0, "The answer broke off; this page tries again by itself.");
    }
    try {
        return (text ? JSON.parse(text) : null) as T;
    } catch {
        throw new Problem(502, "What answered was not the daemon: something before it, such as a login of the network, sent a page of its own.");
    }
}
export const get = <T>(url: string, signal?: AbortSignal) => api<T>("GET", url, undefined, signal);

export interface Page<T> { items: T[]; next: string | number | null; cut?: string | null }

export async function logIn(token: string) {
    session.value = await api<Session>("POST", "/api/v1/session", {token: token.trim()});
}
export async function logOut() {
    await api("DELETE", "/api/v1/session");
    session.value = null;
}
export async function whoIsThere() {
    try {
        session.value = await get<Session>("/api/v1/session");
    } catch (e) {
        if ((e as Problem).status === 401) {
            early.clear();
            session.value = null;
        }
        else
            throw e;
    }
}

export interface Resource<T> { data: T | undefined; error: Problem | undefined; loading: boolean; reload: () => void; set: (d: T) => void }

/** Data at `url` (null: nothing yet). Old data stay while new ones are fetched; a daemon that is away is asked again. */
export function useGet<T>(url: string | null): Resource<T> {
    const [state, setState] = useState<{url: string | null; data?: T; error?: Problem; loading: boolean}>({url, loading: url !== null});
    const [round, setRound] = useState(0);
    const asked = useRef(0), failed = useRef(0);
    useEffect(() => {
        if (url === null)
            return;
        const stop = new AbortController(), mine = ++asked.current;
        let again: ReturnType<typeof setTimeout> | undefined;
        setState((s) => s.url === url ? {...s, loading: true} : {url, loading: true});
        get<T>(url, stop.signal).then(
            (data) => { if (mine === asked.current) { failed.current = 0; setState({url, data, loading: false}); } },
            (error) => {
                if (mine !== asked.current || error.name === "AbortError")
                    return;
                setState((s) => ({url, data: s.url === url ? s.data : undefined, error, loading: false}));
                if (away(error) || busy(error))
                    again = setTimeout(() => setRound((r) => r + 1), Math.max(1000 * error.after, Math.min(30000, 2000 * 1.6 ** failed.current++)) + 500 * Math.random());
            });
        return () => { stop.abort(); clearTimeout(again); };
    }, [url, round]);
    const reload = useCallback(() => setRound((r) => r + 1), []);
    const set = useCallback((data: T) => setState({url, data, loading: false}), [url]);
    const mine = state.url === url;
    return {data: mine ? state.data : undefined, error: mine ? state.error : undefined, loading: mine ? state.loading : true, reload, set};
}

/** A list by cursor: the first page as useGet has it, and `more()` adds the next ones. */
export function useList<T extends object>(url: string | null, cursor: string, key: (t: T) => string | number = (t) => (t as {id: number}).id) {
    const first = useGet<Page<T>>(url);
    const [rest, setRest] = useState<{url: string | null; items: T[]; next?: string | number | null; cut?: string | null}>({url, items: []});
    const [waits, setWaits] = useState(false), going = useRef(false);
    const [error, setError] = useState<Problem>();
    const more = rest.url === url ? rest : {url, items: []};
    const next = more.next !== undefined ? more.next : first.data?.next ?? null;   // a page may be empty and still lead on
    const seen = new Set(first.data?.items.map(key));
    const items = first.data ? [...first.data.items, ...more.items.filter((i) => !seen.has(key(i)))] : undefined;
    const loadMore = async () => {
        if (next === null || !url || going.current)
            return;
        going.current = true;
        setWaits(true);
        try {
            const page = await get<Page<T>>(url + (url.includes("?") ? "&" : "?") + cursor + "=" + encodeURIComponent(String(next)));
            setRest({url, items: [...more.items, ...page.items], next: page.next ?? null, cut: page.cut ?? null});
            setError(undefined);
        } catch (e) {
            setError(e as Problem);
        }
        going.current = false;
        setWaits(false);
    };
    return {items, error: first.error ?? error, loading: first.loading, reload: first.reload, more: next === null ? null : loadMore, busy: waits, cut: more.cut !== undefined ? more.cut : first.data?.cut ?? null};
}
