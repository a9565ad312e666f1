-- failure_facets_find: counts of the facts of at most so many matching failures, of the newest months that have them, through the index of terms.  $1 jsonb filters, $2 since or null, $3 until or null, $4 boolean resolved or null,
-- $5 bigint at most failures to look at, $6 bigint at most values of a facet.  Returns rows facet, value, count; facet 'total' once, and 'complete' once: 1 when there was nothing beyond.
-- @read
WITH near AS MATERIALIZED (                          -- bounded before anything else is asked of them
    SELECT h.* FROM failure_slices((SELECT failure_query($1::jsonb)), $3::timestamptz, $2::timestamptz) AS m, LATERAL (
        SELECT f.class_id, f.agent, ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean) AND f.at >= COALESCE($2::timestamptz, '-infinity') AND f.at <= COALESCE($3::timestamptz, 'infinity')
               AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[])) AS fits FROM failure f WHERE f.terms @@ m.q AND (f.at < COALESCE(m.before, 'infinity')) IS TRUE LIMIT $5::bigint) h
     LIMIT $5::bigint
), hit AS MATERIALIZED (
    SELECT class_id, agent FROM near WHERE fits
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
