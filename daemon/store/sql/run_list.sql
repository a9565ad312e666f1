-- run_list: newest first.  $1 project name or null, $2 state or null, $3 ref or null, $4 bigint before id (0: newest), $5 bigint limit, $6 commit prefix or null.
-- @read
SELECT r.id, p.name AS project, r.number, r.ref, r.commit_sha, left(split_part(r.commit_message, E'\n', 1), 200) AS commit_message, r.commit_author, r.state, r.message, r.trigger, r.created_by, r.model,
       r.created_at, r.started_at, r.ended_at,
       (SELECT count(*) FROM stage s WHERE s.run_id = r.id) AS stages, (SELECT count(*) FROM stage s WHERE s.run_id = r.id AND s.state = 'green') AS green
  FROM run r JOIN project p ON p.id = r.project_id
 WHERE ($1::text IS NULL OR p.name = $1::text) AND ($2::text IS NULL OR r.state = $2::text) AND ($3::text IS NULL OR r.ref = $3::text)
   AND ($4::bigint = 0 OR r.id < $4::bigint) AND ($6::text IS NULL OR r.commit_sha LIKE $6::text || '%')
 ORDER BY r.id DESC LIMIT $5::bigint;
