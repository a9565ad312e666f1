// early.ts - a small script of its own, before the style and the program: the person's choice of light or dark, so that nothing flashes; and what the page at
// this address needs is asked for now, its chunk and its data beside the program and not after it. The program takes the answers (lib/api.ts).
import {first} from "./lib/urls.ts";

try {
    const chosen = localStorage.getItem("portolan-theme");
    if (chosen === "light" || chosen === "dark")
        document.documentElement.dataset.theme = chosen;
} catch {
    // storage is closed to this page: the system's choice stands
}

const asked = new Map<string, Promise<Response>>();
window.portolanEarly = asked;
const {chunk, urls} = first(location.pathname, location.search);
if (!location.pathname.startsWith("/login"))
    for (const url of ["/api/v1/session", ...urls]) {
        const answer = fetch(url, {credentials: "same-origin", cache: "no-store"});
        answer.catch(() => { /* asked again by the program, which says so */ });
        asked.set(url, answer);
    }
const chunks: Record<string, string[]> = JSON.parse(document.querySelector<HTMLMetaElement>("meta[name=chunks]")?.content || "{}");
for (const href of chunks[chunk] ?? []) {
    const link = document.createElement("link");
    link.rel = "modulepreload";
    link.href = href;
    document.head.append(link);
}
