-- log_search: bytes of a log to look through, piece by piece, and how many each row has.  $1 bigint attempt, $2 bigint offset, $3 bigint bytes (1 or more), $4 bigint at most this many pieces.
-- Returns rows: start_offset, bytes, data; none: nothing is there (any more).
-- @read
SELECT GREATEST(c.start_offset, $2::bigint) AS start_offset,
       LEAST(length(c.data) - GREATEST($2::bigint - c.start_offset, 0), $3::bigint - GREATEST(c.start_offset - $2::bigint, 0)) AS bytes,
       substring(c.data FROM (GREATEST($2::bigint - c.start_offset, 0) + 1)::integer FOR LEAST($3::bigint - GREATEST(c.start_offset - $2::bigint, 0), 1 << 30)::integer) AS data
  FROM log_chunk c
 WHERE c.attempt_id = $1::bigint AND c.start_offset >= COALESCE((SELECT max(start_offset) FROM log_chunk WHERE attempt_id = $1::bigint AND start_offset <= $2::bigint), 0) AND c.start_offset < $2::bigint + $3::bigint AND c.start_offset + length(c.data) > $2::bigint
 ORDER BY c.start_offset LIMIT $4::bigint;
