-- failure_log_find: as failure_find, but the words are looked for in whole logs.  The same parameters; $1 has "in": "log".
-- @read
WITH hit AS MATERIALIZED (
    SELECT h.* FROM failure_slices((SELECT failure_query($1::jsonb)), LEAST($3::timestamptz, 'epoch'::timestamptz + $5::bigint * interval '1 microsecond'), $2::timestamptz) AS m, LATERAL (
        SELECT l.attempt_id, l.at FROM failure_log l
         WHERE l.words @@ m.months AND l.words @@ m.q AND (l.at < COALESCE(m.before, 'infinity')) IS TRUE AND ($4::boolean IS NULL OR (SELECT f.resolved_at IS NOT NULL FROM failure f WHERE f.attempt_id = l.attempt_id) = $4::boolean)
           AND (l.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (l.at <= COALESCE($3::timestamptz, 'infinity')) IS TRUE
           AND ($5::bigint IS NULL OR l.at < 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' OR (l.at = 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' AND l.attempt_id < $6::bigint))
         ORDER BY l.at DESC, l.attempt_id DESC LIMIT $7::bigint) h
     LIMIT $7::bigint
)
SELECT true AS complete, (extract(epoch FROM v.at) * 1000000)::bigint AS at_us, a.log_bytes, v.*
  FROM hit JOIN failure_item v ON v.attempt_id = hit.attempt_id JOIN attempt a ON a.id = hit.attempt_id ORDER BY v.at DESC, v.attempt_id DESC;
