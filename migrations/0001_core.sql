-- The facts of Portolan: who, which repositories, runs, stages, attempts, logs, agents. Forward only; never edited after release.
-- States are text with a guard: every change of stage.state and run.state must be an edge of stage_rule / run_rule (the same tables as in
-- daemon/core/life.c; a test compares them), and every change leaves a row in `event`. So no statement can forget either.

-- ---------------------------------------------------------------------------------------------- people, agents, tokens
CREATE TABLE agent (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    hosts         text[] NOT NULL DEFAULT '{}',
    labels        text[] NOT NULL DEFAULT '{}',
    toolchains    text[] NOT NULL DEFAULT '{}',
    recipes       text[] NOT NULL DEFAULT '{}',
    slots         integer NOT NULL DEFAULT 1 CHECK (slots BETWEEN 0 AND 1024),
    inventory     jsonb NOT NULL DEFAULT '{}',
    state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'draining', 'removed')),
    enrolled_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz
);
CREATE UNIQUE INDEX agent_name ON agent (name) WHERE state <> 'removed';

CREATE TABLE token (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash          text NOT NULL UNIQUE,          -- SHA-256 of the token, hex; the token itself is shown once
    kind          text NOT NULL CHECK (kind IN ('person', 'agent', 'enrol')),
    name          text NOT NULL,
    role          text CHECK (role IN ('viewer', 'member', 'manager', 'curator', 'admin')),
    project_id    bigint,                        -- a person's token may be confined to one project
    agent_id      bigint REFERENCES agent ON DELETE CASCADE,
    hosts         text[] NOT NULL DEFAULT '{}',  -- enrol: host kinds that the new agent may serve; empty: any
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    used_at       timestamptz,                   -- last use; for enrol tokens the only one
    revoked_at    timestamptz,
    CHECK ((kind = 'person') = (role IS NOT NULL)),
    CHECK ((kind = 'agent') = (agent_id IS NOT NULL))
);

CREATE TABLE audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    action  text NOT NULL,
    object  text NOT NULL,
    detail  jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_object ON audit (object, id);

-- ---------------------------------------------------------------------------------------------- projects and what triggers them
CREATE TABLE project (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name              text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    url               text NOT NULL CHECK (length(url) BETWEEN 1 AND 2048),
    default_branch    text NOT NULL DEFAULT 'main',
    credential_kind   text NOT NULL DEFAULT 'none' CHECK (credential_kind IN ('none', 'token', 'userpass', 'ssh_key')),
    credential_user   text,
    credential        bytea,                     -- sealed (daemon/core/seal.c)
    webhook_secret    bytea,                     -- sealed
    poll_interval_s   integer NOT NULL DEFAULT 0 CHECK (poll_interval_s = 0 OR poll_interval_s BETWEEN 5 AND 86400),
    poll_at           timestamptz,
    poll_error        text,
    polled_at         timestamptz,               -- first look done: what differs from then on is a push
    status_forge      text CHECK (status_forge IN ('github', 'gitlab', 'gitea')),
    status_url        text,                      -- API base, e.g. https://forge.example/api/v1
    status_repo       text,                      -- owner/name, or GitLab's project id
    status_token      bytea,                     -- sealed
    next_run_number   integer NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT now(),
    archived_at       timestamptz
);
ALTER TABLE token ADD FOREIGN KEY (project_id) REFERENCES project ON DELETE CASCADE;

CREATE TABLE project_secret (
    project_id  bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    name        text NOT NULL CHECK (name ~ '^[A-Za-z_][A-Za-z0-9_]{0,127}$'),
    value       bytea NOT NULL,                  -- sealed
    refs        text[] NOT NULL DEFAULT '{}',    -- globs; empty: every ref
    stages      text[] NOT NULL DEFAULT '{}',    -- globs of stage names; empty: every stage that asks
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, name)
);

-- The last commit seen at each ref: what polling compares with, and what a post-receive hook may leave out.
CREATE TABLE ref_seen (
    project_id  bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    ref         text NOT NULL,
    sha         text NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, ref)
);

CREATE TABLE delivery (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    forge        text NOT NULL,
    delivery_id  text NOT NULL,
    event        text NOT NULL,
    outcome      text NOT NULL,                  -- what was answered: the pushes, or the reason for ignoring
    received_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, forge, delivery_id)
);

