-- Words of whole logs, to find failures by what was said anywhere and not only in the lines that the diagnosis quotes. A failure's row here is made once
-- its diagnosis is done (daemon/core/log_words.c), and goes with its log: what is found can be shown. The quoted lines, the summary and the template stay
-- searchable as ever.
CREATE TABLE failure_log (
    attempt_id  bigint PRIMARY KEY REFERENCES failure ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    words       tsvector COMPRESSION lz4 NOT NULL,   -- distinct words of the log, stemmed, without places, and the facts as failure.terms has them
    n           integer NOT NULL,                    -- distinct words before stemming; at most 3500
    cut         boolean NOT NULL                     -- there were more: those nearest the end of the log are here
) WITH (toast_tuple_target = 128);                   -- words aside: what the index finds is then read from few pages
CREATE INDEX failure_log_words ON failure_log USING gin (words) WITH (gin_pending_list_limit = 2048);
CREATE INDEX failure_log_at ON failure_log (at DESC, attempt_id DESC);
ALTER TABLE failure_log ALTER COLUMN words SET STATISTICS 0;

-- Failures whose log is still to be read for its words: new ones, and at first all there are. What is done is deleted, so a daemon that dies loses nothing.
CREATE TABLE failure_log_due (
    attempt_id  bigint PRIMARY KEY REFERENCES failure ON DELETE CASCADE,
    until       timestamptz,                         -- a daemon reads it until then
    tries       integer NOT NULL DEFAULT 0
);
INSERT INTO failure_log_due (attempt_id)
SELECT f.attempt_id FROM failure f JOIN attempt a ON a.id = f.attempt_id WHERE a.log_bytes > 0 AND a.log_pruned_at IS NULL;

-- The facts in a vector of failure.terms: no word has a colon (failure_words).
CREATE FUNCTION failure_tags(terms tsvector) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT COALESCE(array_agg(lexeme ORDER BY lexeme), '{}') FROM unnest(terms) AS t (lexeme, positions, weights) WHERE lexeme LIKE '%:%');

-- failure and failure_log_due, failure and failure_log: facts that change (a correction, a relabelling) change in both.
CREATE FUNCTION failure_log_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO failure_log_due (attempt_id) VALUES (NEW.attempt_id) ON CONFLICT DO NOTHING;
    ELSIF failure_tags(OLD.terms) <> failure_tags(NEW.terms) OR OLD.at <> NEW.at THEN
        UPDATE failure_log SET at = NEW.at, words = ts_delete(words, failure_tags(OLD.terms)) || array_to_tsvector(failure_tags(NEW.terms)) WHERE attempt_id = NEW.attempt_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER failure_log_new AFTER INSERT ON failure FOR EACH ROW EXECUTE FUNCTION failure_log_follows();
CREATE TRIGGER failure_log_facts AFTER UPDATE ON failure FOR EACH ROW WHEN (OLD.terms IS DISTINCT FROM NEW.terms OR OLD.at IS DISTINCT FROM NEW.at) EXECUTE FUNCTION failure_log_follows();

