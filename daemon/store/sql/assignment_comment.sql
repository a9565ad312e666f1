-- assignment_comment: $1 bigint id, $2 actor, $3 text, $4 project he is confined to or null.
-- @write
INSERT INTO assignment_event (assignment_id, actor, action, person_id, text)
SELECT g.id, $2::text, 'comment', g.person_id, $3::text FROM assignment_locked($1::bigint, $4::text) g
RETURNING assignment_id AS id, at, actor, text;
