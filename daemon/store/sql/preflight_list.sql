-- preflight_list: findings of a run, errors first, each with what became of its stage.  $1 bigint run.
-- @read
SELECT f.rule, f.severity, f.challenge_id, f.target, f.stage, f.path, f.message, f.remedy, p.id AS preflight_id, (SELECT s.name FROM stage s WHERE s.id = p.stage_id) AS found_in,
       s.id AS stage_id, s.state AS stage_state, (SELECT a.challenge_id FROM attempt a WHERE a.id = s.attempt_id AND s.state = 'red') AS became
  FROM preflight_finding f JOIN preflight p ON p.id = f.preflight_id LEFT JOIN stage s ON s.run_id = f.run_id AND s.name = f.stage
 WHERE f.run_id = $1::bigint
 ORDER BY CASE f.severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, p.id, f.position LIMIT 500;
