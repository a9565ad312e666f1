-- trend: failures per challenge or category over time, from the counts and what is not folded yet.  $1 project name or null (all), $2 boolean by category, $3 'day' 'week' 'month', $4 since, $5 until or null.
-- Returns rows by key: failures, resolved, median_hours (of those resolved, over whole months, within a fifth), series [{at, failures, resolved}], the paper's numbers for it, and all (failures of every key).  The key of unclear ones is 'none'.
-- @read
WITH who AS MATERIALIZED (
    SELECT CASE WHEN $1::text IS NULL THEN 0 ELSE COALESCE((SELECT id FROM project WHERE name = $1::text), -1) END AS id, ($4::timestamptz AT TIME ZONE 'UTC')::date AS since, COALESCE(($5::timestamptz AT TIME ZONE 'UTC')::date, 'infinity') AS until
), d AS (
    SELECT day, challenge_id, failures, resolved FROM failure_day WHERE project_id = (SELECT id FROM who) AND day >= (SELECT since FROM who) AND day <= (SELECT until FROM who)
    UNION ALL
    SELECT x.day, c.challenge_id, x.n, CASE WHEN x.bucket > 0 THEN x.n ELSE 0 END FROM failure_delta x JOIN failure_class c ON c.id = x.class_id
     WHERE x.day >= (SELECT since FROM who) AND x.day <= (SELECT until FROM who) AND (SELECT id FROM who) IN (0, c.project_id)
), h AS (
    SELECT challenge_id, bucket, n FROM failure_hours WHERE project_id = (SELECT id FROM who) AND month >= date_trunc('month', (SELECT since FROM who))::date AND month <= (SELECT until FROM who)
    UNION ALL
    SELECT c.challenge_id, x.bucket, x.n FROM failure_delta x JOIN failure_class c ON c.id = x.class_id WHERE x.bucket > 0 AND x.day >= (SELECT since FROM who) AND x.day <= (SELECT until FROM who) AND (SELECT id FROM who) IN (0, c.project_id)
), points AS (
    SELECT date_trunc($3::text, day)::date AS at, challenge_id, sum(failures) AS failures, sum(resolved) AS resolved FROM d GROUP BY 1, 2
), keyed AS (
    SELECT CASE WHEN challenge_id = '' THEN 'none' WHEN $2::boolean THEN substring(challenge_id FROM '^[^/]+(?:/[^/]+)?') ELSE challenge_id END AS key, at, sum(failures) AS failures, sum(resolved) AS resolved FROM points GROUP BY 1, 2
), total AS (
    SELECT key, sum(failures)::bigint AS failures, sum(resolved)::bigint AS resolved, jsonb_agg(jsonb_build_object('at', at, 'failures', failures, 'resolved', resolved) ORDER BY at) AS series, sum(sum(failures)) OVER (PARTITION BY split_part(key, '/', 1)) AS of_root, sum(sum(failures)) OVER () AS of_all
      FROM keyed GROUP BY key HAVING sum(failures) > 0
), times AS (
    SELECT key, min(bucket) FILTER (WHERE upto >= every / 2.0) AS bucket
      FROM (SELECT key, bucket, sum(n) OVER (PARTITION BY key ORDER BY bucket) AS upto, sum(n) OVER (PARTITION BY key) AS every
              FROM (SELECT CASE WHEN challenge_id = '' THEN 'none' WHEN $2::boolean THEN substring(challenge_id FROM '^[^/]+(?:/[^/]+)?') ELSE challenge_id END AS key, bucket, sum(n) AS n FROM (SELECT challenge_id, bucket, sum(n) AS n FROM h GROUP BY 1, 2) hh GROUP BY 1, 2) b) c
     GROUP BY key
)
SELECT t.key AS id, c.title, challenge_path(t.key) AS path, c.taxonomy, t.failures, t.resolved, round(100.0 * t.failures / t.of_all, 1)::double precision AS share, round(100.0 * t.failures / t.of_root, 1)::double precision AS share_of_platform,
       round(100.0 * (t.failures - t.resolved) / t.failures, 1)::double precision AS unresolved_share, round((2.0 ^ ((times.bucket - 1) / 2.0))::numeric / 60, 2)::double precision AS median_hours, t.series,
       CASE WHEN c.share IS NOT NULL THEN jsonb_build_object('share', c.share, 'questions', c.questions, 'unanswered', COALESCE(c.unanswered, below.unanswered), 'median_hours', round(c.median_minutes::numeric / 60, 1)) END AS paper
  FROM total t LEFT JOIN times ON times.key = t.key LEFT JOIN challenge c ON c.id = t.key
  LEFT JOIN LATERAL (SELECT round((sum(l.unanswered * l.questions) / NULLIF(sum(l.questions) FILTER (WHERE l.unanswered IS NOT NULL), 0))::numeric, 1) AS unanswered FROM challenge l WHERE c.kind = 'inner' AND l.parent = c.id) below ON true
 ORDER BY t.failures DESC, t.key LIMIT 200;
