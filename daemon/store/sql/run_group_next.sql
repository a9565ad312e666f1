-- run_group_next: start the oldest waiting run of the group of $1 when none runs in it (a run without a group starts at once).  Under run_lock of $1.
-- Runs are prepared side by side: one of a group waits until every older one of its project is prepared, so that pushes start in their order.
-- State: run waiting -> running.
-- @write
-- @repeatable
UPDATE run SET state = 'running', started_at = COALESCE(started_at, now())
 WHERE id = (
    SELECT id FROM run WHERE id = $1::bigint AND concurrency_group IS NULL AND state = 'waiting'
    UNION ALL
    (SELECT w.id FROM run me JOIN run w ON w.project_id = me.project_id AND w.concurrency_group = me.concurrency_group AND w.state = 'waiting'
      WHERE me.id = $1::bigint
        AND NOT EXISTS (SELECT 1 FROM run x WHERE x.project_id = me.project_id AND x.concurrency_group = me.concurrency_group AND x.state = 'running')
        AND NOT EXISTS (SELECT 1 FROM run e WHERE e.project_id = me.project_id AND e.state = 'preparing' AND e.id < w.id)
      ORDER BY w.id LIMIT 1))
RETURNING id;
