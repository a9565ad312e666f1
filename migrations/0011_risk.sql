-- What pre-flight and a model's operators say goes into risk; the board suggests people for a whole page at once; a channel says how it fares.

-- ---------------------------------------------------------------------------------------------- operators that ran
ALTER TABLE preflight ADD COLUMN takes jsonb NOT NULL DEFAULT '[]';    -- [{stage, target, path, ops, unsupported}]: which model meets which stage
-- Of each target of a project the operators of models that came through green.
CREATE TABLE operator_seen (
    project_id  bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    target      text NOT NULL,
    operator    text NOT NULL,
    platform    text NOT NULL,
    times       bigint NOT NULL DEFAULT 1,
    last_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, target, operator)
);
CREATE INDEX operator_seen_platform ON operator_seen (platform, operator, project_id);
CREATE INDEX failure_operator_name ON failure_operator (platform, operator);

-- Names come from files of others: a target's first five thousand are kept.
CREATE FUNCTION operators_ran(of_stage bigint, takes jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO operator_seen (project_id, target, operator, platform)
    SELECT r.project_id, s.target, o.operator, s.platform
      FROM stage s JOIN run r ON r.id = s.run_id
     CROSS JOIN LATERAL (SELECT DISTINCT left(op, 200) AS operator FROM jsonb_array_elements(takes) t CROSS JOIN LATERAL jsonb_array_elements_text(t -> 'ops') op WHERE t ->> 'stage' = s.name) o
     WHERE s.id = of_stage AND s.target IS NOT NULL AND s.platform IS NOT NULL
       AND ((SELECT count(*) FROM operator_seen x WHERE x.project_id = r.project_id AND x.target = s.target) < 5000
            OR EXISTS (SELECT 1 FROM operator_seen x WHERE x.project_id = r.project_id AND x.target = s.target AND x.operator = o.operator))
     ORDER BY o.operator
    ON CONFLICT (project_id, target, operator) DO UPDATE SET times = operator_seen.times + 1, last_at = now()
$$;
-- A stage that is green has run what it was given; a look that comes after its stage counts then.
CREATE FUNCTION stage_operators_ran() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM operators_ran(NEW.id, f.takes) FROM preflight f WHERE f.run_id = NEW.run_id AND f.state = 'done' AND f.takes @> jsonb_build_array(jsonb_build_object('stage', NEW.name));
    RETURN NULL;
END $$;
CREATE TRIGGER stage_operators_ran AFTER UPDATE OF state ON stage
    FOR EACH ROW WHEN (NEW.state = 'green' AND OLD.state <> 'green' AND NEW.kind IN ('convert', 'verify')) EXECUTE FUNCTION stage_operators_ran();
CREATE FUNCTION preflight_operators_ran() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM operators_ran(s.id, NEW.takes) FROM stage s WHERE s.run_id = NEW.run_id AND s.state = 'green' AND s.kind IN ('convert', 'verify') AND NEW.takes @> jsonb_build_array(jsonb_build_object('stage', s.name));
    RETURN NULL;
END $$;
CREATE TRIGGER preflight_operators_ran AFTER UPDATE OF state ON preflight
    FOR EACH ROW WHEN (NEW.state = 'done' AND OLD.state = 'pending' AND NEW.takes <> '[]') EXECUTE FUNCTION preflight_operators_ran();

-- ---------------------------------------------------------------------------------------------- what pre-flight says of stages
-- Looks of its run that went into a stage's risk. A gate that stands on risk opens only when every look at what its stage gets is over and went in.
ALTER TABLE stage ADD COLUMN risk_looks integer NOT NULL DEFAULT 0;
CREATE FUNCTION stage_risk_open(s stage) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT s.spec ? 'gate_risk' AND s.risk IS NOT NULL
       AND (s.risk_looks < (SELECT count(*) FROM preflight f WHERE f.run_id = s.run_id AND f.state <> 'pending')
            OR EXISTS (SELECT 1 FROM preflight f WHERE f.run_id = s.run_id AND f.state = 'pending' AND (f.stage_id IS NULL OR f.stage_id = s.model_stage_id)))
$$;

-- Of the stages of a run, as risk weighs it: {name, looked, errors, warnings, findings: the worst three, operators: {known, n, bad: [{operator, why}]}}.
-- The newest look at a source or at a stage's artifacts counts. A stage whose model is not made yet is judged by the operators of the model that its target begins with.
-- An operator is bad when no model that had it came through green on this target of this project, and either the target lacks it (pre-flight), or it failed as unsupported on this platform
-- before, or it is rare: of five other projects or more that ran models on the platform, fewer than one in ten had it.
CREATE FUNCTION preflight_risk(of_run bigint, of_project bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH RECURSIVE look AS MATERIALIZED (
        SELECT DISTINCT ON (COALESCE(f.stage_id, 0)) f.id, f.takes, s.name AS made_by
          FROM preflight f LEFT JOIN stage s ON s.id = f.stage_id WHERE f.run_id = of_run AND f.state = 'done' ORDER BY COALESCE(f.stage_id, 0), f.id DESC
    ), part AS MATERIALIZED (
        SELECT s.name, s.kind, s.target, s.platform, s.uses, s.spec ->> 'model_from' AS model_from FROM stage s WHERE s.run_id = of_run AND EXISTS (SELECT 1 FROM look)
    ), take AS MATERIALIZED (
        SELECT t ->> 'stage' AS stage, t -> 'ops' AS ops, t -> 'unsupported' AS unsupported FROM look CROSS JOIN LATERAL jsonb_array_elements(look.takes) t
    ), chain AS (
        SELECT p.name, p.name AS at, p.model_from, 0 AS depth FROM part p
        UNION ALL
        SELECT c.name, m.name, m.model_from, c.depth + 1 FROM chain c JOIN part m ON m.name = c.model_from AND m.kind <> 'export' WHERE c.depth < 8
    ), nearest AS (
        SELECT c.name, min(c.depth) AS depth FROM chain c JOIN take t ON t.stage = c.at GROUP BY 1
    ), op AS (
        SELECT n.name, p.target, p.platform, o.operator, bool_or(t.unsupported ? o.operator) AS unsupported
          FROM nearest n JOIN part p ON p.name = n.name JOIN chain c ON c.name = n.name AND c.depth = n.depth JOIN take t ON t.stage = c.at CROSS JOIN LATERAL jsonb_array_elements_text(t.ops) o (operator)
         WHERE p.target IS NOT NULL GROUP BY 1, 2, 3, 4
    ), fresh AS MATERIALIZED (
        SELECT * FROM op o WHERE NOT EXISTS (SELECT 1 FROM operator_seen x WHERE x.project_id = of_project AND x.target = o.target AND x.operator = left(o.operator, 200))
    ), others AS MATERIALIZED (
        SELECT f.platform, (SELECT count(*) FROM project p WHERE p.id <> of_project AND EXISTS (SELECT 1 FROM operator_seen x WHERE x.project_id = p.id AND x.platform = f.platform)) AS n
          FROM (SELECT DISTINCT platform FROM fresh) f
    ), bad AS (
        SELECT f.name, f.operator, CASE WHEN f.unsupported THEN 'unsupported' WHEN failed.so THEN 'failed' WHEN w.n >= 5 AND rare.n * 10 < w.n THEN 'rare' END AS why
          FROM fresh f JOIN others w ON w.platform = f.platform
         CROSS JOIN LATERAL (SELECT EXISTS (SELECT 1 FROM failure_operator x WHERE x.platform = f.platform AND x.operator = f.operator AND x.failures > 0 AND x.challenge_id LIKE '%unsupported%') AS so) failed
         CROSS JOIN LATERAL (SELECT count(DISTINCT x.project_id) AS n FROM operator_seen x WHERE w.n >= 5 AND x.platform = f.platform AND x.operator = left(f.operator, 200) AND x.project_id <> of_project) rare
    ), found AS (
        SELECT p.name, f.severity, f.rule, f.message, f.path, f.challenge_id, row_number() OVER (PARTITION BY p.name ORDER BY f.severity = 'error' DESC, f.preflight_id, f.position) AS nth
          FROM look JOIN preflight_finding f ON f.preflight_id = look.id AND f.severity <> 'note'
          JOIN part p ON p.name = f.stage OR (f.stage IS NULL AND CASE WHEN look.made_by IS NULL THEN p.kind = 'export' ELSE p.model_from = look.made_by END)
    )
    SELECT jsonb_agg(jsonb_build_object('name', p.name, 'errors', w.errors, 'warnings', w.warnings, 'findings', w.findings,
               'looked', w.errors + w.warnings > 0 OR COALESCE(n.depth = 0, false) OR (p.kind = 'export' AND p.uses IS NOT NULL AND EXISTS (SELECT 1 FROM look WHERE made_by IS NULL)),
               'operators', jsonb_build_object('known', n.name IS NOT NULL AND p.target IS NOT NULL, 'n', b.n, 'bad', b.bad)))
      FROM part p LEFT JOIN nearest n ON n.name = p.name
     CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE severity = 'error') AS errors, count(*) FILTER (WHERE severity = 'warning') AS warnings,
                                COALESCE(jsonb_agg(jsonb_build_object('severity', severity, 'rule', rule, 'message', message, 'path', path, 'challenge_id', challenge_id) ORDER BY nth) FILTER (WHERE nth <= 3), '[]') AS findings
                           FROM found WHERE found.name = p.name) w
     CROSS JOIN LATERAL (SELECT count(*) AS n, COALESCE(jsonb_agg(jsonb_build_object('operator', operator, 'why', why) ORDER BY nth) FILTER (WHERE nth <= 6), '[]') AS bad
                           FROM (SELECT operator, why, row_number() OVER (ORDER BY why = 'unsupported' DESC, why = 'failed' DESC, operator) AS nth FROM bad WHERE bad.name = p.name AND why IS NOT NULL) x) b
