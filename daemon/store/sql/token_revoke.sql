-- token_revoke: from now on this token opens nothing, nor does any that its bearer let in by a browser.  $1 bigint id.  0 or 1 row.
-- @write
-- @repeatable
WITH RECURSIVE line AS (
    SELECT id FROM token WHERE id = $1::bigint UNION SELECT t.id FROM token t JOIN line ON t.parent_id = line.id
), gone AS (
    UPDATE token SET revoked_at = COALESCE(revoked_at, now()) WHERE id IN (SELECT id FROM line) RETURNING id, name
)
SELECT id, name FROM gone WHERE id = $1::bigint;
