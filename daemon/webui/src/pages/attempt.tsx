// attempt.tsx - /attempts/N leads to the attempt on its run's page: what links know is often only its number.
import {useEffect} from "preact/hooks";
import {useGet} from "../lib/api.ts";
import {go, hash} from "../lib/router.ts";
import type {Attempt} from "../lib/types.ts";
import {Failed, Loading} from "../ui/basics.tsx";

export function AttemptOf({parts}: {parts: string[]}) {
    const one = useGet<Attempt>(`/api/v1/attempts/${encodeURIComponent(parts[0] ?? "0")}`), a = one.data;
    useEffect(() => { if (a) go(`/runs/${a.run_id}?stage=${encodeURIComponent(a.stage)}&attempt=${a.id}${hash.value}`, {replace: true}); }, [a]);
    return one.error ? <Failed problem={one.error} retry={one.reload} /> : <Loading what="Looking for the attempt" />;
}