$$;

-- ---------------------------------------------------------------------------------------------- who could take what
-- As before, but the newest 100 failures of a challenge are enough to find three people, and each is looked up by its key whatever the planner thinks of the sizes.
CREATE OR REPLACE FUNCTION people_resolved(challenges text[], limit_project bigint) RETURNS TABLE (person_id bigint, challenge_id text, project_id bigint, at timestamptz, run_id bigint, uses text, how text) LANGUAGE sql STABLE AS $$
    SELECT w.person_id, c.id, o.project_id, o.at, o.run_id, o.uses, 'commits'
      FROM unnest($1) c (id)
     CROSS JOIN LATERAL (SELECT x.id FROM attempt x WHERE x.challenge_id = c.id ORDER BY x.id DESC LIMIT 100) a
     CROSS JOIN LATERAL (SELECT red.run_id, red.fixed_by FROM risk_outcome red WHERE red.attempt_id = a.id AND red.fixed_by IS NOT NULL LIMIT 1) red
     CROSS JOIN LATERAL (SELECT g.project_id, g.at, g.run_id, g.attempt_id, s.uses FROM risk_outcome g JOIN stage s ON s.id = g.stage_id WHERE g.id = red.fixed_by AND g.run_id <> red.run_id AND ($2 IS NULL OR g.project_id = $2) LIMIT 1) o
     CROSS JOIN LATERAL (SELECT x.person_id FROM run_author x WHERE x.run_id = o.run_id LIMIT 50) w
     WHERE NOT EXISTS (SELECT 1 FROM resolution x WHERE x.green_attempt_id = o.attempt_id AND (x.state = 'rejected' OR x.change = 'nothing'))   -- a person said it was not that; nobody changed anything
    UNION ALL
    SELECT g.person_id, c.id, g.project_id, g.ended_at, g.run_id, s.uses, 'assignment'
      FROM unnest($1) c (id)
     CROSS JOIN LATERAL (SELECT * FROM assignment x WHERE x.challenge_id = c.id AND x.state IN ('done', 'closed') AND x.person_id IS NOT NULL AND (x.state = 'done' OR x.attempt_id IS NOT NULL) AND ($2 IS NULL OR x.project_id = $2)
                          ORDER BY x.id DESC LIMIT 100) g
      JOIN stage s ON s.id = g.stage_id
