-- token_live: does this token still open something, and the browser's session that stands for it.  $1 bigint token, $2 bigint session or null.
-- Returns 0 or 1 row, as token_by_hash and session_by_hash would find it.
-- @read
SELECT t.id FROM token t
 WHERE t.id = $1::bigint AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
   AND ($2::bigint IS NULL OR EXISTS (SELECT 1 FROM web_session w WHERE w.id = $2::bigint AND w.token_id = t.id AND w.expires_at > now()));
