-- token_list: tokens without their secrets.  $1 bigint after id, $2 bigint limit.
-- @read
SELECT t.id, t.kind, t.name, t.role, p.name AS project, a.name AS agent, t.created_by, t.created_at, t.expires_at, t.used_at, t.revoked_at
  FROM token t LEFT JOIN project p ON p.id = t.project_id LEFT JOIN agent a ON a.id = t.agent_id
 WHERE t.id > $1::bigint ORDER BY t.id LIMIT $2::bigint;
