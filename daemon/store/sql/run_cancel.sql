-- run_cancel: $1 bigint run, $2 who.  Ends in any case: what no agent holds at once, the rest by cancel_by.
-- State: stage waiting, gated, queued, deciding -> cancelled; claimed, running -> cancelling. run preparing, waiting -> cancelled.
-- @write
-- @repeatable
WITH stages AS (
    UPDATE stage s SET state = CASE WHEN s.state IN ('claimed', 'running') THEN 'cancelling' ELSE 'cancelled' END,
           message = 'cancelled by ' || $2::text, cancel_by = now() + (s.grace_ms + 15000) * interval '1 ms',
           ended_at = CASE WHEN s.state IN ('claimed', 'running') THEN NULL ELSE now() END
     WHERE s.run_id = $1::bigint AND s.state IN ('waiting', 'gated', 'queued', 'deciding', 'claimed', 'running')
    RETURNING id
)
UPDATE run SET message = 'cancelled by ' || $2::text,
       state = CASE WHEN state IN ('preparing', 'waiting') THEN 'cancelled' ELSE state END,
       ended_at = CASE WHEN state IN ('preparing', 'waiting') THEN now() END
 WHERE id = $1::bigint AND state IN ('preparing', 'waiting', 'running')
RETURNING id, (SELECT count(*) FROM stages) AS stages;
