-- preflight_store: what was found.  $1 bigint id, $2 jsonb answer (include/portolan/preflight.h) or null, $3 text why it failed or null.
-- Safe to repeat: only a pending row is written.
-- @write
-- @repeatable
WITH put AS (
    UPDATE preflight SET state = CASE WHEN $2::jsonb IS NULL THEN 'failed' ELSE 'done' END, message = $3::text, until = NULL, done_at = now(),
           models = COALESCE($2::jsonb -> 'models', '[]'), memory = COALESCE($2::jsonb -> 'memory', '[]'), cuts = COALESCE($2::jsonb -> 'cuts', '[]'), takes = COALESCE($2::jsonb -> 'takes', '[]')
     WHERE id = $1::bigint AND state = 'pending' RETURNING id, run_id, stage_id, attempt_id
), found AS (
    INSERT INTO preflight_finding (preflight_id, position, run_id, rule, severity, challenge_id, target, stage, path, message, remedy)
    SELECT put.id, ord, put.run_id, f ->> 'rule', f ->> 'severity', f ->> 'challenge_id', f ->> 'target', f ->> 'stage', f ->> 'path', f ->> 'message', f ->> 'remedy'
      FROM put, jsonb_array_elements(COALESCE($2::jsonb -> 'findings', '[]')) WITH ORDINALITY AS e (f, ord)
    RETURNING severity
)
INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data)
SELECT r.project_id, put.run_id, put.stage_id, put.attempt_id, 'preflight',
       jsonb_build_object('errors', (SELECT count(*) FROM found WHERE severity = 'error'), 'warnings', (SELECT count(*) FROM found WHERE severity = 'warning'))
  FROM put JOIN run r ON r.id = put.run_id
RETURNING pg_notify('ptl_event', ''), (data ->> 'errors')::bigint AS errors, (data ->> 'warnings')::bigint AS warnings;
