-- trend_toolchains: pairs of what a model was made with and what took it, by how often that fails.  $1 project name or null (all), $2 bigint at most.
-- @read
WITH t AS (
    SELECT kind, made_with, used_with, ok, failed, last_day, last_ok_day, project_id FROM toolchain_pair WHERE $1::text IS NULL OR project_id = (SELECT id FROM project WHERE name = $1::text)
    UNION ALL
    SELECT kind, made_with, used_with, ok, failed, day, CASE WHEN ok > 0 THEN day END, project_id FROM toolchain_delta WHERE $1::text IS NULL OR project_id = (SELECT id FROM project WHERE name = $1::text)
)
SELECT made_with, used_with, kind, sum(ok)::bigint AS ok, sum(failed)::bigint AS failed, round(100.0 * sum(failed) / sum(ok + failed), 1)::double precision AS failed_share, count(DISTINCT project_id) AS projects,
       sum(ok) = 0 AS never_green, max(last_day)::text AS last_day, max(last_ok_day)::text AS last_green_day
  FROM t GROUP BY 1, 2, 3 HAVING sum(failed) > 0 ORDER BY sum(ok) = 0 AND sum(failed) > 2 DESC, 100.0 * sum(failed) / sum(ok + failed) DESC, sum(failed) DESC, 1, 2, 3 LIMIT $2::bigint;
