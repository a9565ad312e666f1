-- What is done with a diagnosis after it was made: people's words on it, answers that a newer knowledge replaced, the retry that it decides,
-- and the answered questions of others that it points at.

-- ---------------------------------------------------------------------------------------------- what failures of one kind have in common
ALTER TABLE attempt
    ADD COLUMN diagnosed_at timestamptz,
    ADD COLUMN template text GENERATED ALWAYS AS (NULLIF(diagnosis ->> 'template', '')) STORED,
    ADD COLUMN fingerprint text GENERATED ALWAYS AS (diagnosis ->> 'fingerprint') STORED,
    ADD COLUMN indicators jsonb GENERATED ALWAYS AS (jsonb_path_query_array(diagnosis, '$.evidence[*].indicator ? (@ != null)')) STORED,
    ADD COLUMN retry jsonb;                       -- what was decided about trying again, and why (stage_decide.sql)
-- Re-labelling walks along it, newest first.
CREATE INDEX attempt_diagnosed ON attempt (id) WHERE diagnosis_state IN ('done', 'failed');

-- ---------------------------------------------------------------------------------------------- people's words
CREATE TABLE feedback (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    attempt_id    bigint NOT NULL REFERENCES attempt ON DELETE CASCADE,
    verdict       text NOT NULL CHECK (verdict IN ('confirm', 'correct', 'not_a_challenge')),
    challenge_id  text,                           -- what it is in this person's view
    said_id       text,                           -- what the diagnosis said then
    comment       text CHECK (length(comment) <= 4000),
    by_name       text NOT NULL,
    at            timestamptz NOT NULL DEFAULT now(),
    undone_at     timestamptz,
    undone_by     text,
    CHECK ((verdict = 'not_a_challenge') = (challenge_id IS NULL))
);
CREATE INDEX feedback_attempt ON feedback (attempt_id, id);
CREATE INDEX feedback_open ON feedback (id) WHERE undone_at IS NULL;

-- Of several words on one attempt the newest that was not undone is in force; without one, the diagnosis is again.
CREATE FUNCTION feedback_in_force() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    word feedback;
BEGIN
    SELECT * INTO word FROM feedback WHERE attempt_id = NEW.attempt_id AND undone_at IS NULL ORDER BY id DESC LIMIT 1;
    UPDATE attempt SET challenge_id = word.challenge_id, challenge_by = CASE WHEN word.id IS NOT NULL THEN 'person' END WHERE id = NEW.attempt_id;
    RETURN NULL;
END $$;
CREATE TRIGGER feedback_in_force AFTER INSERT OR UPDATE OF undone_at ON feedback FOR EACH ROW EXECUTE FUNCTION feedback_in_force();

-- A project's own counts follow the answer in force, whoever gave it.
CREATE FUNCTION attempt_challenge_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO challenge_count (project_id, challenge_id, failures)
    SELECT r.project_id, d.challenge, d.n
      FROM stage s JOIN run r ON r.id = s.run_id, (VALUES (OLD.challenge_id, -1), (NEW.challenge_id, 1)) AS d (challenge, n)
     WHERE s.id = NEW.stage_id AND d.challenge IS NOT NULL ORDER BY d.challenge
    ON CONFLICT (project_id, challenge_id) DO UPDATE SET failures = GREATEST(0, challenge_count.failures + excluded.failures);
    RETURN NULL;
END $$;
CREATE TRIGGER attempt_challenge_counted AFTER UPDATE ON attempt FOR EACH ROW
    WHEN (OLD.challenge_id IS DISTINCT FROM NEW.challenge_id) EXECUTE FUNCTION attempt_challenge_counted();
DELETE FROM challenge_count;
INSERT INTO challenge_count (project_id, challenge_id, failures)
SELECT r.project_id, a.challenge_id, count(*) FROM attempt a JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id WHERE a.challenge_id IS NOT NULL GROUP BY 1, 2;

-- ---------------------------------------------------------------------------------------------- answers that were replaced
CREATE TABLE diagnosis_past (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    attempt_id    bigint NOT NULL REFERENCES attempt ON DELETE CASCADE,
    kb            text,                           -- the knowledge it was made with
    challenge_id  text,
    diagnosed_at  timestamptz,
    replaced_at   timestamptz NOT NULL DEFAULT now(),
    diagnosis     jsonb NOT NULL
);
CREATE INDEX diagnosis_past_attempt ON diagnosis_past (attempt_id, id);

