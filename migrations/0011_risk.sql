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
