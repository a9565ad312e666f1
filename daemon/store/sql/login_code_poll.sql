-- login_code_poll: the command asks whether it was let in.  $1 device hash, $2 hash of the token that it gets if it was.
-- Returns 1 row: said (unknown, over, denied, slow_down, pending, approved), wait_ms, and of the new token name, role, project, expires_at.
-- @write
SELECT said, wait_ms, name, role, project, expires_at FROM login_code_poll($1::text, $2::text);
