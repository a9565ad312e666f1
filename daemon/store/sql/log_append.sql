-- log_append: a piece of log at an offset; what is there already is skipped, a gap is not filled.  $1 bigint attempt, $2 bigint fence, $3 bigint agent, $4 bigint offset, $5 bytea, $6 bigint most bytes of one log, $7 bigint newlines in $5.
-- Accepted even after the attempt was given to another agent: its log is evidence. Returns next_offset; no row: not this agent's attempt.
-- @write bulk
-- @repeatable
WITH a AS (
    SELECT id, log_bytes, log_bytes >= $4::bigint AND log_bytes < $4::bigint + length($5::bytea) AND log_bytes < $6::bigint AS fits
      FROM attempt WHERE id = $1::bigint AND fence = $2::bigint AND agent_id = $3::bigint FOR UPDATE
), put AS (
    INSERT INTO log_chunk (attempt_id, start_offset, data, newlines)
    SELECT id, log_bytes, substring($5::bytea FROM (log_bytes - $4::bigint + 1)::integer), CASE WHEN log_bytes = $4::bigint THEN $7::bigint::integer END FROM a WHERE fits
    RETURNING attempt_id
), moved AS (
    UPDATE attempt SET log_bytes = $4::bigint + length($5::bytea) FROM put WHERE attempt.id = put.attempt_id RETURNING attempt.log_bytes
), told AS (
    INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data)
    SELECT r.project_id, s.run_id, s.id, put.attempt_id, 'log', jsonb_build_object('bytes', $4::bigint + length($5::bytea))
      FROM put JOIN attempt x ON x.id = put.attempt_id JOIN stage s ON s.id = x.stage_id JOIN run r ON r.id = s.run_id
    RETURNING pg_notify('ptl_event', '')
)
SELECT COALESCE((SELECT log_bytes FROM moved), a.log_bytes) AS next_offset, (SELECT count(*) FROM told) AS told, a.log_bytes >= $6::bigint AS full FROM a;
