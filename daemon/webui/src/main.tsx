// main.tsx - the frame: who is there, which page, navigation, theme. Pages are loaded when they are first wanted.
import "./style.css";
import {render, type ComponentType} from "preact";
import {useEffect, useErrorBoundary, useState} from "preact/hooks";
import {signal} from "@preact/signals";
import {logOut, lost, may, session, whoIsThere, type Problem} from "./lib/api.ts";
import {connected} from "./lib/live.ts";
import {go, path, startRouter} from "./lib/router.ts";
import {Act, Empty, Failed, Loading, Rose, Said} from "./ui/basics.tsx";
import {KeyHelp, showHelp, startKeys} from "./ui/keys.tsx";
import {Login} from "./pages/login.tsx";
import {Runs} from "./pages/runs.tsx";

type PageOf = ComponentType<{parts: string[]}>;
const pages: Record<string, {title: string; load: () => Promise<PageOf>; shown?: () => boolean}> = {
    runs: {title: "Runs", load: async () => ({parts}) => parts.length ? <Lazy name="run" parts={parts} load={() => import("./pages/run.tsx").then((m) => m.Run)} /> : <Runs />},
    failures: {title: "Failures", load: () => import("./pages/failures.tsx").then((m) => m.Failures)},
    knowledge: {title: "Knowledge", load: () => import("./pages/knowledge.tsx").then((m) => m.Knowledge)},
    risk: {title: "Risk", load: () => import("./pages/risk.tsx").then((m) => m.RiskPages)},
    people: {title: "People", load: () => import("./pages/people.tsx").then((m) => m.People)},
    attempts: {title: "Attempt", load: () => import("./pages/attempt.tsx").then((m) => m.AttemptOf)},
    matrix: {title: "Matrix", load: () => import("./pages/matrix.tsx").then((m) => m.Matrix)},
    notify: {title: "Notifications", load: () => import("./pages/notify.tsx").then((m) => m.Notify)},
    agents: {title: "Agents", load: () => import("./pages/agents.tsx").then((m) => m.Agents)},
    projects: {title: "Projects", load: () => import("./pages/projects.tsx").then((m) => m.Projects)},
    device: {title: "Let a command in", load: () => import("./pages/device.tsx").then((m) => m.Device)},
    audit: {title: "Audit", load: () => import("./pages/audit.tsx").then((m) => m.Audit), shown: () => may("admin")},
};
const nav = ["runs", "failures", "knowledge", "risk", "matrix", "people", "notify", "agents", "projects", "audit"];

const loaded = new Map<string, PageOf>();
function Lazy({name, parts, load}: {name: string; parts: string[]; load: () => Promise<PageOf>}) {
    const [page, setPage] = useState<PageOf | undefined>(() => loaded.get(name)), [error, setError] = useState<Error>();
    useEffect(() => {
        if (!page)
            load().then((p) => { loaded.set(name, p); setPage(() => p); }, setError);
    }, []);
    if (error)
        return <div class="failed" role="alert"><strong>This page could not be loaded</strong><p>The daemon may have been replaced by a newer one since this tab was opened. <button type="button" class="link" onClick={() => location.reload()}>Load it anew</button></p></div>;
    const Page = page;
    return Page ? <Page parts={parts} /> : <Loading />;
}

const theme = signal(document.documentElement.dataset.theme ?? "auto");
function ThemeSwitch() {
    const next: Record<string, string> = {auto: "light", light: "dark", dark: "auto"};
    const turn = () => {
        theme.value = next[theme.value];
        if (theme.value === "auto")
            delete document.documentElement.dataset.theme;
        else
            document.documentElement.dataset.theme = theme.value;
        try {
            localStorage.setItem("portolan-theme", theme.value);
        } catch {
            // not kept then
        }
        dispatchEvent(new Event("portolan-theme"));
    };
    return <button type="button" class="link quiet" onClick={turn} title="Light, dark, or as the system has it">Theme: {theme.value}</button>;
}

