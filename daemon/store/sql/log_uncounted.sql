-- log_uncounted: pieces of a log whose newlines nobody has counted.  $1 bigint attempt, $2 bigint at most this many.
-- @read
SELECT start_offset, data FROM log_chunk WHERE attempt_id = $1::bigint AND newlines IS NULL ORDER BY start_offset LIMIT $2::bigint;
