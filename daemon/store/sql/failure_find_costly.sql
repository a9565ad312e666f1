-- failure_find_costly: as failure_find, costliest first.  $5 real cursor cost or null, else the same parameters.
-- IS TRUE keeps the planner from reading a whole index of times beside the one of terms.
-- @read
WITH hit AS MATERIALIZED (
    SELECT f.attempt_id, f.cost_minutes FROM failure f
     WHERE f.terms @@ (SELECT failure_query($1::jsonb)) AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean)
       AND (f.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (f.at <= COALESCE($3::timestamptz, 'infinity')) IS TRUE
       AND ($5::text IS NULL OR f.cost_minutes < $5::text::real OR (f.cost_minutes = $5::text::real AND f.attempt_id < $6::bigint))
       AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[]))
), page AS (
    SELECT attempt_id, cost_minutes FROM hit ORDER BY cost_minutes DESC, attempt_id DESC LIMIT $7::bigint
)
SELECT true AS complete, page.cost_minutes::text AS cost, v.* FROM page JOIN failure_item v ON v.attempt_id = page.attempt_id ORDER BY page.cost_minutes DESC, v.attempt_id DESC;
