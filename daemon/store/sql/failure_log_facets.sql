-- failure_log_facets: as failure_facets_find, but the words are looked for in whole logs.  The same parameters; $1 has "in": "log".
-- Returns rows facet, value, count; facet 'total' once, and 'complete' once: 1 when no more had the words.
-- @read
WITH near AS MATERIALIZED (
    SELECT h.* FROM failure_slices((SELECT failure_query($1::jsonb)), $3::timestamptz, $2::timestamptz) AS m, LATERAL (
        SELECT l.attempt_id FROM failure_log l WHERE l.words @@ m.q AND (l.at < COALESCE(m.before, 'infinity')) IS TRUE AND (l.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (l.at <= COALESCE($3::timestamptz, 'infinity')) IS TRUE LIMIT $5::bigint) h
     LIMIT $5::bigint
), hit AS MATERIALIZED (
    SELECT f.class_id, f.agent FROM near JOIN failure f ON f.attempt_id = near.attempt_id WHERE $4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean
), k AS (
    SELECT c.project_id, c.kind, c.target, c.platform, c.tool, c.challenge_id, h.n FROM (SELECT class_id, count(*) AS n FROM hit GROUP BY 1) h JOIN failure_class c ON c.id = h.class_id
), by AS (
    SELECT CASE grouping(project_id, kind, target, platform, tool, challenge_id) WHEN 31 THEN 'project' WHEN 47 THEN 'kind' WHEN 55 THEN 'target' WHEN 59 THEN 'platform' WHEN 61 THEN 'tool' WHEN 62 THEN 'challenge' ELSE 'total' END AS facet,
           project_id, COALESCE(kind, target, platform, tool, challenge_id) AS value, sum(n)::bigint AS n
      FROM k GROUP BY GROUPING SETS ((project_id), (kind), (target), (platform), (tool), (challenge_id), ())
    UNION ALL SELECT 'agent', NULL, agent, count(*) FROM hit WHERE agent IS NOT NULL GROUP BY agent
), ordered AS (
    SELECT *, row_number() OVER (PARTITION BY facet ORDER BY n DESC, value, project_id) AS place FROM by
)
SELECT 'complete' AS facet, NULL AS value, CASE WHEN count(*) < $5::bigint THEN 1 ELSE 0 END AS count, 0 AS place FROM near
UNION ALL
SELECT o.facet, COALESCE(p.name, CASE WHEN o.facet = 'challenge' AND o.value = '' THEN 'none' ELSE o.value END) AS value, COALESCE(o.n, 0), o.place
  FROM ordered o LEFT JOIN project p ON o.facet = 'project' AND p.id = o.project_id WHERE o.place <= $6::bigint AND (o.facet IN ('total', 'project') OR o.value <> '' OR o.facet = 'challenge') ORDER BY 1, 4;
