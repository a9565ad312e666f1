-- run_settle: a run whose stages have all ended, ends.  $1 bigint run.  Green only when nothing is red (but for allow_failure) and nothing was cancelled.
-- State: run running -> green, red, cancelled.
-- @write
-- @repeatable
UPDATE run r SET ended_at = now(), state = CASE
           WHEN EXISTS (SELECT 1 FROM stage s WHERE s.run_id = r.id AND s.state = 'cancelled') THEN 'cancelled'
           WHEN EXISTS (SELECT 1 FROM stage s WHERE s.run_id = r.id AND s.state = 'red' AND NOT s.allow_failure) THEN 'red'
           ELSE 'green' END
 WHERE r.id = $1::bigint AND r.state = 'running'
   AND NOT EXISTS (SELECT 1 FROM stage s WHERE s.run_id = r.id AND s.state NOT IN ('green', 'red', 'cancelled', 'skipped'))
RETURNING r.id, r.state;
