-- resolution_list: newest first.  $1 project name or null, $2 challenge (and all below it) or null, $3 state or null, $4 bigint before id (0: newest), $5 bigint limit.
-- @read
SELECT r.id, p.name AS project, r.stage, r.kind, r.target, r.ref, r.challenge_id, challenge_path(r.challenge_id) AS challenge_path, r.red_attempt_id, r.green_attempt_id, r.red_commit, r.green_commit, r.first_red_at, r.green_at, r.minutes, r.failures,
       r.change, r.summary, r.commits, r.environment, r.agents, r.cuts, r.state, r.note, r.decided_by, r.decided_at
  FROM resolution r JOIN project p ON p.id = r.project_id
 WHERE ($1::text IS NULL OR r.project_id = (SELECT id FROM project WHERE name = $1::text)) AND ($2::text IS NULL OR r.challenge_id = $2::text OR starts_with(r.challenge_id, $2::text || '/')) AND ($3::text IS NULL OR r.state = $3::text)
   AND ($4::bigint = 0 OR r.id < $4::bigint)
 ORDER BY r.id DESC LIMIT $5::bigint;