-- What a reader would notice: an answer that differs in nothing but its hash or its last decimals is the same answer.
CREATE FUNCTION diagnosis_gist(d jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_array(d -> 'state', d -> 'verdict', d -> 'summary', d -> 'transient', d #> '{challenges,0,id}', d #> '{challenges,1,id}', d #> '{challenges,2,id}')
$$;
CREATE FUNCTION attempt_diagnosis_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.diagnosed_at := now();
    IF OLD.diagnosis IS NOT NULL AND diagnosis_gist(OLD.diagnosis) IS DISTINCT FROM diagnosis_gist(NEW.diagnosis) THEN
        INSERT INTO diagnosis_past (attempt_id, kb, challenge_id, diagnosed_at, diagnosis)
        VALUES (OLD.id, OLD.diagnosis ->> 'kb', CASE WHEN OLD.diagnosis ->> 'state' = 'diagnosed' THEN OLD.diagnosis #>> '{challenges,0,id}' END, OLD.diagnosed_at, OLD.diagnosis);
        DELETE FROM diagnosis_past WHERE attempt_id = OLD.id AND id <= (SELECT id FROM diagnosis_past WHERE attempt_id = OLD.id ORDER BY id DESC OFFSET 50 LIMIT 1);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER attempt_diagnosis_kept BEFORE UPDATE OF diagnosis ON attempt FOR EACH ROW
    WHEN (OLD.diagnosis IS DISTINCT FROM NEW.diagnosis) EXECUTE FUNCTION attempt_diagnosis_kept();

-- ---------------------------------------------------------------------------------------------- history under a newer knowledge
-- One row a time that history is labelled anew. `at_id`: attempts from there on are done; whoever holds the lease carries on below it.
CREATE TABLE kb_apply (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kb          text NOT NULL,
    forced      boolean NOT NULL DEFAULT false,   -- also what was diagnosed with this very knowledge: counts and people's words have moved on
    asked_by    text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    superseded  boolean NOT NULL DEFAULT false,   -- ended because a newer knowledge came
    total       bigint NOT NULL,
    done        bigint NOT NULL DEFAULT 0,
    changed     bigint NOT NULL DEFAULT 0,
    kept        bigint NOT NULL DEFAULT 0,        -- of done: their log is gone, their answer stays
    at_id       bigint NOT NULL,
    holder      text,
    lease_until timestamptz
);

-- ---------------------------------------------------------------------------------------------- questions that others asked
CREATE TABLE known_case (
    id            text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 200),   -- of its source: so-47921268
    url           text NOT NULL CHECK (length(url) <= 2000),
    title         text NOT NULL CHECK (length(title) <= 1000),
    platform      text CHECK (platform IN ('server', 'mobile', 'browser')),
    labels        text[] NOT NULL DEFAULT '{}',   -- as the source has them
    tags          text[] NOT NULL DEFAULT '{}',
    challenge_id  text,
    answered      boolean NOT NULL DEFAULT false,
    text          text NOT NULL CHECK (length(text) <= 200000),
    asked_at      timestamptz,
    imported_at   timestamptz NOT NULL DEFAULT now(),
    imported_by   text NOT NULL,
    -- Angle brackets out: the parser would take what stands between them for markup, and leave it out.
    words         tsvector GENERATED ALWAYS AS (setweight(to_tsvector('english', translate(title, '<>', '  ')), 'A') || to_tsvector('english', translate(left(text, 60000), '<>', '  '))) STORED
);
CREATE INDEX known_case_challenge ON known_case (challenge_id, id);
CREATE INDEX known_case_words ON known_case USING gin (words);

-- ---------------------------------------------------------------------------------------------- a failed attempt with retries left waits for its diagnosis
ALTER TABLE stage
    ADD COLUMN decide_by timestamptz,             -- deciding: taken as unclear from then on
    ADD COLUMN unclear_retries integer NOT NULL DEFAULT 0;
INSERT INTO stage_rule VALUES
    ('claimed', 'deciding'), ('running', 'deciding'),
    ('deciding', 'queued'), ('deciding', 'red'), ('deciding', 'cancelled');
CREATE INDEX stage_deciding ON stage (id) WHERE state = 'deciding';
