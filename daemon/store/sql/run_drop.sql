-- run_drop: the pipeline file does not ask for a run of this push: the push keeps the reason and the run's id, the run goes.  $1 bigint run, $2 reason.
-- @write
-- @repeatable
WITH gone AS (DELETE FROM run WHERE id = $1::bigint AND state = 'preparing' RETURNING id, push_id)
UPDATE push SET outcome = $2::text, run_dropped = gone.id FROM gone WHERE push.id = gone.push_id;
