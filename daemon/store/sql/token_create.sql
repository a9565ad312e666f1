-- token_create: a new token.  $1 hash, $2 kind (person or enrol), $3 name, $4 role or null, $5 project name or null, $6 text[] hosts, $7 created_by,
-- $8 bigint lifetime in ms or null.  Returns its id; no row: no such project.
-- @write
INSERT INTO token (hash, kind, name, role, project_id, hosts, created_by, expires_at)
SELECT $1::text, $2::text, $3::text, $4::text, p.id, $6::text[], $7::text, now() + $8::bigint * interval '1 ms'
  FROM (SELECT 1) one LEFT JOIN project p ON p.name = $5::text
 WHERE $5::text IS NULL OR p.id IS NOT NULL
RETURNING id, expires_at;
