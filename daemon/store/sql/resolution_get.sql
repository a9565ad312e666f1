-- resolution_get: one resolution with its diff.  $1 bigint id.
-- @read
SELECT r.*, p.name AS project, challenge_path(r.challenge_id) AS challenge_path FROM resolution r JOIN project p ON p.id = r.project_id WHERE r.id = $1::bigint;
