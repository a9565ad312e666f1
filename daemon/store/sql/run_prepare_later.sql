-- run_prepare_later: this try met trouble that may pass: the next one waits.  $1 bigint run, $2 bigint the try, $3 bigint ms to wait, $4 what the trouble is.
-- 0 rows: cancelled, or another daemon tries by now.
-- @write
-- @repeatable
UPDATE run SET prepare_until = now() + $3::bigint * interval '1 ms', message = $4::text
 WHERE id = $1::bigint AND state = 'preparing' AND prepare_tries = $2::bigint
RETURNING id;
