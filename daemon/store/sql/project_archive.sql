-- project_archive: keeps runs and logs, frees the name; what is under way ends as by run_cancel (sweep_stuck closes runs of which nothing is left).  $1 name.  0 or 1 row.
-- State: stage waiting, gated, queued, deciding -> cancelled; claimed, running -> cancelling. run preparing, waiting -> cancelled.
-- @write
-- @repeatable
WITH gone AS (
    UPDATE project SET archived_at = now(), name = left(name, 40) || '-archived-' || id, poll_at = NULL WHERE name = $1::text AND archived_at IS NULL RETURNING id
), open AS (
    SELECT r.id FROM run r, gone WHERE r.project_id = gone.id AND r.state IN ('preparing', 'waiting', 'running')
), stages AS (
    UPDATE stage s SET state = CASE WHEN s.state IN ('claimed', 'running') THEN 'cancelling' ELSE 'cancelled' END,
           message = 'the project was removed', cancel_by = now() + (s.grace_ms + 15000) * interval '1 ms',
           ended_at = CASE WHEN s.state IN ('claimed', 'running') THEN NULL ELSE now() END
      FROM open WHERE s.run_id = open.id AND s.state IN ('waiting', 'gated', 'queued', 'deciding', 'claimed', 'running')
), runs AS (
    UPDATE run r SET message = 'the project was removed',
           state = CASE WHEN r.state IN ('preparing', 'waiting') THEN 'cancelled' ELSE r.state END,
           ended_at = CASE WHEN r.state IN ('preparing', 'waiting') THEN now() END
      FROM open WHERE r.id = open.id
)
SELECT id FROM gone;
