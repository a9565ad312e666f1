-- People, what they were given, what was weighed before it ran, and what is told to whom.

-- ---------------------------------------------------------------------------------------------- people
CREATE TABLE person (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    display_name  text NOT NULL CHECK (length(display_name) BETWEEN 1 AND 200),
    forge_login   text,
    suggestions   boolean NOT NULL DEFAULT true,    -- false: never suggested for anything
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
-- The directory: by what someone is known elsewhere. An address is held in lower case; a token by its name.
CREATE TABLE person_alias (
    kind       text NOT NULL CHECK (kind IN ('email', 'token', 'name')),
    value      text NOT NULL CHECK (length(value) BETWEEN 1 AND 320),
    person_id  bigint NOT NULL REFERENCES person ON DELETE CASCADE,
    PRIMARY KEY (kind, value)
);
CREATE INDEX person_alias_person ON person_alias (person_id);
-- Who committed what a run brought: the commits between it and the run it is compared with.
CREATE TABLE run_author (
    run_id     bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    person_id  bigint NOT NULL REFERENCES person ON DELETE CASCADE,
    commits    integer NOT NULL DEFAULT 1,
    PRIMARY KEY (run_id, person_id)
);
CREATE INDEX run_author_person ON run_author (person_id, run_id);
CREATE TABLE person_project (
    person_id   bigint NOT NULL REFERENCES person ON DELETE CASCADE,
    project_id  bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    seen_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (person_id, project_id)
);
CREATE INDEX person_project_project ON person_project (project_id, person_id);

-- A free handle made of a name: 'Ada Lovelace' is ada-lovelace, the next one ada-lovelace-2.
CREATE FUNCTION person_handle(display text, spare text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    base text := left(trim(BOTH '-._' FROM regexp_replace(lower(display), '[^a-z0-9._]+', '-', 'g')), 50);
    n integer := 1;
    h text;
BEGIN
    IF base = '' THEN
        base := left(trim(BOTH '-._' FROM regexp_replace(lower(spare), '[^a-z0-9._]+', '-', 'g')), 50);
    END IF;
    IF base = '' THEN
        base := 'person';
    END IF;
    h := base;
    WHILE EXISTS (SELECT 1 FROM person WHERE name = h) OR EXISTS (SELECT 1 FROM person_alias WHERE kind = 'name' AND value = h) LOOP
        n := n + 1;
        h := base || '-' || n;
    END LOOP;
    RETURN h;
END $$;

-- The person behind a commit's author; made when the address is new. One at a time, so that two runs do not make him twice.
CREATE FUNCTION person_of_commit(author text, address text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    got bigint;
    mail text := left(lower(trim(address)), 320);
    shown text := left(COALESCE(NULLIF(trim(author), ''), NULLIF(split_part(address, '@', 1), ''), 'someone'), 200);
BEGIN
    IF mail IS NULL OR mail = '' THEN
        RETURN NULL;
    END IF;
    SELECT person_id INTO got FROM person_alias WHERE kind = 'email' AND value = mail;
    IF got IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext('portolan person'));
        SELECT person_id INTO got FROM person_alias WHERE kind = 'email' AND value = mail;
    END IF;
    IF got IS NULL THEN
        INSERT INTO person (name, display_name, created_by) VALUES (person_handle(shown, split_part(mail, '@', 1)), shown, 'commits') RETURNING id INTO got;
        INSERT INTO person_alias VALUES ('email', mail, got);
    END IF;
    RETURN got;
END $$;

-- By handle, former handle (after a merge) or token.
CREATE FUNCTION person_find(handle text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT id FROM person WHERE name = handle
    UNION ALL
    SELECT person_id FROM person_alias WHERE kind = 'name' AND value = handle
    LIMIT 1
$$;
CREATE FUNCTION person_of_token_found(token_name text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT person_id FROM person_alias WHERE kind = 'token' AND value = token_name
    UNION ALL
    SELECT id FROM person WHERE name = token_name
    LIMIT 1
$$;
-- The same, made when there is none: whoever takes something has to be someone.
CREATE FUNCTION person_of_token(token_name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    got bigint := person_of_token_found(token_name);
BEGIN
    IF got IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext('portolan person'));
        got := person_of_token_found(token_name);
    END IF;
    IF got IS NULL THEN
        INSERT INTO person (name, display_name, created_by) VALUES (person_handle(token_name, 'person'), left(token_name, 200), 'token') RETURNING id INTO got;
        INSERT INTO person_alias VALUES ('token', token_name, got);
    END IF;
    RETURN got;
END $$;

-- ---------------------------------------------------------------------------------------------- risk
ALTER TABLE stage
    ADD COLUMN platform    text CHECK (platform IN ('server', 'mobile', 'browser')),   -- where its target runs; of an export: server
    ADD COLUMN risk        jsonb,                -- {p, hours, cost, terms, likely, facts}: daemon/risk/risk.h says what they mean
    ADD COLUMN risk_p      double precision,
    ADD COLUMN risk_hours  double precision,
    ADD COLUMN risk_cost   double precision,
    ADD COLUMN risk_bits   integer NOT NULL DEFAULT 0,    -- what the diff and the history said, as bits of enum ptl_risk_factor
    ADD COLUMN risk_seen   bigint NOT NULL DEFAULT 0,     -- the newest outcome that went into it
    ADD COLUMN gate_why    text,                 -- why it waits for a person, when the risk policy says so
    ADD COLUMN approvers   text[] NOT NULL DEFAULT '{}';  -- handles of those who may open its gate; empty: whoever may approve
UPDATE stage s SET platform = COALESCE(CASE WHEN s.kind = 'export' THEN 'server' END,
    (SELECT v.host FROM stage v WHERE v.run_id = s.run_id AND v.target = s.target AND v.kind = 'verify' LIMIT 1), s.host);
CREATE INDEX stage_open ON stage (id) WHERE state IN ('waiting', 'gated', 'queued', 'claimed', 'running', 'deciding');

-- Every end of a stage that work led to, in order: what risk is weighed with and played back against. Bits and prediction are as of planning.
CREATE TABLE risk_outcome (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    project_id  bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    run_id      bigint NOT NULL,
    stage_id    bigint NOT NULL,
    attempt_id  bigint,
    ref         text NOT NULL,
    name        text NOT NULL,
    kind        text NOT NULL,
    target      text NOT NULL,                   -- '' for export
    platform    text NOT NULL,
    ok          boolean NOT NULL,
    bits        integer NOT NULL DEFAULT 0,
    predicted   double precision,
    streak      bigint,                          -- red: the first red of its row of reds; green: the first red that it put an end to
    fixed_by    bigint                           -- the first red of a row: the green outcome that ended it
);
CREATE INDEX risk_outcome_cell ON risk_outcome (project_id, kind, target, id);
CREATE INDEX risk_outcome_kind ON risk_outcome (kind, platform, id);
CREATE INDEX risk_outcome_red ON risk_outcome (kind, platform, id) WHERE NOT ok;
CREATE INDEX risk_outcome_fix ON risk_outcome (id) WHERE ok AND streak IS NOT NULL;
CREATE INDEX risk_outcome_project ON risk_outcome (project_id, id);
CREATE INDEX risk_outcome_stage ON risk_outcome (stage_id);
CREATE INDEX risk_outcome_attempt ON risk_outcome (attempt_id) WHERE fixed_by IS NOT NULL;
-- The last word about each stage of each ref.
CREATE TABLE stage_line (
    project_id  bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    ref         text NOT NULL,
    name        text NOT NULL,
    outcome_id  bigint NOT NULL,
    stage_id    bigint NOT NULL,
    ok          boolean NOT NULL,
    streak      bigint,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, ref, name)
);
CREATE INDEX stage_line_red ON stage_line (stage_id) WHERE NOT ok;

CREATE FUNCTION stage_outcome_add(s stage) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    r record;
    last stage_line;
    good boolean := s.state = 'green';
    row_of bigint;
    made bigint;
BEGIN
    SELECT project_id, ref INTO r FROM run WHERE id = s.run_id;
    SELECT * INTO last FROM stage_line WHERE project_id = r.project_id AND ref = r.ref AND name = s.name FOR UPDATE;
    IF last.outcome_id IS NOT NULL AND NOT last.ok THEN
        row_of := last.streak;
    END IF;
    INSERT INTO risk_outcome (at, project_id, run_id, stage_id, attempt_id, ref, name, kind, target, platform, ok, bits, predicted, streak)
    VALUES (COALESCE(s.ended_at, clock_timestamp()), r.project_id, s.run_id, s.id, s.attempt_id, r.ref, s.name, s.kind, COALESCE(s.target, ''), COALESCE(s.platform, s.host), good, s.risk_bits, s.risk_p, row_of)
    RETURNING id INTO made;
    IF good AND row_of IS NOT NULL THEN
        UPDATE risk_outcome SET fixed_by = made WHERE id = row_of;
    ELSIF NOT good AND row_of IS NULL THEN
        row_of := made;
        UPDATE risk_outcome SET streak = made WHERE id = made;
    END IF;
    INSERT INTO stage_line (project_id, ref, name, outcome_id, stage_id, ok, streak, at)
    VALUES (r.project_id, r.ref, s.name, made, s.id, good, CASE WHEN NOT good THEN row_of END, COALESCE(s.ended_at, now()))
    ON CONFLICT (project_id, ref, name) DO UPDATE SET outcome_id = EXCLUDED.outcome_id, stage_id = EXCLUDED.stage_id, ok = EXCLUDED.ok, streak = EXCLUDED.streak, at = EXCLUDED.at;
END $$;
-- What there is already, oldest first.
DO $$
DECLARE
    s stage;
BEGIN
    FOR s IN SELECT * FROM stage WHERE state IN ('green', 'red') AND attempt_id IS NOT NULL ORDER BY ended_at NULLS FIRST, id LOOP
        PERFORM stage_outcome_add(s);
    END LOOP;
END $$;

-- May this token open or close a gate? True, or a refusal that names who may.
CREATE FUNCTION gate_open_by(of_stage text, approvers text[], actor text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF approvers <> '{}' AND NOT EXISTS (SELECT 1 FROM unnest(approvers) h WHERE person_find(h) = person_of_token_found(actor)) THEN
        RAISE EXCEPTION 'the gate of stage % is for % (approvers in the pipeline file), and token % is none of them; portolan person set NAME --add-token says whose token it is', of_stage,
            array_to_string(approvers, ', '), actor USING ERRCODE = 'PT403';
    END IF;
    RETURN true;
END $$;

-- ---------------------------------------------------------------------------------------------- assignments
CREATE TABLE assignment (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    run_id        bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    stage_id      bigint NOT NULL REFERENCES stage ON DELETE CASCADE,
    attempt_id    bigint REFERENCES attempt ON DELETE SET NULL,   -- the failed attempt it is about; null: the stage as such
    ref           text NOT NULL,
    stage_name    text NOT NULL,
    person_id     bigint REFERENCES person,      -- null: handed back, free for anyone
    state         text NOT NULL CHECK (state IN ('assigned', 'taken', 'free', 'done', 'closed')),
    challenge_id  text,                          -- what the checklist was made from
    checklist     jsonb NOT NULL DEFAULT '[]',   -- [{text, role, done, done_by, done_at}]
    due_at        timestamptz,
    due_told      text NOT NULL DEFAULT '' CHECK (due_told IN ('', 'soon', 'overdue')),
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz
);
-- One that is open for a stage, whichever of its attempts it is about.
CREATE UNIQUE INDEX assignment_open ON assignment (stage_id) WHERE state IN ('assigned', 'taken', 'free');
CREATE INDEX assignment_stage ON assignment (stage_id, id);
CREATE INDEX assignment_line ON assignment (project_id, ref, stage_name) WHERE state IN ('assigned', 'taken', 'free');
CREATE INDEX assignment_person ON assignment (person_id, state, id);
CREATE INDEX assignment_challenge ON assignment (challenge_id) WHERE state IN ('done', 'closed');
CREATE INDEX assignment_due ON assignment (due_at) WHERE due_at IS NOT NULL AND due_told <> 'overdue' AND state IN ('assigned', 'taken', 'free');

CREATE TABLE assignment_event (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    assignment_id  bigint NOT NULL REFERENCES assignment ON DELETE CASCADE,
    at             timestamptz NOT NULL DEFAULT now(),
    actor          text NOT NULL,
    action         text NOT NULL CHECK (action IN ('assigned', 'reassigned', 'taken', 'handed_back', 'done', 'closed', 'due', 'due_soon', 'overdue', 'comment', 'checked', 'unchecked')),
    person_id      bigint REFERENCES person ON DELETE SET NULL,   -- whom it is given to
    before_id      bigint REFERENCES person ON DELETE SET NULL,   -- who had it
    text           text
);
CREATE INDEX assignment_event_of ON assignment_event (assignment_id, id);
CREATE TABLE assignment_watch (
    assignment_id  bigint NOT NULL REFERENCES assignment ON DELETE CASCADE,
    person_id      bigint NOT NULL REFERENCES person ON DELETE CASCADE,
    PRIMARY KEY (assignment_id, person_id)
);

-- What a person should go through, from what is known about the challenge or the nearest node above it that is described.
CREATE FUNCTION assignment_checklist(challenge text, of_platform text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH RECURSIVE up AS (
        SELECT id, parent, entry, 0 AS depth FROM challenge WHERE id = $1
        UNION ALL
        SELECT c.id, c.parent, c.entry, up.depth + 1 FROM up JOIN challenge c ON c.id = up.parent WHERE up.depth < 5
    ), entry AS (
        SELECT entry FROM up WHERE entry IS NOT NULL ORDER BY depth LIMIT 1
    ), item AS (
        SELECT 1 AS n, 0 AS k, 'decide' AS role, 'Make sure it is this: ' || (entry ->> 'decide') AS text FROM entry WHERE entry ->> 'decide' <> ''
        UNION ALL
        SELECT 2, 0, 'dl_developer', 'Who made the model: ' || (entry ->> 'dl_developer') FROM entry WHERE entry ->> 'dl_developer' <> ''
        UNION ALL
        SELECT 3, 0, 'platform_developer', CASE $2 WHEN 'mobile' THEN 'Who builds the app: ' WHEN 'browser' THEN 'Who builds the page: ' ELSE 'Who runs the server: ' END || (entry ->> 'platform_developer')
          FROM entry WHERE entry ->> 'platform_developer' <> ''
        UNION ALL
        SELECT 4, ord, 'remedy', 'Remedy' || COALESCE(' for ' || (r ->> 'tool') || COALESCE(' ' || (r ->> 'versions'), ''), '') || ': ' || (r ->> 'text')
          FROM entry, jsonb_array_elements(CASE WHEN jsonb_typeof(entry -> 'remedies') = 'array' THEN entry -> 'remedies' ELSE '[]' END) WITH ORDINALITY AS e (r, ord)
         WHERE r ->> 'text' <> '' AND ord <= 20
    )
    SELECT COALESCE(jsonb_agg(jsonb_build_object('role', role, 'text', text, 'done', false) ORDER BY n, k), '[]') FROM item
$$;

-- Green puts an end to what was given out for this stage, and for earlier runs of it on the same ref; the history says so.
CREATE FUNCTION stage_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM stage_outcome_add(NEW);
    IF NEW.state = 'green' THEN
        WITH over AS (
            UPDATE assignment a SET state = 'closed', ended_at = now() FROM run r
             WHERE r.id = NEW.run_id AND a.project_id = r.project_id AND a.ref = r.ref AND a.stage_name = NEW.name AND a.run_id <= NEW.run_id AND a.state IN ('assigned', 'taken', 'free')
            RETURNING a.id, a.person_id, a.run_id
        )
        INSERT INTO assignment_event (assignment_id, actor, action, person_id, text)
        SELECT over.id, 'portoland', 'closed', over.person_id, 'the stage turned green in run ' || NEW.run_id FROM over;
    ELSE
        UPDATE assignment SET attempt_id = NEW.attempt_id WHERE stage_id = NEW.id AND attempt_id IS NULL AND state IN ('assigned', 'taken', 'free');
        PERFORM stage_failed_tell(NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER stage_ended AFTER UPDATE OF state ON stage
    FOR EACH ROW WHEN (OLD.state IN ('claimed', 'running', 'deciding') AND NEW.state IN ('green', 'red')) EXECUTE FUNCTION stage_ended();

-- By handle, for a token that is confined to a project: only who has to do with it.
CREATE FUNCTION person_find_in(handle text, only_project text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT f.id FROM (SELECT person_find(handle) AS id) f
     WHERE only_project IS NULL OR EXISTS (SELECT 1 FROM person_project x JOIN project y ON y.id = x.project_id WHERE x.person_id = f.id AND y.name = only_project)
        OR EXISTS (SELECT 1 FROM assignment g JOIN project y ON y.id = g.project_id WHERE g.person_id = f.id AND y.name = only_project)
$$;

-- Who resolved one of these challenges here: whoever committed to the run that turned a red stage green, and whoever was given it and it was done.
-- Newest 300 failures of a challenge; within one project when limit_project says so.
CREATE FUNCTION people_resolved(challenges text[], limit_project bigint) RETURNS TABLE (person_id bigint, challenge_id text, project_id bigint, at timestamptz, run_id bigint, uses text, how text) LANGUAGE sql STABLE AS $$
    SELECT w.person_id, a.challenge_id, o.project_id, o.at, o.run_id, s.uses, 'commits'
      FROM unnest($1) c (id)
     CROSS JOIN LATERAL (SELECT x.id, x.challenge_id FROM attempt x WHERE x.challenge_id = c.id ORDER BY x.id DESC LIMIT 300) a
      JOIN risk_outcome red ON red.attempt_id = a.id AND red.fixed_by IS NOT NULL
      JOIN risk_outcome o ON o.id = red.fixed_by AND o.run_id <> red.run_id
      JOIN run_author w ON w.run_id = o.run_id JOIN stage s ON s.id = o.stage_id
     WHERE ($2 IS NULL OR o.project_id = $2)
       AND NOT EXISTS (SELECT 1 FROM resolution x WHERE x.green_attempt_id = o.attempt_id AND (x.state = 'rejected' OR x.change = 'nothing'))   -- a person said it was not that; nobody changed anything
    UNION ALL
    SELECT g.person_id, g.challenge_id, g.project_id, g.ended_at, g.run_id, s.uses, 'assignment'
      FROM assignment g JOIN stage s ON s.id = g.stage_id
     WHERE g.challenge_id = ANY ($1) AND g.person_id IS NOT NULL AND (g.state = 'done' OR (g.state = 'closed' AND g.attempt_id IS NOT NULL)) AND ($2 IS NULL OR g.project_id = $2)
$$;
-- At most three people for a stage, the one who resolved such a thing last first, each with reasons and no number that could be compared.
CREATE FUNCTION people_suggested(of_stage bigint, challenges text[], limit_project bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH did AS (
        SELECT r.person_id, r.challenge_id, max(r.at) AS at, count(DISTINCT r.run_id) AS times, (array_agg(r.run_id ORDER BY r.at DESC))[1] AS run_id, (array_agg(r.uses ORDER BY r.at DESC))[1] AS uses
          FROM people_resolved(challenges, limit_project) r GROUP BY 1, 2
    ), known AS (
        SELECT p.id, p.name, p.display_name, max(d.at) AS at,
               array_agg('resolved "' || COALESCE(c.title, d.challenge_id) || '" ' || CASE WHEN d.times = 1 THEN 'on ' ELSE d.times || ' times, last on ' END || to_char(d.at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                         || ' in ' || pr.name || COALESCE('#' || r.number, '') || COALESCE(' (' || d.uses || ')', '') ORDER BY d.at DESC) AS reasons
          FROM did d JOIN person p ON p.id = d.person_id AND p.suggestions JOIN run r ON r.id = d.run_id JOIN project pr ON pr.id = r.project_id LEFT JOIN challenge c ON c.id = d.challenge_id
         GROUP BY p.id
    ), wrote AS (
        SELECT p.id, p.name, p.display_name, r.created_at AS at, ARRAY['committed to this run'] AS reasons
          FROM stage s JOIN run r ON r.id = s.run_id JOIN run_author w ON w.run_id = r.id JOIN person p ON p.id = w.person_id AND p.suggestions
         WHERE s.id = of_stage AND NOT EXISTS (SELECT 1 FROM known)
    ), best AS (
        SELECT * FROM (SELECT * FROM known UNION ALL SELECT * FROM wrote) x ORDER BY at DESC, id LIMIT 3
    )
    SELECT COALESCE(jsonb_agg(jsonb_build_object('person', b.name, 'display_name', b.display_name,
               'reasons', to_jsonb(b.reasons[1:4] || CASE n.open WHEN 0 THEN 'has nothing assigned now' WHEN 1 THEN 'has one other thing assigned now' ELSE 'has ' || n.open || ' other things assigned now' END)) ORDER BY b.at DESC, b.id), '[]')
      FROM best b CROSS JOIN LATERAL (SELECT count(*) AS open FROM assignment a WHERE a.person_id = b.id AND a.state IN ('assigned', 'taken') AND a.stage_id <> of_stage AND (limit_project IS NULL OR a.project_id = limit_project)) n
$$;

-- Gives a stage to someone, or takes it (handle null). What cannot be is said in words: PT404, PT409 (naming who has it), PT422.
CREATE FUNCTION assignment_give(of_stage bigint, of_attempt bigint, handle text, actor text, due timestamptz, words text, only_project text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    s record;
    whom bigint;
    made bigint;
    g assignment;
    about text;
BEGIN
    SELECT x.id, x.name, x.run_id, x.platform, x.state, r.project_id, r.ref, p.name AS project, a.id AS attempt_id, a.ok, a.challenge_id, x.risk #>> '{likely,0,challenge_id}' AS likely INTO s
      FROM stage x JOIN run r ON r.id = x.run_id JOIN project p ON p.id = r.project_id LEFT JOIN attempt a ON a.id = COALESCE(of_attempt, x.attempt_id)
     WHERE x.id = COALESCE(of_stage, (SELECT stage_id FROM attempt WHERE id = of_attempt)) AND (only_project IS NULL OR p.name = only_project);
    IF NOT FOUND OR (of_attempt IS NOT NULL AND s.attempt_id IS DISTINCT FROM of_attempt) THEN
        RAISE EXCEPTION 'no % %', CASE WHEN of_attempt IS NULL THEN 'stage' ELSE 'attempt' END, COALESCE(of_attempt, of_stage) USING ERRCODE = 'PT404';
    END IF;
    IF s.state IN ('green', 'cancelled', 'skipped') THEN
        RAISE EXCEPTION 'stage % is %: there is nothing to give to anyone', s.name, s.state USING ERRCODE = 'PT409';
    END IF;
    IF handle IS NULL THEN
        whom := person_of_token(actor);
    ELSE
        whom := person_find_in(handle, only_project);
        IF whom IS NULL THEN
            RAISE EXCEPTION 'there is no person called %; portolan person list shows who there is', handle USING ERRCODE = 'PT422';
        END IF;
    END IF;
    about := CASE WHEN s.ok = false AND s.state = 'red' THEN s.challenge_id ELSE s.likely END;
    INSERT INTO assignment (project_id, run_id, stage_id, attempt_id, ref, stage_name, person_id, state, challenge_id, checklist, due_at, created_by)
    VALUES (s.project_id, s.run_id, s.id, CASE WHEN of_attempt IS NOT NULL OR s.state = 'red' THEN s.attempt_id END, s.ref, s.name, whom, CASE WHEN handle IS NULL THEN 'taken' ELSE 'assigned' END,
            about, assignment_checklist(about, s.platform), due, actor)
    ON CONFLICT (stage_id) WHERE state IN ('assigned', 'taken', 'free') DO NOTHING RETURNING id INTO made;
    IF made IS NOT NULL THEN
        INSERT INTO assignment_event (assignment_id, actor, action, person_id, text) VALUES (made, assignment_give.actor, CASE WHEN handle IS NULL THEN 'taken' ELSE 'assigned' END, whom, words);
        RETURN made;
    END IF;
    SELECT * INTO g FROM assignment WHERE stage_id = s.id AND state IN ('assigned', 'taken', 'free') FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'stage % was just given to someone and done; look again', s.name USING ERRCODE = 'PT409';
    END IF;
    IF g.person_id IS NOT NULL AND NOT (g.person_id = whom AND g.state = 'assigned' AND handle IS NULL) THEN
        RAISE EXCEPTION '% has stage % already (assignment %, %)', (SELECT name FROM person WHERE id = g.person_id), s.name, g.id, g.state USING ERRCODE = 'PT409';
    END IF;
    UPDATE assignment SET person_id = whom, state = CASE WHEN handle IS NULL THEN 'taken' ELSE 'assigned' END, due_at = COALESCE(due, due_at), due_told = CASE WHEN due IS NULL THEN due_told ELSE '' END WHERE id = g.id;
    INSERT INTO assignment_event (assignment_id, actor, action, person_id, before_id, text)
    VALUES (g.id, assignment_give.actor, CASE WHEN handle IS NULL THEN 'taken' ELSE 'assigned' END, whom, g.person_id, words);
    RETURN g.id;
END $$;

CREATE FUNCTION assignment_locked(of_id bigint, only_project text) RETURNS assignment LANGUAGE plpgsql AS $$
DECLARE
    g assignment;
BEGIN
    SELECT a.* INTO g FROM assignment a JOIN project p ON p.id = a.project_id WHERE a.id = of_id AND (only_project IS NULL OR p.name = only_project) FOR UPDATE OF a;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no assignment %', of_id USING ERRCODE = 'PT404';
    END IF;
    RETURN g;
END $$;

CREATE FUNCTION assignment_change(of_id bigint, what text, handle text, actor text, due timestamptz, words text, manages boolean, only_project text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    g assignment := assignment_locked(of_id, only_project);
    me bigint := person_of_token(actor);
    whom bigint;
    who text := (SELECT name FROM person WHERE id = g.person_id);
BEGIN
    IF g.state IN ('done', 'closed') THEN
        RAISE EXCEPTION 'assignment % is over: %', of_id, CASE g.state WHEN 'done' THEN 'it was done' ELSE 'its stage turned green' END USING ERRCODE = 'PT409';
    END IF;
    IF what = 'take' THEN
        IF g.person_id IS NOT NULL AND g.person_id <> me THEN
            RAISE EXCEPTION '% has it (assignment %, %); ask for it to be handed back, or a manager to reassign it', who, of_id, g.state USING ERRCODE = 'PT409';
        END IF;
        IF g.state = 'taken' THEN
            RETURN of_id;
        END IF;
        UPDATE assignment SET person_id = me, state = 'taken', due_at = COALESCE(due, due_at), due_told = CASE WHEN due IS NULL THEN due_told ELSE '' END WHERE id = of_id;
        INSERT INTO assignment_event (assignment_id, actor, action, person_id, before_id, text) VALUES (of_id, assignment_change.actor, 'taken', me, g.person_id, words);
        RETURN of_id;
    END IF;
    IF NOT manages AND (what = 'reassign' OR g.person_id IS DISTINCT FROM me) THEN
        RAISE EXCEPTION 'assignment % is %; only % may do this', of_id, COALESCE('with ' || who, 'with nobody'), CASE WHEN what = 'reassign' THEN 'a manager' ELSE COALESCE(who || ' or ', '') || 'a manager' END USING ERRCODE = 'PT403';
    END IF;
    IF what = 'reassign' THEN
        whom := person_find_in(handle, only_project);
        IF whom IS NULL THEN
            RAISE EXCEPTION 'there is no person called %; portolan person list shows who there is', COALESCE(handle, '(none named)') USING ERRCODE = 'PT422';
        END IF;
        UPDATE assignment SET person_id = whom, state = 'assigned', due_at = COALESCE(due, due_at), due_told = CASE WHEN due IS NULL THEN due_told ELSE '' END WHERE id = of_id;
        INSERT INTO assignment_event (assignment_id, actor, action, person_id, before_id, text) VALUES (of_id, assignment_change.actor, 'reassigned', whom, g.person_id, words);
    ELSIF what = 'hand_back' THEN
        UPDATE assignment SET person_id = NULL, state = 'free' WHERE id = of_id;
        INSERT INTO assignment_event (assignment_id, actor, action, before_id, text) VALUES (of_id, assignment_change.actor, 'handed_back', g.person_id, words);
    ELSIF what = 'done' THEN
        UPDATE assignment SET state = 'done', ended_at = now() WHERE id = of_id;
        INSERT INTO assignment_event (assignment_id, actor, action, person_id, text) VALUES (of_id, assignment_change.actor, 'done', g.person_id, words);
    ELSE
        UPDATE assignment SET due_at = due, due_told = '' WHERE id = of_id;
        INSERT INTO assignment_event (assignment_id, actor, action, person_id, text) VALUES (of_id, assignment_change.actor, 'due', g.person_id, COALESCE(words, to_char(due AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
    END IF;
    RETURN of_id;
END $$;

CREATE FUNCTION assignment_check(of_id bigint, nth bigint, ticked boolean, actor text, only_project text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    g assignment := assignment_locked(of_id, only_project);
BEGIN
    IF nth < 0 OR nth >= jsonb_array_length(g.checklist) THEN
        RAISE EXCEPTION 'assignment % has no point % on its list; it has %', of_id, nth, jsonb_array_length(g.checklist) USING ERRCODE = 'PT404';
    END IF;
    UPDATE assignment SET checklist = jsonb_set(checklist, ARRAY[nth::text], (checklist -> nth::integer) || CASE WHEN ticked THEN jsonb_build_object('done', true, 'done_by', actor, 'done_at', now()) ELSE jsonb_build_object('done', false, 'done_by', NULL, 'done_at', NULL) END)
     WHERE id = of_id;
    INSERT INTO assignment_event (assignment_id, actor, action, person_id, text) VALUES (of_id, assignment_check.actor, CASE WHEN ticked THEN 'checked' ELSE 'unchecked' END, g.person_id, g.checklist -> nth::integer ->> 'text');
    RETURN of_id;
END $$;

-- Puts what one person is known by under another and lets the first handle go on as an alias.
CREATE FUNCTION person_merge(from_handle text, into_handle text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    a bigint := person_find(from_handle);
    b bigint := person_find(into_handle);
BEGIN
    IF a IS NULL OR b IS NULL OR a = b THEN
        RAISE EXCEPTION 'merge: expected two people, got % and %', from_handle, into_handle USING ERRCODE = 'PT422';
    END IF;
    UPDATE person_alias SET person_id = b WHERE person_id = a;
    INSERT INTO run_author SELECT run_id, b, commits FROM run_author WHERE person_id = a ON CONFLICT (run_id, person_id) DO UPDATE SET commits = run_author.commits + EXCLUDED.commits;
    INSERT INTO person_project SELECT b, project_id, seen_at FROM person_project WHERE person_id = a ON CONFLICT DO NOTHING;
    UPDATE assignment SET person_id = b WHERE person_id = a;
    UPDATE assignment_event SET person_id = b WHERE person_id = a;
    UPDATE assignment_event SET before_id = b WHERE before_id = a;
    INSERT INTO assignment_watch SELECT assignment_id, b FROM assignment_watch WHERE person_id = a ON CONFLICT DO NOTHING;
    UPDATE notify_channel SET person_id = b WHERE person_id = a;
    UPDATE person SET suggestions = suggestions AND (SELECT suggestions FROM person WHERE id = a) WHERE id = b;   -- a no stays a no
    DELETE FROM person WHERE id = a;
    INSERT INTO person_alias VALUES ('name', from_handle, b) ON CONFLICT DO NOTHING;
    RETURN b;
END $$;
CREATE FUNCTION person_alias_add(of_person bigint, of_kind text, of_value text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v text := CASE of_kind WHEN 'email' THEN lower(of_value) ELSE of_value END;
    has bigint;
BEGIN
    INSERT INTO person_alias VALUES (of_kind, v, of_person) ON CONFLICT DO NOTHING;
    SELECT person_id INTO has FROM person_alias WHERE kind = of_kind AND value = v;
    IF has <> of_person THEN
        RAISE EXCEPTION '% % belongs to %; merge the two (portolan person merge), or take it from there first', of_kind, v, (SELECT name FROM person WHERE id = has) USING ERRCODE = 'PT409';
    END IF;
END $$;
CREATE FUNCTION person_add(handle text, shown text, login text, emails text[], tokens text[], actor text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    IF person_find(handle) IS NOT NULL THEN
        RAISE EXCEPTION 'there is a person % already', handle USING ERRCODE = 'PT409';
    END IF;
    INSERT INTO person (name, display_name, forge_login, created_by) VALUES (handle, COALESCE(shown, handle), login, actor) RETURNING id INTO made;
    PERFORM person_alias_add(made, 'email', e) FROM unnest(emails) e;
    PERFORM person_alias_add(made, 'token', t) FROM unnest(tokens) t;
    RETURN made;
END $$;
-- What a manager changes, or the person himself (display name and suggestions only). Null leaves as it is.
CREATE FUNCTION person_change(handle text, actor text, manages boolean, shown text, login text, suggest boolean, add_emails text[], drop_emails text[], add_tokens text[], drop_tokens text[], only_project text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    p bigint := person_find(handle);
BEGIN
    IF p IS NULL OR (only_project IS NOT NULL AND p IS DISTINCT FROM person_of_token_found(actor)
                     AND NOT EXISTS (SELECT 1 FROM person_project x JOIN project y ON y.id = x.project_id WHERE x.person_id = p AND y.name = only_project)) THEN
        RAISE EXCEPTION 'no person %', handle USING ERRCODE = 'PT404';
    END IF;
    IF NOT manages AND p IS DISTINCT FROM person_of_token_found(actor) THEN
        RAISE EXCEPTION 'only % or a manager may change this', handle USING ERRCODE = 'PT403';
    END IF;
    IF manages AND only_project IS NOT NULL AND (login IS NOT NULL OR add_emails <> '{}' OR drop_emails <> '{}' OR add_tokens <> '{}' OR drop_tokens <> '{}') THEN
        RAISE EXCEPTION 'who someone is elsewhere holds for all projects: it takes a token that is confined to none' USING ERRCODE = 'PT403';
    END IF;
    IF NOT manages AND (login IS NOT NULL OR add_emails <> '{}' OR drop_emails <> '{}' OR add_tokens <> '{}' OR drop_tokens <> '{}') THEN
        RAISE EXCEPTION 'who % is elsewhere is a manager''s to say: addresses, tokens, forge login', handle USING ERRCODE = 'PT403';
    END IF;
    UPDATE person SET display_name = COALESCE(shown, display_name), forge_login = CASE WHEN login = '' THEN NULL ELSE COALESCE(login, forge_login) END, suggestions = COALESCE(suggest, suggestions) WHERE id = p;
    DELETE FROM person_alias WHERE person_id = p AND ((kind = 'email' AND value IN (SELECT lower(e) FROM unnest(drop_emails) e)) OR (kind = 'token' AND value = ANY (drop_tokens)));
    PERFORM person_alias_add(p, 'email', e) FROM unnest(add_emails) e;
    PERFORM person_alias_add(p, 'token', t) FROM unnest(add_tokens) t;
    RETURN p;
END $$;

-- ---------------------------------------------------------------------------------------------- telling people
CREATE TABLE notify_channel (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    kind         text NOT NULL CHECK (kind IN ('email', 'chat', 'webhook')),
    person_id    bigint REFERENCES person ON DELETE CASCADE,    -- null: shared; gets what happens in its project, or in all
    project_id   bigint REFERENCES project ON DELETE CASCADE,
    address      text NOT NULL CHECK (length(address) BETWEEN 3 AND 2048),   -- an e-mail address, or a URL with its secret part replaced by …
    url          bytea,                          -- sealed: a chat webhook's URL is its password
    secret       bytea,                          -- sealed: what a webhook is signed with
    template     text,                           -- chat: JSON with {text} in it; null: {"text": "…"}
    events       text[] NOT NULL DEFAULT '{}',   -- empty: every kind that concerns it
    digest       text NOT NULL DEFAULT 'none' CHECK (digest IN ('none', 'hourly', 'daily')),
    digest_hour  integer NOT NULL DEFAULT 9 CHECK (digest_hour BETWEEN 0 AND 23),
    quiet_from   integer CHECK (quiet_from BETWEEN 0 AND 1439),  -- minutes of the local day
    quiet_to     integer CHECK (quiet_to BETWEEN 0 AND 1439),
    time_zone    text NOT NULL DEFAULT 'UTC',
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((quiet_from IS NULL) = (quiet_to IS NULL))
);
CREATE INDEX notify_channel_person ON notify_channel (person_id);
CREATE TABLE notify_outbox (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id     bigint NOT NULL REFERENCES notify_channel ON DELETE CASCADE,
    event          text NOT NULL,
    key            text NOT NULL,                -- of what happened: told once a channel
    data           jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    not_before     timestamptz NOT NULL DEFAULT now(),
    tries          integer NOT NULL DEFAULT 0,
    sending_until  timestamptz,
    sent_at        timestamptz,
    gave_up_at     timestamptz,
    last_error     text,
    UNIQUE (channel_id, key)
);
CREATE INDEX notify_outbox_open ON notify_outbox (not_before, id) WHERE sent_at IS NULL AND gave_up_at IS NULL;
CREATE INDEX notify_outbox_channel ON notify_outbox (channel_id, id);

-- One thing that happened, to the channels of those it concerns and to the shared ones of its project.
CREATE FUNCTION notify_tell(what text, of_key text, of_project bigint, people bigint[], not_to bigint, told jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO notify_outbox (channel_id, event, key, data)
    SELECT c.id, what, of_key, told FROM notify_channel c
     WHERE (c.events = '{}' OR what = ANY (c.events)) AND (c.project_id IS NULL OR c.project_id = of_project)
       AND (c.person_id IS NULL OR (c.person_id = ANY (people) AND c.person_id IS DISTINCT FROM not_to))
    ON CONFLICT DO NOTHING;
    SELECT pg_notify('ptl_notify', '')
$$;
-- What every message can say about a stage.
CREATE FUNCTION notify_stage(of_stage bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('project', p.name, 'run_id', r.id, 'run_number', r.number, 'ref', r.ref, 'stage_id', s.id, 'stage', s.name, 'target', s.target, 'state', s.state, 'message', s.message,
           'attempt_id', a.id, 'challenge_id', a.challenge_id, 'challenge', c.title, 'diagnosis', a.diagnosis ->> 'summary', 'quote', a.diagnosis #>> '{evidence,0,text}', 'quote_line', a.diagnosis #> '{evidence,0,line}',
           'risk', s.risk_p, 'gate_why', s.gate_why))
      FROM stage s JOIN run r ON r.id = s.run_id JOIN project p ON p.id = r.project_id LEFT JOIN attempt a ON a.id = s.attempt_id AND a.ended_at IS NOT NULL LEFT JOIN challenge c ON c.id = a.challenge_id
     WHERE s.id = of_stage
$$;
CREATE FUNCTION assignment_told() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    g assignment;
    what text := CASE NEW.action WHEN 'assigned' THEN 'assigned' WHEN 'reassigned' THEN 'reassigned' WHEN 'comment' THEN 'comment' WHEN 'due_soon' THEN 'due_soon' WHEN 'overdue' THEN 'overdue'
                                 WHEN 'done' THEN 'resolved' WHEN 'closed' THEN 'resolved' WHEN 'handed_back' THEN 'reassigned' WHEN 'taken' THEN 'reassigned' END;
BEGIN
    SELECT * INTO g FROM assignment WHERE id = NEW.assignment_id;
    INSERT INTO event (project_id, run_id, stage_id, attempt_id, kind, data)
    VALUES (g.project_id, g.run_id, g.stage_id, g.attempt_id, 'assignment',
            jsonb_build_object('id', g.id, 'action', NEW.action, 'state', g.state, 'person', (SELECT name FROM person WHERE id = g.person_id), 'stage', g.stage_name));
    PERFORM pg_notify('ptl_event', '');
    IF what IS NOT NULL THEN
        PERFORM notify_tell(what, 'assignment-event ' || NEW.id, g.project_id,
            ARRAY(SELECT g.person_id UNION SELECT NEW.before_id UNION SELECT w.person_id FROM assignment_watch w WHERE w.assignment_id = g.id),
            person_of_token_found(NEW.actor),
            notify_stage(g.stage_id) || jsonb_strip_nulls(jsonb_build_object('assignment_id', g.id, 'action', NEW.action, 'actor', NEW.actor, 'text', NEW.text, 'due_at', g.due_at,
                'person', (SELECT display_name FROM person WHERE id = g.person_id), 'before', (SELECT display_name FROM person WHERE id = NEW.before_id))));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER assignment_told AFTER INSERT ON assignment_event FOR EACH ROW EXECUTE FUNCTION assignment_told();

-- A stage that is red for good, once it is known why (or known that it is not): whichever of the two comes last.
CREATE FUNCTION stage_failed_tell(of_stage bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    s record;
BEGIN
    SELECT x.id, x.run_id, x.platform, r.project_id, a.id AS attempt_id, a.challenge_id INTO s FROM stage x JOIN run r ON r.id = x.run_id JOIN attempt a ON a.id = x.attempt_id
     WHERE x.id = of_stage AND x.state = 'red' AND a.diagnosis_state IN ('done', 'failed');
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- What was given out before it failed is now about what it failed of; ticks that were made stay.
    UPDATE assignment g SET challenge_id = s.challenge_id, checklist = assignment_checklist(s.challenge_id, s.platform)
     WHERE g.stage_id = s.id AND g.state IN ('assigned', 'taken', 'free') AND s.challenge_id IS NOT NULL AND g.challenge_id IS DISTINCT FROM s.challenge_id
       AND NOT jsonb_path_exists(g.checklist, '$[*] ? (@.done == true)');
    PERFORM notify_tell('failed', 'attempt ' || s.attempt_id, s.project_id,
        ARRAY(SELECT person_id FROM run_author WHERE run_id = s.run_id
              UNION SELECT person_id FROM assignment WHERE stage_id = s.id AND state IN ('assigned', 'taken')
              UNION SELECT w.person_id FROM assignment_watch w JOIN assignment g ON g.id = w.assignment_id WHERE g.stage_id = s.id AND g.state IN ('assigned', 'taken', 'free')),
        NULL, notify_stage(s.id));
END $$;
CREATE FUNCTION attempt_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM stage_failed_tell(s.id) FROM stage s WHERE s.id = NEW.stage_id AND s.attempt_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER attempt_told AFTER UPDATE OF diagnosis_state ON attempt
    FOR EACH ROW WHEN (OLD.diagnosis_state = 'pending' AND NEW.diagnosis_state IN ('done', 'failed')) EXECUTE FUNCTION attempt_told();

-- A gate tells those who may open it: its approvers, else who has the stage.
CREATE FUNCTION gate_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM notify_tell('gate', 'gate ' || NEW.id || ' ' || NEW.fence || ' ' || COALESCE(NEW.queued_at, now()), (SELECT project_id FROM run WHERE id = NEW.run_id),
        ARRAY(SELECT person_find(h) FROM unnest(NEW.approvers) h UNION SELECT person_id FROM assignment WHERE NEW.approvers = '{}' AND stage_id = NEW.id AND state IN ('assigned', 'taken')),
        NULL, notify_stage(NEW.id));
    RETURN NULL;
END $$;
CREATE TRIGGER gate_told AFTER UPDATE OF state ON stage FOR EACH ROW WHEN (OLD.state = 'waiting' AND NEW.state = 'gated') EXECUTE FUNCTION gate_told();

-- The run that a new one is compared with: the newest planned one before it of the same ref, else of the project.
CREATE FUNCTION risk_base_run(of_project bigint, of_ref text, before_run bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT COALESCE(
        (SELECT id FROM run WHERE project_id = $1 AND plan IS NOT NULL AND ref = $2 AND ($3 = 0 OR id < $3) ORDER BY id DESC LIMIT 1),
        (SELECT id FROM run WHERE project_id = $1 AND plan IS NOT NULL AND ($3 = 0 OR id < $3) ORDER BY id DESC LIMIT 1))
$$;
CREATE INDEX run_ref ON run (project_id, ref, id) WHERE plan IS NOT NULL;

-- May this token see and change a channel? Its own person's; all of them when it manages. One that is confined to a project: only channels that hear of nothing else.
CREATE FUNCTION notify_channel_seen(c notify_channel, actor text, manages boolean, only_project text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT (manages OR COALESCE(c.person_id = person_of_token_found(actor), false))
       AND (only_project IS NULL OR COALESCE(c.project_id = (SELECT id FROM project WHERE name = only_project), false))
$$;
CREATE FUNCTION notify_channel_put(change boolean, of_name text, of_kind text, handle text, of_project text, shown text, sealed_url bytea, sealed_secret bytea, form text, kinds text[], how text, at_hour bigint, q_from bigint, q_to bigint, zone text,
    actor text, manages boolean, only_project text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    whom bigint;
    where_in bigint;
    c notify_channel;
BEGIN
    IF zone IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_timezone_names WHERE name = zone) THEN
        RAISE EXCEPTION 'time_zone: there is no zone %; expected one such as Europe/Vienna or UTC', zone USING ERRCODE = 'PT422';
    END IF;
    IF change THEN
        SELECT * INTO c FROM notify_channel x WHERE x.name = of_name AND notify_channel_seen(x, actor, manages, only_project) FOR UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no channel % of yours', of_name USING ERRCODE = 'PT404';
        END IF;
        UPDATE notify_channel x SET address = COALESCE(shown, x.address), url = COALESCE(sealed_url, x.url), template = CASE WHEN form = '' THEN NULL ELSE COALESCE(form, x.template) END, events = COALESCE(kinds, x.events),
               digest = COALESCE(how, x.digest), digest_hour = COALESCE(at_hour, x.digest_hour), quiet_from = CASE WHEN q_from = -1 THEN NULL ELSE COALESCE(q_from, x.quiet_from) END,
               quiet_to = CASE WHEN q_from = -1 THEN NULL ELSE COALESCE(q_to, x.quiet_to) END, time_zone = COALESCE(zone, x.time_zone)
         WHERE x.id = c.id;
        RETURN c.id;
    END IF;
    IF handle = 'me' THEN
        whom := person_of_token(actor);
    ELSIF handle IS NOT NULL THEN
        whom := person_find_in(handle, only_project);
        IF whom IS NULL THEN
            RAISE EXCEPTION 'there is no person called %; portolan person list shows who there is', handle USING ERRCODE = 'PT422';
        END IF;
    END IF;
    IF NOT manages AND whom IS DISTINCT FROM person_of_token_found(actor) THEN
        RAISE EXCEPTION 'a channel of others, or one that all share, takes role manager or admin' USING ERRCODE = 'PT403';
    END IF;
    IF of_project IS NOT NULL OR only_project IS NOT NULL THEN
        SELECT id INTO where_in FROM project WHERE name = COALESCE(only_project, of_project);
        IF where_in IS NULL OR (only_project IS NOT NULL AND of_project IS NOT NULL AND of_project <> only_project) THEN
            RAISE EXCEPTION 'no project %', of_project USING ERRCODE = 'PT422';
        END IF;
    END IF;
    IF EXISTS (SELECT 1 FROM notify_channel WHERE name = of_name) THEN
        RAISE EXCEPTION 'there is a channel % already', of_name USING ERRCODE = 'PT409';
    END IF;
    IF (SELECT count(*) FROM notify_channel x WHERE x.person_id IS NOT DISTINCT FROM whom) >= 100 THEN
        RAISE EXCEPTION 'a hundred channels are enough; remove one first' USING ERRCODE = 'PT409';
    END IF;
    INSERT INTO notify_channel (name, kind, person_id, project_id, address, url, secret, template, events, digest, digest_hour, quiet_from, quiet_to, time_zone, created_by)
    VALUES (of_name, of_kind, whom, where_in, shown, sealed_url, sealed_secret, form, COALESCE(kinds, '{}'), COALESCE(how, 'none'), COALESCE(at_hour, 9), NULLIF(q_from, -1), NULLIF(q_to, -1), COALESCE(zone, 'UTC'), actor)
    RETURNING id INTO whom;
    RETURN whom;
END $$;
