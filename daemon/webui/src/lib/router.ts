// router.ts - the address is the state: path, query and fragment as signals. Links are ordinary links; clicks on those of this origin are caught once,
// on the document.
import {signal, computed} from "@preact/signals";

const read = () => ({path: location.pathname, search: location.search, hash: location.hash});
const where = signal(read());
export const path = computed(() => where.value.path);
export const hash = computed(() => where.value.hash);
const search = computed(() => where.value.search);
export const query = computed(() => new URLSearchParams(search.value));

export function go(href: string, how: {replace?: boolean; keepScroll?: boolean} = {}) {
    const before = location.pathname;
    if (how.replace)
        history.replaceState(null, "", href);
    else if (href !== location.pathname + location.search + location.hash)
        history.pushState(null, "", href);
    where.value = read();
    if (!how.keepScroll && location.pathname !== before && !location.hash) {
        scrollTo(0, 0);
        document.getElementById("main")?.focus({preventScroll: true});
    }
}

/** The address with these query parameters set, or taken away where empty. */
export function withQuery(changes: Record<string, string | number | null | undefined>): string {
    const q = new URLSearchParams(location.search);
    for (const [key, value] of Object.entries(changes))
        if (value === null || value === undefined || value === "")
            q.delete(key);
        else
            q.set(key, String(value));
    const text = q.toString();
    return location.pathname + (text ? "?" + text : "");
}

export function setQuery(changes: Record<string, string | number | null | undefined>, replace = true) {
    go(withQuery(changes), {replace, keepScroll: true});
}

export function startRouter() {
    addEventListener("popstate", () => { where.value = read(); });
    addEventListener("hashchange", () => { where.value = read(); });
    document.addEventListener("click", (e) => {
        if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey)
            return;
        const a = (e.target as Element).closest?.("a");
        if (!a || a.target || a.hasAttribute("download") || a.origin !== location.origin || a.dataset.native !== undefined)
            return;
        if (/^\/(api|badge|openapi|metrics|licenses|schema)/.test(a.pathname))
            return;
        e.preventDefault();
        go(a.pathname + a.search + a.hash);
    });
}
