-- run_supersede: `queue: latest` cancels the older waiting runs of the group; cancel-in-progress also the running ones.  $1 bigint run (newly planned).
-- State: stage waiting, gated, queued -> cancelled; claimed, running -> cancelling. run waiting -> cancelled.
-- @write
WITH me AS (
    SELECT * FROM run WHERE id = $1::bigint AND concurrency_group IS NOT NULL
), old AS (
    SELECT r.id, r.state FROM run r, me WHERE r.project_id = me.project_id AND r.concurrency_group = me.concurrency_group AND r.id < me.id
       AND ((r.state = 'waiting' AND (me.concurrency_queue = 'latest' OR me.cancel_in_progress)) OR (r.state = 'running' AND me.cancel_in_progress))
), stages AS (
    UPDATE stage s SET state = CASE WHEN s.state IN ('claimed', 'running') THEN 'cancelling' ELSE 'cancelled' END,
           message = 'superseded by a newer run of its concurrency group',
           cancel_by = now() + (s.grace_ms + 15000) * interval '1 ms',
           ended_at = CASE WHEN s.state IN ('claimed', 'running') THEN NULL ELSE now() END
      FROM old WHERE s.run_id = old.id AND s.state IN ('waiting', 'gated', 'queued', 'claimed', 'running')
)
UPDATE run r SET state = 'cancelled', message = 'superseded by a newer run of its concurrency group', ended_at = now()
  FROM old WHERE r.id = old.id AND old.state = 'waiting'
RETURNING r.id;
