-- run_group_next: start the oldest waiting run of the group of $1 when none runs in it (a run without a group starts at once).  Under run_lock of $1.
-- State: run waiting -> running.
-- @write
-- @repeatable
UPDATE run SET state = 'running', started_at = COALESCE(started_at, now())
 WHERE id = (
    SELECT w.id FROM run me JOIN run w ON w.project_id = me.project_id AND w.state = 'waiting'
       AND (w.id = me.id OR w.concurrency_group = me.concurrency_group)
     WHERE me.id = $1::bigint
       AND (me.concurrency_group IS NULL OR NOT EXISTS (SELECT 1 FROM run x WHERE x.project_id = me.project_id AND x.concurrency_group = me.concurrency_group AND x.state = 'running'))
     ORDER BY w.id LIMIT 1)
RETURNING id;
