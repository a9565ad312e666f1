-- failure_fold: changes of failures into the counts, a bounded piece at a time, by one daemon at a time.  $1 bigint at most.  Returns folded: how many.
-- What is taken is deleted and counted in one transaction, so that it is counted once whoever dies.
-- @write bulk
WITH mine AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(7015503) AS ok
), taken AS (
    DELETE FROM failure_delta WHERE id IN (SELECT id FROM failure_delta WHERE (SELECT ok FROM mine) ORDER BY id LIMIT $1::bigint) RETURNING class_id, day, bucket, operator, n
), d AS (
    SELECT t.*, c.project_id, f.challenge_id, f.platform, f.tool FROM taken t JOIN failure_class c ON c.id = t.class_id JOIN failure_form f ON f.id = c.form_id
), classes AS (
    UPDATE failure_class c SET failures = c.failures + x.n, resolved = c.resolved + x.r
      FROM (SELECT class_id, sum(n) AS n, COALESCE(sum(n) FILTER (WHERE bucket > 0), 0) AS r FROM d GROUP BY class_id) x WHERE c.id = x.class_id AND (x.n <> 0 OR x.r <> 0)
), days AS (
    INSERT INTO failure_day (project_id, day, challenge_id, failures, resolved)
    SELECT project_id, day, challenge_id, sum(n), COALESCE(sum(n) FILTER (WHERE bucket > 0), 0) FROM d GROUP BY 1, 2, 3
    ON CONFLICT (project_id, day, challenge_id) DO UPDATE SET failures = failure_day.failures + excluded.failures, resolved = failure_day.resolved + excluded.resolved
), hours AS (
    INSERT INTO failure_hours (project_id, month, challenge_id, bucket, n)
    SELECT project_id, date_trunc('month', day)::date, challenge_id, bucket, sum(n) FROM d WHERE bucket > 0 GROUP BY 1, 2, 3, 4
    ON CONFLICT (project_id, month, challenge_id, bucket) DO UPDATE SET n = failure_hours.n + excluded.n
), totals AS (
    INSERT INTO failure_total (unit, at, challenge_id, failures, resolved)
    SELECT u.unit, date_trunc(u.unit, d.day)::date, d.challenge_id, sum(d.n), COALESCE(sum(d.n) FILTER (WHERE d.bucket > 0), 0) FROM d, (VALUES ('day'), ('week'), ('month')) AS u (unit) GROUP BY 1, 2, 3
    ON CONFLICT (unit, at, challenge_id) DO UPDATE SET failures = failure_total.failures + excluded.failures, resolved = failure_total.resolved + excluded.resolved
), total_hours AS (
    INSERT INTO failure_total_hours (month, challenge_id, bucket, n)
    SELECT date_trunc('month', day)::date, challenge_id, bucket, sum(n) FROM d WHERE bucket > 0 GROUP BY 1, 2, 3
    ON CONFLICT (month, challenge_id, bucket) DO UPDATE SET n = failure_total_hours.n + excluded.n
), operators AS (
    INSERT INTO failure_operator (project_id, operator, platform, tool, challenge_id, failures, resolved, first_day, last_day)
    SELECT project_id, operator, platform, tool, challenge_id, sum(n), COALESCE(sum(n) FILTER (WHERE bucket > 0), 0), min(day), max(day) FROM d WHERE operator IS NOT NULL GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (project_id, operator, platform, tool, challenge_id) DO UPDATE SET failures = failure_operator.failures + excluded.failures, resolved = failure_operator.resolved + excluded.resolved,
        first_day = LEAST(failure_operator.first_day, excluded.first_day), last_day = GREATEST(failure_operator.last_day, excluded.last_day)
)
SELECT count(*) AS folded FROM taken;
