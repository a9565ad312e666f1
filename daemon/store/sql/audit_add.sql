-- audit_add: a person did something.  $1 actor, $2 action, $3 object, $4 jsonb detail.
-- @write
INSERT INTO audit (actor, action, object, detail) VALUES ($1::text, $2::text, $3::text, COALESCE($4::jsonb, '{}'));