-- Text as quoted in a filter, as what a vector must hold. A log's vector has no places: there its words, one by one; that they stand together is seen in the log itself.
CREATE FUNCTION failure_quoted(f jsonb, quoted text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN f ->> 'in' = 'log' THEN plainto_tsquery('english', failure_words(quoted)) ELSE phraseto_tsquery('english', failure_words(quoted)) END;

-- As in 0005, but for failure_quoted: filters as an object {"project": …, "challenge": …, "words": …, "not": …, "exact": […], "version": {"tool", "from", "from_open", "to", "to_open", "prefix"}, "in": "log"} -> what the vector must hold.
CREATE OR REPLACE FUNCTION failure_query(f jsonb) RETURNS tsquery LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
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
              WHERE f ? t.name AND NOT (t.letter = 'tool' AND v IS NOT NULL) LOOP      -- a version says its tool already, and the list of the tool is long
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
        all_of := all_of || failure_quoted(f, k.w);
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

-- ---------------------------------------------------------------------------------------------- counts of all projects together
-- They stood between those of single projects (project_id 0), one row on each page: a trend of everything read ten thousand pages. Now by themselves, and
-- by week and month too, so that a year of weeks is not added up from days each time. Folded in the same transaction as the rest (failure_fold).
CREATE TABLE failure_total (
    unit          text NOT NULL CHECK (unit IN ('day', 'week', 'month')),
    at            date NOT NULL,                     -- its first day
    challenge_id  text NOT NULL,
    failures      bigint NOT NULL,
    resolved      bigint NOT NULL,
    PRIMARY KEY (unit, at, challenge_id)
);
INSERT INTO failure_total (unit, at, challenge_id, failures, resolved)
SELECT u.unit, date_trunc(u.unit, d.day)::date, d.challenge_id, sum(d.failures), sum(d.resolved)
  FROM failure_day d, (VALUES ('day'), ('week'), ('month')) AS u (unit) WHERE d.project_id = 0 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
DELETE FROM failure_day WHERE project_id = 0;
CREATE TABLE failure_total_hours (
    month         date NOT NULL,                     -- of the failure; its first day
    challenge_id  text NOT NULL,
    bucket        smallint NOT NULL,
    n             bigint NOT NULL,
    PRIMARY KEY (month, challenge_id, bucket)
);
INSERT INTO failure_total_hours (month, challenge_id, bucket, n) SELECT month, challenge_id, bucket, n FROM failure_hours WHERE project_id = 0 ORDER BY 1, 2, 3;
DELETE FROM failure_hours WHERE project_id = 0;

-- What a search looks for, in three slices of time, newest first: this month and the last, the three before, all before those. Whoever wants the newest so many
-- stops at the slice that fills it: what is frequent is found in the first, and only what is rare is asked of everything, where its list is short. Slices
-- before `since` are left out. A failure fits a slice when it has its q and is older than its `before` (null: any).
DROP FUNCTION failure_months(timestamptz, integer);
CREATE FUNCTION failure_slices(wanted tsquery, upto timestamptz, since timestamptz) RETURNS TABLE (q tsquery, before timestamptz) LANGUAGE sql STABLE PARALLEL SAFE ROWS 3
BEGIN ATOMIC
    WITH newest AS (
        SELECT date_trunc('month', LEAST(upto, now() + interval '1 day') AT TIME ZONE 'UTC') AS month
    ), slice AS (
        SELECT n.slice, (SELECT string_agg(failure_term('m', to_char(newest.month - m * interval '1 month', 'YYYY-MM'))::text, ' | ')::tsquery FROM generate_series(n.first, n.last) AS m) AS months,
               CASE WHEN n.slice = 3 THEN (newest.month - interval '4 months') AT TIME ZONE 'UTC' END AS before, (newest.month - (n.first - 1) * interval '1 month') AT TIME ZONE 'UTC' AS ends
          FROM newest, (VALUES (1, 0, 1), (2, 2, 4), (3, 5, 4)) AS n (slice, first, last)
    )
    SELECT CASE WHEN months IS NULL THEN wanted ELSE wanted && months END, before FROM slice WHERE since IS NULL OR since < ends ORDER BY slice;
END;

-- ---------------------------------------------------------------------------------------------- less to read for what is similar
-- With the project in them, a token confined to one finds its failures in the index.
DROP INDEX failure_of_shape, failure_solved;
CREATE INDEX failure_of_shape ON failure (shape_id, at DESC, attempt_id DESC) INCLUDE (project_id);
CREATE INDEX failure_solved ON failure (template_id, resolved_at DESC) INCLUDE (project_id, attempt_id) WHERE resolved_at IS NOT NULL;

-- ---------------------------------------------------------------------------------------------- people's words, to be looked up by what they were said of
-- A diagnosis asks for words on failures like it (feedback_like). It read the newest 2000 of all, each with its attempt, stage and run: five thousand pages a
-- diagnosis, and older words on the very same failure were not seen. Now one row for each attempt that a word is in force on, with what makes it alike.
CREATE TABLE feedback_word (
    attempt_id    bigint PRIMARY KEY REFERENCES attempt ON DELETE CASCADE,
    feedback_id   bigint NOT NULL,                   -- the newest that was not undone
    verdict       text NOT NULL,
    challenge_id  text,
    said_id       text,
    by_name       text NOT NULL,
    project_id    bigint NOT NULL,
    kind          text NOT NULL,
    tool          text NOT NULL,                     -- '': a bare command
    fingerprint   text,
    template      text,
    indicators    text[] NOT NULL
);
CREATE INDEX feedback_word_fingerprint ON feedback_word (fingerprint, feedback_id);
CREATE INDEX feedback_word_template ON feedback_word (template, feedback_id);
CREATE INDEX feedback_word_tool ON feedback_word (kind, tool, feedback_id);
CREATE INDEX feedback_word_indicators ON feedback_word USING gin (indicators);

CREATE FUNCTION feedback_word_refresh(wanted bigint) RETURNS void LANGUAGE sql
BEGIN ATOMIC
    DELETE FROM feedback_word WHERE attempt_id = wanted;
    INSERT INTO feedback_word (attempt_id, feedback_id, verdict, challenge_id, said_id, by_name, project_id, kind, tool, fingerprint, template, indicators)
    SELECT a.id, f.id, f.verdict, f.challenge_id, f.said_id, f.by_name, r.project_id, s.kind, COALESCE(s.uses, s.toolchain, ''), a.fingerprint, a.template,
           ARRAY(SELECT DISTINCT jsonb_array_elements_text(COALESCE(a.indicators, '[]')))
      FROM feedback f JOIN attempt a ON a.id = f.attempt_id JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id
     WHERE f.attempt_id = wanted AND f.undone_at IS NULL ORDER BY f.id DESC LIMIT 1;
END;
CREATE FUNCTION feedback_word_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'feedback' THEN
        PERFORM feedback_word_refresh(NEW.attempt_id);
    ELSIF EXISTS (SELECT 1 FROM feedback_word WHERE attempt_id = NEW.id) THEN
        PERFORM feedback_word_refresh(NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER feedback_word_said AFTER INSERT OR UPDATE OF undone_at ON feedback FOR EACH ROW EXECUTE FUNCTION feedback_word_follows();
-- A newer knowledge may see other lines in it.
CREATE TRIGGER feedback_word_labelled AFTER UPDATE ON attempt FOR EACH ROW
    WHEN (OLD.fingerprint IS DISTINCT FROM NEW.fingerprint OR OLD.template IS DISTINCT FROM NEW.template OR OLD.indicators IS DISTINCT FROM NEW.indicators)
    EXECUTE FUNCTION feedback_word_follows();
SELECT feedback_word_refresh(attempt_id) FROM (SELECT DISTINCT attempt_id FROM feedback WHERE undone_at IS NULL) f;

-- Re-labelling and trying an indicator walk along failures whose log is there: where retention has taken most, they no longer pass over those that it took.
DROP INDEX attempt_diagnosed;
CREATE INDEX attempt_diagnosed ON attempt (id) WHERE diagnosis_state IN ('done', 'failed') AND log_pruned_at IS NULL;
-- Most answers made anew say what the old ones said, but for the hash of their knowledge: their failures are then not written again, index for index.
CREATE TRIGGER failure_same BEFORE UPDATE ON failure FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
