-- token_by_hash: who shows this token.  $1 text SHA-256 hex.
-- Returns 0 or 1 row; revoked, expired and used-up tokens are not found.
-- @read
SELECT t.id, t.kind, t.name, t.role, t.project_id, p.name AS project, t.agent_id, t.hosts, a.name AS agent, a.state AS agent_state,
       (t.used_at IS NULL OR t.used_at < now() - interval '1 minute') AS stale
  FROM token t LEFT JOIN agent a ON a.id = t.agent_id LEFT JOIN project p ON p.id = t.project_id
 WHERE t.hash = $1::text AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now()) AND t.kind <> 'enrol';