$$;
DROP INDEX assignment_challenge;
CREATE INDEX assignment_challenge ON assignment (challenge_id, id) WHERE state IN ('done', 'closed');

-- That, kept: who resolved which challenge in which project. What happened since is in resolver_change, one row each so that nobody waits for anybody; challenges named there are asked anew by
-- whoever reads, until a daemon has folded them in (resolvers_refresh).
CREATE TABLE resolver (
    challenge_id  text NOT NULL,
    project_id    bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    person_id     bigint NOT NULL REFERENCES person ON DELETE CASCADE,
    at            timestamptz NOT NULL,
    times         bigint NOT NULL,
    run_id        bigint NOT NULL,                  -- the last of them
    uses          text,
    PRIMARY KEY (challenge_id, project_id, person_id)
);
CREATE INDEX resolver_person ON resolver (person_id);
CREATE INDEX resolver_project ON resolver (project_id);
CREATE TABLE resolver_change (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    challenge_id  text NOT NULL
);
CREATE INDEX resolver_change_challenge ON resolver_change (challenge_id);
INSERT INTO resolver_change (challenge_id) SELECT challenge_id FROM attempt WHERE challenge_id IS NOT NULL GROUP BY 1 UNION SELECT challenge_id FROM assignment WHERE challenge_id IS NOT NULL;

