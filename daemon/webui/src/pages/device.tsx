// device.tsx - a command asks to be let in (portolan login --web): the person compares the code with what the terminal shows, and lets it in with his own
// rights or less, or does not. Nothing happens by opening the page: somebody else's link must not let anybody in.
import {useEffect, useState} from "preact/hooks";
import {api, get, session, type Problem} from "../lib/api.ts";
import {query} from "../lib/router.ts";
import {Act, Field, Time, Title} from "../ui/basics.tsx";

interface Asked { client: string; address: string; created_at: string; expires_at: string }
const less: Record<string, string[]> = {viewer: ["viewer"], member: ["member", "viewer"], manager: ["manager", "member", "viewer"], curator: ["curator", "member", "viewer"], admin: ["admin", "manager", "curator", "member", "viewer"]};
const shown = (code: string) => { const t = code.toUpperCase().replace(/[^A-Z]/g, "").slice(0, 8); return t.length > 4 ? `${t.slice(0, 4)}-${t.slice(4)}` : t; };

export function Device() {
    const [code, setCode] = useState(shown(query.value.get("code") ?? "")), [asked, setAsked] = useState<Asked>(), [error, setError] = useState(""), [over, setOver] = useState<"approved" | "denied">();
    const mine = session.value?.role ?? "viewer", [role, setRole] = useState(mine), [ends, setEnds] = useState("90d");
    const full = code.replace("-", "").length === 8;
    useEffect(() => {
        setAsked(undefined);
        setError("");
        if (!full)
            return;
        const stop = new AbortController();
        get<Asked>(`/api/v1/login/code?code=${code}`, stop.signal).then(setAsked, (e: Problem) => { if (e.name !== "AbortError") setError(e.message); });
        return () => stop.abort();
    }, [code]);
    if (over)
        return <><Title>Let a command in</Title><div class="stack narrow"><p class="lead">{over === "approved" ? "It is let in. Back to the terminal: it goes on by itself." : "It is not let in."}</p>
            {over === "approved" ? <p class="dim">Its token is yours: what it does, the audit log says that you did. It ends with your own; an administrator can revoke it.</p> : <p class="dim">If you did not ask for it, somebody may have sent you a link. Nothing was given away.</p>}</div></>;
    return <><Title>Let a command in</Title><div class="stack narrow">
        <p>A terminal that runs <code>portolan login --web</code> shows a code. Let it in only if you started it yourself and it shows this very code.</p>
        <Field label="Code">{(id) => <input id={id} class="mono code" value={code} autocomplete="off" spellcheck={false} placeholder="BCDF-GHJK" onInput={(e) => { const c = shown(e.currentTarget.value); e.currentTarget.value = c; setCode(c); }} />}</Field>
        {error && <p class="failed" role="alert">{error}</p>}
        {asked && <><div class="card stack"><dl class="facts"><dt>Asks</dt><dd>{asked.client} <span class="dim">(as it says itself)</span></dd><dt>From</dt><dd class="mono">{asked.address}</dd><dt>Since</dt><dd><Time at={asked.created_at} /></dd><dt>Until</dt><dd><Time at={asked.expires_at} full /></dd></dl></div>
            <div class="fields"><Field label="It may">{(id) => <select id={id} value={role} onChange={(e) => setRole(e.currentTarget.value)}>{(less[mine] ?? [mine]).map((r, i) => <option key={r} value={r}>{i === 0 ? `all that you may (${r})` : `only what a ${r} may`}</option>)}</select>}</Field>
                <Field label="For at most">{(id) => <select id={id} value={ends} onChange={(e) => setEnds(e.currentTarget.value)}><option value="12h">12 hours</option><option value="7d">a week</option><option value="30d">30 days</option><option value="90d">90 days</option><option value="366d">a year</option></select>}</Field></div>
            <div class="row"><Act kind="primary" run={() => api("POST", "/api/v1/login/code/approve", {code, role, expires_in: ends}).then(() => setOver("approved"))}>Let it in</Act>
                <Act kind="danger" run={() => api("POST", "/api/v1/login/code/deny", {code}).then(() => setOver("denied"))}>Do not</Act></div></>}
    </div></>;
}