/** A part of an address that is no valid escape is taken as it stands. */
function decoded(part: string): string {
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}
/** A page that cannot be drawn does not take the rest with it. */
function Guard({name, parts, load}: {name: string; parts: string[]; load: () => Promise<PageOf>}) {
    const [error, again] = useErrorBoundary((e) => console.error("the page could not be drawn", e));
    if (error)
        return <div class="failed" role="alert"><strong>This page could not be drawn</strong><p>{String((error as Error).message ?? error)}</p><p><button type="button" class="link" onClick={again}>Try again</button> or <button type="button" class="link" onClick={() => location.reload()}>load it anew</button>. If it stays so, this is a mistake of Portolan's: please report it with the address.</p></div>;
    return <Lazy name={name} parts={parts} load={load} />;
}
/** Told when the daemon has been away for a moment: what is shown may be old. */
function Away() {
    const gone = lost.value || connected.value === false, [shown, setShown] = useState(false);
    useEffect(() => {
        if (!gone) {
            setShown(false);
            return;
        }
        const t = setTimeout(() => setShown(true), 2500), asks = setInterval(() => { if (!document.hidden) void whoIsThere().catch(() => { /* still */ }); }, 5000);
        return () => { clearTimeout(t); clearInterval(asks); };
    }, [gone]);
    return <div role="status">{shown && <p class="away">The daemon does not answer: what is shown may be old. Trying again …</p>}</div>;
}

function Frame() {
    const parts = path.value.split("/").filter(Boolean).map(decoded);
    const top = parts[0] ?? "runs", page = pages[top];
    const [menu, setMenu] = useState(false);
    useEffect(() => setMenu(false), [path.value]);
    return <div class="frame">
        <a class="skip" href="#main" data-native onClick={(e) => { e.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the content</a>
        <header class="top">
            <a class="brand" href="/runs"><Rose size={30} /><span>Portolan</span></a>
            <button type="button" class="icon menu" aria-expanded={menu} aria-controls="nav" onClick={() => setMenu(!menu)}>{menu ? "Close" : "Menu"}</button>
            <div id="nav" class={menu ? "open" : ""}>
                <nav aria-label="Pages"><ul>{nav.filter((id) => pages[id] && (pages[id].shown?.() ?? true)).map((id) =>
                    <li key={id}><a href={`/${id}`} aria-current={id === top ? "page" : undefined}>{pages[id].title}</a></li>)}</ul></nav>
                <div class="foot">
                    <p class="live" role="status">{connected.value === false ? <span class="warn">Reconnecting …</span> : connected.value ? "Live" : ""}</p>
                    <p title={`role ${session.value?.role}`}>{session.value?.name}{session.value?.project && <> · {session.value.project}</>}</p>
                    <p><ThemeSwitch /></p><p><button type="button" class="link quiet" onClick={showHelp}>Keyboard <kbd>?</kbd></button></p>
                    <p><Act kind="link quiet" run={logOut}>Log out</Act></p>
                    <p class="dim">portoland {session.value?.version} · <a href="/licenses.txt">licences</a></p>
                </div>
            </div>
        </header>
        <main id="main" tabIndex={-1}><Away />{page ? <Guard key={top} name={top} parts={parts.slice(1)} load={page.load} />
            : <Empty title="There is no such page"><p>The address may be mistyped. <a href="/runs">Runs</a> is a good place to start.</p></Empty>}</main>
        <Said /><KeyHelp />
    </div>;
}

function App() {
    const [error, setError] = useState<Problem>();
    const ask = () => whoIsThere().then(() => setError(undefined), setError);
    useEffect(() => { void ask(); }, []);
    useEffect(() => {
        if (!error)
            return;
        const t = setInterval(() => { if (!document.hidden) void ask(); }, 4000);
        return () => clearInterval(t);
    }, [!error]);
    if (error)
        return <main class="alone"><Failed problem={error} retry={ask} /></main>;
    if (session.value === undefined)
        return <main class="alone"><Loading what="Asking who is there" /></main>;
    if (session.value === null || path.value === "/login")
        return <Login />;
    return <Frame />;
}

export {may};
// The page's own part is loaded beside the question who is there, not after its answer.
const wanted = path.value.split("/").filter(Boolean);
if (wanted[0] === "runs" && wanted.length > 1)
    void import("./pages/run.tsx").catch(() => { /* told when it is wanted */ });
else
    void pages[wanted[0]]?.load().then((p) => { loaded.set(wanted[0], p); }, () => { /* told when it is wanted */ });
startRouter();
startKeys();
addEventListener("offline", () => { lost.value = true; });
addEventListener("online", () => { void whoIsThere().catch(() => { /* told by what is away */ }); });
if (path.value === "/")
    go("/runs", {replace: true});
render(<App />, document.getElementById("app")!);
