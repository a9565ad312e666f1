-- session_by_hash: whose session this is.  $1 text SHA-256 of the cookie's value, hex.
-- Returns 0 or 1 row with the columns of token_by_hash and session_id; ended sessions and those whose token is revoked or expired are not found.
-- @read
SELECT t.id, t.kind, t.name, t.role, t.project_id, p.name AS project, NULL::bigint AS agent_id, NULL::text[] AS hosts, NULL::text AS agent, NULL::text AS agent_state, w.id AS session_id,
       w.seen_at < now() - interval '1 minute' AS stale
  FROM web_session w JOIN token t ON t.id = w.token_id LEFT JOIN project p ON p.id = t.project_id
 WHERE w.hash = $1::text AND w.expires_at > now() AND t.kind = 'person' AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now());
