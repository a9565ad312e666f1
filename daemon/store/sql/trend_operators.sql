-- trend_operators: operators that failures named, most wanted first (by projects, then unresolved failures), with where.  $1 project name or null (all), $2 platform or null, $3 bigint at most.
-- @read
WITH o AS MATERIALIZED (
    SELECT project_id, operator, platform, tool, challenge_id, failures, resolved, first_day, last_day FROM failure_operator
     WHERE ($1::text IS NULL OR project_id = (SELECT id FROM project WHERE name = $1::text)) AND ($2::text IS NULL OR platform = $2::text)
    UNION ALL
    SELECT c.project_id, x.operator, f.platform, f.tool, f.challenge_id, x.n, CASE WHEN x.bucket > 0 THEN x.n ELSE 0 END, x.day, x.day FROM failure_delta x JOIN failure_class c ON c.id = x.class_id JOIN failure_form f ON f.id = c.form_id
     WHERE x.operator IS NOT NULL AND ($1::text IS NULL OR c.project_id = (SELECT id FROM project WHERE name = $1::text)) AND ($2::text IS NULL OR f.platform = $2::text)
), merged AS MATERIALIZED (                          -- hashed twice rather than sorted three times
    SELECT operator, platform, tool, challenge_id, sum(failures)::bigint AS failures, sum(resolved)::bigint AS resolved FROM o GROUP BY 1, 2, 3, 4
), in_projects AS MATERIALIZED (
    SELECT operator, platform, tool, project_id, sum(failures) AS failures, min(first_day) AS first_day, max(last_day) AS last_day FROM o GROUP BY 1, 2, 3, 4
), of_operator AS (
    SELECT operator, count(*) AS projects, min(first_day) AS first_day, max(last_day) AS last_day
      FROM (SELECT operator, project_id, min(first_day) AS first_day, max(last_day) AS last_day FROM in_projects GROUP BY 1, 2 HAVING sum(failures) > 0) x GROUP BY 1
), whole AS MATERIALIZED (
    SELECT p.operator, m.failures, m.resolved, p.projects, p.first_day, p.last_day
      FROM of_operator p JOIN (SELECT operator, sum(failures)::bigint AS failures, sum(resolved)::bigint AS resolved FROM merged GROUP BY 1) m USING (operator)
     ORDER BY p.projects DESC, m.failures - m.resolved DESC, m.failures DESC, p.operator LIMIT $3::bigint
), place AS (
    SELECT m.operator, m.platform, m.tool, m.failures, m.resolved, p.projects, m.challenge_id
      FROM (SELECT operator, platform, tool, sum(failures)::bigint AS failures, sum(resolved)::bigint AS resolved, (array_agg(challenge_id ORDER BY failures DESC, challenge_id))[1] AS challenge_id FROM merged GROUP BY 1, 2, 3 HAVING sum(failures) > 0) m
      JOIN (SELECT operator, platform, tool, count(*) FILTER (WHERE failures > 0) AS projects FROM in_projects GROUP BY 1, 2, 3) p USING (operator, platform, tool)
), places AS (
    SELECT p.operator, jsonb_agg(jsonb_build_object('platform', p.platform, 'tool', p.tool, 'failures', p.failures, 'unresolved', p.failures - p.resolved, 'projects', p.projects, 'challenge_id', NULLIF(p.challenge_id, '')) ORDER BY p.failures DESC, p.platform, p.tool) AS places
      FROM place p JOIN whole w USING (operator) GROUP BY 1
)
SELECT w.operator, w.failures, w.failures - w.resolved AS unresolved, w.projects, w.first_day::text AS first_day, w.last_day::text AS last_day, p.places
  FROM whole w LEFT JOIN places p USING (operator) ORDER BY w.projects DESC, w.failures - w.resolved DESC, w.failures DESC, w.operator;
