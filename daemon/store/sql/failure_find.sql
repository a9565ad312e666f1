-- failure_find: matching failures through the index of terms, newest first: where what is asked for is rare.  $1 jsonb filters (failure_query), $2 since or null, $3 until or null,
-- $4 boolean resolved or null, $5 bigint cursor time (us) or null, $6 bigint cursor id, $7 bigint at most, $8 bigint months to look at before the cursor, until or now, or null: all.
-- The sub-select hides the terms from the planner, which would else walk the failures by time and hope.
-- IS TRUE keeps the planner from reading a whole index of times beside the one of terms.
-- @read
WITH hit AS MATERIALIZED (
    SELECT f.attempt_id, f.at FROM failure f
     WHERE f.terms @@ (SELECT CASE WHEN $8::bigint IS NULL THEN failure_query($1::jsonb)
                               ELSE failure_query($1::jsonb) && failure_months(LEAST(now() + interval '1 day', $3::timestamptz, 'epoch'::timestamptz + $5::bigint * interval '1 microsecond'), $8::integer) END) AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean)
       AND (f.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (f.at <= COALESCE($3::timestamptz, 'infinity')) IS TRUE
       AND ($5::bigint IS NULL OR f.at < 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' OR (f.at = 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' AND f.attempt_id < $6::bigint))
       AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[]))
), page AS (
    SELECT attempt_id FROM hit ORDER BY at DESC, attempt_id DESC LIMIT $7::bigint
)
SELECT $8::bigint IS NULL AS complete, (extract(epoch FROM v.at) * 1000000)::bigint AS at_us, v.* FROM page JOIN failure_item v ON v.attempt_id = page.attempt_id ORDER BY v.at DESC, v.attempt_id DESC;
