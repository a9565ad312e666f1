// login.tsx - a person's token is traded for a session cookie. A link with the token behind '#' logs in by itself: what is
// behind '#' never leaves the browser, and is taken out of the address at once.
import {useEffect, useState} from "preact/hooks";
import {logIn, session, type Problem} from "../lib/api.ts";
import {go, path, query} from "../lib/router.ts";
import {Field, Rose} from "../ui/basics.tsx";

export function Login() {
    const [token, setToken] = useState(""), [busy, setBusy] = useState(false), [error, setError] = useState("");
    const enter = async (t: string) => {
        setBusy(true);
        setError("");
        try {
            await logIn(t);
            if (path.value === "/login") {
                const then = query.value.get("then") ?? "/runs";
                go(then.startsWith("/") && !then.startsWith("//") ? then : "/runs", {replace: true});
            }
        } catch (e) {
            setError((e as Problem).message);
        }
        setBusy(false);
    };
    useEffect(() => {
        document.title = "Log in · Portolan";
        const look = () => {
            const given = /^#token=([\w-]+)$/.exec(location.hash)?.[1];
            if (given) {
                history.replaceState(null, "", location.pathname + location.search);
                void enter(given);
            } else if (session.value && path.value === "/login") {
                go("/runs", {replace: true});
            }
        };
        look();
        addEventListener("hashchange", look);       // a link opened in the tab that shows this page already
        return () => removeEventListener("hashchange", look);
    }, []);
    return <main class="alone login">
        <Rose size={180} />
        <h1>Portolan</h1>
        <p class="dim">From a git push to a server, a phone and a browser, knowing the hazards on the way.</p>
        <form onSubmit={(e) => { e.preventDefault(); void enter(token); }}>
            <Field label="Access token" hint={<>An administrator makes one with <code>portolan token create</code>; the first one is in the daemon's state directory, <code>admin.token</code>.</>}>
                {(id) => <input id={id} type="password" autoComplete="current-password" spellcheck={false} required value={token} onInput={(e) => setToken(e.currentTarget.value)} aria-invalid={!!error} />}
            </Field>
            {error && <p class="bad" role="alert">{error}</p>}
            <button type="submit" class="button primary" disabled={busy}>{busy ? "Logging in …" : "Log in"}</button>
        </form>
    </main>;
}
