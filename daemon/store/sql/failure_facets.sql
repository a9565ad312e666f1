-- failure_facets: exact counts of the facts that classes hold, what is not folded yet included.  $1 jsonb filters (of classes only), $2 boolean resolved or null, $3 bigint at most values of a facet.
-- Returns rows facet, value, count; facet 'total' once.
-- @read
WITH more AS (
    SELECT class_id, sum(n) AS n, COALESCE(sum(n) FILTER (WHERE bucket > 0), 0) AS r FROM failure_delta GROUP BY class_id
), k AS MATERIALIZED (
    SELECT c.project_id, c.kind, c.target, c.platform, c.tool, c.challenge_id,
           CASE WHEN $2::boolean IS NULL THEN c.failures + COALESCE(more.n, 0) WHEN $2::boolean THEN c.resolved + COALESCE(more.r, 0) ELSE c.failures + COALESCE(more.n, 0) - c.resolved - COALESCE(more.r, 0) END::bigint AS n
      FROM failure_class c LEFT JOIN more ON more.class_id = c.id
     WHERE ($1::jsonb ->> 'project' IS NULL OR c.project_id = (SELECT id FROM project WHERE name = $1::jsonb ->> 'project'))
       AND ($1::jsonb ->> 'challenge' IS NULL OR CASE WHEN $1::jsonb ->> 'challenge' = 'none' THEN c.challenge_id = '' ELSE c.challenge_id = $1::jsonb ->> 'challenge' OR starts_with(c.challenge_id, ($1::jsonb ->> 'challenge') || '/') END)
       AND ($1::jsonb ->> 'taxonomy' IS NULL OR c.challenge_id IN (SELECT id FROM challenge WHERE taxonomy = $1::jsonb ->> 'taxonomy'))
       AND ($1::jsonb ->> 'platform' IS NULL OR c.platform = $1::jsonb ->> 'platform') AND ($1::jsonb ->> 'target' IS NULL OR lower(c.target) = lower($1::jsonb ->> 'target'))
       AND ($1::jsonb ->> 'stage' IS NULL OR lower(c.stage) = lower($1::jsonb ->> 'stage')) AND ($1::jsonb ->> 'kind' IS NULL OR c.kind = $1::jsonb ->> 'kind')
), few AS MATERIALIZED (
    SELECT kind, target, platform, tool, challenge_id, sum(n)::bigint AS n FROM k GROUP BY 1, 2, 3, 4, 5
), by AS (
    SELECT CASE grouping(kind, target, platform, tool, challenge_id) WHEN 15 THEN 'kind' WHEN 23 THEN 'target' WHEN 27 THEN 'platform' WHEN 29 THEN 'tool' WHEN 30 THEN 'challenge' ELSE 'total' END AS facet,
           NULL::bigint AS project_id, COALESCE(kind, target, platform, tool, challenge_id) AS value, sum(n)::bigint AS n
      FROM few GROUP BY GROUPING SETS ((kind), (target), (platform), (tool), (challenge_id), ())
    UNION ALL SELECT 'project', project_id, NULL, sum(n)::bigint FROM k GROUP BY project_id
), ordered AS (
    SELECT *, row_number() OVER (PARTITION BY facet ORDER BY n DESC, value, project_id) AS place FROM by WHERE n > 0 OR facet = 'total'
)
SELECT o.facet, COALESCE(p.name, CASE WHEN o.facet = 'challenge' AND o.value = '' THEN 'none' ELSE o.value END) AS value, COALESCE(o.n, 0) AS count
  FROM ordered o LEFT JOIN project p ON o.facet = 'project' AND p.id = o.project_id WHERE o.place <= $3::bigint AND (o.facet IN ('total', 'project') OR o.value <> '' OR o.facet = 'challenge') ORDER BY o.facet, o.place;
