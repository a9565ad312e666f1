-- failure_recent: matching failures among the newest ones, newest first: all that is asked where what is asked for is frequent.  $1 jsonb filters (failure_query), $2 since or null, $3 until or null,
-- $4 boolean resolved or null, $5 bigint cursor time (us) or null, $6 bigint cursor id, $7 bigint at most, $8 bigint how many failures to look at.
-- Always returns a row: complete (there was nothing beyond the window), then the failure or nulls.
-- @read
WITH bound AS MATERIALIZED (
    SELECT LEAST(COALESCE('epoch'::timestamptz + $5::bigint * interval '1 microsecond', 'infinity'), COALESCE($3::timestamptz, 'infinity')) AS at,
           CASE WHEN $5::bigint IS NOT NULL AND ($3::timestamptz IS NULL OR 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' <= $3::timestamptz) THEN $6::bigint ELSE 0 END AS id,
           COALESCE($2::timestamptz, '-infinity') AS since, failure_query($1::jsonb) AS q, failure_query($1::jsonb) IS NULL AS every
), hit AS MATERIALIZED (
    SELECT f.attempt_id, f.at
      FROM (SELECT * FROM failure WHERE (at, attempt_id) < ((SELECT at FROM bound), (SELECT id FROM bound)) AND at >= (SELECT since FROM bound) ORDER BY at DESC, attempt_id DESC LIMIT $8::bigint) f
     WHERE ((SELECT every FROM bound) OR f.terms @@ (SELECT q FROM bound)) AND ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean)
       AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[]))
     ORDER BY f.at DESC, f.attempt_id DESC LIMIT $7::bigint
), seen AS (
    SELECT CASE WHEN (SELECT count(*) FROM hit) < $7::bigint THEN
           (SELECT count(*) < $8::bigint FROM (SELECT 1 FROM failure WHERE (at, attempt_id) < ((SELECT at FROM bound), (SELECT id FROM bound)) AND at >= (SELECT since FROM bound) ORDER BY at DESC, attempt_id DESC LIMIT $8::bigint) x) ELSE false END AS complete
)
SELECT seen.complete, (extract(epoch FROM v.at) * 1000000)::bigint AS at_us, v.*
  FROM seen LEFT JOIN hit ON true LEFT JOIN failure_item v ON v.attempt_id = hit.attempt_id ORDER BY v.at DESC NULLS LAST, v.attempt_id DESC;
