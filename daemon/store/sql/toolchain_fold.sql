-- toolchain_fold: ends of attempts into the counts of toolchain pairs, as failure_fold.  $1 bigint at most.
-- @write bulk
WITH mine AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(7015504) AS ok
), taken AS (
    DELETE FROM toolchain_delta WHERE id IN (SELECT id FROM toolchain_delta WHERE (SELECT ok FROM mine) ORDER BY id LIMIT $1::bigint) RETURNING *
)
INSERT INTO toolchain_pair (project_id, kind, made_with, used_with, ok, failed, last_day, last_ok_day)
SELECT project_id, kind, made_with, used_with, sum(ok), sum(failed), max(day), max(day) FILTER (WHERE ok > 0) FROM taken GROUP BY 1, 2, 3, 4
ON CONFLICT (project_id, kind, made_with, used_with) DO UPDATE SET ok = toolchain_pair.ok + excluded.ok, failed = toolchain_pair.failed + excluded.failed,
    last_day = GREATEST(toolchain_pair.last_day, excluded.last_day), last_ok_day = GREATEST(toolchain_pair.last_ok_day, excluded.last_ok_day)
RETURNING project_id;
