-- sweep_gates: gates that stand on risk and wait for nothing but that it is weighed: since when, and after $1 bigint ms ($2 text: the same in words) a person is asked instead.
-- Returns the stages that run_release now gates.  Where a weighing comes first after all, it decides (risk_put).
-- @write
-- @repeatable
WITH open AS (
    SELECT s.id, s.risk_open_since,
           EXISTS (SELECT 1 FROM preflight f WHERE f.run_id = s.run_id AND f.state = 'pending' AND (f.stage_id IS NULL OR f.stage_id = s.model_stage_id)) AS looking
      FROM stage s JOIN run r ON r.id = s.run_id AND r.state = 'running'
     WHERE s.state = 'waiting' AND s.spec ? 'gate_risk' AND stage_risk_open(s)
       AND NOT EXISTS (SELECT 1 FROM stage_need n JOIN stage b ON b.id = n.needs_id WHERE n.stage_id = s.id AND b.state <> 'green')
       AND (s.risk_open_since IS NULL OR s.risk_open_since < now() - $1::bigint * interval '1 ms')
     ORDER BY s.id LIMIT 500 FOR UPDATE OF s SKIP LOCKED
), put AS (
    UPDATE stage s SET risk_open_since = COALESCE(s.risk_open_since, now()), risk_given_up = open.risk_open_since IS NOT NULL,
           manual = s.manual OR open.risk_open_since IS NOT NULL,
           gate_why = CASE WHEN open.risk_open_since IS NULL THEN s.gate_why
                           ELSE 'its risk could not be weighed within ' || $2::text || CASE WHEN open.looking THEN ' (pre-flight of its model is not over)' ELSE ' (what pre-flight found did not go in)' END
                                || ', and the pipeline file lets it go on only up to ' || (s.spec ->> 'gate_risk')::double precision END
      FROM open WHERE s.id = open.id
    RETURNING s.id, s.run_id, s.name, s.risk_given_up
)
SELECT id, run_id, name FROM put WHERE risk_given_up;
