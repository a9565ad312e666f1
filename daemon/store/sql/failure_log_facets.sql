-- failure_log_facets: as failure_facets_find, but the words are looked for in whole logs.  The same parameters; $1 has "in": "log".
-- Returns rows facet, value, count; facet 'total' once, and 'complete' once: 1 when no more had the words; 'since': the oldest that was looked at (us).
-- @read
WITH found AS MATERIALIZED (
    SELECT h.* FROM failure_slices((SELECT failure_query($1::jsonb)), $3::timestamptz, $2::timestamptz) AS m, LATERAL (
        SELECT l.attempt_id, l.at FROM failure_log l WHERE l.words @@ m.months AND l.words @@ m.q AND (l.at < COALESCE(m.before, 'infinity')) IS TRUE AND (l.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (l.at <= COALESCE($3::timestamptz, 'infinity')) IS TRUE LIMIT $5::bigint) h
     LIMIT $5::bigint
), hit AS MATERIALIZED (
    SELECT f.project_id, f.kind, COALESCE(f.target, '') AS target, f.platform, f.tool, COALESCE(f.challenge_id, '') AS challenge_id, f.agent, found.at, $4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean AS fits FROM found JOIN failure f ON f.attempt_id = found.attempt_id
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