CREATE TABLE push (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    ref          text NOT NULL,
    before_sha   text,                           -- null: unknown or new ref
    after_sha    text,                           -- null for a manual run of a branch: resolved when it is fetched
    source       text NOT NULL CHECK (source IN ('webhook', 'hook', 'poll', 'manual')),
    pusher       text,
    forced       boolean NOT NULL DEFAULT false,
    delivery     bigint REFERENCES delivery ON DELETE SET NULL,
    outcome      text,                           -- null while open; then 'run', or why there is none
    received_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX push_project ON push (project_id, id);
-- A forge's webhook, a hook in the repository and polling may tell of the same push: the first one counts.
CREATE UNIQUE INDEX push_once ON push (project_id, ref, after_sha, COALESCE(before_sha, '')) WHERE source <> 'manual' AND after_sha IS NOT NULL;

-- ---------------------------------------------------------------------------------------------- runs
CREATE TABLE run_rule (from_state text, to_state text, PRIMARY KEY (from_state, to_state));
INSERT INTO run_rule VALUES
    ('preparing', 'waiting'), ('preparing', 'invalid'), ('preparing', 'cancelled'),
    ('waiting', 'running'), ('waiting', 'cancelled'),
    ('running', 'green'), ('running', 'red'), ('running', 'cancelled'),
    ('red', 'running'), ('cancelled', 'running');

CREATE TABLE run (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id         bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    number             integer,                  -- given when it is planned or found invalid
    push_id            bigint REFERENCES push ON DELETE SET NULL,
    ref                text NOT NULL,
    commit_sha         text,
    commit_message     text,
    commit_author      text,
    commit_at          timestamptz,
    state              text NOT NULL DEFAULT 'preparing',
    message            text,                     -- why it is invalid, or who cancelled it
    trigger            text NOT NULL,
    created_by         text NOT NULL,
    model              text,
    pipeline_text      text,                     -- the file as read
    plan               jsonb,
    source_sha256      text,
    source_size_bytes  bigint,
    concurrency_group  text,                     -- lower case; null: none
    concurrency_queue  text NOT NULL DEFAULT 'all' CHECK (concurrency_queue IN ('all', 'latest')),
    cancel_in_progress boolean NOT NULL DEFAULT false,
    prepare_tries      integer NOT NULL DEFAULT 0,
    prepare_until      timestamptz,              -- a daemon works on it until then
    created_at         timestamptz NOT NULL DEFAULT now(),
    started_at         timestamptz,
    ended_at           timestamptz,
    UNIQUE (project_id, number)
);
CREATE INDEX run_project ON run (project_id, id);
CREATE INDEX run_preparing ON run (id) WHERE state = 'preparing';
CREATE INDEX run_group ON run (project_id, concurrency_group, id) WHERE state IN ('waiting', 'running') AND concurrency_group IS NOT NULL;
CREATE INDEX run_open ON run (id) WHERE state IN ('waiting', 'running');
CREATE INDEX run_green ON run (project_id, id) WHERE state = 'green';   -- the baselines of a verify

-- ---------------------------------------------------------------------------------------------- stages and attempts
CREATE TABLE stage_rule (from_state text, to_state text, PRIMARY KEY (from_state, to_state));
INSERT INTO stage_rule VALUES
    ('waiting', 'queued'), ('waiting', 'gated'), ('waiting', 'skipped'), ('waiting', 'cancelled'),
    ('gated', 'queued'), ('gated', 'red'), ('gated', 'cancelled'),
    ('queued', 'claimed'), ('queued', 'red'), ('queued', 'cancelled'),
    ('claimed', 'running'), ('claimed', 'green'), ('claimed', 'queued'), ('claimed', 'red'), ('claimed', 'cancelling'),
    ('running', 'green'), ('running', 'red'), ('running', 'queued'), ('running', 'cancelling'),
    ('cancelling', 'cancelled'),
    ('red', 'waiting'), ('cancelled', 'waiting'), ('skipped', 'waiting');

CREATE TABLE stage (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id            bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    position          integer NOT NULL,
    name              text NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('export', 'convert', 'verify')),
    target            text,
    host              text NOT NULL CHECK (host IN ('server', 'mobile', 'browser')),
    uses              text,
    toolchain         text,
    labels            text[] NOT NULL DEFAULT '{}',
    spec              jsonb NOT NULL,            -- the stage as planned
    model_stage_id    bigint REFERENCES stage ON DELETE SET NULL,   -- whose model/ it gets
    golden_stage_id   bigint REFERENCES stage ON DELETE SET NULL,   -- whose golden/ it gets
    state             text NOT NULL DEFAULT 'waiting',
    message           text,                      -- the last reason in words
    manual            boolean NOT NULL DEFAULT false,
    approved_by       text,
    allow_failure     boolean NOT NULL DEFAULT false,
    fence             integer NOT NULL DEFAULT 0,  -- number of the latest attempt
    retries           integer NOT NULL DEFAULT 0,  -- retries already spent on failures of its own
    losses            integer NOT NULL DEFAULT 0,  -- times an agent was lost
    retry_max         integer NOT NULL DEFAULT 0,
    agent_id          bigint REFERENCES agent ON DELETE SET NULL,
    attempt_id        bigint,                    -- latest attempt
    not_before        timestamptz NOT NULL DEFAULT now(),
    first_queued_at   timestamptz,
    queued_at         timestamptz,
    started_at        timestamptz,
    ended_at          timestamptz,
    lease_until       timestamptz,
    cancel_by         timestamptz,               -- cancelling: over by then whatever the agent says
    timeout_ms        bigint NOT NULL,
    queue_timeout_ms  bigint NOT NULL,
    total_timeout_ms  bigint NOT NULL,
    grace_ms          bigint NOT NULL DEFAULT 10000,
    UNIQUE (run_id, name)
);
CREATE INDEX stage_queue ON stage (queued_at, id) WHERE state = 'queued';
CREATE INDEX stage_lease ON stage (lease_until) WHERE state IN ('claimed', 'running', 'cancelling');
CREATE INDEX stage_agent ON stage (agent_id) WHERE state IN ('claimed', 'running', 'cancelling');
CREATE INDEX stage_run ON stage (run_id, position);
CREATE INDEX stage_attempt ON stage (attempt_id);                       -- what an agent says of an attempt

