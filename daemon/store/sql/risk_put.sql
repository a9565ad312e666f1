-- risk_put: the risk of stages, weighed anew; the gate stays as it was planned.  $1 jsonb [{id, risk, seen}].
-- @write
-- @repeatable
UPDATE stage s SET risk = w.risk, risk_p = (w.risk ->> 'p')::double precision, risk_hours = (w.risk ->> 'hours')::double precision, risk_cost = (w.risk ->> 'cost')::double precision,
       risk_bits = (w.risk ->> 'bits')::integer, risk_seen = w.seen
  FROM jsonb_to_recordset($1::jsonb) AS w (id bigint, risk jsonb, seen bigint)
 WHERE s.id = w.id AND s.state IN ('waiting', 'gated', 'queued');
