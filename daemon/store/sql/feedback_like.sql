-- feedback_like: what people said of failures like this one.  $1 bigint attempt, $2 text fingerprint, $3 text template, $4 jsonb indicators of its evidence.
-- How alike (w): the same fingerprint 1, the same template 0.8, at least half of the indicators in common 0.3 of that share, only the same kind of stage and tool 0.02 (all of these together
-- at most 0.1); in another project half of it. For a node: f words for it, a against it: v = (f - a) / (f + a + 0.5), so one word on the very same failure is 0.67, many come near 1,
-- contradiction goes to 0, undone words count nothing. "Not a challenge" speaks against every deployment challenge and for what is none, or, where it was taken for
-- something else, against that alone. Of several words on one attempt only the newest counts; at most the newest 2000.
-- Returns one row: feedback jsonb {node: v} or null, told jsonb: [{feedback_id, attempt_id, verdict, challenge_id, by, weight}] of this project, weightiest first, at most 5.
-- @read
WITH me AS (
    SELECT a.id, s.kind, COALESCE(s.uses, s.toolchain, '') AS tool, r.project_id FROM attempt a JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id WHERE a.id = $1::bigint
), word AS (
    SELECT f.* FROM feedback f WHERE f.undone_at IS NULL AND f.attempt_id <> $1::bigint
       AND NOT EXISTS (SELECT 1 FROM feedback n WHERE n.attempt_id = f.attempt_id AND n.id > f.id AND n.undone_at IS NULL) ORDER BY f.id DESC LIMIT 2000
), alike AS (
    SELECT w.*, r.project_id = me.project_id AS own, CASE WHEN r.project_id = me.project_id THEN 1 ELSE 0.5 END * CASE
               WHEN a.fingerprint = $2::text THEN 1
               WHEN a.template = NULLIF($3::text, '') THEN 0.8
               WHEN common.share >= 0.5 THEN 0.3 * common.share END AS strong,
           CASE WHEN r.project_id = me.project_id THEN 0.02 ELSE 0.01 END * (s.kind = me.kind AND me.tool <> '' AND COALESCE(s.uses, s.toolchain) = me.tool)::int AS weak
      FROM word w JOIN attempt a ON a.id = w.attempt_id JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id, me,
           LATERAL (SELECT count(*) FILTER (WHERE x.n = 2)::float8 / NULLIF(count(*), 0) AS share
                      FROM (SELECT i, count(*) AS n FROM (SELECT DISTINCT jsonb_array_elements_text(COALESCE(a.indicators, '[]')) AS i
                                                          UNION ALL SELECT DISTINCT jsonb_array_elements_text(COALESCE($4::jsonb, '[]'))) AS e GROUP BY i) AS x) AS common
), said AS (
    SELECT challenge_id AS node, 1 AS sign, strong, weak FROM alike WHERE challenge_id IS NOT NULL
    UNION ALL SELECT said_id, -1, strong, weak FROM alike WHERE verdict = 'correct' AND said_id IS DISTINCT FROM challenge_id AND said_id IS NOT NULL
    UNION ALL SELECT c.id, CASE WHEN c.taxonomy = 'deployment' THEN -1 ELSE 1 END, strong, weak
                FROM alike LEFT JOIN challenge t ON t.id = alike.said_id CROSS JOIN challenge c WHERE verdict = 'not_a_challenge' AND alike.strong IS NOT NULL AND COALESCE(t.taxonomy, 'deployment') = 'deployment'
    UNION ALL SELECT said_id, -1, strong, weak FROM alike JOIN challenge t ON t.id = alike.said_id AND t.taxonomy <> 'deployment' WHERE verdict = 'not_a_challenge'
), weighed AS (
    SELECT node, COALESCE(sum(strong) FILTER (WHERE sign > 0), 0) + LEAST(0.1, COALESCE(sum(weak) FILTER (WHERE sign > 0 AND strong IS NULL), 0)) AS f,
           COALESCE(sum(strong) FILTER (WHERE sign < 0), 0) + LEAST(0.1, COALESCE(sum(weak) FILTER (WHERE sign < 0 AND strong IS NULL), 0)) AS a
      FROM said GROUP BY node
)
SELECT (SELECT jsonb_object_agg(node, round(((f - a) / (f + a + 0.5))::numeric, 4)) FROM weighed WHERE f + a > 0) AS feedback,
       (SELECT COALESCE(jsonb_agg(jsonb_build_object('feedback_id', t.id, 'attempt_id', t.attempt_id, 'verdict', t.verdict, 'challenge_id', t.challenge_id, 'by', t.by_name, 'weight', t.strong)), '[]')
          FROM (SELECT * FROM alike WHERE own AND strong IS NOT NULL ORDER BY strong DESC, id DESC LIMIT 5) AS t) AS told;
