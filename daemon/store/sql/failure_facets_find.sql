-- failure_facets_find: counts of the facts of at most so many matching failures, of the newest months that have them, through the index of terms.  $1 jsonb filters, $2 since or null, $3 until or null, $4 boolean resolved or null,
-- $5 bigint at most failures to look at (one less is counted: that one says that there are more), $6 bigint at most values of a facet.  Returns rows facet, value, count; facet 'total' once, and 'complete' once: 1 when there was nothing beyond; 'since': the oldest that was looked at (us).
-- @read
WITH hit AS MATERIALIZED (                           -- bounded before anything else is asked of them
    SELECT h.* FROM failure_slices((SELECT failure_query($1::jsonb)), $3::timestamptz, $2::timestamptz) AS m, LATERAL (
        SELECT f.class_id, f.agent, f.at, ($4::boolean IS NULL OR (f.resolved_at IS NOT NULL) = $4::boolean) AND f.at >= COALESCE($2::timestamptz, '-infinity') AND f.at <= COALESCE($3::timestamptz, 'infinity')
               AND ((SELECT failure_patterns($1::jsonb)) IS NULL OR lower(concat_ws(E'\n', f.key_line, f.evidence, f.summary)) LIKE ALL ((SELECT failure_patterns($1::jsonb))::text[])) AS fits
          FROM failure f WHERE f.terms @@ m.months AND f.terms @@ m.q AND (f.at < COALESCE(m.before, 'infinity')) IS TRUE LIMIT $5::bigint) h
     LIMIT $5::bigint
), near AS MATERIALIZED (
    SELECT count(*) AS n, min(at) AS since, (array_agg(class_id) FILTER (WHERE fits))[1:($5::bigint - 1)::integer] AS classes, (array_agg(agent) FILTER (WHERE fits))[1:($5::bigint - 1)::integer] AS agents FROM hit
)
SELECT 'complete' AS facet, NULL AS value, CASE WHEN n < $5::bigint THEN 1 ELSE 0 END AS count, 0 AS place FROM near
UNION ALL SELECT 'since', NULL, (extract(epoch FROM since) * 1000000)::bigint, 0 FROM near WHERE since IS NOT NULL
UNION ALL SELECT f.facet, f.value, f.count, f.place FROM near, LATERAL failure_facets_among(near.classes, near.agents, $6::bigint) AS f ORDER BY 1, 4;
