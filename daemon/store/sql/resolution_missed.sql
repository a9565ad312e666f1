-- resolution_missed: green attempts after open failures that nothing was noted of: the repair of whatever went wrong, over the failures of the last days, a bounded number.  $1 bigint failures at most.
-- @write bulk
-- @repeatable
INSERT INTO resolution_due (green_attempt_id)
SELECT DISTINCT g.attempt_id
  FROM (SELECT project_id, stage, ref, run_id, attempt_id, at FROM failure WHERE resolved_at IS NULL AND at > now() - interval '30 days' ORDER BY at DESC LIMIT $1::bigint) f,
       LATERAL (SELECT s.attempt_id FROM run r JOIN stage s ON s.run_id = r.id AND s.name = f.stage AND s.state = 'green' WHERE r.project_id = f.project_id AND r.id >= f.run_id AND r.ref = f.ref AND s.attempt_id > f.attempt_id ORDER BY r.id LIMIT 1) g
ON CONFLICT DO NOTHING;
