-- The past, made to be asked: one row a failed attempt, its words and facts as one search vector, the few templates that the many rows share,
-- counts kept beside them, and what turned a stage green. Everything here follows from attempt, stage and run (triggers below), so no statement
-- can forget it, and all of it could be made again from them; only people's words on resolutions and saved queries could not.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- ---------------------------------------------------------------------------------------------- the few that the many share
-- What a failure's best line is once names, numbers and places are masked (daemon/kb/template.h).
CREATE TABLE failure_template (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text      text NOT NULL UNIQUE,
    first_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX failure_template_trgm ON failure_template USING gist (text gist_trgm_ops);
-- Which templates are nearly the same, by trigrams: looked up once, when a template is new, and kept in both directions.
CREATE TABLE failure_alike (
    template_id  bigint NOT NULL REFERENCES failure_template,
    far          real NOT NULL,                      -- 0: the same; at most 0.7 is kept
    other_id     bigint NOT NULL REFERENCES failure_template,
    PRIMARY KEY (template_id, far, other_id)
);

-- A fingerprint over the best lines, and the MinHash bands of all lines quoted: what is alike though its best line is another.
CREATE TABLE failure_shape (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint  text NOT NULL UNIQUE,
    template_id  bigint REFERENCES failure_template
);
CREATE TABLE failure_band (
    band      bigint NOT NULL,
    shape_id  bigint NOT NULL REFERENCES failure_shape ON DELETE CASCADE,
    PRIMARY KEY (band, shape_id)
);
CREATE INDEX failure_band_shape ON failure_band (shape_id);

-- The facts with few values, once: facets and totals count over these and never over the failures themselves. '' is "none".
CREATE TABLE failure_class (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    stage         text NOT NULL,
    kind          text NOT NULL,
    target        text NOT NULL,
    platform      text NOT NULL,
    tool          text NOT NULL,
    challenge_id  text NOT NULL,
    failures      bigint NOT NULL DEFAULT 0,
    resolved      bigint NOT NULL DEFAULT 0,
    UNIQUE (project_id, stage, kind, target, platform, tool, challenge_id)
);

-- ---------------------------------------------------------------------------------------------- the failures
CREATE TABLE failure (
    attempt_id     bigint PRIMARY KEY REFERENCES attempt ON DELETE CASCADE,
    project_id     bigint NOT NULL,
    run_id         bigint NOT NULL,
    stage_id       bigint NOT NULL,
    class_id       bigint NOT NULL,
    at             timestamptz NOT NULL,             -- when the attempt ended
    stage          text NOT NULL,
    kind           text NOT NULL,
    target         text,
    platform       text NOT NULL,                    -- of the target, not of the machine that converts for it
    host           text NOT NULL,
    uses           text,
    tool           text NOT NULL,                    -- recipe, else toolchain, else 'command'
    ref            text NOT NULL,
    branch         text NOT NULL,                    -- ref without refs/heads/ or refs/tags/
    commit_sha     text,
    author         text,
    agent          text,
    end_reason     text,
    challenge_id   text,                             -- the answer in force (attempt.challenge_id)
    challenge_by   text,
    probability    real,
    summary        text,
    key_line       text,                             -- the best quoted line
    evidence       text,                             -- the other quoted lines
    operator       text,                             -- as an indicator captured it
    versions       jsonb NOT NULL DEFAULT '{}',      -- tool -> version, from the environment
    fingerprint    text,
    template_id    bigint,
    shape_id       bigint,
    run_minutes    real NOT NULL DEFAULT 0,          -- of the attempt itself
    cost_minutes   real NOT NULL DEFAULT 0,          -- and, once it is resolved, until it was green
    resolved_at    timestamptz,
    resolution_id  bigint,
    terms          tsvector COMPRESSION lz4 NOT NULL -- words of the texts, stemmed, and every fact as 'letter:value'
);
CREATE INDEX failure_at ON failure (at DESC, attempt_id DESC);
CREATE INDEX failure_cost ON failure (cost_minutes DESC, attempt_id DESC);
CREATE INDEX failure_terms ON failure USING gin (terms) WITH (gin_pending_list_limit = 512);
CREATE INDEX failure_of_template ON failure (template_id, at DESC, attempt_id DESC);
CREATE INDEX failure_of_shape ON failure (shape_id, at DESC, attempt_id DESC);
CREATE INDEX failure_solved ON failure (template_id, resolved_at DESC) WHERE resolved_at IS NOT NULL;
CREATE INDEX failure_open ON failure (project_id, stage, ref) WHERE resolved_at IS NULL;
CREATE INDEX failure_in_project ON failure (project_id, template_id, at DESC, attempt_id DESC);
CREATE INDEX failure_unprinted ON failure (attempt_id) WHERE fingerprint IS NULL;
CREATE STATISTICS failure_facts (mcv, dependencies) ON kind, platform, host, stage FROM failure;
ALTER TABLE failure ALTER COLUMN terms SET STATISTICS 1000;

-- Which versions of which tools failures were seen with: a range of versions becomes a list of terms.
CREATE TABLE failure_version (
    tool     text NOT NULL,
    version  text NOT NULL,
    PRIMARY KEY (tool, version)
);

-- ---------------------------------------------------------------------------------------------- counts
-- Every change of a failure leaves rows here in its own transaction; one daemon at a time folds them into the counts (failure_fold). A reader adds
-- what is not folded yet, so that counts are exact at any instant and no two transactions ever wait for each other's counter.
CREATE TABLE failure_delta (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    class_id  bigint NOT NULL,
    day       date NOT NULL,
    bucket    smallint NOT NULL,                     -- 0: not resolved; else the time it took, hours_bucket()
    operator  text,
    n         integer NOT NULL
);
-- project 0: all of them.
CREATE TABLE failure_day (
    project_id    bigint NOT NULL,
    day           date NOT NULL,
    challenge_id  text NOT NULL,
    failures      bigint NOT NULL,
    resolved      bigint NOT NULL,
    PRIMARY KEY (project_id, day, challenge_id)
);
CREATE TABLE failure_hours (
    project_id    bigint NOT NULL,
    month         date NOT NULL,                     -- of the failure; its first day
    challenge_id  text NOT NULL,
    bucket        smallint NOT NULL,
    n             bigint NOT NULL,
    PRIMARY KEY (project_id, month, challenge_id, bucket)
);
CREATE TABLE failure_operator (
    project_id  bigint NOT NULL,
    operator    text NOT NULL,
    platform    text NOT NULL,
    tool        text NOT NULL,
    challenge_id text NOT NULL,
    failures    bigint NOT NULL,
    resolved    bigint NOT NULL,
    first_day   date NOT NULL,
    last_day    date NOT NULL,
    PRIMARY KEY (project_id, operator, platform, tool, challenge_id)
);
-- Attempts of converts and verifies by the pair (what the model was exported with, what took it), and how they ended.
CREATE TABLE toolchain_delta (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL,
    kind        text NOT NULL,
    made_with   text NOT NULL,                       -- 'tensorflow 2.19.1'
    used_with   text NOT NULL,
    day         date NOT NULL,
    ok          integer NOT NULL,
    failed      integer NOT NULL
);
CREATE TABLE toolchain_pair (
    project_id  bigint NOT NULL,
    kind        text NOT NULL,
    made_with   text NOT NULL,
    used_with   text NOT NULL,
    ok          bigint NOT NULL,
    failed      bigint NOT NULL,
    last_day    date NOT NULL,
    last_ok_day date,
    PRIMARY KEY (project_id, kind, made_with, used_with)
);

-- ---------------------------------------------------------------------------------------------- what turned it green
CREATE TABLE resolution (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id        bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    stage             text NOT NULL,
    kind              text NOT NULL,
    target            text,
    ref               text NOT NULL,
    challenge_id      text,
    template_id       bigint,
    red_attempt_id    bigint NOT NULL,               -- the last failure of this kind before it
    green_attempt_id  bigint NOT NULL,
    red_commit        text,
    green_commit      text,
    first_red_at      timestamptz NOT NULL,
    green_at          timestamptz NOT NULL,
    minutes           double precision NOT NULL,     -- from the first failure of this kind to green
    failures          integer NOT NULL DEFAULT 0,
    change            text NOT NULL CHECK (change IN ('commits', 'environment', 'agent', 'nothing')),
    summary           text NOT NULL,                 -- one sentence
    commits           jsonb NOT NULL DEFAULT '[]',
    files             jsonb NOT NULL DEFAULT '[]',   -- every path that differs, bounded
    diff              text,                          -- of the spec, requirements, lock files and scripts
    cuts              jsonb NOT NULL DEFAULT '[]',   -- what was left out
    environment       jsonb NOT NULL DEFAULT '[]',   -- [{tool, before, after}]
    agents            jsonb NOT NULL DEFAULT '{}',   -- {before, after}
    state             text NOT NULL DEFAULT 'candidate' CHECK (state IN ('candidate', 'confirmed', 'rejected')),
    note              text,
    decided_by        text,
    decided_at        timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (green_attempt_id, red_attempt_id)
);
CREATE INDEX resolution_challenge ON resolution (challenge_id, id);
CREATE INDEX resolution_template ON resolution (template_id, id);
CREATE INDEX resolution_project ON resolution (project_id, id);

-- Green attempts after failures whose change is still to be looked at. The row is written in the transaction that turned the stage green.
CREATE TABLE resolution_due (
    green_attempt_id  bigint PRIMARY KEY REFERENCES attempt ON DELETE CASCADE,
    due_at            timestamptz NOT NULL DEFAULT now(),
    until             timestamptz,                   -- a daemon works on it until then
    tries             integer NOT NULL DEFAULT 0
);

CREATE TABLE saved_query (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner       text NOT NULL,                       -- name of the token
    project_id  bigint REFERENCES project ON DELETE CASCADE,   -- its owner's token was confined to it
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    query       text NOT NULL CHECK (length(query) <= 4000),   -- as in the URL
    shared      boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (owner, name)
);

ALTER TABLE attempt ADD COLUMN log_pruned_at timestamptz;      -- retention took its log; diagnosis, template and evidence stay
CREATE INDEX attempt_log_kept ON attempt (ended_at, id) INCLUDE (log_bytes) WHERE log_bytes > 0 AND log_pruned_at IS NULL AND ended_at IS NOT NULL;

-- ---------------------------------------------------------------------------------------------- words
-- Both sides of every word search see letters and digits only: 'tf.nn.conv2d' is three words, whatever a tool wrote around them.
CREATE FUNCTION failure_words(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN regexp_replace(COALESCE(t, ''), '[^[:alnum:]]+', ' ', 'g');
CREATE FUNCTION failure_tag(kind text, value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(left(kind || ':' || value, 200));
CREATE FUNCTION failure_term(kind text, value text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('''' || replace(replace(failure_tag(kind, value), '\', '\\'), '''', '''''') || '''')::tsquery;

-- '2.16.1rc0' -> {2,16,1}: what comes first decides, as in most versions there are.
CREATE FUNCTION version_key(v text) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT COALESCE(array_agg(left(m[1], 9)::bigint ORDER BY n), '{}') FROM regexp_matches(substring(v FROM '^v?([0-9]+(?:\.[0-9]+)*)'), '[0-9]+', 'g') WITH ORDINALITY AS r (m, n));

-- Filters as an object {"project": …, "challenge": …, "words": …, "not": …, "exact": […], "version": {"tool", "from", "from_open", "to", "to_open", "prefix"}} -> what the vector must hold.
CREATE FUNCTION failure_query(f jsonb) RETURNS tsquery LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    all_of tsquery[] := '{}';
    q tsquery;
    one tsquery;
    k record;
    v jsonb := f -> 'version';
BEGIN
    FOR k IN SELECT t.letter, f ->> t.name AS value
               FROM (VALUES ('project', 'p'), ('challenge', 'c'), ('taxonomy', 'x'), ('platform', 'pf'), ('target', 't'), ('stage', 's'), ('kind', 'k'), ('tool', 'tool'), ('operator', 'op'),
                            ('branch', 'b'), ('author', 'a'), ('agent', 'ag'), ('end_reason', 'e')) AS t (name, letter)
              WHERE f ? t.name LOOP
        all_of := all_of || failure_term(k.letter, CASE k.letter WHEN 'p' THEN COALESCE((SELECT id::text FROM project WHERE name = k.value), 'none') ELSE k.value END);
    END LOOP;
    IF v IS NOT NULL THEN
        SELECT string_agg(failure_term('v', x.tool || '=' || x.version)::text, ' | ')::tsquery INTO one
          FROM failure_version x
         WHERE x.tool = lower(v ->> 'tool')
           AND (v ->> 'prefix' IS NULL OR (version_key(x.version))[1:cardinality(version_key(v ->> 'prefix'))] = version_key(v ->> 'prefix'))
           AND (v ->> 'from' IS NULL OR version_key(x.version) > version_key(v ->> 'from') OR (version_key(x.version) = version_key(v ->> 'from') AND NOT COALESCE((v ->> 'from_open')::boolean, false)))
           AND (v ->> 'to' IS NULL OR version_key(x.version) < version_key(v ->> 'to') OR (version_key(x.version) = version_key(v ->> 'to') AND NOT COALESCE((v ->> 'to_open')::boolean, false)));
        all_of := all_of || COALESCE(one, failure_term('v', 'none'));
    END IF;
    IF f ? 'words' THEN
        all_of := all_of || plainto_tsquery('english', failure_words(f ->> 'words'));
    END IF;
    FOR k IN SELECT w FROM jsonb_array_elements_text(f -> 'exact') w LOOP
        all_of := all_of || phraseto_tsquery('english', failure_words(k.w));
    END LOOP;
    FOR k IN SELECT w FROM jsonb_array_elements_text(f -> 'not') w LOOP
        one := plainto_tsquery('english', failure_words(k.w));
        IF numnode(one) > 0 THEN
            all_of := all_of || !!one;
        END IF;
    END LOOP;
    FOREACH one IN ARRAY all_of LOOP
        IF numnode(one) > 0 THEN                     -- else: stop words only
            q := CASE WHEN q IS NULL THEN one ELSE q && one END;
        END IF;
    END LOOP;
    RETURN q;                                        -- null: everything
END $$;

-- The months before a time, as terms: what is asked for newest first is looked for in them before it is looked for everywhere.
CREATE FUNCTION failure_months(upto timestamptz, months integer) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT string_agg(failure_term('m', to_char((upto AT TIME ZONE 'UTC') - n * interval '1 month', 'YYYY-MM'))::text, ' | ')::tsquery FROM generate_series(0, months - 1) n);

-- Texts that must stand in a failure as they were written, but for case, as patterns; null: none.
CREATE FUNCTION failure_patterns(f jsonb) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT array_agg('%' || regexp_replace(lower(e), '([\\%_])', '\\\1', 'g') || '%') FROM jsonb_array_elements_text(f -> 'exact') e);

CREATE FUNCTION challenge_path(wanted text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (WITH RECURSIVE up AS (
                SELECT id, parent, title, 0 AS depth FROM challenge WHERE id = wanted
                UNION ALL
                SELECT c.id, c.parent, c.title, up.depth + 1 FROM up JOIN challenge c ON c.id = up.parent WHERE up.depth < 5)
            SELECT string_agg(title, ' › ' ORDER BY depth DESC) FROM up);

-- Octaves of minutes: 1 is a minute or so and less, 2 two minutes, …, 19 half a year and more. A median is interpolated within its octave.
CREATE FUNCTION hours_bucket(taken interval) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (1 + LEAST(18, GREATEST(0, round(log(2.0, GREATEST(1.0, extract(epoch FROM taken)::numeric / 60))))))::smallint;

-- ---------------------------------------------------------------------------------------------- from an attempt to its failure
-- The framework that stands for an environment: what a model is made with, or what takes it.
CREATE FUNCTION toolchain_of(environment jsonb, made boolean) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT left(t.name || ' ' || (environment ->> t.name), 120)
              FROM unnest(CASE WHEN made THEN ARRAY['tensorflow', 'torch', 'jax', 'keras', 'scikit-learn', 'onnx']
                               ELSE ARRAY['ai-edge-litert', 'litert', 'tflite-runtime', 'onnxruntime-web', '@tensorflow/tfjs', 'tensorflowjs', 'tfjs', 'onnxruntime', 'mlserver', 'tensorflow-serving', 'tf2onnx', 'onnx', 'tensorflow', 'torch'] END)
                   WITH ORDINALITY AS t (name, n)
             WHERE environment ->> t.name IS NOT NULL ORDER BY t.n LIMIT 1);

CREATE FUNCTION failure_refresh(wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    f failure;
    d jsonb;
    old failure;
    e record;
    tax text;
    words text;
BEGIN
    SELECT a.id, r.project_id, s.run_id, s.id, NULL, a.ended_at, s.name, s.kind, s.target,
           COALESCE(a.diagnosis ->> 'platform', (SELECT v.host FROM stage v WHERE v.run_id = s.run_id AND v.target = s.target AND v.kind = 'verify' LIMIT 1), s.host),
           s.host, s.uses, COALESCE(s.uses, s.toolchain, 'command'), r.ref, regexp_replace(r.ref, '^refs/(heads|tags)/', ''), r.commit_sha, r.commit_author, a.agent_name, a.end_reason,
           a.challenge_id, a.challenge_by,
           COALESCE((SELECT (c ->> 'probability')::real FROM jsonb_array_elements(CASE WHEN jsonb_typeof(a.diagnosis -> 'challenges') = 'array' THEN a.diagnosis -> 'challenges' END) c WHERE c ->> 'id' = a.challenge_id LIMIT 1),
                    CASE WHEN a.challenge_by = 'person' AND a.challenge_id IS NOT NULL THEN 1 END),
           left(COALESCE(a.diagnosis ->> 'summary', a.message), 1000), NULL, NULL, NULL,
           (SELECT COALESCE(jsonb_object_agg(lower(k), v), '{}') FROM jsonb_each_text(a.environment) AS x (k, v) WHERE k NOT IN ('kernel', 'arch', 'portolan-agent') AND length(k) <= 60 AND length(v) <= 60),
           a.diagnosis ->> 'fingerprint', NULL, NULL, COALESCE(a.duration_ms, 0) / 60000.0, COALESCE(a.duration_ms, 0) / 60000.0, NULL, NULL, ''
      INTO f
      FROM attempt a JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id
     WHERE a.id = wanted AND a.ended_at IS NOT NULL AND a.ok IS FALSE AND a.end_reason IS DISTINCT FROM 'cancelled';
    IF NOT FOUND THEN
        DELETE FROM failure WHERE attempt_id = wanted;
        RETURN;
    END IF;
    SELECT a.diagnosis INTO d FROM attempt a WHERE a.id = wanted;
    FOR e IN SELECT x ->> 'text' AS text, x -> 'names' AS names, n FROM jsonb_array_elements(CASE WHEN jsonb_typeof(d -> 'evidence') = 'array' THEN d -> 'evidence' END) WITH ORDINALITY AS q (x, n) ORDER BY n LIMIT 12 LOOP
        IF e.n = 1 THEN
            f.key_line := left(e.text, 400);
        ELSE
            f.evidence := left(concat_ws(E'\n', f.evidence, e.text), 1600);
        END IF;
        f.operator := COALESCE(f.operator, left(COALESCE(e.names ->> 'op', e.names ->> 'operator'), 100));
    END LOOP;
    f.key_line := COALESCE(f.key_line, f.summary);
    IF f.fingerprint IS NOT NULL THEN
        IF COALESCE(d ->> 'template', '') <> '' THEN
            f.template_id := failure_template_of(left(d ->> 'template', 400));
        END IF;
        f.shape_id := failure_shape_of(f.fingerprint, f.template_id, d -> 'bands');
    END IF;
    SELECT taxonomy INTO tax FROM challenge WHERE id = f.challenge_id;
    SELECT * INTO old FROM failure WHERE attempt_id = wanted;
    IF FOUND THEN
        f.resolved_at := old.resolved_at;
        f.resolution_id := old.resolution_id;
        f.cost_minutes := CASE WHEN old.resolved_at IS NULL THEN f.run_minutes ELSE old.cost_minutes END;
    END IF;
    INSERT INTO failure_version (tool, version)
    SELECT k, v FROM jsonb_each_text(f.versions) AS x (k, v) WHERE NOT EXISTS (SELECT 1 FROM failure_version o WHERE o.tool = k AND o.version = v) ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    words := failure_words(concat_ws(' ', f.key_line, f.evidence, f.summary, f.operator));
    f.terms := to_tsvector('english', words) || array_to_tsvector(ARRAY(SELECT DISTINCT failure_tag(t.k, t.v) FROM (
        VALUES ('p', f.project_id::text), ('pf', f.platform), ('t', f.target), ('s', f.stage), ('k', f.kind), ('tool', f.tool), ('tool', split_part(f.uses, '/', 1)), ('op', f.operator), ('b', f.branch), ('b', f.ref),
               ('a', f.author), ('a', trim(split_part(f.author, '<', 1))), ('a', substring(f.author FROM '<([^>]*)>')), ('ag', f.agent), ('e', f.end_reason), ('x', tax), ('c', COALESCE(f.challenge_id, 'none')), ('m', to_char(f.at AT TIME ZONE 'UTC', 'YYYY-MM'))
        UNION ALL SELECT 'tool', k FROM jsonb_object_keys(f.versions) k
        UNION ALL SELECT 'v', k || '=' || v FROM jsonb_each_text(f.versions) AS x (k, v)
        UNION ALL SELECT 'c', array_to_string((string_to_array(f.challenge_id, '/'))[1:n], '/') FROM generate_series(1, 3) n WHERE n < cardinality(string_to_array(f.challenge_id, '/'))
        ) AS t (k, v) WHERE t.v <> ''));
    f.class_id := failure_class_of(f.project_id, f.stage, f.kind, COALESCE(f.target, ''), f.platform, f.tool, COALESCE(f.challenge_id, ''));
    INSERT INTO failure SELECT f.*
    ON CONFLICT (attempt_id) DO UPDATE SET class_id = excluded.class_id, at = excluded.at, platform = excluded.platform, agent = excluded.agent, end_reason = excluded.end_reason,
           challenge_id = excluded.challenge_id, challenge_by = excluded.challenge_by, probability = excluded.probability, summary = excluded.summary, key_line = excluded.key_line,
           evidence = excluded.evidence, operator = excluded.operator, versions = excluded.versions, fingerprint = excluded.fingerprint, template_id = excluded.template_id,
           shape_id = excluded.shape_id, run_minutes = excluded.run_minutes, cost_minutes = excluded.cost_minutes, terms = excluded.terms;
END $$;

CREATE FUNCTION failure_template_of(wanted text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ret bigint;
BEGIN
    SELECT id INTO ret FROM failure_template WHERE text = wanted;
    IF NOT FOUND THEN
        INSERT INTO failure_template (text) VALUES (wanted) ON CONFLICT DO NOTHING RETURNING id INTO ret;
        IF ret IS NULL THEN
            SELECT id INTO ret FROM failure_template WHERE text = wanted;
        ELSE
            INSERT INTO failure_alike (template_id, far, other_id)
            SELECT v.a, n.far, v.b FROM (SELECT id, text <-> wanted AS far FROM failure_template WHERE id <> ret ORDER BY text <-> wanted LIMIT 12) n, LATERAL (VALUES (ret, n.id), (n.id, ret)) AS v (a, b) WHERE n.far <= 0.7;
        END IF;
    END IF;
    RETURN ret;
END $$;

CREATE FUNCTION failure_shape_of(wanted text, template bigint, bands jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ret bigint;
BEGIN
    SELECT id INTO ret FROM failure_shape WHERE fingerprint = wanted;
    IF NOT FOUND THEN
        INSERT INTO failure_shape (fingerprint, template_id) VALUES (wanted, template) ON CONFLICT DO NOTHING RETURNING id INTO ret;
        IF ret IS NULL THEN
            SELECT id INTO ret FROM failure_shape WHERE fingerprint = wanted;
        ELSE
            INSERT INTO failure_band (band, shape_id)
            SELECT DISTINCT b::bigint, ret FROM jsonb_array_elements_text(CASE WHEN jsonb_typeof(bands) = 'array' THEN bands END) b;
        END IF;
    END IF;
    RETURN ret;
END $$;

CREATE FUNCTION failure_class_of(project bigint, a_stage text, a_kind text, a_target text, a_platform text, a_tool text, a_challenge text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ret bigint;
BEGIN
    FOR i IN 1 .. 2 LOOP
        SELECT id INTO ret FROM failure_class WHERE project_id = project AND stage = a_stage AND kind = a_kind AND target = a_target AND platform = a_platform AND tool = a_tool AND challenge_id = a_challenge;
        EXIT WHEN ret IS NOT NULL;
        INSERT INTO failure_class (project_id, stage, kind, target, platform, tool, challenge_id)
        VALUES (project, a_stage, a_kind, a_target, a_platform, a_tool, a_challenge) ON CONFLICT DO NOTHING RETURNING id INTO ret;
        EXIT WHEN ret IS NOT NULL;
    END LOOP;
    RETURN ret;
END $$;

CREATE FUNCTION attempt_failure() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    here record;
BEGIN
    PERFORM failure_refresh(NEW.id);
    IF OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NEW.end_reason IS DISTINCT FROM 'cancelled' AND NEW.end_reason IS DISTINCT FROM 'agent_lost' THEN
        SELECT r.project_id, s.kind, toolchain_of(x.environment, true) AS made_with, toolchain_of(NEW.environment, false) AS used_with INTO here
          FROM stage s JOIN run r ON r.id = s.run_id
          LEFT JOIN LATERAL (SELECT e.environment FROM stage z JOIN attempt e ON e.id = z.attempt_id WHERE z.run_id = s.run_id AND z.kind = 'export' LIMIT 1) x ON true
         WHERE s.id = NEW.stage_id;
        IF here.kind <> 'export' AND here.made_with IS NOT NULL AND here.used_with IS NOT NULL THEN
            INSERT INTO toolchain_delta (project_id, kind, made_with, used_with, day, ok, failed)
            VALUES (here.project_id, here.kind, here.made_with, here.used_with, (NEW.ended_at AT TIME ZONE 'UTC')::date, CASE WHEN NEW.ok THEN 1 ELSE 0 END, CASE WHEN NEW.ok THEN 0 ELSE 1 END);
        END IF;
    END IF;
    RETURN NULL;
END $$;
-- Not "UPDATE OF": the answer in force is set by a trigger before this one.
CREATE TRIGGER attempt_failure AFTER UPDATE ON attempt FOR EACH ROW
    WHEN (OLD.ended_at IS DISTINCT FROM NEW.ended_at OR OLD.ok IS DISTINCT FROM NEW.ok OR OLD.end_reason IS DISTINCT FROM NEW.end_reason
          OR OLD.challenge_id IS DISTINCT FROM NEW.challenge_id OR OLD.challenge_by IS DISTINCT FROM NEW.challenge_by OR OLD.diagnosis IS DISTINCT FROM NEW.diagnosis)
    EXECUTE FUNCTION attempt_failure();

CREATE FUNCTION failure_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before smallint := CASE WHEN TG_OP <> 'INSERT' THEN CASE WHEN OLD.resolved_at IS NULL THEN 0 ELSE hours_bucket(OLD.resolved_at - OLD.at) END END;
    after smallint := CASE WHEN TG_OP <> 'DELETE' THEN CASE WHEN NEW.resolved_at IS NULL THEN 0 ELSE hours_bucket(NEW.resolved_at - NEW.at) END END;
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.class_id, OLD.at, before, OLD.operator) IS NOT DISTINCT FROM (NEW.class_id, NEW.at, after, NEW.operator) THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO failure_delta (class_id, day, bucket, operator, n) VALUES (OLD.class_id, (OLD.at AT TIME ZONE 'UTC')::date, before, OLD.operator, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO failure_delta (class_id, day, bucket, operator, n) VALUES (NEW.class_id, (NEW.at AT TIME ZONE 'UTC')::date, after, NEW.operator, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER failure_counted AFTER INSERT OR UPDATE OR DELETE ON failure FOR EACH ROW EXECUTE FUNCTION failure_counted();

-- A stage that turns green where failures are open: in the same transaction, so that no crash can lose it.
CREATE FUNCTION stage_turned_green() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO resolution_due (green_attempt_id)
    SELECT NEW.attempt_id FROM run r
     WHERE r.id = NEW.run_id AND NEW.attempt_id IS NOT NULL
       AND EXISTS (SELECT 1 FROM failure f WHERE f.project_id = r.project_id AND f.stage = NEW.name AND f.ref = r.ref AND f.resolved_at IS NULL)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER stage_turned_green AFTER UPDATE OF state ON stage FOR EACH ROW WHEN (NEW.state = 'green' AND OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION stage_turned_green();

-- ---------------------------------------------------------------------------------------------- what an answer tells of a failure
CREATE VIEW failure_item AS
SELECT f.attempt_id, f.run_id, r.number AS run_number, p.name AS project, f.stage, f.stage_id, f.kind, f.target, f.platform, f.host, f.tool, f.at, f.challenge_id,
       CASE WHEN c1.id IS NOT NULL THEN concat_ws(' › ', c4.title, c3.title, c2.title, c1.title) END AS challenge_path, f.challenge_by, f.probability, f.summary, f.key_line, f.operator, f.end_reason, round(f.cost_minutes::numeric, 2)::double precision AS cost_minutes, f.resolved_at,
       f.resolution_id, f.author, f.branch, f.commit_sha, f.agent, f.template_id
  FROM failure f JOIN run r ON r.id = f.run_id JOIN project p ON p.id = f.project_id
  LEFT JOIN challenge c1 ON c1.id = f.challenge_id LEFT JOIN challenge c2 ON c2.id = c1.parent LEFT JOIN challenge c3 ON c3.id = c2.parent LEFT JOIN challenge c4 ON c4.id = c3.parent;

-- ---------------------------------------------------------------------------------------------- attempts from before
SELECT failure_refresh(id) FROM attempt WHERE ended_at IS NOT NULL AND ok IS FALSE AND end_reason IS DISTINCT FROM 'cancelled';
