-- feedback_like: what people said of failures like this one.  $1 bigint attempt, $2 text fingerprint, $3 text template, $4 jsonb indicators of its evidence.
-- How alike (w): the same fingerprint 1, the same template 0.8, at least half of the indicators in common 0.3 of that share, only the same kind of stage and tool 0.02 (all of these together
-- at most 0.1); in another project half of it. For a node: f words for it, a against it: v = (f - a) / (f + a + 0.5), so one word on the very same failure is 0.67, many come near 1,
-- contradiction goes to 0, undone words count nothing. "Not a challenge" speaks against every deployment challenge and for what is none, or, where it was taken for
-- something else, against that alone. Of several words on one attempt only the newest counts (feedback_word); of each likeness at most the newest 500, of the same kind and tool 100.
-- Returns one row: feedback jsonb {node: v} or null, told jsonb: [{feedback_id, attempt_id, verdict, challenge_id, by, weight}] of this project, weightiest first, at most 5.
-- @read
WITH me AS MATERIALIZED (
    SELECT a.id, s.kind, COALESCE(s.uses, s.toolchain, '') AS tool, r.project_id, ARRAY(SELECT DISTINCT jsonb_array_elements_text(COALESCE($4::jsonb, '[]'))) AS indicators
      FROM attempt a JOIN stage s ON s.id = a.stage_id JOIN run r ON r.id = s.run_id WHERE a.id = $1::bigint
), word AS (                                         -- the newest of each likeness: words that are nothing like it are not read
    (SELECT w.* FROM feedback_word w WHERE w.fingerprint = $2::text ORDER BY w.feedback_id DESC LIMIT 500)
    UNION (SELECT w.* FROM feedback_word w WHERE w.template = NULLIF($3::text, '') ORDER BY w.feedback_id DESC LIMIT 500)
    UNION (SELECT w.* FROM feedback_word w WHERE w.indicators && (SELECT indicators FROM me) ORDER BY w.feedback_id DESC LIMIT 500)
    UNION (SELECT w.* FROM me, LATERAL (SELECT * FROM feedback_word w WHERE w.kind = me.kind AND w.tool = me.tool AND me.tool <> '' ORDER BY w.feedback_id DESC LIMIT 100) w)
), alike AS MATERIALIZED (
    SELECT w.*, w.project_id = me.project_id AS own, CASE WHEN w.project_id = me.project_id THEN 1 ELSE 0.5 END * CASE
               WHEN w.fingerprint = $2::text THEN 1
               WHEN w.template = NULLIF($3::text, '') THEN 0.8
               WHEN common.share >= 0.5 THEN 0.3 * common.share END AS strong,
           CASE WHEN w.project_id = me.project_id THEN 0.02 ELSE 0.01 END * (w.kind = me.kind AND me.tool <> '' AND w.tool = me.tool)::int AS weak
      FROM word w, me,
           LATERAL (SELECT count(*) FILTER (WHERE x.n = 2)::float8 / NULLIF(count(*), 0) AS share
                      FROM (SELECT i, count(*) AS n FROM (SELECT unnest(w.indicators) AS i UNION ALL SELECT unnest(me.indicators)) AS e GROUP BY i) AS x) AS common
     WHERE w.attempt_id <> $1::bigint
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
       (SELECT COALESCE(jsonb_agg(jsonb_build_object('feedback_id', t.feedback_id, 'attempt_id', t.attempt_id, 'verdict', t.verdict, 'challenge_id', t.challenge_id, 'by', t.by_name, 'weight', t.strong)), '[]')
          FROM (SELECT * FROM alike WHERE own AND strong IS NOT NULL ORDER BY strong DESC, feedback_id DESC LIMIT 5) AS t) AS told;
