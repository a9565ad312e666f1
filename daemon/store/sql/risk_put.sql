-- risk_put: the risk of stages, weighed anew.  $1 jsonb [{id, risk, seen, looks, gate_why}].  A gate that stands on risk is decided anew while its stage waits for others; where a person was asked
-- already, or it was let go, it stays. Returns the runs that may have something to let go.
-- @write
-- @repeatable
WITH put AS (
    UPDATE stage s SET risk = w.risk, risk_p = (w.risk ->> 'p')::double precision, risk_hours = (w.risk ->> 'hours')::double precision, risk_cost = (w.risk ->> 'cost')::double precision,
           risk_bits = (w.risk ->> 'bits')::integer, risk_seen = w.seen, risk_looks = w.looks,
           risk_given_up = s.risk_given_up AND s.state <> 'waiting',
           gate_why = CASE WHEN s.state = 'waiting' AND s.spec ? 'gate_risk' THEN w.gate_why ELSE s.gate_why END,
           manual = CASE WHEN s.state = 'waiting' AND s.spec ? 'gate_risk' THEN COALESCE((s.spec ->> 'manual')::boolean, false) OR w.gate_why IS NOT NULL ELSE s.manual END
      FROM jsonb_to_recordset($1::jsonb) AS w (id bigint, risk jsonb, seen bigint, looks integer, gate_why text)
     WHERE s.id = w.id AND s.state IN ('waiting', 'gated', 'queued')
    RETURNING s.run_id, s.state, s.spec
)
SELECT DISTINCT run_id FROM put WHERE state = 'waiting' AND spec ? 'gate_risk';
