-- assignment_list: newest first.  $1 person's handle, 'me' or null, $2 state or 'open' or null, $3 project or null, $4 bigint before id (0: newest), $5 bigint limit, $6 the asking token's name, $7 bigint stage or 0.
-- @read
SELECT g.id, pr.name AS project, g.run_id, r.number AS run_number, g.stage_id, g.stage_name AS stage, g.attempt_id, s.kind, s.target, s.platform AS host, s.state AS stage_state, w.name AS person, w.display_name, g.state,
       g.challenge_id, g.due_at, g.created_by, g.created_at, g.ended_at, s.risk_p AS p, s.risk_hours AS hours, s.risk_cost AS cost
  FROM assignment g JOIN project pr ON pr.id = g.project_id JOIN run r ON r.id = g.run_id JOIN stage s ON s.id = g.stage_id LEFT JOIN person w ON w.id = g.person_id
 WHERE ($1::text IS NULL OR g.person_id = CASE WHEN $1::text = 'me' THEN person_of_token_found($6::text) ELSE person_find($1::text) END)
   AND ($2::text IS NULL OR g.state = $2::text OR ($2::text = 'open' AND g.state IN ('assigned', 'taken', 'free'))) AND ($3::text IS NULL OR pr.name = $3::text) AND ($4::bigint = 0 OR g.id < $4::bigint) AND ($7::bigint = 0 OR g.stage_id = $7::bigint)
 ORDER BY g.id DESC LIMIT $5::bigint;