CREATE FUNCTION resolvers_refresh(at_once bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    which text[];
    ids bigint[];
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('portolan resolver')) THEN
        RETURN 0;
    END IF;
    SELECT array_agg(DISTINCT c.challenge_id), array_agg(c.id) INTO which, ids
      FROM resolver_change c WHERE c.challenge_id IN (SELECT x.challenge_id FROM (SELECT * FROM resolver_change ORDER BY id LIMIT 1000) x GROUP BY 1 ORDER BY min(x.id) LIMIT at_once);
    IF which IS NULL THEN
        RETURN 0;
    END IF;
    DELETE FROM resolver WHERE challenge_id = ANY (which);
    INSERT INTO resolver (challenge_id, project_id, person_id, at, times, run_id, uses)
    SELECT r.challenge_id, r.project_id, r.person_id, max(r.at), count(DISTINCT r.run_id), (array_agg(r.run_id ORDER BY r.at DESC))[1], (array_agg(r.uses ORDER BY r.at DESC))[1] FROM people_resolved(which, NULL) r GROUP BY 1, 2, 3;
    DELETE FROM resolver_change WHERE id = ANY (ids);
    RETURN cardinality(which);
END $$;

CREATE FUNCTION resolver_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'attempt' THEN
        INSERT INTO resolver_change (challenge_id) SELECT c FROM unnest(ARRAY[OLD.challenge_id, NEW.challenge_id]) c WHERE c IS NOT NULL AND EXISTS (SELECT 1 FROM risk_outcome o WHERE o.attempt_id = NEW.id AND o.fixed_by IS NOT NULL);
    ELSIF TG_TABLE_NAME = 'risk_outcome' THEN
        INSERT INTO resolver_change (challenge_id) SELECT a.challenge_id FROM attempt a WHERE a.id = NEW.attempt_id AND a.challenge_id IS NOT NULL;
    ELSIF TG_TABLE_NAME = 'person' THEN
        INSERT INTO resolver_change (challenge_id) SELECT DISTINCT r.challenge_id FROM resolver r WHERE r.person_id = OLD.id;
        RETURN OLD;
    ELSIF TG_TABLE_NAME = 'resolution' THEN     -- a word about what turned it green counts for the first failure of the row that it ended
        INSERT INTO resolver_change (challenge_id)
        SELECT a.challenge_id FROM attempt ga JOIN risk_outcome g ON g.stage_id = ga.stage_id AND g.ok JOIN risk_outcome red ON red.id = g.streak JOIN attempt a ON a.id = red.attempt_id
         WHERE ga.id = NEW.green_attempt_id AND a.challenge_id IS NOT NULL;
    ELSIF NEW.challenge_id IS NOT NULL THEN
        INSERT INTO resolver_change (challenge_id) VALUES (NEW.challenge_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER resolver_changed AFTER UPDATE OF challenge_id ON attempt FOR EACH ROW WHEN (OLD.challenge_id IS DISTINCT FROM NEW.challenge_id) EXECUTE FUNCTION resolver_changed();
CREATE TRIGGER resolver_changed AFTER UPDATE OF fixed_by ON risk_outcome FOR EACH ROW WHEN (OLD.fixed_by IS DISTINCT FROM NEW.fixed_by) EXECUTE FUNCTION resolver_changed();
CREATE TRIGGER resolver_changed AFTER UPDATE OF state, challenge_id ON assignment FOR EACH ROW WHEN (NEW.state IN ('done', 'closed')) EXECUTE FUNCTION resolver_changed();
CREATE TRIGGER resolver_changed AFTER INSERT OR UPDATE OF state, change ON resolution FOR EACH ROW EXECUTE FUNCTION resolver_changed();
CREATE TRIGGER resolver_changed BEFORE DELETE ON person FOR EACH ROW EXECUTE FUNCTION resolver_changed();

-- At most three people for each of many stages ([{stage_id, challenges}]), the one who resolved such a thing last first, each with reasons and no number that could be compared. A challenge is
-- looked up once, whatever number of stages fear it; the three of a stage are among the three of one of its challenges.
DROP FUNCTION people_suggested(bigint, text[], bigint);
CREATE FUNCTION people_suggested(asked jsonb, limit_project bigint) RETURNS TABLE (stage_id bigint, suggested jsonb) LANGUAGE sql STABLE AS $$
    WITH pair AS MATERIALIZED (
        SELECT DISTINCT a.stage_id, c.id AS challenge_id FROM jsonb_to_recordset(asked) AS a (stage_id bigint, challenges text[]) LEFT JOIN LATERAL unnest(a.challenges) c (id) ON true
    ), feared AS MATERIALIZED (
        SELECT c.id, EXISTS (SELECT 1 FROM resolver_change x WHERE x.challenge_id = c.id) AS changed FROM (SELECT DISTINCT challenge_id AS id FROM pair WHERE challenge_id IS NOT NULL) c
    ), got AS MATERIALIZED (
        SELECT k.person_id, k.challenge_id, k.at, k.times, k.run_id, k.uses FROM feared f JOIN resolver k ON k.challenge_id = f.id WHERE NOT f.changed AND (limit_project IS NULL OR k.project_id = limit_project)
        UNION ALL
        SELECT x.person_id, x.challenge_id, max(x.at), count(DISTINCT x.run_id), (array_agg(x.run_id ORDER BY x.at DESC))[1], (array_agg(x.uses ORDER BY x.at DESC))[1]
          FROM people_resolved(ARRAY(SELECT f.id FROM feared f WHERE f.changed), limit_project) x GROUP BY 1, 2
    ), did AS MATERIALIZED (
        SELECT r.person_id, r.challenge_id, max(r.at) AS at, sum(r.times)::bigint AS times FROM got r WHERE r.person_id IN (SELECT p.id FROM person p WHERE p.suggestions) GROUP BY 1, 2
    ), first AS MATERIALIZED (
        SELECT * FROM (SELECT d.*, row_number() OVER (PARTITION BY d.challenge_id ORDER BY d.at DESC, d.person_id) AS nth FROM did d) x WHERE nth <= 3
    ), known AS MATERIALIZED (
        SELECT * FROM (SELECT x.*, row_number() OVER (PARTITION BY x.stage_id ORDER BY x.at DESC, x.person_id) AS nth
                         FROM (SELECT a.stage_id, f.person_id, max(f.at) AS at FROM pair a JOIN first f ON f.challenge_id = a.challenge_id GROUP BY 1, 2) x) y WHERE nth <= 3
    ), told AS MATERIALIZED (
        SELECT d.person_id, d.challenge_id, d.at, 'resolved "' || COALESCE(c.title, d.challenge_id) || '" ' || CASE WHEN d.times = 1 THEN 'on ' ELSE d.times || ' times, last on ' END || to_char(d.at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
               || ' in ' || pr.name || COALESCE('#' || r.number, '') || COALESCE(' (' || d.uses || ')', '') AS words
          FROM (SELECT DISTINCT ON (d.person_id, d.challenge_id) d.person_id, d.challenge_id, d.at, d.times, g.run_id, g.uses
                  FROM (SELECT DISTINCT k.person_id, a.challenge_id FROM known k JOIN pair a ON a.stage_id = k.stage_id) n JOIN did d ON d.person_id = n.person_id AND d.challenge_id = n.challenge_id
                  JOIN got g ON g.person_id = d.person_id AND g.challenge_id = d.challenge_id AND g.at = d.at ORDER BY d.person_id, d.challenge_id, g.run_id DESC) d
          JOIN run r ON r.id = d.run_id JOIN project pr ON pr.id = r.project_id LEFT JOIN challenge c ON c.id = d.challenge_id
    ), best AS MATERIALIZED (
        SELECT k.stage_id, k.person_id, k.nth, (array_agg(t.words ORDER BY t.at DESC))[1:4] AS reasons
          FROM known k JOIN pair a ON a.stage_id = k.stage_id JOIN told t ON t.person_id = k.person_id AND t.challenge_id = a.challenge_id GROUP BY 1, 2, 3
        UNION ALL
        SELECT a.stage_id, w.id, w.nth, ARRAY['committed to this run'] FROM (SELECT DISTINCT stage_id FROM pair) a
         CROSS JOIN LATERAL (SELECT p.id, row_number() OVER (ORDER BY p.id) AS nth FROM stage s JOIN run_author x ON x.run_id = s.run_id JOIN person p ON p.id = x.person_id AND p.suggestions WHERE s.id = a.stage_id ORDER BY p.id LIMIT 3) w
         WHERE NOT EXISTS (SELECT 1 FROM known k WHERE k.stage_id = a.stage_id)
    ), load AS MATERIALIZED (
        SELECT b.person_id, (SELECT count(*) FROM assignment g WHERE g.person_id = b.person_id AND g.state IN ('assigned', 'taken') AND (limit_project IS NULL OR g.project_id = limit_project)) AS open FROM (SELECT DISTINCT person_id FROM best) b
    )
    SELECT b.stage_id, jsonb_agg(jsonb_build_object('person', p.name, 'display_name', p.display_name,
               'reasons', to_jsonb(b.reasons || CASE n.open WHEN 0 THEN 'has nothing assigned now' WHEN 1 THEN 'has one other thing assigned now' ELSE 'has ' || n.open || ' other things assigned now' END)) ORDER BY b.nth)
      FROM best b JOIN person p ON p.id = b.person_id JOIN load l ON l.person_id = b.person_id
     CROSS JOIN LATERAL (SELECT l.open - (SELECT count(*) FROM assignment g WHERE g.stage_id = b.stage_id AND g.person_id = b.person_id AND g.state IN ('assigned', 'taken')) AS open) n
     GROUP BY 1
$$;

-- ---------------------------------------------------------------------------------------------- a channel that fails
-- A channel is tried as a whole: while it fails, its oldest message alone is, at growing intervals; what waits behind it goes out when that one did.
ALTER TABLE notify_channel
    ADD COLUMN fails         integer NOT NULL DEFAULT 0,      -- in a row
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN paused_until  timestamptz,
    ADD COLUMN last_error    text;
ALTER TABLE notify_outbox ADD COLUMN first_try_at timestamptz;
CREATE INDEX notify_outbox_waiting ON notify_outbox (channel_id, id) WHERE sent_at IS NULL AND gave_up_at IS NULL;

-- An instant as far ahead on the clock on the wall of a zone: where clocks are changed in between, an hour more or less. What the change leaves out is taken an hour later, what comes twice is the
-- second one; never before `at`.
CREATE FUNCTION notify_later(at timestamptz, zone text, seconds double precision) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT GREATEST(at, ((at AT TIME ZONE zone) + seconds * interval '1 second') AT TIME ZONE zone)
$$;

-- Where it leads to is new: what was wrong with it is over.
CREATE FUNCTION notify_channel_mended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.fails := 0;
    NEW.failing_since := NULL;
    NEW.paused_until := NULL;
    NEW.last_error := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER notify_channel_mended BEFORE UPDATE ON notify_channel FOR EACH ROW
    WHEN ((OLD.address, OLD.url, OLD.secret, OLD.template) IS DISTINCT FROM (NEW.address, NEW.url, NEW.secret, NEW.template)) EXECUTE FUNCTION notify_channel_mended();
