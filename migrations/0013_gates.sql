-- A gate that stands on risk waits for pre-flight, and not for ever: after a while (setting gate-wait) it asks a person instead.
ALTER TABLE stage
    ADD COLUMN risk_open_since timestamptz,                        -- since when nothing but its risk holds the stage
    ADD COLUMN risk_given_up   boolean NOT NULL DEFAULT false;     -- its risk was waited for long enough: gate_why says so
CREATE INDEX stage_risk_waits ON stage (id) WHERE state = 'waiting' AND spec ? 'gate_risk';

CREATE OR REPLACE FUNCTION stage_risk_open(s stage) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT s.spec ? 'gate_risk' AND s.risk IS NOT NULL AND NOT s.risk_given_up
       AND (s.risk_looks < (SELECT count(*) FROM preflight f WHERE f.run_id = s.run_id AND f.state <> 'pending')
            OR EXISTS (SELECT 1 FROM preflight f WHERE f.run_id = s.run_id AND f.state = 'pending' AND (f.stage_id IS NULL OR f.stage_id = s.model_stage_id)))
$$;
