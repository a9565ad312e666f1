-- The past, asked faster (tests/bench/history/bench.py). What was slow at a million failures, and why: facets grouped every class by five texts; a scan of the index of terms walked the whole
-- list of a word for each slice of time; similar read the whole row of every candidate, of which it shows few.

-- ---------------------------------------------------------------------------------------------- forms
-- What a class is but for its project: a thousand combinations where there are tens of thousands of classes. Counting is then by numbers, and texts are compared
-- once a form. Both are small enough to be read whole.
CREATE TABLE failure_form (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stage         text NOT NULL,
    kind          text NOT NULL,
    target        text NOT NULL,
    platform      text NOT NULL,
    tool          text NOT NULL,
    challenge_id  text NOT NULL,
    UNIQUE (stage, kind, target, platform, tool, challenge_id)
);
INSERT INTO failure_form (stage, kind, target, platform, tool, challenge_id)
SELECT DISTINCT stage, kind, target, platform, tool, challenge_id FROM failure_class ORDER BY 1, 2, 3, 4, 5, 6;

-- The same numbers as before (failure.class_id), with a number for the texts. Counts change and nothing else does: room on each page for that.
CREATE TEMPORARY TABLE class_before ON COMMIT DROP AS
SELECT c.id, c.project_id, f.id AS form_id, c.failures, c.resolved FROM failure_class c JOIN failure_form f USING (stage, kind, target, platform, tool, challenge_id);
DROP TABLE failure_class;
CREATE TABLE failure_class (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project ON DELETE CASCADE,
    form_id       integer NOT NULL REFERENCES failure_form,
    failures      bigint NOT NULL DEFAULT 0,
    resolved      bigint NOT NULL DEFAULT 0,
    UNIQUE (project_id, form_id)
) WITH (fillfactor = 80);
INSERT INTO failure_class (id, project_id, form_id, failures, resolved) OVERRIDING SYSTEM VALUE SELECT id, project_id, form_id, failures, resolved FROM class_before ORDER BY id;
SELECT setval(pg_get_serial_sequence('failure_class', 'id'), COALESCE(max(id), 0) + 1, false) FROM failure_class;

