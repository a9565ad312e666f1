// urls.ts - what pages ask for first, by their address: pages make these URLs here, so that early.ts can ask before the pages are there. Pure.
export const runsUrl = (q: URLSearchParams): string => {
    const params = new URLSearchParams({limit: "40"});
    for (const key of ["project", "state", "ref", "commit"])
        if (q.get(key))
            params.set(key, key === "ref" && !q.get(key)!.startsWith("refs/") ? "refs/heads/" + q.get(key)! : q.get(key)!);
    return "/api/v1/runs?" + params;
};
export const matrixUrl = (q: URLSearchParams): string => {
    const project = q.get("project"), ref = q.get("ref");
    return "/api/v1/matrix?" + new URLSearchParams({runs: "30", ...(project ? {project} : {}), ...(ref ? {ref: ref.startsWith("refs/") ? ref : `refs/heads/${ref}`} : {})});
};
export const boardUrl = (q: URLSearchParams): string => {
    const params = new URLSearchParams({limit: "50"});
    for (const k of ["project", "host", "target", "person", "state", "min_risk", "sort"])
        if (q.get(k))
            params.set(k, q.get(k)!);
    return "/api/v1/board?" + params;
};
export const projectNames = "/api/v1/projects?limit=500", peopleNames = "/api/v1/people?limit=500";

/** The page's own chunk (as build.mjs names it), and what it is for: two or three answers, since a browser opens six connections and the program wants some. A page that asks for something else meanwhile only wastes an answer. */
export function first(path: string, search: string): {chunk: string; urls: string[]} {
    const [top = "runs", one, ...rest] = path.split("/").filter(Boolean), q = new URLSearchParams(search), api = "/api/v1/", id = q.get("id");
    const only = one === undefined && rest.length === 0, number = one !== undefined && /^[1-9]\d{0,17}$/.test(one) && rest.length === 0;
    switch (top) {
    case "runs":
        return only ? {chunk: "", urls: [runsUrl(q), projectNames]} : {chunk: "run", urls: number ? [`${api}runs/${one}`, `${api}runs/${one}/preflight`, ...(/^\d+$/.test(q.get("attempt") ?? "") ? [`${api}attempts/${q.get("attempt")}`] : [])] : []};
    case "failures":
        return {chunk: top, urls: !only || search.length > 1 ? [] : [`${api}failures?sort=time&limit=40`, `${api}failures/facets?`]};
    case "knowledge":
        return {chunk: top, urls: one === "indicators" && search.length <= 1 ? [`${api}kb/indicators?limit=60`] : !only ? [] : [`${api}kb/challenges`, ...(id ? [`${api}kb/challenge?id=${encodeURIComponent(id)}`] : [])]};
    case "risk":
        return {chunk: top, urls: only && !q.get("view") ? [boardUrl(q)] : number ? [`${api}assignments/${one}`] : []};
    case "matrix":
        return {chunk: top, urls: only ? [matrixUrl(q), projectNames] : []};
    case "people":
        return {chunk: top, urls: only ? [`${api}people?limit=100`] : rest.length === 0 ? [`${api}people/${one}`] : []};
    case "notify":
        return {chunk: top, urls: only && !q.get("view") ? [`${api}notify/channels?limit=500`] : []};
    case "agents":
        return {chunk: top, urls: only ? [`${api}agents?limit=200`, `${api}stages/pending?limit=100`] : []};
    case "projects":
        return {chunk: top, urls: only ? [`${api}projects?limit=100`] : rest.length === 0 ? [`${api}projects/${one}`] : []};
    case "audit":
        return {chunk: top, urls: only && !q.get("view") ? [`${api}audit?limit=100`] : []};
    case "attempts":
        return {chunk: "attempt", urls: number ? [`${api}attempts/${one}`] : []};
    default:
        return {chunk: top, urls: []};
    }
}
