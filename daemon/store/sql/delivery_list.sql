-- delivery_list: newest first.  $1 project name, $2 bigint before id (0: newest), $3 bigint limit.
-- @read
SELECT d.id, d.forge, d.delivery_id, d.event, d.outcome, d.received_at, d.pushes,
       (SELECT jsonb_agg(jsonb_build_object('run_id', r.id, 'number', r.number, 'state', r.state) ORDER BY r.id) FROM push u JOIN run r ON r.push_id = u.id WHERE u.delivery = d.id) AS runs
  FROM delivery d JOIN project p ON p.id = d.project_id
 WHERE p.name = $1::text AND ($2::bigint = 0 OR d.id < $2::bigint) ORDER BY d.id DESC LIMIT $3::bigint;
