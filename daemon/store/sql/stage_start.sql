-- stage_start: the attempt has begun.  $1 bigint attempt, $2 bigint fence, $3 bigint agent, $4 bigint lease ms.  0 rows: stale fence.
-- State: stage claimed -> running.
-- @write
-- @repeatable
WITH s AS (
    UPDATE stage SET state = CASE WHEN state = 'claimed' THEN 'running' ELSE state END, started_at = COALESCE(started_at, now()), lease_until = now() + $4::bigint * interval '1 ms'
     WHERE attempt_id = $1::bigint AND fence = $2::bigint AND agent_id = $3::bigint AND state IN ('claimed', 'running', 'cancelling')
    RETURNING id, state
)
UPDATE attempt a SET started_at = COALESCE(a.started_at, now()) FROM s WHERE a.id = $1::bigint RETURNING a.id, s.state;
