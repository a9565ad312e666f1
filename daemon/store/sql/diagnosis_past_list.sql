-- diagnosis_past_list: the answers an attempt had before, newest first.  $1 bigint attempt, $2 bigint before this id or 0, $3 bigint limit.
-- @read
SELECT id, kb, challenge_id, diagnosed_at, replaced_at, diagnosis FROM diagnosis_past WHERE attempt_id = $1::bigint AND ($2::bigint = 0 OR id < $2::bigint) ORDER BY id DESC LIMIT $3::bigint;
