-- sweep_stuck: runs that a crashed daemon left between two steps: released or settled again, both harmless to repeat.
-- @read
SELECT r.id FROM run r
 WHERE r.state IN ('running', 'waiting')
   AND (NOT EXISTS (SELECT 1 FROM stage s WHERE s.run_id = r.id AND s.state NOT IN ('green', 'red', 'cancelled', 'skipped', 'waiting'))
        OR EXISTS (SELECT 1 FROM stage s WHERE s.run_id = r.id AND s.state = 'waiting' AND NOT EXISTS (SELECT 1 FROM stage_need n JOIN stage b ON b.id = n.needs_id WHERE n.stage_id = s.id AND b.state NOT IN ('green', 'red', 'cancelled', 'skipped'))))
   AND (r.state = 'running' OR r.concurrency_group IS NULL OR NOT EXISTS (SELECT 1 FROM run x WHERE x.project_id = r.project_id AND x.concurrency_group = r.concurrency_group AND x.state = 'running'))
 ORDER BY r.id LIMIT 200;
