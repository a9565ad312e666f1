-- stage_approve: a person opens or closes a gate.  $1 bigint stage, $2 who, $3 boolean approve, $4 comment or null.  0 rows: not gated.  PT403: the pipeline file names others (gate_open_by).
-- State: stage gated -> queued, red.
-- @write
UPDATE stage SET state = CASE WHEN $3::boolean THEN 'queued' ELSE 'red' END, approved_by = CASE WHEN $3::boolean THEN $2::text END,
       queued_at = now(), first_queued_at = COALESCE(first_queued_at, now()), not_before = now(), ended_at = CASE WHEN NOT $3::boolean THEN now() END,
       message = CASE WHEN $3::boolean THEN 'approved by ' ELSE 'declined by ' END || $2::text || COALESCE(': ' || $4::text, '')
 WHERE id = $1::bigint AND state = 'gated' AND gate_open_by(name, approvers, $2::text)
RETURNING run_id, state;
