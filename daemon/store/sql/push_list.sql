-- push_list: pushes of a project however they were told, and what came of each, newest first.  $1 project name, $2 bigint before id (0: newest), $3 bigint limit.
-- @read
SELECT u.id, u.ref, u.before_sha, u.after_sha, u.source, u.pusher, u.forced, u.outcome, u.received_at, r.id AS run_id, r.number, r.state
  FROM push u JOIN project p ON p.id = u.project_id LEFT JOIN run r ON r.push_id = u.id
 WHERE p.name = $1::text AND ($2::bigint = 0 OR u.id < $2::bigint) ORDER BY u.id DESC LIMIT $3::bigint;
