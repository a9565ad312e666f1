-- session_create: a browser's session for a person's token.  $1 text SHA-256 of the token, $2 text SHA-256 of the cookie's value, $3 bigint lifetime in ms.
-- Returns 0 or 1 row: who it is; no row: no such token, revoked, expired, or an agent's. Old sessions are cleared away a few at a time.
-- @write
WITH t AS (
    SELECT t.id, t.name, t.role, COALESCE(p.name, '') AS project, LEAST(now() + $3::bigint * interval '1 ms', t.expires_at) AS until
      FROM token t LEFT JOIN project p ON p.id = t.project_id
     WHERE t.hash = $1::text AND t.kind = 'person' AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
), made AS (
    INSERT INTO web_session (hash, token_id, expires_at) SELECT $2::text, id, until FROM t RETURNING token_id, expires_at
), told AS (
    INSERT INTO audit (actor, action, object) SELECT name, 'session.create', 'web session of token ' || name FROM t
), gone AS (
    DELETE FROM web_session WHERE id IN (SELECT id FROM web_session WHERE expires_at < now() ORDER BY expires_at LIMIT 100)
)
SELECT t.name, t.role, t.project, made.expires_at FROM t JOIN made ON made.token_id = t.id;