CREATE TABLE stage_need (
    stage_id  bigint NOT NULL REFERENCES stage ON DELETE CASCADE,
    needs_id  bigint NOT NULL REFERENCES stage ON DELETE CASCADE,
    PRIMARY KEY (stage_id, needs_id)
);
CREATE INDEX stage_need_back ON stage_need (needs_id);

CREATE TABLE attempt (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stage_id           bigint NOT NULL REFERENCES stage ON DELETE CASCADE,
    fence              integer NOT NULL,
    agent_id           bigint REFERENCES agent ON DELETE SET NULL,
    agent_name         text,
    claimed_at         timestamptz NOT NULL DEFAULT now(),
    started_at         timestamptz,
    ended_at           timestamptz,
    ok                 boolean,
    end_reason         text CHECK (end_reason IN ('exit', 'signal', 'timeout', 'oom', 'cancelled', 'agent_lost', 'setup')),
    exit_code          integer,
    signal             integer,
    message            text,
    duration_ms        bigint,
    peak_memory_bytes  bigint,
    sandbox            text,
    environment        jsonb NOT NULL DEFAULT '{}',
    warnings           jsonb NOT NULL DEFAULT '[]',
    report             jsonb,
    log_bytes          bigint NOT NULL DEFAULT 0,  -- received so far
    log_complete       boolean NOT NULL DEFAULT false,
    diagnosis          jsonb,
    diagnosis_state    text NOT NULL DEFAULT 'none' CHECK (diagnosis_state IN ('none', 'pending', 'done', 'failed')),
    diagnosis_until    timestamptz,
    diagnosis_tries    integer NOT NULL DEFAULT 0,
    UNIQUE (stage_id, fence)
);
ALTER TABLE stage ADD FOREIGN KEY (attempt_id) REFERENCES attempt ON DELETE SET NULL;
CREATE INDEX attempt_diagnosis ON attempt (id) WHERE diagnosis_state = 'pending';
CREATE INDEX attempt_agent ON attempt (agent_id, id);

CREATE TABLE log_chunk (
    attempt_id    bigint NOT NULL REFERENCES attempt ON DELETE CASCADE,
    start_offset  bigint NOT NULL,
    data          bytea COMPRESSION lz4 NOT NULL,
    PRIMARY KEY (attempt_id, start_offset)
);

CREATE TABLE artifact (
    attempt_id  bigint NOT NULL REFERENCES attempt ON DELETE CASCADE,
    path        text NOT NULL,
    sha256      text NOT NULL,
    size_bytes  bigint NOT NULL,
    exec        boolean NOT NULL DEFAULT false,
    PRIMARY KEY (attempt_id, path)
);
CREATE INDEX artifact_blob ON artifact (sha256);

-- ---------------------------------------------------------------------------------------------- events, statuses
-- Readers take what lies behind their cursor (txid, id) and before the oldest transaction still open, so that nothing is skipped however
-- transactions overlap.
CREATE TABLE event (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    txid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    project_id  bigint NOT NULL,
    run_id      bigint,
    stage_id    bigint,
    attempt_id  bigint,
    kind        text NOT NULL,
    data        jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (txid, id)
);
CREATE INDEX event_run ON event (run_id, txid, id);

