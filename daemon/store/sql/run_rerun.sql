-- run_rerun: once more from the first stage that did not turn green; what is green keeps its artifacts.  $1 bigint run.
-- 0 rows: its state does not allow it, or another run of its concurrency group runs (a run that ended does not wait in line again).  Under run_lock of $1.
-- State: stage red, cancelled, skipped -> waiting. run red, cancelled -> running.
-- @write
WITH open AS (
    UPDATE run SET state = 'running', ended_at = NULL, message = NULL WHERE id = $1::bigint AND state IN ('red', 'cancelled') AND plan IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM run x WHERE x.project_id = run.project_id AND x.concurrency_group = run.concurrency_group AND x.state = 'running')
    RETURNING id
)
UPDATE stage s SET state = 'waiting', message = NULL, retries = 0, losses = 0, unclear_retries = 0, ended_at = NULL, started_at = NULL, queued_at = NULL, first_queued_at = NULL, not_before = now(),
       risk_open_since = NULL, risk_given_up = false, risk_looks = CASE WHEN s.risk_given_up THEN -1 ELSE s.risk_looks END -- its gate is decided by a weighing, not by the wait of then
  FROM open WHERE s.run_id = open.id AND s.state IN ('red', 'cancelled', 'skipped')
RETURNING s.id;
