-- trend: failures per challenge or category over time, from the counts (failure_total, of one project failure_day) and what is not folded yet.  $1 project name or null (all), $2 boolean by category, $3 'day' 'week' 'month', $4 since, $5 until or null.
-- Returns rows by key: failures, resolved, median_hours (of those resolved, over whole months, interpolated within an octave), series [{at, failures, resolved}], the paper's numbers for it, and all (failures of every key).  The key of unclear ones is 'none'.
-- One bound of the day only: with two the planner expects so few rows that it sorts the many there are.
-- @read
WITH who AS MATERIALIZED (
    SELECT CASE WHEN $1::text IS NULL THEN 0 ELSE COALESCE((SELECT id FROM project WHERE name = $1::text), -1) END AS id, ($4::timestamptz AT TIME ZONE 'UTC')::date AS since,
           LEAST(COALESCE(($5::timestamptz AT TIME ZONE 'UTC')::date, 'infinity'), (now() AT TIME ZONE 'UTC')::date + 1) AS until
), whole AS MATERIALIZED (                           -- the whole periods within: what is left at both ends is added up from days
    SELECT (date_trunc($3::text, since - 1) + ('1 ' || $3::text)::interval)::date AS first, date_trunc($3::text, until + 1)::date AS upto FROM who
), period AS MATERIALIZED (                          -- once a day, not once a row
    SELECT d::date AS day, date_trunc($3::text, d)::date AS at FROM generate_series((SELECT since FROM who)::timestamp, (SELECT until FROM who)::timestamp, interval '1 day') d
), points AS (
    SELECT at, challenge_id, failures, resolved FROM failure_total
     WHERE (SELECT id = 0 FROM who) AND unit = $3::text AND at >= (SELECT first FROM whole) AND at < (SELECT upto FROM whole)
    UNION ALL
    SELECT p.at, f.challenge_id, sum(f.failures), sum(f.resolved) FROM period p JOIN failure_total f ON f.unit = 'day' AND f.at = p.day
     WHERE (SELECT id = 0 FROM who) AND NOT (p.day >= (SELECT first FROM whole) AND p.day < (SELECT upto FROM whole)) GROUP BY 1, 2
    UNION ALL
    SELECT p.at, f.challenge_id, sum(f.failures::integer), sum(f.resolved::integer)
      FROM failure_day f JOIN period p ON p.day = f.day WHERE (SELECT id <> 0 FROM who) AND f.project_id = (SELECT id FROM who) AND f.day >= (SELECT since FROM who) GROUP BY 1, 2
    UNION ALL
    SELECT p.at, f.challenge_id, sum(x.n), sum(CASE WHEN x.bucket > 0 THEN x.n ELSE 0 END) FROM failure_delta x JOIN failure_class c ON c.id = x.class_id JOIN failure_form f ON f.id = c.form_id JOIN period p ON p.day = x.day
     WHERE (SELECT id FROM who) IN (0, c.project_id) GROUP BY 1, 2
), h AS (
    SELECT challenge_id, bucket, sum(n::integer) AS n FROM failure_total_hours WHERE (SELECT id = 0 FROM who) AND month >= date_trunc('month', (SELECT since FROM who))::date AND (month <= (SELECT until FROM who)) IS TRUE GROUP BY 1, 2
    UNION ALL
    SELECT challenge_id, bucket, sum(n::integer) FROM failure_hours WHERE (SELECT id <> 0 FROM who) AND project_id = (SELECT id FROM who) AND month >= date_trunc('month', (SELECT since FROM who))::date AND (month <= (SELECT until FROM who)) IS TRUE GROUP BY 1, 2
    UNION ALL
    SELECT f.challenge_id, x.bucket, sum(x.n) FROM failure_delta x JOIN failure_class c ON c.id = x.class_id JOIN failure_form f ON f.id = c.form_id WHERE x.bucket > 0 AND x.day >= (SELECT since FROM who) AND x.day <= (SELECT until FROM who) AND (SELECT id FROM who) IN (0, c.project_id) GROUP BY 1, 2
), keys AS MATERIALIZED (                            -- once a challenge, not once a row
    SELECT challenge_id, CASE WHEN challenge_id = '' THEN 'none' WHEN $2::boolean THEN substring(challenge_id FROM '^[^/]+(?:/[^/]+)?') ELSE challenge_id END AS key
      FROM (SELECT DISTINCT challenge_id FROM points UNION SELECT DISTINCT challenge_id FROM h) c
), keyed AS (
    SELECT k.key, p.at, sum(p.failures)::bigint AS failures, sum(p.resolved)::bigint AS resolved FROM points p JOIN keys k USING (challenge_id) GROUP BY 1, 2
), total AS (
    SELECT key, sum(failures)::bigint AS failures, sum(resolved)::bigint AS resolved, jsonb_agg(jsonb_build_object('at', at, 'failures', failures, 'resolved', resolved) ORDER BY at) AS series, sum(sum(failures)) OVER (PARTITION BY split_part(key, '/', 1)) AS of_root, sum(sum(failures)) OVER () AS of_all
      FROM keyed GROUP BY key HAVING sum(failures) > 0
), times AS (                                         -- the octave that the median lies in, and how far up in it
    SELECT key, 2.0 ^ (bucket - 1.5 + (every / 2.0 - (upto - n)) / n) AS minutes
      FROM (SELECT key, bucket, n, sum(n) OVER (PARTITION BY key ORDER BY bucket) AS upto, sum(n) OVER (PARTITION BY key) AS every
              FROM (SELECT k.key, h.bucket, sum(h.n) AS n FROM h JOIN keys k USING (challenge_id) GROUP BY 1, 2 HAVING sum(h.n) > 0) b) c
     WHERE upto >= every / 2.0 AND upto - n < every / 2.0
)
SELECT t.key AS id, c.title, challenge_path(t.key) AS path, c.taxonomy, t.failures, t.resolved, round(100.0 * t.failures / t.of_all, 1)::double precision AS share, round(100.0 * t.failures / t.of_root, 1)::double precision AS share_of_platform,
       round(100.0 * (t.failures - t.resolved) / t.failures, 1)::double precision AS unresolved_share, round(times.minutes::numeric / 60, 2)::double precision AS median_hours, t.series,
       CASE WHEN c.share IS NOT NULL THEN jsonb_build_object('share', c.share, 'questions', c.questions, 'unanswered', COALESCE(c.unanswered, below.unanswered), 'median_hours', round(c.median_minutes::numeric / 60, 1)) END AS paper
  FROM total t LEFT JOIN times ON times.key = t.key LEFT JOIN challenge c ON c.id = t.key
  LEFT JOIN LATERAL (SELECT round((sum(l.unanswered * l.questions) / NULLIF(sum(l.questions) FILTER (WHERE l.unanswered IS NOT NULL), 0))::numeric, 1) AS unanswered FROM challenge l WHERE c.kind = 'inner' AND l.parent = c.id) below ON true
 ORDER BY t.failures DESC, t.key LIMIT 200;
