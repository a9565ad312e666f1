-- failure_rank: those of the newest matching failures whose words fit best, likest first, then newest; page after page over the same set.  $1 jsonb filters, $2 since or null, $3 until or null, $4 boolean resolved or null, $5 bigint at most,
-- $6 bigint how many failures to look at (null: through the index of terms), $7 bigint how many matches to rank,
-- $8 real score and $9 bigint id of the last one given, or null; $10 bigint when the first page was asked for (us), or null: now.
-- Returns rows: complete, ranked (how many were), asked_us ($10), rank (the exact score), score, the failure; a row without one when nothing matches.
-- IS TRUE keeps the planner from reading a whole index of times beside the one of terms.
-- @read
WITH bound AS MATERIALIZED (
    SELECT failure_query($1::jsonb) AS q, plainto_tsquery('english', failure_words(concat_ws(' ', $1::jsonb ->> 'words', (SELECT string_agg(e, ' ') FROM jsonb_array_elements_text($1::jsonb -> 'exact') e)))) AS words,
           COALESCE('epoch'::timestamptz + $10::bigint * interval '1 microsecond', now()) AS asked, LEAST(COALESCE('epoch'::timestamptz + $10::bigint * interval '1 microsecond', now()), $3::timestamptz) AS until
), near AS (
    SELECT f.attempt_id, f.at, f.terms
      FROM (SELECT * FROM failure WHERE $6::bigint IS NOT NULL AND at >= COALESCE($2::timestamptz, '-infinity') AND at <= (SELECT until FROM bound) ORDER BY at DESC, attempt_id DESC LIMIT $6::bigint) f
     WHERE f.terms @@ (SELECT q FROM bound) AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean) AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[]))
), far AS MATERIALIZED (
    SELECT h.* FROM bound b, failure_slices(b.q, b.until, $2::timestamptz) AS m, LATERAL (
        SELECT f.attempt_id, f.at, f.terms FROM failure f
         WHERE f.terms @@ m.months AND f.terms @@ m.q AND (f.at < COALESCE(m.before, 'infinity')) IS TRUE AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean)
           AND (f.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (f.at <= (SELECT until FROM bound)) IS TRUE AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[]))
         ORDER BY f.at DESC, f.attempt_id DESC LIMIT $7::bigint) h
     WHERE $6::bigint IS NULL LIMIT $7::bigint
), newest AS MATERIALIZED (
    SELECT * FROM (SELECT * FROM near UNION ALL SELECT * FROM far) x ORDER BY at DESC, attempt_id DESC LIMIT $7::bigint
), scored AS (
    SELECT attempt_id, ts_rank(terms, (SELECT words FROM bound), 1) AS score FROM newest
), best AS (
    SELECT attempt_id, score FROM scored WHERE $8::text IS NULL OR (score, attempt_id) < ($8::text::real, $9::bigint) ORDER BY score DESC, attempt_id DESC LIMIT $5::bigint
), told AS (
    SELECT count(*) AS ranked FROM newest
)
SELECT $6::bigint IS NULL AS complete, told.ranked, (SELECT (extract(epoch FROM asked) * 1000000)::bigint FROM bound) AS asked_us, best.score::text AS rank, best.score::double precision AS score, v.*
  FROM told LEFT JOIN best ON true LEFT JOIN failure_item v ON v.attempt_id = best.attempt_id ORDER BY best.score DESC NULLS LAST, v.attempt_id DESC;
