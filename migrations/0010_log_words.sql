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
