-- resolution_decide: a person's word on it.  $1 bigint id, $2 state or null (as it is), $3 boolean: change the note, $4 note or null, $5 who, $6 project the token is confined to or null.
-- @write
-- @repeatable
UPDATE resolution r SET state = COALESCE($2::text, r.state), note = CASE WHEN $3::boolean THEN $4::text ELSE r.note END, decided_by = $5::text, decided_at = now()
  FROM project p WHERE p.id = r.project_id AND r.id = $1::bigint AND ($6::text IS NULL OR p.name = $6::text)
RETURNING r.id, p.name AS project, r.stage, r.challenge_id, r.change, r.summary, r.state, r.note, r.decided_by, r.decided_at;
