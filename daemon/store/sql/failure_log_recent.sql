-- failure_log_recent: as failure_recent, but the words are looked for in whole logs, among the newest failures whose log is there.  The same parameters; $1 has "in": "log".
-- Always returns a row: complete (there was nothing beyond the window), then the failure or nulls; log_bytes: how long its log is.
-- @read
WITH bound AS MATERIALIZED (
    SELECT LEAST(COALESCE('epoch'::timestamptz + $5::bigint * interval '1 microsecond', 'infinity'), COALESCE($3::timestamptz, 'infinity')) AS at,
           CASE WHEN $5::bigint IS NOT NULL AND ($3::timestamptz IS NULL OR 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' <= $3::timestamptz) THEN $6::bigint ELSE 0 END AS id,
           COALESCE($2::timestamptz, '-infinity') AS since, failure_query($1::jsonb) AS q
), newest AS MATERIALIZED (
    SELECT attempt_id, at, words FROM failure_log WHERE (at, attempt_id) < ((SELECT at FROM bound), (SELECT id FROM bound)) AND at >= (SELECT since FROM bound) ORDER BY at DESC, attempt_id DESC LIMIT $8::bigint
), hit AS MATERIALIZED (
    SELECT l.attempt_id, l.at FROM newest l
     WHERE l.words @@ (SELECT q FROM bound) AND ($4::boolean IS NULL OR (SELECT f.resolved_at IS NOT NULL FROM failure f WHERE f.attempt_id = l.attempt_id) = $4::boolean)
     ORDER BY l.at DESC, l.attempt_id DESC LIMIT $7::bigint
), seen AS (
    SELECT CASE WHEN (SELECT count(*) FROM hit) < $7::bigint THEN (SELECT count(*) < $8::bigint FROM newest) ELSE false END AS complete
)
SELECT seen.complete, (extract(epoch FROM v.at) * 1000000)::bigint AS at_us, a.log_bytes, v.*
  FROM seen LEFT JOIN hit ON true LEFT JOIN failure_item v ON v.attempt_id = hit.attempt_id LEFT JOIN attempt a ON a.id = hit.attempt_id ORDER BY v.at DESC NULLS LAST, v.attempt_id DESC;
