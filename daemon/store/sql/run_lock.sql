-- run_lock: one writer at a time for a run and its concurrency group; what follows in the transaction sees the latest.  $1 bigint run.
-- @write
-- @repeatable
SELECT r.id, r.state, pg_advisory_xact_lock(7411, hashtext(r.project_id || '/' || COALESCE(r.concurrency_group, 'run ' || r.id)))
  FROM run r WHERE r.id = $1::bigint FOR UPDATE;
