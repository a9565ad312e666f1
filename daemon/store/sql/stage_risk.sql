-- stage_risk: the risk of a stage with its terms.  $1 bigint stage.
-- @read
SELECT s.id AS stage_id, s.run_id, r.number AS run_number, p.name AS project, s.name AS stage, s.kind, s.target, s.host, s.platform, s.state, s.risk, s.risk_p AS p, s.risk_hours AS hours, s.risk_cost AS cost,
       s.gate_why, s.approvers,
       (SELECT jsonb_agg(jsonb_build_object('at', o.at, 'ok', o.ok, 'predicted', o.predicted) ORDER BY o.id) FROM risk_outcome o WHERE o.stage_id = s.id) AS outcomes
  FROM stage s JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id WHERE s.id = $1::bigint;
