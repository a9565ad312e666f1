-- run_drop: the pipeline file does not ask for a run of this push: the push keeps the reason, the run goes.  $1 bigint run, $2 reason.
-- @write
-- @repeatable
WITH gone AS (DELETE FROM run WHERE id = $1::bigint AND state = 'preparing' RETURNING push_id)
UPDATE push SET outcome = $2::text FROM gone WHERE push.id = gone.push_id;
