-- failure_facets_recent: counts of the facts of matching failures among the newest ones.  $1 jsonb filters, $2 since or null, $3 until or null, $4 boolean resolved or null, $5 bigint how many failures to look at,
-- $6 bigint at most values of a facet.  Returns rows facet, value, count; facet 'total' once, and 'complete' once: 1 when there was nothing beyond the window; 'since': when the window begins (us).
-- @read
WITH bound AS MATERIALIZED (
    SELECT failure_query($1::jsonb) AS q, failure_query($1::jsonb) IS NULL AS every
), hit AS MATERIALIZED (
    SELECT f.project_id, f.kind, COALESCE(f.target, '') AS target, f.platform, f.tool, COALESCE(f.challenge_id, '') AS challenge_id, f.agent, f.at, ((SELECT every FROM bound) OR f.terms @@ (SELECT q FROM bound)) AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean)
           AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[])) AS fits
      FROM failure f WHERE f.at >= COALESCE($2::timestamptz, '-infinity') AND f.at <= COALESCE($3::timestamptz, 'infinity') ORDER BY f.at DESC, f.attempt_id DESC LIMIT $5::bigint
), k AS MATERIALIZED (
    SELECT grouping(project_id, kind, target, platform, tool, challenge_id, agent) AS by, project_id, COALESCE(kind, target, platform, tool, challenge_id, agent) AS name, count(*) AS n
      FROM hit WHERE fits GROUP BY GROUPING SETS ((project_id), (kind), (target), (platform), (tool), (challenge_id), (agent), ())
), lists AS (
    SELECT array_agg(by) AS by, array_agg(project_id) AS projects, array_agg(name) AS names, array_agg(n) AS counts FROM k
), seen AS MATERIALIZED (
    SELECT count(*) AS n, min(at) AS since FROM hit
)
SELECT 'complete' AS facet, NULL AS value, CASE WHEN n < $5::bigint THEN 1 ELSE 0 END AS count, 0 AS place FROM seen
UNION ALL SELECT 'since', NULL, (extract(epoch FROM since) * 1000000)::bigint, 0 FROM seen WHERE since IS NOT NULL
UNION ALL SELECT f.facet, f.value, f.count, f.place FROM lists l, LATERAL failure_facets_of(l.by, l.projects, l.names, l.counts, $6::bigint) AS f ORDER BY 1, 4;