CREATE TABLE status_outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    run_id       bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    sha          text NOT NULL,
    context      text NOT NULL,
    state        text NOT NULL CHECK (state IN ('pending', 'running', 'success', 'failure', 'error', 'cancelled')),
    description  text NOT NULL,
    tries        integer NOT NULL DEFAULT 0,
    not_before   timestamptz NOT NULL DEFAULT now(),
    sending_until timestamptz,
    sent_at      timestamptz,
    gave_up_at   timestamptz,
    last_error   text
);
CREATE INDEX status_outbox_open ON status_outbox (project_id, sha, context, id) WHERE sent_at IS NULL AND gave_up_at IS NULL;
CREATE INDEX status_outbox_key ON status_outbox (project_id, sha, context, id);   -- what was posted last, and is there a later one
CREATE INDEX status_outbox_run ON status_outbox (run_id, id);

-- ---------------------------------------------------------------------------------------------- guards
CREATE FUNCTION stage_state_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM stage_rule WHERE from_state = OLD.state AND to_state = NEW.state) THEN
        RAISE EXCEPTION 'stage %: no rule from % to %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'PT409';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stage_state_guard BEFORE UPDATE OF state ON stage
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION stage_state_guard();

CREATE FUNCTION stage_state_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data)
    SELECT r.project_id, NEW.run_id, NEW.id, NEW.attempt_id, 'stage',
           jsonb_build_object('name', NEW.name, 'state', NEW.state, 'fence', NEW.fence, 'message', NEW.message)
      FROM run r WHERE r.id = NEW.run_id;
    PERFORM pg_notify('ptl_event', '');
    IF NEW.state = 'queued' THEN
        PERFORM pg_notify('ptl_queue', NEW.host);
    ELSIF NEW.state = 'cancelling' THEN
        PERFORM pg_notify('ptl_cancel', NEW.agent_id::text);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER stage_state_event AFTER UPDATE OF state ON stage
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION stage_state_event();

CREATE FUNCTION run_state_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM run_rule WHERE from_state = OLD.state AND to_state = NEW.state) THEN
        RAISE EXCEPTION 'run %: no rule from % to %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'PT409';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER run_state_guard BEFORE UPDATE OF state ON run
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION run_state_guard();

-- One commit status a run and context (never one a stage: forges cap them), only where the project names a forge.
CREATE FUNCTION run_state_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    green integer; total integer;
BEGIN
    INSERT INTO event (project_id, run_id, kind, data)
    VALUES (NEW.project_id, NEW.id, 'run', jsonb_build_object('number', NEW.number, 'state', NEW.state, 'message', NEW.message));
    PERFORM pg_notify('ptl_event', '');
    IF NEW.state = 'preparing' THEN
        PERFORM pg_notify('ptl_prepare', '');
    END IF;
    IF NEW.commit_sha IS NOT NULL AND NEW.state IN ('waiting', 'running', 'green', 'red', 'cancelled', 'invalid') THEN
        SELECT count(*) FILTER (WHERE state = 'green'), count(*) INTO green, total FROM stage WHERE run_id = NEW.id;
        INSERT INTO status_outbox (project_id, run_id, sha, context, state, description)
        SELECT NEW.project_id, NEW.id, NEW.commit_sha, 'ci/portolan/' || COALESCE(NEW.model, 'model'),
               CASE NEW.state WHEN 'waiting' THEN 'pending' WHEN 'running' THEN 'running' WHEN 'green' THEN 'success'
                              WHEN 'red' THEN 'failure' WHEN 'invalid' THEN 'error' ELSE 'cancelled' END,
               left(CASE WHEN NEW.state = 'invalid' THEN COALESCE(NEW.message, 'no plan came about')
                         ELSE green || ' of ' || total || ' stages green' END, 140)
          FROM project p WHERE p.id = NEW.project_id AND p.status_forge IS NOT NULL;
        PERFORM pg_notify('ptl_status', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER run_state_event AFTER UPDATE OF state ON run
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION run_state_event();

CREATE FUNCTION run_created_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (project_id, run_id, kind, data) VALUES (NEW.project_id, NEW.id, 'run', jsonb_build_object('state', NEW.state));
    PERFORM pg_notify('ptl_event', ''), pg_notify('ptl_prepare', '');
    RETURN NULL;
END $$;
CREATE TRIGGER run_created_event AFTER INSERT ON run FOR EACH ROW EXECUTE FUNCTION run_created_event();
