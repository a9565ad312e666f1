-- saved_query_put: saves a search under a name of one's own; again is a change; at most 200 a person.  $1 token name, $2 project the token is confined to or null, $3 name, $4 query, $5 boolean shared.
-- @write
-- @repeatable
INSERT INTO saved_query (owner, project_id, name, query, shared)
SELECT $1::text, (SELECT id FROM project WHERE name = $2::text), $3::text, $4::text, $5::boolean WHERE (SELECT count(*) FROM saved_query WHERE owner = $1::text AND name <> $3::text) < 200
ON CONFLICT (owner, name) DO UPDATE SET query = excluded.query, shared = excluded.shared, project_id = excluded.project_id
RETURNING id, name, query, owner, shared, created_at;
