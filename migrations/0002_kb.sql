-- The knowledge base: taxonomies, entries and indicators as rows. What ships is loaded from migrations/kb by every start that finds other content
-- (kb_load.sql); what people add is theirs (indicators called local/…) and stays. Every change leaves a row in kb_change.

CREATE TABLE kb_version (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    files_hash    text NOT NULL,                 -- SHA-256 over the files it was loaded from
    program       text NOT NULL,                 -- version of the program that loaded it
    params        jsonb NOT NULL DEFAULT '{}',   -- the weighing's numbers
    loaded_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE challenge (
    id              text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*){0,3}$'),
    taxonomy        text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('root', 'inner', 'leaf')),
    parent          text REFERENCES challenge DEFERRABLE INITIALLY DEFERRED,
    title           text NOT NULL,
    share           double precision,            -- per cent of its platform's questions in the paper
    questions       integer,
    unanswered      double precision,            -- per cent without an accepted answer
    median_minutes  double precision,            -- to an accepted answer
    position        integer NOT NULL,            -- order of the files: parents before children
    data            jsonb NOT NULL,              -- the node as the file has it
    entry           jsonb,                       -- what is known about it: words, remedies, sources
    origin          text NOT NULL DEFAULT 'shipped' CHECK (origin IN ('shipped', 'local')),
    retired_at      timestamptz
);

CREATE TABLE challenge_link (
    from_id  text NOT NULL REFERENCES challenge ON DELETE CASCADE,
    to_id    text NOT NULL REFERENCES challenge ON DELETE CASCADE,
    why      text NOT NULL,
    origin   text NOT NULL DEFAULT 'shipped' CHECK (origin IN ('shipped', 'local')),
    PRIMARY KEY (from_id, to_id)
);

CREATE TABLE indicator (
    id          text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*$'),
    data        jsonb NOT NULL,                  -- as migrations/kb/FORM.md says, every optional key filled in
    origin      text NOT NULL DEFAULT 'shipped' CHECK (origin IN ('shipped', 'local')),
    revision    integer NOT NULL DEFAULT 1,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    updated_by  text NOT NULL,
    retired_at  timestamptz,
    retired_by  text,                            -- a person: stays retired whatever is loaded; 'portoland': no longer shipped
    CHECK ((origin = 'local') = starts_with(id, 'local/'))
);

CREATE TABLE kb_change (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    object  text NOT NULL,                       -- 'indicator litert/builtin-op-version'
    action  text NOT NULL CHECK (action IN ('add', 'edit', 'retire', 'restore')),
    before  jsonb,
    after   jsonb
);
CREATE INDEX kb_change_object ON kb_change (object, id);

-- A text model trained on this database's own cases takes the place of the shipped one.
CREATE TABLE kb_model (
    name      text PRIMARY KEY,
    data      bytea NOT NULL,
    cases     integer NOT NULL DEFAULT 0,
    made_at   timestamptz NOT NULL DEFAULT now(),
    made_by   text NOT NULL
);

-- How often each project's failures were diagnosed as what: the part of the prior that is its own.
CREATE TABLE challenge_count (
    project_id    bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    challenge_id  text NOT NULL,
    failures      integer NOT NULL,
    PRIMARY KEY (project_id, challenge_id)
);

-- History and wake-up cannot be forgotten by a statement.
CREATE FUNCTION indicator_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    what text := CASE WHEN TG_OP = 'INSERT' THEN 'add'
                      WHEN OLD.retired_at IS NULL AND NEW.retired_at IS NOT NULL THEN 'retire'
                      WHEN OLD.retired_at IS NOT NULL AND NEW.retired_at IS NULL THEN 'restore' ELSE 'edit' END;
BEGIN
    INSERT INTO kb_change (actor, object, action, before, after)
    VALUES (COALESCE(CASE WHEN what = 'retire' THEN NEW.retired_by END, NEW.updated_by), 'indicator ' || NEW.id, what,
            CASE WHEN TG_OP = 'UPDATE' THEN OLD.data END, CASE WHEN what <> 'retire' THEN NEW.data END);
    PERFORM pg_notify('ptl_kb', '');
    RETURN NULL;
END $$;
CREATE TRIGGER indicator_added AFTER INSERT ON indicator FOR EACH ROW EXECUTE FUNCTION indicator_changed();
CREATE TRIGGER indicator_changed AFTER UPDATE ON indicator FOR EACH ROW
    WHEN (OLD.data IS DISTINCT FROM NEW.data OR OLD.retired_at IS DISTINCT FROM NEW.retired_at) EXECUTE FUNCTION indicator_changed();

CREATE FUNCTION kb_model_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('ptl_kb', '');
    RETURN NULL;
END $$;
CREATE TRIGGER kb_model_changed AFTER INSERT OR UPDATE OR DELETE ON kb_model FOR EACH STATEMENT EXECUTE FUNCTION kb_model_changed();
CREATE TRIGGER kb_version_added AFTER INSERT ON kb_version FOR EACH STATEMENT EXECUTE FUNCTION kb_model_changed();
