-- log_read: pieces of a log from an offset on.  $1 bigint attempt, $2 bigint offset, $3 bigint at most this many pieces.
-- @read
SELECT start_offset, data FROM log_chunk
 WHERE attempt_id = $1::bigint AND start_offset >= COALESCE((SELECT max(start_offset) FROM log_chunk WHERE attempt_id = $1::bigint AND start_offset <= $2::bigint), 0)
 ORDER BY start_offset LIMIT $3::bigint;