CREATE OR REPLACE FUNCTION failure_class_of(project bigint, a_stage text, a_kind text, a_target text, a_platform text, a_tool text, a_challenge text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    form integer;
    ret bigint;
BEGIN
    FOR i IN 1 .. 2 LOOP                             -- twice: another transaction may have been first
        SELECT id INTO form FROM failure_form WHERE stage = a_stage AND kind = a_kind AND target = a_target AND platform = a_platform AND tool = a_tool AND challenge_id = a_challenge;
        EXIT WHEN form IS NOT NULL;
        INSERT INTO failure_form (stage, kind, target, platform, tool, challenge_id)
        VALUES (a_stage, a_kind, a_target, a_platform, a_tool, a_challenge) ON CONFLICT DO NOTHING RETURNING id INTO form;
        EXIT WHEN form IS NOT NULL;
    END LOOP;
    FOR i IN 1 .. 2 LOOP
        SELECT id INTO ret FROM failure_class WHERE project_id = project AND form_id = form;
        EXIT WHEN ret IS NOT NULL;
        INSERT INTO failure_class (project_id, form_id) VALUES (project, form) ON CONFLICT DO NOTHING RETURNING id INTO ret;
        EXIT WHEN ret IS NOT NULL;
    END LOOP;
    RETURN ret;
END $$;

-- ---------------------------------------------------------------------------------------------- facets
-- The one place where counts become facets. Lists of equal length: which of (project_id, kind, target, platform, tool, challenge_id, agent) was counted by, as grouping() tells it (127: by none, the total),
-- the project or the value, and how many -> rows facet, value, count, place (1: the most frequent), `most` of each facet; 'total' once. '' is "none": told of challenges, of the rest left out.
-- Written so that it becomes part of the statement that asks (one SELECT, no subquery among the arguments): planned with it, once a session.
-- "+ 0": hashed at once rather than looked up one by one, of which a planner that does not see into lists expects ten.
CREATE FUNCTION failure_facets_of(counted_by integer[], projects bigint[], names text[], counts bigint[], most bigint) RETURNS TABLE (facet text, value text, count bigint, place bigint) LANGUAGE sql STABLE PARALLEL SAFE ROWS 200
BEGIN ATOMIC
    WITH named AS (
        SELECT CASE c.by WHEN 63 THEN 'project' WHEN 95 THEN 'kind' WHEN 111 THEN 'target' WHEN 119 THEN 'platform' WHEN 123 THEN 'tool' WHEN 125 THEN 'challenge' WHEN 126 THEN 'agent' WHEN 127 THEN 'total' END AS facet,
               CASE WHEN c.by = 63 THEN p.name ELSE c.name END AS value, COALESCE(c.n, 0) AS n
          FROM unnest(counted_by, projects, names, counts) AS c (by, project_id, name, n) LEFT JOIN project p ON p.id + 0 = c.project_id
    ), ordered AS (
        SELECT o.facet, o.value, o.n, row_number() OVER (PARTITION BY o.facet ORDER BY o.n DESC, o.value) AS place FROM named o WHERE o.facet = 'total' OR (o.n > 0 AND (o.value <> '' OR o.facet = 'challenge'))
    )
    SELECT o.facet, CASE WHEN o.facet = 'challenge' AND o.value = '' THEN 'none' ELSE o.value END, o.n, o.place FROM ordered o WHERE o.place <= most;
END;

-- ---------------------------------------------------------------------------------------------- slices of time
-- As in 0010, but the months are a key of their own: a scan of the index that has both leaps from month to month and looks at a word's list there only, where one query
-- of months and words looked at all of it. The slices are the newest month (and the one before while it is young), the four before, and the rest. The key of the months stands first in the statements that ask
-- and must: the scan begins with its first key. And the slices begin with the newest failure there is, not with today.
-- A failure fits a slice when it has both and is older than `before` (null: any). wanted null (nothing but stop words): all there are.
DROP FUNCTION failure_slices(tsquery, timestamptz, timestamptz);
CREATE FUNCTION failure_slices(wanted tsquery, upto timestamptz, since timestamptz) RETURNS TABLE (months tsquery, q tsquery, before timestamptz) LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 3 AS $$
DECLARE
    begins timestamp := LEAST(upto, (SELECT at FROM failure ORDER BY at DESC, attempt_id DESC LIMIT 1)) AT TIME ZONE 'UTC';
    newest timestamp := date_trunc('month', begins);
    oldest timestamp;
    ends timestamptz;
    first integer := 0;
    last integer;
BEGIN
    IF newest IS NULL THEN
        RETURN;
    END IF;
    FOREACH last IN ARRAY ARRAY[CASE WHEN extract(day FROM begins) < 10 THEN 1 ELSE 0 END, 4, NULL] LOOP
        ends := (newest - (first - 1) * interval '1 month') AT TIME ZONE 'UTC';
        EXIT WHEN since >= ends;
        before := CASE WHEN last IS NULL THEN ends END;
        IF last IS NULL AND wanted IS NULL THEN
            oldest := date_trunc('month', GREATEST(since, (SELECT at FROM failure ORDER BY at, attempt_id LIMIT 1)) AT TIME ZONE 'UTC');
            last := LEAST(1200, first + 12 * extract(year FROM age(newest, oldest)) + extract(month FROM age(newest, oldest)));
        END IF;
        months := NULL;
        FOR m IN first .. COALESCE(last, -1) LOOP
            q := failure_term('m', to_char(newest - m * interval '1 month', 'YYYY-MM'));
            months := CASE WHEN months IS NULL THEN q ELSE months || q END;
        END LOOP;
        q := COALESCE(wanted, months);
        months := COALESCE(months, wanted);
        RETURN NEXT;
        first := last + 1;
    END LOOP;
END $$;

-- The months from one time to another as such a key, for what is not asked for newest first; null: no time is given, or so long a one that the key would help nobody.
CREATE FUNCTION failure_span(upto timestamptz, since timestamptz) RETURNS tsquery LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    newest timestamp := date_trunc('month', LEAST(upto, (SELECT at FROM failure ORDER BY at DESC, attempt_id DESC LIMIT 1)) AT TIME ZONE 'UTC');
    oldest timestamp := date_trunc('month', GREATEST(since, (SELECT at FROM failure ORDER BY at, attempt_id LIMIT 1)) AT TIME ZONE 'UTC');
    months tsquery := failure_term('m', to_char(newest, 'YYYY-MM'));
BEGIN
    IF (upto IS NULL AND since IS NULL) OR newest > oldest + interval '11 months' THEN
        RETURN NULL;
    END IF;
    WHILE newest > oldest LOOP
        newest := newest - interval '1 month';
        months := months || failure_term('m', to_char(newest, 'YYYY-MM'));
    END LOOP;
    RETURN months;
END $$;

-- ---------------------------------------------------------------------------------------------- similar
-- All that a candidate is weighed by is in the index that finds it; rows are read of those that are shown.
DROP INDEX failure_of_template, failure_of_shape, failure_solved, failure_in_project;
CREATE INDEX failure_of_template ON failure (template_id, at DESC, attempt_id DESC) INCLUDE (class_id, shape_id, operator, resolved_at);
CREATE INDEX failure_of_shape ON failure (shape_id, at DESC, attempt_id DESC) INCLUDE (project_id, class_id, template_id, operator, resolved_at);
CREATE INDEX failure_solved ON failure (template_id, resolved_at DESC) INCLUDE (project_id, attempt_id, at, class_id, shape_id, operator) WHERE resolved_at IS NOT NULL;
CREATE INDEX failure_in_project ON failure (project_id, template_id, at DESC, attempt_id DESC) INCLUDE (class_id, shape_id, operator, resolved_at);
-- What is asked for most came in last, and an index tells by itself only of rows that a vacuum has passed: after ten thousand new ones, not after a fifth of all.
ALTER TABLE failure SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000, autovacuum_vacuum_scale_factor = 0.02);

-- A token confined to a project finds what turned its stages green without passing over everybody's.
CREATE INDEX resolution_of_challenge ON resolution (project_id, challenge_id, id);
CREATE INDEX resolution_of_template ON resolution (project_id, template_id, id);
