-- failure_band_costly: matching failures among so many of the costliest, costliest first: two bitmaps laid over each other, and only rows that are in both are read.  $5 real cursor cost or null, $8 bigint how many of the
-- costliest behind the cursor, else the parameters of failure_find.  Always returns a row: complete (there was nothing beyond), then the failure or nulls.
-- Both bounds of the cost: with one the planner expects so many rows that it leaves that index out.
-- IS TRUE keeps the planner from reading a whole index of times beside the one of terms.
-- @read
WITH floor AS MATERIALIZED (
    SELECT (SELECT cost_minutes FROM failure WHERE (cost_minutes, attempt_id) < (COALESCE($5::text::real, 'infinity'), $6::bigint) ORDER BY cost_minutes DESC, attempt_id DESC OFFSET $8::bigint LIMIT 1) AS cost
), hit AS MATERIALIZED (
    SELECT f.attempt_id, f.cost_minutes FROM failure f
     WHERE f.terms @@ (SELECT failure_query($1::jsonb)) AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean) AND f.cost_minutes >= (SELECT COALESCE(cost, '-infinity') FROM floor) AND f.cost_minutes <= (SELECT COALESCE($5::text::real, 'infinity'))
       AND (f.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (f.at <= COALESCE($3::timestamptz, 'infinity')) IS TRUE
       AND ($5::text IS NULL OR f.cost_minutes < $5::text::real OR (f.cost_minutes = $5::text::real AND f.attempt_id < $6::bigint))
       AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[]))
), page AS (
    SELECT attempt_id, cost_minutes FROM hit ORDER BY cost_minutes DESC, attempt_id DESC LIMIT $7::bigint
)
SELECT floor.cost IS NULL AS complete, page.cost_minutes::text AS cost, v.* FROM floor LEFT JOIN page ON true LEFT JOIN failure_item v ON v.attempt_id = page.attempt_id ORDER BY page.cost_minutes DESC NULLS LAST, v.attempt_id DESC;
