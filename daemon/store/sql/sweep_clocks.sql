-- sweep_clocks: the clocks that the daemon keeps: queue wait, total, and start-to-close where the agent did not keep it (with a minute to spare).
-- What began before a clock was set forward (sweep_watch) has so much more time.  $1 bigint ms that it was set forward by, $2 bigint until when, ms since 1970.
-- State: stage queued, running -> red.
-- @write
-- @repeatable
WITH jump AS (
    SELECT $1::bigint * interval '1 ms' AS by, to_timestamp($2::bigint / 1000.0) AS until
), timed AS (
    SELECT s.id, s.attempt_id, s.state, CASE
               WHEN s.state = 'queued' AND now() - CASE WHEN s.queued_at < jump.until THEN jump.by ELSE '0' END > s.queued_at + s.queue_timeout_ms * interval '1 ms' THEN 'waited in the queue for longer than its queue-timeout'
               WHEN s.state = 'queued' AND now() - CASE WHEN s.first_queued_at < jump.until THEN jump.by ELSE '0' END > s.first_queued_at + s.total_timeout_ms * interval '1 ms' THEN 'ran out of its total time over all attempts'
               WHEN s.state = 'running' AND now() - CASE WHEN s.started_at < jump.until THEN jump.by ELSE '0' END > s.started_at + (s.timeout_ms + s.grace_ms + 60000) * interval '1 ms' THEN 'ran past its timeout and the agent did not end it'
           END AS why
      FROM stage s, jump WHERE s.state IN ('queued', 'running')
), late AS (                                         -- however many wait before them
    SELECT * FROM timed WHERE why IS NOT NULL ORDER BY id LIMIT 500
), due AS (
    SELECT s.id, late.why, late.attempt_id FROM late JOIN stage s ON s.id = late.id AND s.state = late.state FOR UPDATE OF s SKIP LOCKED
), ended AS (
    UPDATE attempt a SET ok = false, end_reason = 'timeout', ended_at = now(), message = due.why, diagnosis_state = 'pending' FROM due WHERE a.id = due.attempt_id AND a.ended_at IS NULL
)
UPDATE stage s SET state = 'red', message = due.why, ended_at = now(), lease_until = NULL FROM due WHERE s.id = due.id
RETURNING s.run_id, s.id, s.name, s.state;
