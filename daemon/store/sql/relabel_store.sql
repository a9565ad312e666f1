-- relabel_store: answers of attempts of the past, and how far the job is; both or nothing.  $1 jsonb [{"id","diagnosis"}], $2 bigint job, $3 bigint at_id as it was claimed, $4 bigint at_id from now on,
-- $5 bigint done, $6 bigint of them kept. Nothing when another daemon took the job over. What a person said stays the answer in force (attempt_verdict); answers that differ keep the old one (attempt_diagnosis_kept).
-- Returns one row: changed bigint; no row: taken over.
-- @write
WITH new AS (
    SELECT (x.value ->> 'id')::bigint AS id, x.value -> 'diagnosis' AS diagnosis FROM jsonb_array_elements($1::jsonb) AS x
), old AS (
    SELECT a.id, a.stage_id, new.diagnosis, diagnosis_gist(a.diagnosis) IS DISTINCT FROM diagnosis_gist(new.diagnosis) AS changed
      FROM attempt a JOIN new ON new.id = a.id WHERE a.diagnosis_state IN ('done', 'failed') ORDER BY a.id FOR UPDATE OF a
), job AS (
    UPDATE kb_apply SET at_id = $4::bigint, done = done + $5::bigint, kept = kept + $6::bigint, changed = changed + (SELECT count(*) FROM old WHERE changed), lease_until = NULL
     WHERE id = $2::bigint AND at_id = $3::bigint AND ended_at IS NULL
    RETURNING id
), put AS (
    UPDATE attempt a SET diagnosis = old.diagnosis, diagnosis_state = 'done' FROM old, job WHERE a.id = old.id
), told AS (
    INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data)
    SELECT r.project_id, s.run_id, s.id, old.id, 'diagnosis', jsonb_build_object('state', 'done', 'relabelled', true)
      FROM job, old JOIN stage s ON s.id = old.stage_id JOIN run r ON r.id = s.run_id WHERE old.changed
)
SELECT (SELECT count(*) FROM old WHERE changed) AS changed, pg_notify('ptl_event', '') FROM job;
