-- token_bootstrap: the first admin's token, only while there is no live admin token.  $1 hash, $2 name.  0 or 1 row.
-- @write
-- @repeatable
INSERT INTO token (hash, kind, name, role, created_by)
SELECT $1::text, 'person', $2::text, 'admin', 'bootstrap'
 WHERE NOT EXISTS (SELECT 1 FROM token WHERE kind = 'person' AND role = 'admin' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))
    OR EXISTS (SELECT 1 FROM token WHERE hash = $1::text)
ON CONFLICT (hash) DO NOTHING
RETURNING id;
