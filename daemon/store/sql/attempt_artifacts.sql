-- attempt_artifacts: what an attempt published.  $1 bigint attempt, $2 text after path, $3 bigint limit.
-- @read
SELECT path, sha256, size_bytes, exec FROM artifact WHERE attempt_id = $1::bigint AND path > $2::text ORDER BY path LIMIT $3::bigint;
