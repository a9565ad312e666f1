-- failure_find_costly: the costliest of so many matching failures, costliest first.  $5 real cursor cost or null, $8 bigint how many to look at, else the parameters of failure_find.
-- Always returns a row: complete (no more match), then the failure or nulls.
-- IS TRUE keeps the planner from reading a whole index of times beside the one of terms.
-- @read
WITH b AS MATERIALIZED (
    SELECT failure_query($1::jsonb) AS q, failure_span($3::timestamptz, $2::timestamptz) AS months
), hit AS MATERIALIZED (                           -- two of the same, with the months and without: a key twice would be looked for twice
    SELECT x.* FROM (
        SELECT f.attempt_id, f.cost_minutes FROM failure f
         WHERE (SELECT months IS NOT NULL FROM b) AND f.terms @@ (SELECT months FROM b) AND f.terms @@ (SELECT q FROM b) AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean)
           AND (f.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (f.at <= COALESCE($3::timestamptz, 'infinity')) IS TRUE
           AND ($5::text IS NULL OR f.cost_minutes < $5::text::real OR (f.cost_minutes = $5::text::real AND f.attempt_id < $6::bigint))
           AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[]))
        UNION ALL
        SELECT f.attempt_id, f.cost_minutes FROM failure f
         WHERE (SELECT months IS NULL FROM b) AND f.terms @@ (SELECT q FROM b) AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean)
           AND (f.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (f.at <= COALESCE($3::timestamptz, 'infinity')) IS TRUE
           AND ($5::text IS NULL OR f.cost_minutes < $5::text::real OR (f.cost_minutes = $5::text::real AND f.attempt_id < $6::bigint))
           AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[]))) x LIMIT $8::bigint
), page AS (
    SELECT attempt_id, cost_minutes FROM hit ORDER BY cost_minutes DESC, attempt_id DESC LIMIT $7::bigint
), told AS (
    SELECT count(*) < $8::bigint AS complete FROM hit
)
SELECT told.complete, page.cost_minutes::text AS cost, v.* FROM told LEFT JOIN page ON true LEFT JOIN failure_item v ON v.attempt_id = page.attempt_id ORDER BY page.cost_minutes DESC NULLS LAST, v.attempt_id DESC;
