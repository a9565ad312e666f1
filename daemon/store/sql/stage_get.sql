-- stage_get: one stage with what authorisation needs.  $1 bigint id.
-- @read
SELECT s.id, s.run_id, s.name, s.state, s.message, s.fence, s.spec, s.host, s.labels, s.toolchain, s.uses, s.manual, s.approved_by, s.gate_why, s.approvers, s.platform, s.risk_p, s.risk_hours, s.risk_cost, s.queued_at, s.not_before, s.attempt_id, p.name AS project, r.state AS run_state, r.created_by AS run_created_by
  FROM stage s JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id WHERE s.id = $1::bigint;
