-- failure_costly: as failure_recent, but the window is the costliest failures, costliest first.  $5 real cursor cost or null, else the same parameters.
-- @read
WITH bound AS MATERIALIZED (
    SELECT COALESCE($5::text::real, 'infinity'::real) AS cost, failure_query($1::jsonb) AS q, failure_query($1::jsonb) IS NULL AS every
), hit AS MATERIALIZED (
    SELECT f.attempt_id, f.cost_minutes
      FROM (SELECT * FROM failure WHERE (cost_minutes, attempt_id) < ((SELECT cost FROM bound), $6::bigint) ORDER BY cost_minutes DESC, attempt_id DESC LIMIT $8::bigint) f
     WHERE ((SELECT every FROM bound) OR f.terms @@ (SELECT q FROM bound)) AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean)
       AND f.at >= COALESCE($2::timestamptz, '-infinity') AND f.at <= COALESCE($3::timestamptz, 'infinity')
       AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[]))
     ORDER BY f.cost_minutes DESC, f.attempt_id DESC LIMIT $7::bigint
), seen AS (
    SELECT CASE WHEN (SELECT count(*) FROM hit) < $7::bigint THEN
           (SELECT count(*) < $8::bigint FROM (SELECT 1 FROM failure WHERE (cost_minutes, attempt_id) < ((SELECT cost FROM bound), $6::bigint) ORDER BY cost_minutes DESC, attempt_id DESC LIMIT $8::bigint) x) ELSE false END AS complete
)
SELECT seen.complete, hit.cost_minutes::text AS cost, v.*
  FROM seen LEFT JOIN hit ON true LEFT JOIN failure_item v ON v.attempt_id = hit.attempt_id ORDER BY hit.cost_minutes DESC NULLS LAST, v.attempt_id DESC;
