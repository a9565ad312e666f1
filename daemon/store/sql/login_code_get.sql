-- login_code_get: an open code, for the person who is to approve it.  $1 short code's hash.  0 or 1 row.
-- @read
SELECT client, address, created_at, expires_at FROM login_code WHERE user_hash = $1::text AND state = 'open' AND expires_at > now();
