-- token_touch: note the last use.  $1 bigint token.
-- @write bulk
-- @repeatable
UPDATE token SET used_at = now() WHERE id = $1::bigint;
