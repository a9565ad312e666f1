-- run_risk: the risk of every stage of a run, in order.  $1 bigint run.
-- @read
SELECT s.id AS stage_id, s.run_id, r.number AS run_number, p.name AS project, s.name AS stage, s.kind, s.target, s.host, s.platform, s.state, s.risk, s.risk_p AS p, s.risk_hours AS hours, s.risk_cost AS cost, s.gate_why, s.approvers
  FROM stage s JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id WHERE s.run_id = $1::bigint ORDER BY s.position;
