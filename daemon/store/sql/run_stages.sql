-- run_stages: the stages of a run with their latest attempts.  $1 bigint run.
-- @read
SELECT s.id, s.position, s.name, s.kind, s.target, s.host, s.uses, s.toolchain, s.labels, s.state, s.message, s.manual, s.approved_by, s.gate_why, s.approvers, s.platform, s.risk_p, s.risk_hours, s.risk_cost, s.allow_failure, s.fence, s.retries, s.losses, s.retry_max,
       s.queued_at, s.started_at, s.ended_at, s.timeout_ms, g.name AS agent,
       ARRAY(SELECT b.name FROM stage_need n JOIN stage b ON b.id = n.needs_id WHERE n.stage_id = s.id ORDER BY b.position) AS needs,
       a.id AS attempt_id, a.ok, a.end_reason, a.exit_code, a.signal, a.message AS attempt_message, a.duration_ms, a.peak_memory_bytes, a.report, a.diagnosis, a.diagnosis_state, a.challenge_id, a.challenge_by, a.retry, a.log_bytes, a.sandbox, a.agent_name,
       (SELECT COALESCE(sum(f.size_bytes), 0) FROM artifact f WHERE f.attempt_id = a.id AND f.path LIKE 'model/%' AND f.path <> 'model/signature.json') AS model_bytes
  FROM stage s LEFT JOIN attempt a ON a.id = s.attempt_id LEFT JOIN agent g ON g.id = s.agent_id
 WHERE s.run_id = $1::bigint ORDER BY s.position;
