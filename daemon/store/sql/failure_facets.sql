-- failure_facets: exact counts of the facts that classes hold, what is not folded yet included.  $1 jsonb filters (of classes only), $2 boolean resolved or null, $3 bigint at most values of a facet.
-- Returns rows facet, value, count; facet 'total' once.
-- @read
WITH b AS MATERIALIZED (
    SELECT (SELECT COALESCE((SELECT id FROM project WHERE name = $1::jsonb ->> 'project'), -1) WHERE $1::jsonb ? 'project') AS project, $1::jsonb ->> 'challenge' AS challenge, ($1::jsonb ->> 'challenge') || '/' AS below,
           (SELECT array_agg(id) FROM challenge WHERE $1::jsonb ? 'taxonomy' AND taxonomy = $1::jsonb ->> 'taxonomy') AS taxonomy, $1::jsonb ? 'taxonomy' AS by_taxonomy,
           $1::jsonb ->> 'platform' AS platform, lower($1::jsonb ->> 'target') AS target, lower($1::jsonb ->> 'stage') AS stage, $1::jsonb ->> 'kind' AS kind
), d AS (
    SELECT class_id, sum(CASE WHEN $2::boolean IS NULL OR $2::boolean = (bucket > 0) THEN n ELSE 0 END) AS n FROM failure_delta GROUP BY class_id
), few AS MATERIALIZED (                             -- one pass: the many classes to the few combinations without project and stage, and to projects
    SELECT grouping(c.project_id) = 0 AS whole, c.project_id, c.kind, c.target, c.platform, c.tool, c.challenge_id,
           sum((CASE WHEN $2::boolean IS NULL THEN c.failures WHEN $2::boolean THEN c.resolved ELSE c.failures - c.resolved END)::integer + COALESCE(d.n, 0)::integer) AS n
      FROM failure_class c LEFT JOIN d ON d.class_id = c.id
     WHERE ((SELECT project FROM b) IS NULL OR c.project_id = (SELECT project FROM b))
       AND ((SELECT challenge FROM b) IS NULL OR c.challenge_id = CASE WHEN (SELECT challenge FROM b) = 'none' THEN '' ELSE (SELECT challenge FROM b) END OR starts_with(c.challenge_id, (SELECT below FROM b)))
       AND (NOT (SELECT by_taxonomy FROM b) OR c.challenge_id = ANY ((SELECT taxonomy FROM b)::text[]))
       AND ((SELECT platform FROM b) IS NULL OR c.platform = (SELECT platform FROM b)) AND ((SELECT target FROM b) IS NULL OR lower(c.target) = (SELECT target FROM b))
       AND ((SELECT stage FROM b) IS NULL OR lower(c.stage) = (SELECT stage FROM b)) AND ((SELECT kind FROM b) IS NULL OR c.kind = (SELECT kind FROM b))
     GROUP BY GROUPING SETS ((c.kind, c.target, c.platform, c.tool, c.challenge_id), (c.project_id))
), by AS (
    SELECT CASE grouping(kind, target, platform, tool, challenge_id) WHEN 15 THEN 'kind' WHEN 23 THEN 'target' WHEN 27 THEN 'platform' WHEN 29 THEN 'tool' WHEN 30 THEN 'challenge' ELSE 'total' END AS facet,
           NULL::bigint AS project_id, COALESCE(kind, target, platform, tool, challenge_id) AS value, sum(n)::bigint AS n
      FROM few WHERE NOT whole GROUP BY GROUPING SETS ((kind), (target), (platform), (tool), (challenge_id), ())
    UNION ALL SELECT 'project', project_id, NULL, n::bigint FROM few WHERE whole
), ordered AS (
    SELECT *, row_number() OVER (PARTITION BY facet ORDER BY n DESC, value, project_id) AS place FROM by WHERE n > 0 OR facet = 'total'
)
SELECT o.facet, COALESCE(p.name, CASE WHEN o.facet = 'challenge' AND o.value = '' THEN 'none' ELSE o.value END) AS value, COALESCE(o.n, 0) AS count
  FROM ordered o LEFT JOIN project p ON o.facet = 'project' AND p.id = o.project_id WHERE o.place <= $3::bigint AND (o.facet IN ('total', 'project') OR o.value <> '' OR o.facet = 'challenge') ORDER BY o.facet, o.place;
