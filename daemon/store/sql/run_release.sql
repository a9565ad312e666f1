-- run_release: let go what is ready in run $1 and in the running runs of its group. A gate that stands on risk waits for pre-flight first (stage_risk_open).
-- State: stage waiting -> queued, gated, skipped.
-- @write
-- @repeatable
WITH RECURSIVE runs AS (
    SELECT id FROM run WHERE id = $1::bigint AND state = 'running'
    UNION
    SELECT r.id FROM run me JOIN run r ON r.project_id = me.project_id AND r.concurrency_group = me.concurrency_group AND r.state = 'running' WHERE me.id = $1::bigint
), hopeless (id) AS (
    SELECT s.id FROM stage s JOIN runs ON runs.id = s.run_id WHERE s.state IN ('red', 'cancelled', 'skipped')
    UNION
    SELECT n.stage_id FROM hopeless h JOIN stage_need n ON n.needs_id = h.id JOIN stage s ON s.id = n.stage_id AND s.state = 'waiting'
), due AS (
    SELECT s.id, h.id IS NOT NULL AS skip,
           (SELECT string_agg(b.name || ' is ' || b.state, ', ' ORDER BY b.position) FROM stage_need n JOIN stage b ON b.id = n.needs_id WHERE n.stage_id = s.id AND b.state <> 'green') AS why
      FROM stage s JOIN runs ON runs.id = s.run_id LEFT JOIN hopeless h ON h.id = s.id
     WHERE s.state = 'waiting'
       AND (h.id IS NOT NULL OR (NOT stage_risk_open(s) AND NOT EXISTS (SELECT 1 FROM stage_need n JOIN stage b ON b.id = n.needs_id WHERE n.stage_id = s.id AND b.state <> 'green')))
)
UPDATE stage s SET state = CASE WHEN due.skip THEN 'skipped' WHEN s.manual AND s.approved_by IS NULL THEN 'gated' ELSE 'queued' END,
       queued_at = CASE WHEN NOT due.skip THEN now() END,
       first_queued_at = CASE WHEN NOT due.skip AND NOT (s.manual AND s.approved_by IS NULL) THEN COALESCE(s.first_queued_at, now()) ELSE s.first_queued_at END,
       ended_at = CASE WHEN due.skip THEN now() END,
       message = CASE WHEN due.skip THEN 'needs ' || due.why END
  FROM due WHERE s.id = due.id
RETURNING s.id, s.name, s.state;
