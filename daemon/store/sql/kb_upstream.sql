-- kb_upstream: the attempts that a failed attempt's stage stands on (convert, export), nearest first.  $1 bigint attempt.
-- Returns rows: attempt_id, stage, kind, log_bytes.
-- @read
WITH RECURSIVE up AS (
    SELECT s.id, s.model_stage_id, s.golden_stage_id, 0 AS depth FROM attempt a JOIN stage s ON s.id = a.stage_id WHERE a.id = $1::bigint
    UNION
    SELECT s.id, s.model_stage_id, s.golden_stage_id, up.depth + 1 FROM up JOIN stage s ON s.id IN (up.model_stage_id, up.golden_stage_id) WHERE up.depth < 5
)
SELECT a.id AS attempt_id, s.name AS stage, s.kind, a.log_bytes
  FROM (SELECT id, min(depth) AS depth FROM up GROUP BY id) AS u JOIN stage s ON s.id = u.id JOIN attempt a ON a.id = s.attempt_id
 WHERE u.depth > 0 AND a.ended_at IS NOT NULL ORDER BY u.depth, s.id LIMIT 4;
