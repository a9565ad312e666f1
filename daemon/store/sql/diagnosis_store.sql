-- diagnosis_store: $1 bigint attempt, $2 jsonb diagnosis or null, $3 state done or failed.
-- @write
-- @repeatable
WITH put AS (
    UPDATE attempt SET diagnosis = $2::jsonb, diagnosis_state = $3::text, diagnosis_until = NULL WHERE id = $1::bigint RETURNING id, stage_id
)
INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data)
SELECT r.project_id, s.run_id, s.id, put.id, 'diagnosis', jsonb_build_object('state', $3::text) FROM put JOIN stage s ON s.id = put.stage_id JOIN run r ON r.id = s.run_id
RETURNING pg_notify('ptl_event', '');
