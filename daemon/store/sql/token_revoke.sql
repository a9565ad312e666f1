-- token_revoke: from now on this token opens nothing.  $1 bigint id.  0 or 1 row.
-- @write
-- @repeatable
UPDATE token SET revoked_at = COALESCE(revoked_at, now()) WHERE id = $1::bigint RETURNING id, name;
