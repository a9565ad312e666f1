-- attempt_get: one attempt.  $1 bigint id.
-- @read
SELECT a.id, a.stage_id, s.name AS stage, s.run_id, r.number AS run_number, p.name AS project, a.fence, a.agent_name, a.claimed_at, a.started_at, a.ended_at, a.ok, a.end_reason, a.exit_code, a.signal, a.message,
       a.duration_ms, a.peak_memory_bytes, a.sandbox, a.environment, a.warnings, a.report, a.log_bytes, a.log_complete, a.log_pruned_at, a.diagnosis, a.diagnosis_state, a.diagnosed_at, a.template, a.fingerprint, a.challenge_id, a.challenge_by, a.retry
  FROM attempt a JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id WHERE a.id = $1::bigint;
