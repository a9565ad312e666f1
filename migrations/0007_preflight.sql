-- Pre-flight: what was found before a stage ran. One row of preflight for the source of a run and one for what each export and convert wrote;
-- they are put in by triggers, so that no statement can forget, and taken by any daemon under a lease.
CREATE TABLE preflight (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    stage_id    bigint REFERENCES stage ON DELETE CASCADE,      -- null: the source
    attempt_id  bigint REFERENCES attempt ON DELETE CASCADE,    -- whose artifacts
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'failed')),
    until       timestamptz,                                    -- a daemon works on it until then
    tries       integer NOT NULL DEFAULT 0,
    message     text,                                           -- why it failed
    models      jsonb NOT NULL DEFAULT '[]',                    -- facts of what was looked at
    memory      jsonb NOT NULL DEFAULT '[]',                    -- estimates per target
    cuts        jsonb NOT NULL DEFAULT '[]',                    -- what was not looked at
    done_at     timestamptz
);
CREATE UNIQUE INDEX preflight_source ON preflight (run_id) WHERE stage_id IS NULL;
CREATE UNIQUE INDEX preflight_attempt ON preflight (attempt_id) WHERE attempt_id IS NOT NULL;
CREATE INDEX preflight_pending ON preflight (id) WHERE state = 'pending';
CREATE INDEX preflight_run ON preflight (run_id);

CREATE TABLE preflight_finding (
    preflight_id  bigint NOT NULL REFERENCES preflight ON DELETE CASCADE,
    position      integer NOT NULL,
    run_id        bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    rule          text NOT NULL,
    severity      text NOT NULL CHECK (severity IN ('error', 'warning', 'note')),
    challenge_id  text NOT NULL,
    target        text,
    stage         text,
    path          text,
    message       text NOT NULL,
    remedy        text,
    PRIMARY KEY (preflight_id, position)
);
CREATE INDEX preflight_finding_run ON preflight_finding (run_id, stage);
CREATE INDEX preflight_finding_challenge ON preflight_finding (challenge_id, run_id);

CREATE FUNCTION preflight_of_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO preflight (run_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    PERFORM pg_notify('ptl_preflight', '');
    RETURN NULL;
END $$;
CREATE TRIGGER preflight_of_run AFTER UPDATE OF state ON run FOR EACH ROW
    WHEN (OLD.state = 'preparing' AND NEW.state = 'waiting' AND NEW.source_sha256 IS NOT NULL) EXECUTE FUNCTION preflight_of_run();

CREATE FUNCTION preflight_of_stage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO preflight (run_id, stage_id, attempt_id) VALUES (NEW.run_id, NEW.id, NEW.attempt_id) ON CONFLICT DO NOTHING;
    PERFORM pg_notify('ptl_preflight', '');
    RETURN NULL;
END $$;
CREATE TRIGGER preflight_of_stage AFTER UPDATE OF state ON stage FOR EACH ROW
    WHEN (NEW.state = 'green' AND OLD.state <> 'green' AND NEW.kind IN ('export', 'convert') AND NEW.attempt_id IS NOT NULL) EXECUTE FUNCTION preflight_of_stage();

-- What was known of a stage before it ran, as a diagnosis of its failure reads it: errors and warnings about it, its run's first twenty.
CREATE FUNCTION preflight_of(run bigint, stage_name text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_agg(jsonb_build_object('severity', severity, 'rule', rule, 'message', message))
      FROM (SELECT severity, rule, message FROM preflight_finding WHERE run_id = run AND stage = stage_name AND severity <> 'note' ORDER BY preflight_id, position LIMIT 20) f
$$;
