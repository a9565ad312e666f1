-- log_counted: the newlines of pieces of a log.  $1 bigint attempt, $2 jsonb [[start_offset, newlines]…].
-- @write bulk
-- @repeatable
UPDATE log_chunk c SET newlines = (n.v ->> 1)::integer FROM jsonb_array_elements($2::jsonb) AS n(v)
 WHERE c.attempt_id = $1::bigint AND c.start_offset = (n.v ->> 0)::bigint AND c.newlines IS NULL;
