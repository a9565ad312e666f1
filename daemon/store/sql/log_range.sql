-- log_range: bytes of a log, piece by piece, and no more than were asked for.  $1 bigint attempt, $2 bigint offset, $3 bigint bytes (1 or more), $4 bigint at most this many pieces.
-- @read
SELECT GREATEST(c.start_offset, $2::bigint) AS start_offset,
       substring(c.data FROM (GREATEST($2::bigint - c.start_offset, 0) + 1)::integer FOR LEAST($3::bigint - GREATEST(c.start_offset - $2::bigint, 0), 1 << 30)::integer) AS data
  FROM log_chunk c
 WHERE c.attempt_id = $1::bigint AND c.start_offset >= COALESCE((SELECT max(start_offset) FROM log_chunk WHERE attempt_id = $1::bigint AND start_offset <= $2::bigint), 0) AND c.start_offset < $2::bigint + $3::bigint
 ORDER BY c.start_offset LIMIT $4::bigint;
