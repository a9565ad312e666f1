-- failure_find: matching failures through the index of terms, newest first: where what is asked for is rare.  $1 jsonb filters (failure_query), $2 since or null, $3 until or null,
-- $4 boolean resolved or null, $5 bigint cursor time (us) or null, $6 bigint cursor id, $7 bigint at most.  Slice by slice of time, newest first (failure_slices), until there are enough.
-- IS TRUE keeps the planner from reading a whole index of times beside the one of terms.
-- @read
WITH hit AS MATERIALIZED (
    SELECT h.* FROM failure_slices((SELECT failure_query($1::jsonb)), LEAST($3::timestamptz, 'epoch'::timestamptz + $5::bigint * interval '1 microsecond'), $2::timestamptz) AS m, LATERAL (
        SELECT f.attempt_id, f.at FROM failure f
         WHERE f.terms @@ m.months AND f.terms @@ m.q AND (f.at < COALESCE(m.before, 'infinity')) IS TRUE AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean)
           AND (f.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (f.at <= COALESCE($3::timestamptz, 'infinity')) IS TRUE
           AND ($5::bigint IS NULL OR f.at < 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' OR (f.at = 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' AND f.attempt_id < $6::bigint))
           AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[]))
         ORDER BY f.at DESC, f.attempt_id DESC LIMIT $7::bigint) h
     LIMIT $7::bigint
)
SELECT true AS complete, (extract(epoch FROM v.at) * 1000000)::bigint AS at_us, v.* FROM hit JOIN failure_item v ON v.attempt_id = hit.attempt_id ORDER BY v.at DESC, v.attempt_id DESC;
