-- diagnosis_store: $1 bigint attempt, $2 jsonb diagnosis or null, $3 state done or failed.
-- Keeps the project's count of each challenge: what an earlier diagnosis of this attempt added is taken away first.
-- @write
-- @repeatable
WITH old AS (
    SELECT a.id, a.stage_id, CASE WHEN a.diagnosis ->> 'state' = 'diagnosed' THEN a.diagnosis #>> '{challenges,0,id}' END AS challenge FROM attempt a WHERE a.id = $1::bigint FOR UPDATE
), new AS (
    SELECT CASE WHEN $2::jsonb ->> 'state' = 'diagnosed' THEN $2::jsonb #>> '{challenges,0,id}' END AS challenge
), put AS (
    UPDATE attempt a SET diagnosis = $2::jsonb, diagnosis_state = $3::text, diagnosis_until = NULL FROM old WHERE a.id = old.id RETURNING a.id, a.stage_id
), place AS (
    SELECT r.project_id, s.run_id, s.id AS stage_id, put.id AS attempt_id FROM put JOIN stage s ON s.id = put.stage_id JOIN run r ON r.id = s.run_id
), counted AS (
    INSERT INTO challenge_count (project_id, challenge_id, failures)
    SELECT place.project_id, d.challenge, d.n FROM place, old, new,
           LATERAL (VALUES (old.challenge, -1), (new.challenge, 1)) AS d (challenge, n) WHERE d.challenge IS NOT NULL AND old.challenge IS DISTINCT FROM new.challenge
    ON CONFLICT (project_id, challenge_id) DO UPDATE SET failures = GREATEST(0, challenge_count.failures + excluded.failures)
)
INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data)
SELECT project_id, run_id, stage_id, attempt_id, 'diagnosis', jsonb_build_object('state', $3::text) FROM place
RETURNING pg_notify('ptl_event', '');
