-- login_code_decide: a person lets a command in, or does not.  $1 short code's hash, $2 boolean approve, $3 bigint the person's token, $4 role that it gets, $5 project that it is confined to or null, $6 bigint lifetime in ms.
-- Returns 0 or 1 row; no row: no such open code, or no such project.
-- @write
UPDATE login_code SET state = CASE WHEN $2::boolean THEN 'approved' ELSE 'denied' END, token_id = CASE WHEN $2::boolean THEN $3::bigint END, role = CASE WHEN $2::boolean THEN $4::text END,
       project_id = CASE WHEN $2::boolean THEN (SELECT id FROM project WHERE name = $5::text) END, lifetime_ms = CASE WHEN $2::boolean THEN $6::bigint END
 WHERE user_hash = $1::text AND state = 'open' AND expires_at > now() AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM project WHERE name = $5::text))
RETURNING client, address, state, expires_at;
