-- run_supersede: `queue: latest` cancels the older waiting runs of the group; cancel-in-progress also the running ones.  $1 bigint run (newly planned).
-- Runs are prepared side by side, so a newer one may have been planned first: then this one is the older.
-- State: stage waiting, gated, queued, deciding -> cancelled; claimed, running -> cancelling. run waiting -> cancelled.
-- @write
WITH me AS (
    SELECT * FROM run WHERE id = $1::bigint AND concurrency_group IS NOT NULL
), old AS (
    SELECT r.id, r.state FROM run r, me WHERE r.project_id = me.project_id AND r.concurrency_group = me.concurrency_group AND r.id < me.id
       AND ((r.state = 'waiting' AND (me.concurrency_queue = 'latest' OR me.cancel_in_progress)) OR (r.state = 'running' AND me.cancel_in_progress))
    UNION ALL
    SELECT me.id, me.state FROM me WHERE me.state = 'waiting'
       AND EXISTS (SELECT 1 FROM run n WHERE n.project_id = me.project_id AND n.concurrency_group = me.concurrency_group AND n.id > me.id AND n.state IN ('waiting', 'running')
                      AND (n.concurrency_queue = 'latest' OR n.cancel_in_progress))
), stages AS (
    UPDATE stage s SET state = CASE WHEN s.state IN ('claimed', 'running') THEN 'cancelling' ELSE 'cancelled' END,
           message = 'superseded by a newer run of its concurrency group',
           cancel_by = now() + (s.grace_ms + 15000) * interval '1 ms',
           ended_at = CASE WHEN s.state IN ('claimed', 'running') THEN NULL ELSE now() END
      FROM old WHERE s.run_id = old.id AND s.state IN ('waiting', 'gated', 'queued', 'deciding', 'claimed', 'running')
)
UPDATE run r SET state = 'cancelled', message = 'superseded by a newer run of its concurrency group', ended_at = now()
  FROM old WHERE r.id = old.id AND old.state = 'waiting'
RETURNING r.id;
