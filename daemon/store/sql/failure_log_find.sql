-- failure_log_find: as failure_find, but the words are looked for in whole logs.  The same parameters; $1 has "in": "log"; $9 bigint at most so many failures are looked at whose log has the words.
-- The sub-select hides the words from the planner, IS TRUE the times: the index of words is what leads to few rows.  `complete` also when the bound was reached (`bounded`): there is no further step.  Always returns a row.
-- @read
WITH near AS MATERIALIZED (
    SELECT l.attempt_id, l.at FROM failure_log l
     WHERE l.words @@ (SELECT CASE WHEN $8::bigint IS NULL THEN failure_query($1::jsonb)
                               ELSE failure_query($1::jsonb) && failure_months(LEAST(now() + interval '1 day', $3::timestamptz, 'epoch'::timestamptz + $5::bigint * interval '1 microsecond'), $8::integer) END)
       AND (l.at >= COALESCE($2::timestamptz, '-infinity')) IS TRUE AND (l.at <= COALESCE($3::timestamptz, 'infinity')) IS TRUE
       AND ($5::bigint IS NULL OR l.at < 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' OR (l.at = 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' AND l.attempt_id < $6::bigint))
     LIMIT $9::bigint
), page AS (
    SELECT n.attempt_id FROM near n
     WHERE $4::boolean IS NULL OR (SELECT f.resolved_at IS NOT NULL FROM failure f WHERE f.attempt_id = n.attempt_id) = $4::boolean
     ORDER BY n.at DESC, n.attempt_id DESC LIMIT $7::bigint
)
SELECT $8::bigint IS NULL OR bounded AS complete, bounded, (extract(epoch FROM v.at) * 1000000)::bigint AS at_us, a.log_bytes, v.*
  FROM (SELECT count(*) >= $9::bigint AS bounded FROM near) b LEFT JOIN page ON true LEFT JOIN failure_item v ON v.attempt_id = page.attempt_id LEFT JOIN attempt a ON a.id = page.attempt_id
 ORDER BY v.at DESC NULLS LAST, v.attempt_id DESC;
