-- badge_get: the state that a badge shows: the newest ended run of a branch.  $1 project name, $2 ref or null (the default branch), $3 stage name or null.
-- @read
SELECT p.name, COALESCE(CASE WHEN $3::text IS NULL THEN r.state ELSE (SELECT s.state FROM stage s WHERE s.run_id = r.id AND s.name = $3::text) END, 'unknown') AS state
  FROM project p LEFT JOIN LATERAL (
        SELECT id, state FROM run WHERE project_id = p.id AND ref = COALESCE($2::text, 'refs/heads/' || p.default_branch) AND state IN ('green', 'red', 'cancelled', 'invalid') ORDER BY id DESC LIMIT 1) r ON true
 WHERE p.name = $1::text AND p.archived_at IS NULL;
