-- failure_facets_find: counts of the facts of at most so many matching failures, of the newest months that have them, through the index of terms.  $1 jsonb filters, $2 since or null, $3 until or null, $4 boolean resolved or null,
-- $5 bigint at most failures to look at, $6 bigint at most values of a facet.  Returns rows facet, value, count; facet 'total' once, and 'complete' once: 1 when there was nothing beyond; 'since': the oldest that was looked at (us).
-- @read
WITH hit AS MATERIALIZED (                           -- bounded before anything else is asked of them
    SELECT h.* FROM failure_slices((SELECT failure_query($1::jsonb)), $3::timestamptz, $2::timestamptz) AS m, LATERAL (
        SELECT f.project_id, f.kind, COALESCE(f.target, '') AS target, f.platform, f.tool, COALESCE(f.challenge_id, '') AS challenge_id, f.agent, f.at, ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean) AND f.at >= COALESCE($2::timestamptz, '-infinity') AND f.at <= COALESCE($3::timestamptz, 'infinity')
               AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[])) AS fits
          FROM failure f WHERE f.terms @@ m.months AND f.terms @@ m.q AND (f.at < COALESCE(m.before, 'infinity')) IS TRUE LIMIT $5::bigint) h
     LIMIT $5::bigint
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
