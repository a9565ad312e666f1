-- trend_operators: operators that failures named, most wanted first (by projects, then unresolved failures), with where.  $1 project name or null (all), $2 platform or null, $3 bigint at most.
-- @read
WITH o AS MATERIALIZED (
    SELECT project_id, operator, platform, tool, challenge_id, failures, resolved, first_day, last_day FROM failure_operator
     WHERE ($1::text IS NULL OR project_id = (SELECT id FROM project WHERE name = $1::text)) AND ($2::text IS NULL OR platform = $2::text)
    UNION ALL
    SELECT c.project_id, x.operator, c.platform, c.tool, c.challenge_id, x.n, CASE WHEN x.bucket > 0 THEN x.n ELSE 0 END, x.day, x.day FROM failure_delta x JOIN failure_class c ON c.id = x.class_id
     WHERE x.operator IS NOT NULL AND ($1::text IS NULL OR c.project_id = (SELECT id FROM project WHERE name = $1::text)) AND ($2::text IS NULL OR c.platform = $2::text)
), place AS (
    SELECT operator, platform, tool, sum(failures)::bigint AS failures, sum(resolved)::bigint AS resolved, count(DISTINCT project_id) AS projects, (array_agg(challenge_id ORDER BY failures DESC, challenge_id))[1] AS challenge_id FROM o GROUP BY 1, 2, 3 HAVING sum(failures) > 0
), whole AS (
    SELECT operator, sum(failures)::bigint AS failures, sum(resolved)::bigint AS resolved, count(DISTINCT project_id) AS projects, min(first_day) AS first_day, max(last_day) AS last_day FROM o GROUP BY 1 HAVING sum(failures) > 0
)
SELECT w.operator, w.failures, w.failures - w.resolved AS unresolved, w.projects, w.first_day::text AS first_day, w.last_day::text AS last_day,
       (SELECT jsonb_agg(jsonb_build_object('platform', p.platform, 'tool', p.tool, 'failures', p.failures, 'unresolved', p.failures - p.resolved, 'projects', p.projects, 'challenge_id', NULLIF(p.challenge_id, '')) ORDER BY p.failures DESC, p.platform, p.tool) FROM place p WHERE p.operator = w.operator) AS places
  FROM whole w ORDER BY w.projects DESC, w.failures - w.resolved DESC, w.failures DESC, w.operator LIMIT $3::bigint;
