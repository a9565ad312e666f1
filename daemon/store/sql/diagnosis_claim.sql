-- diagnosis_claim: failed attempts whose log is complete (or late by 30 s) and that nobody diagnoses yet.  $1 bigint limit.
-- @write
WITH due AS (
    SELECT id FROM attempt WHERE diagnosis_state = 'pending' AND (log_complete OR ended_at < now() - interval '30 seconds') AND (diagnosis_until IS NULL OR diagnosis_until < now())
     ORDER BY id LIMIT $1::bigint FOR UPDATE SKIP LOCKED
)
UPDATE attempt a SET diagnosis_until = now() + interval '2 minutes', diagnosis_tries = a.diagnosis_tries + 1,
       diagnosis_state = CASE WHEN a.diagnosis_tries >= 3 THEN 'failed' ELSE 'pending' END
  FROM due, stage s, run r WHERE a.id = due.id AND s.id = a.stage_id AND r.id = s.run_id
RETURNING a.id, a.end_reason, a.exit_code, a.signal, a.message, a.report, a.environment, a.warnings, a.log_bytes, a.diagnosis_tries, a.diagnosis_state,
          s.kind, s.target, s.host, s.uses, s.toolchain, s.spec, s.name, s.run_id, r.project_id,
          (SELECT e.environment FROM stage x JOIN attempt e ON e.id = x.attempt_id WHERE x.run_id = s.run_id AND x.kind = 'export' LIMIT 1) AS export_environment,
          (SELECT v.host FROM stage v WHERE v.run_id = s.run_id AND v.target = s.target AND v.kind = 'verify' LIMIT 1) AS target_host,
          (SELECT jsonb_object_agg(n.challenge_id, n.failures) FROM challenge_count n WHERE n.project_id = r.project_id AND n.failures > 0) AS counts,
          preflight_of(s.run_id, s.name) AS preflight;
